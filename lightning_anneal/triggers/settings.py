"""Reads the settings of a ``TRIGGER_BASED`` parameter into a `Reaction`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from lightning_anneal.checks import Value, choice, flag, not_negative, number, positive
from lightning_anneal.errors import AnnealError, misspelling, quote, suggestion
from lightning_anneal.triggers.events import Drop, Plateau, Rise, Stall, Threshold, Trigger
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.responses import Add, Multiply, NextOf, Response

Settings = Mapping[str, Any]


def _threshold(above: bool) -> Callable[[str, Settings], Trigger]:
    def read(where: str, settings: Settings) -> Trigger:
        _needs(where, settings, "monitor", "threshold")
        return Threshold(number(f"{where}.threshold", settings["threshold"]), above)

    return read


def _stall(where: str, settings: Settings) -> Trigger:
    _needs(where, settings, "monitor", "patience")
    min_delta = number(f"{where}.min_delta", _or(settings, "min_delta", 0.0))
    if min_delta < 0:
        raise AnnealError(f"{where}.min_delta", f"must not be negative, got {quote(settings['min_delta'])}")
    mode = choice(f"{where}.mode", _or(settings, "mode", "min"), ("min", "max"))
    return Stall(_polls(f"{where}.patience", settings["patience"], least=1), mode == "max", min_delta)


# What makes each source's trigger, and the keys that only it has.
_SOURCES: dict[str, tuple[Callable[[str, Settings], Trigger], tuple[str, ...]]] = {
    "early_stopper_counter": (lambda where, settings: Rise(counts=True), ()),
    "early_stopper_half_patience": (lambda where, settings: Rise(), ()),
    "early_stopper_third_patience": (lambda where, settings: Rise(), ()),
    "early_stopper_triggered": (lambda where, settings: Rise(), ("extend_training",)),
    "lr_scheduler_triggered": (lambda where, settings: Drop(), ()),
    "metric_below": (_threshold(above=False), ("threshold",)),
    "metric_above": (_threshold(above=True), ("threshold",)),
    "metric_plateau": (_stall, ("mode", "patience", "min_delta")),
}

SOURCES = tuple(_SOURCES)
"""What a trigger can look at."""

_OWN_KEYS = tuple(key for _, keys in _SOURCES.values() for key in keys)
_VALUES_KEYS, _MULTIPLY_KEYS = ("current_index", "at_end"), ("min_value", "max_value")

TRIGGER_KEYS = (
    *("trigger_source", "monitor", "cooldown", "values", "multiply"),
    *_VALUES_KEYS, *_MULTIPLY_KEYS, *dict.fromkeys(_OWN_KEYS),
)  # fmt: skip
"""Every key that a ``TRIGGER_BASED`` parameter can have, apart from those of every parameter."""


def read_reaction(where: str, settings: Settings) -> Reaction:
    """The reaction that settings describe. Unknown keys are the caller's business; keys of another source are told.

    Raises:
        AnnealError: For a key that is missing, wrong, or of another source.

    Example:
        >>> settings = {"trigger_source": "metric_below", "monitor": "val_loss", "threshold": 0.5, "values": [0, 1]}
        >>> read_reaction("beta", settings).response.value(1, 0.0)
        1.0
    """
    source = choice(f"{where}.trigger_source", settings["trigger_source"], SOURCES)
    make, own = _SOURCES[source]
    for key in _given(settings, _OWN_KEYS):
        if key not in own and settings[key] is not False:
            owners = [name for name, (_, keys) in _SOURCES.items() if key in keys]
            raise AnnealError(f"{where}.{key}", f"is for {' and '.join(owners)}, not for {source}")
    extend = flag(f"{where}.extend_training", _or(settings, "extend_training", False))
    cooldown = _polls(f"{where}.cooldown", _or(settings, "cooldown", 0), least=0)
    if extend and cooldown:
        raise AnnealError(f"{where}.cooldown", "doesn't go with extend_training: the patience has to run out anew")
    trigger, response = make(where, settings), _read_response(where, settings)
    return Reaction(source, trigger, response, cooldown, monitor_of(where, settings), extend)


def read_trigger(where: str, settings: Settings, besides: tuple[str, ...] = ()) -> Reaction:
    """The reaction to an event that something else than a value follows from, such as the end of a phase.

    Args:
        where: Where it stands, for errors.
        settings: What is looked at under ``trigger``, and its keys.
        besides: Keys that are somebody else's business.

    Raises:
        AnnealError: For a key that is missing, wrong, or of another source.

    Example:
        >>> read_trigger("until", {"trigger": "metric_below", "monitor": "val_loss", "threshold": 0.5}).watches
        'metric'
    """
    if settings.get("trigger") is None:
        if (key := misspelling("trigger", settings, ("trigger", "monitor", *_OWN_KEYS, *besides))) is not None:
            raise AnnealError(where, f"unknown key {quote(key)}; did you mean 'trigger'?")
        raise AnnealError(f"{where}.trigger", f"missing{suggestion('', SOURCES)}")
    source = choice(f"{where}.trigger", settings["trigger"], SOURCES)
    make, own = _SOURCES[source]
    keys = ("trigger", "monitor", *(key for key in own if key != "extend_training"), *besides)
    for key in settings:
        if key not in keys:
            raise AnnealError(where, f"unknown key {quote(key)} for {source}{suggestion(key, keys)}")
    trigger = make(where, {**settings, "trigger_source": source})
    return Reaction(source, trigger, NextOf((0.0, 1.0)), monitor=monitor_of(where, settings))


PLATEAU_KEYS = (
    *("monitor", "mode", "factor", "step", "patience", "cooldown", "threshold", "threshold_mode"),
    *_MULTIPLY_KEYS,
)
"""Every key that an ``on_plateau`` parameter can have, apart from those of every parameter."""


def read_plateau(where: str, settings: Settings) -> Reaction:
    """The reaction that settings of ``on_plateau`` describe: what ReduceLROnPlateau does to a learning rate.

    Raises:
        AnnealError: For a key that is missing or wrong.

    Example:
        >>> settings = {"strategy": "on_plateau", "monitor": "val_loss", "factor": 0.5}
        >>> read_plateau("temperature", settings).response.value(2, 1.0)
        0.25
    """
    if (monitor := monitor_of(where, settings)) is None:
        raise AnnealError(f"{where}.monitor", "missing; on_plateau needs it")
    factor, step = settings.get("factor"), settings.get("step")
    if (factor is None) == (step is None):
        what = "missing; give factor, or step" if step is None else "give factor or step, not both"
        raise AnnealError(f"{where}.factor", what)
    low, high = _bounds(where, settings)
    response: Response
    if factor is None:
        response = Add(number(f"{where}.step", step), low, high)
        if response.step == 0:
            raise AnnealError(f"{where}.step", "must not be 0, which changes nothing")
    else:
        response = Multiply(_factor(f"{where}.factor", factor), low, high, key="factor")
    trigger = Plateau(
        _polls(f"{where}.patience", _or(settings, "patience", 10), least=0),
        choice(f"{where}.mode", _or(settings, "mode", "min"), ("min", "max")) == "max",
        not_negative(f"{where}.threshold", _or(settings, "threshold", 1e-4)),
        choice(f"{where}.threshold_mode", _or(settings, "threshold_mode", "rel"), ("rel", "abs")) == "rel",
        _polls(f"{where}.cooldown", _or(settings, "cooldown", 0), least=0),
    )
    return Reaction("on_plateau", trigger, response, monitor=monitor, patient=True)


def _bounds(where: str, settings: Settings) -> tuple[float, float]:
    low, high = (
        edge if settings.get(key) is None else number(f"{where}.{key}", settings[key])
        for key, edge in zip(_MULTIPLY_KEYS, (-math.inf, math.inf), strict=True)
    )
    if low > high:
        raise AnnealError(f"{where}.min_value", f"must not be above max_value, got {low:g} and {high:g}")
    return low, high


def _factor(where: str, value: object) -> float:
    factor = positive(where, value)
    if factor == 1:
        raise AnnealError(where, "must not be 1, which changes nothing")
    return factor


def _read_response(where: str, settings: Settings) -> Response:
    values, factor = settings.get("values"), settings.get("multiply")
    if (values is None) == (factor is None):
        what = "missing; give values, or multiply" if values is None else "give values or multiply, not both"
        raise AnnealError(f"{where}.values", what)
    has, others = ("multiply", _VALUES_KEYS) if values is None else ("values", _MULTIPLY_KEYS)
    for key in _given(settings, others):
        raise AnnealError(f"{where}.{key}", f"doesn't go with {has}")
    if values is None:
        return Multiply(_factor(f"{where}.multiply", factor), *_bounds(where, settings))
    if not isinstance(values, list) or not values:
        raise AnnealError(f"{where}.values", f"must be a list of at least one value, got {quote(values)}")
    read = tuple(read_value(f"{where}.values.{i}", value) for i, value in enumerate(values))
    if len({type(value) for value in read}) > 1:
        raise AnnealError(f"{where}.values", f"must be all numbers, all booleans or all strings, got {quote(values)}")
    first = number(f"{where}.current_index", _or(settings, "current_index", 0))
    if not 0 <= first < len(read) or first != int(first):
        what = f"must be a whole number from 0 to {len(read) - 1}"
        raise AnnealError(f"{where}.current_index", f"{what}, got {quote(settings['current_index'])}")
    at_end = choice(f"{where}.at_end", _or(settings, "at_end", "hold"), ("hold", "cycle"))
    return NextOf(read, int(first), at_end == "cycle")


def read_value(where: str, value: object) -> Value:
    """A boolean, a number, or a string that is no number: ``"1e-7"`` is one.

    Raises:
        AnnealError: If it is none of these.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return value
    return number(where, value)


def _polls(where: str, value: object, least: int) -> int:
    """How many polls; they are counted, so a length with a unit is none."""
    try:
        polls = number(where, value)
    except AnnealError:
        polls = -1.0
    if polls < least or polls != int(polls):
        raise AnnealError(where, f"counts polls: a whole number from {least}, got {quote(value)}")
    return int(polls)


def monitor_of(where: str, settings: Settings) -> str | None:
    """The metric that settings name, directly or, as for LR schedulers, inside ``scheduler_configs``.

    Raises:
        AnnealError: If it is given twice, or is no name.

    Example:
        >>> monitor_of("beta", {"scheduler_configs": {"monitor": "val_loss"}})
        'val_loss'
    """
    nested = settings.get("scheduler_configs")
    inside = nested.get("monitor") if isinstance(nested, Mapping) else None
    given = [name for name in (settings.get("monitor"), inside) if name is not None]
    if len(set(map(str, given))) > 1:
        raise AnnealError(
            f"{where}.monitor", f"{quote(given[0])} here and {quote(given[1])} in scheduler_configs; keep one"
        )
    if given and (not isinstance(given[0], str) or not given[0]):
        raise AnnealError(f"{where}.monitor", f"must be the name of a metric, got {quote(given[0])}")
    return given[0] if given else None


def _needs(where: str, settings: Settings, *keys: str) -> None:
    for key in keys:
        given = monitor_of(where, settings) if key == "monitor" else settings.get(key)
        if given is None:
            raise AnnealError(f"{where}.{key}", f"missing; {str(settings['trigger_source']).lower()} needs it")


def _given(settings: Settings, keys: tuple[str, ...]) -> list[str]:
    return [key for key in keys if settings.get(key) is not None]


def _or(settings: Settings, key: str, default: Any) -> Any:
    return default if settings.get(key) is None else settings[key]
