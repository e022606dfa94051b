"""Reads the settings of the strategies that are pure schedules: the keys each one takes, and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from lightning_anneal.checks import choice, number, positive
from lightning_anneal.clock import Length, Lengths
from lightning_anneal.errors import AnnealError, misspelling, quote, suggestion
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
from lightning_anneal.schedules import (
    Competence,
    Constant,
    Cosine,
    Exponential,
    Linear,
    Polynomial,
    Saturating,
    Schedule,
    Sigmoid,
)
from lightning_anneal.schedules.cycles import WAVES

_RAMP = ("start_value", "end_value", "total_steps")

Settings = dict[str, Any]


@dataclass(frozen=True)
class Strategy:
    """How one strategy is read: the keys it takes, those it can't do without, and what makes its source of values."""

    read: Callable[[str, Settings], Any]
    keys: tuple[str, ...]
    required: tuple[str, ...]

    def source(self, where: str, name: str, settings: Settings, common: tuple[str, ...]) -> Any:
        """The source of values that settings describe.

        Raises:
            AnnealError: For an unknown key, a missing one, or a value that can't be.
        """
        known_keys(where, settings, common + self.keys)
        for key in self.required:
            if settings.get(key) is None:
                raise AnnealError(f"{where}.{key}", f"missing; {name} needs it")
        return self.read(where, settings)


def strategy_of(where: str, settings: Settings, table: Mapping[str, Strategy], common: tuple[str, ...]) -> str:
    """The name of a strategy in a table.

    Raises:
        AnnealError: If it is missing, misspelled or not in there.
    """
    if settings.get("strategy") is None:
        every_key = {key for strategy in table.values() for key in strategy.keys} | {"strategy", "duration", *common}
        if (key := misspelling("strategy", settings, every_key)) is not None:
            raise AnnealError(where, f"unknown key {quote(key)}; did you mean 'strategy'?")
        raise AnnealError(f"{where}.strategy", f"missing{suggestion('', table)}")
    return choice(f"{where}.strategy", settings["strategy"], table)


def read_recipe(where: str, settings: Settings, common: tuple[str, ...]) -> Recipe:
    """A schedule inside another strategy.

    Args:
        where: Where it stands, for errors.
        settings: Its settings, made of plain dicts and lists.
        common: The keys that every strategy can have here.

    Raises:
        AnnealError: For an unknown strategy or key, a missing key, a value that can't be, or a strategy that is no
            schedule.
    """
    if (name := str(settings.get("strategy")).lower()) in NO_SCHEDULES:
        raise AnnealError(f"{where}.strategy", f"{name} can't be a part of another strategy")
    name = strategy_of(where, settings, SCHEDULE_STRATEGIES, common)
    return cast(Recipe, SCHEDULE_STRATEGIES[name].source(where, name, settings, common))


def known_keys(where: str, settings: Mapping[Any, Any], known: tuple[str, ...]) -> None:
    """Refuse a key that is none of the known ones."""
    for key in settings:
        if key not in known:
            raise AnnealError(where, f"unknown key {quote(key)}{suggestion(key, known)}")


def as_mapping(where: str, value: object) -> Settings:
    """A dict of a mapping, or an error."""
    if not isinstance(value, Mapping):
        raise AnnealError(where, f"must be a mapping, got {quote(value)}")
    return dict(value)


def _length(where: str, settings: Settings, key: str) -> Length | None:
    return None if settings.get(key) is None else Length.parse(f"{where}.{key}", settings[key])


def _ramp(cls: Callable[..., Schedule], *, end: float | None = None, **extra: float | None) -> Strategy:
    """A ramp strategy; `extra` are the keys only it has, with their defaults (``None``: required), `end` that of the
    end value.
    """

    def read(where: str, settings: Settings) -> Recipe:
        start = settings.get("start_value")
        start = None if start is None else number(f"{where}.start_value", start)
        given = {k: default if settings.get(k) is None else settings[k] for k, default in extra.items()}
        recipe = RampRecipe(
            cls,
            start,
            number(f"{where}.end_value", end if settings.get("end_value") is None else settings["end_value"]),
            _length(where, settings, "total_steps"),
            {k: positive(f"{where}.{k}", v) for k, v in given.items()},
        )
        if start is not None:
            # With any length, so that ends that can't be are found now and not when training starts.
            recipe.build(Lengths(where, "epoch", ANY_RUN), None)
        return recipe

    defaults = {"end_value": end, **extra}
    return Strategy(read, (*_RAMP, *extra), tuple(key for key, default in defaults.items() if default is None))


def _read_constant(where: str, settings: Settings) -> Recipe:
    return Ready(Constant(number(f"{where}.value", settings["value"])))


def _read_milestones(where: str, settings: Settings) -> Recipe:
    schedule = as_mapping(f"{where}.schedule", settings["schedule"])
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
    base = read_recipe(f"{where}.base", as_mapping(f"{where}.base", settings["base"]), ("strategy",))
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
        part = as_mapping(key, entry)
        recipe, length = read_recipe(key, part, ("strategy", "duration")), _length(key, part, "duration")
        if length is None and i < len(given) - 1:
            raise AnnealError(f"{key}.duration", "missing; only the last part can do without")
        parts.append((recipe, length))
    return SequenceRecipe(tuple(parts))


SCHEDULE_STRATEGIES = {
    "constant_pace": _ramp(Linear),
    "linear": _ramp(Linear),
    "cosine": _ramp(Cosine),
    "exponential": _ramp(Exponential),
    "saturating": _ramp(Saturating, rate=5.0),
    "polynomial": _ramp(Polynomial, power=None),
    "sigmoid": _ramp(Sigmoid, steepness=12.0),
    # To all of the data, as in the paper.
    "competence": _ramp(Competence, end=1.0, power=2.0),
    "constant": Strategy(_read_constant, ("value",), ("value",)),
    "scheduled": Strategy(_read_milestones, ("schedule",), ("schedule",)),
    "milestones": Strategy(_read_milestones, ("schedule",), ("schedule",)),
    "cyclical": Strategy(
        _read_cycle,
        ("cycle_length", "min_value", "max_value", "wave_type"),
        ("cycle_length", "min_value", "max_value"),
    ),
    "warm_restart": Strategy(
        _read_restart, ("base", "restart_interval", "restart_multiplier"), ("base", "restart_interval")
    ),
    "sequence": Strategy(_read_sequence, ("parts",), ("parts",)),
}
"""The strategies that are pure schedules."""

NO_SCHEDULES = ("trigger_based", "on_plateau", "pi_control", "constraint", "gated", "follow")
"""The others, whose values depend on what happens, and which can't be part of another one."""
