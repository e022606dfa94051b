"""Reads annealing settings (a mapping, OmegaConf or a YAML file) into rules. Imports neither torch nor OmegaConf,
unless a file has to be read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lightning_anneal.checks import choice, count, flag, number, positive
from lightning_anneal.clock import Interval, Length, Lengths
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.recipes import (
    ANY_RUN,
    CycleRecipe,
    MilestonesRecipe,
    RampRecipe,
    Ready,
    Recipe,
    RestartRecipe,
    SequenceRecipe,
)
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Constant, Cosine, Exponential, Linear, Polynomial, Saturating, Schedule, Sigmoid
from lightning_anneal.schedules.cycles import WAVES

OBJECTS = ("model", "optimizer", "datamodule", "trainer")
"""The objects a config can name."""

_DEEPEST = 20
_TIMING = ("interval", "frequency", "scheduler_configs")
_COMMON = ("strategy", "object", "attr_name", *_TIMING, "round", "eval_value", "as_tensor")
_RAMP = ("start_value", "end_value", "total_steps")

Settings = dict[str, Any]


@dataclass(frozen=True)
class _Strategy:
    """How one strategy is read: the keys it takes, those it can't do without, and what makes its recipe."""

    read: Callable[[str, Settings], Recipe]
    keys: tuple[str, ...]
    required: tuple[str, ...]


def read_rules(params: object, where: str = "annealing_params") -> tuple[Rule, ...]:
    """The rules of an ``annealing_params`` mapping, which is read and never changed.

    Args:
        params: ``{name: settings}``; settings are a mapping, or in code a schedule or any callable of ``t``.
        where: What the mapping is called, for errors about the whole of it.

    Raises:
        AnnealError: For the first thing that is wrong with it.

    Example:
        >>> rules = read_rules({"beta": {"strategy": "cosine", "start_value": 0, "end_value": 1}})
        >>> rules[0].name, rules[0].interval
        ('beta', 'epoch')
    """
    if not isinstance(params, Mapping):
        raise AnnealError(where, f"must be a mapping of names to settings, got {quote(params)}")
    if not params:
        raise AnnealError(where, "must name at least one parameter")
    return tuple(_read_rule(name, settings) for name, settings in _resolved(params).items())


def plain(where: str, value: object, depth: int = 0) -> Any:
    """A copy made of plain dicts and lists: OmegaConf's containers are neither, and nobody's input may change.

    Raises:
        AnnealError: If it is nested too deeply to be a config.
    """
    if depth > _DEEPEST:
        raise AnnealError(where, f"nested more than {_DEEPEST} deep")
    value = _resolved(value)
    if isinstance(value, Mapping):
        return {k: plain(where, v, depth + 1) for k, v in value.items()}
    if isinstance(value, AnySequence) and not isinstance(value, str | bytes):
        return [plain(where, v, depth + 1) for v in value]
    return value


def read_file(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Raises:
        AnnealError: If there is no such file, or no mapping in it.
    """
    # OmegaConf reads 1e-7 as a number, where PyYAML gives a string, and refuses duplicate keys.
    from omegaconf import OmegaConf

    path = Path(path)
    try:
        found = path.is_file()
    except OSError:  # a text much too long for a path
        found = False
    if not found:
        raise AnnealError(quote(str(path)), "no such file")
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except Exception as error:
        raise AnnealError(quote(str(path)), f"can't be read: {' '.join(str(error).split())[:120]}") from None
    if not isinstance(content, dict):
        raise AnnealError(quote(str(path)), "must hold a mapping")
    return cast("dict[str, Any]", content)


def read_timing(where: str, settings: Mapping[str, Any]) -> tuple[Interval, int]:
    """Interval and frequency, given directly or inside ``scheduler_configs`` as for LR schedulers."""
    nested = settings.get("scheduler_configs")
    nested = {} if nested is None else _mapping(f"{where}.scheduler_configs", nested)
    _known_keys(f"{where}.scheduler_configs", nested, ("interval", "frequency", "monitor"))
    found: Settings = {}
    for key, default in (("interval", "epoch"), ("frequency", 1)):
        given = [source[key] for source in (settings, nested) if source.get(key) is not None]
        if len(given) == 2 and given[0] != given[1]:
            raise AnnealError(
                f"{where}.{key}", f"{quote(given[0])} here and {quote(given[1])} in scheduler_configs; keep one"
            )
        found[key] = given[0] if given else default
    interval = choice(f"{where}.interval", found["interval"], ("epoch", "step"))
    return cast("Interval", interval), count(f"{where}.frequency", found["frequency"])


def _resolved(value: Any) -> Any:
    """OmegaConf's containers as plain ones: interpolations and missing values show only on access."""
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is None or not omegaconf.OmegaConf.is_config(value):
        return value
    try:
        return omegaconf.OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except omegaconf.errors.OmegaConfBaseException as error:
        raise AnnealError("config", " ".join(str(error).split())[:160]) from None


def _read_rule(name: object, given: object) -> Rule:
    if not isinstance(name, str) or not name:
        raise AnnealError("annealing_params", f"a parameter's name must be a string, got {quote(name)}")
    given = _resolved(given)
    if isinstance(given, type):
        raise AnnealError(name, f"{given.__name__} is a class; make a schedule of it, such as Linear(0, 1, 10)")
    if isinstance(given, Schedule) or callable(given):
        return Rule(name, Ready(cast("Callable[[float], float]", given)), name)
    if not isinstance(given, Mapping):
        what = "must be a mapping of settings, a schedule or a callable of t"
        raise AnnealError(name, f"{what}, got {quote(given)}")
    owner = given.get("object")
    if isinstance(owner, str):
        owner = choice(f"{name}.object", owner, OBJECTS)
    settings = {k: v if k == "object" else plain(name, v) for k, v in given.items()}
    interval, frequency = read_timing(name, settings)
    path = settings.get("attr_name")
    if path is not None and not isinstance(path, str):
        raise AnnealError(f"{name}.attr_name", f"must be a dotted path, got {quote(path)}")
    eval_value = settings.get("eval_value")
    return Rule(
        name=name,
        recipe=_read_recipe(name, settings, _COMMON),
        path=name if path is None else path,
        object=owner,
        interval=interval,
        frequency=frequency,
        round=flag(f"{name}.round", settings.get("round", False)),
        eval_value=None if eval_value is None else number(f"{name}.eval_value", eval_value),
        as_tensor=flag(f"{name}.as_tensor", settings.get("as_tensor", False)),
    )


def _read_recipe(where: str, settings: Settings, common: tuple[str, ...]) -> Recipe:
    if settings.get("strategy") is None:
        raise AnnealError(f"{where}.strategy", f"missing{suggestion('', _STRATEGIES)}")
    name = choice(f"{where}.strategy", settings["strategy"], _STRATEGIES)
    strategy = _STRATEGIES[name]
    _known_keys(where, settings, common + strategy.keys)
    for key in strategy.required:
        if settings.get(key) is None:
            raise AnnealError(f"{where}.{key}", f"missing; {name} needs it")
    return strategy.read(where, settings)


def _known_keys(where: str, settings: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    for key in settings:
        if key not in known:
            raise AnnealError(where, f"unknown key {quote(key)}{suggestion(key, known)}")


def _mapping(where: str, value: object) -> Settings:
    if not isinstance(value, Mapping):
        raise AnnealError(where, f"must be a mapping, got {quote(value)}")
    return dict(value)


def _length(where: str, settings: Settings, key: str) -> Length | None:
    return None if settings.get(key) is None else Length.parse(f"{where}.{key}", settings[key])


def _ramp(cls: Callable[..., Schedule], **extra: float | None) -> _Strategy:
    """A ramp strategy; `extra` are the keys only it has, with their defaults (``None``: required)."""

    def read(where: str, settings: Settings) -> Recipe:
        start = settings.get("start_value")
        start = None if start is None else number(f"{where}.start_value", start)
        given = {k: default if settings.get(k) is None else settings[k] for k, default in extra.items()}
        recipe = RampRecipe(
            cls,
            start,
            number(f"{where}.end_value", settings["end_value"]),
            _length(where, settings, "total_steps"),
            {k: positive(f"{where}.{k}", v) for k, v in given.items()},
        )
        if start is not None:
            # With any length, so that ends that can't be are found now and not when training starts.
            recipe.build(Lengths(where, "epoch", ANY_RUN), None)
        return recipe

    required = ("end_value", *(k for k, default in extra.items() if default is None))
    return _Strategy(read, (*_RAMP, *extra), required)


def _read_constant(where: str, settings: Settings) -> Recipe:
    return Ready(Constant(number(f"{where}.value", settings["value"])))


def _read_milestones(where: str, settings: Settings) -> Recipe:
    schedule = _mapping(f"{where}.schedule", settings["schedule"])
    if not schedule:
        raise AnnealError(f"{where}.schedule", "must have at least one milestone such as {0: 1.0}")
    points = []
    for at, value in schedule.items():
        key = f"{where}.schedule.{str(at)[:40]}"
        points.append((Length.parse(key, at, zero=True), number(key, value)))
    times = [time for time, _ in points]
    for time in times:
        if times.count(time) > 1:
            raise AnnealError(f"{where}.schedule", f"two values for {time}")
    return MilestonesRecipe(tuple(points))


def _read_cycle(where: str, settings: Settings) -> Recipe:
    return CycleRecipe(
        Length.parse(f"{where}.cycle_length", settings["cycle_length"]),
        number(f"{where}.min_value", settings["min_value"]),
        number(f"{where}.max_value", settings["max_value"]),
        choice(f"{where}.wave_type", "cosine" if settings.get("wave_type") is None else settings["wave_type"], WAVES),
    )


def _read_restart(where: str, settings: Settings) -> Recipe:
    base = _read_recipe(f"{where}.base", _mapping(f"{where}.base", settings["base"]), ("strategy",))
    multiplier = settings.get("restart_multiplier")
    return RestartRecipe(
        base,
        Length.parse(f"{where}.restart_interval", settings["restart_interval"]),
        1.0 if multiplier is None else positive(f"{where}.restart_multiplier", multiplier),
    )


def _read_sequence(where: str, settings: Settings) -> Recipe:
    given = settings["parts"]
    if not isinstance(given, list) or not given:
        raise AnnealError(f"{where}.parts", f"must be a list of settings, got {quote(given)}")
    parts: list[tuple[Recipe, Length | None]] = []
    for i, entry in enumerate(given):
        key = f"{where}.parts.{i}"
        part = _mapping(key, entry)
        length = _length(key, part, "duration")
        if length is None and i < len(given) - 1:
            raise AnnealError(f"{key}.duration", "missing; only the last part can do without")
        parts.append((_read_recipe(key, part, ("strategy", "duration")), length))
    return SequenceRecipe(tuple(parts))


def _no_triggers(where: str, settings: Settings) -> Recipe:
    raise AnnealError(f"{where}.strategy", "TRIGGER_BASED is not in this version; take a schedule")


_TRIGGER = ("values", "trigger_source", "current_index", "at_end", "cooldown", "extend_training", "monitor")

_STRATEGIES = {
    "constant_pace": _ramp(Linear),
    "linear": _ramp(Linear),
    "cosine": _ramp(Cosine),
    "exponential": _ramp(Exponential),
    "saturating": _ramp(Saturating, rate=5.0),
    "polynomial": _ramp(Polynomial, power=None),
    "sigmoid": _ramp(Sigmoid, steepness=12.0),
    "constant": _Strategy(_read_constant, ("value",), ("value",)),
    "scheduled": _Strategy(_read_milestones, ("schedule",), ("schedule",)),
    "milestones": _Strategy(_read_milestones, ("schedule",), ("schedule",)),
    "cyclical": _Strategy(
        _read_cycle,
        ("cycle_length", "min_value", "max_value", "wave_type"),
        ("cycle_length", "min_value", "max_value"),
    ),
    "warm_restart": _Strategy(
        _read_restart, ("base", "restart_interval", "restart_multiplier"), ("base", "restart_interval")
    ),
    "sequence": _Strategy(_read_sequence, ("parts",), ("parts",)),
    "trigger_based": _Strategy(_no_triggers, _TRIGGER, ()),
}
