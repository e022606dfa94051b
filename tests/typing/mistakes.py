"""Mistakes that mypy finds; behind each what it says of it. None of it is ever called."""

# ruff: noqa: B018

from __future__ import annotations

from lightning.pytorch import Trainer
from torch import nn

import lightning_anneal
from lightning_anneal import (
    AnnealingManager,
    BetaScheduleCallback,
    Cosine,
    Cyclical,
    HyperparamAnnealingCallback,
    HyperParamSearch,
    Linear,
    OptimConfig,
    OptimizerWatchCallback,
    Sequence,
    WarmRestart,
    build_lr_scheduler,
    build_optimizer,
    configure_optimizers,
    get_beta_scheduler,
)


def mistakes() -> None:
    """What a user may get wrong."""
    from lightning_anneal import Cosyne  # has no attribute "Cosyne"; maybe "Cosine"?

    Cosine("a", 1, 10)  # Argument 1 to "Cosine" has incompatible type "str"; expected "float"
    Linear(0, 1, length=10)  # Unexpected keyword argument "length" for "Linear"
    Linear(0, 1)  # Missing positional argument "duration" in call to "Linear"
    Linear(0, 1, 10).value  # "Linear" has no attribute "value"
    Linear(0, 1, 10)("half")  # Argument 1 to "__call__" of "Linear" has incompatible type "str"; expected "float"
    Linear(0, 1, 10).start = 2  # Property "start" defined in "Linear" is read-only
    Cyclical(10, 0.0, high="one")  # Argument "high" to "Cyclical" has incompatible type "str"; expected "float"
    WarmRestart("cosine", 10)  # Argument 1 to "WarmRestart" has incompatible type "str"
    Sequence([Linear(0, 1, 3)])  # List item 0 has incompatible type "Linear"
    Cosyne(0, 1, 10)
    lightning_anneal.Linaer(0, 1, 10)  # Module has no attribute "Linaer"

    annealing = HyperparamAnnealingCallback({"beta": Linear(0, 1, 10)}, prog_bars=["beta"])  # Unexpected keyword
    HyperparamAnnealingCallback(["beta"])  # incompatible type "list[str]"; expected "dict[Any, Any] | None"
    BetaScheduleCallback("linear", "max_beta=1")  # Argument 2 to "BetaScheduleCallback" has incompatible type "str"
    BetaScheduleCallback()  # Missing positional argument "beta_scheduler_type"
    BetaScheduleCallback("linear", eval_beta="one")  # Argument "eval_beta" to "BetaScheduleCallback"
    OptimizerWatchCallback(True)  # Too many positional arguments for "OptimizerWatchCallback"
    Trainer(callbacks=[Linear(0, 1, 10)])  # List item 0 has incompatible type "Linear"; expected "Callback"
    annealing.vlaues  # has no attribute "vlaues"

    model = nn.Linear(1, 1)
    build_optimizer(model.parameters(), "SGD", lr=0.1)  # Unexpected keyword argument "lr" for "build_optimizer"
    build_lr_scheduler(model, "StepLR")  # Argument 1 to "build_lr_scheduler" has incompatible type
    build_lr_scheduler(build_optimizer(model.parameters()), "StepLR", interval="batch")  # Argument "interval"
    configure_optimizers(model, learning_rate="fast")  # Argument "learning_rate" to "configure_optimizers"
    OptimConfig(optimiser="SGD")  # Unexpected keyword argument "optimiser" for "OptimConfig"
    AnnealingManager({}, epoch=10)  # Unexpected keyword argument "epoch" for "AnnealingManager"
    AnnealingManager({}).step("first")  # Argument 1 to "step" of "AnnealingManager" has incompatible type "str"
    HyperParamSearch(3)  # Argument 1 to "HyperParamSearch" has incompatible type "int"
    HyperParamSearch({}).cuont()  # "HyperParamSearch" has no attribute "cuont"; maybe "count"?
    get_beta_scheduler("linear", max_beta=1.0).get_restart_info(3)  # has no attribute "get_restart_info"
    get_beta_scheduler("hierarchical")(0) + 1.0  # Unsupported operand types for + ("dict[str, float]" and "float")
