"""Any callable of ``t`` as a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from lightning_anneal.checks import number
from lightning_anneal.schedules.protocol import Schedule


@dataclass(frozen=True)
class FromCallable(Schedule):
    """A function of the user's, whose every value is looked at.

    Args:
        function: Takes ``t``, gives a number.
        name: The parameter's name, for errors.

    Raises:
        AnnealError: When called, if the function gives no finite number.

    Example:
        >>> FromCallable(lambda t: 2 * t, "beta")(3)
        6.0
    """

    function: Callable[[float], float]
    name: str = "schedule"

    def __call__(self, t: float) -> float:
        return number(f"{self.name} at {t:g}", self.function(t))

    @property
    def bounds(self) -> tuple[float, float]:
        return -math.inf, math.inf
