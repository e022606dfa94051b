"""The metrics that a run has logged, each value of which is to be looked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from lightning_anneal.lightnings import Trainer


class LoggedMetrics:
    """Tells the new values in ``trainer.callback_metrics`` from those that somebody has looked at already."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Any] = {}
        self._saved: dict[str, float] = {}

    def release(self) -> None:
        """Let go of the run's objects."""
        self._held = {}

    def look(self, trainer: Trainer, who: str, metric: str) -> float | None:
        """The value of a metric that `who` has not looked at yet.

        Args:
            trainer: The trainer.
            who: Who looks: what one has looked at is new to another.
            metric: Its name.
        """
        value = trainer.callback_metrics.get(metric)
        if value is None:
            return self._saved.get(metric)
        if _same(value, self._held.get((who, metric))):
            return None
        self._held[who, metric] = value
        return float(value)

    def looked(self) -> None:
        """Everybody has looked: what came with a checkpoint is past."""
        self._saved = {}

    def unseen(self, trainer: Trainer | None, watched: Iterable[tuple[str, str]]) -> dict[str, float]:
        """The values that are still to be looked at, should the run be resumed before: Lightning saves no metrics."""
        metrics = dict(self._saved)
        for who, metric in watched if trainer is not None else ():
            value = trainer.callback_metrics.get(metric)  # type: ignore[union-attr]
            if value is not None and not _same(value, self._held.get((who, metric))):
                metrics[metric] = float(value)
        return metrics

    def load(self, saved: Mapping[Any, Any]) -> None:
        """Go on with the values that a saved run was still to look at."""
        self._saved = {str(name): float(value) for name, value in saved.items()}


def _same(value: Any, held: Any) -> bool:
    """Whether a metric is the very one that was seen at the last look.

    Lightning hands out a new tensor at each access, on the same memory until the metric is computed anew; and the
    memory of a tensor that is held is given to no other.
    """
    if isinstance(value, torch.Tensor) and isinstance(held, torch.Tensor):
        return value.data_ptr() == held.data_ptr()
    return value is held


def logged_in_step(trainer: Trainer, metric: str) -> tuple[Any, bool]:
    """What the last training batch logged with ``on_step=True``, as it stands, and whether with ``on_epoch=True``, too.

    ``None`` if it logged nothing. There is no public way to this: ``callback_metrics`` turns the metrics of the
    progress bar into Python numbers at each access, for which a GPU has to finish its work.
    """
    results: Any = trainer._results
    for _, logged in () if results is None else results.valid_items():
        if logged.meta.on_step and metric in (logged.meta.name, f"{logged.meta.name}_step"):
            return logged._forward_cache, logged.meta.on_epoch
    return None, False
