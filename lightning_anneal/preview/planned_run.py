"""All that a preview knows of a run before it is played."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lightning_anneal.checks import Value
from lightning_anneal.clock import Horizon
from lightning_anneal.controllers.controller import Steer
from lightning_anneal.phases import Plan
from lightning_anneal.preview.stopping import Stopper
from lightning_anneal.rules import Rule
from lightning_anneal.triggers.reaction import Reaction

if TYPE_CHECKING:
    from lightning_anneal.preview.rates import Rates

ASSUMED_STEPS = 100
"""Optimizer steps in an epoch where nothing says how many there are."""
MOST_STEPS = 1_000_000
"""A run with more steps, or epochs, is not played through."""
_ROUNDED = ("batch_size", "accumulate_grad_batches")


@dataclass
class PlannedRun:
    """All that a preview knows of a run.

    Args:
        rules: What is annealed.
        max_epochs: The planned number of epochs.
        max_steps: The planned number of optimizer steps.
        steps_per_epoch: Optimizer steps in an epoch.
        min_epochs: Epochs that EarlyStopping can't cut off.
        starts: The values found, by parameter.
        metrics: By name, the value after each epoch; ``None`` where there is none.
        stoppers: The run's EarlyStoppings.
        rates: Makes the learning rate, given the horizon; ``None`` for a run that shows none.
        one_rate: Whether it is that of all parameter groups.
        validates_every: Epochs from one validation to the next.
        plan: The phases that some of the rules belong to.
        by_command: Whether notes name the options of the command, or the arguments in Python; ``None`` for neither.
    """

    rules: Sequence[Rule]
    max_epochs: float | None = None
    max_steps: float | None = None
    steps_per_epoch: float | None = None
    min_epochs: int = 0
    starts: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    stoppers: Sequence[Stopper] = ()
    rates: Callable[[Horizon], Rates] | None = None
    one_rate: bool = True
    validates_every: int = 1
    plan: Plan = Plan()
    by_command: bool | None = False

    @property
    def answers(self) -> bool:
        """Whether any of its rules answers to what happens."""
        return any(isinstance(rule.source, Reaction | Steer) for rule in self.rules)

    @property
    def watched(self) -> set[str]:
        """The metrics that its rules and stoppers watch."""
        found = {stopper.monitor for stopper in self.stoppers}
        for rule in self.rules:
            if isinstance(rule.source, Steer):
                found.update(rule.source.monitors)
            elif isinstance(rule.source, Reaction) and rule.source.monitor is not None:
                found.add(rule.source.monitor)
        return found

    def hint(self, option: str, argument: str) -> str:
        """What gives a preview what it lacks, for the end of a note."""
        if self.by_command is None:
            return ""
        return f" ({option if self.by_command else argument})"


def whole(length: float) -> int:
    """How many epochs (or steps) begin within a length; at least one.

    Example:
        >>> whole(2.5), whole(3.0000000001), whole(1e-300)
        (3, 3, 1)
    """
    return max(math.ceil(length - 1e-9), 1)


def rounded(rule: Rule, value: Value) -> Value:
    """A value as the rule writes it."""
    if isinstance(value, bool | str):
        return value
    if rule.round or rule.path.split(".")[-1] in _ROUNDED:
        return math.floor(value + 0.5)
    return value
