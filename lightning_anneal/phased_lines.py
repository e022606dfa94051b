"""The values of parameters that phases move: what follows for them from where the phases began."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_anneal.clock import Horizon, Length, Lengths
from lightning_anneal.errors import AnnealError
from lightning_anneal.lines import TRIED, Line, check_line
from lightning_anneal.phases import Began, Phase, Phased
from lightning_anneal.phasing import Phasing
from lightning_anneal.recipes import Recipe
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Constant, Schedule
from lightning_anneal.targets.ranges import check_range
from lightning_anneal.targets.resolve import Resolved

_UNITS = {"epoch": "ep", "step": "st"}


@dataclass(eq=False)
class PhasedCurve(Schedule):
    """The values of a parameter that some phase anneals: what its phases say, one after the other.

    A pure function of where the phases began. A schedule counts from where its phase began, and begins, if it has no
    start of its own, at the value before; a parameter that a phase says nothing of keeps it.

    Args:
        rule: The rule, whose source is `Phased`.
        lengths: Turns lengths into numbers and keeps them.
        start: The value found when the run first began.
        phasing: Where the run stands.
    """

    rule: Rule
    lengths: Lengths
    start: float
    phasing: Phasing
    _built: dict[int, tuple[Began, Schedule]] = field(default_factory=dict)

    def __call__(self, t: float) -> float:
        return self.value_in(self._index(t), t)

    def _index(self, t: float) -> int:
        """The phase that was running at t: not always the last one, as an audit asks."""
        return max((i for i in range(len(self.phasing.began)) if self._at(i) <= t), default=0)

    def _at(self, index: int) -> int:
        """The first epoch (or step) in which a phase has its say."""
        began = self.phasing.began[index]
        if self.lengths.interval == "step":
            return began.step
        # A batch size waits for an epoch to begin.
        return began.epoch + (began.within and self.rule.sizes_batches)

    def _part(self, index: int) -> Recipe | float | None:
        source = self.rule.source
        assert isinstance(source, Phased)
        return source.parts[index]

    def value_in(self, index: int, t: float) -> float:
        """What a phase that has begun says of a time, as if none came behind it."""
        part = self._part(index)
        if part is None:
            return self._before(index)
        if isinstance(part, float):
            return part
        at = self._at(index)
        # A phase begins at once, whatever the frequency; one that was over at once has shown its first value.
        return self._schedule(index, part)(max(t - t % self.rule.frequency, at) - at)

    def _before(self, index: int) -> float:
        """The last value before a phase."""
        if index == 0:
            return self.start
        began, at = self.phasing.began[index], self._at(index)
        # By epoch, a phase that begins within one follows on the value of that very epoch.
        in_its_midst = self.lengths.interval == "epoch" and began.within and at == began.epoch
        return self.value_in(index - 1, at if in_its_midst else max(at - 1, 0))

    def _schedule(self, index: int, recipe: Recipe) -> Schedule:
        began, kept = self.phasing.began[index], self._built.get(index)
        if kept is None or kept[0] != began:
            curve = build_part(recipe, self.lengths, self.phasing, index, self._at(index), self._before(index))
            kept = self._built[index] = (began, curve)
        return kept[1]

    @property
    def bounds(self) -> tuple[float, float]:
        # What is to come is known when it has begun.
        return -math.inf, math.inf

    def next_event(self, t: float) -> float:
        index = self._index(t)
        part, at = self._part(index), self._at(index)
        if part is None or isinstance(part, float):
            return math.inf
        curve = self._schedule(index, part)
        told = at + curve.next_event(t - at)
        # Where the beginning itself changed nothing that was told of, the first value that moves is told of.
        first = (at // self.rule.frequency + 1) * self.rule.frequency
        return min(first, told) if t < first and curve(0) == self._before(index) else told


class PhasedLine(Line):
    """One target under its `PhasedCurve`, which knows itself when it has its turns."""

    def value(self, t: int) -> float:
        return self.curve(t)

    def event_after(self, t: int) -> float:
        return self._turn_at(self.curve.next_event(t))

    def warn_if_cut_short(self, horizon: Horizon) -> None:
        # Most phases end before the run does, and are meant to.
        pass


def build_part(recipe: Recipe, lengths: Lengths, phasing: Phasing, index: int, at: float, start: float) -> Schedule:
    """The schedule of a parameter within a phase, in which a length that was left out takes the phase.

    Args:
        recipe: What the config says.
        lengths: Those of the parameter.
        phasing: The phases.
        index: Which of them.
        at: Where it began, in the parameter's interval.
        start: The value before.

    Raises:
        AnnealError: If it can't be built.
    """
    phase = phasing.plan.phases[index]
    inside = lengths.within(f"phases.{phase.name}", None)

    def stretch(key: str) -> float:
        return max(math.ceil(_end_of(lengths, phasing, index, key)) - at - 1, 1.0)

    inside.stretch = stretch
    try:
        return recipe.build(inside, start)
    except AnnealError as error:
        # By its place in the config.
        key = error.where.removeprefix(f"{lengths.where}.{inside.prefix}")
        raise AnnealError(f"phases.{phase.name}.anneal.{lengths.where}.{key}", error.what) from None


def _end_of(lengths: Lengths, phasing: Phasing, index: int, key: str) -> float:
    """Where a phase ends by time, in the interval of a parameter's lengths."""
    phase, end = phasing.plan.phases[index], phasing.end(index)
    if phase.trigger is not None:
        what = "missing; a trigger ends the phase, so its length isn't known"
        raise AnnealError(f"{lengths.where}.{key}", what)
    if end is None:
        return lengths.run(key)
    return end[1] if end[0] == lengths.interval else lengths(key, Length(end[1], _UNITS[end[0]]))


def build_phased(
    rule: Rule, resolved: Resolved, found: Mapping[str, Any], horizon: Horizon, phasing: Phasing
) -> list[Line]:
    """The lines of a parameter that some phase anneals, one for each of its targets.

    Raises:
        AnnealError: If a schedule can't be built, or gives what its target can't take.
    """
    lines: list[Line] = []
    for target, start in zip(resolved.targets, found["start"], strict=False):
        lengths = Lengths(rule.name, rule.interval, horizon, dict(found["lengths"]))
        line = PhasedLine(rule, target, PhasedCurve(rule, lengths, float(start), phasing), lengths.asked)
        check_line(line, resolved)
        for phase, part, curve in tried(rule, lengths, float(start), phasing):
            _check_part(f"phases.{phase.name}", part, curve, line)
        lines.append(line)
    return lines


def _check_part(where: str, part: Recipe | float, curve: Schedule, line: Line) -> None:
    """Refuse what a phase does to a target that can't be done, as far as that is known before."""
    target, name = line.target, line.rule.name
    kind = "set" if isinstance(part, float) else "anneal"
    # By time alone nobody knows where a schedule begins that begins where the phase before has ended.
    known = isinstance(part, float) or not part.needs_start
    try:
        check_range(target.name, target.key, *curve.bounds)
        for turn in range(TRIED if known and target.whole and not target.round else 0):
            target.cast(curve(turn))
    except AnnealError as error:
        raise AnnealError(f"{where}.{kind}.{name}", error.what) from None


def tried(
    rule: Rule, lengths: Lengths, start: float, phasing: Phasing
) -> Iterator[tuple[Phase, Recipe | float, Schedule]]:
    """Build every schedule of a parameter as if its phase began now, and find all lengths by that.

    Yields:
        Each phase that moves it, what the config says of it there, and the schedule; of a value a constant one.

    Raises:
        AnnealError: If one can't be built.
    """
    assert isinstance(rule.source, Phased)
    trial = phasing.at_its_start()
    value, at = start, Began(0, 0)
    for index, (phase, part) in enumerate(zip(phasing.plan.phases, rule.source.parts, strict=True)):
        if index:
            # By time where that is known; else at once.
            end = trial.end(index - 1)
            epoch = math.ceil(end[1]) if end is not None and end[0] == "epoch" else at.epoch
            step = math.ceil(end[1]) if end is not None and end[0] == "step" else at.step
            at = Began(max(epoch, at.epoch), max(step, at.step))
            trial.began.append(at)
        if part is not None:
            curve: Schedule = (
                Constant(part)
                if isinstance(part, float)
                else build_part(part, lengths, trial, index, float(getattr(at, lengths.interval)), value)
            )
            yield phase, part, curve
            value = curve(curve.settles_at if curve.settles_at < math.inf else 0)
