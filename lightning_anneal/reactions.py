"""The triggered half of a run: every rule whose values answer to events, under its targets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightning_anneal.checks import Value
from lightning_anneal.errors import AnnealError
from lightning_anneal.lines import check_options
from lightning_anneal.rules import Rule
from lightning_anneal.targets.ranges import check_range
from lightning_anneal.targets.resolve import Resolved
from lightning_anneal.targets.target import Target
from lightning_anneal.triggers.reaction import Progress, Reaction
from lightning_anneal.triggers.responses import Add, Multiply
from lightning_anneal.triggers.signals import Reading

# How many firings ahead the values for an int are tried for fractions.
_TRIED = 100


@dataclass(eq=False)
class ReactingLine:
    """One target under a reaction.

    Args:
        rule: The rule it belongs to.
        reaction: The rule's source.
        target: Where the values go.
        start: The value found there when the run first began.
        batch_size: Whether it is the batch size, which changes between epochs only.
    """

    rule: Rule
    reaction: Reaction
    target: Target
    start: Value
    batch_size: bool = False

    def value(self, firings: int) -> Value:
        """The value in force after so many firings."""
        return self.reaction.response.value(firings, self.start)


class Reactions:
    """How far the reactions of some rules have come, and the values that follow from it.

    Args:
        rules: The rules; those with a schedule are left out.
        watchers: By name: triggers that no value follows from.
    """

    def __init__(self, rules: Iterable[Rule], watchers: Mapping[str, Reaction] | None = None) -> None:
        self.by_name = {rule.name: rule.source for rule in rules if isinstance(rule.source, Reaction)}
        self.by_name |= watchers or {}
        self.progress = {name: Progress() for name in self.by_name}
        self.lines: list[ReactingLine] = []
        self._why: dict[str, str] = {}

    def build(self, rules: Iterable[Rule], resolved: Mapping[str, Resolved], found: Mapping[str, Any]) -> None:
        """Bind the reactions to their targets. Writes nothing.

        Raises:
            AnnealError: If a value can't be that of its target.
        """
        self.lines = []
        for rule in rules:
            if isinstance(rule.source, Reaction) and rule.name in resolved and rule.name in found:
                places = resolved[rule.name]
                for target, start in zip(places.targets, found[rule.name]["start"], strict=False):
                    line = ReactingLine(rule, rule.source, target, start, places.batch_size)
                    _check(line, places)
                    self.lines.append(line)

    def poll(self, readings: Mapping[str, Reading]) -> list[str]:
        """Let the rules that have a reading look at it. Writes nothing.

        Returns:
            What to warn of.
        """
        told = []
        for name, reading in readings.items():
            before = self.progress[name]
            if reading.absent or (self.by_name[name].patient and not math.isfinite(reading.value)):
                told += self._miss(name, reading.note if reading.absent else f"{reading.note} is {reading.value}")
                continue
            self.progress[name] = after = self.by_name[name].after(before, reading)
            if after.firings > before.firings:
                self._why[name] = self.by_name[name].why(before, reading)
        return told

    def _miss(self, name: str, what: str) -> list[str]:
        """A patient rule has nothing that it could go by; returned is what to warn of, the first time."""
        before = self.progress[name]
        self.progress[name] = replace(before, missed=before.missed + 1)
        return [] if before.missed else [f"{name}: {what}, so the value is kept"]

    @property
    def missed(self) -> dict[str, int]:
        """By patient rule: how often there was nothing that it could go by."""
        return {name: self.progress[name].missed for name, reaction in self.by_name.items() if reaction.patient}

    def value(self, line: ReactingLine) -> Value:
        """The value of a line that is to be in force."""
        progress = self.progress[line.rule.name]
        return line.value(progress.applied if line.batch_size else progress.firings)

    def begin_epoch(self) -> None:
        """An epoch begins, and what has waited for it comes into force."""
        self.progress = {name: replace(each, applied=each.firings) for name, each in self.progress.items()}

    def why(self, line: ReactingLine) -> str:
        """What made the value of a line change."""
        firings = self.progress[line.rule.name].firings
        return self._why.get(line.rule.name, line.reaction.source if firings else "start")

    def has_next(self, name: str) -> bool:
        """Whether one more firing of a rule would change a value."""
        firings = self.progress[name].firings
        return any(_has_next(line, firings) for line in self.lines if line.rule.name == name)

    def event(self, name: str) -> str:
        """What a watcher has seen that it waits for; empty before."""
        return self._why.get(name, self.by_name[name].source) if self.progress[name].firings else ""

    def keep_up(self, name: str, reading: Reading) -> list[str]:
        """Let a watcher that waits for its turn see what stands, so that it knows what has been before.

        Returns:
            What to warn of.
        """
        before = self.progress[name]
        if reading.absent:
            self.progress[name] = replace(before, missed=before.missed + 1)
            return [] if before.missed else [f"{name}.monitor: {reading.note}"]
        if self.by_name[name].watches != "metric":
            self.progress[name] = replace(self.by_name[name].after(before, reading), firings=0)
        return []

    def watch_anew(self, name: str) -> None:
        """Let a watcher begin: what has been before is no event, but a metric may have passed its threshold already."""
        self.progress[name] = Progress(seen=self.progress[name].seen)
        self._why.pop(name, None)

    def enter_phase(self, index: int) -> None:
        """Let the values that phases set be those of another phase."""
        for name, reaction in self.by_name.items():
            if reaction.watches == "phases":
                self.progress[name] = replace(self.progress[name], firings=index)

    def note_stop(self, name: str, count: int) -> None:
        """Keep in mind the count that a stop was asked for at and taken back, until the next poll."""
        self.progress[name] = replace(self.progress[name], peak=count)

    def rescale(self, name: str, factor: float) -> None:
        """Take the learning rates of the last poll times a factor, so that an own write is no drop."""
        seen = self.progress[name].seen
        if seen is not None:
            scaled = tuple(rate * factor for rate in seen.rates)
            self.progress[name] = replace(self.progress[name], seen=replace(seen, rates=scaled))

    def load(self, progress: Mapping[str, Progress]) -> None:
        """Go on from here; a rule that isn't in it begins."""
        self.progress = {name: progress.get(name, Progress()) for name in self.by_name}

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {
            name: {"watches": _watched(self.by_name[name]), **progress.plain()}
            for name, progress in self.progress.items()
        }

    def load_plain(self, state: Mapping[str, Any]) -> None:
        """Go on from the plain values of a checkpoint. A rule that now watches something else has seen nothing yet."""
        progress = {name: Progress.of(f"checkpoint.{name}", state[name]) for name in self.by_name if name in state}
        for name in progress:
            if state[name].get("watches") != _watched(self.by_name[name]):
                progress[name] = Progress(progress[name].firings, applied=progress[name].applied)
        self.load(progress)

    def settle(self, readings: Mapping[str, Reading]) -> None:
        """Take what stands at the start for the last poll, where there was none: what has been before is no event."""
        for name, reading in readings.items():
            progress = self.progress[name]
            if progress.seen is None:
                settled = self.by_name[name].after(progress, reading)
                self.progress[name] = replace(settled, firings=progress.firings, rest=0)


def _has_next(line: ReactingLine, firings: int) -> bool:
    """Whether a later value is another one, as the target holds it: an int at 0 stays there, however it is halved."""
    response, target = line.reaction.response, line.target
    if not response.has_next(firings, line.start):
        return False
    if not isinstance(response, Multiply):
        return True
    now, far = target.cast(line.value(firings)), float(response.to_come(line.start)[1])
    return math.isinf(far) or target.cast(max(far, target.least)) != now


def _watched(reaction: Reaction) -> str:
    return reaction.source if reaction.monitor is None else f"{reaction.source} {reaction.monitor}"


def _check(line: ReactingLine, resolved: Resolved) -> None:
    target, response = line.target, line.reaction.response
    if response.kind is not target.kind:
        names = {bool: ("true or false", "booleans"), str: ("a string", "strings"), float: ("a number", "numbers")}
        held, wanted = names[target.kind]
        if isinstance(response, Multiply | Add):
            how = "step" if isinstance(response, Add) else "factor"
            raise AnnealError(target.name, f"holds {held}, which no {how} can move")
        raise AnnealError(target.name, f"holds {held}, and its values are {names[response.kind][1]}; give {wanted}")
    if isinstance(response, Multiply | Add):
        response.check(line.rule.name, float(line.start))
    values = response.to_come(line.start)
    if target.kind is float:
        numbers = [float(value) for value in values]
        check_range(target.name, target.key, min(numbers), max(numbers))
        # A factor gives values between its ends, which an int may not take.
        tried = _TRIED if target.whole and not target.round else 4
        values = tuple(line.value(firings) for firings in range(tried)) + values
    for value in values:
        if value not in (float("inf"), float("-inf")):
            target.cast(value)
    check_options(line.rule, target, resolved)
