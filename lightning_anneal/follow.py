"""A value that follows another one: ``scale * other ** power + offset``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning_anneal.checks import number
from lightning_anneal.errors import AnnealError, quote


@dataclass(frozen=True)
class Follow:
    """Where the values of a parameter come from that follows another one.

    Args:
        other: The name of another annealed parameter, or a path such as ``optimizer.param_groups.0.lr``.
        scale: What the power of the other value is taken times.
        power: The power; 1 for a value in proportion, -1 for one that falls as the other rises.
        offset: What is added.

    Example:
        >>> Follow("optimizer.param_groups.0.lr", scale=2.0).value("weight_decay", 0.25)
        0.5
    """

    other: str
    scale: float = 1.0
    power: float = 1.0
    offset: float = 0.0

    needs_start = False

    def value(self, where: str, other: float) -> float:
        """The value that follows from another one.

        Raises:
            AnnealError: If there is none: of a power of 0 or of a negative number, or one too large for a float.
        """
        try:
            value = self.scale * math.pow(other, self.power) + self.offset
        except (ValueError, OverflowError):
            value = math.inf
        if not math.isfinite(value):
            raise AnnealError(where, f"has no value where {self.other} is {other:g}: it is to the power {self.power:g}")
        return value


def read_follow(where: str, settings: Mapping[str, object]) -> Follow:
    """What the settings of ``follow`` say.

    Raises:
        AnnealError: For a value that can't be.
    """
    other = settings["other"]
    if not isinstance(other, str) or not other:
        raise AnnealError(f"{where}.other", f"must be a parameter's name or a path, got {quote(other)}")
    numbers = {
        key: number(f"{where}.{key}", default if settings.get(key) is None else settings[key])
        for key, default in (("scale", 1.0), ("power", 1.0), ("offset", 0.0))
    }
    for key in ("scale", "power"):
        if numbers[key] == 0:
            raise AnnealError(f"{where}.{key}", "must not be 0, which would follow nothing")
    return Follow(other, **numbers)


def in_order(follows: Mapping[str, Sequence[str]]) -> list[str]:
    """The followers, each behind all that it follows.

    Args:
        follows: By follower, what it follows: followers or anything else.

    Raises:
        AnnealError: If they go round in a circle.

    Example:
        >>> in_order({"c": ["b"], "b": ["a"]})
        ['b', 'c']
        >>> in_order({"c": ["b"], "b": ["c"]})
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: c.other: goes round in a circle: c -> b -> c
    """
    ordered: dict[str, None] = {}
    for first in follows:
        chain, to_come = [first], [iter(follows[first])]
        while chain:
            behind = next(to_come[-1], None)
            if behind is None:
                to_come.pop()
                ordered[chain.pop()] = None
            elif behind in chain:
                circle = " -> ".join([*chain[chain.index(behind) :], behind])
                raise AnnealError(f"{first}.other", f"goes round in a circle: {circle}")
            elif behind in follows and behind not in ordered:
                chain.append(behind)
                to_come.append(iter(follows[behind]))
    return list(ordered)
