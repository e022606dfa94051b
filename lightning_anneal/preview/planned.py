"""What a preview shows: parameters over a planned run, as data, as text and as a picture."""

from __future__ import annotations

import csv
import io
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_anneal.checks import Value
from lightning_anneal.clock import Interval
from lightning_anneal.drawing.panels import Mark, Panel, Trace, last_name, sampled
from lightning_anneal.errors import AnnealError, quote

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 1000
"""So many points of a parameter by step are drawn; the data has all of them."""


@dataclass(frozen=True)
class Planned:
    """One parameter over a planned run.

    Args:
        name: The parameter.
        interval: Whether it moves by epoch or by optimizer step.
        at: The value during an epoch (or step).
        count: How many epochs (or steps) the run has.
        marks: Restarts, parts and firings, with their time in epochs (or steps).
        source: What the values come from, in a word or two.
        within: Of one by epoch that may have another value in the midst of it: the value during an optimizer step.
    """

    name: str
    interval: Interval
    at: Callable[[int], Value]
    count: int
    marks: tuple[Mark, ...] = ()
    source: str = ""
    within: Callable[[int], Value] | None = None

    @property
    def values(self) -> list[Value]:
        """The value of each epoch (or step)."""
        return [self.at(t) for t in range(self.count)]


@dataclass(frozen=True)
class Preview:
    """A planned run: every annealed parameter, and the metrics that triggers were shown.

    ``print`` draws it as text, a notebook as a picture.

    Args:
        parameters: The parameters.
        epochs: How many epochs the run has, perhaps not a whole number.
        steps_per_epoch: Optimizer steps in an epoch; ``None`` if nothing needed to know.
        metrics: By name, the value of each epoch that triggers were shown.
        notes: What was assumed, and what could not be drawn.
        ends: Why the run ends before it was planned to; empty if it doesn't.
        made_up: The metrics that are none of any run.
        assumed: Whether the steps of an epoch are an assumption.
    """

    parameters: tuple[Planned, ...]
    epochs: float
    steps_per_epoch: float | None = None
    metrics: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    ends: str = ""
    made_up: tuple[str, ...] = ()
    assumed: bool = False

    def __getitem__(self, name: str) -> list[Value]:
        """The values of one parameter, one for each epoch (or step).

        Raises:
            AnnealError: If there is none of that name.
        """
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter.values
        raise AnnealError(name, f"isn't in the preview, which has {', '.join(p.name for p in self.parameters)}")

    # -- as data --------------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[dict[str, Value]]:
        """The values of each epoch, or of each step where a parameter moves by step, with ``epoch`` and ``step``."""
        steps = [parameter for parameter in self.parameters if parameter.interval == "step"]
        if not steps:
            count = max((parameter.count for parameter in self.parameters), default=0)
            for epoch in range(count):
                yield {"epoch": epoch, **{p.name: p.at(epoch) for p in self.parameters}}
            return
        per_epoch = self.steps_per_epoch or 1.0
        for step in range(max(parameter.count for parameter in steps)):
            epoch = int(step / per_epoch)
            values = {p.name: p.at(step if p.interval == "step" else epoch) for p in self.parameters}
            yield {"epoch": epoch, "step": step, **values}

    def to_csv(self, path: str | Path | None = None) -> str:
        """The rows as CSV, also into a file if there is a path.

        Raises:
            AnnealError: If the file can't be written.
        """
        buffer = io.StringIO(newline="")
        rows = iter(self.rows())
        first = next(rows, None)
        if first is not None:
            writer = csv.DictWriter(buffer, list(first), lineterminator="\n")
            writer.writeheader()
            writer.writerow(first)
            writer.writerows(rows)
        text = buffer.getvalue()
        if path is not None:
            try:
                Path(path).write_text(text)
            except OSError as error:
                raise AnnealError(quote(str(path)), f"can't be written: {error.strerror}") from None
        return text

    # -- as text --------------------------------------------------------------------------------------------------

    def text(self, width: int | None = None, *, ascii_only: bool | None = None) -> str:
        """The curves for a terminal.

        Args:
            width: Characters in a line; those of the terminal by default.
            ascii_only: Whether to do without Braille dots; by default if the terminal can't show them.
        """
        from lightning_anneal.drawing.text import draw_text

        if width is None:
            width = shutil.get_terminal_size((80, 24)).columns
        if ascii_only is None:
            ascii_only = not shows_braille()
        lines = [line for note in self.notes for line in textwrap.wrap(note, max(width, 40), break_on_hyphens=False)]
        if panels := self.panels:
            lines.insert(0, draw_text(panels, until=self.epochs, width=width, ascii_only=ascii_only))
        return "\n".join(lines)

    def __repr__(self) -> str:
        return self.text()

    __str__ = __repr__

    # -- as a picture ---------------------------------------------------------------------------------------------

    @property
    def panels(self) -> list[Panel]:
        """A panel for each parameter and for each metric, over epochs."""
        end = (Mark(self.epochs, "end", self.ends),) if self.ends else ()
        panels = [_panel(parameter, self.epochs, self.steps_per_epoch) for parameter in self.parameters]
        for name, values in self.metrics.items():
            # A metric of an epoch is known at its end.
            known = [(epoch + 1.0, value) for epoch, value in enumerate(values) if value is not None]
            shown = [(x, y) for x, y in known if x <= self.epochs]
            trace = Trace([x for x, _ in shown], [y for _, y in shown], holds=False)
            title = f"{name}  (made up)" if name in self.made_up else name
            panels.append(Panel(title, (trace,), name, end))
        return panels

    @property
    def figure(self) -> Figure:
        """The curves as a matplotlib figure, with an axis in epochs and one in steps.

        Raises:
            AnnealError: If matplotlib is missing, or there is nothing to draw.
        """
        from lightning_anneal.drawing.figure import draw

        panels = self.panels
        if not panels:
            raise AnnealError("preview", "has nothing to draw" + "".join(f"; {note}" for note in self.notes[:1]))
        step = f"optimizer step, if an epoch has {self.steps_per_epoch:g}" if self.assumed else "optimizer step"
        return draw(panels, steps_per_epoch=self.steps_per_epoch, step_label=step)

    def save(self, path: str | Path) -> Path:
        """Write the picture, or the rows if the file is called ``.csv``.

        Raises:
            AnnealError: If it can't be written.
        """
        if Path(path).suffix.lower() == ".csv":
            self.to_csv(path)
            return Path(path)
        from lightning_anneal.drawing.figure import save

        return save(self.figure, path)

    def _repr_png_(self) -> bytes | None:
        from lightning_anneal.drawing.figure import as_png

        try:
            return as_png(self.figure)
        except AnnealError:
            # Without matplotlib a notebook shows the text.
            return None


def _panel(parameter: Planned, epochs: float, steps_per_epoch: float | None) -> Panel:
    scale = 1.0 if parameter.interval == "epoch" else steps_per_epoch or 1.0
    # A value before a mark as well, or a jump between two points that are drawn would look like a slope.
    edges = [t for mark in parameter.marks for t in (math.ceil(mark.x) - 1, math.ceil(mark.x))]
    times = sampled(parameter.count, _MOST_POINTS, edges)
    values = [parameter.at(t) for t in times]
    words = tuple(dict.fromkeys(v for v in values if isinstance(v, str)))
    levels = [float(words.index(v)) if isinstance(v, str) else float(v) for v in values]
    # The last value holds until the run ends.
    trace = Trace([t / scale for t in times] + [epochs], levels + levels[-1:])
    marks = tuple(Mark(mark.x / scale, mark.kind, mark.text) for mark in parameter.marks)
    title = f"{parameter.name}  ({parameter.source}, by {parameter.interval})"
    return Panel(title, (trace,), last_name(parameter.name), marks, words)


def shows_braille() -> bool:
    """Whether the terminal (or what stdout goes to) can show Braille dots."""
    try:
        "\u28ff│".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
