"""How long a controller has been at a bound without getting any nearer to what it is to reach."""

from __future__ import annotations

from lightning_anneal.clock import Interval
from lightning_anneal.controllers.controller import Memory

OUT_OF_REACH = 20
"""So many looks in a row at a bound, the error at no new low, and the aim is taken to be out of reach."""

_STEPS = 50


def updates_of_a_look(interval: Interval) -> int:
    """How many updates make one look: by step many, because the noise of batches would hide a slow approach."""
    return 1 if interval == "epoch" else _STEPS


def begun() -> Memory:
    """What is remembered before the first update."""
    return {"waited": 0.0, "nearest": 0.0, "off": 0.0, "counted": 0.0}


def waited(memory: Memory, error: float, updates: int = 1, *, at_bound: bool) -> Memory:
    """What is remembered after an update.

    Args:
        memory: What was remembered before.
        error: How far off the metric is.
        updates: How many updates make one look, at the mean of their errors.
        at_bound: Whether the value is at a bound, and the error would drive it beyond.

    Example:
        >>> memory = waited(begun(), -3.0, at_bound=True)
        >>> for error in (-3.5, -3.2, -2.0, -2.5):
        ...     memory = waited(memory, error, at_bound=True)
        ...     print(memory["waited"])
        2.0
        3.0
        1.0
        2.0
    """
    if not at_bound:
        return begun()
    off, counted = memory["off"] + abs(error), memory["counted"] + 1
    if counted < updates:
        return {"waited": memory["waited"], "nearest": memory["nearest"], "off": off, "counted": counted}
    mean = off / counted
    nearer = memory["waited"] == 0 or mean < memory["nearest"]
    times = 1.0 if nearer else memory["waited"] + 1
    return {**begun(), "waited": times, "nearest": mean if nearer else memory["nearest"]}


def told(memory: Memory, aim: str, monitor: str, low: float) -> str:
    """What to say where an aim has to be taken to be out of reach; else an empty text.

    Args:
        memory: What is remembered, with the metric and the value.
        aim: What the metric is to be, in words.
        monitor: The metric.
        low: The least value.
    """
    if memory["waited"] < OUT_OF_REACH:
        return ""
    key = "min_value" if memory["value"] == low else "max_value"
    value = f"with the value at its {key} {memory['value']:g}"
    return f"{aim} is out of reach: {monitor} is {memory['metric']:g} {value}"
