"""AnnealingManager: the engine that drives rules, inside the callbacks and in a training loop of one's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from lightning_anneal.changes import Change, say
from lightning_anneal.checks import number, positive
from lightning_anneal.clock import Horizon, Interval, Lengths
from lightning_anneal.config import read_file, read_rules
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.lines import Line, build_lines
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule
from lightning_anneal.state import Found, read_state, write_state
from lightning_anneal.targets.path import parse_path
from lightning_anneal.targets.resolve import Resolved, Roots, home_of, resolve
from lightning_anneal.targets.target import Target


class AnnealingManager:
    """Drives annealing rules by hand, without Lightning.

    Args:
        config: Anything with ``annealing_params``: an object, a mapping, a DictConfig, a YAML file's path; or the
            ``annealing_params`` themselves.
        objects: What paths start from: ``{"model": ..., "optimizer": ...}``. Without a model, paths start from
            `config`.
        epochs: Length of the planned run, for ``"30%"`` and for lengths that were left out.
        steps_per_epoch: Optimizer steps in an epoch, for rules by step.

    Raises:
        AnnealError: For anything wrong with the config or its paths; nothing is changed then.

    Example:
        >>> class Config:
        ...     def __init__(self):
        ...         self.temperature = 5.0
        ...         self.annealing_params = {"temperature": {"strategy": "linear", "end_value": 1.0, "total_steps": 4}}
        >>> config = Config()
        >>> manager = AnnealingManager(config)
        >>> [manager.step(epoch) for epoch in range(3)]
        [{}, {'temperature': 4.0}, {'temperature': 3.0}]
        >>> config.temperature
        3.0
    """

    def __init__(
        self,
        config: Any,
        *,
        objects: Mapping[str, Any] | None = None,
        epochs: float | None = None,
        steps_per_epoch: float | None = None,
    ) -> None:
        params, owner = _annealing_params(config)
        self._start_with(read_rules(params))
        for rule in self.rules:
            if rule.as_tensor:
                what = "is for a Lightning fit; put a 0-d tensor in that place yourself, and it is filled in place"
                raise AnnealError(f"{rule.name}.as_tensor", what)
        per_epoch = None if steps_per_epoch is None else positive("steps_per_epoch", steps_per_epoch)
        self._horizon = Horizon(None if epochs is None else positive("epochs", epochs), None, lambda: per_epoch)
        self.find_targets(_roots({} if objects is None else objects, owner))
        self.find_starts(self._horizon)
        self.build(self._horizon)

    @classmethod
    def of_rules(cls, rules: Iterable[Rule]) -> AnnealingManager:
        """A manager whose targets come later, by `find_targets`, `find_starts` and `build`: that of a callback."""
        manager = cls.__new__(cls)
        manager._horizon = Horizon()
        manager._start_with(tuple(rules))
        return manager

    def _start_with(self, rules: tuple[Rule, ...]) -> None:
        for rule in rules:
            home = home_of(rule, parse_path(rule.name, rule.path))
            if rule.eval_value is not None and home != "model":
                raise AnnealError(f"{rule.name}.eval_value", f"is for values of the module, not of the {home}")
        self.rules = rules
        self.on_change: Callable[[Change], None] = say
        self.forget()

    def forget(self) -> None:
        """Drop everything a run has left behind: targets, start values, the place in time."""
        self.epoch = 0
        self.step_in_force = 0
        self.found: Found = {}
        self._next_epoch = 0
        self._resolved: dict[str, Resolved] = {}
        self._lines: list[Line] = []
        self._tensors: list[Line] = []
        self._set_aside: list[tuple[Target, float]] = []
        self._last_values: dict[str, float] = {}
        self._plan(0)

    # -- binding to a run -----------------------------------------------------------------------------------------

    def find_targets(self, roots: Roots, *, homes: Iterable[str] | None = None) -> None:
        """Find every place the rules write to. Writes nothing.

        Args:
            roots: What paths start from.
            homes: The kinds of root that are there; rules that start from others are left out.

        Raises:
            AnnealError: If a path leads nowhere, or two lead to the same place.
        """
        wanted = [r for r in self.rules if homes is None or home_of(r, parse_path(r.name, r.path)) in homes]
        resolved = {rule.name: resolve(rule, roots) for rule in wanted}
        taken: dict[tuple[int, object], str] = {}
        for target in (t for r in resolved.values() for t in r.targets):
            if (other := taken.setdefault(target.slot.identity, target.name)) != target.name:
                raise AnnealError(target.name, f"the same place as '{other}'; keep one of them")
        self._resolved = resolved

    def find_starts(self, horizon: Horizon) -> Found:
        """Find the start values and lengths that no earlier start has found, and return all of them.

        Raises:
            AnnealError: If a length can't be known.
        """
        found = dict(self.found)
        for rule in self.rules:
            if rule.name not in self._resolved:
                continue
            starts = [float(target.read()) for target in self._resolved[rule.name].targets]
            if rule.name in found:
                # A parameter group that was added meanwhile begins at its own value.
                known = found[rule.name]["start"]
                found[rule.name] = {**found[rule.name], "start": [*known, *starts[len(known) :]]}
            else:
                lengths = Lengths(rule.name, rule.interval, horizon)
                rule.recipe.build(lengths, starts[0] if rule.recipe.needs_start else None)
                found[rule.name] = {"start": starts, "lengths": lengths.found}
        self.found = found
        return found

    def build(self, horizon: Horizon) -> None:
        """Build the schedules from what was found. Writes nothing.

        Raises:
            AnnealError: If a schedule can't be built, or gives what its target can't take.
        """
        self._lines = [
            line
            for rule in self.rules
            if rule.name in self._resolved and rule.name in self.found
            for line in build_lines(rule, self._resolved[rule.name], self.found[rule.name], horizon)
        ]

    def make_tensors(self, device: torch.device) -> None:
        """Put a 0-d tensor in the place of each parameter that asks for one with ``as_tensor``."""
        for line in self._lines:
            if line.rule.as_tensor and not line.target.in_place:
                line.target.slot.set(torch.tensor(line.target.read(), dtype=torch.float32, device=device))
                line.target.in_place = True
                self._tensors.append(line)

    def release(self) -> None:
        """Turn those tensors into floats again, and let go of the run's objects."""
        self.leave_eval()
        for line in self._tensors:
            t = self.epoch if line.rule.interval == "epoch" else self.step_in_force
            # The schedule's value, which float32 had rounded.
            line.target.slot.set(float(line.value(t)))
            line.target.in_place = False
        self._last_values = {**self._last_values, **self.values}
        self._lines, self._tensors, self._resolved = [], [], {}
        self._plan(0)

    @property
    def bound(self) -> bool:
        """Whether the rules have their targets."""
        return bool(self._resolved)

    @property
    def targets(self) -> list[Target]:
        """Every place that is written to."""
        return [target for resolved in self._resolved.values() for target in resolved.targets]

    @property
    def shadowed(self) -> list[str]:
        """The rules whose name stands in the module and in its hparams."""
        return [name for name, resolved in self._resolved.items() if resolved.shadowed]

    @property
    def values(self) -> dict[str, float]:
        """The values now in force; after a run, the last ones."""
        return {target.name: target.read() for target in self.targets} or dict(self._last_values)

    def values_of(self, names: Iterable[str]) -> dict[str, float]:
        """The values now in force of some rules."""
        return {t.name: t.read() for name in names if name in self._resolved for t in self._resolved[name].targets}

    @property
    def schedules(self) -> dict[str, Schedule]:
        """The schedules, once they are built."""
        return {line.target.name: line.curve for line in self._lines}

    def names(self, interval: Interval) -> list[str]:
        """The parameters that move by epoch, or by step."""
        return [line.target.name for line in self._lines if line.rule.interval == interval]

    def warn_if_cut_short(self, horizon: Horizon) -> None:
        """Say so where a length is longer than the run."""
        for line in self._lines:
            line.warn_if_cut_short(horizon)

    # -- driving --------------------------------------------------------------------------------------------------

    def step(
        self, epoch: int | None = None, metrics: Mapping[str, Any] | None = None, *, step: int | None = None
    ) -> dict[str, float]:
        """Apply what holds for an epoch, at its start.

        Args:
            epoch: The epoch about to begin, from 0; without it, the one after the last. What is written is
                ``schedule(epoch)``.
            metrics: What triggers look at; schedules look at nothing.
            step: The optimizer step about to begin, from 0, for rules by step; alone, it leaves the epoch as it is.

        Returns:
            ``{name: new value}`` of what changed.

        Example:
            >>> settings = {"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 4}
            >>> model = {"beta": 0.0}
            >>> manager = AnnealingManager({"beta": settings}, objects={"model": model})
            >>> manager.step(epoch=2)
            {'beta': 0.5}
        """
        before = self.values
        if epoch is None and step is None:
            epoch = self._next_epoch
        if epoch is not None:
            self.start_epoch(_moment("epoch", epoch))
        if step is not None:
            self.go_to_step(_moment("step", step))
        return {name: value for name, value in self.values.items() if value != before[name]}

    def go_to(self, epoch: int, step: int) -> None:
        """Put in force what holds during an epoch and a step, as at the start of a run or after a resume."""
        self.start_epoch(epoch)
        self.go_to_step(step)

    def start_epoch(self, epoch: int) -> None:
        """Put in force what holds during an epoch."""
        self.epoch, self._next_epoch = epoch, epoch + 1
        self._write("epoch", epoch)

    def go_to_step(self, step: int) -> None:
        """Put in force what holds during any optimizer step."""
        self.step_in_force = step
        self._write("step", step)
        for line in self._lines:
            line.told, line.next_event = float(line.target.read()), line.event_after(step)
        self._plan(step)

    def start_step(self, step: int) -> None:
        """Put in force what holds during the step after the last one. The loop that runs in every step."""
        self.step_in_force = step
        for store, key, curve in self._fast:
            store[key] = curve(step)
        for line in self._slow:
            if step % line.rule.frequency == 0:
                line.target.write(line.curve(step))
        if step >= self._next_event:
            self._tell(step)

    def _write(self, interval: Interval, t: int) -> None:
        for line in self._lines:
            if line.rule.interval == interval:
                old, new = line.target.read(), line.target.cast(line.value(t))
                if new != old:
                    line.target.write(new)
                    self.on_change(Change(line.target.name, old, new, interval, t))

    def _plan(self, step: int) -> None:
        """Sort the rules by step into what the loop does; those that have settled by now are left out."""
        self._running = [x for x in self._lines if x.rule.interval == "step" and x.settled > step]
        self._fast: list[tuple[Any, Any, Callable[[float], float]]] = []
        self._slow: list[Line] = []
        for line in self._running:
            shortcut = line.target.shortcut
            if shortcut is None or line.rule.frequency > 1 or not line.bounded:
                self._slow.append(line)
            else:
                # The bound method, because calling through the instance costs half as much again.
                self._fast.append((*shortcut, line.curve.__call__))
        self._next_event = min((line.next_event for line in self._running), default=math.inf)

    def _tell(self, step: int) -> None:
        """Tell of each milestone, restart and end that this step has reached."""
        for line in self._running:
            if step >= line.next_event:
                new = float(line.target.read())
                if new != line.told:
                    self.on_change(Change(line.target.name, line.told, new, "step", step))
                line.told, line.next_event = new, line.event_after(step)
        self._plan(step)

    # -- evaluation -----------------------------------------------------------------------------------------------

    def enter_eval(self) -> None:
        """Put the ``eval_value`` of each rule that has one in force, until `leave_eval`."""
        if not self._set_aside:
            for rule in self.rules:
                if rule.eval_value is not None and rule.name in self._resolved:
                    for target in self._resolved[rule.name].targets:
                        self._set_aside.append((target, target.read()))
                        target.write(rule.eval_value)

    def leave_eval(self) -> None:
        """Put back what `enter_eval` found."""
        for target, value in self._set_aside:
            target.write(value)
        self._set_aside = []

    # -- state ----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands and what was found at its start, as plain numbers; no value that a schedule gives."""
        return write_state(self.epoch, self.step_in_force, self.found)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run stood.

        Raises:
            AnnealError: If it is no such state, or that of a newer version.
        """
        epoch, step, found = read_state(state, [rule.name for rule in self.rules])
        self.found = {**{k: v for k, v in self.found.items() if self.bound}, **found}
        self.epoch, self._next_epoch, self.step_in_force = epoch, epoch + 1, step
        if self.bound:
            self.build(self._horizon)
            self.go_to(epoch, step)


def _moment(where: str, value: object) -> int:
    moment = number(where, value)
    if moment < 0 or moment != int(moment):
        raise AnnealError(where, f"must be a whole number from 0, got {quote(value)}")
    return int(moment)


def _annealing_params(config: Any) -> tuple[Any, Any]:
    """The parameters' settings, and the object that paths start from by default."""
    if isinstance(config, str | Path):
        config = read_file(config)
    if not isinstance(config, Mapping):
        if not hasattr(config, "annealing_params"):
            raise AnnealError("config", f"{type(config).__name__} has no annealing_params")
        return config.annealing_params, config
    if "annealing_params" in config:
        return config["annealing_params"], config
    return config, None


def _roots(objects: Mapping[str, Any], owner: Any) -> Roots:
    known = ("model", "optimizer", "optimizers", "datamodule")
    if not isinstance(objects, Mapping):
        raise AnnealError("objects", f'must be a mapping such as {{"model": ...}}, got {quote(objects)}')
    for name in objects:
        if name not in known:
            raise AnnealError("objects", f"unknown name {quote(name)}{suggestion(name, known)}")
    optimizers = [objects["optimizer"]] if "optimizer" in objects else objects.get("optimizers", ())
    if not isinstance(optimizers, Sequence) or not all(isinstance(o, Optimizer) for o in optimizers):
        raise AnnealError("objects", "'optimizer' must be a torch optimizer, and 'optimizers' a list of them")
    return Roots(objects.get("model", owner), tuple(optimizers), objects.get("datamodule"))
