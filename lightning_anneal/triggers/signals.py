"""Signals: what one poll sees of the run, and what a trigger remembers of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_anneal.checks import number
from lightning_anneal.errors import AnnealError, quote


@dataclass(frozen=True)
class Reading:
    """What one poll sees for one rule.

    Args:
        value: A count, a condition (0 or 1), or a metric.
        rates: The learning rates of the groups that a plateau scheduler owns, where that is what is looked at.
        recorded: The rates of the same groups that LearningRateMonitor has recorded since the last poll, if it has.
        note: What a person wants to know of it, such as ``"3 of 6"``.
        earlier: What was to be seen since the last poll and is gone, such as a count before a stop was taken back.
        absent: Whether there was nothing to be seen, of which `note` says what.
    """

    value: float = 0.0
    rates: tuple[float, ...] = ()
    recorded: tuple[float, ...] = ()
    note: str = ""
    earlier: Reading | None = None
    absent: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What a trigger remembers of the last poll. It fires when `level` has risen.

    Args:
        level: A count, or a condition as 0 or 1. Before the first poll it is 0: nothing has happened yet.
        best: The best metric so far.
        bad: Polls since then.
        rates: The learning rates at the last poll.
        rest: Polls of a cooldown that are still to pass.
    """

    level: float = 0.0
    best: float | None = None
    bad: int = 0
    rates: tuple[float, ...] = ()
    rest: int = 0

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint.

        Example:
            >>> Snapshot(level=2.0).plain()
            {'level': 2.0, 'best': None, 'bad': 0, 'rates': []}
        """
        rest = {"rest": self.rest} if self.rest else {}
        return {"level": self.level, "best": self.best, "bad": self.bad, "rates": list(self.rates), **rest}

    @classmethod
    def of(cls, where: str, plain: Mapping[str, Any]) -> Snapshot:
        """From the plain values of a checkpoint."""
        best = plain["best"]
        return cls(
            number(f"{where}.level", plain["level"]),
            None if best is None else number(f"{where}.best", best),
            int(plain["bad"]),
            tuple(number(f"{where}.rates", rate) for rate in plain["rates"]),
            int(plain.get("rest", 0)),
        )


def as_reading(where: str, value: Any) -> Reading:
    """A number, a boolean or a 0-d tensor from a loop of one's own. NaN is a metric like any other.

    Raises:
        AnnealError: If it is no number.

    Example:
        >>> as_reading("metrics.early_stopper_triggered", True).value
        1.0
    """
    try:
        return Reading(float(value))
    except (TypeError, ValueError, OverflowError, RuntimeError):
        raise AnnealError(where, f"must be a number or a boolean, got {quote(value)}") from None
