"""Panels as text: dots of Braille where the terminal has them, else plain ASCII."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lightning_anneal.drawing.panels import Panel, Trace

_ROWS = 5
_NARROWEST, _WIDEST = 40, 120
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800
_LEVELS = "_-'"
"""The three heights that a character of ASCII can show, from below."""
_MOST_REASONS = 8


def draw_text(
    panels: Sequence[Panel], *, until: float, width: int = 80, ascii_only: bool = False, x_label: str = "epoch"
) -> str:
    """Panels as lines of text, one above the other, with the time axis under the last.

    Args:
        panels: What to draw.
        until: Where the time axis ends; it begins at 0.
        width: Of a line, in characters.
        ascii_only: Whether the terminal can show nothing else.
        x_label: What the times are.

    Example:
        >>> print(draw_text([Panel("beta", (Trace([0, 1, 2, 3], [0, 1, 2, 2]),))], until=4, width=40, ascii_only=True))
        beta
        2 |                  '''''''''''''''''''
          |
        1 |         ---------
          |
        0 |_________
          +------------------------------- epoch
           0                 2                 4
    """
    width = min(max(width, _NARROWEST), _WIDEST)
    labels = [_labels(panel) for panel in panels]
    margin = max((len(text) for rows in labels for text in rows), default=0)
    columns = width - margin - 2
    lines: list[str] = []
    for panel, texts in zip(panels, labels, strict=True):
        lines.append(cut(panel.name, width))
        canvas = _draw_ascii(panel, columns, until) if ascii_only else _draw_braille(panel, columns, until)
        bar = "|" if ascii_only else "│"
        lines += [f"{text:>{margin}} {bar}{row}".rstrip() for text, row in zip(texts, canvas, strict=True)]
        lines += [cut(line, width) for line in _reasons(panel, margin)]
    corner, dash = ("+", "-") if ascii_only else ("└", "─")
    lines.append(" " * (margin + 1) + corner + dash * (columns - len(x_label) - 1) + f" {x_label}")
    lines.append(" " * (margin + 2) + _axis(until, columns))
    return "\n".join(lines)


def cut(text: str, width: int) -> str:
    """A line that is no longer than this; what is too much gives way at its end."""
    return text if len(text) <= width else text[: width - 3] + "..."


def short(value: float) -> str:
    """A number in few characters.

    Example:
        >>> short(0.30000000000000004), short(1e-7), short(32.0)
        ('0.3', '1e-07', '32')
    """
    return f"{value:.4g}"


def _labels(panel: Panel) -> list[str]:
    """What stands at the left of each row."""
    low, high = panel.range
    texts = [""] * _ROWS
    if panel.words:
        for level in range(int(low), int(high) + 1):
            texts[_row_of(panel, float(level))] = panel.words[level][:12]
        return texts
    if low == high:
        return ["", "", short(low), "", ""]
    middle = math.exp((math.log(low) + math.log(high)) / 2) if panel.logarithmic else low / 2 + high / 2
    # With so many digits that no two of them look the same.
    for digits in (4, 6, 9, 17):
        texts[0], texts[_ROWS // 2], texts[-1] = (f"{value:.{digits}g}" for value in (high, middle, low))
        if len({*texts} - {""}) == 3:
            break
    return texts


def _share(panel: Panel, value: float) -> float:
    """How high a value lies, from 0 to 1."""
    low, high = panel.range
    if low == high:
        return 0.5
    if panel.logarithmic:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    # Halves, because the span of two floats may be too large for one.
    return (value / 2 - low / 2) / (high / 2 - low / 2)


def _row_of(panel: Panel, value: float) -> int:
    return _ROWS - 1 - min(int(_share(panel, value) * _ROWS), _ROWS - 1)


def _heights(panel: Panel, trace: Trace, count: int, until: float, levels: int) -> list[int | None]:
    """The level of the value at each of `count` points in time; ``None`` where there is none."""
    heights: list[int | None] = []
    for i in range(count):
        # The first point is the start of the run, the last its end.
        value = trace.at(until * i / (count - 1))
        heights.append(round(_share(panel, value) * (levels - 1)) if math.isfinite(value) else None)
    return heights


def _draw_braille(panel: Panel, columns: int, until: float) -> list[str]:
    cells = [[0] * columns for _ in range(_ROWS)]
    levels = _ROWS * 4

    def dot(x: int, level: int) -> None:
        y = levels - 1 - level
        cells[y // 4][x // 2] |= _DOTS[y % 4][x % 2]

    for trace in panel.traces:
        before: int | None = None
        for x, height in enumerate(_heights(panel, trace, columns * 2, until, levels)):
            if height is not None:
                # A jump is drawn as the line that leads there.
                first = height if before is None else before
                for level in range(min(first, height), max(first, height) + 1):
                    dot(x, level)
            before = height
    marked = {x // 2 for x in _marked(panel, columns * 2, until)}
    return [
        "".join(chr(_BLANK + cell) if cell else ("┊" if x in marked else " ") for x, cell in enumerate(row))
        for row in cells
    ]


def _draw_ascii(panel: Panel, columns: int, until: float) -> list[str]:
    marked = _marked(panel, columns, until)
    rows = [[":" if x in marked else " " for x in range(columns)] for _ in range(_ROWS)]
    levels = _ROWS * len(_LEVELS)
    for trace in panel.traces:
        for x, height in enumerate(_heights(panel, trace, columns, until, levels)):
            if height is not None:
                rows[_ROWS - 1 - height // len(_LEVELS)][x] = _LEVELS[height % len(_LEVELS)]
    return ["".join(row) for row in rows]


def _marked(panel: Panel, count: int, until: float) -> set[int]:
    """The first of `count` points in time at or after each mark, where the value that it brings is drawn."""
    marks = [mark for mark in panel.marks if mark.kind != "change" and mark.x <= until]
    return {math.ceil(mark.x / until * (count - 1)) for mark in marks}


def _reasons(panel: Panel, margin: int) -> list[str]:
    """The changes that have a reason, a line each."""
    told = panel.of_kind("change")
    lines = []
    for mark in told[:_MOST_REASONS]:
        now = panel.traces[0].at(mark.x)
        value = panel.words[int(now)] if panel.words and math.isfinite(now) else short(now)
        lines.append(f"{'':>{margin}}   {short(mark.x):>5}  {value:>8}  {mark.text}".rstrip())
    if len(told) > _MOST_REASONS:
        lines.append(f"{'':>{margin}}   ... and {len(told) - _MOST_REASONS} more")
    return lines


def _axis(until: float, columns: int) -> str:
    """Round numbers under the time axis, so many that they don't touch."""
    text = [" "] * columns
    step = _round_step(until, max(columns // 12, 1))
    for i in range(math.floor(until / step + 1e-9) + 1):
        number = short(step * i)
        at = round((columns - 1) * step * i / until)
        begin = min(max(0, at - len(number) // 2) if i else 0, columns - len(number))
        text[begin : begin + len(number)] = number
    return "".join(text).rstrip()


def _round_step(until: float, most: int) -> float:
    """The least of 1, 2, 5, 10, 20, ... (and of 0.1, 0.2, ...) that fits at most so many times.

    Example:
        >>> _round_step(60, 6), _round_step(29, 6), _round_step(4, 3), _round_step(0.5, 6)
        (10.0, 5.0, 2.0, 0.1)
    """
    power = 10.0 ** math.floor(math.log10(until / most))
    return next(step for factor in (1, 2, 5, 10, 20) if until / (step := factor * power) <= most + 1e-9)
