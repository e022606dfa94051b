"""The engine: rules bound to the places of a run, and driven. Inside the callbacks and inside AnnealingManager."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch

from lightning_anneal.changes import Change, say
from lightning_anneal.checks import Value
from lightning_anneal.clock import Horizon, Interval
from lightning_anneal.errors import AnnealError
from lightning_anneal.findings import Findings
from lightning_anneal.follow import Follow
from lightning_anneal.following import FollowingLine, Pending, Taken, build_following
from lightning_anneal.lines import Line, build_lines
from lightning_anneal.phased_lines import PhasedLine, build_phased
from lightning_anneal.phases import Phase, Phased, Plan
from lightning_anneal.phasing import Phasing
from lightning_anneal.reactions import ReactingLine, Reactions
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule
from lightning_anneal.state import DAMAGE, Place, State, damaged, read_state
from lightning_anneal.steering import Course, SteeredLine, Steering
from lightning_anneal.stepping import StepLoop
from lightning_anneal.targets.path import parse_path
from lightning_anneal.targets.resolve import home_of
from lightning_anneal.targets.target import Target
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.signals import Reading

OwnLine = Line | ReactingLine | SteeredLine
"""A target with its own source of values; all that one needs to be followed."""
AnyLine = OwnLine | FollowingLine


class Engine:
    """Drives rules: finds their targets, builds their schedules, writes the values and keeps the state.

    Args:
        rules: The rules.
        plan: The phases that some of them belong to.

    Raises:
        AnnealError: For an ``eval_value`` on what no evaluation sees.
    """

    def __init__(self, rules: Iterable[Rule], plan: Plan | None = None) -> None:
        self.rules = tuple(rules)
        self.plan = Plan() if plan is None else plan
        for rule in self.rules:
            home = home_of(rule, parse_path(rule.name, rule.path))
            if rule.eval_value is not None and home != "model":
                raise AnnealError(f"{rule.name}.eval_value", f"is for values of the module, not of the {home}")
        self.on_change: Callable[[Change], None] = say
        self.forget()

    def forget(self) -> None:
        """Drop everything a run has left behind: targets, start values, firings, the place in time."""
        self.epoch = 0
        self.step_in_force = 0
        self.phasing = Phasing(self.plan)
        self.findings = Findings(self.rules, self.phasing)
        self.reactions = Reactions(self.rules, self.plan.watchers)
        self.steering = Steering(self.rules)
        self._lines: list[Line] = []
        self.following: list[FollowingLine] = []
        """The targets that follow others, each behind the one that it follows."""
        self._followed: dict[str, Taken] = {}
        self._tensors: set[str] = set()
        self._set_aside: list[tuple[Target, Value]] = []
        self._last_values: dict[str, Value] = {}
        self._told: set[str] = set()
        self._loop = StepLoop()
        self._following_steps: list[FollowingLine] = []

    # -- building on what was found -------------------------------------------------------------------------------

    def build(self, horizon: Horizon) -> None:
        """Build the schedules from what was found, and bind the reactions. Writes nothing.

        Raises:
            AnnealError: If a schedule can't be built, or something gives what its target can't take.
        """
        findings = self.findings
        resolved, found = findings.resolved, findings.found
        there = [rule for rule in self.rules if rule.name in resolved and rule.name in found]
        self._lines = [
            line for rule in there for line in build_lines(rule, resolved[rule.name], found[rule.name], horizon)
        ]
        self.reactions.build(self.rules, resolved, found)
        for told in self.steering.build(resolved, found, horizon):
            warnings.warn(told, stacklevel=2)
        self._lines += self.steering.moving
        counted = findings.counted(horizon)
        self.phasing.find_lengths(counted)
        for rule in there:
            if isinstance(rule.source, Phased):
                self._lines += build_phased(rule, resolved[rule.name], found[rule.name], counted, self.phasing)
        self._followed, self.following = self._taken(), []
        if any(isinstance(rule.source, Follow) for rule in self.rules):
            every = (self.rules, resolved, findings.roots, self._followed, self._pending())
            self.following = build_following(*every, partly=findings.partly)

    def find_lengths_again(self, horizon: Horizon) -> None:
        """Find the lengths anew, for a run whose steps have become other ones."""
        self.findings.forget_lengths()
        self.findings.find_starts(horizon)
        self.build(horizon)

    def make_tensors(self, device: torch.device) -> None:
        """Put a 0-d tensor in the place of each parameter that asks for one with ``as_tensor``."""
        for line in self.every_line:
            target = line.target
            if line.rule.as_tensor and not target.in_place:
                dtype = torch.int64 if target.whole else torch.float32
                target.slot.set(torch.tensor(target.read(), dtype=dtype, device=device))
                target.in_place = True
                self._tensors.add(target.name)

    def release(self) -> None:
        """Turn those tensors into numbers again, and let go of the run's objects."""
        self.leave_eval()
        for line in self.every_line:
            # By name, because a resumed run has other groups, in which the checkpoint's tensors stand.
            if line.target.name in self._tensors:
                # The value itself, which float32 had rounded.
                line.target.slot.set(line.target.cast(self._value_now(line)))
                line.target.in_place = False
        self._last_values = {**self._last_values, **self.values}
        self._followed = self._taken()
        self._lines, self.following = [], []
        self.findings.let_go()
        self.reactions.lines, self.steering.lines, self.steering.moving = [], [], []
        self._tensors = set()
        self._loop = StepLoop()

    @property
    def python_numbers(self) -> dict[str, str]:
        """By target, the path of each value that is kept as a Python number, not in a tensor."""
        return {line.target.name: line.rule.path for line in self.every_line if not line.target.in_place}

    @property
    def every_line(self) -> list[AnyLine]:
        """Every target, under what gives its values; one that follows others comes behind those."""
        return [*self._lines, *self.reactions.lines, *self.steering.lines, *self.following]

    @property
    def values(self) -> dict[str, Value]:
        """The values now in force; after a run, the last ones."""
        return {target.name: target.read() for target in self.findings.targets} or dict(self._last_values)

    @property
    def missed(self) -> dict[str, int]:
        """By parameter that answers to a metric all along: how often there was none, and the value was kept."""
        return {**self.reactions.missed, **self.steering.missed}

    def values_of(self, names: Iterable[str]) -> dict[str, Value]:
        """The values now in force of some rules."""
        return {
            t.name: t.read()
            for name in names
            if name in self.findings.resolved
            for t in self.findings.resolved[name].targets
        }

    @property
    def lines(self) -> list[Line]:
        """The targets that have a schedule, each under its own; but for those whose values to come nobody knows."""
        return [line for line in self._lines if line not in self.steering.moving]

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules, once they are built."""
        return {line.target.name: line.curve for line in self._lines}

    def names(self, interval: Interval) -> list[str]:
        """The parameters with a schedule by epoch, or by step."""
        lines: list[Line | SteeredLine | FollowingLine] = [*self._lines, *self.steering.lines, *self.following]
        return [line.target.name for line in lines if line.rule.interval == interval]

    def warn_if_cut_short(self, horizon: Horizon) -> None:
        """Say so where a length is longer than the run, and where the run is over before a phase begins."""
        for line in self._lines:
            line.warn_if_cut_short(horizon)
        for told in self.phasing.beyond(self.findings.counted(horizon)):
            warnings.warn(told, stacklevel=2)

    # -- driving --------------------------------------------------------------------------------------------------

    def go_to(self, epoch: int, step: int, *, tell: bool = True, first: bool = False) -> None:
        """Put in force what holds during an epoch and a step, as at the start of a run or after a resume.

        Args:
            epoch: The epoch.
            step: The optimizer step.
            tell: Whether changes are told of.
            first: Whether the run begins here.
        """
        self.start_epoch(epoch, step, tell=tell)
        self.go_to_step(step, tell=tell, first=first)

    def start_epoch(self, epoch: int, step: int | None = None, *, tell: bool = True, begins: bool = False) -> None:
        """Put in force what holds during an epoch, whose first step is `step`.

        Args:
            epoch: The epoch.
            step: Its first step.
            tell: Whether changes are told of.
            begins: Whether it begins here, and is not only gone on with.
        """
        self.epoch = epoch
        at = self.step_in_force if step is None else step
        self._apply("epoch", at, tell=tell, again=lambda line: begins)

    def begin_epoch(self, epoch: int) -> None:
        """An epoch begins, and what has waited for it comes into force."""
        self.reactions.begin_epoch()
        self.steering.begin_epoch(epoch)

    @property
    def waiting(self) -> set[str]:
        """The watchers of phases that aren't running."""
        return set(self.plan.watchers) - ({self.phasing.running.watcher} if self.plan else set())

    def poll(self, readings: Mapping[str, Reading]) -> list[str]:
        """Let the triggers look that have a reading; of those that end a phase, that of the running one.

        Returns:
            What to warn of.
        """
        waiting = self.waiting
        told = self.reactions.poll({name: reading for name, reading in readings.items() if name not in waiting})
        for name in sorted(waiting.intersection(readings)):
            told += self.reactions.keep_up(name, readings[name])
        return told

    def advance_phases(self, epoch: int, step: int, *, within: bool) -> bool:
        """Go on to the next phase if the running one is over. Writes nothing.

        Args:
            epoch: The epoch.
            step: The optimizer step that is about to begin.
            within: Whether the epoch was running already.

        Returns:
            Whether another phase has begun.
        """

        def fired(phase: Phase) -> str:
            return self.reactions.event(phase.watcher) if phase.trigger is not None else ""

        began = False
        for turn in self.phasing.advance(epoch, step, within=within, fired=fired) if self.plan else ():
            began, phase = True, self.phasing.running
            if phase.trigger is not None:
                self.reactions.watch_anew(phase.watcher)
            self.reactions.enter_phase(self.phasing.index)
            self.on_change(Change(epoch, step, "phase", turn.old, turn.new, turn.why))
        return began

    def enter_phase(self, epoch: int, step: int, *, within: bool) -> None:
        """Put in force what a phase that has just begun says.

        Args:
            epoch: The epoch.
            step: The optimizer step that is about to begin.
            within: Whether the epoch was running already; a batch size waits for the next one then.
        """
        self.epoch, self.step_in_force = epoch, step
        if within:
            self._apply("epoch", step, only=lambda line: not line.rule.sizes_batches, again=_at_once)
        # The others have their own turn.
        self._apply("step", step, only=lambda line: isinstance(line, PhasedLine))
        if self._following_steps:
            self._follow(step)
        by_step = [line for line in self._lines if line.rule.interval == "step"]
        for line in by_step:
            if isinstance(line, PhasedLine):
                line.begin(step, first=False)
        self._loop = StepLoop(by_step, self._tell, step - 1)

    def write_batch_size(self, *, tell: bool = True) -> bool:
        """Put the annealed batch size in force before anything else; and say whether it is another one."""
        assert self.findings.batch_size is not None
        _, target = self.findings.batch_size
        before = target.read()
        self._apply("epoch", self.step_in_force, tell=tell, only=lambda line: line.target is target)
        return target.read() != before

    def apply_answers(self, step: int | None = None) -> None:
        """Put in force what events and metrics have led to; but for a batch size, which waits for the next epoch."""
        at = self.step_in_force if step is None else step
        intervals: tuple[Interval, ...] = ("epoch", "step")
        for interval in intervals:
            self._apply(interval, at, only=_answers, again=_at_once)

    def go_to_step(self, step: int, *, tell: bool = True, first: bool = False) -> None:
        """Put in force what holds during any optimizer step."""
        self.step_in_force = step
        self._apply("step", step, tell=tell)
        by_step = [line for line in self._lines if line.rule.interval == "step"]
        for line in by_step:
            line.begin(step, first=first and line.target.name not in self._told)
        self._loop = StepLoop(by_step, self._tell, step)
        self._following_steps = [line for line in self.following if line.rule.interval == "step"]

    def start_step(self, step: int) -> None:
        """Put in force what holds during the step after the last one."""
        self.step_in_force = step
        if self._loop.busy:
            self._loop.start(step)
        if self._following_steps:
            self._follow(step)

    def _follow(self, step: int) -> None:
        """Write what follows, in its order, where it has its turn."""
        for line in self._following_steps:
            if step % line.rule.frequency == 0:
                line.taken = line.look(step, {}, again=True)
                new = line.target.cast(line.value)
                if line.target.rounded(new) != (old := line.target.read()):
                    line.target.write(new)
                    self._tell_of_following(line, step, old, new)

    def _tell_of_following(self, line: FollowingLine, step: int, old: Value, new: Value) -> None:
        """Tell of a follower's change: by epoch of each one, by step of the first."""
        if line.rule.interval == "epoch" or line.target.name not in self._told:
            self._told.add(line.target.name)
            self.on_change(Change(self.epoch, step, line.target.name, old, new, line.why))

    def _apply(
        self,
        interval: Interval,
        step: int,
        *,
        tell: bool = True,
        only: Callable[[AnyLine], bool] | None = None,
        again: Callable[[FollowingLine], bool] | None = None,
    ) -> None:
        """Write every value that isn't in force yet; none of them if one can't be written."""
        due = [x for x in self.every_line if x.rule.interval == interval and (only is None or only(x))]
        values, pending, taken = [], dict[tuple[int, object], Value](), []
        for line in due:
            if isinstance(line, FollowingLine):
                at = self.epoch if interval == "epoch" else self.step_in_force
                look = line.look(at, pending, again=again is not None and again(line))
                value: Value = line.value_of(look)
                taken.append((line, look))
            else:
                value = self._value_now(line)
            new = pending[line.target.slot.identity] = line.target.cast(value)
            values.append((line, line.target.read(), new))
        for follower, look in taken:
            follower.taken = look
        for line, old, new in values:
            if line.target.rounded(new) != old:
                line.target.write(new)
                if not tell or (isinstance(line, SteeredLine) and not self.steering.worth_telling(line, old, new)):
                    continue
                if isinstance(line, FollowingLine):
                    self._tell_of_following(line, step, old, new)
                else:
                    self._told.add(line.target.name)
                    self.on_change(Change(self.epoch, step, line.target.name, old, new, self._why(line)))

    def _value_now(self, line: AnyLine) -> Value:
        """The value that is to be in force now."""
        return self.value_at(line, self._now(line))

    def _now(self, line: AnyLine) -> int:
        return self.epoch if line.rule.interval == "epoch" else self.step_in_force

    def value_at(self, line: AnyLine, t: int) -> Value:
        """The value of a line in an epoch (or step), by all that is known now."""
        if isinstance(line, ReactingLine):
            return self.reactions.value(line)
        if isinstance(line, FollowingLine):
            return line.value
        return self.steering.value(line, t) if isinstance(line, SteeredLine) else line.value(t)

    def _pending(self) -> Pending:
        """By place, what is to be in force of the lines that follow nothing."""
        return {x.target.slot.identity: x.target.cast(self._value_now(x)) for x in self.every_line}

    def _taken(self) -> dict[str, Taken]:
        """By target that follows another one: what it went by last."""
        return {**self._followed, **{x.target.name: x.taken for x in self.following if x.taken is not None}}

    def _why(self, line: OwnLine) -> str:
        if isinstance(line, ReactingLine):
            return self.reactions.why(line)
        if isinstance(line, SteeredLine):
            return self.steering.why(line.key, self._now(line))
        return self.steering.why(line.curve.key, self._now(line)) if isinstance(line.curve, Course) else "schedule"

    def _tell(self, line: Line, old: Value, new: Value) -> None:
        self.on_change(Change(self.epoch, self.step_in_force, line.target.name, old, new, self._why(line)))

    # -- evaluation -----------------------------------------------------------------------------------------------

    def enter_eval(self) -> None:
        """Put the ``eval_value`` of each rule that has one in force, until `leave_eval`."""
        if not self._set_aside:
            for rule in self.rules:
                if rule.eval_value is not None and rule.name in self.findings.resolved:
                    for target in self.findings.resolved[rule.name].targets:
                        self._set_aside.append((target, target.read()))
                        target.write(rule.eval_value)

    def leave_eval(self) -> None:
        """Put back what `enter_eval` found."""
        for target, value in self._set_aside:
            target.write(value)
        self._set_aside = []

    # -- state ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands and what was found at its start, as plain values; no value that a rule gives."""
        answers = (self.reactions.plain(), self.steering.plain())
        followed = {name: taken.plain() for name, taken in self._taken().items()}
        phases = self.phasing.plain() if self.plan else {}
        place = (self.epoch, self.step_in_force, self.findings.found, self._places)
        return State(*place, *answers, self.findings.run, followed, phases).plain()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over where a saved run stood. Writes nothing.

        Raises:
            AnnealError: If it is no such state, or that of a newer version.
        """
        saved = read_state(state, self._places)
        try:
            self.reactions.load_plain(saved.triggers)
            self.steering.load_plain(saved.steered)
            self._followed = {k: Taken.of(f"checkpoint.{k}", saved.followed[k]) for k in saved.followed}
            self.following = []
            begun = self.phasing.load_plain(saved.phases) if saved.phases and self.plan else []
        except DAMAGE as error:
            raise damaged(error) from None
        self.phasing.check_names(begun)
        # Also those that weren't in the phases before.
        self.reactions.enter_phase(self.phasing.index)
        findings = self.findings
        kept = findings.found if findings.resolved else {}
        findings.found, findings.run = {**kept, **saved.found}, saved.run or findings.run
        self.epoch, self.step_in_force = saved.epoch, saved.step

    @property
    def _places(self) -> dict[str, Place]:
        """By rule: what start values and lengths are found for."""
        return {rule.name: Place(rule.path, rule.interval, _kind(rule)) for rule in self.rules}


def _answers(line: AnyLine) -> bool:
    """Whether a line answers to events and metrics at once; a batch size waits for the next epoch."""
    if isinstance(line, Line):
        return isinstance(line.curve, Course)
    if line.batch_size:
        return False
    return not isinstance(line, FollowingLine) or bool(line.answers)


def _at_once(line: FollowingLine) -> bool:
    """Whether a follower has its turn again where what it follows changes between the turns of schedules."""
    return line.rule.interval in {*line.answers, "step"}


def _kind(rule: Rule) -> type:
    return rule.source.response.kind if isinstance(rule.source, Reaction) else float
