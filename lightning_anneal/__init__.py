"""Change any hyperparameter while a model trains.

The public names load when they are first used, so that reading schedules never waits for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from lightning_anneal.callbacks.annealing import HyperparamAnnealingCallback
    from lightning_anneal.callbacks.balancing import LossBalancingCallback
    from lightning_anneal.callbacks.beta import BetaScheduleCallback
    from lightning_anneal.callbacks.optimizer_watch import OptimizerWatchCallback
    from lightning_anneal.errors import AnnealError
    from lightning_anneal.manager import AnnealingManager
    from lightning_anneal.optim.configure import configure_optimizers
    from lightning_anneal.optim.optimizers import build_optimizer, register_optimizer
    from lightning_anneal.optim.schedulers import build_lr_scheduler
    from lightning_anneal.optim.schedules import LinearWarmupCosineAnnealingLR
    from lightning_anneal.optim.settings import OptimConfig
    from lightning_anneal.optim.specs import register_lr_scheduler
    from lightning_anneal.schedules import (
        Competence,
        Constant,
        ConstantBetaScheduler,
        Cosine,
        CosineBetaScheduler,
        Cyclical,
        CyclicalBetaScheduler,
        Exponential,
        ExponentialBetaScheduler,
        HierarchicalBetaScheduler,
        Linear,
        LinearBetaScheduler,
        Milestones,
        Polynomial,
        Saturating,
        Sequence,
        Sigmoid,
        WarmRestart,
        WarmRestartBetaScheduler,
        get_beta_scheduler,
    )
    from lightning_anneal.search.hyper_param_search import HyperParamSearch
    from lightning_anneal.to_config import as_settings
    from lightning_anneal.uncertainty import UncertaintyWeights
else:
    # Hidden from type checkers, which would take any name for a public one.
    _SCHEDULES = "lightning_anneal.schedules"
    _HOME = {
        "AnnealError": "lightning_anneal.errors",
        "AnnealingManager": "lightning_anneal.manager",
        "BetaScheduleCallback": "lightning_anneal.callbacks.beta",
        "HyperParamSearch": "lightning_anneal.search.hyper_param_search",
        "HyperparamAnnealingCallback": "lightning_anneal.callbacks.annealing",
        "LinearWarmupCosineAnnealingLR": "lightning_anneal.optim.schedules",
        "LossBalancingCallback": "lightning_anneal.callbacks.balancing",
        "OptimConfig": "lightning_anneal.optim.settings",
        "OptimizerWatchCallback": "lightning_anneal.callbacks.optimizer_watch",
        "UncertaintyWeights": "lightning_anneal.uncertainty",
        "as_settings": "lightning_anneal.to_config",
        "build_lr_scheduler": "lightning_anneal.optim.schedulers",
        "build_optimizer": "lightning_anneal.optim.optimizers",
        "configure_optimizers": "lightning_anneal.optim.configure",
        "register_lr_scheduler": "lightning_anneal.optim.specs",
        "register_optimizer": "lightning_anneal.optim.optimizers",
        "Competence": _SCHEDULES,
        "Constant": _SCHEDULES,
        "ConstantBetaScheduler": _SCHEDULES,
        "Cosine": _SCHEDULES,
        "CosineBetaScheduler": _SCHEDULES,
        "Cyclical": _SCHEDULES,
        "CyclicalBetaScheduler": _SCHEDULES,
        "Exponential": _SCHEDULES,
        "ExponentialBetaScheduler": _SCHEDULES,
        "HierarchicalBetaScheduler": _SCHEDULES,
        "Linear": _SCHEDULES,
        "LinearBetaScheduler": _SCHEDULES,
        "Milestones": _SCHEDULES,
        "Polynomial": _SCHEDULES,
        "Saturating": _SCHEDULES,
        "Sequence": _SCHEDULES,
        "Sigmoid": _SCHEDULES,
        "WarmRestart": _SCHEDULES,
        "WarmRestartBetaScheduler": _SCHEDULES,
        "get_beta_scheduler": _SCHEDULES,
    }

    def __getattr__(name: str):
        import importlib

        if name not in _HOME:
            raise AttributeError(f"module 'lightning_anneal' has no attribute {name!r}")
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted([*globals(), *_HOME])


__all__ = [
    "AnnealError",
    "AnnealingManager",
    "BetaScheduleCallback",
    "Competence",
    "Constant",
    "ConstantBetaScheduler",
    "Cosine",
    "CosineBetaScheduler",
    "Cyclical",
    "CyclicalBetaScheduler",
    "Exponential",
    "ExponentialBetaScheduler",
    "HierarchicalBetaScheduler",
    "HyperParamSearch",
    "HyperparamAnnealingCallback",
    "Linear",
    "LinearBetaScheduler",
    "LinearWarmupCosineAnnealingLR",
    "LossBalancingCallback",
    "Milestones",
    "OptimConfig",
    "OptimizerWatchCallback",
    "Polynomial",
    "Saturating",
    "Sequence",
    "Sigmoid",
    "UncertaintyWeights",
    "WarmRestart",
    "WarmRestartBetaScheduler",
    "as_settings",
    "build_lr_scheduler",
    "build_optimizer",
    "configure_optimizers",
    "get_beta_scheduler",
    "register_lr_scheduler",
    "register_optimizer",
]
