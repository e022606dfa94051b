"""The phases of a planned run: where each begins, and what its parameters are."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lightning_anneal.checks import Value
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.drawing.panels import Mark
from lightning_anneal.phases import Phase, Phased
from lightning_anneal.phasing import Phasing
from lightning_anneal.preview.planned import Planned
from lightning_anneal.preview.planned_run import PlannedRun, rounded
from lightning_anneal.rules import Rule
from lightning_anneal.triggers.reaction import Reaction


class PlannedPhases:
    """The phases of a planned run.

    Args:
        run: The run.
        horizon: Its length.
        first_step: Gives the first optimizer step of an epoch.
        epoch_of: Gives the epoch of an optimizer step.

    Raises:
        AnnealError: If an end can't be known.
    """

    def __init__(
        self, run: PlannedRun, horizon: Horizon, first_step: Callable[[int], int], epoch_of: Callable[[int], int]
    ) -> None:
        self.plan = run.plan
        self._phasing = Phasing(run.plan)
        self._phasing.find_lengths(horizon)
        self._first_step, self._epoch_of = first_step, epoch_of
        by_steps = any(
            getattr(length, "unit", "") == "st" for p in self.plan.phases for length in (p.until, p.duration)
        )
        moves_by_step = any(rule.interval == "step" for rule in run.rules if isinstance(rule.source, Phased))
        self._counts_steps = by_steps or moves_by_step
        self.watchers = [Rule(name, reaction, "phase") for name, reaction in self.plan.watchers.items()]
        """A rule for each trigger that ends a phase, for what plays triggers."""
        self._marks = [Mark(0.0, "part", self.plan.names[0])]

    def waits(self, name: str) -> bool:
        """Whether this is the trigger of a phase that isn't running."""
        return name in self.plan.watchers and name != self._phasing.running.watcher

    def begin_epoch(self, epoch: int, fired: Callable[[str], bool], begin: Callable[[str], None]) -> None:
        """Go on to the phases that begin with an epoch.

        Args:
            epoch: The epoch.
            fired: Says of a trigger whether its event has come.
            begin: Lets a trigger begin to watch.
        """
        step = self._first_step(epoch) if self._counts_steps else 0
        self._advance(epoch, step, fired, begin, within=False)

    def train_epoch(self, epoch: int, begin: Callable[[str], None]) -> None:
        """Go on to the phases that begin within an epoch."""
        end = self._first_step(epoch + 1) if self._counts_steps else -math.inf
        while self._phasing.next_step < end:
            before = self._phasing.index
            self._advance(epoch, math.ceil(self._phasing.next_step), lambda name: False, begin, within=True)
            if self._phasing.index == before:
                return

    def _advance(
        self, epoch: int, step: int, fired: Callable[[str], bool], begin: Callable[[str], None], *, within: bool
    ) -> None:
        def event(phase: Phase) -> str:
            return phase.watcher if phase.trigger is not None and fired(phase.watcher) else ""

        for turn in self._phasing.advance(epoch, step, within=within, fired=event):
            self._marks.append(Mark(epoch, "part", turn.new))
            if self._phasing.running.trigger is not None:
                begin(self._phasing.running.watcher)

    def planned(self, rule: Rule, horizon: Horizon, start: Value | None, count: int) -> Planned:
        """The values of a parameter that phases move."""
        # Here, because it takes torch, as everything that writes to a model does.
        from lightning_anneal.phased_lines import PhasedCurve

        at: Callable[[int], Value]
        within: Callable[[int], Value] | None = None
        if isinstance(rule.source, Phased):
            lengths = Lengths(rule.name, rule.interval, horizon)
            curve = PhasedCurve(rule, lengths, float(start or 0.0), self._phasing)
            if rule.interval == "step":
                at = lambda t: rounded(rule, curve(t))  # noqa: E731
            else:
                at = lambda t: rounded(rule, curve.value_in(self._at_epoch(t), t))  # noqa: E731
                if self._counts_steps:
                    within = lambda t: rounded(rule, curve.value_in(self._at_step(t), self._epoch_of(t)))  # noqa: E731
        else:
            assert isinstance(rule.source, Reaction)
            response: Any = rule.source.response
            found = 0.0 if start is None else start
            at = lambda t: rounded(rule, response.value(self._at_epoch(t), found))  # noqa: E731
        marks = tuple(self._marks) if rule.interval == "epoch" else ()
        return Planned(rule.name, rule.interval, at, count, marks, "phases", within)

    def _at_epoch(self, epoch: int) -> int:
        """The number of the phase that an epoch begins in: by epoch, a value is the one that the epoch begins with."""
        began = self._phasing.began
        return max(i for i, each in enumerate(began) if each.epoch < epoch or (each.epoch == epoch and not each.within))

    def _at_step(self, step: int) -> int:
        """The number of the phase that a step is in."""
        return max(i for i, each in enumerate(self._phasing.began) if each.step <= step)


def moved_by_phases(rule: Rule) -> bool:
    """Whether a parameter's values are those that phases say."""
    return isinstance(rule.source, Phased) or (isinstance(rule.source, Reaction) and rule.source.watches == "phases")
