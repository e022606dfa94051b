"""The phases of a run: how long each one lasts, and what a parameter does in each, as a config says it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from lightning_anneal.checks import Value
from lightning_anneal.clock import Length
from lightning_anneal.recipes import Recipe
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.responses import Response


@dataclass(frozen=True)
class Phase:
    """One phase. With none of the ends it lasts until the run is over.

    Args:
        name: Its name.
        until: The point of the run at which it ends.
        duration: How long it lasts, instead.
        trigger: The event at which it ends.
        at_most: How long it lasts if that event doesn't come.
    """

    name: str
    until: Length | None = None
    duration: Length | None = None
    trigger: Reaction | None = None
    at_most: Length | None = None

    @property
    def told(self) -> str:
        """When it ends, in a few words.

        Example:
            >>> Phase("warm", until=Length(10, "ep")).told, Phase("finish").told
            ('until 10ep', 'to the end')
        """
        if self.trigger is not None:
            at_most = "" if self.at_most is None else f", at most {self.at_most}"
            monitor = "" if self.trigger.monitor is None else f" {self.trigger.monitor}"
            return f"until {self.trigger.source}{monitor}{at_most}"
        if self.duration is not None:
            return f"for {self.duration}"
        return "to the end" if self.until is None else f"until {self.until}"

    @property
    def watcher(self) -> str:
        """What the progress of its trigger is kept under, and what errors call it."""
        return f"phases.{self.name}.until"


@dataclass(frozen=True)
class Plan:
    """The phases of a run, one after the other."""

    phases: tuple[Phase, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.phases)

    @property
    def names(self) -> list[str]:
        """Their names, in order."""
        return [phase.name for phase in self.phases]

    @property
    def watchers(self) -> Mapping[str, Reaction]:
        """The triggers that end phases."""
        return {phase.watcher: phase.trigger for phase in self.phases if phase.trigger is not None}


@dataclass(frozen=True)
class Phased:
    """Where the values of a parameter come from that some phase anneals.

    Args:
        parts: What it does in each phase: the schedule, the value that it has, or ``None`` to stay as it is.
    """

    parts: tuple[Recipe | float | None, ...]

    @property
    def needs_start(self) -> bool:
        """Whether the value found in the target is part of it."""
        first = self.parts[0]
        return first is None or (not isinstance(first, float) and first.needs_start)


@dataclass(frozen=True)
class InPhases(Response):
    """The value of a parameter that phases only set. It has "fired" once for each phase that has begun after the first.

    Args:
        values: What each phase sets it to; ``None`` where it stays as it is.

    Example:
        >>> [InPhases((None, 2.0, None)).value(phase, 1.0) for phase in range(3)]
        [1.0, 2.0, 2.0]
    """

    values: tuple[Value | None, ...]

    @property
    def kind(self) -> type:
        kinds = {type(value) for value in self.values if value is not None}
        return next((kind for kind in kinds if kind in (bool, str)), float)

    @property
    def needs_start(self) -> bool:
        return self.values[0] is None

    def value(self, firings: int, start: Value) -> Value:
        given = [value for value in self.values[: firings + 1] if value is not None]
        return given[-1] if given else start

    def has_next(self, firings: int, start: Value) -> bool:
        later = range(firings + 1, len(self.values))
        return any(self.value(at, start) != self.value(firings, start) for at in later)

    def to_come(self, start: Value) -> tuple[Value, ...]:
        return tuple(self.value(at, start) for at in range(len(self.values)))


@dataclass(frozen=True)
class Began:
    """Where a phase began.

    Args:
        epoch: The epoch, from 0.
        step: The first optimizer step of it, from 0.
        within: Whether that epoch was running already.
    """

    epoch: int
    step: int
    within: bool = False
