"""The points of a space that a search tries without looking at results: all of them, or some at random."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterator

from lightning_anneal.errors import AnnealError
from lightning_anneal.search.configs import SEED
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.space import Axis, Point, Space

_PATIENCE = 100
"""How often to draw for each point, before it is taken that there are no others."""

_DIGITS = 4
"""Significant digits of a number that is drawn: more would tell nothing, and make long names."""


def count_points(space: Space, settings: Settings) -> int:
    """How many runs a search makes.

    Raises:
        AnnealError: If these are more than it may make, or a grid has a range.
    """
    ranges = any(axis.scale for axis in space.axes.values())
    wanted = space.count if settings.algo == "grid" else settings.n_runs or 0
    if settings.algo == "random" and not ranges:
        wanted = min(wanted, space.count)
    total = wanted * max(1, len(settings.seeds))
    if settings.algo == "random" and ranges and total <= settings.max_runs:
        # Whole numbers may give fewer combinations than runs were asked for.
        total = sum(1 for _ in points(space, settings))
    if total > settings.max_runs:
        raise AnnealError(
            "search.max_runs", f"these would be {total} runs, over {settings.max_runs}; raise it, or try less"
        )
    return total


def points(space: Space, settings: Settings) -> Iterator[Point]:
    """The points of a grid, or as many at random as there are to be, no combination twice; each with every seed.

    Example:
        >>> space = Space({}, {"lr": Axis("lr", (0.1, 0.2), ""), "depth": Axis("depth", (1, 2, 3), "")})
        >>> len(list(points(space, Settings(algo="random", n_runs=4))))
        4
    """
    for point in _without_seeds(space, settings):
        if not settings.seeds:
            yield point
        for seed in settings.seeds:
            yield {**point, SEED: seed}


def _without_seeds(space: Space, settings: Settings) -> Iterator[Point]:
    if settings.algo == "grid":
        yield from space.grid()
    elif any(axis.scale for axis in space.axes.values()):
        yield from _drawn(space, settings.n_runs or 0, random.Random(settings.sampler_seed))
    else:
        draw = random.Random(settings.sampler_seed)
        # A range that is longer can't be sampled; its numbers wouldn't come twice anyway.
        among = range(min(space.count, sys.maxsize))
        for number in draw.sample(among, min(settings.n_runs or 0, len(among))):
            yield _combination(space, number)


def draw_value(axis: Axis, draw: random.Random) -> object:
    """One of the axis's values, or a number of its range."""
    if not axis.scale:
        return draw.choice(axis.values)
    low, high = axis.values
    if axis.whole and axis.scale == "uniform":
        return draw.randint(low, high)
    if axis.scale == "uniform":
        drawn = draw.uniform(low, high)
    else:
        # So that whole numbers have each their share of the scale, too.
        ends = (low - 0.5, high + 0.5) if axis.whole else (low, high)
        drawn = math.exp(draw.uniform(math.log(ends[0]), math.log(ends[1])))
    return within(axis, drawn)


def within(axis: Axis, value: float) -> float:
    """The value of a range that is nearest to a number, with as many digits as tell something.

    Example:
        >>> within(Axis("lr", (0.001, 0.1), "", "log_uniform"), 0.0039016000000000003)
        0.003902
    """
    low, high = axis.values
    rounded = round(value) if axis.whole else float(f"{value:.{_DIGITS}g}")
    return float(min(max(rounded, low), high)) if not axis.whole else int(min(max(rounded, low), high))


def _drawn(space: Space, wanted: int, draw: random.Random) -> Iterator[Point]:
    """Different points of ranges; fewer than wanted if there seem to be no more."""
    known: set[str] = set()
    for _ in range(_PATIENCE * wanted):
        point = {path: draw_value(axis, draw) for path, axis in space.axes.items()}
        if len(known) == wanted:
            return
        if repr(point) not in known:
            known.add(repr(point))
            yield point


def _combination(space: Space, number: int) -> Point:
    """The combination of a number, as `Space.grid` counts them."""
    point = {}
    for path, axis in reversed(space.axes.items()):
        number, i = divmod(number, len(axis.values))
        point[path] = axis.values[i]
    return dict(reversed(point.items()))
