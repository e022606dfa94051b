"""Where a run stands among its phases, and what follows from it for the values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from lightning_anneal.checks import count, flag, number
from lightning_anneal.clock import Horizon, Interval, Length, Lengths
from lightning_anneal.errors import AnnealError
from lightning_anneal.lines import Line, check_line
from lightning_anneal.phases import Began, Phase, Phased, Plan
from lightning_anneal.recipes import Recipe
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule
from lightning_anneal.targets.ranges import check_range
from lightning_anneal.targets.resolve import Resolved

End = tuple[Interval, float]
"""A point of the run: an epoch or a step, not always a whole one."""


@dataclass(frozen=True)
class Turn:
    """One phase that has given way to the next.

    Args:
        old: The name of the one that is over.
        new: The name of the one that has begun.
        why: What made it end.
    """

    old: str
    new: str
    why: str


class Phasing:
    """The phases of a run, and how far it has come.

    Args:
        plan: The phases.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began = [Began(0, 0)] if plan else []
        """Where each phase began that has begun."""
        self.lengths: dict[str, float] = {}
        """The ends and durations that depended on the run, as they were found when it began."""
        self._ends: dict[str, End] = {}

    def __bool__(self) -> bool:
        return bool(self.plan)

    @property
    def index(self) -> int:
        """The number of the running phase."""
        return len(self.began) - 1

    @property
    def running(self) -> Phase:
        """The running phase."""
        return self.plan.phases[self.index]

    # -- a run --------------------------------------------------------------------------------------------------------

    def find_lengths(self, horizon: Horizon) -> None:
        """Turn the ends and durations of the phases into numbers, those that no earlier start has found.

        Raises:
            AnnealError: If one can't be known.
        """
        for phase in self.plan.phases:
            for key, length in (("until", phase.until), ("duration", phase.duration), ("until.at_most", phase.at_most)):
                if length is not None:
                    interval: Interval = "step" if length.unit == "st" else "epoch"
                    lengths = Lengths(f"phases.{phase.name}", interval, horizon, self.lengths, prefix=f"{phase.name}.")
                    self._ends[phase.name] = (interval, lengths(key, length))

    def end(self, index: int) -> End | None:
        """Where a phase ends by time, once it has begun; ``None`` where it doesn't."""
        phase = self.plan.phases[index]
        if phase.name not in self._ends:
            return None
        interval, number_ = self._ends[phase.name]
        began = 0 if phase.until is not None else getattr(self.began[index], interval)
        return interval, began + number_

    @property
    def next_step(self) -> float:
        """The step at which the running phase ends by steps."""
        end = self.end(self.index) if self.plan else None
        return end[1] if end is not None and end[0] == "step" else math.inf

    def advance(self, epoch: int, step: int, *, within: bool, fired: Callable[[Phase], str]) -> Iterator[Turn]:
        """Go on to the next phase where the running one is over, and to the one after that, if it is over at once.

        Args:
            epoch: The epoch.
            step: The optimizer step that is about to begin.
            within: Whether the epoch was running already.
            fired: Says of a phase what its trigger has seen; empty where that hasn't come.

        Yields:
            Each turn.
        """
        while self.index < len(self.plan.phases) - 1:
            why = self._over(epoch, step) or fired(self.running)
            if not why:
                return
            old = self.running.name
            self.began.append(Began(epoch, step, within))
            yield Turn(old, self.running.name, why)

    def _over(self, epoch: int, step: int) -> str:
        end = self.end(self.index)
        if end is None or (epoch if end[0] == "epoch" else step) < end[1]:
            return ""
        return f"{end[0]} {end[1]:g}"

    # -- state --------------------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        names = self.plan.names[: len(self.began)]
        began = [list(astuple(each)) for each in self.began]
        return {"names": names, "began": began, "lengths": dict(self.lengths)}

    def load_plain(self, state: Mapping[str, Any]) -> None:
        """Go on from the plain values of a checkpoint.

        Raises:
            AnnealError: If the phases that had begun are others now.
        """
        names = [str(name) for name in state["names"]]
        if names != self.plan.names[: len(names)]:
            now = ", ".join(self.plan.names) or "none"
            raise AnnealError("phases", f"the checkpoint has been through {', '.join(names)}, and there are {now} now")
        self.began = [
            Began(
                count("checkpoint.phases", epoch, least=0),
                count("checkpoint.phases", step, least=0),
                flag("checkpoint.phases", within),
            )
            for epoch, step, within in state["began"]
        ]
        if len(self.began) != len(names) or not names:
            raise AnnealError("checkpoint.phases", f"holds {len(self.began)} beginnings of {len(names)} phases")
        self.lengths = {str(key): number(f"checkpoint.phases.{key}", value) for key, value in state["lengths"].items()}


@dataclass(eq=False)
class PhasedCurve(Schedule):
    """The values of a parameter that some phase anneals: what its phases say, one after the other.

    A pure function of where the phases began. A schedule counts from where its phase began, and begins, if it has no
    start of its own, at the value before; a parameter that a phase says nothing of keeps it.

    Args:
        where: The rule's name.
        phased: What the config says.
        lengths: Turns lengths into numbers and keeps them.
        start: The value found when the run first began.
        phasing: Where the run stands.
    """

    where: str
    phased: Phased
    lengths: Lengths
    start: float
    phasing: Phasing
    _built: dict[int, tuple[Began, Schedule]] = field(default_factory=dict)

    def __call__(self, t: float) -> float:
        began = self.phasing.began
        # The phase that was running at t: not always the last one, as a preview or an audit asks.
        index = max((i for i, each in enumerate(began) if self._at(each) <= t), default=0)
        return self._value(index, t)

    def _at(self, began: Began) -> float:
        return getattr(began, self.lengths.interval)  # type: ignore[no-any-return]

    def _value(self, index: int, t: float) -> float:
        part = self.phased.parts[index]
        if part is None:
            return self._before(index)
        if isinstance(part, float):
            return part
        return self._schedule(index, part)(t - self._at(self.phasing.began[index]))

    def _before(self, index: int) -> float:
        """The last value before a phase."""
        if index == 0:
            return self.start
        began = self.phasing.began[index]
        # By epoch, a phase that begins within one follows on the value of that very epoch.
        last = began.epoch - 1 + began.within if self.lengths.interval == "epoch" else began.step - 1
        return self._value(index - 1, max(last, 0))

    def _schedule(self, index: int, recipe: Recipe) -> Schedule:
        began = self.phasing.began[index]
        kept = self._built.get(index)
        if kept is None or kept[0] != began:
            lengths = part_lengths(self.lengths, self.phasing, index, self._at(began))
            kept = self._built[index] = (began, recipe.build(lengths, self._before(index)))
        return kept[1]

    @property
    def bounds(self) -> tuple[float, float]:
        # What is to come is known when it has begun.
        return -math.inf, math.inf


def part_lengths(lengths: Lengths, phasing: Phasing, index: int, began: float) -> Lengths:
    """The lengths of a schedule within a phase: one that was left out takes the phase.

    Args:
        lengths: Those of the parameter.
        phasing: The phases.
        index: Which of them.
        began: Where it began, in the parameter's interval.
    """
    phase = phasing.plan.phases[index]
    inside = lengths.within(f"phases.{phase.name}", None)
    if phase.trigger is not None:
        inside.open_end = True
        return inside
    end = phasing.end(index) if index < len(phasing.plan.phases) - 1 or phase.until or phase.duration else None
    if end is None:
        last = inside.run("the run")
    elif end[0] == lengths.interval:
        last = end[1]
    else:
        last = inside("the end", Length(end[1], "ep" if end[0] == "epoch" else "st"))
    return lengths.within(f"phases.{phase.name}", max(math.ceil(last) - began - 1, 1.0))


def build_phased(
    rule: Rule, resolved: Resolved, found: Mapping[str, Any], horizon: Horizon, phasing: Phasing
) -> list[Line]:
    """The lines of a parameter that some phase anneals, one for each of its targets.

    Raises:
        AnnealError: If a schedule can't be built, or gives what its target can't take.
    """
    assert isinstance(rule.source, Phased)
    lines = []
    for target, start in zip(resolved.targets, found["start"], strict=False):
        lengths = Lengths(rule.name, rule.interval, horizon, dict(found["lengths"]))
        line = Line(rule, target, PhasedCurve(rule.name, rule.source, lengths, float(start), phasing), lengths.asked)
        check_line(line, resolved)
        for bounds in tried(rule.source, lengths, float(start), phasing):
            check_range(target.name, target.key, *bounds)
        lines.append(line)
    return lines


def tried(phased: Phased, lengths: Lengths, start: float, phasing: Phasing) -> Iterator[tuple[float, float]]:
    """Build every schedule of a parameter as if its phase began now, and find all lengths by that.

    Yields:
        The least and the greatest value of each phase, as far as that is known before.

    Raises:
        AnnealError: If one can't be built.
    """
    trial = Phasing(phasing.plan)
    trial.lengths, trial._ends = phasing.lengths, phasing._ends
    value, at = start, Began(0, 0)
    for index, part in enumerate(phased.parts):
        if index:
            # By time where that is known; else at once.
            end = trial.end(index - 1)
            epoch = math.ceil(end[1]) if end is not None and end[0] == "epoch" else at.epoch
            step = math.ceil(end[1]) if end is not None and end[0] == "step" else at.step
            at = Began(max(epoch, at.epoch), max(step, at.step))
            trial.began.append(at)
        if isinstance(part, float):
            value = part
            yield part, part
        elif part is not None:
            began = float(getattr(at, lengths.interval))
            curve = part.build(part_lengths(lengths, trial, index, began), value)
            yield curve.bounds
            settles = curve.settles_at
            value = curve(settles) if settles < math.inf else curve(0)
