"""The picture of a search: its metric over each axis."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from lightning_anneal.drawing.figure import escaped, new_figure, save
from lightning_anneal.errors import AnnealError
from lightning_anneal.search.configs import SEED
from lightning_anneal.search.names import labels
from lightning_anneal.search.results import SearchResult

_COLUMNS = 3
_MOST_LEVELS = 8
"""An axis with more values than these is drawn to scale."""
_WIDE_SPAN = 20.0
_LONGEST_NAME = 14
_ENOUGH = 8
"""With fewer runs than these all are drawn to scale."""
_FAR = 4.0
"""How many spreads of the better half a value may lie away before it is drawn at the edge."""


def draw(result: SearchResult, path: Path) -> Path:
    """One panel for each axis: every run as a point, the median of each value as a line, the best run as a star.

    Args:
        result: The search's outcome.
        path: Where the picture goes; its ending says what it is.

    Raises:
        AnnealError: If matplotlib is missing, no run has the metric, there is no axis, or the picture can't be written.
    """
    best = result.best
    reached = {run.index: found.value for run in result.runs if (found := run.best(result.monitor, result.mode))}
    # In the order of the runs, which is that of the axes' values.
    runs = sorted((run for run in result.runs if run.index in reached), key=lambda run: run.index)
    indices = [run.index for run in runs]
    names = [name for name in best.values if name != SEED or not result.plan.settings.seeds]
    if not names:
        raise AnnealError(str(result.plan.folder), "has no axis to draw over; its runs differ in nothing but seeds")
    columns = 2 if len(names) == 4 else min(_COLUMNS, len(names))
    rows = math.ceil(len(names) / columns)
    figure = new_figure(max(6.0, 4.2 * columns), 3.4 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    values = [reached[run.index] for run in runs]
    limit = _limit(values, result.mode)
    short = labels(best.values)
    for panel, name in zip(panels, names, strict=False):
        axis = result.plan.space.axes.get(name)
        tried = [run.values.get(name) for run in runs]
        levels = [] if axis is not None and axis.scale else _levels(tried)
        if axis is not None and axis.scale == "log_uniform":
            panel.set_xscale("log")
        _panel(panel, tried, levels, values, indices.index(best.index), limit, result.mode)
        panel.set_xlabel(escaped(short[name]))
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for row in range(rows):
        panels[row * columns].set_ylabel(escaped(f"best {result.monitor}"))
    known = {name: handle for panel in panels for handle, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    panels[0].legend(known.values(), known.keys(), fontsize="small", framealpha=0.6)
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    title = f"{result.plan.folder.name.removesuffix('_search')}: {count}, best {reached[best.index]:.6g}"
    figure.suptitle(escaped(title))
    return save(figure, path)


def _panel(
    panel: Any,
    tried: list[Any],
    levels: list[Any],
    reached: list[float],
    best: int,
    limit: float | None,
    mode: str,
) -> None:
    at = [float(levels.index(value)) for value in tried] if levels else [float(value) for value in tried]
    if levels:
        panel.set_xticks(range(len(levels)), [_name(level) for level in levels])
        if max(len(_name(level)) for level in levels) * len(levels) > 2 * _LONGEST_NAME:
            panel.tick_params(axis="x", labelrotation=30)
        panel.margins(x=0.15)
    elif min(at) > 0 and max(at) / min(at) >= _WIDE_SPAN:
        panel.set_xscale("log")
    shown = reached if limit is None else [min(y, limit) if mode == "min" else max(y, limit) for y in reached]
    if levels and len(set(at)) < len(at):
        middles = sorted(set(at))
        # Not the mean, which one run that came to nothing would pull away.
        medians = [statistics.median(y for x, y in zip(at, shown, strict=True) if x == middle) for middle in middles]
        # Nothing lies between two names.
        joined = {"linewidth": 1} if _ordered(tried) else {"linestyle": "none", "marker": "_", "markersize": 22}
        panel.plot(middles, medians, color="tab:gray", zorder=1, label="median", **joined)
    near = [i for i, y in enumerate(reached) if y == shown[i]]
    panel.scatter([at[i] for i in near], [shown[i] for i in near], s=22, alpha=0.7, zorder=2, label="run")
    far = [i for i in range(len(at)) if i not in near]
    for i in far:
        panel.annotate(
            f"{reached[i]:.3g}", (at[i], shown[i]), fontsize="x-small", textcoords="offset points", xytext=(5, -3)
        )
    if far:
        marker = "^" if mode == "min" else "v"
        panel.scatter(
            [at[i] for i in far], [shown[i] for i in far], s=30, marker=marker, color="black", label="far off"
        )
    panel.scatter([at[best]], [shown[best]], s=130, marker="*", color="tab:red", zorder=3, label="best")
    panel.grid(visible=True, alpha=0.3)


def _levels(tried: list[Any]) -> list[Any]:
    """The values of an axis that has few of them, numbers in their order; nothing for many."""
    different: list[Any] = []
    for value in tried:
        if value not in different:
            different.append(value)
    if not _ordered(tried):
        return different
    return sorted(different) if len(different) <= _MOST_LEVELS else []


def _ordered(tried: list[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in tried)


def _limit(values: list[float], mode: str) -> float | None:
    """Where runs that came to nothing are drawn, lest they squeeze the others; nothing where there are none."""
    ranked = sorted(values, reverse=mode == "max")
    middle = ranked[len(ranked) // 2]
    far = middle + _FAR * (middle - ranked[0])
    beyond = [value for value in values if (value > far if mode == "min" else value < far)]
    return far if beyond and middle != ranked[0] and len(values) >= _ENOUGH else None


def _name(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return escaped(text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 1]}…")
