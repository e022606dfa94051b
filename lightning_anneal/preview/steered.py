"""The controllers of a planned run: fed with the metrics of its epochs, as a fit feeds them with what it measures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from lightning_anneal.checks import Value
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.controllers.controller import Steer
from lightning_anneal.controllers.gate import Gate, GateRecipe
from lightning_anneal.preview.moments import words
from lightning_anneal.preview.planned import Planned
from lightning_anneal.preview.planned_run import PlannedRun, rounded
from lightning_anneal.rules import Rule

if TYPE_CHECKING:
    from lightning_anneal.steering import Steering


def steer_of(rule: Rule) -> Steer:
    """What the config says of a rule's controller."""
    assert isinstance(rule.source, Steer)
    return rule.source


def only_training_shows(rule: Rule, run: PlannedRun) -> str | None:
    """Why the values of a controller can't be foreseen, if they can't: its metric answers to them, so it isn't made up.

    A gate asks but when a metric is where it is to be, and one that gets there can be made up.
    """
    missing = [name for name in steer_of(rule).monitors if name not in run.metrics]
    if not missing or isinstance(rule.source, GateRecipe):
        return None
    hint = run.hint(f"--metric {missing[0]}=FILE.csv", f"metrics={{{missing[0]!r}: [...]}}")
    return f"{rule.name}: {steer_of(rule).strategy} answers to {' and '.join(missing)}, which only training shows{hint}"


class Steered:
    """The controllers of some rules.

    Args:
        run: The run.
        rules: Those that have one.
        horizon: The run's length.

    Attributes:
        notes: What was assumed, and what the controllers have to say.

    Raises:
        AnnealError: If a controller can't be built.
    """

    def __init__(self, run: PlannedRun, rules: Sequence[Rule], horizon: Horizon) -> None:
        # Here, because it takes torch, as everything that writes to a model does.
        from lightning_anneal.steering import Steering, build_controller, key_of

        self.rules = rules
        self._steering: Steering = Steering(rules)
        self._keys = [key_of(rule, steer_of(rule)) for rule in rules]
        self._values: list[list[Value]] = [[] for _ in rules]
        self._sums: dict[str, dict[str, list[float]]] = {key: {} for key in self._steering.by_step}
        self._steps = 0
        self.notes: list[str] = []
        for key, (rule, *_) in self._steering.rules.items():
            start = run.starts.get(rule.name)
            lengths = Lengths(rule.name, rule.interval, horizon)
            begin = float(start) if start is not None and steer_of(rule).needs_start else None
            self._steering.begin(key, build_controller(rule, lengths, begin))
        for key in self._steering.by_step:
            watched = " and ".join(self._steering.monitors(key))
            self.notes.append(f"{key}: each step of an epoch is taken to have the {watched} of the epoch")

    @property
    def by_step(self) -> bool:
        """Whether any of them moves within an epoch."""
        return any(rule.interval == "step" for rule in self.rules)

    def gates(self) -> Iterator[GateRecipe]:
        """Those that wait for a metric to be somewhere."""
        for rule in self.rules:
            if isinstance(rule.source, GateRecipe):
                yield rule.source

    def begin_epoch(self, epoch: int, fresh: Mapping[str, float]) -> None:
        """An epoch begins, before which these metrics were seen."""
        for key in self._steering.by_epoch:
            by_step = self._steering.rules[key][0].interval == "step"
            if all(name in fresh for name in self._steering.monitors(key)):
                self.notes += self._steering.feed(key, fresh, self._steps - 1 if by_step else epoch - 1)
        self._steering.begin_epoch(epoch)
        for i, rule in enumerate(self.rules):
            if rule.interval == "epoch":
                self._values[i].append(self._value(i, epoch))

    def train_epoch(self, steps: int, metrics: Mapping[str, float]) -> None:
        """The steps of an epoch that has these metrics."""
        by_step = [i for i, rule in enumerate(self.rules) if rule.interval == "step"]
        for step in range(self._steps, self._steps + steps):
            for key, every in self._steering.by_step.items():
                if step and step % every == 0:
                    self._feed(key, step - 1)
                for name in self._steering.monitors(key):
                    if name in metrics:
                        self._sums[key].setdefault(name, []).append(metrics[name])
            for i in by_step:
                self._values[i].append(self._value(i, step))
        self._steps += steps

    def _feed(self, key: str, step: int) -> None:
        """Let a controller have the mean of each metric over the steps since its last update."""
        sums, self._sums[key] = self._sums[key], {}
        if all(name in sums for name in self._steering.monitors(key)):
            finite = {name: [value for value in seen if math.isfinite(value)] for name, seen in sums.items()}
            means = {name: math.fsum(seen) / len(seen) if seen else math.nan for name, seen in finite.items()}
            self.notes += self._steering.feed(key, means, step)

    def _value(self, i: int, t: int) -> Value:
        key, rule = self._keys[i], self.rules[i]
        memory = self._steering.standing[key].memory
        return rounded(rule, self._steering.controllers[key].value(memory, steer_of(rule).output, t))

    def planned(self, rule: Rule) -> Planned:
        """The values of a rule."""
        i = next(i for i, each in enumerate(self.rules) if each is rule)
        values, source = self._values[i], steer_of(rule).strategy
        controller = self._steering.controllers[self._keys[i]]
        if isinstance(controller, Gate):
            source += f" {words(controller.curve)}"
        return Planned(rule.name, rule.interval, lambda t: values[t], len(values), source=source)
