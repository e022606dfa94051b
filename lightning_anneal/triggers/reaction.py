"""A reaction: a trigger and the response to it, and how far it has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from lightning_anneal.checks import count
from lightning_anneal.triggers.events import Trigger, fired
from lightning_anneal.triggers.responses import Response
from lightning_anneal.triggers.signals import Reading, Snapshot

_SHARES = {"early_stopper_half_patience": 2, "early_stopper_third_patience": 3}


@dataclass(frozen=True)
class Progress:
    """How far a reaction has come: all that a checkpoint needs of it.

    Args:
        firings: How often it has fired.
        rest: Polls of the cooldown that are still to pass.
        peak: The count of a stopper whose stop was taken back since the last poll.
        applied: How many of the firings are in force, where that waits for an epoch to begin: of a batch size.
        seen: The last snapshot; ``None`` before the first poll.
        missed: How often a patient reaction had nothing it could go by.
    """

    firings: int = 0
    rest: int = 0
    peak: int | None = None
    applied: int = 0
    seen: Snapshot | None = None
    missed: int = 0

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        seen = None if self.seen is None else self.seen.plain()
        counts = {"firings": self.firings, "applied": self.applied, "rest": self.rest}
        missed = {"missed": self.missed} if self.missed else {}
        return {**counts, "peak": self.peak, "seen": seen, **missed}

    @classmethod
    def of(cls, where: str, plain: Mapping[str, Any]) -> Progress:
        """From the plain values of a checkpoint."""
        seen = None if plain["seen"] is None else Snapshot.of(where, plain["seen"])
        peak = None if plain["peak"] is None else count(where, plain["peak"], least=0)
        counts = {key: count(where, plain[key], least=0) for key in ("firings", "applied", "rest")}
        missed = count(where, plain.get("missed", 0), least=0)
        return cls(**counts, peak=peak, seen=seen, missed=missed)


@dataclass(frozen=True)
class Reaction:
    """A source of values that moves when something has happened.

    Args:
        source: The trigger's name in a config, such as ``"early_stopper_counter"``.
        trigger: What it fires at.
        response: What follows.
        cooldown: How many polls after a firing can't fire.
        monitor: The metric, or that of the EarlyStopping or plateau scheduler which is meant.
        extend_training: Whether a stop is taken back while there are values left.
        patient: Whether it waits for a metric that is not there, or not finite, with one warning.
    """

    source: str
    trigger: Trigger
    response: Response
    cooldown: int = 0
    monitor: str | None = None
    extend_training: bool = False
    patient: bool = False

    @property
    def watches(self) -> str:
        """What it looks at: ``"stopper"``, ``"lr"``, ``"metric"``, or the ``"phases"`` of a plan."""
        return {"early": "stopper", "lr": "lr", "phases": "phases"}.get(self.source.split("_")[0], "metric")

    @property
    def needs_start(self) -> bool:
        """Whether the value found in the target is part of its values."""
        return self.response.needs_start

    def read_stopper(self, count: int, patience: int, *, asked: bool, peak: int | None = None) -> Reading:
        """What a poll sees of an EarlyStopping.

        Args:
            count: Its count of checks without an improvement.
            patience: How many of them it waits for.
            asked: Whether it asks for a stop.
            peak: The count at a stop that was taken back since the last poll.

        Example:
            >>> from lightning_anneal.triggers.events import Rise
            >>> from lightning_anneal.triggers.responses import NextOf
            >>> reaction = Reaction("early_stopper_half_patience", Rise(), NextOf((1.0, 2.0)))
            >>> [reaction.read_stopper(count, 8, asked=False).value for count in (3, 4)]
            [0.0, 1.0]
        """
        if peak is not None:
            now = self.read_stopper(count, patience, asked=asked)
            return replace(now, earlier=self.read_stopper(peak, patience, asked=True))
        if self.source == "early_stopper_counter":
            return Reading(float(count))
        if self.source == "early_stopper_triggered":
            return Reading(float(asked))
        reached = count > 0 and count * _SHARES[self.source] >= patience
        return Reading(float(reached), note=f"({count} of {patience})")

    def after(self, progress: Progress, reading: Reading) -> Progress:
        """Where it stands after a poll. Pure, so that every rank comes to the same.

        Example:
            >>> from lightning_anneal.triggers.events import Rise
            >>> from lightning_anneal.triggers.responses import NextOf
            >>> reaction = Reaction("early_stopper_counter", Rise(), NextOf((1.0, 2.0)), cooldown=1)
            >>> progress, firings = Progress(), []
            >>> for count in (1, 2, 3):
            ...     progress = reaction.after(progress, Reading(count))
            ...     firings.append(progress.firings)
            >>> firings
            [1, 1, 2]
        """
        looks = self._looks(progress, reading)
        hit = any(fired(before, now) for before, now, _ in looks) and progress.rest == 0
        rest = self.cooldown if hit else max(progress.rest - 1, 0)
        return replace(progress, firings=progress.firings + hit, rest=rest, peak=None, seen=looks[-1][1])

    def why(self, progress: Progress, reading: Reading) -> str:
        """Why it fires at a reading, for the audit: ``"early_stopper_counter 2 -> 3"``."""
        looks = self._looks(progress, reading)
        before, now, seen = next((look for look in looks if fired(*look[:2])), looks[-1])
        return f"{self.source} {self.trigger.tell(before, now, seen)}".strip()

    def _looks(self, progress: Progress, reading: Reading) -> list[tuple[Snapshot, Snapshot, Reading]]:
        """The snapshots before and after each thing that one poll sees, in the order it came."""
        before, looks = progress.seen or Snapshot(), []
        for seen in (reading.earlier, reading):
            if seen is not None:
                now = self.trigger.look(before, seen)
                looks.append((before, now, seen))
                before = now
        return looks
