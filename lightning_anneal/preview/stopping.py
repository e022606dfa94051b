"""EarlyStopping without Lightning, whose import takes longer than a preview should: what it counts on a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_anneal.checks import choice, count, number
from lightning_anneal.errors import AnnealError, quote


@dataclass
class Stopper:
    """Counts as Lightning's EarlyStopping does; a test compares the two.

    Args:
        monitor: The metric.
        patience: How many checks without an improvement it waits for.
        mode: Which of it is better, ``"min"`` or ``"max"``.
        min_delta: What an improvement has to exceed.
        stopping_threshold: A metric that is better ends the run at once.
        divergence_threshold: A metric that is worse ends the run at once.
        check_finite: Whether NaN and infinity do.
    """

    monitor: str
    patience: int = 3
    mode: str = "min"
    min_delta: float = 0.0
    stopping_threshold: float | None = None
    divergence_threshold: float | None = None
    check_finite: bool = True
    wait_count: int = 0
    asks: bool = False
    """Whether it has asked for a stop."""
    best: float | None = None

    @classmethod
    def of(cls, settings: Any) -> Stopper:
        """From the ``init_args`` of a config, or from an EarlyStopping.

        Raises:
            AnnealError: For a value that can't be.

        Example:
            >>> Stopper.of({"monitor": "val_loss", "patience": 8}).patience
            8
        """
        keys = ("monitor", "patience", "mode", "min_delta", "stopping_threshold", "divergence_threshold")
        if isinstance(settings, Mapping):
            given = {key: settings[key] for key in (*keys, "check_finite") if settings.get(key) is not None}
        elif hasattr(settings, "patience"):
            given = {key: getattr(settings, key) for key in (*keys, "check_finite")}
            given["min_delta"] = abs(given["min_delta"])  # EarlyStopping turns its sign for mode min
        else:
            raise AnnealError("early_stopping", f"must be an EarlyStopping or its arguments, got {quote(settings)}")
        if not isinstance(given.get("monitor"), str):
            raise AnnealError("EarlyStopping.monitor", "missing")
        stopper = cls(**given)
        stopper.patience = count("EarlyStopping.patience", stopper.patience, least=0)
        stopper.mode = choice("EarlyStopping.mode", stopper.mode, ("min", "max"))
        stopper.min_delta = abs(number("EarlyStopping.min_delta", stopper.min_delta))
        return stopper

    def check(self, value: float) -> bool:
        """Look at the metric of a validation; whether a stop is asked for by patience in this very check."""
        if self.check_finite and not math.isfinite(value):
            self.asks = True
            return False
        for threshold, passed in (
            (self.stopping_threshold, self._better),
            (self.divergence_threshold, lambda a, b: self._better(b, a)),
        ):
            if threshold is not None and passed(value, threshold):
                self.asks = True
                return False
        worse = value + self.min_delta if self.mode == "min" else value - self.min_delta
        if self.best is None or self._better(worse, self.best):
            self.best, self.wait_count = value, 0
            return False
        self.wait_count += 1
        out_of_patience = self.wait_count >= self.patience
        self.asks = self.asks or out_of_patience
        return out_of_patience

    def take_back(self) -> None:
        """Forget that a stop was asked for, and begin to count anew."""
        self.wait_count, self.asks = 0, False

    def _better(self, a: float, b: float) -> bool:
        return a < b if self.mode == "min" else a > b
