"""Holds a metric within a limit: a weight that rises while the limit is exceeded and falls while it is not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lightning_anneal.clock import Lengths
from lightning_anneal.controllers import reach
from lightning_anneal.controllers.controller import Controller, Memory, Steer
from lightning_anneal.controllers.pi_control import Effect, build_aim
from lightning_anneal.errors import AnnealError
from lightning_anneal.recipes import Recipe
from lightning_anneal.schedules import Schedule

Method = Literal["geco", "pi"]

# Beyond it exp() overflows; any bound has been passed by then.
_FAR = 700.0


@dataclass(frozen=True)
class Constraint(Controller):
    """A weight that holds ``metric <= limit`` (or ``>=``).

    With the violation ``v = metric - limit`` (``limit - metric`` where the metric is to be at least the limit), and its
    moving average ``m = momentum * m + (1 - momentum) * v``, which begins at the first violation for ``geco`` and at 0
    for ``pi``:

    - ``geco``: ``value *= exp(rate * m)``. Rezende & Viola, "Taming VAEs", 2018, algorithm 1.
    - ``pi``: ``value += ki * v + kp * (m - m before)``, which damps the swings of the dual ascent. Sohrabi et al., "On
      PI Controllers for Updating Lagrange Multipliers in Constrained Optimization", ICML 2024, algorithm 1 (nuPI).

    Where a greater value raises the metric, it moves the other way. The value itself is bounded, so nothing winds up
    behind a bound: once the violation has turned from ``v`` to ``-w``, a ``geco`` value turns within
    ``1 + log(1 + v / w) / log(1 / momentum)`` updates, the time its average takes, and a ``pi`` value at once.

    Args:
        monitor: The metric.
        limit: Its limit, by epoch (or step).
        start: The value before the first update.
        low: The least value; above 0 for ``geco``.
        high: The greatest value.
        at_least: Whether the limit is the least that the metric is to be, not the most.
        effect: Whether a greater value lowers the metric, as a weight of that very loss does, or raises it.
        method: ``"geco"`` or ``"pi"``.
        rate: Of ``geco``: how fast the logarithm of the value moves per unit of violation.
        ki: Of ``pi``: how fast the value moves per unit of violation.
        kp: Of ``pi``: how much of a change of the violation comes at once.
        momentum: Share of the old average in the new one.
        look: How many updates make one look at whether the limit is out of reach.

    Example:
        >>> from lightning_anneal import Constant
        >>> constraint = Constraint("recon", Constant(2.0), start=1.0, rate=0.5, momentum=0.5)
        >>> memory = constraint.begin()
        >>> for recon in (3.0, 2.0, 1.0):
        ...     memory = constraint.after(memory, {"recon": recon}, 0)
        ...     print(round(constraint.value(memory), 4))
        1.6487
        2.117
        1.8682
    """

    monitor: str
    limit: Schedule
    start: float
    low: float = 1e-6
    high: float = 1e6
    at_least: bool = False
    effect: Effect = "lowers"
    method: Method = "geco"
    rate: float = 0.01
    ki: float = 0.01
    kp: float = 0.01
    momentum: float = 0.99
    look: int = 1

    def begin(self) -> Memory:
        nothing = {"average": 0.0, "metric": 0.0, "limit": 0.0, "updates": 0.0}
        return {"value": self.start, **nothing, **reach.begun()}

    def after(self, memory: Memory, means: Mapping[str, float], t: float) -> Memory:
        metric, limit = means[self.monitor], self.limit(t)
        violation = limit - metric if self.at_least else metric - limit
        begins = memory["updates"] == 0 and self.method == "geco"
        average = violation if begins else self.momentum * memory["average"] + (1 - self.momentum) * violation
        up = 1.0 if self.effect == "lowers" else -1.0
        if self.method == "geco":
            far = memory["value"] * math.exp(min(max(up * self.rate * average, -_FAR), _FAR))
        else:
            far = memory["value"] + up * (self.ki * violation + self.kp * (average - memory["average"]))
        value = min(max(far, self.low), self.high)
        pressed = violation > 0 and value == (self.high if up > 0 else self.low)
        return {
            "value": value,
            "average": average,
            "metric": metric,
            "limit": limit,
            "updates": memory["updates"] + 1,
            **reach.waited(memory, violation, self.look, at_bound=pressed),
        }

    def value(self, memory: Memory, output: str = "", t: float = 0) -> float:
        return memory["value"]

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def shown(self, memory: Memory, t: float = 0) -> dict[str, float]:
        return {"metric": memory["metric"], "limit": memory["limit"]}

    def stuck(self, memory: Memory) -> str:
        return reach.told(memory, f"the limit {memory['limit']:g}", self.monitor, self.low)


@dataclass(frozen=True)
class ConstraintRecipe(Steer):
    """A constraint whose limit may have lengths with units, and which may begin at the value found."""

    strategy = "constraint"

    monitor: str
    limit: Recipe
    start: float | None
    low: float
    high: float
    at_least: bool
    effect: Effect
    method: Method
    gains: Mapping[str, float]

    @property
    def monitors(self) -> tuple[str, ...]:
        return (self.monitor,)

    @property
    def needs_start(self) -> bool:
        return self.start is None

    def build(self, lengths: Lengths, start: float | None) -> Constraint:
        begin = start if self.start is None else self.start
        assert begin is not None
        if not self.low <= begin <= self.high:
            key, bound = ("min_value", self.low) if begin < self.low else ("max_value", self.high)
            what = f"begins at {begin:g}, beyond the {key} {bound:g}; give start_value or another {key}"
            raise AnnealError(lengths.where, what)
        limit = build_aim(lengths, "limit", self.limit)
        gains: dict[str, Any] = dict(self.gains)
        kind = (self.at_least, self.effect, self.method)
        look = reach.updates_of_a_look(lengths.interval)
        return Constraint(self.monitor, limit, begin, self.low, self.high, *kind, **gains, look=look)
