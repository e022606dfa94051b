"""What is drawn: panels, one above the other on the same time axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

_WIDE = 100.0
"""From this ratio of its values on, a panel is logarithmic."""


@dataclass(frozen=True)
class Trace:
    """One line of a panel.

    Args:
        x: Times, in order.
        y: The value from each time on.
        label: What the legend calls it; empty for a panel of one line.
        holds: Whether a value holds until the next one, or the line goes straight there.
        aside: Whether it is what the others are compared with: drawn lighter and dashed.
    """

    x: Sequence[float]
    y: Sequence[float]
    label: str = ""
    holds: bool = True
    aside: bool = False

    def at(self, time: float) -> float:
        """The value in force at a time; NaN before the first."""
        # By hand and not with numpy, which a preview on the terminal need not load.
        low, high = 0, len(self.x)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.x[middle] <= time else (low, middle)
        if low == 0:
            return math.nan
        if self.holds or self.x[low - 1] == time:
            return self.y[low - 1]
        if low == len(self.x):
            return math.nan
        share = (time - self.x[low - 1]) / (self.x[low] - self.x[low - 1])
        return self.y[low - 1] + share * (self.y[low] - self.y[low - 1])


@dataclass(frozen=True)
class Mark:
    """A moment worth telling.

    Args:
        x: When.
        kind: What it is: ``"restart"``, ``"part"``, ``"end"``; ``"change"`` for one that has a reason.
        text: The reason.
    """

    x: float
    kind: str
    text: str = ""


@dataclass(frozen=True)
class Panel:
    """A parameter or a metric over time.

    Args:
        name: What it is.
        traces: Its lines.
        unit: What its values are, for the axis.
        marks: Its moments, in order.
        words: Where values are words, the words: value n is the n-th of them.
    """

    name: str
    traces: tuple[Trace, ...]
    unit: str = ""
    marks: tuple[Mark, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def range(self) -> tuple[float, float]:
        """The least and the greatest finite value; 0 and 0 where there is none."""
        finite = [value for trace in self.traces for value in trace.y if math.isfinite(value)]
        return (min(finite), max(finite)) if finite else (0.0, 0.0)

    @property
    def logarithmic(self) -> bool:
        """Whether its values span powers of ten.

        Example:
            >>> Panel("lr", (Trace([0, 1], [1e-3, 1e-6]),)).logarithmic
            True
        """
        low, high = self.range
        # A little less counts as well: 0.1 * 0.1 * 0.1 is not 0.001.
        return low > 0 and high / low >= _WIDE * (1 - 1e-9)

    def of_kind(self, kind: str) -> list[Mark]:
        """The marks of one kind."""
        return [mark for mark in self.marks if mark.kind == kind]


def last_name(path: str) -> str:
    """The last name of a path, which says what its values are.

    Example:
        >>> last_name("optimizer.param_groups.0.weight_decay"), last_name("optimizer.param_groups.0.betas.1")
        ('weight_decay', 'betas.1')
    """
    parts = path.split(".")
    return ".".join(parts[-2:]) if parts[-1].isdigit() and len(parts) > 1 else parts[-1]


def sampled(count: int, most: int, also: Sequence[int] = ()) -> list[int]:
    """Whole numbers below `count`, evenly spread if there are more than `most`, and those of `also`.

    Example:
        >>> sampled(10, 4, also=[5]), sampled(3, 4)
        ([0, 3, 5, 6, 9], [0, 1, 2])
    """
    if count <= most:
        return list(range(count))
    spread = {round(i * (count - 1) / (most - 1)) for i in range(most)}
    return sorted(spread | {number for number in also if 0 <= number < count})
