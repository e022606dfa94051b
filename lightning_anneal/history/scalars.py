"""The numbers that a logger has written, from TensorBoard's event files or from CSVLogger's table."""

from __future__ import annotations

import contextlib
import csv
import logging
import math
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path

from lightning_anneal.changes import Change
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.history.folders import EVENTS, METRICS

Scalars = dict[str, list[tuple[int, float]]]
"""By tag: step and value, in the order of the steps."""


def read_scalars(run: Path) -> Scalars:
    """Every scalar of a run. What a resumed run has logged again counts once, as it was logged last.

    Args:
        run: The folder that a logger has written to.

    Raises:
        AnnealError: If it can't be read.
    """
    found = _from_events(run) if any(run.glob(EVENTS)) else _from_table(run / METRICS)
    return {tag: sorted(dict(points).items()) for tag, points in found.items()}


def _from_events(run: Path) -> Scalars:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # It tells of a file that a killed process has left unfinished, and reads it all the same.
    logger = logging.getLogger("tensorboard")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        events = EventAccumulator(str(run), size_guidance={"scalars": 0})
        events.Reload()
        return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    except Exception as error:
        raise AnnealError(quote(str(run)), f"can't be read: {type(error).__name__}: {error}") from None
    finally:
        logger.setLevel(level)


def _from_table(file: Path) -> Scalars:
    found: Scalars = {}
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as lines:
            for row in csv.DictReader(lines):
                with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
                    step = int(float(row["step"]))
                    for tag, text in row.items():
                        if tag != "step" and text:
                            with contextlib.suppress(ValueError):
                                found.setdefault(tag, []).append((step, float(text)))
    except (OSError, csv.Error) as error:
        raise AnnealError(quote(str(file)), f"can't be read: {type(error).__name__}") from None
    return found


class Times:
    """Turns the steps that a logger counts into epochs.

    Args:
        scalars: What was logged; Lightning logs the epoch beside a module's metrics.
        changes: The audit, for a module that logs none.

    Attributes:
        known: Whether there is anything to go by. Without it times are steps.
    """

    def __init__(self, scalars: Scalars, changes: Sequence[Change] = ()) -> None:
        last: dict[float, int] = {}
        for step, epoch in scalars.get("epoch", ()):
            if math.isfinite(epoch):
                last[epoch] = max(last.get(epoch, 0), step)
        # An epoch's metrics are logged at its last step.
        ends = [(step + 1, epoch + 1) for epoch, step in sorted(last.items())]
        if not ends:
            # A module that logs nothing: the audit knows the first step of the epochs in which something has changed.
            first: dict[int, int] = {}
            for change in changes:
                first[change.epoch] = min(first.get(change.epoch, change.step), change.step)
            ends = [(step, float(epoch)) for epoch, step in sorted(first.items()) if epoch > 0 and step > 0]
        self._ends = ends
        self.known = bool(self._ends)
        self._starts = [(0, 0.0), *self._ends]

    @property
    def epochs(self) -> float:
        """Where the run ends."""
        return self._starts[-1][1]

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps in an epoch, on average; ``None`` if it isn't known."""
        step, epoch = self._starts[-1]
        return step / epoch if self.known else None

    @property
    def even(self) -> bool:
        """Whether all epochs have the same number of steps, which a batch size that moves puts an end to."""
        lengths = {end - begin for (begin, _), (end, _) in zip(self._starts, self._ends, strict=False)}
        return self.known and len(lengths) == 1

    def at(self, step: float) -> float:
        """The time of a step."""
        if not self.known:
            return float(step)
        index = bisect_left(self._ends, (step, -math.inf))
        if index < len(self._ends):
            (begin, first), (end, last) = self._starts[index], self._ends[index]
            return first + (step - begin) / max(end - begin, 1) * (last - first)
        # What comes after the last epoch that was logged goes on at its pace.
        per_epoch = self.steps_per_epoch or 1.0
        return self.epochs + (step - self._starts[-1][0]) / per_epoch


def by_epoch(points: list[tuple[int, float]], times: Times) -> list[float | None]:
    """The last value of each epoch; ``None`` where there is none."""
    found: dict[int, float] = {}
    for step, value in points:
        found[max(math.ceil(times.at(step + 1) - 1e-9) - 1, 0)] = value
    return [found.get(epoch) for epoch in range(max(found, default=-1) + 1)]
