"""Units of time: what ``10``, ``"10ep"``, ``"500st"`` and ``"30%"`` mean in a run of known length."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

from lightning_anneal.checks import not_negative, positive
from lightning_anneal.errors import AnnealError, quote

Interval = Literal["epoch", "step"]

_LENGTH = re.compile(r"\s*(?P<amount>[0-9.]+(?:[eE][+-]?[0-9]+)?)\s*(?P<unit>ep|st|%)?\s*")


def _unknown() -> float | None:
    return None


@dataclass(frozen=True)
class Length:
    """A span of time as the user wrote it.

    Args:
        amount: How many units.
        unit: ``""`` for the interval of the rule it stands in, ``"ep"`` epochs, ``"st"`` optimizer steps,
            ``"%"`` per cent of the planned run.
    """

    amount: float
    unit: str = ""

    @classmethod
    def parse(cls, where: str, value: object, *, zero: bool = False) -> Length:
        """Read a number or a string such as ``"10ep"``.

        Args:
            where: The key, for the error.
            value: What the user wrote.
            zero: Whether 0 is allowed, as it is for a point in time.

        Raises:
            AnnealError: If it is no length, or not positive.

        Example:
            >>> Length.parse("total_steps", "30%")
            Length(amount=30.0, unit='%')
        """
        amount, unit = value, ""
        if isinstance(value, str):
            match = _LENGTH.fullmatch(value) if len(value) <= 40 else None
            if match is None:
                raise AnnealError(where, f"must be a number, '10ep', '500st' or '30%', got {quote(value)}")
            amount, unit = match["amount"], match["unit"] or ""
        return cls(not_negative(where, amount) if zero else positive(where, amount), unit)

    def __str__(self) -> str:
        # Six digits where they are all: lengths are kept under this text, so two lengths never share one.
        short = f"{self.amount:g}"
        return f"{short if float(short) == self.amount else repr(self.amount)}{self.unit}"


@dataclass(frozen=True)
class Horizon:
    """How long the planned run is. ``None`` stands for "not known".

    Args:
        max_epochs: The planned number of epochs.
        max_steps: The planned number of optimizer steps.
        steps_per_epoch: Gives the optimizer steps of an epoch. A function, because finding out may mean that
            data has to be loaded, which only a rule that needs it should cause.
    """

    max_epochs: float | None = None
    max_steps: float | None = None
    steps_per_epoch: Callable[[], float | None] = _unknown

    def run(self, interval: Interval) -> float | None:
        """The length of the run in epochs or in steps, unrounded; the sooner of the two limits counts.

        Example:
            >>> Horizon(max_epochs=10, steps_per_epoch=lambda: 8).run("step")
            80
        """
        limit, other = self.max_epochs, self.max_steps
        if interval == "step":
            limit, other = other, limit
        if other is None:
            return limit
        per_epoch = self.steps_per_epoch()
        if per_epoch is None:
            return None
        converted = other / per_epoch if interval == "epoch" else other * per_epoch
        return converted if limit is None else min(limit, converted)


@dataclass
class Lengths:
    """The lengths of one rule as plain numbers in the rule's interval.

    What depends on the run (a unit of another kind, or a length left out) is found once and then kept, so that a
    resumed run of another length goes on as it began.

    Args:
        where: The rule's name, for errors.
        interval: The unit that the numbers are in.
        horizon: Where unknown lengths are looked up.
        found: Lengths found before, by key; filled with what is found now.
        asked: Filled with every length that was asked for, by key.
        prefix: In front of the keys of a part of the rule.
        whole: What a length that was left out stands for; ``None`` for the run minus one, so that the last epoch
            (or step) trains at the end value.
        stretch: Finds what a length that was left out stands for, where that takes looking up: it gets the key, and
            raises an error where nobody knows.
    """

    where: str
    interval: Interval
    horizon: Horizon
    found: dict[str, float] = field(default_factory=dict)
    asked: dict[str, float] = field(default_factory=dict)
    prefix: str = ""
    whole: float | None = None
    stretch: Callable[[str], float] | None = None

    def within(self, key: str, whole: float | None) -> Lengths:
        """The lengths of a part of this rule: keys get a prefix, and ``whole`` replaces the run."""
        stretch = self.stretch if whole is None else None
        return replace(self, prefix=f"{self.prefix}{key}.", whole=whole, stretch=stretch)

    def __call__(self, key: str, length: Length | None) -> float:
        """The number for a key, from what was found before or from the horizon.

        Raises:
            AnnealError: If the run's length is needed and not known.

        Example:
            >>> Lengths("beta", "epoch", Horizon(max_epochs=20))("total_steps", Length(30, "%"))
            6.0
        """
        full = self.prefix + key
        # With the length as it was written: one that is changed before a resume is looked up anew.
        kept = full if length is None else f"{full}={length}"
        if length is not None and length.unit in ("", "ep" if self.interval == "epoch" else "st"):
            self.asked[full] = length.amount
        elif length is None and self.whole is not None:
            self.asked[full] = self.whole
        elif length is None and self.stretch is not None:
            self.asked[full] = self.stretch(full)
        else:
            if kept not in self.found:
                self.found[kept] = self._finite(full, self._find(full, length))
            self.asked[full] = self.found[kept]
        return self.asked[full]

    def run(self, key: str) -> float:
        """The whole run, or the stretch that stands for it in a part, for a length that was left out.

        Raises:
            AnnealError: If the run's length is not known.

        Example:
            >>> Lengths("cosine", "step", Horizon(max_steps=100)).run("num_training_steps")
            100.0
        """
        full = self.prefix + key
        if self.whole is not None:
            self.asked[full] = self.whole
        else:
            kept = f"{full}=100%"
            if kept not in self.found:
                self.found[kept] = self._finite(full, self._run(full, "leaving it out"))
            self.asked[full] = self.found[kept]
        return self.asked[full]

    def _find(self, key: str, length: Length | None) -> float:
        if length is None:
            return max(self._run(key, "leaving it out") - 1, 1.0)
        if length.unit == "%":
            return length.amount / 100 * self._run(key, f"'{length}'")
        per_epoch = self.horizon.steps_per_epoch()
        if per_epoch is None:
            raise self._unknown(key, f"'{length}'", "the number of steps in an epoch")
        return length.amount * per_epoch if length.unit == "ep" else length.amount / per_epoch

    def _run(self, key: str, given: str) -> float:
        run = self.horizon.run(self.interval)
        if run is None:
            raise self._unknown(key, given, "the length of the run")
        return run

    def _finite(self, key: str, found: float) -> float:
        if not math.isfinite(found):
            raise AnnealError(f"{self.where}.{key}", f"comes to more {self.interval}s than any run has")
        return float(found)

    def _unknown(self, key: str, given: str, what: str) -> AnnealError:
        return AnnealError(
            f"{self.where}.{key}", f"{given} needs {what}, which is not known; give a number of {self.interval}s"
        )
