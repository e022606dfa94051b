"""Holds a metric at a set point: a PI controller with a non-linear proportional part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lightning_anneal.clock import Lengths
from lightning_anneal.controllers import reach
from lightning_anneal.controllers.controller import Controller, Memory, Steer
from lightning_anneal.recipes import Recipe
from lightning_anneal.schedules import Schedule

Effect = Literal["lowers", "raises"]
"""What a greater value does to the metric."""

# Beyond it exp() overflows; the proportional part is 0 long before.
_FAR = 700.0


@dataclass(frozen=True)
class PIControl(Controller):
    """A value that holds a metric at a set point.

    With the error ``e = set_point(t) - metric``, of the other sign where a greater value raises the metric::

        integral += -ki * e
        value     = low + kp / (1 + exp(e)) + integral

    Shao et al., "ControlVAE: Controllable Variational Autoencoder", ICML 2020, equation 8. Their integral stands still
    while the value is out of bounds, from where it may never come back; here it goes no farther than to the bound. So
    a value that has been at a bound for any time leaves it at the first update whose error points the other way; where
    ``kp`` is more than twice the way between the bounds, so that the proportional part alone may have driven it there,
    within ``1 + kp / (2 * ki * |e|)`` updates.

    Args:
        monitor: The metric.
        set_point: What it is to be, by epoch (or step).
        kp: The greatest value of the proportional part.
        ki: How far the integral moves per unit of error and update.
        low: The least value.
        high: The greatest value.
        start: The value before the first update, and the one that an error of zero leaves as it is;
            ``low + kp / 2`` without it.
        effect: Whether a greater value lowers the metric, as a weight of a loss does, or raises it.
        look: How many updates make one look at whether the set point is out of reach.

    Example:
        >>> from lightning_anneal import Constant
        >>> control = PIControl("kl", Constant(10.0), kp=0.5, ki=0.125)
        >>> memory = control.begin()
        >>> for kl in (12.0, 12.0, 10.0):
        ...     memory = control.after(memory, {"kl": kl}, 0)
        ...     print(round(control.value(memory), 3))
        0.69
        0.94
        0.75
    """

    monitor: str
    set_point: Schedule
    kp: float = 0.01
    ki: float = 0.0001
    low: float = 0.0
    high: float = 1.0
    start: float | None = None
    effect: Effect = "lowers"
    look: int = 1

    def begin(self) -> Memory:
        middle = self.low + self.kp / 2
        start = middle if self.start is None else self.start
        value = min(max(start, self.low), self.high)
        return {"value": value, "integral": start - middle, "metric": 0.0, "set_point": 0.0, **reach.begun()}

    def after(self, memory: Memory, means: Mapping[str, float], t: float) -> Memory:
        metric, set_point = means[self.monitor], self.set_point(t)
        # Positive where the value is to fall.
        error = set_point - metric if self.effect == "lowers" else metric - set_point
        proportional = self.kp / (1 + math.exp(min(error, _FAR)))
        integral = memory["integral"] - self.ki * error
        # The value is cut off before the integral is: a sum of its parts would miss the bound by the last digit.
        far = self.low + proportional + integral
        above, below = error < 0 and far > self.high, error > 0 and far < self.low
        if above:
            integral = max(memory["integral"], self.high - self.low - proportional)
        elif below:
            integral = min(memory["integral"], -proportional)
        return {
            "value": min(max(far, self.low), self.high),
            "integral": integral,
            "metric": metric,
            "set_point": set_point,
            **reach.waited(memory, error, self.look, at_bound=above or below),
        }

    def value(self, memory: Memory, output: str = "", t: float = 0) -> float:
        return memory["value"]

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def shown(self, memory: Memory, t: float = 0) -> dict[str, float]:
        return {"metric": memory["metric"], "set_point": memory["set_point"]}

    def stuck(self, memory: Memory) -> str:
        return reach.told(memory, f"the set point {memory['set_point']:g}", self.monitor, self.low)


@dataclass(frozen=True)
class PIControlRecipe(Steer):
    """A PI controller whose set point may have lengths with units."""

    strategy = "pi_control"

    monitor: str
    set_point: Recipe
    kp: float
    ki: float
    low: float
    high: float
    start: float | None
    effect: Effect

    @property
    def monitors(self) -> tuple[str, ...]:
        return (self.monitor,)

    @property
    def needs_start(self) -> bool:
        return False

    def build(self, lengths: Lengths, start: float | None) -> PIControl:
        set_point = build_aim(lengths, "set_point", self.set_point)
        look = reach.updates_of_a_look(lengths.interval)
        return PIControl(self.monitor, set_point, self.kp, self.ki, self.low, self.high, self.start, self.effect, look)


def build_aim(lengths: Lengths, key: str, recipe: Recipe) -> Schedule:
    """The schedule of what a metric is to be."""
    return recipe.build(lengths.within(key, lengths.whole), None)
