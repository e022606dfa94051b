"""Lengths among the arguments of an LR scheduler: units are worked out, and what was left out is the run's."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightning_anneal.checks import positive
from lightning_anneal.clock import Horizon, Interval, Length, Lengths
from lightning_anneal.errors import AnnealError, quote

RUN_LENGTHS = ("T_max", "max_epochs", "total_steps", "num_training_steps")
"""Arguments that are the run's length where they are left out."""

LENGTHS = (
    *RUN_LENGTHS,
    *("T_0", "total_iters", "step_size", "step_size_up", "step_size_down", "milestones"),
    *("warmup_epochs", "warmup_steps"),
)
"""Arguments that are lengths, of whatever class."""

_MAY_BE_ZERO = ("warmup_epochs", "warmup_steps")


@dataclass(frozen=True)
class Timing:
    """When an LR scheduler is stepped, in a run of some length.

    Args:
        interval: Whether it is stepped by epoch or by optimizer step.
        every: How many of them pass from one step of it to the next.
        horizon: The run.
        whole: What counts as the run's length for a part of a sequence, in epochs or steps.
    """

    interval: Interval = "epoch"
    every: int = 1
    horizon: Horizon = Horizon()
    whole: float | None = None

    def stretch(self, whole: float | None) -> Timing:
        """The timing of a part that has only so much of the run."""
        return replace(self, whole=whole)

    def lengths(self, where: str) -> Lengths:
        """What turns lengths into epochs or steps."""
        return Lengths(where, self.interval, self.horizon, whole=self.whole)

    def run(self) -> float | None:
        """The run's length in epochs or steps, if it is known."""
        return self.horizon.run(self.interval) if self.whole is None else self.whole


def with_lengths(where: str, cls: type, kwargs: Mapping[str, Any], timing: Timing) -> dict[str, Any]:
    """The arguments with every length as a number of the scheduler's own steps.

    A plain number is one already. One with a unit, and the run's length for what was left out, are divided by the
    frequency and rounded to whole steps, as torch's classes want them.

    Args:
        where: The key that the arguments stand under, for errors.
        cls: The class.
        kwargs: The arguments.
        timing: When it is stepped.

    Raises:
        AnnealError: For a value that is no length, or a length that can't be known.

    Example:
        >>> from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR
        >>> timing = Timing(horizon=Horizon(max_epochs=20))
        >>> with_lengths("scheduler_kwargs", CosineAnnealingLR, {}, timing)
        {'T_max': 20}
        >>> with_lengths("scheduler_kwargs", MultiStepLR, {"milestones": [5, "50%"]}, timing)
        {'milestones': [5, 10]}
    """
    parameters = inspect.signature(cls).parameters
    lengths = timing.lengths(where)

    def steps(key: str, value: object) -> float:
        length = Length.parse(f"{where}.{key}", value, zero=key in _MAY_BE_ZERO)
        if length.amount == 0:
            return 0
        if length.unit == "":
            return _plain_steps(f"{where}.{key}", length.amount, parameters.get(key))
        return max(math.floor(lengths(key, length) / timing.every + 0.5), 1)

    whole = {}
    for key, value in kwargs.items():
        if key not in LENGTHS or value is None:
            whole[key] = value
        elif key == "milestones":
            if not isinstance(value, list | tuple):
                raise AnnealError(f"{where}.{key}", f"must be a list, got {quote(value)}")
            if not value:
                raise AnnealError(f"{where}.{key}", "must have at least one, such as [50%, 75%]")
            whole[key] = [steps(key, each) for each in value]
        else:
            whole[key] = steps(key, value)
    return {**whole, **_left_out(where, parameters, whole, lengths, timing)}


def _plain_steps(where: str, amount: float, parameter: inspect.Parameter | None) -> float:
    if amount == int(amount):
        return int(amount)
    if parameter is not None and "float" in str(parameter.annotation):
        return amount
    raise AnnealError(where, f"must be a whole number, got {quote(amount)}")


def _left_out(
    where: str,
    parameters: Mapping[str, inspect.Parameter],
    given: Mapping[str, Any],
    lengths: Lengths,
    timing: Timing,
) -> dict[str, int]:
    """The lengths that nobody should have to compute."""
    if {"total_steps", "epochs", "steps_per_epoch"} <= set(parameters) and {"epochs", "steps_per_epoch"} & set(given):
        return _by_epochs(where, given, lengths, timing)
    # A warm-up that the run is too short for is warned of, and no reason not to run.
    least = int(given.get("warmup_epochs") or 0) + 1
    return {
        key: max(math.ceil(lengths.run(key) / timing.every), least)
        for key in RUN_LENGTHS
        if key in parameters and given.get(key) is None
    }


def _by_epochs(where: str, given: Mapping[str, Any], lengths: Lengths, timing: Timing) -> dict[str, int]:
    """What is missing where OneCycleLR is told its length in epochs."""
    for key in ("epochs", "steps_per_epoch"):
        if key in given:
            positive(f"{where}.{key}", given[key])
            if "total_steps" in given:
                raise AnnealError(f"{where}.{key}", "total_steps says it too; keep one")
    if "epochs" not in given:
        raise AnnealError(f"{where}.steps_per_epoch", "goes with epochs; leave both out for the run's length")
    if "steps_per_epoch" in given:
        return {}
    if timing.interval == "epoch":
        return {"steps_per_epoch": 1}
    return {"steps_per_epoch": math.ceil(lengths("steps_per_epoch", Length(1, "ep")) / timing.every)}
