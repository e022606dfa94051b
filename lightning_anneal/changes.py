"""What is told when a parameter gets another value."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from lightning_anneal.checks import Value

log = logging.getLogger("lightning_anneal")


@dataclass(frozen=True)
class Change:
    """One parameter that got another value.

    Args:
        epoch: The epoch in which the new value came into force.
        step: The optimizer step that is the first to see it, both counted from 0.
        name: The parameter.
        old: The value before.
        new: The value now in force.
        why: What made it change: ``"schedule"``, ``"start"``, or the event (``"early_stopper_counter 2 -> 3"``).
    """

    epoch: int
    step: int
    name: str
    old: Value
    new: Value
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {_text(self.old)} -> {_text(self.new)} (epoch {self.epoch}, step {self.step}; {self.why})"


def say(change: Change) -> None:
    """Tell of a change at INFO, on the logger ``lightning_anneal``."""
    log.info("%s", change)


def _text(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
