"""LR schedulers by name, some of them made of others."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from lightning_anneal.checks import choice, count, not_negative, positive
from lightning_anneal.clock import Horizon, Interval
from lightning_anneal.config import plain
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.optim import hugging_face, own_schedules
from lightning_anneal.optim.gate import GatedLR, PlateauAfterWarmup
from lightning_anneal.optim.lengths import LENGTHS, Timing, with_lengths
from lightning_anneal.optim.registry import check_complete, checked_kwargs, checked_mapping
from lightning_anneal.optim.schedules import LinearWarmupCosineAnnealingLR, PlannedLR, ScheduleLR
from lightning_anneal.optim.specs import Spec, read_spec
from lightning_anneal.schedules import Schedule

_TAKEN = ("optimizer", "last_epoch")
_OF_CONFIGS = {"interval", "frequency", "monitor", "strict"}
# They write the LR instead of multiplying what is there, so that in a chain all but the last would count for nothing.
_NOT_IN_A_CHAIN = (ScheduleLR, LinearWarmupCosineAnnealingLR, OneCycleLR, CyclicLR, CosineAnnealingWarmRestarts)


def build_lr_scheduler(
    optimizer: Optimizer,
    name: str | Callable[[float], float],
    *,
    scheduler_kwargs: Mapping[str, Any] | None = None,
    interval: Interval | None = None,
    max_epochs: float | None = None,
    max_steps: float | None = None,
    steps_per_epoch: float | None = None,
) -> LRScheduler:
    """An LR scheduler by its name, for a loop of one's own. (With Lightning: `configure_optimizers`.)

    Args:
        optimizer: The optimizer; as it was before if there is an error.
        name: A class of ``torch.optim.lr_scheduler`` or a registered one, in any case, or
            ``LinearWarmupCosineAnnealingLR``; a schedule of this package by its class name, as a factor of each group's
            base learning rate; or one of Hugging Face's names in lower case. In code also a schedule, or any callable
            of ``t``.
        scheduler_kwargs: Its arguments; the mapping is not changed. Lengths may have units (``"10ep"``, ``"30%"``).
            ``schedulers`` of a SequentialLR or ChainedScheduler is a list of ``{scheduler: NAME, ...arguments}``.
        interval: Whether it is going to be stepped by ``"epoch"`` or by optimizer ``"step"``; by default its natural
            one: step for OneCycleLR, CyclicLR and Hugging Face's, else epoch.
        max_epochs: The run's length, for lengths that are left out or have a unit.
        max_steps: The same in optimizer steps.
        steps_per_epoch: Optimizer steps in an epoch.

    Raises:
        AnnealError: For an unknown name or argument, a missing one, or a length that can't be known.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
        >>> scheduler = build_lr_scheduler(optimizer, "cosine", scheduler_kwargs={"warmup_ratio": 0.1}, max_steps=500)
        >>> build_lr_scheduler(optimizer, "CosineAnealingLR")
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: scheduler: unknown scheduler 'CosineAnealingLR'; did you mean ...
    """
    kwargs = plain("scheduler_kwargs", checked_mapping("scheduler_kwargs", scheduler_kwargs))
    spec = read_spec("scheduler", name, "scheduler_kwargs", kwargs)
    if not isinstance(optimizer, Optimizer):
        raise AnnealError("optimizer", f"must be an optimizer, got {quote(optimizer)}")
    if spec.warms_up_to_plateau:
        what = "a warm-up and a ReduceLROnPlateau are two schedulers; take configure_optimizers, or build each"
        raise AnnealError("scheduler", what)
    per_epoch = None if steps_per_epoch is None else positive("steps_per_epoch", steps_per_epoch)
    horizon = Horizon(
        None if max_epochs is None else positive("max_epochs", max_epochs),
        None if max_steps is None else positive("max_steps", max_steps),
        lambda: per_epoch,
    )
    by: Any = spec.natural_interval if interval is None else choice("interval", interval, ("epoch", "step"))
    return build(optimizer, spec, Timing(by, 1, horizon))


def build(optimizer: Optimizer, spec: Spec, timing: Timing) -> LRScheduler:
    """The LR scheduler.

    Args:
        optimizer: The optimizer; as it was before if there is an error.
        spec: What the config says.
        timing: When it is going to be stepped.

    Raises:
        AnnealError: For an unknown or missing argument, a value that torch refuses, or a length that can't be known.
    """
    with _as_it_was_after_an_error(optimizer):
        return _build(optimizer, spec, timing)


def build_with_plateau(optimizer: Optimizer, spec: Spec, timing: Timing) -> tuple[GatedLR, PlateauAfterWarmup]:
    """The two schedulers of a SequentialLR that ends in a ReduceLROnPlateau.

    Args:
        optimizer: The optimizer.
        spec: What the config says.
        timing: When the warm-up is stepped; the ReduceLROnPlateau is stepped by epoch.

    Raises:
        AnnealError: As `build`.
    """
    with _as_it_was_after_an_error(optimizer):
        milestones = _milestones(spec, timing)
        head = spec.parts[0]
        if len(spec.parts) > 2:
            head = Spec(spec.where, spec.name, {"milestones": milestones[:-1]}, spec.cls, parts=spec.parts[:-1])
        warmup = GatedLR(_build(optimizer, head, timing.stretch(milestones[-1])), until=milestones[-1])
        last = spec.parts[-1]
        kwargs = checked_kwargs(last.where, ReduceLROnPlateau, last.kwargs, _TAKEN)
        _refuse_out_of_range(last, kwargs)
        plateau: PlateauAfterWarmup = _made(last, PlateauAfterWarmup, (warmup,), kwargs)
        return warmup, plateau


@contextmanager
def _as_it_was_after_an_error(optimizer: Optimizer) -> Iterator[None]:
    """Put the groups' values back if there is an error: a scheduler that is made writes the first learning rate."""
    before = [
        {key: value.clone() if isinstance(value, Tensor) else value for key, value in group.items()}
        for group in optimizer.param_groups
    ]
    try:
        yield
    except Exception:
        for group, was in zip(optimizer.param_groups, before, strict=True):
            for key in [key for key in group if key not in was]:
                del group[key]
            for key, value in was.items():
                if isinstance(value, Tensor):
                    group[key].copy_(value)
                else:
                    group[key] = value
        raise


def _build(optimizer: Optimizer, spec: Spec, timing: Timing) -> LRScheduler:
    if spec.schedule is not None:
        given = spec.schedule
        if isinstance(given, Schedule):
            own_schedules.never_negative("scheduler", given)
            return PlannedLR(optimizer, lambda _: given, timing.lengths(spec.where), timing.every, spec.name)
        checked = _checked(given)
        return PlannedLR(optimizer, lambda _: checked, timing.lengths(spec.where), timing.every, spec.name)
    if spec.cls is SequentialLR:
        return _build_sequence(optimizer, spec, timing)
    if spec.cls is ChainedScheduler:
        rest = {key: value for key, value in spec.kwargs.items() if key != "schedulers"}
        checked_kwargs(spec.where, ChainedScheduler, rest, _TAKEN)
        parts = [_build(optimizer, part, timing) for part in spec.parts]
        for part, built in zip(spec.parts, parts, strict=True):
            if isinstance(built, _NOT_IN_A_CHAIN):
                what = f"{part.name} writes the learning rate and doesn't multiply it; take SequentialLR"
                raise AnnealError(f"{part.where}.scheduler", what)
        return ChainedScheduler(parts, optimizer)
    if spec.cls is None:
        make = _plan(optimizer, spec)
        return PlannedLR(optimizer, make, timing.lengths(spec.where), timing.every, spec.name)
    _refuse_functions(spec, spec.kwargs)
    for key in _OF_CONFIGS & set(spec.kwargs) - set(inspect.signature(spec.cls).parameters):
        raise AnnealError(f"{spec.where}.{key}", f"{spec.name} takes none; it goes into scheduler_configs")
    kwargs = checked_kwargs(spec.where, spec.cls, spec.kwargs, _TAKEN, LENGTHS)
    _refuse_out_of_range(spec, kwargs)
    kwargs = with_lengths(spec.where, spec.cls, kwargs, timing)
    if spec.cls is OneCycleLR and kwargs.get("max_lr") is None:
        # Not the rate of the moment, which a part before this one may have written.
        kwargs["max_lr"] = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    check_complete(spec.where, spec.cls, kwargs, _TAKEN)
    made: LRScheduler = _made(spec, spec.cls, (optimizer,), kwargs)
    return made


def _plan(optimizer: Optimizer, spec: Spec) -> Any:
    if spec.name in own_schedules.STRATEGIES:
        return own_schedules.plan(spec.name, spec.where, spec.kwargs)
    return hugging_face.plan(
        spec.name, spec.where, spec.kwargs, float(optimizer.defaults.get("lr", optimizer.param_groups[0]["lr"]))
    )


def _build_sequence(optimizer: Optimizer, spec: Spec, timing: Timing) -> SequentialLR:
    milestones = _milestones(spec, timing)
    run = timing.run()
    ends: list[float | None] = [*milestones, None if run is None else run / timing.every]
    parts, begin = [], 0
    for part, end in zip(spec.parts, ends, strict=True):
        stretch = None if end is None else max((end - begin) * timing.every, 1.0)
        if part is spec.parts[-1] and part.name in own_schedules.STRATEGIES and stretch is not None:
            # As alone: the last step of the run is trained at the end value.
            stretch = max(stretch - 1, 1.0)
        # Where the run's length isn't known, that of the last part isn't, either.
        parts.append(_build(optimizer, part, timing.stretch(stretch)))
        begin = 0 if end is None else int(end)
    return SequentialLR(optimizer, parts, milestones)


def _milestones(spec: Spec, timing: Timing) -> list[int]:
    where = spec.where
    known = {key: value for key, value in spec.kwargs.items() if key != "schedulers"}
    kwargs = with_lengths(where, SequentialLR, checked_kwargs(where, SequentialLR, known, _TAKEN, LENGTHS), timing)
    milestones = kwargs.get("milestones")
    needed = len(spec.parts) - 1
    if needed == 0:
        raise AnnealError(f"{where}.schedulers", "SequentialLR needs at least two")
    if milestones is None:
        raise AnnealError(f"{where}.milestones", f"missing; SequentialLR takes {needed} for {needed + 1} schedulers")
    if len(milestones) != needed:
        what = f"{len(milestones)} for {needed + 1} schedulers; give {needed}, where each but the first begins"
        raise AnnealError(f"{where}.milestones", what)
    if any(after <= before for before, after in pairwise(milestones)):
        raise AnnealError(f"{where}.milestones", f"must grow, got {milestones}")
    return [count(f"{where}.milestones", each) for each in milestones]


def _refuse_functions(spec: Spec, kwargs: Mapping[str, Any]) -> None:
    """Refuse an argument that is a function, where none was given in code."""
    parameters = inspect.signature(spec.cls).parameters if spec.cls is not None else {}
    for key in {"lr_lambda", "scale_fn"} & set(parameters):
        value = kwargs.get(key)
        given = value if isinstance(value, list | tuple) else [value]
        may_be_left_out = parameters[key].default is None
        if not all(callable(each) for each in given) and not (value is None and may_be_left_out):
            what = f"{spec.name} needs a function, which a config can't hold; take a schedule by name, such as Linear"
            raise AnnealError(f"{spec.where}.{key}", f"{what} or Milestones")


def _refuse_out_of_range(spec: Spec, kwargs: Mapping[str, Any]) -> None:
    """Refuse numbers that torch's schedulers take and stumble over later, if at all."""
    if spec.cls is None or not spec.cls.__module__.startswith("torch."):
        return
    for key, value in kwargs.items():
        for each in value if isinstance(value, tuple) else [value]:
            if isinstance(each, int | float) and not isinstance(each, bool):
                not_negative(f"{spec.where}.{key}", each)
    if spec.cls is ConstantLR and "factor" in kwargs:
        positive(f"{spec.where}.factor", kwargs["factor"])  # it is divided by in the end


def _checked(curve: Callable[[float], float]) -> Callable[[float], float]:
    """A function whose every value is looked at."""
    return lambda t: not_negative(f"scheduler at {t:g}", curve(t))


def _made(spec: Spec, cls: Any, arguments: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    try:
        return cls(*arguments, **kwargs)
    except AnnealError as error:
        raise AnnealError(f"{spec.where}.{error.where}", error.what) from None
    except Exception as error:
        raise AnnealError(spec.where, f"{spec.name}: {' '.join(str(error).split())}") from None
