"""What a checkpoint holds: plain dicts, lists, strings and numbers, so that it loads with ``weights_only=True``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_anneal.checks import number
from lightning_anneal.errors import AnnealError

VERSION = 1

Found = dict[str, dict[str, Any]]
"""By rule: the ``start`` values and the ``lengths`` that were found at the first fit start."""


def write_state(epoch: int, step: int, found: Found) -> dict[str, Any]:
    """The state as plain values, independent of what the run goes on to change."""
    return {
        "version": VERSION,
        "epoch": epoch,
        "step": step,
        "found": {
            name: {"start": list(entry["start"]), "lengths": dict(entry["lengths"])} for name, entry in found.items()
        },
    }


def read_state(state: object, names: Sequence[str]) -> tuple[int, int, Found]:
    """Epoch, step and what was found, for the rules of these names.

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
        epoch, step = int(state["epoch"]), int(state["step"])
        saved = {
            str(name): {
                "start": [number(f"checkpoint.{name}", v) for v in entry["start"]],
                "lengths": {str(k): number(f"checkpoint.{name}.{k}", v) for k, v in entry["lengths"].items()},
            }
            for name, entry in state["found"].items()
        }
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise AnnealError("checkpoint", f"the annealing state is damaged ({type(error).__name__}: {error})") from None
    added, dropped = [n for n in names if n not in saved], [n for n in saved if n not in names]
    if saved and (added or dropped):
        told = [f"{what}: {', '.join(which)}" for what, which in (("added", added), ("dropped", dropped)) if which]
        warnings.warn(f"annealed parameters have changed since the checkpoint ({'; '.join(told)})", stacklevel=2)
    return epoch, step, {name: entry for name, entry in saved.items() if name in names}
