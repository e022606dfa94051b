"""Writes a schedule as the settings that a config has for it: the way back from `lightning_anneal.config`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, cast

from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.recipes import CYCLE_KEYS, RAMP_KEYS, RESTART_KEYS
from lightning_anneal.schedules import (
    Competence,
    Constant,
    Cosine,
    Cyclical,
    Exponential,
    Linear,
    Milestones,
    Polynomial,
    Saturating,
    Sequence,
    Sigmoid,
    WarmRestart,
)
from lightning_anneal.schedules.beta import SINGLE, BetaSchedule

Settings = dict[str, Any]

# The strategy of each schedule whose fields are all plain, and the keys that have other names than the fields.
_PLAIN: dict[type, tuple[str, Mapping[str, str]]] = {
    Constant: ("constant", {}),
    **{cls: (cls.__name__.lower(), RAMP_KEYS) for cls in (Linear, Cosine, Exponential, Saturating)},
    **{cls: (cls.__name__.lower(), RAMP_KEYS) for cls in (Competence, Polynomial, Sigmoid)},
    Cyclical: ("cyclical", CYCLE_KEYS),
}


def as_settings(schedule: Callable[[float], float]) -> Settings:
    """The settings of a schedule for ``annealing_params``, made of plain dicts, lists, strings and floats.

    Read again they give a schedule with the same value at every time. Lengths come out as numbers, in whatever the
    schedule's ``t`` counts: add ``interval: step`` where that is steps. A scheduler of beta comes out as the general
    schedule that it is.

    Raises:
        AnnealError: For a schedule of your own, or one that has such a part: no config could hold it.

    Example:
        >>> as_settings(Cosine(0, 1, 10))
        {'strategy': 'cosine', 'start_value': 0.0, 'end_value': 1.0, 'total_steps': 10.0}
    """
    return _settings("schedule", schedule)


def _settings(where: str, schedule: object) -> Settings:
    # The type itself: a subclass may have another formula.
    cls: Any = type(schedule)
    if cls in SINGLE.values():
        return _settings(where, cast(BetaSchedule, schedule).curve)
    if cls in _PLAIN:
        strategy, keys = _PLAIN[cls]
        return {"strategy": strategy, **_fields(schedule, keys)}
    if isinstance(schedule, Milestones) and cls is Milestones:
        return {"strategy": "milestones", "schedule": _points(schedule)}
    if isinstance(schedule, WarmRestart) and cls is WarmRestart:
        rest = _fields(schedule, RESTART_KEYS)
        return {"strategy": "warm_restart", **rest, "base": _settings(f"{where}.base", schedule.base)}
    if isinstance(schedule, Sequence) and cls is Sequence:
        parts = enumerate(schedule.parts)
        settings = [{**_settings(f"{where}.parts.{i}", curve), "duration": length} for i, (curve, length) in parts]
        return {"strategy": "sequence", "parts": settings}
    raise AnnealError(where, f"{quote(schedule)} is a schedule of your own, which no config can hold")


def _fields(schedule: Any, keys: Mapping[str, str]) -> Settings:
    return {
        keys.get(f.name, f.name): getattr(schedule, f.name) for f in fields(schedule) if f.init and f.name != "base"
    }


def _points(schedule: Milestones) -> dict[float, float]:
    """The milestones; a value before the first of them is one at 0."""
    points = dict(schedule.points)
    begins = schedule.points[0][0]
    return points if schedule.initial is None or begins == 0 else {0.0: schedule.initial, **points}
