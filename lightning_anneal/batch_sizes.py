"""The batch size that an engine anneals: what it was at first, is in an epoch, and may come to."""

from __future__ import annotations

import math
from collections.abc import Callable

from lightning_anneal.checks import Value
from lightning_anneal.engine import AnyLine, Engine, OwnLine
from lightning_anneal.follow import Follow
from lightning_anneal.following import FollowingLine
from lightning_anneal.reactions import ReactingLine
from lightning_anneal.steering import SteeredLine


def rules_of_batch_size(engine: Engine) -> list[str]:
    """The rules that the batch size of an epoch comes from: its own, and those that it follows."""
    names = [rule.name for rule in engine.rules if rule.sizes_batches]
    others = {rule.name: rule.source.other for rule in engine.rules if isinstance(rule.source, Follow)}
    for name in names:
        if (other := others.get(name)) in [rule.name for rule in engine.rules]:
            names.append(str(other))
    return names


def rate_followed(engine: Engine) -> str | None:
    """The learning rate that the batch size follows, if it does."""
    following = [line for line in _lines(engine) if isinstance(line, FollowingLine) and line.root.key == "lr"]
    return following[0].root_path if following else None


def largest_batch_size(engine: Engine) -> float:
    """The largest batch size to come; infinite where that isn't known."""
    ends: list[float] = []
    for line in _lines(engine):
        if isinstance(line, ReactingLine):
            ends += [float(value) for value in line.reaction.response.to_come(line.start)]
        elif isinstance(line, SteeredLine):
            ends.append(engine.steering.controllers[line.key].bounds[1])
        elif not isinstance(line, FollowingLine):
            ends.append(line.curve.bounds[1])
    return max(ends, default=math.inf)


def first_batch_size(engine: Engine) -> int | None:
    """The batch size that the run began with, which its learning rates were chosen for."""

    def at_first(line: OwnLine) -> Value:
        if isinstance(line, SteeredLine):
            return engine.steering.first_value(line)
        return line.value(0)

    for line in _lines(engine):
        value = _to_come(engine, line, 0, at_first) if isinstance(line, FollowingLine) else at_first(line)
        return int(line.target.cast(value))
    return None


def batch_size_at(engine: Engine, epoch: int) -> int:
    """The batch size that is to be in force in an epoch; only for one that is annealed."""
    [line] = _lines(engine)

    def then(line: OwnLine) -> Value:
        return engine.value_at(line, epoch)

    return int(line.target.cast(_to_come(engine, line, epoch, then) if isinstance(line, FollowingLine) else then(line)))


def _lines(engine: Engine) -> list[AnyLine]:
    """What drives the batch size; nothing if it is not annealed."""
    size = engine.findings.batch_size
    return [] if size is None else [line for line in engine.every_line if line.target is size[1]]


def _to_come(engine: Engine, line: FollowingLine, epoch: int, value_of: Callable[[OwnLine], Value]) -> Value:
    """The value that a follower is to have in an epoch, from what those by epoch are to have."""
    values: dict[tuple[int, object], Value] = {}
    for each in engine.every_line:
        if isinstance(each, FollowingLine):
            value: Value = each.value_of(each.look(epoch, values, again=True))
        elif each.rule.interval == "epoch":
            value = value_of(each)
        else:
            continue
        values[each.target.slot.identity] = each.target.cast(value)
    return values[line.target.slot.identity]
