"""The metrics that a preview shows its triggers: from a file, or made up."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path

from lightning_anneal.errors import AnnealError, quote, suggestion

_MOST_EPOCHS = 1_000_000
_FALLS_FOR = 1 / 3
"""The share of the run in which a made-up metric gets better; then it stands still."""


def plateau(epochs: int, *, mode: str = "min", thresholds: Iterable[float] = ()) -> list[float]:
    """A metric that gets better over the first third of a run and then no more, one value for each epoch.

    Without thresholds it falls from 1 to 0.2 (or rises from 0 to 0.8). With thresholds it begins beyond the one and
    ends beyond the other, so that each is passed.

    Example:
        >>> plateau(6)
        [1.0, 0.6, 0.2, 0.2, 0.2, 0.2]
        >>> plateau(6, mode="max")
        [0.0, 0.4, 0.8, 0.8, 0.8, 0.8]
    """
    passed = sorted(thresholds)
    if passed:
        room = max(abs(passed[0]), abs(passed[-1])) / 2 or 1.0
        low, high = passed[0] - room, passed[-1] + room
    else:
        low, high = (0.2, 1.0) if mode == "min" else (0.0, 0.8)
    first, last = (high, low) if mode == "min" else (low, high)
    falls = max(round(epochs * _FALLS_FOR), 1)
    values = (first + (last - first) * min(epoch / falls, 1.0) for epoch in range(epochs))
    return [round(value, 12) for value in values]


def read_metric(name: str, path: str | Path) -> list[float | None]:
    """A metric from a CSV file, one value for each epoch; ``None`` where it has none.

    With a column ``epoch`` (as CSVLogger writes it) the last value of each epoch counts; else each row is an epoch.

    Args:
        name: The metric, and the column; a file with one column needs no such name.
        path: The file.

    Raises:
        AnnealError: If the file can't be read, has no such column, or something in it is no number.
    """
    where = f"--metric {name}"
    try:
        # Some spreadsheets begin a file with a byte order mark.
        with Path(path).open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnnealError(where, f"{quote(str(path))} can't be read: {error.__class__.__name__}") from None
    if not rows:
        raise AnnealError(where, f"{quote(str(path))} is empty")
    header = [cell.strip() for cell in rows[0]]
    if len(header) == 1 and name not in header:
        column = 0
        rows = rows if _is_number(header[0]) else rows[1:]
    elif name in header:
        column, rows = header.index(name), rows[1:]
    else:
        raise AnnealError(where, f"{quote(str(path))} has no column {quote(name)}{suggestion(name, header)}")
    by_epoch: dict[int, float] = {}
    epochs = header.index("epoch") if "epoch" in header and column != header.index("epoch") else None
    for number, row in enumerate(rows):
        text = row[column].strip() if column < len(row) else ""
        if not text:  # CSVLogger leaves open what was not logged at that step
            continue
        try:
            epoch = number if epochs is None else int(float(row[epochs]))
            by_epoch[epoch] = float(text)
        except (ValueError, IndexError, OverflowError):
            raise AnnealError(where, f"{quote(text)} in row {number + 1} is no number") from None
    if not by_epoch:
        raise AnnealError(where, f"{quote(str(path))} has no value of it")
    if not 0 <= min(by_epoch) <= max(by_epoch) < _MOST_EPOCHS:
        raise AnnealError(where, f"epochs must lie between 0 and {_MOST_EPOCHS:,}")
    return [by_epoch.get(epoch) for epoch in range(max(by_epoch) + 1)]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
