"""What every schedule can do."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class Schedule(Protocol):
    """A pure function of time, ``t -> float``; any callable of ``t`` can stand in for one.

    ``t`` counts epochs or optimizer steps, as the rule that uses the schedule says; before ``t = 0`` the value is
    that of ``t = 0``.
    """

    def __call__(self, t: float) -> float:
        """The value in force during epoch (or step) ``t``."""
        ...

    def values(self, n: int) -> list[float]:
        """The values of the first ``n`` epochs (or steps).

        Example:
            >>> from lightning_anneal import Linear
            >>> Linear(0, 1, 4).values(6)
            [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        """
        return [self(t) for t in range(n)]

    def plot(self, n: int | None = None, *, path: str | Path | None = None, title: str | None = None) -> Figure:
        """A picture of the first ``n`` epochs (or steps).

        Args:
            n: How many; by default until the value stays as it is and a little beyond, or some cycles.
            path: A file to write, whose ending says what it is (``.png``, ``.svg``).
            title: Above the picture; by default how the schedule is written.

        Returns:
            A matplotlib figure, which a notebook shows.

        Raises:
            AnnealError: If matplotlib is missing, or the file can't be written.

        Example:
            >>> from lightning_anneal import Cosine
            >>> figure = Cosine(0, 1, 20).plot()
        """
        from lightning_anneal.drawing.curves import plot_schedule

        return plot_schedule(self, n, path=path, title=title)

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value, whatever ``t``."""
        ...

    @property
    def settles_at(self) -> float:
        """The ``t`` from which on the value stays as it is; infinite if it never does."""
        return math.inf

    def next_event(self, t: float) -> float:
        """The first time after ``t`` worth telling: a milestone, a restart, a new part, the end; else infinity."""
        return self.settles_at if t < self.settles_at else math.inf
