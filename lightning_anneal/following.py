"""Parameters that follow others, bound to the places of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightning_anneal.checks import Value, count, number
from lightning_anneal.clock import Interval
from lightning_anneal.controllers.controller import Steer
from lightning_anneal.errors import AnnealError, nearest
from lightning_anneal.follow import Follow, in_order
from lightning_anneal.lines import check_options
from lightning_anneal.phases import Phased
from lightning_anneal.rules import Rule
from lightning_anneal.targets.resolve import Resolved, Roots, resolve
from lightning_anneal.targets.target import ItemSlot, Target
from lightning_anneal.triggers.reaction import Reaction

Pending = Mapping[tuple[int, object], Value]
"""By place: the values that are about to be written."""


@dataclass(frozen=True)
class Taken:
    """What a follower went by at its last turn: its value follows from that until the next one.

    Args:
        path: What it follows, by name or path.
        other: The value that one had.
        at: The epoch (or step) of the turn.
    """

    path: str
    other: float
    at: int

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {"path": self.path, "other": self.other, "at": self.at}

    @classmethod
    def of(cls, where: str, plain: Mapping[str, Any]) -> Taken:
        """From the plain values of a checkpoint."""
        return cls(str(plain["path"]), number(f"{where}.other", plain["other"]), count(where, plain["at"], least=0))


@dataclass(eq=False)
class FollowingLine:
    """One target that follows another one.

    Args:
        rule: The rule it belongs to.
        target: Where the values go.
        follow: What it makes of the other value.
        other: Where that one stands.
        batch_size: Whether it is the batch size, which changes between epochs only.
        taken: What it goes by; ``None`` before its first turn.
    """

    rule: Rule
    target: Target
    follow: Follow
    other: Target
    batch_size: bool = False
    taken: Taken | None = None

    def __post_init__(self) -> None:
        self.root, self.root_path = self.other, self.follow.other
        """What stands at the end of a chain of followers, and what that is called."""
        self.answers: set[Interval] = set()
        """The intervals of the rules behind it that change between turns: by events, metrics and phases."""

    def look(self, t: int, pending: Pending, *, again: bool = False) -> Taken:
        """What it is to go by at ``t``: what the other one is now if it is its turn, else what that was then.

        Args:
            t: The epoch (or step).
            pending: What others are about to be.
            again: Whether it has its turn once more, if ``t`` is one.
        """
        due = self.rule.due(t)
        if self.taken is not None and self.taken.at == due and not (again and due == t):
            return self.taken
        other = pending.get(self.other.slot.identity)
        return Taken(self.follow.other, float(self.other.read() if other is None else other), due)

    def value_of(self, taken: Taken) -> float:
        """The value that follows."""
        return self.follow.value(self.target.name, taken.other)

    @property
    def value(self) -> float:
        """The value in force, or, before the first turn, the one that would be."""
        return self.value_of(self.taken or self.look(0, {}))

    @property
    def why(self) -> str:
        """What made the value change."""
        return f"follow ({self.follow.other} {(self.taken or self.look(0, {})).other:g})"


def build_following(
    rules: Iterable[Rule],
    resolved: Mapping[str, Resolved],
    roots: Roots,
    followed: Mapping[str, Taken],
    pending: Pending,
    *,
    partly: bool = False,
) -> list[FollowingLine]:
    """The lines of the rules that follow others, each behind the one that it follows. Writes nothing.

    Args:
        rules: All the rules; those that follow nothing are left out.
        resolved: The targets of those that are there.
        roots: What paths start from.
        followed: By target, what it went by last.
        pending: By place, what is to be in force of the rules that follow nothing.
        partly: Whether not all is there, as in an evaluation, which has no optimizers: what a follower went by last
            stands for what can't be read.

    Raises:
        AnnealError: If what one follows leads nowhere, is no number, or follows it itself; or if it gives what its
            target can't take.
    """
    rules = tuple(rules)
    lines: dict[str, list[FollowingLine]] = {}
    homes = {target.slot.identity: name for name, places in resolved.items() for target in places.targets}
    by_name = {rule.name: rule for rule in rules}
    for rule in rules:
        if not isinstance(rule.source, Follow) or rule.name not in resolved:
            continue
        places = resolved[rule.name]
        last = {t.name: followed[t.name] for t in places.targets if _is_of(followed.get(t.name), rule.source)}
        try:
            if rule.source.other in by_name and rule.source.other not in resolved:
                raise AnnealError(f"{rule.name}.other", f"{rule.source.other} is not there")
            others = _others(rule, rule.source, resolved, roots)
        except AnnealError:
            if not partly:
                raise
            if len(last) < len(places.targets):
                continue
            stood = [last[target.name].other for target in places.targets]
            others = tuple(Target(rule.name, ItemSlot(stood, i)) for i in range(len(stood)))
        if len(others) not in (1, len(places.targets)):
            what = f"is {len(others)} values, and this is {len(places.targets)}; name one of them"
            raise AnnealError(f"{rule.name}.other", what)
        pairs = zip(places.targets, others * (len(places.targets) // len(others)), strict=True)
        lines[rule.name] = [
            FollowingLine(rule, target, rule.source, other, places.batch_size, last.get(target.name))
            for target, other in pairs
        ]
    # Also where it is a path to a place that has another name here.
    follows = {
        name: [homes[line.other.slot.identity] for line in those if line.other.slot.identity in homes]
        for name, those in lines.items()
    }
    ordered, to_be = [line for name in in_order(follows) for line in lines[name]], dict(pending)
    behind: dict[str, set[Interval]] = {}
    chained: dict[tuple[int, object], FollowingLine] = {}
    for line in ordered:
        before = chained.get(line.other.slot.identity)
        if before is not None:
            line.root, line.root_path = before.root, before.root_path
        chained[line.target.slot.identity] = line
        value = line.follow.value(line.target.name, line.look(0, to_be, again=True).other)
        to_be[line.target.slot.identity] = line.target.cast(value)
        check_options(line.rule, line.target, resolved[line.rule.name])
        home = homes.get(line.other.slot.identity)
        if home is not None:
            source = by_name[home].source
            between_turns = isinstance(source, Reaction | Steer | Phased)
            answers = {by_name[home].interval} if between_turns else behind.get(home, set())
            line.answers = set(answers)
            behind.setdefault(line.rule.name, set()).update(answers)
    return ordered


def _is_of(taken: Taken | None, follow: Follow) -> bool:
    return taken is not None and taken.path == follow.other


def _others(rule: Rule, follow: Follow, resolved: Mapping[str, Resolved], roots: Roots) -> tuple[Target, ...]:
    if follow.other in resolved:
        others = resolved[follow.other].targets
    else:
        # What an LR scheduler writes may be read.
        place = replace(rule, path=follow.other, object=None, round=True, scale_lr=None)
        try:
            others = resolve(place, replace(roots, schedulers=(), fits=False)).targets
        except AnnealError as error:
            what = error.what + ("" if "did you mean" in error.what else nearest(follow.other, resolved))
            if what.startswith(("is ", "holds ")):
                what = f"{follow.other} {what.split(';')[0]}, and only a number can be followed"
            raise AnnealError(f"{rule.name}.other", what) from None
    for other in others:
        if other.kind is not float:
            raise AnnealError(
                f"{rule.name}.other", f"{follow.other} is {other.read()!r}, and only a number can be followed"
            )
    return others
