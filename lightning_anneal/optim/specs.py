"""What a config says of an LR scheduler, by name: torch's, Hugging Face's, a registered one, or a schedule of ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CyclicLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from lightning_anneal.checks import choice
from lightning_anneal.clock import Interval
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.optim import hugging_face, own_schedules
from lightning_anneal.optim.registry import Registry, checked_mapping
from lightning_anneal.optim.schedules import LinearWarmupCosineAnnealingLR

Own = TypeVar("Own", bound=LRScheduler)

LR_SCHEDULERS: Registry[LRScheduler] = Registry("scheduler", LRScheduler, lr_scheduler)
LR_SCHEDULERS.register(LinearWarmupCosineAnnealingLR)

_BY_STEP: set[type] = {OneCycleLR, CyclicLR}
_NESTED = (SequentialLR, ChainedScheduler)


@dataclass(frozen=True)
class Spec:
    """An LR scheduler as a config says it.

    Args:
        where: The key that its arguments stand under, for errors.
        name: Its name, as the table of its kind has it.
        kwargs: Its arguments.
        cls: Its class, if it is one of `LR_SCHEDULERS`.
        schedule: The schedule, if one was given in code.
        parts: The schedulers in it.
    """

    where: str
    name: str
    kwargs: Mapping[str, Any]
    cls: type[LRScheduler] | None = None
    schedule: Callable[[float], float] | None = None
    parts: tuple[Spec, ...] = ()

    @property
    def is_plateau(self) -> bool:
        """Whether it answers to a metric."""
        return self.cls is not None and issubclass(self.cls, ReduceLROnPlateau)

    @property
    def warms_up_to_plateau(self) -> bool:
        """Whether it is a ReduceLROnPlateau behind something else, which torch has no scheduler for."""
        return self.cls is SequentialLR and len(self.parts) > 1 and self.parts[-1].is_plateau

    @property
    def natural_interval(self) -> Interval:
        """Whether it is meant to be stepped by epoch or by optimizer step."""
        if self.parts:
            return "step" if any(part.natural_interval == "step" for part in self.parts) else "epoch"
        return "step" if self.cls in _BY_STEP or self.name in hugging_face.NAMES else "epoch"


def register_lr_scheduler(cls: type[Own], name: str | None = None, *, interval: Interval = "epoch") -> type[Own]:
    """Make an LR scheduler known by name; also as a decorator.

    Args:
        cls: The class. Arguments called ``T_max``, ``max_epochs``, ``total_steps`` or ``num_training_steps`` are filled
            in from the run, like torch's.
        name: The name, unless it is the class's own.
        interval: Whether it is stepped by epoch or by optimizer step where the config doesn't say.

    Raises:
        AnnealError: If it is no LR scheduler, or the name is taken.

    Example:
        >>> import torch
        >>> @register_lr_scheduler
        ... class HalvingLR(torch.optim.lr_scheduler.ExponentialLR):
        ...     def __init__(self, optimizer):
        ...         super().__init__(optimizer, gamma=0.5)
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
        >>> LR_SCHEDULERS.get("halvinglr")(optimizer).gamma
        0.5
    """
    by = choice("interval", interval, ("epoch", "step"))
    LR_SCHEDULERS.register(cls, name, taken=(*hugging_face.NAMES, *own_schedules.STRATEGIES))
    if by == "step":
        _BY_STEP.add(cls)
    return cls


def read_spec(where: str, name: object, kwargs_where: str, kwargs: object) -> Spec:
    """What a config says of an LR scheduler.

    Args:
        where: The key that the name stands under, for errors.
        name: The name, or a schedule.
        kwargs_where: The key that the arguments stand under.
        kwargs: The arguments.

    Raises:
        AnnealError: For an unknown name, or arguments that are no mapping.
    """
    arguments = checked_mapping(kwargs_where, kwargs)
    if callable(name) and not inspect.isclass(name):
        if arguments:
            raise AnnealError(kwargs_where, "a schedule that is given ready made takes none")
        return Spec(kwargs_where, type(name).__name__, {}, schedule=name)
    if not isinstance(name, str):
        raise _unknown(where, name)
    if name == hugging_face.PLATEAU:
        return Spec(kwargs_where, "ReduceLROnPlateau", arguments, ReduceLROnPlateau)
    if name in hugging_face.NAMES or name in own_schedules.STRATEGIES:
        return Spec(kwargs_where, name, arguments)
    cls = LR_SCHEDULERS.find(name)
    if cls is None:
        raise _unknown(where, name)
    if cls not in _NESTED:
        return Spec(kwargs_where, cls.__name__, arguments, cls)
    return Spec(kwargs_where, cls.__name__, arguments, cls, parts=_read_parts(kwargs_where, cls, arguments))


def _unknown(where: str, name: object) -> AnnealError:
    known = (*LR_SCHEDULERS.names(), *hugging_face.NAMES, *own_schedules.STRATEGIES)
    return AnnealError(where, f"unknown scheduler {quote(name)}{suggestion(name, known)}")


def _read_parts(where: str, cls: type, kwargs: Mapping[str, Any]) -> tuple[Spec, ...]:
    given = kwargs.get("schedulers")
    if not isinstance(given, list | tuple) or not given:
        what = f"{cls.__name__} takes a list such as [{{scheduler: LinearLR, total_iters: 5}}, ...]"
        raise AnnealError(f"{where}.schedulers", f"missing; {what}" if given is None else f"{what}, got {quote(given)}")
    parts = []
    for i, entry in enumerate(given):
        place = f"{where}.schedulers.{i}"
        if not isinstance(entry, Mapping) or "scheduler" not in entry:
            raise AnnealError(place, f"must be a mapping with a 'scheduler', got {quote(entry)}")
        inline = {key: value for key, value in entry.items() if key not in ("scheduler", "scheduler_kwargs")}
        nested = entry.get("scheduler_kwargs")
        if nested is not None and inline:
            raise AnnealError(f"{place}.{next(iter(inline))}", "goes into scheduler_kwargs, which is there, too")
        part = read_spec(f"{place}.scheduler", entry["scheduler"], place, inline if nested is None else nested)
        if part.is_plateau and (cls is not SequentialLR or i < len(given) - 1 or i == 0):
            raise AnnealError(f"{place}.scheduler", "ReduceLROnPlateau can only be the last part of a SequentialLR")
        if part.parts:
            what = f"torch can't begin a {part.name} within another scheduler; write its parts here"
            raise AnnealError(f"{place}.scheduler", what)
        parts.append(part)
    return tuple(parts)
