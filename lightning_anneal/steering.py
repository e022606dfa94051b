"""The controllers of some rules: bound to their targets, fed with what was measured, and kept in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from lightning_anneal.checks import Value, count, number
from lightning_anneal.clock import Horizon, Interval, Lengths
from lightning_anneal.controllers.controller import Controller, Memory, Steer
from lightning_anneal.controllers.gate import Gate
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.lines import Line, check_options
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule
from lightning_anneal.targets.ranges import check_range
from lightning_anneal.targets.resolve import Resolved
from lightning_anneal.targets.target import Target

Means = Mapping[str, float | None]
"""Each metric that a controller watches, averaged since its last update; ``None`` for one that was not to be seen."""


@dataclass(frozen=True)
class Standing:
    """How far a controller has come: all that a checkpoint needs of it.

    Args:
        kind: What kind of controller it is.
        memory: What it remembers.
        updates: How often it was updated.
        missed: How often it was its turn, and there was nothing it could go by.
        sums: By metric, the sum of what was seen since the last update, where several make one.
        seen: How many of them there were.
        applied: By output, the values in force, where that waits for an epoch to begin: of a batch size.
    """

    kind: str
    memory: Memory
    updates: int = 0
    missed: int = 0
    sums: Mapping[str, float] = field(default_factory=dict)
    seen: int = 0
    applied: Mapping[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {
            "kind": self.kind,
            "memory": dict(self.memory),
            "updates": self.updates,
            "missed": self.missed,
            "sums": dict(self.sums),
            "seen": self.seen,
            "applied": dict(self.applied),
        }

    @classmethod
    def of(cls, where: str, plain: Mapping[str, Any]) -> Standing:
        """From the plain values of a checkpoint."""
        updates, missed, seen = (count(f"{where}.{key}", plain[key], least=0) for key in ("updates", "missed", "seen"))
        memory, sums, applied = (
            {str(name): number(f"{where}.{key}.{name}", value) for name, value in plain[key].items()}
            for key in ("memory", "sums", "applied")
        )
        return cls(str(plain["kind"]), memory, updates, missed, sums, seen, applied)


@dataclass(eq=False)
class SteeredLine:
    """One target under a controller.

    Args:
        rule: The rule it belongs to.
        target: Where the values go.
        key: What its controller is kept under.
        output: Which of the controller's values it gets.
        batch_size: Whether it is the batch size, which changes between epochs only.
    """

    rule: Rule
    target: Target
    key: str
    output: str = ""
    batch_size: bool = False


class Steering:
    """The controllers of some rules.

    Args:
        rules: The rules; those that have none are left out.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: dict[str, list[Rule]] = {}
        """By controller: the rules that get their values from it."""
        for rule in rules:
            if isinstance(rule.source, Steer):
                self.rules.setdefault(key_of(rule, rule.source), []).append(rule)
        self.lines: list[SteeredLine] = []
        """The targets whose values move with an update."""
        self.moving: list[Line] = []
        """Those whose values move on between updates, too."""
        self.controllers: dict[str, Controller] = {}
        self.standing: dict[str, Standing] = {}
        self._told: set[tuple[str, str]] = set()

    def source(self, key: str) -> Steer:
        """What the config says of a controller."""
        source = self.rules[key][0].source
        assert isinstance(source, Steer)
        return source

    def monitors(self, key: str) -> tuple[str, ...]:
        """The metrics that a controller watches."""
        return self.source(key).monitors

    @property
    def by_step(self) -> dict[str, int]:
        """Of the controllers that are updated by step: at every how many-th step."""
        steps = {key: rules[0].frequency for key, rules in self.rules.items() if rules[0].interval == "step"}
        return {key: every for key, every in steps.items() if not self.source(key).polled}

    @property
    def by_epoch(self) -> list[str]:
        """The controllers that are updated when there is something new to be seen after an epoch or a validation."""
        return [key for key in self.rules if key not in self.by_step]

    def build(self, resolved: Mapping[str, Resolved], found: Mapping[str, Any], horizon: Horizon) -> list[str]:
        """Build the controllers and bind them to their targets. Writes nothing.

        Returns:
            What to warn of.

        Raises:
            AnnealError: If a controller can't be built, or gives what its target can't take.
        """
        self.lines, self.moving, told = [], [], []
        for key, rules in self.rules.items():
            here = [rule for rule in rules if rule.name in resolved and rule.name in found]
            if not here:
                continue
            controller = _build(here[0], found[here[0].name], horizon)
            told += self.begin(key, controller)
            for rule in here:
                output = rule.source.output if isinstance(rule.source, Steer) else ""
                places = resolved[rule.name]
                for target in places.targets:
                    _check(rule, target, controller, places)
                    if self.source(key).polled:
                        # Its turns are those of the gate's own clock.
                        always = replace(rule, frequency=1)
                        self.moving.append(Line(always, target, Course(self, key, controller)))
                    else:
                        self.lines.append(SteeredLine(rule, target, key, output, places.batch_size))
        return told

    def begin(self, key: str, controller: Controller) -> list[str]:
        """A controller that remembers nothing yet begins, and so does one that remembers another kind's things.

        Returns:
            What to warn of.
        """
        self.controllers[key] = controller
        kind, memory, before = type(controller).__name__, controller.begin(), self.standing.get(key)
        kind = f"{kind} of {', '.join(self.monitors(key))}"
        if before is not None and before.kind == kind:
            if missing := sorted(set(memory) - set(before.memory)):
                raise AnnealError("checkpoint", f"the annealing state is damaged ({key} has no {quote(missing[0])})")
            return []
        self.standing[key] = Standing(kind, memory)
        if before is None:
            return []
        return [f"{key}: the checkpoint is that of another controller ({before.kind}); this one begins anew"]

    # -- driving --------------------------------------------------------------------------------------------------

    def value(self, line: SteeredLine, t: float) -> float:
        """The value of a line that is to be in force."""
        standing = self.standing[line.key]
        if line.batch_size and line.output in standing.applied:
            return standing.applied[line.output]
        return self.controllers[line.key].value(standing.memory, line.output, t)

    def begin_epoch(self, t: float) -> None:
        """An epoch begins, and what has waited for it comes into force."""
        for line in self.lines:
            if line.batch_size:
                standing = self.standing[line.key]
                value = self.controllers[line.key].value(standing.memory, line.output, t)
                self.standing[line.key] = replace(standing, applied={**standing.applied, line.output: value})

    def feed(
        self, key: str, means: Means, t: float, known: Iterable[str] = (), *, turn: bool | None = None
    ) -> Iterator[str]:
        """Let a controller have what was measured. Writes nothing.

        Args:
            key: The controller.
            means: What was measured; with one metric missing or not finite, the controller stays as it is.
            t: The last epoch (or step) that was measured.
            known: The metrics that there are, for a hint at a misspelled one.
            turn: Whether it has its turn, and what was measured is not only kept for it; by default by what its rule
                says of epochs, and always by step, where what is handed in has been averaged already. With something
                kept, a metric that is missing or not finite at a turn is left out, as it is between turns.

        Yields:
            What to warn of, each once.
        """
        standing, rule, between = self.standing[key], self.rules[key][0], turn is False
        now = {name: value for name in self.monitors(key) if (value := means.get(name)) is not None}
        bad = [name for name in self.monitors(key) if not math.isfinite(now.get(name, math.nan))]
        if not bad:
            sums = {name: standing.sums.get(name, 0.0) + value for name, value in now.items()}
            standing = replace(standing, sums=sums, seen=standing.seen + 1)
        elif between or (turn and standing.seen):
            pass  # It is left out of the mean.
        else:
            self.standing[key] = replace(standing, missed=standing.missed + 1)
            if bad[0] in now:
                yield from self._once(key, "bad", f"{bad[0]} is {now[bad[0]]}, so the value is kept")
            else:
                what = f"no metric {quote(bad[0])} to be seen, so the value is kept"
                yield from self._once(key, "absent", what + (suggestion(bad[0], known) if known else ""))
            return
        if turn is None:
            turn = rule.interval == "step" or self.source(key).polled or standing.seen >= rule.frequency
        if not turn:
            self.standing[key] = standing
            return
        averaged = {name: value / standing.seen for name, value in standing.sums.items()}
        memory = self.controllers[key].after(standing.memory, averaged, t)
        if not all(map(math.isfinite, memory.values())):
            self.standing[key] = replace(standing, sums={}, seen=0, missed=standing.missed + 1)
            yield from self._once(key, "far", "what was measured is beyond all bounds, so the value is kept")
            return
        updates = standing.updates + 1
        self.standing[key] = replace(standing, memory=memory, updates=updates, sums={}, seen=0)
        if stuck := self.controllers[key].stuck(memory):
            yield from self._once(key, "stuck", stuck)

    def _once(self, key: str, kind: str, what: str) -> Iterator[str]:
        if (key, kind) not in self._told:
            self._told.add((key, kind))
            yield f"{key}: {what}"

    def first_value(self, line: SteeredLine) -> float:
        """The value of a line before the first update."""
        controller = self.controllers[line.key]
        return controller.value(controller.begin(), line.output, 0)

    def why(self, key: str, t: float) -> str:
        """What made the values of a controller change at ``t``."""
        if self.standing[key].updates == 0:
            return "start"
        shown = self.controllers[key].shown(self.standing[key].memory, t)
        told = ", ".join(f"{name} {value:g}" for name, value in shown.items())
        strategy = self.source(key).strategy
        return f"{strategy} ({told})" if told else strategy

    def worth_telling(self, line: SteeredLine, old: Value, new: Value) -> bool:
        """Whether a change is told of: by epoch each one; by step the first, and where a bound is reached or left."""
        bounds = self.controllers[line.key].bounds
        leaves_start = old == line.target.rounded(line.target.cast(self.first_value(line)))
        return line.rule.interval == "epoch" or leaves_start or old in bounds or new in bounds or not self._begun(line)

    def _begun(self, line: SteeredLine) -> bool:
        return self.standing[line.key].updates > 0

    def shown(self, now: Mapping[Interval, int]) -> dict[str, dict[str, float]]:
        """By controller that has been updated: what a person wants to see beside its values.

        Args:
            now: The epoch and the step.
        """
        return {
            key: self.controllers[key].shown(standing.memory, now[self.rules[key][0].interval])
            for key, standing in self.standing.items()
            if standing.updates and key in self.controllers
        }

    @property
    def missed(self) -> dict[str, int]:
        """By controller: how often it was its turn, and there was nothing it could go by."""
        return {key: standing.missed for key, standing in self.standing.items()}

    # -- state ----------------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        return {key: standing.plain() for key, standing in self.standing.items()}

    def load_plain(self, state: Mapping[str, Any]) -> None:
        """Go on from the plain values of a checkpoint."""
        self.standing = {key: Standing.of(f"checkpoint.{key}", state[key]) for key in self.rules if key in state}


def key_of(rule: Rule, source: Steer) -> str:
    """What the controller of a rule is kept under."""
    return source.shared or rule.name


def _build(rule: Rule, found: Mapping[str, Any], horizon: Horizon) -> Controller:
    assert isinstance(rule.source, Steer)
    starts = found["start"]
    start = float(starts[0]) if rule.source.needs_start else None
    if start is not None and any(float(other) != start for other in starts):
        values = ", ".join(f"{float(value):g}" for value in starts)
        what = f"one value steers them all, and they begin at different ones ({values}); give it"
        raise AnnealError(f"{rule.name}.{rule.source.start_key}", what)
    return build_controller(rule, Lengths(rule.name, rule.interval, horizon, dict(found["lengths"])), start)


def build_controller(rule: Rule, lengths: Lengths, start: float | None) -> Controller:
    """The controller of a rule.

    Args:
        rule: The rule.
        lengths: Turns lengths into numbers and keeps them.
        start: The value found in the target, if that is part of it.

    Raises:
        AnnealError: For a value out of range, or a length that can't be known.
    """
    assert isinstance(rule.source, Steer)
    controller = rule.source.build(lengths, start)
    return replace(controller, every=rule.frequency) if isinstance(controller, Gate) else controller


def _check(rule: Rule, target: Target, controller: Controller, resolved: Resolved) -> None:
    low, high = controller.bounds
    check_range(target.name, target.key, low, high)
    if target.whole and not target.round:
        target.cast(math.floor(low) + 0.5)
    check_options(rule, target, resolved)


@dataclass(frozen=True)
class Course(Schedule):
    """The values of a controller as a schedule, which is another one after each update."""

    steering: Steering
    key: str
    controller: Controller

    def __call__(self, t: float) -> float:
        return self.controller.value(self.steering.standing[self.key].memory, "", t)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.controller.bounds
