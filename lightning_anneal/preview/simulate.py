"""A planned run played through: what every rule gives at every epoch and step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_anneal.checks import Value, positive
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.controllers.controller import Steer
from lightning_anneal.drawing.panels import Mark
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.follow import Follow
from lightning_anneal.phases import Phased, Plan
from lightning_anneal.preview.course import Course
from lightning_anneal.preview.followers import Followers
from lightning_anneal.preview.moments import moments, words
from lightning_anneal.preview.phased import PlannedPhases, moved_by_phases
from lightning_anneal.preview.planned import Planned, Preview
from lightning_anneal.preview.planned_run import ASSUMED_STEPS, MOST_STEPS, PlannedRun, rounded, whole
from lightning_anneal.preview.steered import Steered, only_training_shows
from lightning_anneal.preview.stopping import Stopper
from lightning_anneal.rules import Rule
from lightning_anneal.triggers.reaction import Reaction


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
    plan: Plan | None = None,
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
            plan=Plan() if plan is None else plan,
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
            raise AnnealError("max_epochs", "not known, and neither is max_steps; give one of them")
        self.epochs = epochs

    def play(self) -> Preview:
        rates = None if self.run.rates is None else self.run.rates(self.horizon)
        answering = [r for r in self.run.rules if isinstance(r.source, Reaction) and not moved_by_phases(r)]
        reacting = [rule for rule in answering if self._has_start(rule)]
        phases = PlannedPhases(self.run, self.horizon, self._first_step, self._epoch_of) if self.run.plan else None
        reacting += [] if phases is None else phases.watchers
        steered = self._steered()
        watched = bool(self.run.metrics) or (rates is not None and rates.monitor is not None)
        answers = bool(reacting) or steered is not None or watched
        course = None
        if answers or rates is not None or phases is not None:
            course = Course(self.run, reacting, self.epochs, self.steps, rates, steered, phases)
            course.play(react=answers)
            self.notes += course.notes
        epochs = course.epochs if course is not None else self.epochs
        rate = course.planned_rate() if rates is not None and course is not None else None
        shown = [self._planned(rule, epochs, course, steered, phases) for rule in self.run.rules]
        followers = Followers(self.run, shown, rate, self._first_step, self._epoch_of)
        planned = [each for each in followers.plan(lambda rule: self._count(rule, epochs)) if each is not None]
        self.notes += followers.notes
        planned += [] if rate is None else [rate]
        ended = course is not None and bool(course.ends)
        if self._asked_steps and self.run.steps_per_epoch is None:
            hint = self.run.hint("--steps-per-epoch", "steps_per_epoch")
            self.notes.append(f"steps in an epoch are not known: {ASSUMED_STEPS} assumed{hint}")
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
            tuple(course.made_up) if course is not None else (),
            self._asked_steps and self.run.steps_per_epoch is None,
        )

    def _steps_per_epoch(self) -> float:
        self._asked_steps = True
        return self.run.steps_per_epoch or ASSUMED_STEPS

    def steps(self, epochs: float) -> int:
        """Optimizer steps in so many epochs."""
        steps = whole(epochs * self._steps_per_epoch())
        if steps > MOST_STEPS:
            raise AnnealError("preview", f"{steps:,} steps are too many to play through; give fewer epochs or steps")
        return steps

    def _has_start(self, rule: Rule) -> bool:
        if rule.source.needs_start and rule.name not in self.run.starts:
            what = "begins at the value found in the model, which the preview doesn't see"
            hint = self.run.hint(f"--start {rule.name}=VALUE", f"start={{{rule.name!r}: ...}}")
            self.notes.append(f"{rule.name}: {what}{hint}")
            return False
        return True

    def _steered(self) -> Steered | None:
        """The controllers whose values can be foreseen."""
        rules = []
        for rule in self.run.rules:
            if isinstance(rule.source, Steer):
                if (note := only_training_shows(rule, self.run)) is not None:
                    self.notes.append(note)
                elif self._has_start(rule):
                    rules.append(rule)
        return Steered(self.run, rules, self.horizon) if rules else None

    def _planned(
        self,
        rule: Rule,
        epochs: float,
        course: Course | None,
        steered: Steered | None,
        phases: PlannedPhases | None,
    ) -> Planned | None:
        """What is planned of a rule; those that follow others come later."""
        if moved_by_phases(rule):
            if phases is None or not self._has_start(rule):
                return None
            return phases.planned(rule, self.horizon, self.run.starts.get(rule.name), self._count(rule, epochs))
        if isinstance(rule.source, Reaction):
            return course.planned(rule) if course is not None and rule.name in course.values else None
        if isinstance(rule.source, Steer):
            there = steered is not None and any(each is rule for each in steered.rules)
            return steered.planned(rule) if steered is not None and there else None
        if isinstance(rule.source, Follow) or not self._has_start(rule):
            return None
        return self._scheduled(rule, epochs)

    def _count(self, rule: Rule, epochs: float) -> int:
        return whole(epochs) if rule.interval == "epoch" else self.steps(epochs)

    def _first_step(self, epoch: int) -> int:
        return self.steps(float(epoch)) if epoch else 0

    def _epoch_of(self, step: int) -> int:
        return int(step / self._steps_per_epoch() + 1e-9)

    def _scheduled(self, rule: Rule, epochs: float) -> Planned:
        assert not isinstance(rule.source, Reaction | Steer | Follow | Phased)
        start = self.run.starts.get(rule.name)
        lengths = Lengths(rule.name, rule.interval, self.horizon)
        curve = rule.source.build(lengths, float(start) if rule.source.needs_start and start is not None else None)
        count = self._count(rule, epochs)
        turns = ((_turn(rule, at), kind) for at, kind in moments(curve, count))
        marks = tuple(Mark(turn, kind) for turn, kind in turns if turn < count)
        return Planned(
            rule.name, rule.interval, lambda t: rounded(rule, curve(rule.due(t))), count, marks, words(curve)
        )


def _turn(rule: Rule, at: float) -> float:
    return math.ceil(at / rule.frequency) * rule.frequency
