"""What is legal in an LR schedule but surely not meant: one warning each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from lightning.pytorch.utilities import rank_zero_warn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, LRScheduler, OneCycleLR, PolynomialLR, SequentialLR

from lightning_anneal.optim.gate import GatedLR
from lightning_anneal.optim.lengths import Timing
from lightning_anneal.optim.schedules import LinearWarmupCosineAnnealingLR, PlannedLR

# What was told of each: it may be looked at again once a checkpoint is restored.
_TOLD: WeakKeyDictionary[LRScheduler, set[str]] = WeakKeyDictionary()


def advise(scheduler: LRScheduler, timing: Timing) -> None:
    """Warn of what the schedule does in this run and surely shouldn't.

    Args:
        scheduler: The scheduler, with all its lengths.
        timing: When it is stepped, and how long the run is.
    """
    told = _TOLD.setdefault(scheduler, set())
    for doubt in doubts(scheduler, timing):
        if doubt not in told:
            told.add(doubt)
            rank_zero_warn(doubt)


def doubts(scheduler: LRScheduler, timing: Timing) -> list[str]:
    """What is doubtful, a line each."""
    run = timing.run()
    calls = None if run is None else run / timing.every
    return [*_ends(scheduler, calls, timing), *_floors(scheduler)]


def _ends(scheduler: Any, calls: float | None, timing: Timing) -> Iterator[str]:
    """Lengths that don't go with the run's."""
    if calls is None:
        return
    unit = f"{timing.interval}s" if timing.every == 1 else "of its steps"
    if isinstance(scheduler, GatedLR):
        if scheduler.until is not None and scheduler.until >= calls:
            what = f"the warm-up takes {scheduler.until} {unit} and the run has {calls:g}"
            yield f"{what}: ReduceLROnPlateau never begins"
        return
    if isinstance(scheduler, SequentialLR):
        first, *_ = scheduler._milestones
        if first >= calls:
            yield f"SequentialLR goes on to its second scheduler after {first} {unit}, and the run has {calls:g}"
        return
    warmup = _warmup(scheduler, timing)
    kind = type(scheduler).__name__
    if warmup is not None and warmup >= calls:
        yield f"a warm-up of {warmup:g} {unit} never ends in a run of {calls:g}"
    if isinstance(scheduler, OneCycleLR):
        total = scheduler.total_steps
        if total + 1 <= calls:
            what = "ends early, and torch stops the run there with an error"
            yield f"OneCycleLR {what}: total_steps={total}, and the run has {calls:g} {unit}; leave total_steps out"
        elif total >= calls + 1:
            yield f"OneCycleLR ends late: total_steps={total}, and the run has {calls:g} {unit}; leave total_steps out"
    if type(scheduler) is CosineAnnealingLR and scheduler.T_max + 1 <= calls:
        what = f"rises again after T_max={scheduler.T_max} of {calls:g} {unit}"
        yield f"{kind} {what}; leave T_max out (a resumed run keeps the one it began with)"
    if type(scheduler) is PolynomialLR and scheduler.total_iters + 1 < calls:
        what = f"is at 0 after total_iters={scheduler.total_iters} of {calls:g} {unit}"
        yield f"{kind} {what}; total_iters: 100% takes the whole run"
    planned = scheduler.lengths.asked.get("num_training_steps") if isinstance(scheduler, PlannedLR) else None
    if planned is not None and planned / timing.every + 1 < calls:
        what = f"{scheduler.shown_as} is over after num_training_steps={planned:g} of {calls * timing.every:g}"
        yield f"{what} {timing.interval}s; leave that out (a resumed run keeps the length it began with)"


def _warmup(scheduler: Any, timing: Timing) -> float | None:
    """The warm-up's length in calls."""
    if isinstance(scheduler, LinearWarmupCosineAnnealingLR):
        return scheduler.warmup_epochs
    if type(scheduler) is LinearLR and scheduler.start_factor < scheduler.end_factor:
        return scheduler.total_iters
    if isinstance(scheduler, PlannedLR):
        steps = scheduler.lengths.asked.get("warmup_steps")
        return None if steps is None else steps / timing.every
    return None


def _floors(scheduler: Any) -> Iterator[str]:
    """Least learning rates above the one to begin with."""
    bases = [float(group.get("initial_lr", group["lr"])) for group in scheduler.optimizer.param_groups]
    for key in ("eta_min", "min_lrs"):
        given = getattr(scheduler, key, None)
        if given is None:
            continue
        floors = given if isinstance(given, list | tuple) else [given] * len(bases)
        for floor, base in zip(floors, bases, strict=False):
            if floor > base:
                name = "min_lr" if key == "min_lrs" else key
                yield f"{type(scheduler).__name__}: {name}={floor:g} is above the base learning rate {base:g}"
                break
