"""Curves that go once from a start value to an end value and stay there.

The end value first holds at ``t = duration``, and both ends are returned as given, never computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any, Protocol

from lightning_anneal.checks import not_negative, number, positive
from lightning_anneal.errors import AnnealError
from lightning_anneal.schedules.protocol import Schedule

# Derived numbers are worked out once: a call costs what its formula costs, in every training step.


def _derived() -> Any:
    return field(init=False, repr=False, compare=False)


class Ramp(Schedule, Protocol):
    """What the ramps share: two ends, and the time between them."""

    start: float
    end: float
    duration: float

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.start, self.end), max(self.start, self.end)

    @property
    def settles_at(self) -> float:
        return self.duration


def _check_ends(ramp: Ramp) -> None:
    name = type(ramp).__name__
    for key in ("start", "end"):
        object.__setattr__(ramp, key, number(f"{name}.{key}", getattr(ramp, key)))
    object.__setattr__(ramp, "duration", positive(f"{name}.duration", ramp.duration))
    span = ramp.end - ramp.start
    if not math.isfinite(span):
        raise AnnealError(f"{name}.end", "too far from the start value for a float")
    object.__setattr__(ramp, "_span", span)


@dataclass(frozen=True)
class Constant(Schedule):
    """The same value at any time.

    Args:
        value: The value.

    Example:
        >>> Constant(0.5)(100)
        0.5
    """

    value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number("Constant.value", self.value))

    def __call__(self, t: float) -> float:
        return self.value

    @property
    def bounds(self) -> tuple[float, float]:
        return self.value, self.value

    @property
    def settles_at(self) -> float:
        return 0.0


@dataclass(frozen=True)
class Linear(Ramp):
    """A straight line: ``start + (end - start) * t / duration``.

    Args:
        start: Value at ``t = 0``.
        end: Value from ``t = duration`` on.
        duration: Epochs (or steps) from start to end, positive.

    Example:
        >>> Linear(0, 1, 10)(5)
        0.5
    """

    start: float
    end: float
    duration: float
    _span: float = _derived()

    def __post_init__(self) -> None:
        _check_ends(self)

    def __call__(self, t: float) -> float:
        if 0 < t < self.duration:
            return self.start + self._span * (t / self.duration)
        return self.start if t <= 0 else self.end


@dataclass(frozen=True)
class Cosine(Ramp):
    """Half a cosine: slow, fast, slow; ``start + (end - start) * (1 - cos(pi * t / duration)) / 2``.

    The shape of Loshchilov & Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, for a
    ramp in either direction.

    Args:
        start: Value at ``t = 0``.
        end: Value from ``t = duration`` on.
        duration: Epochs (or steps) from start to end, positive.

    Example:
        >>> [round(v, 3) for v in Cosine(0, 1, 4).values(5)]
        [0.0, 0.146, 0.5, 0.854, 1.0]
    """

    start: float
    end: float
    duration: float
    _span: float = _derived()
    _half: float = _derived()

    def __post_init__(self) -> None:
        _check_ends(self)
        object.__setattr__(self, "_half", self._span / 2)

    def __call__(self, t: float) -> float:
        if 0 < t < self.duration:
            return self.start + self._half * (1.0 - cos(pi * (t / self.duration)))
        return self.start if t <= 0 else self.end


@dataclass(frozen=True)
class Exponential(Ramp):
    """Equal factors in equal times: ``start * (end / start) ** (t / duration)``.

    A geometric curve has no zero in it. For a ramp that starts at 0 take `Saturating`.

    Args:
        start: Value at ``t = 0``, not zero.
        end: Value from ``t = duration`` on, of the same sign.
        duration: Epochs (or steps) from start to end, positive.

    Raises:
        AnnealError: If an end is zero or the signs differ.

    Example:
        >>> [round(v, 6) for v in Exponential(1, 1e-4, 4).values(5)]
        [1.0, 0.1, 0.01, 0.001, 0.0001]
    """

    start: float
    end: float
    duration: float
    _span: float = _derived()
    _ratio: float = _derived()

    def __post_init__(self) -> None:
        _check_ends(self)
        if self.start == 0:
            raise AnnealError("Exponential.start", "a geometric curve can't start at 0; take Saturating")
        if self.end == 0:
            raise AnnealError("Exponential.end", "a geometric curve never reaches 0; take Saturating")
        if (self.start > 0) != (self.end > 0):
            raise AnnealError("Exponential.end", "must have the sign of the start value; take Linear or Cosine")
        ratio = self.end / self.start
        if not 0 < ratio < math.inf:
            raise AnnealError("Exponential.end", "too many powers of ten away from the start value for a float")
        object.__setattr__(self, "_ratio", ratio)

    def __call__(self, t: float) -> float:
        if 0 < t < self.duration:
            return self.start * math.pow(self._ratio, t / self.duration)
        return self.start if t <= 0 else self.end


@dataclass(frozen=True)
class Saturating(Ramp):
    """Fast, then slow: ``start + (end - start) * (1 - exp(-rate * t / duration)) / (1 - exp(-rate))``.

    The charging curve of a capacitor, divided by what it reaches at ``t = duration``, so that it ends at the end
    value without a jump.

    Args:
        start: Value at ``t = 0``.
        end: Value from ``t = duration`` on.
        duration: Epochs (or steps) from start to end, positive.
        rate: Time constants within the duration, positive; the larger, the faster at first.

    Example:
        >>> [round(v, 3) for v in Saturating(0, 1, 4).values(5)]
        [0.0, 0.718, 0.924, 0.983, 1.0]
    """

    start: float
    end: float
    duration: float
    rate: float = 5.0
    _span: float = _derived()
    _slope: float = _derived()
    _scale: float = _derived()

    def __post_init__(self) -> None:
        _check_ends(self)
        object.__setattr__(self, "rate", positive("Saturating.rate", self.rate))
        object.__setattr__(self, "_slope", -self.rate / self.duration)
        object.__setattr__(self, "_scale", self._span / math.expm1(-self.rate))
        if not math.isfinite(self._scale):
            raise AnnealError("Saturating.rate", f"too small for a float, got {self.rate:g}")

    def __call__(self, t: float) -> float:
        if 0 < t < self.duration:
            return self.start + self._scale * math.expm1(self._slope * t)
        return self.start if t <= 0 else self.end


@dataclass(frozen=True)
class Polynomial(Ramp):
    """A power of time: ``start + (end - start) * (t / duration) ** power``.

    Args:
        start: Value at ``t = 0``.
        end: Value from ``t = duration`` on.
        duration: Epochs (or steps) from start to end, positive.
        power: Positive; 1 is a straight line, above 1 starts slowly, below 1 starts fast.

    Example:
        >>> Polynomial(0, 16, 4, power=2).values(5)
        [0.0, 1.0, 4.0, 9.0, 16.0]
    """

    start: float
    end: float
    duration: float
    power: float
    _span: float = _derived()

    def __post_init__(self) -> None:
        _check_ends(self)
        object.__setattr__(self, "power", positive("Polynomial.power", self.power))

    def __call__(self, t: float) -> float:
        if 0 < t < self.duration:
            return self.start + self._span * math.pow(t / self.duration, self.power)
        return self.start if t <= 0 else self.end


@dataclass(frozen=True)
class Competence(Ramp):
    """A power of the value grows in a straight line: fast at first, then ever more slowly.

    ``(start**power + (end**power - start**power) * t / duration) ** (1 / power)``. From ``c0`` to 1 it is the
    competence ``min(1, ((1 - c0**p) * t / T + c0**p) ** (1 / p))`` of Platanios et al., "Competence-based
    Curriculum Learning for Neural Machine Translation", NAACL 2019, there with ``p = 2`` and ``c0 = 0.01``: the share
    of the data, from the easiest up, that a model is ready for. From one length to another it is that share of the
    longer one.

    Args:
        start: Value at ``t = 0``, not negative.
        end: Value from ``t = duration`` on, not negative.
        duration: Epochs (or steps) from start to end, positive.
        power: Positive; 1 is a straight line, 2 the square root of one.

    Example:
        >>> [round(v, 3) for v in Competence(0.01, 1, 4).values(5)]
        [0.01, 0.5, 0.707, 0.866, 1.0]
    """

    start: float
    end: float
    duration: float
    power: float = 2.0
    _top: float = _derived()
    _low: float = _derived()
    _rise: float = _derived()
    _root: float = _derived()

    def __post_init__(self) -> None:
        for key in ("start", "end"):
            not_negative(f"Competence.{key}", getattr(self, key))
        _check_ends(self)
        object.__setattr__(self, "power", positive("Competence.power", self.power))
        # As shares of the greater end, whose powers are no greater than 1.
        top = max(self.start, self.end)
        low, high = ((value / top) ** self.power if top else 0.0 for value in (self.start, self.end))
        object.__setattr__(self, "_top", top)
        object.__setattr__(self, "_low", low)
        object.__setattr__(self, "_rise", high - low)
        object.__setattr__(self, "_root", 1 / self.power)
        if not math.isfinite(self._root):
            raise AnnealError("Competence.power", f"too small for a float, got {self.power:g}")

    def __call__(self, t: float) -> float:
        if 0 < t < self.duration:
            return float(self._top * math.pow(self._low + self._rise * (t / self.duration), self._root))
        return self.start if t <= 0 else self.end


@dataclass(frozen=True)
class Sigmoid(Ramp):
    """The logistic curve in ``t / duration``, centred at one half and stretched so that both ends are exact.

    ``start + (end - start) * (s(t / duration) - s(0)) / (s(1) - s(0))`` with
    ``s(u) = 1 / (1 + exp(-steepness * (u - 0.5)))``. The annealing of Bowman et al., "Generating Sentences from a
    Continuous Space", CoNLL 2016, which there jumps at its ends.

    Args:
        start: Value at ``t = 0``.
        end: Value from ``t = duration`` on.
        duration: Epochs (or steps) from start to end, positive.
        steepness: Positive; the larger, the closer to a step in the middle.

    Example:
        >>> [round(v, 3) for v in Sigmoid(0, 1, 4).values(5)]
        [0.0, 0.045, 0.5, 0.955, 1.0]
    """

    start: float
    end: float
    duration: float
    steepness: float = 12.0
    _span: float = _derived()
    _middle: float = _derived()
    _half: float = _derived()

    def __post_init__(self) -> None:
        _check_ends(self)
        object.__setattr__(self, "steepness", positive("Sigmoid.steepness", self.steepness))
        # s(u) rescaled is (1 + tanh(k (u - 1/2) / 2) / tanh(k / 4)) / 2, which can't overflow.
        half = self._span / 2
        object.__setattr__(self, "_middle", self.start + half)
        bend = math.tanh(self.steepness / 4)
        object.__setattr__(self, "_half", half / bend if bend else math.inf)
        if not math.isfinite(self._half):
            raise AnnealError("Sigmoid.steepness", f"too small for a float, got {self.steepness:g}")

    def __call__(self, t: float) -> float:
        if 0 < t < self.duration:
            return self._middle + self._half * math.tanh(self.steepness * (t / self.duration - 0.5) / 2)
        return self.start if t <= 0 else self.end
