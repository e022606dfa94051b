"""What a checkpoint holds: plain dicts, lists, strings and numbers, so that it loads with ``weights_only=True``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lightning_anneal.checks import count, number
from lightning_anneal.errors import AnnealError

VERSION = 2

Found = dict[str, dict[str, Any]]
"""By rule: the ``start`` values and the ``lengths`` that were found at the first fit start."""


DAMAGE = (KeyError, TypeError, AttributeError, ValueError, OverflowError)
"""What reading a damaged state may raise."""


def damaged(error: Exception) -> AnnealError:
    """The one line for a state that can't be read."""
    return AnnealError("checkpoint", f"the annealing state is damaged ({type(error).__name__}: {error})")


@dataclass(frozen=True)
class Place:
    """What start values and lengths were found for. In another place they mean nothing.

    Args:
        path: Where the value goes.
        interval: What lengths are counted in.
        kind: The kind of its values: ``bool``, ``str``, or ``float`` for numbers.
    """

    path: str
    interval: str
    kind: type

    def plain(self) -> dict[str, str]:
        """As plain values; start values show their kind themselves."""
        return {"path": self.path, "interval": self.interval}

    def holds(self, entry: Mapping[str, Any]) -> bool:
        """Whether the start values of an entry were found here."""
        kinds = {type(value) if isinstance(value, bool | str) else float for value in entry["start"]}
        return entry.get("path", self.path) == self.path and kinds <= {self.kind}


@dataclass
class State:
    """Where a run stands.

    Args:
        epoch: The epoch in force.
        step: The optimizer step in force.
        found: What was found at the first fit start.
        places: What it was found for.
        triggers: How far each reaction has come, as plain values.
        steered: How far each controller has come, as plain values.
        run: The length of the run, by ``max_epochs`` and ``max_steps``, that lengths in per cent were found with.
        followed: By target that follows another one: what it went by at its last turn, as plain values.
        phases: Where the phases began, as plain values.
    """

    epoch: int
    step: int
    found: Found = field(default_factory=dict)
    places: Mapping[str, Place] = field(default_factory=dict)
    triggers: dict[str, Any] = field(default_factory=dict)
    steered: dict[str, Any] = field(default_factory=dict)
    run: dict[str, float | None] = field(default_factory=dict)
    followed: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain values, independent of what the run goes on to change."""
        state: dict[str, Any] = {
            "version": VERSION,
            "epoch": self.epoch,
            "step": self.step,
            "found": {
                name: {"start": list(entry["start"]), "lengths": dict(entry["lengths"]), **self.places[name].plain()}
                for name, entry in self.found.items()
            },
            "run": dict(self.run),
        }
        if self.triggers:
            state["triggers"] = self.triggers
        if self.steered:
            state["steered"] = self.steered
        if self.followed:
            state["followed"] = self.followed
        if self.phases:
            state["phases"] = self.phases
        return state


def read_state(state: object, places: Mapping[str, Place]) -> State:
    """The state in a checkpoint, for the rules of these names.

    Rules that were added or dropped since, or have another place, are named in one warning: the added ones and those in
    another place take their start value now. Lengths in another interval are found anew.

    Raises:
        AnnealError: If it is no such state, or that of a newer version.
    """
    if not isinstance(state, Mapping) or "version" not in state:
        raise AnnealError("checkpoint", "holds no state of an annealing callback")
    version = count("checkpoint.version", state["version"])
    if version > VERSION:
        raise AnnealError("checkpoint", f"was written by a newer lightning_anneal (state {version}); update it")
    try:
        found = {str(name): _entry(f"checkpoint.{name}", entry) for name, entry in state["found"].items()}
        run = {str(k): None if v is None else number(f"checkpoint.{k}", v) for k, v in state.get("run", {}).items()}
        epoch, step = (count(f"checkpoint.{key}", state[key], least=0) for key in ("epoch", "step"))
        # Version 1 had no triggers.
        parts = ("triggers", "steered", "followed", "phases")
        triggers, steered, followed, phases = (dict(state.get(key, {})) for key in parts)
        saved = State(epoch, step, found, places, triggers, steered, run, followed, phases)
    except DAMAGE as error:
        raise damaged(error) from None
    added, dropped = [n for n in places if n not in found], [n for n in found if n not in places]
    moved = [name for name, place in places.items() if name in found and not place.holds(found[name])]
    if found and (added or dropped or moved):
        changes = (("added", added), ("dropped", dropped), ("another place or kind", moved))
        told = [f"{what}: {', '.join(which)}" for what, which in changes if which]
        warnings.warn(f"annealed parameters have changed since the checkpoint ({'; '.join(told)})", stacklevel=2)
    saved.found = {
        name: {"start": found[name]["start"], "lengths": _lengths(found[name], place)}
        for name, place in places.items()
        if name in found and name not in moved
    }
    return saved


def _entry(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """What was found for one rule."""
    start = [value if isinstance(value, bool | str) else number(where, value) for value in given["start"]]
    if not start:
        raise AnnealError(f"{where}.start", "is empty")
    lengths = {str(key): number(f"{where}.{key}", value) for key, value in given["lengths"].items()}
    return {**given, "start": start, "lengths": lengths}


def _lengths(entry: Mapping[str, Any], place: Place) -> dict[str, float]:
    """The lengths of an entry, if they are counted in what the rule counts in."""
    lengths: dict[str, float] = entry["lengths"]
    return lengths if entry.get("interval", place.interval) == place.interval else {}
