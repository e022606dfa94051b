"""A schedule on its own, as a picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_anneal.checks import count
from lightning_anneal.drawing.figure import draw, save
from lightning_anneal.drawing.panels import Mark, Panel, Trace, sampled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 1000
_CYCLES = 3
_SHORTEST = 10


def plot_schedule(
    schedule: Callable[[float], Any], n: int | None = None, *, path: str | Path | None = None, title: str | None = None
) -> Figure:
    """A picture of a schedule; of one with several values, all of them in it.

    Args:
        schedule: The schedule; its value may be a mapping of numbers.
        n: How many epochs (or steps).
        path: A file to write.
        title: Above the picture.

    Raises:
        AnnealError: If `n` is no count, matplotlib is missing, or the file can't be written.
    """
    n = _shown(schedule) if n is None else count("n", n)
    times = sampled(n, _MOST_POINTS)
    values = [schedule(t) for t in times]
    named = {name: [value[name] for value in values] for name in values[0]} if isinstance(values[0], Mapping) else None
    lines = {"": values} if named is None else named
    traces = tuple(Trace([*times, n], [*each, each[-1]], name) for name, each in lines.items())
    panel = Panel(repr(schedule) if title is None else title, traces, "value", _restarts(schedule, n))
    figure = draw([panel], x_label="t (epochs or steps)")
    if path is not None:
        save(figure, path)
    return figure


def _restarts(schedule: Any, n: int) -> tuple[Mark, ...]:
    """Where a schedule of warm restarts begins again."""
    curve = getattr(schedule, "curve", schedule)
    marks: list[Mark] = []
    if hasattr(curve, "restart_info"):
        at = curve.restart_info(0).next
        while at < n:
            marks.append(Mark(at, "restart"))
            at = curve.restart_info(at).next
    return tuple(marks)


def _shown(schedule: Any) -> int:
    """How much of a schedule shows what it does."""
    settles: float = getattr(schedule, "settles_at", math.inf)
    if settles < math.inf:
        return max(math.ceil(settles * 1.25) + 1, _SHORTEST)
    parts = [getattr(schedule, name) for name in ("global_curve", "local_curve") if hasattr(schedule, name)]
    if parts:
        return max(_shown(part) for part in parts)
    curve = getattr(schedule, "curve", schedule)
    period: float | None = getattr(curve, "period", None)
    if period is not None:
        return max(math.ceil(_CYCLES * period), _SHORTEST)
    at = 0.0
    for _ in range(_CYCLES):
        following = curve.next_event(at) if hasattr(curve, "next_event") else math.inf
        at = following if following < math.inf else at
    return max(math.ceil(at), _SHORTEST) if at else 100
