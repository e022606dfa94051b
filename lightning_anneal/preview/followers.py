"""The values of a planned run that follow other ones: those of another parameter, or the learning rate."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from lightning_anneal.checks import Value
from lightning_anneal.drawing.panels import sampled
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.follow import Follow, in_order
from lightning_anneal.preview.planned import Planned
from lightning_anneal.preview.planned_run import PlannedRun, rounded
from lightning_anneal.rules import Rule

_MOST_TRIED = 1000
"""So many values of a follower are tried: what is to the power -1 has none where the other is 0."""
_RATE = re.compile(r"(optimizer|optimizers\.0)\.param_groups\.(\*|[0-9]+)\.lr")


def follows_rate(rule: Rule) -> bool:
    """Whether a rule follows a learning rate that nothing else anneals.

    Example:
        >>> follows_rate(Rule("wd", Follow("optimizer.param_groups.0.lr"), "wd"))
        True
    """
    return isinstance(rule.source, Follow) and _RATE.fullmatch(rule.source.other) is not None


def leader_of(rule: Rule, rules: Sequence[Rule]) -> Rule | None:
    """The rule whose values another one follows, by its name or by its place.

    Example:
        >>> kl = Rule("kl", None, "beta", object="model")  # type: ignore[arg-type]
        >>> [leader_of(Rule("a", Follow(other), "a"), [kl]) is kl for other in ("kl", "beta", "lr")]
        [True, True, False]
    """
    assert isinstance(rule.source, Follow)
    other = rule.source.other
    named = next((each for each in rules if each.name == other), None)
    return named or rule_of_place(other, rules)


def rule_of_place(path: str, rules: Sequence[Rule]) -> Rule | None:
    """The rule that writes to a place."""
    return next((each for each in rules if _covers(_place(each.object, each.path), _place(None, path))), None)


def _place(owner: object, path: str) -> str:
    whole = f"{owner}.{path}" if isinstance(owner, str) and owner != "model" else path
    return re.sub(r"^optimizers\.0\.", "optimizer.", whole)


def _covers(place: str, other: str) -> bool:
    """Whether one place is the other, which may be that of one of all parameter groups."""
    parts, others = place.split("."), other.split(".")
    return len(parts) == len(others) and all(a in ("*", b) for a, b in zip(parts, others, strict=True))


class Followers:
    """Plans the values that follow others.

    Args:
        run: The run.
        shown: By rule, in the order of the run's: what is planned of it; ``None`` where that can't be foreseen.
        rate: The learning rate, if it is known.
        first_step: Gives the first optimizer step of an epoch.
        epoch_of: Gives the epoch of an optimizer step.

    Attributes:
        notes: What could not be foreseen.

    Raises:
        AnnealError: If they go round in a circle, or one has no value.
    """

    def __init__(
        self,
        run: PlannedRun,
        shown: Sequence[Planned | None],
        rate: Planned | None,
        first_step: Callable[[int], int],
        epoch_of: Callable[[int], int],
    ) -> None:
        self._run, self._rate, self._first_step, self._epoch_of = run, rate, first_step, epoch_of
        self.shown = list(shown)
        self.notes: list[str] = []
        self._leaders = {i: leader_of(rule, run.rules) for i, rule in self._each()}
        follows = {rule.name: [leader.name] for i, rule in self._each() if (leader := self._leaders[i]) is not None}
        in_order(follows)

    def _each(self) -> list[tuple[int, Rule]]:
        return [(i, rule) for i, rule in enumerate(self._run.rules) if isinstance(rule.source, Follow)]

    def plan(self, count: Callable[[Rule], int]) -> list[Planned | None]:
        """What is planned of every rule, now with those that follow.

        Args:
            count: Gives the number of epochs (or steps) of a rule.
        """
        done: set[int] = set()

        def plan(i: int) -> Planned | None:
            if i in self._leaders and i not in done:
                done.add(i)
                leader = self._leaders[i]
                if leader is None:
                    other = self._rate if self._run.one_rate and follows_rate(self._run.rules[i]) else None
                else:
                    other = plan(next(k for k, rule in enumerate(self._run.rules) if rule is leader))
                self.shown[i] = self._planned(self._run.rules[i], other, count)
            return self.shown[i]

        return [plan(i) for i in range(len(self._run.rules))]

    def _planned(self, rule: Rule, other: Planned | None, count: Callable[[Rule], int]) -> Planned | None:
        assert isinstance(rule.source, Follow)
        follow = rule.source
        if other is None:
            self.notes.append(f"{rule.name}: follows {follow.other}, which the preview doesn't see")
            return None

        def value(seen: Value) -> Value:
            if isinstance(seen, bool | str):
                what = f"{follow.other} holds {quote(seen)}, which is no number"
                raise AnnealError(f"{rule.name}.other", what)
            return rounded(rule, follow.value(rule.name, float(seen)))

        def at(t: int) -> Value:
            due = rule.due(t)
            if other.within is not None and (rule.interval == "step" or due < t):
                # In later epochs it is what it had come to in that of its turn.
                return value(other.within(due if rule.interval == "step" else self._first_step(due + 1) - 1))
            return value(other.at(self._seen_at(due, rule, other)))

        def within(step: int) -> Value:
            # Between its turns it stays, whatever the other one does.
            epoch = self._epoch_of(step)
            assert other.within is not None
            return value(other.within(step)) if rule.due(epoch) == epoch else at(epoch)

        moves_within = within if rule.interval == "epoch" and other.within is not None else None
        source = f"follows {follow.other}"
        planned = Planned(rule.name, rule.interval, at, count(rule), source=source, within=moves_within)
        for t in sampled(planned.count, _MOST_TRIED):
            at(t)
        return planned

    def _seen_at(self, t: int, rule: Rule, other: Planned) -> int:
        """The epoch (or step) of the other one whose value is in force when a rule looks at it, which has its turn."""
        if rule.interval == other.interval:
            return t
        if rule.interval == "step":
            return self._epoch_of(t)
        first = self._first_step(t)
        # An LR scheduler has made its step when an epoch begins; what is annealed by step moves with the first batch.
        return first if other is self._rate else max(first - 1, 0)
