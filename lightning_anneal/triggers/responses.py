"""Responses: the value that follows, a pure function of how often the trigger has fired.

So a checkpoint holds a count and no value, and a resumed run has the same values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from lightning_anneal.checks import Value
from lightning_anneal.errors import AnnealError


class Response(Protocol):
    """Gives a value for a number of firings."""

    @property
    def kind(self) -> type:
        """The kind of its values: ``bool``, ``str``, or ``float`` for numbers of any kind."""
        ...

    @property
    def needs_start(self) -> bool:
        """Whether the value found in the target is part of it."""
        ...

    def value(self, firings: int, start: Value) -> Value:
        """The value in force after so many firings.

        Args:
            firings: How often the trigger has fired.
            start: The value found in the target when the run first began.
        """
        ...

    def has_next(self, firings: int, start: Value) -> bool:
        """Whether one more firing would give another value."""
        ...

    def to_come(self, start: Value) -> tuple[Value, ...]:
        """All values, or the two ends of where they lie; infinite ends where there is no bound."""
        ...


@dataclass(frozen=True)
class NextOf:
    """The next of a list, from `first` on.

    Args:
        values: The list.
        first: Index of the value in force before the first firing.
        cycle: Whether the first value of the list follows the last one; otherwise the last one holds.

    Example:
        >>> [NextOf((1.0, 2.0, 4.0), first=1, cycle=True).value(n, 0.0) for n in range(4)]
        [2.0, 4.0, 1.0, 2.0]
    """

    values: tuple[Value, ...]
    first: int = 0
    cycle: bool = False

    @property
    def kind(self) -> type:
        kind = type(self.values[0])
        return kind if kind in (bool, str) else float

    @property
    def needs_start(self) -> bool:
        return False

    def value(self, firings: int, start: Value) -> Value:
        index, length = self.first + firings, len(self.values)
        return self.values[index % length if self.cycle else min(index, length - 1)]

    def has_next(self, firings: int, start: Value) -> bool:
        return len(self.values) > 1 if self.cycle else self.first + firings < len(self.values) - 1

    def to_come(self, start: Value) -> tuple[Value, ...]:
        return self.values


@dataclass(frozen=True)
class NextGreater:
    """The value found, then at each firing the next greater one of a list.

    Example:
        >>> [NextGreater((0.0, 0.01, 0.02)).value(n, 0.005) for n in range(4)]
        [0.005, 0.01, 0.02, 0.02]
    """

    values: tuple[float, ...]

    @property
    def kind(self) -> type:
        return float

    @property
    def needs_start(self) -> bool:
        return True

    def value(self, firings: int, start: Value) -> Value:
        steps = self.to_come(start)
        return steps[min(firings, len(steps) - 1)]

    def has_next(self, firings: int, start: Value) -> bool:
        return firings < len(self.to_come(start)) - 1

    def to_come(self, start: Value) -> tuple[Value, ...]:
        return start, *sorted(value for value in self.values if value > float(start))


@dataclass(frozen=True)
class Multiply:
    """The value found times `factor` for each firing, never beyond the bounds: ``start * factor**n``.

    Args:
        factor: The factor.
        low: The least value.
        high: The greatest value.
        key: What the factor is called in a config, for errors.

    Example:
        >>> [Multiply(0.5, low=0.3).value(n, 1.0) for n in range(4)]
        [1.0, 0.5, 0.3, 0.3]
    """

    factor: float
    low: float = -math.inf
    high: float = math.inf
    key: str = "multiply"

    @property
    def kind(self) -> type:
        return float

    @property
    def needs_start(self) -> bool:
        return True

    def value(self, firings: int, start: Value) -> Value:
        if firings == 0:
            return start
        far = float(start) * self._power(firings) if start else 0.0
        return min(max(far, self.low), self.high)

    def has_next(self, firings: int, start: Value) -> bool:
        return self.value(firings + 1, start) != self.value(firings, start)

    def to_come(self, start: Value) -> tuple[Value, ...]:
        first = float(start)
        end = math.inf if self.factor > 1 else 0.0
        far = first * end if first and self.factor != 1 else first
        return first, min(max(far, self.low), self.high)

    def check(self, where: str, start: float) -> None:
        """Refuse a start that a factor can't move, or one beyond the bounds.

        Raises:
            AnnealError: If it is one.
        """
        if start == 0:
            raise AnnealError(f"{where}.{self.key}", f"the value found is 0, and stays so; give {self._instead}")
        _check_within(where, start, self.low, self.high)

    @property
    def _instead(self) -> str:
        return "values" if self.key == "multiply" else "step"

    def _power(self, firings: int) -> float:
        try:
            return float(self.factor**firings)
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class Add:
    """The value found and `step` for each firing, never beyond the bounds: ``start + step * n``.

    Args:
        step: What is added at each firing.
        low: The least value.
        high: The greatest value.

    Example:
        >>> [Add(0.5, high=1.2).value(n, 0.0) for n in range(4)]
        [0.0, 0.5, 1.0, 1.2]
    """

    step: float
    low: float = -math.inf
    high: float = math.inf

    @property
    def kind(self) -> type:
        return float

    @property
    def needs_start(self) -> bool:
        return True

    def value(self, firings: int, start: Value) -> Value:
        return start if firings == 0 else min(max(float(start) + self.step * firings, self.low), self.high)

    def has_next(self, firings: int, start: Value) -> bool:
        return self.value(firings + 1, start) != self.value(firings, start)

    def to_come(self, start: Value) -> tuple[Value, ...]:
        return float(start), min(max(math.copysign(math.inf, self.step), self.low), self.high)

    def check(self, where: str, start: float) -> None:
        """Refuse a start beyond the bounds.

        Raises:
            AnnealError: If it is one.
        """
        _check_within(where, start, self.low, self.high)


def _check_within(where: str, start: float, low: float, high: float) -> None:
    if not low <= start <= high:
        key, bound = ("min_value", low) if start < low else ("max_value", high)
        raise AnnealError(f"{where}.{key}", f"the value found, {start:g}, is beyond {bound:g} already")
