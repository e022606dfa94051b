"""How long a controller has been at a bound without getting any nearer to what it is to reach."""

from __future__ import annotations

from lightning_anneal.controllers.controller import Memory

OUT_OF_REACH = 20
"""So many updates in a row at a bound, the error at no new low, and the aim is taken to be out of reach."""


def begun() -> Memory:
    """What is remembered before the first update."""
    return {"waited": 0.0, "nearest": 0.0}


def waited(memory: Memory, error: float, *, at_bound: bool) -> Memory:
    """What is remembered after an update.

    Args:
        memory: What was remembered before.
        error: How far off the metric is.
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
    off, nearest = abs(error), memory["nearest"]
    nearer = memory["waited"] == 0 or off < nearest
    return {"waited": 1.0 if nearer else memory["waited"] + 1, "nearest": off if nearer else nearest}


def out_of_reach(memory: Memory) -> bool:
    """Whether what it is to reach has to be taken to be out of reach."""
    return memory["waited"] >= OUT_OF_REACH
