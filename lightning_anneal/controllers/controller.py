"""What every controller can do.

A controller is a pure function from what it remembers and what was measured to what it remembers next; the values that
it gives follow from its memory. The memory is plain numbers, so a checkpoint holds it, and every rank that is handed
the same measurements comes to the same values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from lightning_anneal.clock import Lengths

Memory = dict[str, float]
"""What a controller remembers: numbers by name, never changed in place."""


class Controller(Protocol):
    """Steers one value, or several, by metrics."""

    def begin(self) -> Memory:
        """What it remembers before anything was measured."""
        ...

    def after(self, memory: Memory, means: Mapping[str, float], t: float) -> Memory:
        """What it remembers after an update. Pure: the same measurements lead to the same memory.

        Args:
            memory: What it remembered before.
            means: Each metric that it watches, averaged since the last update; all of them finite.
            t: The last epoch (or step) that was measured.
        """
        ...

    def value(self, memory: Memory, output: str, t: float) -> float:
        """The value in force at ``t``.

        Args:
            memory: What it remembers.
            output: Which of its values; a controller of one value has no others.
            t: The epoch (or step).
        """
        ...

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest value that it gives."""
        ...

    def shown(self, memory: Memory, t: float = 0) -> dict[str, float]:
        """What a person wants to see beside the values at ``t``, such as the error that it works against."""
        ...

    def stuck(self, memory: Memory) -> str:
        """What to say where it has done what it can and it isn't enough; else an empty text."""
        ...


@runtime_checkable
class Steer(Protocol):
    """What a config says of a controller: it is built once the run is known.

    Rules that share a controller have sources of the same `shared` name, each with an `output` of its own.
    """

    start_key: ClassVar[str] = "start_value"
    """The key that gives it a value to begin with."""
    polled: ClassVar[bool] = False
    """Whether it looks after epochs and validations only, even if its values move by step."""

    @property
    def strategy(self) -> str:
        """What it is called in a config."""
        ...

    @property
    def shared(self) -> str:
        """What the controller is kept under where several rules share it; empty where it has one rule."""
        return ""

    @property
    def output(self) -> str:
        """Which of the controller's values this rule gets."""
        return ""

    @property
    def monitors(self) -> tuple[str, ...]:
        """The metrics that it watches."""
        ...

    @property
    def needs_start(self) -> bool:
        """Whether the value found in the target is part of it."""
        ...

    def build(self, lengths: Lengths, start: float | None) -> Controller:
        """The controller.

        Args:
            lengths: Turns lengths into numbers and keeps them.
            start: The value found in the target; needed where `needs_start` says so.

        Raises:
            AnnealError: For a value out of range, or a length that can't be known.
        """
        ...
