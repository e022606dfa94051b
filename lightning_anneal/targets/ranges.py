"""What torch and Lightning check once, at construction, and never again: the range of a hyperparameter."""

from __future__ import annotations

import math

from lightning_anneal.errors import AnnealError

# The least value that is in range, and the first that is not.
_RANGES = {
    "lr": (0.0, math.inf),
    "weight_decay": (0.0, math.inf),
    "eps": (0.0, math.inf),
    "momentum": (0.0, math.inf),
    "alpha": (0.0, math.inf),
    "lr_decay": (0.0, math.inf),
    "betas": (0.0, 1.0),
    "accumulate_grad_batches": (1.0, math.inf),
    "batch_size": (1.0, math.inf),
    "gradient_clip_val": (0.0, math.inf),
    "log_every_n_steps": (0.0, math.inf),
}


def least(key: str | None) -> float:
    """The least value that an optimizer group's or the trainer's key takes."""
    return _RANGES.get(key or "", (-math.inf, math.inf))[0]


def check_range(where: str, key: str | None, low: float, high: float) -> None:
    """Refuse values that torch or Lightning would have refused at construction.

    Args:
        where: The parameter's name, for the error.
        key: The optimizer group's or the trainer's key; ``None`` or any other key takes every number.
        low: The lowest value to come; minus infinity where that isn't known.
        high: The highest value to come; infinity where that isn't known.

    Raises:
        AnnealError: If one of them is out of range.

    Example:
        >>> check_range("wd", "weight_decay", -5.0, 1.0)
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: wd: weight_decay must be at least 0, and would go to -5
    """
    bottom, end = least(key), _RANGES.get(key or "", (-math.inf, math.inf))[1]
    if -math.inf < low < bottom:
        raise AnnealError(where, f"{key} must be at least {bottom:g}, and would go to {low:g}")
    if end <= high < math.inf:
        raise AnnealError(where, f"{key} must stay below {end:g}, and would go to {high:g}")
