"""A module that writes down the running phase and what phases move, and settings to move it by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback

from lightning_anneal import HyperparamAnnealingCallback
from lightning_anneal.changes import Change
from tests.followed import BATCHES, EPOCHS, Followed
from tests.tiny import trainer_for


class Moving(Followed):
    """With a boolean and a string, on which the weights depend, too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.flag = False
        self.mode = "a"

    def weights_in_force(self) -> dict[str, float]:
        own = {"flag": float(self.flag), "mode": float(len(self.mode)), "top_k": float(self.top_k)}
        return {**super().weights_in_force(), **own}

    def in_force(self) -> dict[str, Any]:
        seen = super().in_force()
        for callback in self.trainer.callbacks:
            if isinstance(callback, HyperparamAnnealingCallback) and callback.phase is not None:
                seen["phase"] = callback.phase
        return {**seen, "mode": self.mode, "accumulate": self.trainer.accumulate_grad_batches}

    def column(self, name: str) -> list[Any]:
        """What was in force at each training step."""
        return [seen[name] for _, _, seen in self.trace]

    def turns(self, name: str = "phase") -> list[tuple[int, int, Any]]:
        """The epochs and batches in which something became another one, and what it became."""
        found: list[tuple[int, int, Any]] = []
        for epoch, batch, seen in self.trace:
            if not found or found[-1][2] != seen[name]:
                found.append((epoch, batch, seen[name]))
        return found[1:]


def fit(
    folder: Path,
    phases: Any,
    params: Any = None,
    *more: Callback,
    module: Moving | None = None,
    ckpt_path: Any = None,
    **options: Any,
) -> tuple[Moving, HyperparamAnnealingCallback]:
    """Fit a module under phases."""
    module = Moving() if module is None else module
    callback = HyperparamAnnealingCallback(params, phases=phases)
    trainer_for(folder, callback, *more, **{"max_epochs": EPOCHS, **options}).fit(module, ckpt_path=ckpt_path)
    return module, callback


def told(callback: HyperparamAnnealingCallback, name: str = "phase") -> list[tuple[int, int, Any, Any, str]]:
    """The rows of the audit about the phases, or about a parameter."""
    return [_row(change) for change in callback.changes if change.name == name]


def _row(change: Change) -> tuple[int, int, Any, Any, str]:
    return change.epoch, change.step, change.old, change.new, change.why


def phase(name: str, until: Any = None, **settings: Any) -> dict[str, Any]:
    """One phase."""
    return {"name": name, **({} if until is None else {"until": until}), **settings}


def linear(end: float, **settings: Any) -> dict[str, Any]:
    return {"strategy": "linear", "end_value": end, **settings}


def by_step(end: float, **settings: Any) -> dict[str, Any]:
    return linear(end, interval="step", **settings)


def each(values: list[Any], times: int = BATCHES) -> list[Any]:
    """Each value so many times: what holds for an epoch, at each of its batches."""
    return [value for value in values for _ in range(times)]
