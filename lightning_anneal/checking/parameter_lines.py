"""What a config says of a parameter, in one line."""

from __future__ import annotations

import math
from typing import Any

from lightning_anneal.balance_rules import Weigh
from lightning_anneal.checking.planned_rules import PlannedRule
from lightning_anneal.controllers.constraint import Constraint
from lightning_anneal.controllers.controller import Controller, Steer
from lightning_anneal.controllers.gate import Gate
from lightning_anneal.controllers.pi_control import PIControl
from lightning_anneal.drawing.panels import sampled
from lightning_anneal.follow import Follow
from lightning_anneal.phases import Plan
from lightning_anneal.preview.moments import moments, words
from lightning_anneal.schedules import Schedule
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.responses import Add, Multiply

_MOST_VALUES = 2000


def line_of(planned: PlannedRule) -> str:
    """A parameter in one line."""
    rule = planned.rule
    if planned.phases:
        text = _phased(planned)
    elif isinstance(rule.source, Reaction):
        text = _reaction(rule.source)
    elif isinstance(rule.source, Follow):
        text = f"follows {_formula(rule.source)}{_timing(planned)}"
    elif planned.controller is not None:
        text = _steered(planned, planned.controller)
    else:
        assert planned.curve is not None
        text = _scheduled(planned, planned.curve)
    return f"{rule.name}: {text}" + ("" if rule.eval_value is None else f", {rule.eval_value:g} in evaluations")


def _timing(planned: PlannedRule) -> str:
    every = "" if planned.rule.frequency == 1 else f", every {planned.rule.frequency}"
    return f" by {planned.rule.interval}{every}"


def _scheduled(planned: PlannedRule, curve: Schedule) -> str:
    rule = planned.rule
    first = planned.value(0)
    text = f"{words(curve)}{_timing(planned)}, from {'the value found' if first is None else f'{first:g}'}"
    if planned.length is not None:
        last = max(math.ceil(planned.length - 1e-9) - 1, 0)
        value = curve(rule.due(last))
        text += f" to {value:g}"
        values = [curve(rule.due(t)) for t in sampled(last + 1, _MOST_VALUES)]
        low, high = min(values), max(values)
        if first is not None and {low, high} - {first, value}:
            text += f", between {low:g} and {high:g}"
        restarts = [at for at, kind in moments(curve, planned.length) if kind == "restart"]
        if restarts:
            text += f", restarts at {', '.join(f'{at:g}' for at in restarts[:5])}{', ...' * (len(restarts) > 5)}"
    return text


def _phased(planned: PlannedRule) -> str:
    parts = []
    for phase, part in planned.phases.items():
        if isinstance(part, Schedule):
            parts.append(f"{words(part)} in {phase}")
        else:
            parts.append(f"{part:g} in {phase}" if isinstance(part, float) else f"{part} in {phase}")
    return ", ".join(parts) + (
        _timing(planned) if any(isinstance(x, Schedule) for x in planned.phases.values()) else ""
    )


def phases_line(plan: Plan) -> str:
    """The phases of a run in one line."""
    return "phases: " + ", ".join(f"{phase.name} {phase.told}" for phase in plan.phases)


def _reaction(reaction: Reaction) -> str:
    response: Any = reaction.response
    event = "plateau" if reaction.source == "on_plateau" else reaction.source
    watched = "" if reaction.monitor is None else f" of {reaction.monitor}"
    if isinstance(response, Multiply):
        what = f"times {response.factor:g}"
    elif isinstance(response, Add):
        what = f"{'plus' if response.step > 0 else 'minus'} {abs(response.step):g}"
    else:
        what = "the next of " + ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in response.values)
    return f"{what} at each {event}{watched}"


def _steered(planned: PlannedRule, controller: Controller) -> str:
    if isinstance(controller, Gate):
        return _gated(planned, controller)
    if isinstance(planned.rule.source, Weigh):
        return f"weight among {', '.join(planned.rule.source.losses)} by {planned.rule.source.method}{_timing(planned)}"
    source = planned.rule.source
    assert isinstance(source, Steer)
    low, high = controller.bounds
    begins = controller.value(controller.begin(), source.output, 0) if planned.has_start else None
    between = f", from {'the value found' if begins is None else f'{begins:g}'}, between {low:g} and {high:g}"
    if isinstance(controller, PIControl):
        what = f"holds {controller.monitor} at {_aim(controller.set_point)}"
    else:
        assert isinstance(controller, Constraint)
        most = "at least" if controller.at_least else "at most"
        what = f"keeps {controller.monitor} {most} {_aim(controller.limit)}"
    return f"{what}{_timing(planned)}{between}"


def _aim(curve: Schedule) -> str:
    low, high = curve.bounds
    if low == high:
        return f"{low:g}"
    end = f" to {curve(curve.settles_at):g}" if curve.settles_at < math.inf else ""
    return f"{curve(0):g}{end} ({words(curve)})"


def _gated(planned: PlannedRule, gate: Gate) -> str:
    first = planned.value(0)
    text = f"{words(gate.curve)}{_timing(planned)}, from {'the value found' if first is None else f'{first:g}'}"
    if gate.curve.settles_at < math.inf:
        text += f" to {gate.curve(gate.curve.settles_at):g}"
    text += f", while {gate.monitor} is {'above' if gate.above else 'below'} {gate.threshold:g}"
    if gate.max_wait is not None:
        text += f", or after {gate.max_wait:g} {planned.rule.interval}s of waiting"
    return text


def _formula(follow: Follow) -> str:
    text = follow.other if follow.power == 1 else f"{follow.other} ** {follow.power:g}"
    text = text if follow.scale == 1 else f"{follow.scale:g} * {text}"
    sign = "+" if follow.offset > 0 else "-"
    return text if follow.offset == 0 else f"{text} {sign} {abs(follow.offset):g}"
