"""Events: which change between two polls a trigger fires at.

Every trigger looks for an edge. `look` turns what a poll sees into a `Snapshot`, from the one before and nothing else;
the event has come when the snapshot's level has risen. While a level holds, nothing fires again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from lightning_anneal.triggers.signals import Reading, Snapshot


class Trigger(Protocol):
    """Turns readings into snapshots."""

    def look(self, before: Snapshot, reading: Reading) -> Snapshot:
        """The snapshot after a reading. Pure: two runs with the same readings have the same snapshots."""
        ...

    def tell(self, before: Snapshot, now: Snapshot, reading: Reading) -> str:
        """What was seen, for the audit."""
        ...


def fired(before: Snapshot, now: Snapshot) -> bool:
    """Whether the event has come between two snapshots."""
    return now.level > before.level


@dataclass(frozen=True)
class Rise:
    """A count that rises, at each rise; or a condition that becomes true.

    Example:
        >>> before, counts = Snapshot(), []
        >>> for count in (0, 1, 2, 2, 0, 1):
        ...     now = Rise().look(before, Reading(count))
        ...     counts += [count] if fired(before, now) else []
        ...     before = now
        >>> counts
        [1, 2, 1]
    """

    counts: bool = False
    """Whether the audit shows the count before and after."""

    def look(self, before: Snapshot, reading: Reading) -> Snapshot:
        return Snapshot(level=reading.value if math.isfinite(reading.value) else before.level)

    def tell(self, before: Snapshot, now: Snapshot, reading: Reading) -> str:
        return f"{before.level:g} -> {now.level:g}" if self.counts else reading.note


@dataclass(frozen=True)
class Threshold:
    """A metric that passes a threshold: strictly below it, or strictly above. NaN leaves things as they are.

    Args:
        threshold: The bound.
        above: Whether it is passed upwards.
    """

    threshold: float
    above: bool

    def look(self, before: Snapshot, reading: Reading) -> Snapshot:
        if math.isnan(reading.value):
            return before
        passed = reading.value > self.threshold if self.above else reading.value < self.threshold
        return Snapshot(level=float(passed))

    def tell(self, before: Snapshot, now: Snapshot, reading: Reading) -> str:
        return f"{reading.note} {reading.value:g} {'>' if self.above else '<'} {self.threshold:g}".strip()


@dataclass(frozen=True)
class Stall:
    """A metric that has not improved for `patience` polls in a row; then they are counted anew.

    An improvement is one by more than `min_delta`, as EarlyStopping has it. NaN is none.

    Args:
        patience: How many polls.
        maximize: Whether greater is better.
        min_delta: What an improvement has to exceed.

    Example:
        >>> before, fires = Snapshot(), []
        >>> for metric in (5.0, 4.0, 4.0, 4.5, 4.1, 4.2):
        ...     now = Stall(patience=2, maximize=False, min_delta=0.0).look(before, Reading(metric))
        ...     fires.append(fired(before, now))
        ...     before = now
        >>> fires
        [False, False, False, True, False, True]
    """

    patience: int
    maximize: bool
    min_delta: float

    def look(self, before: Snapshot, reading: Reading) -> Snapshot:
        if math.isfinite(reading.value) and self._better(reading.value, before.best):
            return replace(before, best=reading.value, bad=0)
        if before.bad + 1 >= self.patience:
            return replace(before, level=before.level + 1, bad=0)
        return replace(before, bad=before.bad + 1)

    def tell(self, before: Snapshot, now: Snapshot, reading: Reading) -> str:
        best = "nothing" if now.best is None else f"{now.best:g}"
        polls = "poll" if self.patience == 1 else "polls"
        return f"{reading.note} no better than {best} for {self.patience} {polls}".strip()

    def _better(self, value: float, best: float | None) -> bool:
        if best is None:
            return True
        return value > best + self.min_delta if self.maximize else value < best - self.min_delta


@dataclass(frozen=True)
class Plateau:
    """A metric that has not improved for more than `patience` polls in a row; then they are counted anew.

    It fires where torch's ``ReduceLROnPlateau`` lowers a learning rate, with the same counts, but for a metric that is
    not finite: here that is none.

    Args:
        patience: How many polls without an improvement are put up with.
        maximize: Whether greater is better.
        threshold: What an improvement has to exceed, as a share of the best metric or as it is.
        relative: Whether it is a share.
        cooldown: How many polls after a firing count for nothing.

    Example:
        >>> before, fires = Snapshot(), []
        >>> for metric in (5.0, 4.0, 4.0, 4.5, 4.1, 4.2):
        ...     now = Plateau(1, maximize=False, threshold=0.0, relative=True, cooldown=1).look(before, Reading(metric))
        ...     fires.append(fired(before, now))
        ...     before = now
        >>> fires
        [False, False, False, True, False, False]
    """

    patience: int
    maximize: bool
    threshold: float
    relative: bool
    cooldown: int

    def look(self, before: Snapshot, reading: Reading) -> Snapshot:
        better = before.best is None or self._better(reading.value, before.best)
        best = reading.value if better else before.best
        bad = 0 if better or before.rest else before.bad + 1
        if bad > self.patience:
            return replace(before, level=before.level + 1, best=best, bad=0, rest=self.cooldown)
        return replace(before, best=best, bad=bad, rest=max(before.rest - 1, 0))

    def tell(self, before: Snapshot, now: Snapshot, reading: Reading) -> str:
        polls = "poll" if before.bad == 0 else "polls"
        return f"{reading.note} no better than {now.best:g} for {before.bad + 1} {polls}".strip()

    def _better(self, value: float, best: float) -> bool:
        # As torch has it: a share of the best metric, whose sign makes the margin point the other way.
        if self.maximize:
            return value > (best * (1 + self.threshold) if self.relative else best + self.threshold)
        return value < (best * (1 - self.threshold) if self.relative else best - self.threshold)


@dataclass(frozen=True)
class Drop:
    """A learning rate that fell; or, in a loop of one's own, a condition (or a count of drops) that rises.

    LearningRateMonitor's record is the nearer past where it is newer than the last poll: a fall that it has recorded
    already was not made by a plateau scheduler, which steps after the record and before the poll.

    Example:
        >>> before = Drop().look(Snapshot(), Reading(rates=(0.1, 0.01)))
        >>> fired(before, Drop().look(before, Reading(rates=(0.1, 0.005))))
        True
    """

    def look(self, before: Snapshot, reading: Reading) -> Snapshot:
        if not reading.rates:
            return Rise().look(before, reading)
        past = reading.recorded or before.rates
        fell = len(past) == len(reading.rates) and any(map(_less, reading.rates, past))
        return Snapshot(level=before.level + fell, rates=reading.rates)

    def tell(self, before: Snapshot, now: Snapshot, reading: Reading) -> str:
        past = reading.recorded or before.rates
        fallen = [f"{a:g} -> {b:g}" for a, b in zip(past, now.rates, strict=False) if b < a]
        return ", ".join(fallen[:3])


def _less(a: float, b: float) -> bool:
    return a < b
