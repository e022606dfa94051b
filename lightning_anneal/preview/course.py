"""A planned run, epoch by epoch: EarlyStopping counts, learning rates fall, triggers fire, controllers steer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from lightning_anneal.checks import Value
from lightning_anneal.clock import Interval
from lightning_anneal.drawing.panels import Mark
from lightning_anneal.errors import AnnealError
from lightning_anneal.preview.metrics import plateau
from lightning_anneal.preview.phased import PlannedPhases
from lightning_anneal.preview.planned import Planned
from lightning_anneal.preview.planned_run import MOST_STEPS, PlannedRun, rounded, whole
from lightning_anneal.preview.stopping import Stopper
from lightning_anneal.rules import Rule
from lightning_anneal.triggers.events import Threshold
from lightning_anneal.triggers.reaction import Progress, Reaction
from lightning_anneal.triggers.signals import Reading

if TYPE_CHECKING:
    from lightning_anneal.preview.rates import Rates
    from lightning_anneal.preview.steered import Steered


class Course:
    """The run epoch by epoch, for what answers to it.

    Args:
        run: The run.
        rules: Those whose values answer to events.
        epochs: Its length.
        steps: Gives the optimizer steps in so many epochs.
        rates: Its learning rate, if that is shown.
        steered: Its controllers, if it has any.

    Attributes:
        epochs: Its length; less, once it has been played, if EarlyStopping has ended it.
        ends: Why it ended.
        metrics: By name, the value of each epoch that triggers were shown.
        notes: What was assumed.
        made_up: The metrics that are none of any run.

    Raises:
        AnnealError: If it isn't said which EarlyStopping a rule watches.
    """

    def __init__(
        self,
        run: PlannedRun,
        rules: Sequence[Rule],
        epochs: float,
        steps: Callable[[float], int],
        rates: Rates | None = None,
        steered: Steered | None = None,
        phases: PlannedPhases | None = None,
    ) -> None:
        self._run, self._rules, self._steps, self._rates = run, rules, steps, rates
        self._steered, self._phases = steered, phases
        # Copies: they count, and a run may be played again.
        self._stoppers = [replace(stopper) for stopper in run.stoppers]
        self.epochs = epochs
        self.ends = ""
        self.notes: list[str] = []
        self.made_up: list[str] = []
        self.values: dict[str, list[Value]] = {rule.name: [] for rule in rules}
        self.metrics: dict[str, list[float | None]] = {}
        self._marks: dict[str, list[Mark]] = {rule.name: [] for rule in rules}
        self._progress = {rule.name: Progress() for rule in rules}
        self._stopper = {rule.name: self._stopper_of(rule) for rule in rules if _reaction(rule).watches == "stopper"}
        if rates is None or rates.plateau is None:
            for rule in rules:
                if _reaction(rule).watches == "lr":
                    self.notes.append(f"{rule.name}: no ReduceLROnPlateau is to be seen, so it never moves")

    def play(self, *, react: bool) -> None:
        """Go through the run.

        Args:
            react: Whether there are metrics, and what watches them.

        Raises:
            AnnealError: If it is too long.
        """
        count = whole(self.epochs)
        if count > MOST_STEPS:
            raise AnnealError("preview", f"{count:,} epochs are too many to play through; give fewer epochs")
        by_step = [each for each in (self._rates, self._steered) if each is not None and each.by_step]
        last_step = self._steps(self.epochs) if by_step else 0
        if react:
            self._find_metrics(count)
        fresh: dict[str, float] = {}
        done = 0
        for epoch in range(count):
            self._poll(epoch, fresh)
            if self._phases is not None:
                self._phases.begin_epoch(epoch, lambda name: self._progress[name].firings > 0, self._watch_anew)
                self._phases.train_epoch(epoch, self._watch_anew)
            for rule in self._rules:
                self.values[rule.name].append(self._value(rule))
            steps = min(self._steps(epoch + 1.0), last_step) - done if by_step else 0
            done += steps
            validates = (epoch + 1) % self._run.validates_every == 0
            if self._steered is not None:
                self._steered.begin_epoch(epoch, fresh)
                self._steered.train_epoch(steps, self._seen(epoch))
            if self._rates is not None:
                self._rates.train_epoch(steps)
            fresh = self._seen(epoch, validates=validates)
            validated = fresh if validates else {}
            if self._check_stoppers(validated, epoch):
                break
            if self._rates is not None:
                self._rates.end_epoch(validated)
        if self._steered is not None:
            self.notes += self._steered.notes
        for name, values in self.metrics.items():
            if len(values) < whole(self.epochs):
                self.notes.append(f"{name} ends after {len(values)} epochs; nothing answers to it then")

    def planned(self, rule: Rule) -> Planned:
        """The values of a rule that answers to events."""
        values = self.values[rule.name]
        reaction = _reaction(rule)
        return Planned(
            rule.name, "epoch", lambda t: values[t], len(values), tuple(self._marks[rule.name]), reaction.source
        )

    def planned_rate(self) -> Planned:
        """The learning rate."""
        assert self._rates is not None
        values = self._rates.values
        kind = next((type(s).__name__ for s in (self._rates.scheduler, self._rates.plateau) if s is not None), "")
        name = getattr(self._rates.scheduler, "shown_as", None) or kind or "constant"
        interval: Interval = "step" if self._rates.by_step else "epoch"
        marks = tuple(Mark(at, "restart") for at in takewhile(lambda at: at < len(values), self._rates.restarts()))
        return Planned("learning rate", interval, lambda t: values[t], len(values), marks, name)

    # -- what is seen ---------------------------------------------------------------------------------------------

    def _find_metrics(self, count: int) -> None:
        """Each metric that something watches, and those that were given."""
        wanted: dict[str, str] = dict.fromkeys(self._run.metrics, "min")
        thresholds: dict[str, list[float]] = {}
        for rule in self._rules:
            reaction = _reaction(rule)
            if reaction.watches == "metric" and reaction.monitor:
                wanted.setdefault(reaction.monitor, "min")
                trigger = reaction.trigger
                if isinstance(trigger, Threshold):
                    thresholds.setdefault(reaction.monitor, []).append(trigger.threshold)
                    if trigger.above:
                        wanted[reaction.monitor] = "max"
                elif getattr(trigger, "maximize", False):
                    wanted[reaction.monitor] = "max"
        for gate in self._steered.gates() if self._steered is not None else ():
            wanted.setdefault(gate.monitor, "min")
            thresholds.setdefault(gate.monitor, []).append(gate.threshold)
            if gate.above:
                wanted[gate.monitor] = "max"
        for stopper in self._stoppers:
            wanted[stopper.monitor] = stopper.mode
        if self._rates is not None and self._rates.monitor:
            wanted.setdefault(self._rates.monitor, getattr(self._rates.plateau, "mode", "min"))
        for name, mode in wanted.items():
            if name in self._run.metrics:
                self.metrics[name] = list(self._run.metrics[name])
            else:
                made_up: list[float | None] = [*plateau(count, mode=mode, thresholds=thresholds.get(name, ()))]
                self.metrics[name] = made_up
                self.made_up.append(name)
                course = "gets better for a third of the run, then stands still"
                hint = self._run.hint(f"--metric {name}=FILE.csv", f"metrics={{{name!r}: [...]}}")
                self.notes.append(f"{name} is made up: it {course}{hint}")

    def _seen(self, epoch: int, *, validates: bool = True) -> dict[str, float]:
        """The metrics of an epoch; without a validation those that were given for it, and none that is made up."""
        return {
            name: value
            for name, values in self.metrics.items()
            if epoch < len(values) and (value := values[epoch]) is not None and (validates or name not in self.made_up)
        }

    def _reading(self, rule: Rule, fresh: Mapping[str, float]) -> Reading | None:
        reaction = _reaction(rule)
        if reaction.watches == "stopper":
            stopper = self._stopper[rule.name]
            if stopper is None:
                return None
            peak = self._progress[rule.name].peak
            return reaction.read_stopper(stopper.wait_count, stopper.patience, asked=stopper.asks, peak=peak)
        if reaction.watches == "lr":
            return None if self._rates is None or self._rates.plateau is None else Reading(rates=(self._rates.now,))
        value = fresh.get(reaction.monitor or "")
        return None if value is None else Reading(value, note=reaction.monitor or "")

    def _poll(self, epoch: int, fresh: Mapping[str, float]) -> None:
        for rule in self._rules:
            reading = self._reading(rule, fresh)
            if reading is None or (self._phases is not None and self._phases.waits(rule.name)):
                continue
            reaction, before = _reaction(rule), self._progress[rule.name]
            if reaction.patient and not math.isfinite(reading.value):
                continue
            old = self._value(rule)
            self._progress[rule.name] = after = reaction.after(before, reading)
            if after.firings > before.firings and self._value(rule) != old:
                self._marks[rule.name].append(Mark(epoch, "change", reaction.why(before, reading)))

    def _watch_anew(self, name: str) -> None:
        """Let a trigger begin: what has been before is no event."""
        rule = next(rule for rule in self._rules if rule.name == name)
        self._progress[name] = Progress()
        if _reaction(rule).watches != "metric" and (reading := self._reading(rule, {})) is not None:
            settled = _reaction(rule).after(Progress(), reading)
            self._progress[name] = replace(settled, firings=0, rest=0)

    def _value(self, rule: Rule) -> Value:
        start = self._run.starts.get(rule.name, 0.0)
        return rounded(rule, _reaction(rule).response.value(self._progress[rule.name].firings, start))

    # -- the end --------------------------------------------------------------------------------------------------

    def _check_stoppers(self, fresh: Mapping[str, float], epoch: int) -> bool:
        """Let the stoppers look; whether the run ends here."""
        for stopper in self._stoppers:
            if stopper.monitor not in fresh:
                continue
            asked = stopper.ended
            by_patience = stopper.check(fresh[stopper.monitor])
            watching = [rule for rule in self._rules if self._stopper.get(rule.name) is stopper]
            extending = [rule for rule in watching if _reaction(rule).extend_training and self._has_next(rule)]
            if by_patience and not asked and extending:
                for rule in watching:
                    self._progress[rule.name] = replace(self._progress[rule.name], peak=stopper.wait_count)
                stopper.take_back()
        asking = next((stopper for stopper in self._stoppers if stopper.ended), None)
        if asking is None or epoch + 1 < self._run.min_epochs or epoch + 1 >= self.epochs:
            return False
        self.epochs = epoch + 1
        self.ends = f"EarlyStopping({asking.monitor}) ends the run"
        self.notes.append(f"{self.ends} after epoch {epoch}")
        return True

    def _has_next(self, rule: Rule) -> bool:
        start = self._run.starts.get(rule.name, 0.0)
        return _reaction(rule).response.has_next(self._progress[rule.name].firings, start)

    def _stopper_of(self, rule: Rule) -> Stopper | None:
        monitor = _reaction(rule).monitor
        if monitor is None and len(self._stoppers) > 1:
            monitors = ", ".join(stopper.monitor for stopper in self._stoppers)
            what = f"missing; there are several EarlyStopping callbacks ({monitors}), say which is meant"
            raise AnnealError(f"{rule.name}.monitor", what)
        found = next((s for s in self._stoppers if monitor in (None, s.monitor)), None)
        if found is None:
            which = "" if monitor is None else f" that watches {monitor}"
            self.notes.append(f"{rule.name}: there is no EarlyStopping{which}, so it never moves")
        return found


def _reaction(rule: Rule) -> Reaction:
    assert isinstance(rule.source, Reaction)
    return rule.source
