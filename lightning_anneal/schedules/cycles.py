"""Curves that come back: waves and warm restarts."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from lightning_anneal.checks import choice, number, positive
from lightning_anneal.errors import AnnealError
from lightning_anneal.schedules.callables import FromCallable
from lightning_anneal.schedules.protocol import Schedule

WAVES = ("cosine", "triangle")


@dataclass(frozen=True)
class Cyclical(Schedule):
    """A wave that starts at its low and is at its high after half a period.

    ``low + (high - low) * (1 - cos(2 pi t / period)) / 2``, or a triangle between the same points: Smith, "Cyclical
    Learning Rates", WACV 2017. The cyclical KL annealing of Fu et al., "Cyclical Annealing Schedule", NAACL 2019, is
    another curve, a ramp that then holds: ``WarmRestart(Linear(0, 1, n / 2), n)``.

    Args:
        period: Epochs (or steps) of one cycle, positive.
        low: Value at the start of each cycle.
        high: Value in the middle of each cycle; may lie below ``low``.
        wave: ``"cosine"`` or ``"triangle"``.

    Example:
        >>> [round(v, 3) for v in Cyclical(4, 0, 1).values(6)]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]
    """

    period: float
    low: float
    high: float
    wave: str = "cosine"
    _span: float = field(init=False, repr=False, compare=False)
    _triangle: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "period", positive("Cyclical.period", self.period))
        for key in ("low", "high"):
            object.__setattr__(self, key, number(f"Cyclical.{key}", getattr(self, key)))
        object.__setattr__(self, "wave", choice("Cyclical.wave", self.wave, WAVES))
        object.__setattr__(self, "_span", self.high - self.low)
        object.__setattr__(self, "_triangle", self.wave == "triangle")
        if not math.isfinite(self._span):
            raise AnnealError("Cyclical.high", "too far from the low value for a float")

    def __call__(self, t: float) -> float:
        phase = (t % self.period) / self.period if t > 0 else 0.0
        if phase == 0.5:
            return self.high
        if self._triangle:
            return self.low + self._span * (1.0 - abs(2.0 * phase - 1.0))
        return self.low + self._span * ((1.0 - math.cos(2.0 * math.pi * phase)) / 2.0)

    @property
    def bounds(self) -> tuple[float, float]:
        return min(self.low, self.high), max(self.low, self.high)


class RestartInfo(NamedTuple):
    """Where ``t`` stands among the restarts. The start of training is no restart.

    Args:
        last: Time of the last restart; 0 before the first one.
        since: Time since then.
        next: Time of the next restart.
        is_restart: Whether ``t`` itself is one.
    """

    last: int
    since: float
    next: int
    is_restart: bool


# Beyond it the third stretch is longer than any run, and its length soon no number.
_LARGEST = 1_000_000
# No run gets there; on the way to infinity the restarts would fill the memory.
_LATEST = 1e9


@dataclass(frozen=True)
class WarmRestart(Schedule):
    """A schedule that begins again and again: ``base(t - last restart)``.

    Restarts stand at the running sums of ``interval * multiplier ** k``, each rounded half up and at least 1 after
    the one before. Loshchilov & Hutter, "SGDR", ICLR 2017.

    Args:
        base: The schedule (or any callable of ``t``) that is restarted.
        interval: Epochs (or steps) to the first restart, at least 1.
        multiplier: How much longer (or shorter) each stretch is than the one before, positive.

    Raises:
        AnnealError: For a field out of range, or asked for a ``t`` above 1e9.

    Example:
        >>> from lightning_anneal import Linear
        >>> restarts = WarmRestart(Linear(0, 1, 40), interval=40, multiplier=1.2)
        >>> [restarts.restart_info(t).next for t in (0, 40, 88, 146, 215, 298)]
        [40, 88, 146, 215, 298, 397]
    """

    base: Callable[[float], float]
    interval: float
    multiplier: float = 1.0
    # Restarts worked out so far, and the running sum behind the last one. Only a memo: any order of calls gives the
    # same answers.
    _restarts: list[int] = field(init=False, repr=False, compare=False)
    _sum: list[float] = field(init=False, repr=False, compare=False)
    _curve: Schedule = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not callable(self.base) or isinstance(self.base, type):
            raise AnnealError("WarmRestart.base", "must be a schedule or a callable of t")
        curve = self.base if isinstance(self.base, Schedule) else FromCallable(self.base, "WarmRestart.base")
        object.__setattr__(self, "_curve", curve)
        object.__setattr__(self, "interval", positive("WarmRestart.interval", self.interval))
        object.__setattr__(self, "multiplier", positive("WarmRestart.multiplier", self.multiplier))
        if self.multiplier > _LARGEST:
            raise AnnealError("WarmRestart.multiplier", f"must be at most {_LARGEST}, got {self.multiplier:g}")
        if self.interval < 1:
            raise AnnealError("WarmRestart.interval", f"must be at least 1, got {self.interval:g}")
        object.__setattr__(self, "_restarts", [0])
        object.__setattr__(self, "_sum", [0.0])

    def __call__(self, t: float) -> float:
        return self._curve(t - self._around(t)[0] if t > 0 else 0.0)

    def restart_info(self, t: float) -> RestartInfo:
        """Where ``t`` stands among the restarts, for any ``t`` in any order.

        Example:
            >>> WarmRestart(Cyclical(10, 0, 1), interval=10).restart_info(13)
            RestartInfo(last=10, since=3, next=20, is_restart=False)
        """
        t = max(t, 0)
        last, following = self._around(t)
        return RestartInfo(last, t - last, following, 0 < t == last)

    def next_event(self, t: float) -> float:
        return self.restart_info(t).next

    @property
    def bounds(self) -> tuple[float, float]:
        return self._curve.bounds

    def _around(self, t: float) -> tuple[int, int]:
        """The last restart up to ``t``, or the beginning, and the next restart."""
        if t > _LATEST:
            raise AnnealError("WarmRestart", f"t must be at most {_LATEST:g}, got {t:g}")
        if self.multiplier == 1:
            # Not from a memo, which would fill the memory where a run has so many steps.
            k = math.floor(t / self.interval + 1)
            following = math.floor(k * self.interval + 0.5)
            # Rounded half up: the next one may lie before t, and the one before it behind.
            if following <= t:
                return following, math.floor((k + 1) * self.interval + 0.5)
            last = math.floor((k - 1) * self.interval + 0.5)
            return (last, following) if last <= t else (math.floor((k - 2) * self.interval + 0.5), last)
        if t >= self._restarts[-1] and not self._extend_past(t):
            return math.floor(t), math.floor(t) + 1
        index = bisect_right(self._restarts, t)
        return self._restarts[index - 1], self._restarts[index]

    def _extend_past(self, t: float) -> bool:
        """Work out the restarts until behind ``t``, or to where each stretch is 1, which is told as false."""
        while self._restarts[-1] <= t:
            stretch = self.interval * self.multiplier ** (len(self._restarts) - 1)
            if self.multiplier < 1 and self._sum[0] + stretch / (1 - self.multiplier) < self._restarts[-1]:
                return False
            self._sum[0] += stretch
            # A multiplier below 1 shrinks the stretches towards nothing; the floor of 1 keeps the restarts moving.
            self._restarts.append(max(math.floor(self._sum[0] + 0.5), self._restarts[-1] + 1))
        return True
