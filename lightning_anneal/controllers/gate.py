"""A schedule whose clock runs only while a metric is where it is to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightning_anneal.clock import Length, Lengths
from lightning_anneal.controllers.controller import Controller, Memory, Steer
from lightning_anneal.errors import AnnealError
from lightning_anneal.recipes import Recipe
from lightning_anneal.schedules import Schedule


@dataclass(frozen=True)
class Gate(Controller):
    """A schedule on a clock of its own, which moves on by one with each epoch (or step) that begins while it is open.

    It is open while the last value of the metric that was seen is strictly below (or above) the threshold. A closed
    clock moves on by one after every `max_wait` epochs (or steps) in a row, so that nothing waits for ever.

    Args:
        curve: The schedule.
        monitor: The metric.
        threshold: The bound.
        above: Whether it is open above it.
        max_wait: The longest time at one place, in epochs (or steps); ``None`` for any.
        every: The value moves at every n-th time of its own clock.

    Example:
        >>> from lightning_anneal import Linear
        >>> gate = Gate(Linear(0, 10, 10), "val_loss", threshold=0.5, above=False, max_wait=None)
        >>> memory, values = gate.begin(), []
        >>> for epoch, val_loss in enumerate((0.9, 0.4, 0.3, 0.6)):
        ...     values.append(gate.value(memory, "", epoch))
        ...     memory = gate.after(memory, {"val_loss": val_loss}, epoch)
        >>> values
        [0.0, 0.0, 1.0, 2.0]
    """

    curve: Schedule
    monitor: str
    threshold: float
    above: bool
    max_wait: float | None
    every: int = 1

    def begin(self) -> Memory:
        return {"clock": 0.0, "at": 0.0, "open": 0.0, "waited": 0.0}

    def after(self, memory: Memory, means: Mapping[str, float], t: float) -> Memory:
        metric = means[self.monitor]
        is_open = metric > self.threshold if self.above else metric < self.threshold
        clock, waited = self._clock(memory, t)
        return {"clock": clock, "at": float(t), "open": float(is_open), "waited": 0.0 if is_open else waited}

    def value(self, memory: Memory, output: str = "", t: float = 0) -> float:
        clock = self._clock(memory, t)[0]
        return self.curve(clock - clock % self.every)

    def _clock(self, memory: Memory, t: float) -> tuple[float, float]:
        """Where the clock stands at ``t``, and how long it has stood there closed."""
        passed = max(t - memory["at"], 0.0)
        if memory["open"]:
            return memory["clock"] + passed, 0.0
        waited = memory["waited"] + passed
        if self.max_wait is None:
            return memory["clock"], waited
        return memory["clock"] + waited // self.max_wait, waited % self.max_wait

    @property
    def bounds(self) -> tuple[float, float]:
        return self.curve.bounds

    def shown(self, memory: Memory, t: float = 0) -> dict[str, float]:
        return {"clock": self._clock(memory, t)[0], "open": memory["open"]}

    def stuck(self, memory: Memory) -> str:
        return ""


@dataclass(frozen=True)
class GateRecipe(Steer):
    """A gate whose lengths may have units."""

    strategy = "gated"
    start_key = "schedule.start_value"
    polled = True

    schedule: Recipe
    monitor: str
    threshold: float
    above: bool
    max_wait: Length | None

    @property
    def monitors(self) -> tuple[str, ...]:
        return (self.monitor,)

    @property
    def needs_start(self) -> bool:
        return self.schedule.needs_start

    def build(self, lengths: Lengths, start: float | None) -> Gate:
        curve = self.schedule.build(lengths.within("schedule", lengths.whole), start)
        longest = None if self.max_wait is None else lengths("max_wait", self.max_wait)
        if longest is not None and longest < 1:
            raise AnnealError(f"{lengths.where}.max_wait", f"must be at least one {lengths.interval}, got {longest:g}")
        return Gate(curve, self.monitor, self.threshold, self.above, longest)
