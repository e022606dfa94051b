"""What is legal in a config but surely not meant."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from lightning_anneal.checking.planned_rules import PlannedRule
from lightning_anneal.checking.problems import PREFIXES
from lightning_anneal.controllers.gate import Gate
from lightning_anneal.follow import Follow
from lightning_anneal.preview.model_source import ModelSource
from lightning_anneal.preview.run_config import RunConfig, place_of
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Cyclical, Milestones, Schedule, WarmRestart
from lightning_anneal.schedules import Sequence as SequenceSchedule

_LONG_BEFORE = 0.1
"""A schedule that stands still after this share of the run ends long before training does."""
_NEAR = 0.8
_WEIGHTS = ("beta", "kl_weight", "global_kl_weight", "local_kl_weight")


def find_doubts(
    run: RunConfig, planned: Sequence[PlannedRule], source: ModelSource | None, *, given_epochs: bool = False
) -> list[str]:
    """One line for each doubt.

    Args:
        run: The config.
        planned: Its schedules.
        source: The source of its model, if that was found.
        given_epochs: Whether the run's length was given otherwise.
    """
    found: list[str] = []
    limits = [run.trainer.get(key) for key in ("max_epochs", "max_steps", "max_time")]
    if not given_epochs and limits == [None] * 3 and run.is_lightning:
        found.append("trainer.max_epochs: not in the config; Lightning trains for 1000 epochs then")
    for each in planned:
        if isinstance(each.controller, Gate):
            found += _gate(each, each.controller)
        elif each.curve is not None and each.length is not None:
            unit = f"{each.rule.interval}s"
            last = each.curve(each.rule.due(max(math.ceil(each.length - 1e-9) - 1, 0)))
            found += [f"{each.rule.name}: {doubt}" for doubt in _lengths(each.curve, each.length, unit, last)]
        if source is not None:
            found += _names(each, source)
        if isinstance(each.rule.source, Follow):
            found += _followed(each.rule, each.rule.source, [rule.name for rule in run.rules], source)
    return [*found, *_weights(run, planned)]


def _lengths(curve: Schedule, run: float, unit: str, last: float) -> Iterator[str]:
    """Lengths that don't go with the run's, which ends on the value `last`."""
    curve = getattr(curve, "curve", curve)  # a beta scheduler is one under other names
    of_run = f"the run ({run:g} {unit})"
    if isinstance(curve, Cyclical) and curve.period > run:
        yield f"a cycle of {curve.period:g} {unit} is longer than {of_run}"
    elif isinstance(curve, WarmRestart):
        base = curve.base if isinstance(curve.base, Schedule) else None
        if curve.interval >= run:
            yield f"the first restart, at {curve.interval:g}, lies beyond {of_run}"
        if base is not None and curve.interval < base.settles_at < float("inf"):
            yield f"restarts after {curve.interval:g} {unit}, before its warm-up of {base.settles_at:g} is over"
    elif isinstance(curve, SequenceSchedule):
        yield from _parts(curve, run, unit, of_run)
    elif isinstance(curve, Milestones):
        late = [t for t, _ in curve.points if t >= run]
        if late:
            yield f"the milestone at {late[0]:g} lies beyond {of_run}"
    elif curve.settles_at > run and curve.settles_at < float("inf"):
        yield f"its {curve.settles_at:g} {unit} never end in {of_run}; it ends on {last:g}"
    if 0 < curve.settles_at <= _LONG_BEFORE * run:
        yield f"stands still after {curve.settles_at:g} {unit}, long before {of_run} ends"


def _parts(curve: SequenceSchedule, run: float, unit: str, of_run: str) -> Iterator[str]:
    """Parts of a sequence that never begin, or are cut off."""
    begin = 0.0
    parts = list(curve.parts)
    for i, (part, duration) in enumerate(parts):
        if begin >= run:
            yield f"part {i} begins at {begin:g}, beyond {of_run}"
            return
        settles = part.settles_at if isinstance(part, Schedule) else 0.0
        if i < len(parts) - 1 and duration < settles < float("inf"):
            yield f"part {i} is cut off after {duration:g} {unit}, before its {settles:g} are over"
        begin += duration


def _gate(planned: PlannedRule, gate: Gate) -> Iterator[str]:
    """A schedule that is too long for a clock that never stands still."""
    settles, length, unit = gate.curve.settles_at, planned.length, f"{planned.rule.interval}s"
    if length is not None and length < settles < math.inf:
        never = f"never end in the run ({length:g} {unit}), even if its clock never waits"
        yield f"{planned.rule.name}: its {settles:g} {unit} {never}"


def _followed(rule: Rule, follow: Follow, names: Sequence[str], source: ModelSource | None) -> Iterator[str]:
    """Something to follow that is no parameter, but nearly one, or begins nearly as a path does."""
    known = source.attributes if source is not None else frozenset[str]()
    first, dot, _ = follow.other.partition(".")
    # Where the source shows all there is, it is a mistake.
    if follow.other in names or first in (*known, *PREFIXES) or (source is not None and source.whole):
        return
    near = get_close_matches(first, sorted({*PREFIXES, *known} if dot else {*names, *known}), n=1, cutoff=_NEAR)
    if near:
        yield f"{rule.name}.other: {first!r} is no annealed parameter; did you mean {near[0]!r}?"


def _names(planned: PlannedRule, source: ModelSource) -> Iterator[str]:
    """A name that the model's source doesn't have, but one that is nearly the same."""
    rule = planned.rule
    home, key = place_of(rule)
    # Where the source shows all there is, it is a mistake.
    if home == "model" and not (rule.optional or source.whole) and rule.path == key and key not in source.attributes:
        # Only what is very near: a base class may have the name.
        near = get_close_matches(key, sorted(source.attributes), n=1, cutoff=_NEAR)
        if near:
            yield f"{rule.name}: the source of {source.name} sets no '{key}'; did you mean '{near[0]}'?"


def _weights(run: RunConfig, planned: Sequence[PlannedRule]) -> Iterator[str]:
    """A weight in the loss that moves while something goes by that loss."""
    watching = [f"EarlyStopping watches {s.monitor}" for s in run.stoppers if _is_loss(s.monitor)]
    for arguments in run.callback_named("ModelCheckpoint"):
        if _is_loss(arguments.get("monitor")):
            watching.append(f"ModelCheckpoint watches {arguments['monitor']}")
    if not watching:
        return
    names = [(callback.kind, rule) for callback in run.callbacks for rule in callback.rules]
    for kind, rule in names:
        key = "eval_beta" if kind == "BetaScheduleCallback" else "eval_value"
        is_weight = kind == "BetaScheduleCallback" or rule.path.split(".")[-1] in _WEIGHTS
        moves = next((_moves(each) for each in planned if each.rule is rule), False)
        if is_weight and moves and rule.eval_value is None:
            what = "moves, so that two epochs' losses are different sums"
            yield f"{rule.name}: {watching[0]}, whose loss it weighs, and it {what}; give {key}, such as 1.0"


def _moves(planned: PlannedRule) -> bool:
    if planned.curve is None:
        return True
    low, high = planned.curve.bounds
    return low != high


def _is_loss(monitor: object) -> bool:
    # Terms of a loss, such as val_kl_loss, have no weight in them.
    return isinstance(monitor, str) and monitor in ("val_loss", "val/loss", "valid_loss", "validation_loss")
