"""The schedules of a config, built for the run that it plans."""

from __future__ import annotations

from dataclasses import dataclass

from lightning_anneal.checks import Value
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.errors import AnnealError
from lightning_anneal.preview.planned_run import ASSUMED_STEPS, PlannedRun
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule
from lightning_anneal.targets.ranges import check_range
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.responses import NextOf

_ANY_START = 1.0
"""Stands for a start that only the built model would show: lengths don't depend on it."""


@dataclass(frozen=True)
class PlannedRule:
    """A rule in the planned run.

    Args:
        rule: The rule.
        curve: Its schedule; ``None`` for a trigger.
        length: The run's length in epochs (or steps); ``None`` if it isn't known.
        start: The value found, if it is known.
    """

    rule: Rule
    curve: Schedule | None
    length: float | None
    start: Value | None

    def value(self, t: int) -> float | None:
        """The value during an epoch (or step); ``None`` where it isn't known or there is no schedule."""
        if self.curve is None or (self.rule.source.needs_start and self.start is None):
            return None
        return float(self.curve(self.rule.due(t)))


def plan(run: PlannedRun, problems: list[AnnealError]) -> list[PlannedRule]:
    """Build every schedule; what can't be built goes to the problems.

    Args:
        run: The run.
        problems: Filled.
    """
    planned = []
    for rule in run.rules:
        try:
            planned.append(_planned(rule, run))
        except AnnealError as error:
            problems.append(error if error.where.startswith(rule.name) else AnnealError(rule.name, str(error)))
    return planned


def _planned(rule: Rule, run: PlannedRun) -> PlannedRule:
    assumed: list[float] = []

    def steps_per_epoch() -> float:
        if run.steps_per_epoch is None:
            assumed.append(ASSUMED_STEPS)
        return run.steps_per_epoch or ASSUMED_STEPS

    horizon = Horizon(run.max_epochs, run.max_steps, steps_per_epoch)
    start = run.starts.get(rule.name)
    if isinstance(rule.source, Reaction):
        response = rule.source.response
        values = response.values if isinstance(response, NextOf) and response.kind is float else ()
        if values:
            check_range(rule.name, key_of(rule), *(float(f(values)) for f in (min, max)))
        return PlannedRule(rule, None, None, start)
    begin = float(_ANY_START if start is None else start) if rule.source.needs_start else None
    curve = rule.source.build(Lengths(rule.name, rule.interval, horizon), begin)
    if start is not None or not rule.source.needs_start:
        check_range(rule.name, key_of(rule), *curve.bounds)
    elif curve.settles_at < float("inf"):
        # Where it begins isn't known, but where it ends.
        check_range(rule.name, key_of(rule), *[curve(curve.settles_at)] * 2)
    length = horizon.run(rule.interval)
    # With an assumption in it a length says nothing.
    return PlannedRule(rule, curve, None if assumed else length, start)


def key_of(rule: Rule) -> str | None:
    """What an optimizer or the Trainer calls the value, if it goes to one of them."""
    segments = rule.path.split(".")
    home = rule.object if isinstance(rule.object, str) else segments[0]
    if home not in ("optimizer", "optimizers", "trainer") and segments[-1] != "batch_size":
        return None
    return next((segment for segment in reversed(segments) if not segment.isdigit()), segments[-1])
