"""A planned run played through: what every rule gives at every epoch and step."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from lightning_anneal.checks import Value, positive
from lightning_anneal.clock import Horizon, Interval, Lengths
from lightning_anneal.drawing.panels import Mark
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.preview.metrics import plateau
from lightning_anneal.preview.planned import Planned, Preview
from lightning_anneal.preview.stopping import Stopper
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule, WarmRestart
from lightning_anneal.schedules import Sequence as SequenceSchedule
from lightning_anneal.triggers.events import Threshold
from lightning_anneal.triggers.reaction import Progress, Reaction
from lightning_anneal.triggers.signals import Reading

if TYPE_CHECKING:
    from lightning_anneal.preview.rates import Rates

ASSUMED_STEPS = 100
"""Optimizer steps in an epoch where nothing says how many there are."""
_MOST_STEPS = 1_000_000
_MOST_MOMENTS = 1000
_ROUNDED = ("batch_size", "accumulate_grad_batches")


@dataclass
class PlannedRun:
    """All that a preview knows of a run.

    Args:
        rules: What is annealed.
        max_epochs: The planned number of epochs.
        max_steps: The planned number of optimizer steps.
        steps_per_epoch: Optimizer steps in an epoch.
        min_epochs: Epochs that EarlyStopping can't cut off.
        starts: The values found, by parameter.
        metrics: By name, the value after each epoch; ``None`` where there is none.
        stoppers: The run's EarlyStoppings.
        rates: Makes the learning rate, given the horizon; ``None`` for a run that shows none.
        validates_every: Epochs from one validation to the next.
        by_command: Whether notes name the options of the command, or the arguments in Python.
    """

    rules: Sequence[Rule]
    max_epochs: float | None = None
    max_steps: float | None = None
    steps_per_epoch: float | None = None
    min_epochs: int = 0
    starts: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    stoppers: Sequence[Stopper] = ()
    rates: Callable[[Horizon], Rates] | None = None
    validates_every: int = 1
    by_command: bool = False


def simulate(run: PlannedRun) -> Preview:
    """Play a run through.

    Raises:
        AnnealError: If the run's length isn't known, or a schedule can't be built.
    """
    return _Simulation(run).play()


def preview_of_rules(
    rules: Sequence[Rule],
    epochs: float,
    steps_per_epoch: float | None = None,
    *,
    metrics: Mapping[str, Sequence[float | None]],
    early_stopping: Any = None,
    starts: Mapping[str, Value],
) -> Preview:
    """The preview of some rules, as the callbacks' ``preview`` explains it.

    Raises:
        AnnealError: If a schedule can't be built, or an argument is none that can be.
    """
    stoppers = early_stopping if isinstance(early_stopping, list | tuple) else [early_stopping]
    for name in starts:
        if name not in [rule.name for rule in rules]:
            raise AnnealError("start", f"unknown parameter {quote(name)}{suggestion(name, [r.name for r in rules])}")
    return simulate(
        PlannedRun(
            rules,
            max_epochs=positive("epochs", epochs),
            steps_per_epoch=None if steps_per_epoch is None else positive("steps_per_epoch", steps_per_epoch),
            starts=starts,
            metrics=metrics,
            stoppers=[Stopper.of(stopper) for stopper in stoppers if stopper is not None],
        )
    )


class _Simulation:
    def __init__(self, run: PlannedRun) -> None:
        self.run = run
        self.notes: list[str] = []
        self._asked_steps = False
        self.horizon = Horizon(run.max_epochs, run.max_steps, self._steps_per_epoch)
        epochs = self.horizon.run("epoch")
        if epochs is None:
            raise AnnealError("max_epochs", "the run's length is not known; give epochs")
        self.epochs = epochs

    def play(self) -> Preview:
        rates = None if self.run.rates is None else self.run.rates(self.horizon)
        reacting = [rule for rule in self.run.rules if isinstance(rule.source, Reaction) and self._has_start(rule)]
        answers = bool(reacting) or bool(self.run.metrics) or (rates is not None and rates.monitor is not None)
        course = _Course(self, reacting, rates) if answers or rates is not None else None
        if course is not None:
            course.play(react=answers)
        planned = []
        for rule in self.run.rules:
            if isinstance(rule.source, Reaction):
                if course is not None and rule.name in course.values:
                    planned.append(course.planned(rule))
            elif self._has_start(rule):
                planned.append(self._scheduled(rule, course.epochs if course else self.epochs))
        if rates is not None and course is not None:
            planned.append(course.planned_rate())
        ended = course is not None and bool(course.ends)
        if self._asked_steps and self.run.steps_per_epoch is None:
            option = "--steps-per-epoch" if self.run.by_command else "steps_per_epoch"
            self.notes.append(f"steps in an epoch are not known: {ASSUMED_STEPS} assumed ({option})")
        sizes = [rule.name for rule in self.run.rules if rule.sizes_batches]
        if sizes and any(each.interval == "step" for each in planned):
            self.notes.append(f"{sizes[0]}: other batch sizes make other numbers of steps, which isn't drawn")
        return Preview(
            tuple(planned),
            course.epochs if course is not None and ended else self.epochs,
            self._steps_per_epoch() if self._asked_steps else self.run.steps_per_epoch,
            dict(course.metrics) if course is not None and answers else {},
            tuple(dict.fromkeys(self.notes)),
            course.ends if course is not None else "",
        )

    def _steps_per_epoch(self) -> float:
        self._asked_steps = True
        return self.run.steps_per_epoch or ASSUMED_STEPS

    def steps(self, epochs: float) -> int:
        """Optimizer steps in so many epochs."""
        steps = whole(epochs * self._steps_per_epoch())
        if steps > _MOST_STEPS:
            raise AnnealError("preview", f"{steps:,} steps are too many to play through; give fewer epochs or steps")
        return steps

    def _has_start(self, rule: Rule) -> bool:
        if rule.source.needs_start and rule.name not in self.run.starts:
            what = "begins at the value found in the model, which the preview doesn't see"
            option = f"--start {rule.name}=VALUE" if self.run.by_command else f"start={{{rule.name!r}: ...}}"
            self.notes.append(f"{rule.name}: {what} ({option})")
            return False
        return True

    def _scheduled(self, rule: Rule, epochs: float) -> Planned:
        assert not isinstance(rule.source, Reaction)
        start = self.run.starts.get(rule.name)
        lengths = Lengths(rule.name, rule.interval, self.horizon)
        curve = rule.source.build(lengths, float(start) if rule.source.needs_start and start is not None else None)
        count = whole(epochs) if rule.interval == "epoch" else self.steps(epochs)
        turns = ((_turn(rule, at), kind) for at, kind in moments(curve, count))
        marks = tuple(Mark(turn, kind) for turn, kind in turns if turn < count)
        return Planned(
            rule.name, rule.interval, lambda t: rounded(rule, curve(rule.due(t))), count, marks, words(curve)
        )


class _Course:
    """The run epoch by epoch, for what answers to it."""

    def __init__(self, simulation: _Simulation, rules: Sequence[Rule], rates: Rates | None) -> None:
        run = simulation.run
        self._simulation, self._run, self._rules, self._rates = simulation, run, rules, rates
        # Copies: they count, and a run may be played again.
        self._stoppers = [replace(stopper) for stopper in run.stoppers]
        self.epochs: float = simulation.epochs
        self.ends = ""
        self.values: dict[str, list[Value]] = {rule.name: [] for rule in rules}
        self.metrics: dict[str, list[float | None]] = {}
        self._marks: dict[str, list[Mark]] = {rule.name: [] for rule in rules}
        self._progress = {rule.name: Progress() for rule in rules}
        self._stopper = {rule.name: self._stopper_of(rule) for rule in rules if _reaction(rule).watches == "stopper"}
        if rates is None or rates.plateau is None:
            for rule in rules:
                if _reaction(rule).watches == "lr":
                    simulation.notes.append(f"{rule.name}: no ReduceLROnPlateau is to be seen, so it never moves")

    def play(self, *, react: bool) -> None:
        count = whole(self.epochs)
        if count > _MOST_STEPS:
            raise AnnealError("preview", f"{count:,} epochs are too many to play through; give fewer epochs")
        last_step = self._simulation.steps(self.epochs) if self._rates is not None and self._rates.by_step else 0
        if react:
            self._find_metrics(count)
        fresh: dict[str, float] = {}
        for epoch in range(count):
            if epoch > 0:
                self._poll(epoch, fresh)
            elif react:
                self._settle()
            for rule in self._rules:
                self.values[rule.name].append(self._value(rule))
            if self._rates is not None:
                done = len(self._rates.values)
                steps = min(self._simulation.steps(epoch + 1.0), last_step) - done if self._rates.by_step else 0
                self._rates.train_epoch(steps)
            validates = (epoch + 1) % self._run.validates_every == 0
            fresh = self._seen(epoch) if validates and react else {}
            if self._check_stoppers(fresh, epoch):
                break
            if self._rates is not None:
                self._rates.end_epoch(fresh)

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
                course = "gets better for a third of the run, then stands still"
                option = f"--metric {name}=FILE.csv" if self._run.by_command else f"metrics={{{name!r}: [...]}}"
                self._simulation.notes.append(f"{name} is made up: it {course} ({option})")

    def _seen(self, epoch: int) -> dict[str, float]:
        return {
            name: value
            for name, values in self.metrics.items()
            if epoch < len(values) and (value := values[epoch]) is not None
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

    def _settle(self) -> None:
        """What stands at the start is no event."""
        for rule in self._rules:
            if _reaction(rule).watches == "lr" and (reading := self._reading(rule, {})) is not None:
                after = _reaction(rule).after(self._progress[rule.name], reading)
                self._progress[rule.name] = replace(after, firings=0, rest=0)

    def _poll(self, epoch: int, fresh: Mapping[str, float]) -> None:
        for rule in self._rules:
            reading = self._reading(rule, fresh)
            if reading is None:
                continue
            reaction, before = _reaction(rule), self._progress[rule.name]
            old = self._value(rule)
            self._progress[rule.name] = after = reaction.after(before, reading)
            if after.firings > before.firings and self._value(rule) != old:
                self._marks[rule.name].append(Mark(epoch, "change", reaction.why(before, reading)))

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
        self._simulation.notes.append(f"{self.ends} after epoch {epoch}")
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
            self._simulation.notes.append(f"{rule.name}: there is no EarlyStopping{which}, so it never moves")
        return found


def moments(curve: Schedule, until: float) -> list[tuple[float, str]]:
    """When a schedule restarts, and when another part of a sequence begins; the first thousand of them.

    Example:
        >>> from lightning_anneal import Constant, Linear
        >>> moments(WarmRestart(Linear(0, 1, 5), 10, 2.0), 100)
        [(10, 'restart'), (30, 'restart'), (70, 'restart')]
    """
    curve = getattr(curve, "curve", curve)  # a beta scheduler is one under other names
    found: list[tuple[float, str]] = []
    if isinstance(curve, WarmRestart):
        at: float = curve.next_event(0)
        while at < until and len(found) < _MOST_MOMENTS:
            found.append((at, "restart"))
            at = curve.next_event(at)
    elif isinstance(curve, SequenceSchedule):
        begin = 0.0
        for i, (part, duration) in enumerate(curve.parts):
            end = until if i == len(tuple(curve.parts)) - 1 else min(begin + duration, until)
            found += [(begin, "part")] * (0 < begin < until)
            if isinstance(part, Schedule):
                found += [(begin + at, kind) for at, kind in moments(part, end - begin)]
            begin = end
    return found


def whole(length: float) -> int:
    """How many epochs (or steps) begin within a length; at least one.

    Example:
        >>> whole(2.5), whole(3.0000000001), whole(1e-300)
        (3, 3, 1)
    """
    return max(math.ceil(length - 1e-9), 1)


def rounded(rule: Rule, value: Value) -> Value:
    """A value as the rule writes it."""
    if isinstance(value, bool | str):
        return value
    if rule.round or rule.path.split(".")[-1] in _ROUNDED:
        return math.floor(value + 0.5)
    return value


def _turn(rule: Rule, at: float) -> float:
    return math.ceil(at / rule.frequency) * rule.frequency


def _reaction(rule: Rule) -> Reaction:
    assert isinstance(rule.source, Reaction)
    return rule.source


def words(curve: Schedule) -> str:
    """What a schedule is called: ``warm_restart``, ``linear``."""
    name = type(getattr(curve, "curve", curve)).__name__
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return "a function" if name == "FromCallable" else spaced
