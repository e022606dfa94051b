"""Schedules put together from pieces: values at milestones, and other schedules one after the other."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

from lightning_anneal.checks import number, positive
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.schedules.callables import FromCallable
from lightning_anneal.schedules.protocol import Schedule


@dataclass(frozen=True, init=False)
class Milestones(Schedule):
    """A value that jumps at given times and stays in between.

    Args:
        values: ``{t: value}``, in any order; ``t`` may be a string, as JSON writes keys.
        initial: Value before the first milestone. Without it an annealed parameter is left as it was found until
            then, and the schedule on its own has no value there.

    Attributes:
        points: The milestones as ``(t, value)`` pairs in the order of time.

    Raises:
        AnnealError: If it is empty, or asked for a time before the first milestone without ``initial``.

    Example:
        >>> Milestones({0: 1.0, 3: 0.1}).values(5)
        [1.0, 1.0, 1.0, 0.1, 0.1]
    """

    points: tuple[tuple[float, float], ...]
    initial: float | None
    _times: tuple[float, ...] = field(repr=False, compare=False)

    # Written out because the argument ``values`` has the name of a method.
    def __init__(self, values: Mapping[Any, float], initial: float | None = None) -> None:
        if not isinstance(values, Mapping) or not values:
            raise AnnealError(
                "Milestones.values", f"must be a mapping such as {{0: 1.0, 30: 0.1}}, got {quote(values)}"
            )
        points = sorted(
            (number("Milestones.values", t), number(f"Milestones.values[{quote(t)}]", v)) for t, v in values.items()
        )
        if points[0][0] < 0:
            raise AnnealError("Milestones.values", f"a milestone can't lie before 0, got {points[0][0]:g}")
        for (earlier, _), (later, _) in pairwise(points):
            if earlier == later:
                raise AnnealError("Milestones.values", f"two values for t = {later:g}")
        object.__setattr__(self, "points", tuple(points))
        object.__setattr__(self, "initial", None if initial is None else number("Milestones.initial", initial))
        object.__setattr__(self, "_times", tuple(t for t, _ in points))

    def __call__(self, t: float) -> float:
        index = bisect_right(self._times, max(t, 0.0))
        if index:
            return self.points[index - 1][1]
        if self.initial is None:
            raise AnnealError("Milestones.initial", f"needed: there is no value before t = {self._times[0]:g}")
        return self.initial

    def __repr__(self) -> str:
        initial = "" if self.initial is None else f", initial={self.initial!r}"
        return f"Milestones({dict(self.points)!r}{initial})"

    @property
    def bounds(self) -> tuple[float, float]:
        values = [v for _, v in self.points] + ([] if self.initial is None else [self.initial])
        return min(values), max(values)

    @property
    def settles_at(self) -> float:
        return self._times[-1]

    def next_event(self, t: float) -> float:
        index = bisect_right(self._times, t)
        return self._times[index] if index < len(self._times) else math.inf


@dataclass(frozen=True)
class Sequence(Schedule):
    """Schedules one after the other, each on its own clock; the last one goes on for ever.

    Args:
        parts: ``[(schedule, duration), ...]`` in order; a part may be any callable of ``t``. The duration of the
            last part is part of the plan but ends nothing.

    Example:
        >>> from lightning_anneal import Constant, Linear
        >>> Sequence([(Constant(0), 2), (Linear(0, 1, 4), 4)]).values(7)
        [0.0, 0.0, 0.0, 0.25, 0.5, 0.75, 1.0]
    """

    parts: Iterable[tuple[Callable[[float], float], float]]
    _starts: tuple[float, ...] = field(init=False, repr=False, compare=False)
    _curves: tuple[Schedule, ...] = field(init=False, repr=False, compare=False)
    _settles_at: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            parts = tuple((curve, duration) for curve, duration in self.parts)
        except (TypeError, ValueError):
            raise AnnealError("Sequence.parts", "must be a list of (schedule, duration) pairs") from None
        if not parts:
            raise AnnealError("Sequence.parts", "must have at least one part")
        for i, (curve, _) in enumerate(parts):
            if not callable(curve) or isinstance(curve, type):
                raise AnnealError(f"Sequence.parts.{i}", f"must be a schedule or a callable of t, got {quote(curve)}")
        parts = tuple((c, positive(f"Sequence.parts.{i}.duration", d)) for i, (c, d) in enumerate(parts))
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "_starts", tuple(accumulate((d for _, d in parts[:-1]), initial=0.0)))
        curves = [
            curve if isinstance(curve, Schedule) else FromCallable(curve, f"Sequence.parts.{i}")
            for i, (curve, _) in enumerate(parts)
        ]
        object.__setattr__(self, "_curves", tuple(curves))
        object.__setattr__(self, "_settles_at", self._starts[-1] + curves[-1].settles_at)

    def __call__(self, t: float) -> float:
        index = bisect_right(self._starts, max(t, 0.0)) - 1
        if t >= self._settles_at:
            # Taking the part's start off again could round t to just before the part's end.
            return self._curves[-1](math.inf)
        return self._curves[index](t - self._starts[index])

    @property
    def bounds(self) -> tuple[float, float]:
        known = [curve.bounds for curve in self._curves]
        return min(low for low, _ in known), max(high for _, high in known)

    @property
    def settles_at(self) -> float:
        return self._settles_at

    def next_event(self, t: float) -> float:
        index = bisect_right(self._starts, max(t, 0.0)) - 1
        curve, start = self._curves[index], self._starts[index]
        inner = start + curve.next_event(t - start)
        if inner <= t:  # the part's end, which adding the part's start has rounded onto t
            inner = math.inf
        following = self._starts[index + 1] if index + 1 < len(self._starts) else math.inf
        return min(inner, following)
