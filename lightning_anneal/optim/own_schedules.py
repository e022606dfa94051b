"""This package's schedules as LR schedules, by their class names, with the fields of the class or the keys of a config.

What reads the settings of an annealed parameter reads these, too: lengths have units, a length that is left out is the
run's, a start that is left out is the base learning rate (a factor of 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lightning_anneal.checks import number
from lightning_anneal.clock import Lengths
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.recipes import CYCLE_KEYS, RAMP_KEYS, RESTART_KEYS
from lightning_anneal.schedules import Schedule
from lightning_anneal.strategies import read_recipe

STRATEGIES = {
    "Constant": "constant",
    "Linear": "linear",
    "Cosine": "cosine",
    "Exponential": "exponential",
    "Saturating": "saturating",
    "Polynomial": "polynomial",
    "Sigmoid": "sigmoid",
    "Cyclical": "cyclical",
    "WarmRestart": "warm_restart",
    "Milestones": "milestones",
    "Sequence": "sequence",
}
"""The strategy that each class is called by in a config."""

_KEYS = {**RAMP_KEYS, **CYCLE_KEYS, **RESTART_KEYS, "values": "schedule"}


def plan(name: str, where: str, kwargs: Mapping[str, Any]) -> Callable[[Lengths], Callable[[float], float]]:
    """What makes the schedule once the run is known.

    Args:
        name: One of `STRATEGIES`.
        where: The key that the arguments stand under, for errors.
        kwargs: The fields of the class or the keys of a config.

    Raises:
        AnnealError: For an unknown or missing key, or a value out of range.

    Example:
        >>> from lightning_anneal.clock import Horizon
        >>> run = Lengths("scheduler_kwargs", "epoch", Horizon(max_epochs=5))
        >>> schedule = plan("Linear", "scheduler_kwargs", {"end": 0.0})(run)
        >>> [schedule(t) for t in (0, 2, 4)]
        [1.0, 0.5, 0.0]
    """
    written: dict[str, str] = {}
    given = dict(kwargs)
    start = number(f"{where}.initial", given.pop("initial")) if name == "Milestones" and "initial" in given else 1.0
    settings = _settings(name, where, given, written)

    def as_written(error: AnnealError) -> AnnealError:
        head, _, key = error.where.rpartition(".")
        return AnnealError(f"{head}.{written.get(error.where, key)}" if head else key, error.what)

    try:
        recipe = read_recipe(where, settings, ("strategy",))
    except AnnealError as error:
        raise as_written(error) from None

    def build(lengths: Lengths) -> Callable[[float], float]:
        try:
            schedule = recipe.build(lengths, start)
        except AnnealError as error:
            raise as_written(error) from None
        return never_negative(where, schedule)

    return build


def never_negative(where: str, schedule: Schedule) -> Schedule:
    """Refuse a schedule that makes a negative learning rate.

    Raises:
        AnnealError: If it does.
    """
    lowest = schedule.bounds[0]
    if -math.inf < lowest < 0:
        raise AnnealError(
            where, f"{type(schedule).__name__} goes down to {lowest:g}; a learning rate is never negative"
        )
    return schedule


def _settings(name: str, where: str, kwargs: Mapping[str, Any], written: dict[str, str]) -> dict[str, Any]:
    """The settings of an annealed parameter that say the same; `written` gets the keys that were called otherwise."""
    # A ramp's duration is another thing than that of a part of a sequence, which is part of the settings as it is.
    in_sequence = ".parts." in f"{where}."
    settings: dict[str, Any] = {"strategy": STRATEGIES[name]}
    for key, value in kwargs.items():
        renamed = key if in_sequence and key == "duration" else _KEYS.get(key, key)
        if renamed in settings:
            raise AnnealError(f"{where}.{key}", f"{renamed!r} says it too; keep one")
        if renamed != key:
            written[f"{where}.{renamed}"] = key
        if renamed == "base":
            value = _part(f"{where}.base", value, written)
        elif renamed == "parts" and isinstance(value, list | tuple):
            value = [_part(f"{where}.parts.{i}", part, written) for i, part in enumerate(value)]
        settings[renamed] = value
    return settings


def _part(where: str, value: object, written: dict[str, str]) -> Any:
    """A schedule within another one: ``{scheduler: Cosine, ...}``, or settings with a strategy."""
    if not isinstance(value, Mapping):
        raise AnnealError(where, f"must be a mapping such as {{scheduler: Cosine, end: 0.0}}, got {quote(value)}")
    rest = dict(value)
    name = rest.pop("scheduler", None)
    if name is None:
        if "strategy" not in rest:
            raise AnnealError(f"{where}.scheduler", f"missing{suggestion('', STRATEGIES)}")
        return rest
    if name not in STRATEGIES:
        raise AnnealError(f"{where}.scheduler", f"unknown schedule {quote(name)}{suggestion(name, STRATEGIES)}")
    return _settings(name, where, rest, written)
