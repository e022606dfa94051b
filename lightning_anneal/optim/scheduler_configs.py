"""``scheduler_configs``: when Lightning steps an LR scheduler, and what it watches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_anneal.checks import choice, count, flag
from lightning_anneal.clock import Horizon, Interval
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.lightnings import Trainer, overrides
from lightning_anneal.optim.advice import advise
from lightning_anneal.optim.gate import GatedLR
from lightning_anneal.optim.lengths import Timing
from lightning_anneal.optim.schedulers import build, build_with_plateau
from lightning_anneal.optim.specs import Spec
from lightning_anneal.run_length import horizon_of

_KEYS = ("interval", "frequency", "monitor", "strict", "name")

MONITORS: WeakKeyDictionary[LRScheduler, str] = WeakKeyDictionary()
"""What each ReduceLROnPlateau watches: in manual optimization Lightning doesn't want to know."""


@dataclass(frozen=True)
class SchedulerConfig:
    """``scheduler_configs``; ``None`` where it doesn't say.

    Args:
        interval: Whether the scheduler is stepped by epoch or by optimizer step.
        frequency: At every n-th of them.
        monitor: The metric that a ReduceLROnPlateau watches.
        strict: Whether it is an error if that isn't there.
        name: What LearningRateMonitor logs the learning rate as.
    """

    interval: Interval | None
    frequency: int | None
    monitor: str | None
    strict: bool
    name: str | None


def read_scheduler_config(given: Mapping[str, Any]) -> SchedulerConfig:
    """Read the mapping.

    Raises:
        AnnealError: For an unknown key or a value that can't be.
    """
    where = "scheduler_configs"
    for key in given:
        if key not in _KEYS:
            raise AnnealError(where, f"unknown key {quote(key)}{suggestion(key, _KEYS)}")
    for key in ("monitor", "name"):
        if given.get(key) is not None and (not isinstance(given[key], str) or not given[key]):
            raise AnnealError(f"{where}.{key}", f"must be a name, got {quote(given[key])}")
    interval: Any = given.get("interval")
    frequency = given.get("frequency")
    strict = given.get("strict")
    return SchedulerConfig(
        None if interval is None else choice(f"{where}.interval", interval, ("epoch", "step")),  # type: ignore[arg-type]
        None if frequency is None else count(f"{where}.frequency", frequency),
        given.get("monitor"),
        True if strict is None else flag(f"{where}.strict", strict),
        given.get("name"),
    )


def schedule(module: nn.Module, optimizer: Optimizer, spec: Spec, config: SchedulerConfig) -> list[dict[str, Any]]:
    """The LR schedulers, each in the mapping that Lightning wants.

    Args:
        module: The LightningModule, for its trainer.
        optimizer: The optimizer.
        spec: The scheduler.
        config: When it is stepped.

    Raises:
        AnnealError: For a mistake in the scheduler's arguments, or a length that can't be known.
    """
    trainer = _trainer(module)
    interval = config.interval or spec.natural_interval
    horizon = Horizon() if trainer is None else horizon_of(trainer)
    named = {} if config.name is None else {"name": config.name}
    if spec.warms_up_to_plateau:
        if config.frequency not in (None, 1):
            raise AnnealError("scheduler_configs.frequency", "a warm-up before a ReduceLROnPlateau has none but 1")
        timing = Timing(interval, 1, horizon)
        warmup, plateau = build_with_plateau(optimizer, spec, timing)
        _advise(module, trainer, warmup, timing)
        first = {"scheduler": warmup, "interval": interval, "frequency": 1, **named}
        watching = SchedulerConfig(config.interval, None, config.monitor, config.strict, None)
        return [first, _plateau(module, trainer, plateau, watching)]
    frequency = config.frequency or 1
    timing = Timing(interval, frequency, horizon)
    made = build(optimizer, spec, timing)
    _advise(module, trainer, made, timing)
    if spec.is_plateau:
        return [{**_plateau(module, trainer, made, config), **named}]
    if interval == "step" and frequency > 1:
        # Lightning's own frequency counts the batches of an epoch.
        made, frequency = GatedLR(made, frequency), 1
    watches = config.monitor is not None and _is_automatic(module)
    monitored = {"monitor": config.monitor, "strict": config.strict} if watches else {}
    return [{"scheduler": made, "interval": interval, "frequency": frequency, **monitored, **named}]


def _advise(module: nn.Module, trainer: Trainer | None, scheduler: LRScheduler, timing: Timing) -> None:
    """Warn of what can't be meant, unless the run is a test of a few steps."""
    if trainer is None or trainer.fast_dev_run:  # type: ignore[union-attr]
        return
    advise(scheduler, timing)
    if not _is_automatic(module) and trainer.max_steps > 0:
        rank_zero_warn("in manual optimization max_steps counts the steps of all optimizers: give lengths yourself")


def _plateau(module: nn.Module, trainer: Trainer | None, scheduler: Any, config: SchedulerConfig) -> dict[str, Any]:
    """What Lightning needs to know of a ReduceLROnPlateau."""
    monitor, interval = config.monitor, config.interval or "epoch"
    if monitor is None:
        monitor = "val_loss" if _validates(module, trainer) else "train_loss"
        rank_zero_info(f"ReduceLROnPlateau watches {monitor} (scheduler_configs.monitor names another metric)")
    frequency = config.frequency
    # In an epoch without a validation there is nothing new to look at.
    cadence = (trainer.check_val_every_n_epoch or 1) if trainer is not None and monitor.startswith("val") else 1
    if interval == "step":
        if cadence > 1:
            what = f"by step a ReduceLROnPlateau looks in every epoch, and there is a {monitor} in one of {cadence}"
            raise AnnealError("scheduler_configs.interval", f"{what}; take epoch")
        frequency = _batches(trainer, frequency)
    elif frequency is None:
        frequency = cadence
    MONITORS[scheduler] = monitor
    watched = {"monitor": monitor, "strict": config.strict} if _is_automatic(module) else {}
    return {"scheduler": scheduler, "interval": interval, "frequency": frequency, **watched}


def _batches(trainer: Trainer | None, steps: int | None) -> int:
    """So many optimizer steps (an epoch's if ``None``) in batches, which Lightning counts within each epoch."""
    per_epoch = None if trainer is None else horizon_of(trainer).steps_per_epoch()
    where = "scheduler_configs.frequency"
    if trainer is None or per_epoch is None:
        raise AnnealError(where, "ReduceLROnPlateau by step needs the length of an epoch; take interval: epoch")
    batches, accumulated = int(trainer.num_training_batches), trainer.accumulate_grad_batches
    if steps is None or steps == per_epoch:
        return batches
    if per_epoch % steps or batches % accumulated:
        what = f"ReduceLROnPlateau by step looks at whole parts of an epoch of {per_epoch:g} steps, not every {steps}"
        raise AnnealError(where, what)
    return steps * accumulated


def _trainer(module: nn.Module) -> Trainer | None:
    """The module's trainer, if it has one."""
    try:
        trainer = getattr(module, "trainer", None)
    except RuntimeError:  # a LightningModule that is attached to none
        return None
    # By name: Fabric puts something else there.
    return trainer if hasattr(trainer, "fit_loop") else None


def _is_automatic(module: nn.Module) -> bool:
    return bool(getattr(module, "automatic_optimization", True))


def _validates(module: nn.Module, trainer: Trainer | None) -> bool:
    if trainer is not None:
        return bool(trainer.enable_validation)
    return overrides("validation_step", module)
