"""This package's schedules as LR schedules, by their class names, with the fields of the class or the keys of a config.

What reads the settings of an annealed parameter reads these, too: lengths have units, a length that is left out is the
run's, a start that is left out is the base learning rate (a factor of 1).
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch

from lightning_anneal.checks import number
from lightning_anneal.clock import Lengths
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.recipes import CYCLE_KEYS, RAMP_KEYS, RESTART_KEYS
from lightning_anneal.schedule_settings import read_recipe
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
    Schedule,
    Sequence,
    Sigmoid,
    WarmRestart,
)

_BY_CLASS = {
    Constant: "constant",
    Linear: "linear",
    Cosine: "cosine",
    Exponential: "exponential",
    Saturating: "saturating",
    Polynomial: "polynomial",
    Sigmoid: "sigmoid",
    Competence: "competence",
    Cyclical: "cyclical",
    WarmRestart: "warm_restart",
    Milestones: "milestones",
    Sequence: "sequence",
}
CLASSES = {cls.__name__: cls for cls in _BY_CLASS}
STRATEGIES = {cls.__name__: strategy for cls, strategy in _BY_CLASS.items()}
"""The strategy that each class is called by in a config."""

# A schedule may stand in a module's hparams, and so in checkpoints, which Lightning reads with ``weights_only=True``.
torch.serialization.add_safe_globals(list(_BY_CLASS))

_KEYS = {**RAMP_KEYS, **CYCLE_KEYS, **RESTART_KEYS, "values": "schedule"}
_FIELDS = {key: field for field, key in _KEYS.items()}
# A start that is left out is 1, a duration the run's.
_FILLED_IN = ("start", "duration")
_PART = re.compile(r"\.parts\.[0-9]+$")


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
    settings = _settings(name, where, kwargs)
    try:
        recipe = read_recipe(where, settings, ("strategy",))
    except AnnealError as error:
        raise _as_written(error, where, kwargs) from None

    def build(lengths: Lengths) -> Callable[[float], float]:
        try:
            schedule = recipe.build(lengths, 1.0)
        except AnnealError as error:
            raise _as_written(error, where, kwargs) from None
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


def _settings(name: str, where: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an annealed parameter that say the same."""
    given = {key: value for key, value in kwargs.items() if value is not None}
    # A ramp's duration is another thing than that of a part of a sequence, which is part of the settings as it is.
    in_sequence = _PART.search(where) is not None
    fields = inspect.signature(CLASSES[name]).parameters
    keys = {key: _KEYS.get(key, key) for key in fields}
    known = {*keys, *keys.values(), *(("duration",) if in_sequence else ())}
    settings: dict[str, Any] = {"strategy": STRATEGIES[name]}
    for key, value in given.items():
        if key not in known:
            raise AnnealError(where, f"unknown key {quote(key)}{suggestion(key, keys)}")
        renamed = key if in_sequence and key == "duration" else keys.get(key, key)
        if renamed in settings:
            other = next(each for each in given if each != key and keys.get(each, each) == renamed)
            raise AnnealError(f"{where}.{key}", f"{other!r} says it too; keep one")
        if renamed == "base":
            value = _part(f"{where}.base", value)
        elif renamed == "parts" and isinstance(value, list | tuple):
            value = [_part(f"{where}.parts.{i}", part) for i, part in enumerate(value)]
        settings[renamed] = value
    for key, renamed in keys.items():
        if renamed not in settings and key not in _FILLED_IN and fields[key].default is inspect.Parameter.empty:
            raise AnnealError(f"{where}.{key}", f"missing; {name} needs it")
    return _with_initial(where, settings)


def _with_initial(where: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What Milestones have before the first of them, as a milestone at 0."""
    initial = settings.pop("initial", None)
    schedule = settings.get("schedule")
    if initial is not None and isinstance(schedule, Mapping) and all(str(at).strip() != "0" for at in schedule):
        settings["schedule"] = {0: number(f"{where}.initial", initial), **schedule}
    return settings


def _part(where: str, value: object) -> Any:
    """A schedule within another one: ``{scheduler: Cosine, ...}``, or settings with a strategy."""
    if not isinstance(value, Mapping):
        raise AnnealError(where, f"must be a mapping such as {{scheduler: Cosine, end: 0.0}}, got {quote(value)}")
    rest = dict(value)
    name = rest.pop("scheduler", None)
    if name is None:
        if "strategy" not in rest:
            raise AnnealError(f"{where}.scheduler", f"missing{suggestion('', STRATEGIES)}")
        return rest
    if not isinstance(name, str) or name not in STRATEGIES:
        raise AnnealError(f"{where}.scheduler", f"unknown schedule {quote(name)}{suggestion(name, STRATEGIES)}")
    return _settings(name, where, rest)


def _as_written(error: AnnealError, where: str, kwargs: Any) -> AnnealError:
    """The error under the keys that the user wrote, or would have to: the fields of the class."""
    place, what, inside = [], error.what, kwargs
    for key in error.where.removeprefix(where).strip(".").split("."):
        field = key
        if not (isinstance(inside, Mapping) and (key in inside or "strategy" in inside)):
            field = _FIELDS.get(key, key)
            what = what.replace(f"unknown {key} ", f"unknown {field} ")
        place.append(field)
        if isinstance(inside, list | tuple):
            inside = inside[int(field)] if field.isdigit() and int(field) < len(inside) else None
        else:
            inside = inside.get(field) if isinstance(inside, Mapping) else None
    return AnnealError(".".join([where, *filter(None, place)]), what)
