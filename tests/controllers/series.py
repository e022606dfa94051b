"""A metric as it was recorded, and what controllers make of it in a plain loop: without Lightning, without this package.

Every number is a multiple of 1/1024, which float32 holds exactly, so that what a module logs is what stands here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

UPDATES = 500


def recorded(updates: int = UPDATES) -> list[float]:
    """It falls, rises in a step, falls in another one; with noise, and now and then with an outlier."""
    values, state = [], 12345
    for i in range(updates):
        state = (1103515245 * state + 12345) % 2**31
        noise = state / 2**30 - 1
        value = 30 * 0.98**i + 3 * noise
        value += 12 * (i >= 200) - 8 * (i >= 350)
        if state % 41 == 0:
            value *= -4 if state % 2 else 6
        values.append(round(value * 1024) / 1024)
    return values


SERIES = recorded()


def ramp(start: float, end: float, length: int) -> Callable[[int], float]:
    """The straight way from one number to another."""
    return lambda t: end if t >= length else start + (end - start) * (t / length)


def pi_control(
    series: Sequence[float],
    set_point: Callable[[int], float],
    kp: float,
    ki: float,
    low: float,
    high: float,
    start: float | None = None,
    raises: bool = False,
) -> Iterator[float]:
    """ControlVAE, equation 8, whose integral goes no farther than to a bound: the value after each update."""
    integral = 0.0 if start is None else start - (low + kp / 2)
    for t, metric in enumerate(series):
        error = metric - set_point(t) if raises else set_point(t) - metric
        part = kp / (1 + math.exp(error)) if error < 700 else 0.0
        moved = integral - ki * error
        if low + part + moved > high:
            yield high
            # It stays where it was if it is beyond already, and never goes farther.
            integral = max(integral, high - low - part) if error < 0 else moved
        elif low + part + moved < low:
            yield low
            integral = min(integral, -part) if error > 0 else moved
        else:
            yield low + part + moved
            integral = moved


def geco(
    series: Sequence[float],
    limit: Callable[[int], float],
    rate: float,
    momentum: float,
    low: float,
    high: float,
    start: float,
    at_least: bool = False,
    raises: bool = False,
) -> Iterator[float]:
    """Taming VAEs, algorithm 1: the multiplier after each update."""
    value, average = start, None
    for t, metric in enumerate(series):
        violation = limit(t) - metric if at_least else metric - limit(t)
        average = violation if average is None else momentum * average + (1 - momentum) * violation
        value = value * math.exp(-rate * average if raises else rate * average)
        value = low if value < low else high if value > high else value
        yield value


def nupi(
    series: Sequence[float],
    limit: Callable[[int], float],
    ki: float,
    kp: float,
    momentum: float,
    low: float,
    high: float,
    start: float,
    at_least: bool = False,
    raises: bool = False,
) -> Iterator[float]:
    """On PI Controllers for Updating Lagrange Multipliers, algorithm 1, in its form that goes on from the last value."""
    value, average = start, 0.0
    for t, metric in enumerate(series):
        violation = limit(t) - metric if at_least else metric - limit(t)
        before, average = average, momentum * average + (1 - momentum) * violation
        moves = ki * violation + kp * (average - before)
        value = value - moves if raises else value + moves
        value = low if value < low else high if value > high else value
        yield value


def gated(
    series: Sequence[float],
    curve: Callable[[float], float],
    threshold: float,
    above: bool = False,
    max_wait: int | None = None,
) -> Iterator[float]:
    """The value during each epoch, of which the metric is known when the next one begins."""
    clock, waited, is_open = 0, 0, False
    for t, metric in enumerate(series):
        if t > 0:
            waited = 0 if is_open else waited + 1
            if is_open:
                clock += 1
            elif waited == max_wait:
                clock, waited = clock + 1, 0
        yield curve(clock)
        opened = metric > threshold if above else metric < threshold
        waited = 0 if opened else waited
        is_open = opened


def on_plateau(
    series: Sequence[float],
    factor: float,
    patience: int,
    cooldown: int,
    threshold: float,
    start: float,
    relative: bool = True,
    maximize: bool = False,
    low: float = -math.inf,
    high: float = math.inf,
) -> Iterator[float]:
    """The value after each metric: what ReduceLROnPlateau does, with a factor to the power of how often it has."""
    best, bad, rest, times = -math.inf if maximize else math.inf, 0, 0, 0
    for metric in series:
        share = threshold if maximize else -threshold
        bound = best * (1 + share) if relative else best + share
        if metric > bound if maximize else metric < bound:
            best, bad = metric, 0
        else:
            bad += 1
        if rest > 0:
            rest, bad = rest - 1, 0
        if bad > patience:
            times, rest, bad = times + 1, cooldown, 0
        yield min(max(start * factor**times, low), high)
