"""The schedules and controllers of a config, built for the run that it plans."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_anneal.checks import Value
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.controllers.constraint import ConstraintRecipe
from lightning_anneal.controllers.controller import Controller, Steer
from lightning_anneal.controllers.gate import Gate
from lightning_anneal.errors import AnnealError
from lightning_anneal.follow import Follow
from lightning_anneal.phased_lines import tried
from lightning_anneal.phases import Phased
from lightning_anneal.phasing import Phasing
from lightning_anneal.preview.followers import leader_of
from lightning_anneal.preview.planned_run import ASSUMED_STEPS, PlannedRun
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule
from lightning_anneal.targets.ranges import check_range
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.responses import Add, Multiply

_ANY_START = 1.0
"""Stands for a start that only the built model would show: lengths don't depend on it."""

Bounds = tuple[float, float]


@dataclass(frozen=True)
class PlannedRule:
    """A rule in the planned run.

    Args:
        rule: The rule.
        curve: Its schedule, in time or on a gate's clock; ``None`` for what has none.
        length: The run's length in epochs (or steps); ``None`` if it isn't known.
        start: The value found, if it is known.
        controller: What steers it, a gate as well.
        phases: By phase that moves it: a value or a schedule.
    """

    rule: Rule
    curve: Schedule | None
    length: float | None
    start: Value | None
    controller: Controller | None = None
    phases: Mapping[str, Value | Schedule] = field(default_factory=dict)

    def value(self, t: int) -> float | None:
        """The value during an epoch (or step); ``None`` where it isn't known or there is no schedule."""
        if self.curve is None or not self.has_start:
            return None
        return float(self.curve(self.rule.due(t)))

    @property
    def has_start(self) -> bool:
        """Whether what it begins with is known."""
        return not self.rule.source.needs_start or self.start is not None

    @property
    def bounds(self) -> Bounds | None:
        """The least and the greatest value to come, infinite without a bound; ``None`` where that isn't known."""
        source = self.rule.source
        if isinstance(source, Reaction):
            if source.response.kind is not float or not self.has_start:
                return None
            values = [float(value) for value in source.response.to_come(0.0 if self.start is None else self.start)]
            return min(values), max(values)
        if self.curve is not None:
            return self.curve.bounds if self.has_start else None
        return None if self.controller is None else self.controller.bounds


def plan(run: PlannedRun, problems: list[AnnealError]) -> list[PlannedRule]:
    """Build every schedule and controller; what can't be built goes to the problems.

    Args:
        run: The run.
        problems: Filled.
    """
    planned = []
    for rule in run.rules:
        try:
            planned.append(_planned(rule, run))
        except AnnealError as error:
            problems.append(
                error if error.where.startswith((rule.name, "phases.")) else AnnealError(rule.name, str(error))
            )
    for each in planned:
        if isinstance(each.rule.source, Follow):
            try:
                _check_follower(each, planned)
            except AnnealError as error:
                problems.append(error)
    return planned


def _planned(rule: Rule, run: PlannedRun) -> PlannedRule:
    assumed: list[float] = []

    def steps_per_epoch() -> float:
        if run.steps_per_epoch is None:
            assumed.append(ASSUMED_STEPS)
        return run.steps_per_epoch or ASSUMED_STEPS

    horizon = Horizon(run.max_epochs, run.max_steps, steps_per_epoch)
    start, source = run.starts.get(rule.name), rule.source
    if isinstance(source, Follow):
        return PlannedRule(rule, None, None, start)
    if isinstance(source, Reaction):
        given: Any = source.response.values if source.watches == "phases" else ()  # type: ignore[attr-defined]
        phases = {name: value for name, value in zip(run.plan.names, given, strict=False) if value is not None}
        if numbers := [float(value) for value in phases.values() if isinstance(value, float)]:
            check_range(rule.name, key_of(rule), min(numbers), max(numbers))
        return _checked(PlannedRule(rule, None, None, start, phases=phases))
    if isinstance(source, Phased):
        lengths = Lengths(rule.name, rule.interval, horizon)
        return PlannedRule(rule, None, None, start, phases=_in_phases(rule, run, lengths, horizon, start))
    # One that is sure to be within the bounds of a constraint.
    any_start = source.low if isinstance(source, ConstraintRecipe) else _ANY_START
    begin = float(any_start if start is None else start) if source.needs_start else None
    lengths = Lengths(rule.name, rule.interval, horizon)
    controller = source.build(lengths, begin) if isinstance(source, Steer) else None
    curve = controller.curve if isinstance(controller, Gate) else None
    curve = curve if isinstance(source, Steer) else source.build(lengths, begin)
    length = horizon.run(rule.interval)
    # With an assumption in it a length says nothing.
    return _checked(PlannedRule(rule, curve, None if assumed else length, start, controller))


def _in_phases(
    rule: Rule, run: PlannedRun, lengths: Lengths, horizon: Horizon, start: Value | None
) -> dict[str, Value | Schedule]:
    """What each phase makes of a parameter.

    Raises:
        AnnealError: If a schedule can't be built, or goes out of range.
    """
    phasing = Phasing(run.plan)
    phasing.find_lengths(horizon)
    found: dict[str, Value | Schedule] = {}
    known = start is not None
    for phase, part, curve in tried(rule, lengths, float(_ANY_START if start is None else start), phasing):
        known = known or isinstance(part, float) or not part.needs_start
        if known:
            check_range(rule.name, key_of(rule), *curve.bounds)
        found[phase.name] = part if isinstance(part, float) else curve
    return found


def _checked(planned: PlannedRule) -> PlannedRule:
    """The same, if its values are in range.

    Raises:
        AnnealError: If one isn't.
    """
    rule, curve, start = planned.rule, planned.curve, planned.start
    response = rule.source.response if isinstance(rule.source, Reaction) else None
    if isinstance(response, Multiply | Add) and isinstance(start, float):
        response.check(rule.name, start)
    if planned.bounds is not None:
        check_range(rule.name, key_of(rule), *planned.bounds)
    elif curve is not None and curve.settles_at < float("inf"):
        # Where it begins isn't known, but where it ends.
        check_range(rule.name, key_of(rule), *[curve(curve.settles_at)] * 2)
    return planned


def _check_follower(planned: PlannedRule, every: Sequence[PlannedRule]) -> None:
    """Refuse a follower that has no value, or one out of range, where what it follows is at its ends."""
    bounds = _bounds_of(planned, every)
    if bounds is not None:
        check_range(planned.rule.name, key_of(planned.rule), *bounds)


def _bounds_of(planned: PlannedRule, every: Sequence[PlannedRule]) -> Bounds | None:
    """The bounds of a rule, also of one that follows another."""
    rule, follow = planned.rule, planned.rule.source
    if not isinstance(follow, Follow):
        return planned.bounds
    leader = leader_of(rule, [each.rule for each in every])
    found = next((each for each in every if each.rule is leader), None)
    bounds = None if found is None else _bounds_of(found, every)
    # Of what is below 0 a power need not go one way.
    if bounds is None or not all(map(math.isfinite, bounds)) or (bounds[0] < 0 and follow.power != 1):
        return None
    ends = [follow.value(rule.name, bound) for bound in bounds]
    return min(ends), max(ends)


def key_of(rule: Rule) -> str | None:
    """What an optimizer or the Trainer calls the value, if it goes to one of them."""
    segments = rule.path.split(".")
    home = rule.object if isinstance(rule.object, str) else segments[0]
    if home not in ("optimizer", "optimizers", "trainer") and segments[-1] != "batch_size":
        return None
    return next((segment for segment in reversed(segments) if not segment.isdigit()), segments[-1])
