"""The picture of a search: its metric over each axis."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError
from lightning_anneal.search.names import labels
from lightning_anneal.search.results import SearchResult

_COLUMNS = 3
_WIDE_SPAN = 20.0


def draw(result: SearchResult, path: Path) -> Path:
    """One panel for each axis: every run as a point, the mean of each value as a line, the best run as a star.

    Args:
        result: The search's outcome.
        path: Where the picture goes; its ending says what it is.

    Raises:
        AnnealError: If matplotlib is missing, or no run has the metric.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise AnnealError("plot", "needs matplotlib: pip install 'lightning_anneal[plot]'") from None
    best = result.best
    reached = {run.index: found.value for run in result.runs if (found := run.best(result.monitor, result.mode))}
    axes = {path: [run.values.get(path) for run in result.runs if run.index in reached] for path in best.values}
    values = [reached[run.index] for run in result.runs if run.index in reached]
    columns = min(_COLUMNS, max(1, len(axes)))
    rows = max(1, math.ceil(len(axes) / columns))
    figure = Figure(figsize=(4.2 * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    short = labels(axes)
    for panel, (name, tried) in zip(panels, axes.items(), strict=False):
        _panel(panel, tried, values, best.values[name], reached[best.index])
        panel.set_xlabel(short[name])
    if axes:
        panels[0].legend(fontsize="small", framealpha=0.6)
    for panel in panels[len(axes) :]:
        panel.set_visible(False)
    for row in range(rows):
        panels[row * columns].set_ylabel(f"best {result.monitor}")
    count = f"{len(values)} runs"
    figure.suptitle(f"{result.plan.folder.name.removesuffix('_search')}: {count}, best {reached[best.index]:.6g}")
    figure.savefig(path, dpi=120)
    return path


def _panel(panel: Any, tried: list[Any], reached: list[float], best_at: Any, best: float) -> None:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in tried)
    if numbers:
        at = [float(value) for value in tried]
        star = float(best_at)
        if min(at) > 0 and max(at) / min(at) >= _WIDE_SPAN:
            panel.set_xscale("log")
    else:
        names = sorted({str(value) for value in tried})
        at = [float(names.index(str(value))) for value in tried]
        star = float(names.index(str(best_at)))
        panel.set_xticks(range(len(names)), names)
        panel.margins(x=0.2)
    levels = sorted(set(at))
    if len(levels) < len(at):
        means = [statistics.fmean(y for x, y in zip(at, reached, strict=True) if x == level) for level in levels]
        panel.plot(levels, means, color="tab:gray", linewidth=1, zorder=1, label="mean")
        if numbers and len(levels) <= 8:
            panel.set_xticks(levels, [f"{level:g}" for level in levels], minor=False)
            panel.minorticks_off()
    panel.scatter(at, reached, s=22, alpha=0.7, zorder=2, label="run")
    panel.scatter([star], [best], s=130, marker="*", color="tab:red", zorder=3, label="best")
    panel.grid(visible=True, alpha=0.3)
