"""The audit: every change that was told, in memory and in a file that a killed run keeps."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import astuple, fields
from pathlib import Path

from lightning_anneal.changes import Change
from lightning_anneal.checks import Value

FILE_NAME = "annealing_changes.csv"
"""The file's name, beside those of the logger."""

_COLUMNS = [field.name for field in fields(Change)]


class Audit:
    """Keeps changes, and writes each to a CSV file as it comes."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self._file: Path | None = None
        self._kept: list[Change] = []

    def open(self, folder: Path | None, names: Iterable[str], step: int, *, begins: bool) -> None:
        """Write to a file in this folder from now on; what was kept before comes first.

        A file that is there already is that of the run which now goes on, or of another callback. What a resumed run
        is about to do again leaves it: rows of these parameters that came after `step`.

        Args:
            folder: The folder; ``None`` for no file.
            names: The parameters this audit is about.
            step: Optimizer steps done.
            begins: Whether the run begins here, so that nothing in the file is part of it.
        """
        if folder is None or (self._file is not None and self._file.parent == folder):
            return
        self._file = folder / FILE_NAME
        own, earlier = set(names), _read(self._file)
        past = [] if begins else [c for c in earlier if c.name in own and c.step <= step]
        # A change at the very step of a resume may have come before the checkpoint, or be made again.
        self._kept = [change for change in past if change.step == step]
        new, self.changes = self.changes, past
        _write(self._file, [c for c in earlier if c.name not in own] + past)
        for change in new:
            self.add(change)

    def add(self, change: Change) -> None:
        """Keep a change."""
        if change in self._kept:
            return
        self.changes.append(change)
        if self._file is not None:
            with self._file.open("a", newline="") as file:
                csv.writer(file).writerow(astuple(change))

    def close(self) -> None:
        """Let go of the file; the changes stay."""
        self._file = None


def _read(file: Path) -> list[Change]:
    """The rows of a file; one that a killed process left unfinished is none."""
    if not file.is_file():
        return []
    with file.open(newline="") as lines:
        rows = [row for row in csv.reader(lines) if len(row) == len(_COLUMNS)][1:]
    return [
        Change(int(epoch), int(step), name, _value(old), _value(new), why) for epoch, step, name, old, new, why in rows
    ]


def _write(file: Path, changes: list[Change]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    # Beside it first: a process that is killed here leaves the old file or the new one.
    draft = file.with_suffix(".tmp")
    with draft.open("w", newline="") as lines:
        csv.writer(lines).writerows([_COLUMNS, *map(astuple, changes)])
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
