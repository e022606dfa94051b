"""Weights of loss terms that follow from how large the terms are, or from how fast they fall.

Each method is a `Controller` whose values are named after the losses. The weights of n losses add up to n, and all are
1 before anything was measured. They are worked out when something is measured and stand in the memory, so that reading
one costs a look-up.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lightning_anneal.checks import count, number, positive, several_names
from lightning_anneal.controllers.controller import Controller, Memory
from lightning_anneal.errors import AnnealError, quote

_LARGEST = sys.float_info.max


class Balancing(Controller, Protocol):
    """What the methods share: the losses, and weights that stand in the memory."""

    losses: tuple[str, ...]

    def begin(self) -> Memory:
        return {"updates": 0.0, **_each(self.losses, "weight", [1.0] * len(self.losses))}

    def value(self, memory: Memory, output: str, t: float) -> float:
        return memory[f"{output}/weight"]

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, float(len(self.losses))

    def shown(self, memory: Memory, t: float = 0) -> dict[str, float]:
        return {}

    def stuck(self, memory: Memory) -> str:
        return ""


@dataclass(frozen=True)
class DynamicWeightAverage(Balancing):
    """More weight for the losses that fall slowly: ``n * softmax(w / temperature)`` with ``w = L(t - 1) / L(t - 2)``.

    Liu, Johns & Davison, "End-to-End Multi-Task Learning with Attention", CVPR 2019, whose temperature is the default.
    The scale of a loss cancels out. All weights are 1 until there are two updates. A loss counts as one that stands
    still, w = 1, where one of the two numbers is 0 or negative.

    Args:
        losses: Two names or more.
        temperature: Positive; the larger, the more alike the weights.

    Raises:
        AnnealError: For losses that are no list of names, or a value out of range.

    Example:
        >>> balancing = DynamicWeightAverage(("reconstruction", "kl"))
        >>> memory = balancing.after(balancing.begin(), {"reconstruction": 100.0, "kl": 4.0}, t=0)
        >>> memory = balancing.after(memory, {"reconstruction": 50.0, "kl": 4.0}, t=1)
        >>> [round(balancing.value(memory, loss, t=2), 3) for loss in balancing.losses]
        [0.876, 1.124]
    """

    losses: tuple[str, ...]
    temperature: float = 2.0

    def __post_init__(self) -> None:
        _set(self, losses=several_names("DynamicWeightAverage.losses", self.losses))
        _set(self, temperature=positive("DynamicWeightAverage.temperature", self.temperature))

    def after(self, memory: Memory, means: Mapping[str, float], t: float) -> Memory:
        last = [memory.get(f"{loss}/last", means[loss]) for loss in self.losses]
        now = [means[loss] for loss in self.losses]
        return {
            "updates": memory["updates"] + 1,
            **_each(self.losses, "last", now),
            **_each(self.losses, "weight", _relative(now, last, self.temperature)),
        }


@dataclass(frozen=True)
class RelativeBalancing(Balancing):
    """More weight for the losses that have fallen least, with a long memory (ReLoBRaLo).

    ``weight(t) = alpha * (rho * weight(t - 1) + (1 - rho) * b(t, 0)) + (1 - alpha) * b(t, t - 1)``, where
    ``b(t, s) = n * softmax(L(t) / (temperature * L(s)))`` and rho is 1 with a probability of `expected_rho` and else 0:
    now and then what was remembered gives way to a look back at the first update.

    Bischof & Kraus, "Multi-Objective Loss Balancing for Physics-Informed Deep Learning", 2021 (arXiv:2110.09813). The
    authors' training script (github.com/rbischof/relative_balancing) has the defaults of `alpha` and `temperature`, and
    an expected rho of 1; their tutorial has 0.999, 0.1 and 0.99. The default of `expected_rho` lies between the two.
    That tutorial takes b(t, t - 1) alone at the second update; here the formula holds from the first one on, and the
    weights set out from 1. All this is for an update in each step; with one in each epoch take a smaller `alpha`.

    The draw of each update follows from the seed and the number of the update alone. A ratio counts as 1 where one of
    its two numbers is 0 or negative.

    Args:
        losses: Two names or more.
        alpha: From 0 to 1; the larger, the slower the weights move, and at 1 they only do by looking back.
        temperature: Positive; the larger, the more alike the weights.
        expected_rho: From 0 to 1; how often the remembered weights are kept. 1 never looks back.
        seed: A whole number, not negative.

    Raises:
        AnnealError: For losses that are no list of names, or a value out of range.

    Example:
        >>> balancing = RelativeBalancing(("pde", "boundary"), alpha=0.5, expected_rho=1.0)
        >>> memory = balancing.after(balancing.begin(), {"pde": 100.0, "boundary": 4.0}, t=0)
        >>> memory = balancing.after(memory, {"pde": 50.0, "boundary": 4.0}, t=1)
        >>> [round(balancing.value(memory, loss, t=2), 3) for loss in balancing.losses]
        [0.878, 1.122]
    """

    losses: tuple[str, ...]
    alpha: float = 0.999
    temperature: float = 1.0
    expected_rho: float = 0.999
    seed: int = 0

    def __post_init__(self) -> None:
        _set(self, losses=several_names("RelativeBalancing.losses", self.losses))
        _set(self, alpha=_share("RelativeBalancing.alpha", self.alpha))
        _set(self, temperature=positive("RelativeBalancing.temperature", self.temperature))
        _set(self, expected_rho=_share("RelativeBalancing.expected_rho", self.expected_rho))
        _set(self, seed=count("RelativeBalancing.seed", self.seed, least=0))

    def after(self, memory: Memory, means: Mapping[str, float], t: float) -> Memory:
        updates = memory["updates"] + 1
        now = [means[loss] for loss in self.losses]
        first = [memory.get(f"{loss}/first", means[loss]) for loss in self.losses]
        last = [memory.get(f"{loss}/last", means[loss]) for loss in self.losses]
        kept = [memory[f"{loss}/weight"] for loss in self.losses]
        if self._looks_back(int(updates)):
            kept = _relative(now, first, self.temperature)
        fresh = _relative(now, last, self.temperature)
        # Two roundings may lead beyond the bound.
        weights = [
            min(self.alpha * old + (1 - self.alpha) * new, float(len(now)))
            for old, new in zip(kept, fresh, strict=True)
        ]
        return {
            "updates": updates,
            **_each(self.losses, "first", first),
            **_each(self.losses, "last", now),
            **_each(self.losses, "weight", weights),
        }

    def _looks_back(self, update: int) -> bool:
        # A text seeds by its hash under SHA-512, which is the same in every process.
        return random.Random(f"{self.seed} {update}").random() >= self.expected_rho


@dataclass(frozen=True)
class InverseMagnitude(Balancing):
    """Every weighted loss comes to the same size: weights in proportion to ``1 / m``, m the usual size of the loss.

    m is the exponential moving average of ``|L|``, with the bias correction of Kingma & Ba, "Adam: A Method for
    Stochastic Optimization", ICLR 2015: ``m(t) = (1 - r) * m(t - 1) + r * |L(t)|`` with
    ``r = (1 - decay) / (1 - decay**t)``, so the first update counts in full. A loss whose m is 0 has weight 1, and the
    others share the rest; if all are 0, all have 1. A loss that falls towards 0 takes nearly all the weight.

    Args:
        losses: Two names or more.
        decay: At least 0, less than 1; the larger, the longer the average. 0 takes the last update alone.

    Raises:
        AnnealError: For losses that are no list of names, or a value out of range.

    Example:
        >>> balancing = InverseMagnitude(("reconstruction", "kl"))
        >>> memory = balancing.after(balancing.begin(), {"reconstruction": 30.0, "kl": 10.0}, t=0)
        >>> [balancing.value(memory, loss, t=1) for loss in balancing.losses]
        [0.5, 1.5]
        >>> balancing.shown(memory)
        {'reconstruction/ema': 30.0, 'kl/ema': 10.0}
    """

    losses: tuple[str, ...]
    decay: float = 0.99

    def __post_init__(self) -> None:
        _set(self, losses=several_names("InverseMagnitude.losses", self.losses))
        _set(self, decay=_share("InverseMagnitude.decay", self.decay))
        if self.decay == 1:
            raise AnnealError("InverseMagnitude.decay", "must be less than 1, got 1: an average that never moves")

    def after(self, memory: Memory, means: Mapping[str, float], t: float) -> Memory:
        updates = memory["updates"] + 1
        rate = (1 - self.decay) / (1 - self.decay**updates)
        sizes = [(1 - rate) * memory.get(f"{loss}/ema", 0.0) + rate * abs(means[loss]) for loss in self.losses]
        return {
            "updates": updates,
            **_each(self.losses, "ema", sizes),
            **_each(self.losses, "weight", _inverse(sizes)),
        }

    def shown(self, memory: Memory, t: float = 0) -> dict[str, float]:
        return {key: value for key, value in memory.items() if key.endswith("/ema")}


def _set(balancing: Balancing, **checked: object) -> None:
    for key, value in checked.items():
        object.__setattr__(balancing, key, value)


def _share(where: str, value: object) -> float:
    result = number(where, value)
    if not 0 <= result <= 1:
        raise AnnealError(where, f"must be from 0 to 1, got {quote(value)}")
    return result


def _each(losses: Sequence[str], what: str, values: Sequence[float]) -> Memory:
    # What stands behind the last slash is none of the name, so no two names share a key.
    return {f"{loss}/{what}": value for loss, value in zip(losses, values, strict=True)}


def _relative(now: Sequence[float], before: Sequence[float], temperature: float) -> list[float]:
    """``n * softmax(now / before / temperature)``, finite for any finite numbers."""
    ratios = [a / b if a > 0 and b > 0 else 1.0 for a, b in zip(now, before, strict=True)]
    heights = [min(ratio / temperature, _LARGEST) for ratio in ratios]
    # Relative to the highest, nothing overflows.
    top = max(heights)
    powers = [math.exp(height - top) for height in heights]
    whole = math.fsum(powers)
    return [len(powers) * power / whole for power in powers]


def _inverse(sizes: Sequence[float]) -> list[float]:
    """In proportion to ``1 / size`` among those above 0, which share their number; 1 for the others."""
    above = [size for size in sizes if size > 0]
    # Relative to the smallest, nothing overflows.
    least = min(above, default=0.0)
    shares = [least / size if size > 0 else 0.0 for size in sizes]
    whole = math.fsum(shares)
    return [len(above) * share / whole if size > 0 else 1.0 for size, share in zip(sizes, shares, strict=True)]
