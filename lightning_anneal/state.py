"""What a checkpoint holds: plain dicts, lists, strings and numbers, so that it loads with ``weights_only=True``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lightning_anneal.checks import Value, number
from lightning_anneal.errors import AnnealError

VERSION = 2

Found = dict[str, dict[str, Any]]
"""By rule: the ``start`` values and the ``lengths`` that were found at the first fit start."""


DAMAGE = (KeyError, TypeError, AttributeError, ValueError, OverflowError)
"""What reading a damaged state may raise."""


def damaged(error: Exception) -> AnnealError:
    """The one line for a state that can't be read."""
    return AnnealError("checkpoint", f"the annealing state is damaged ({type(error).__name__}: {error})")


@dataclass
class State:
    """Where a run stands.

    Args:
        epoch: The epoch in force.
        step: The optimizer step in force.
        found: What was found at the first fit start.
        triggers: How far each reaction has come, as plain values.
        run: The length of the run, by ``max_epochs`` and ``max_steps``, that lengths in per cent were found with.
    """

    epoch: int
    step: int
    found: Found = field(default_factory=dict)
    triggers: dict[str, Any] = field(default_factory=dict)
    run: dict[str, float | None] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As plain values, independent of what the run goes on to change."""
        state: dict[str, Any] = {
            "version": VERSION,
            "epoch": self.epoch,
            "step": self.step,
            "found": {n: {"start": list(e["start"]), "lengths": dict(e["lengths"])} for n, e in self.found.items()},
            "run": dict(self.run),
        }
        if self.triggers:
            state["triggers"] = self.triggers
        return state


def read_state(state: object, names: Sequence[str]) -> State:
    """The state in a checkpoint, for the rules of these names.

    Rules that were added or dropped since are named in one warning: the added ones take their start value now.

    Raises:
        AnnealError: If it is no such state, or that of a newer version.
    """
    if not isinstance(state, Mapping) or "version" not in state:
        raise AnnealError("checkpoint", "holds no state of an annealing callback")
    version = int(number("checkpoint.version", state["version"]))
    if version > VERSION:
        raise AnnealError("checkpoint", f"was written by a newer lightning_anneal (state {version}); update it")
    try:
        found = {
            str(name): {
                "start": [_start(f"checkpoint.{name}", value) for value in entry["start"]],
                "lengths": {str(k): number(f"checkpoint.{name}.{k}", v) for k, v in entry["lengths"].items()},
            }
            for name, entry in state["found"].items()
        }
        run = {str(k): None if v is None else number(f"checkpoint.{k}", v) for k, v in state.get("run", {}).items()}
        # Version 1 had no triggers.
        saved = State(int(state["epoch"]), int(state["step"]), found, dict(state.get("triggers", {})), run)
    except DAMAGE as error:
        raise damaged(error) from None
    added, dropped = [n for n in names if n not in found], [n for n in found if n not in names]
    if found and (added or dropped):
        told = [f"{what}: {', '.join(which)}" for what, which in (("added", added), ("dropped", dropped)) if which]
        warnings.warn(f"annealed parameters have changed since the checkpoint ({'; '.join(told)})", stacklevel=2)
    saved.found = {name: entry for name, entry in found.items() if name in names}
    return saved


def _start(where: str, value: object) -> Value:
    return value if isinstance(value, bool | str) else number(where, value)
