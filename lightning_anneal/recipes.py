"""Schedules that can't be built yet: their lengths have units, or their start is the value found in the model.

A recipe is what a config says. `build` makes the schedule when the run is known; every length it needs goes through
`Lengths`, which keeps the numbers, so that a resumed run builds the very same schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from lightning_anneal.clock import Horizon, Length, Lengths
from lightning_anneal.errors import AnnealError
from lightning_anneal.schedules import Cyclical, Milestones, Schedule, Sequence, WarmRestart
from lightning_anneal.schedules.beta import SINGLE, beta_schedule
from lightning_anneal.schedules.callables import FromCallable


class Recipe(Protocol):
    """Builds one schedule once the run is known."""

    @property
    def needs_start(self) -> bool:
        """Whether the value found in the target is part of the schedule."""
        ...

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        """The schedule.

        Args:
            lengths: Turns lengths into numbers and keeps them.
            start: The value found in the target; needed where `needs_start` says so.

        Raises:
            AnnealError: For a value out of range, or a length that can't be known.
        """
        ...


def _named(lengths: Lengths, keys: Mapping[str, str], make: Callable[[], Schedule]) -> Schedule:
    """Make a schedule, and tell its errors under the keys of the config."""
    try:
        return make()
    except AnnealError as error:
        field_name = error.where.rsplit(".", 1)[-1]
        where = f"{lengths.where}.{lengths.prefix}{keys.get(field_name, field_name)}"
        raise AnnealError(where, error.what) from None


ANY_RUN = Horizon(1e6, None, lambda: 1e3)
"""A run in which every length can be known, to try settings in before there is a real one."""

RAMP_KEYS = {"start": "start_value", "end": "end_value", "duration": "total_steps"}
CYCLE_KEYS = {"period": "cycle_length", "low": "min_value", "high": "max_value", "wave": "wave_type"}
RESTART_KEYS = {"interval": "restart_interval", "multiplier": "restart_multiplier"}
"""Which key of a config each field of a schedule is written under."""


@dataclass(frozen=True)
class Ready:
    """A schedule, or any callable of ``t``, given in code."""

    curve: Callable[[float], float]

    @property
    def needs_start(self) -> bool:
        return isinstance(self.curve, Milestones) and self.curve.initial is None and self.curve.points[0][0] > 0

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        if self.needs_start and isinstance(self.curve, Milestones):
            return Milestones(dict(self.curve.points), initial=start)
        return self.curve if isinstance(self.curve, Schedule) else FromCallable(self.curve, lengths.where)


@dataclass(frozen=True)
class RampRecipe:
    """A ramp; without a start it begins at the value found, without a length it takes the whole run."""

    cls: Callable[..., Schedule]
    start: float | None
    end: float
    total_steps: Length | None
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def needs_start(self) -> bool:
        return self.start is None

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        begin = start if self.start is None else self.start
        duration = lengths("total_steps", self.total_steps)
        return _named(lengths, RAMP_KEYS, lambda: self.cls(begin, self.end, duration, **self.extra))


@dataclass(frozen=True)
class CycleRecipe:
    """A wave."""

    cycle_length: Length
    low: float
    high: float
    wave: str

    @property
    def needs_start(self) -> bool:
        return False

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        period = lengths("cycle_length", self.cycle_length)
        return _named(lengths, CYCLE_KEYS, lambda: Cyclical(period, self.low, self.high, self.wave))


@dataclass(frozen=True)
class MilestonesRecipe:
    """Values at points in time; before the first one, the value found."""

    points: tuple[tuple[Length, float], ...]

    @property
    def needs_start(self) -> bool:
        return min(at.amount for at, _ in self.points) > 0

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        values: dict[float, float] = {}
        for at, value in self.points:
            t = 0.0 if at.amount == 0 else lengths(f"schedule.{at}", at)
            if t in values:
                raise AnnealError(f"{lengths.where}.{lengths.prefix}schedule.{at}", f"a second value for t = {t:g}")
            values[t] = value
        return Milestones(values, initial=start if self.needs_start else None)


@dataclass(frozen=True)
class RestartRecipe:
    """A recipe that begins again; a base without a length takes one stretch."""

    base: Recipe
    interval: Length
    multiplier: float

    @property
    def needs_start(self) -> bool:
        return self.base.needs_start

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        interval = lengths("restart_interval", self.interval)
        base = self.base.build(lengths.within("base", whole=max(interval - 1, 1.0)), start)
        return _named(lengths, RESTART_KEYS, lambda: WarmRestart(base, interval, self.multiplier))


@dataclass(frozen=True)
class SequenceRecipe:
    """Recipes one after the other; a part without a start begins where the one before ends."""

    parts: tuple[tuple[Recipe, Length | None], ...]

    @property
    def needs_start(self) -> bool:
        return self.parts[0][0].needs_start

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        built: list[tuple[Schedule, float]] = []
        elapsed = 0.0
        for i, (recipe, length) in enumerate(self.parts):
            # Only the last part may come without a duration: it has the rest of the run.
            if length is None:
                duration = max(lengths("duration", None) - elapsed, 1.0)
            else:
                duration = lengths.within(f"parts.{i}", whole=None)("duration", length)
            curve = recipe.build(lengths.within(f"parts.{i}", whole=duration), start)
            built.append((curve, duration))
            elapsed += duration
            start = curve(duration)
        return Sequence(built)


@dataclass(frozen=True)
class BetaRecipe:
    """A beta scheduler under its own names, whose lengths may have units."""

    kind: str
    params: Mapping[str, Any]

    @property
    def needs_start(self) -> bool:
        return False

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        try:
            return beta_schedule(self.kind, _beta_numbers(lengths, self.kind, self.params))
        except AnnealError as error:
            # The rule's name takes the place of classes and types, which the user has written nowhere here.
            keys = [k for k in error.where.split(".") if k not in SINGLE and not k.endswith("BetaScheduler")]
            keys = keys[1:] if keys[:1] == [lengths.where] else keys
            raise AnnealError(".".join([lengths.where, *keys]), error.what) from None

    def check(self, where: str) -> None:
        """Build with a run of any length, so that what the parameters alone show is told now."""
        self.build(Lengths(where, "epoch", ANY_RUN), None)


def _beta_numbers(lengths: Lengths, kind: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with every length as a number."""
    numbers = dict(params)
    for key in SINGLE[kind].lengths:
        if key in numbers:
            where = f"{lengths.where}.{lengths.prefix}{key}"
            numbers[key] = lengths(key, Length.parse(where, numbers[key]))
    base = numbers.get("base_scheduler_kwargs")
    if kind == "warm_restart" and isinstance(base, Mapping):
        inner = str(numbers.get("base_scheduler_type")).lower()
        if inner in SINGLE:
            numbers["base_scheduler_kwargs"] = _beta_numbers(lengths.within("base_scheduler_kwargs", None), inner, base)
    return numbers
