"""Panels as a picture, with matplotlib."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_anneal.drawing.panels import Panel
from lightning_anneal.errors import AnnealError, quote

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 120
_WIDTH, _PANEL_HEIGHT = 9.0, 1.75
_MOST_IN_A_COLUMN = 7
_MOST_REASONS, _MOST_MARKS = 6, 60
_LONGEST_REASON, _LONGEST_TITLE = 48, 90

# Dark to light, so that they differ in grey as well; the dashes are for those who see neither.
_STYLES: tuple[dict[str, Any], ...] = (
    {"color": "#0b3c5d", "linestyle": "-", "linewidth": 2.0},
    {"color": "#d9822b", "linestyle": (0, (5, 1.5)), "linewidth": 1.8},
    {"color": "#55a868", "linestyle": (0, (1.5, 1)), "linewidth": 1.8},
    {"color": "#a9c4de", "linestyle": (0, (6, 1, 1, 1)), "linewidth": 1.8},
)
_ASIDE: dict[str, Any] = {"color": "#e08e45", "linestyle": (0, (4, 1.5)), "linewidth": 1.6}
_MARKS: dict[str, dict[str, Any]] = {
    "restart": {"color": "#555555", "linestyle": ":", "linewidth": 1.2},
    "part": {"color": "#aaaaaa", "linestyle": (0, (1, 4)), "linewidth": 1.2},
    "end": {"color": "#b03030", "linestyle": "-", "linewidth": 1.4},
}


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, that needs no display.

    Raises:
        AnnealError: If matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise AnnealError("plot", "needs matplotlib: pip install 'lightning_anneal[plot]'") from None
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def draw(
    panels: Sequence[Panel],
    *,
    title: str = "",
    x_label: str = "epoch",
    steps_per_epoch: float | None = None,
    step_label: str = "optimizer step",
) -> Figure:
    """A figure of some panels.

    Args:
        panels: At least one.
        title: Above them.
        x_label: What the times are.
        steps_per_epoch: Puts a second axis at the top, in optimizer steps.
        step_label: What that axis is called.

    Raises:
        AnnealError: If matplotlib is missing.
    """
    columns = 1 if len(panels) <= _MOST_IN_A_COLUMN else 2
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(_WIDTH if columns == 1 else 13.0, 0.9 + max(_PANEL_HEIGHT * rows, 2.0))
    axes = figure.subplots(rows, columns, sharex=True, squeeze=False)
    # Down the first column, then the second.
    ordered = axes.T.ravel()
    for axis, panel in zip(ordered, panels, strict=False):
        _draw_panel(axis, panel)
    for axis in ordered[len(panels) :]:
        axis.set_visible(False)
    for column in range(columns):
        shown = [axis for axis in axes[:, column] if axis.get_visible()]
        if columns == 1:
            shown[-1].set_xlabel(x_label)
        shown[-1].tick_params(labelbottom=True)
        # There is no half of an epoch to begin.
        shown[-1].xaxis.get_major_locator().set_params(integer=True)
        if steps_per_epoch:
            _add_steps(shown[0], steps_per_epoch, step_label)
    if columns > 1:
        # One for all: under the shorter column it would push the rows apart.
        figure.supxlabel(x_label, fontsize="medium")
    figure.align_ylabels()
    if title:
        figure.suptitle(escaped(title))
    return figure


def _draw_panel(axis: Any, panel: Panel) -> None:
    plain = [trace for trace in panel.traces if not trace.aside]
    for trace in panel.traces:
        style = _ASIDE if trace.aside else _STYLES[plain.index(trace) % len(_STYLES)]
        few = {"marker": "o", "markersize": 4} if len(trace.x) == 1 else {}
        drawstyle = "steps-post" if trace.holds else "default"
        axis.plot(trace.x, trace.y, drawstyle=drawstyle, label=escaped(trace.label) or None, **style, **few)
    for kind, style in _MARKS.items():
        marks = panel.of_kind(kind)
        # So many lines would hide the curve, which shows them itself.
        for i, mark in enumerate(marks if len(marks) <= _MOST_MARKS else []):
            label = escaped(mark.text or kind) if i == 0 else None
            axis.axvline(mark.x, label=None if kind == "restart" else label, zorder=0, **style)
            if kind == "restart":
                # At the bottom, because the value's own jump lies on the line.
                axis.plot(
                    [mark.x], [0.0], marker=10, markersize=7, linestyle="none", color=style["color"], label=label,
                    transform=axis.get_xaxis_transform(), clip_on=False,
                )  # fmt: skip
    _draw_reasons(axis, panel)
    axis.set_title(escaped(_cut(panel.name, _LONGEST_TITLE)), loc="left", fontsize="medium")
    axis.set_ylabel(escaped(panel.unit))
    axis.grid(alpha=0.3)
    axis.margins(x=0.01, y=0.12)
    if panel.words:
        axis.set_yticks(range(len(panel.words)), [escaped(word) for word in panel.words])
    elif panel.logarithmic:
        axis.set_yscale("log")
    elif panel.range[0] == panel.range[1]:
        # Else matplotlib shows a constant on an axis of its rounding errors.
        room = abs(panel.range[0]) * 0.1 or 1.0
        axis.set_ylim(panel.range[0] - room, panel.range[0] + room)
    if axis.get_legend_handles_labels()[1]:
        axis.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)


def _draw_reasons(axis: Any, panel: Panel) -> None:
    """A numbered point at each change that has a reason; the reasons stand in the legend."""
    changes = panel.of_kind("change")
    trace = next((trace for trace in panel.traces if not trace.aside), None)
    if not changes or trace is None:
        return
    for number, mark in enumerate(changes[:_MOST_MARKS], start=1):
        value = trace.at(mark.x)
        label = escaped(f"{number}  {_cut(mark.text, _LONGEST_REASON)}") if number <= _MOST_REASONS else None
        axis.plot([mark.x], [value], "o", color="#b03030", markersize=4, label=label, zorder=3)
        axis.annotate(
            str(number), (mark.x, value), textcoords="offset points", xytext=(4, 3), fontsize="x-small", color="#b03030"
        )
    if len(changes) > _MOST_REASONS:
        axis.plot([], [], " ", label=f"... and {len(changes) - _MOST_REASONS} more")


def _add_steps(axis: Any, steps_per_epoch: float, label: str) -> None:
    top = axis.secondary_xaxis("top", functions=(lambda x: x * steps_per_epoch, lambda x: x / steps_per_epoch))
    top.set_xlabel(label, fontsize="small")
    top.tick_params(labelsize="small")


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure; the file's ending says what it is.

    Raises:
        AnnealError: If it can't be written there, or the ending is none that matplotlib knows.
    """
    if not Path(path).suffix or str(path).endswith("/"):
        raise AnnealError(quote(str(path)), "needs an ending that says what it is, such as .png or .svg")
    path = Path(path)
    try:
        # Without a date, so that the same picture is the same file.
        dated: dict[str, Any] = {"metadata": {"Date": None}} if path.suffix.lower() == ".svg" else {}
        with quiet():
            figure.savefig(path, **dated)
    except (OSError, ValueError, OverflowError) as error:
        raise AnnealError(quote(str(path)), f"can't be written: {' '.join(str(error).split())[:100]}") from None
    return path


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what matplotlib has to say of letters that its font lacks, or of numbers that are very large."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", "overflow encountered")
        warnings.filterwarnings("ignore", "invalid value encountered")
        yield


def as_png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    with quiet():
        figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"


def escaped(text: str) -> str:
    """A text in which matplotlib sees no formula."""
    # A label that begins with an underscore would be left out of a legend.
    return ("\u200a" + text if text.startswith("_") else text).replace("$", r"\$")
