"""A line: one target under its schedule, and the checks that hold before anything is written."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.controllers.controller import Steer
from lightning_anneal.errors import AnnealError
from lightning_anneal.follow import Follow
from lightning_anneal.phases import Phased
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule
from lightning_anneal.targets.optimizer import check_takes_tensor
from lightning_anneal.targets.ranges import check_range
from lightning_anneal.targets.resolve import Resolved
from lightning_anneal.targets.target import Target
from lightning_anneal.triggers.reaction import Reaction

TRIED = 100
"""How far ahead an int target's schedule is tried for fractions. Later ones are caught when they come."""


@dataclass(eq=False)
class Line:
    """One target under its schedule.

    Args:
        rule: The rule it belongs to.
        target: Where the values go.
        curve: Where they come from.
        lengths: The lengths the curve was built from, in the rule's interval.
    """

    rule: Rule
    target: Target
    curve: Schedule
    lengths: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.next_event: float = math.inf
        """The next epoch (or step) that is worth telling of."""
        self.settled: float = self._turn_at(self.curve.settles_at)
        """The first epoch (or step) whose value is the last one that is written."""
        self.bounded = all(map(math.isfinite, self.curve.bounds))
        """Whether all the values to come are known to be in order."""

    def value(self, t: int) -> float:
        """The value in force during epoch (or step) ``t``."""
        return self.curve(self.rule.due(t))

    def begin(self, t: int, *, first: bool) -> None:
        """Find the next event after ``t``; at the beginning of a run the first value that moves is one."""
        self.next_event = min(self.event_after(t), t + self.rule.frequency) if first else self.event_after(t)

    def event_after(self, t: int) -> float:
        """The first epoch (or step) after ``t`` that is worth telling of."""
        return self._turn_at(self.curve.next_event(self.rule.due(t)))

    def warn_if_cut_short(self, horizon: Horizon) -> None:
        """Say so where a length is longer than the run."""
        run = horizon.run(self.rule.interval)
        longest = max((*self.lengths.values(), self.settled if self.settled < math.inf else 0.0), default=0.0)
        if run is not None and longest > run:
            unit = f"{self.rule.interval}s"
            last = self.value(max(math.ceil(run) - 1, 0))
            warnings.warn(
                f"{self.target.name}: {longest:g} {unit} is longer than the run ({run:g} {unit}); "
                f"it will end on {last:g}",
                stacklevel=2,
            )

    def _turn_at(self, t: float) -> float:
        """The first turn of the rule at or after ``t``."""
        return math.ceil(t / self.rule.frequency) * self.rule.frequency if t < math.inf else t


def build_lines(rule: Rule, resolved: Resolved, found: dict[str, Any], horizon: Horizon) -> list[Line]:
    """The lines of a scheduled rule, one for each of its targets, from what was found at the first fit start.

    Raises:
        AnnealError: If a schedule can't be built, or gives what its target can't take.
    """
    lines: list[Line] = []
    if isinstance(rule.source, Reaction | Steer | Follow | Phased):
        return lines
    for target, start in zip(resolved.targets, found["start"], strict=False):
        lengths = Lengths(rule.name, rule.interval, horizon, dict(found["lengths"]))
        curve = rule.source.build(lengths, start if rule.source.needs_start else None)
        line = Line(rule, target, curve, lengths.asked)
        try:
            check_line(line, resolved)
        except AnnealError as error:
            # A schedule made in code knows only its own name.
            raise error if error.where.startswith(rule.name) else AnnealError(target.name, str(error)) from None
        lines.append(line)
    return lines


def check_line(line: Line, resolved: Resolved) -> None:
    """Refuse what a target can't take of a schedule.

    Raises:
        AnnealError: For the first thing that it can't.
    """
    rule, target = line.rule, line.target
    if not target.whole:
        check_range(target.name, target.key, *line.curve.bounds)
    for turn in range(TRIED if target.whole and not rule.round else 1):
        target.cast(line.curve(turn * rule.frequency))
    check_options(rule, target, resolved)


def check_options(rule: Rule, target: Target, resolved: Resolved) -> None:
    """Refuse an ``eval_value`` or ``as_tensor`` that this target can't have."""
    if rule.eval_value is not None:
        target.cast(rule.eval_value)
    if rule.as_tensor and not target.in_place:
        if resolved.home not in ("model", "optimizer") or not target.can_hold_tensor:
            raise AnnealError(
                f"{rule.name}.as_tensor", "only a number of a module or of a parameter group becomes a tensor"
            )
        if resolved.home == "optimizer":
            check_takes_tensor(f"{rule.name}.as_tensor", target)
