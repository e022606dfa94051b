"""What is told when a parameter gets another value."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lightning_anneal.clock import Interval

log = logging.getLogger("lightning_anneal")


@dataclass(frozen=True)
class Change:
    """One parameter that got another value.

    Args:
        name: The parameter.
        old: The value before.
        new: The value now in force.
        interval: What the rule counts.
        t: The epoch (or step) from which on the new value holds.
    """

    name: str
    old: float
    new: float
    interval: Interval
    t: int

    def __str__(self) -> str:
        return f"{self.name}: {self.old:g} -> {self.new:g} ({self.interval} {self.t})"


def say(change: Change) -> None:
    """Tell of a change at INFO, on the logger ``lightning_anneal``."""
    log.info("%s", change)
