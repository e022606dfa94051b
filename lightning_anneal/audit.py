"""The audit: every change that was told, in memory and in a file that a killed run keeps."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Callable, Iterable
from dataclasses import astuple, fields
from pathlib import Path
from typing import Any

from lightning_anneal.changes import Change
from lightning_anneal.checks import Value

FILE_NAME = "annealing_changes.csv"
"""The file's name, beside those of the logger."""

_COLUMNS = [field.name for field in fields(Change)]

Row = list[str]


class Audit:
    """Keeps changes, and writes each to a CSV file as it comes."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._file: Path | None = None
        self._unwritten: list[Change] = []
        self._kept: list[Row] = []

    def open(self, folder: Path | None, names: Iterable[str], step: int, *, begins: bool, anew: bool = False) -> None:
        """Write to a file in this folder from now on; what has been told before it was open comes first.

        A file that is there already is that of the run which now goes on, or of another callback. What a resumed run
        is about to do again leaves it: rows of these parameters that came after `step`.

        Args:
            folder: The folder; ``None`` for no file.
            names: The parameters this audit is about.
            step: Optimizer steps done.
            begins: Whether the run begins here, so that no row of these parameters in the file is part of it.
            anew: Whether no row at all is.
        """
        if self.writes_to(folder):
            return
        own, told, self._unwritten = set(names), self._unwritten, []
        self._file = None if folder is None else folder / FILE_NAME
        rows = [] if self._file is None or anew else _read(self._file)
        if self._file is None or not self._file.exists():
            written = [change for change in self.changes if change not in told]
            rows = past = [_row(change) for change in written if not begins and change.step <= step]
        else:
            rows = [row for row in rows if row[2] not in own or (not begins and int(row[1]) <= step)]
            past = [row for row in rows if row[2] in own]
        # A change at the very step of a resume may have come before the checkpoint, or be made again.
        self._kept = [row for row in past if int(row[1]) == step]
        self.changes = [_change(row) for row in past]
        if self._file is not None:
            self._try(_write, self._file, rows)
        for change in told:
            self.add(change)

    def writes_to(self, folder: Path | None) -> bool:
        """Whether it is open on a file in this folder."""
        return self._file is not None and self._file.parent == folder

    def add(self, change: Change) -> None:
        """Keep a change."""
        row = _row(change)
        if row in self._kept:
            return
        self.changes.append(change)
        if self._file is None:
            self._unwritten.append(change)
        else:
            # A file that somebody has taken away comes back whole.
            gone = not self._file.exists()
            self._try(_write if gone else _append, self._file, [*map(_row, self.changes)] if gone else row)

    def _try(self, write: Callable[[Path, Any], None], file: Path, what: Any) -> None:
        """Write; where that can't be, go on without a file: no run should end for its audit."""
        try:
            write(file, what)
        except OSError as error:
            self._file = None
            why = f"{type(error).__name__}: {error.strerror}"
            warnings.warn(f"{file} can't be written ({why}); changes are kept in memory", stacklevel=2)

    def close(self) -> None:
        """Let go of the file; the changes stay."""
        self._file, self._kept, self._unwritten = None, [], []


def read_changes(folder: Path) -> list[Change]:
    """The changes in the audit of a run's folder; none where there is no audit."""
    return [_change(row) for row in _read(folder / FILE_NAME)]


def _row(change: Change) -> Row:
    return [str(value) for value in astuple(change)]


def _change(row: Row) -> Change:
    epoch, step, name, old, new, why = row
    return Change(int(epoch), int(step), name, _value(old), _value(new), why)


def _read(file: Path) -> list[Row]:
    """The rows of a file; one that a killed process left unfinished is none."""
    if not file.is_file():
        return []
    with file.open(newline="", encoding="utf-8", errors="replace") as lines:
        whole = [line for line in lines if line.endswith("\n")]
    rows = [row for row in csv.reader(whole) if len(row) == len(_COLUMNS)]
    return [row for row in rows if row[0].isdecimal() and row[1].isdecimal()]


def _append(file: Path, row: Row) -> None:
    with file.open("a", newline="") as lines:
        csv.writer(lines).writerow(row)


def _write(file: Path, rows: list[Row]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Beside it first: a process that is killed here leaves the old file or the new one.
    draft = file.with_suffix(".tmp")
    with draft.open("w", newline="") as lines:
        csv.writer(lines).writerows([_COLUMNS, *rows])
    draft.replace(file)


def _value(text: str) -> Value:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text
