"""EarlyStopping without Lightning, whose import takes longer than a preview should: what it counts on a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lightning_anneal.checks import choice, count, flag, number
from lightning_anneal.errors import AnnealError, quote, suggestion

_USED = (
    *("monitor", "patience", "mode", "min_delta"),
    *("stopping_threshold", "divergence_threshold", "check_finite"),
)
_UNUSED = ("verbose", "strict", "check_on_train_epoch_end", "log_rank_zero_only")
"""What EarlyStopping takes besides, and what makes no difference here."""


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
    ended: bool = False
    """Whether a stop has been asked for. The run's end may have to wait for ``min_epochs``, and comes then."""
    _by_value: bool = False
    best: float | None = None

    @property
    def asks(self) -> bool:
        """Whether it asks for a stop now: its patience has run out, or it has seen NaN or a threshold."""
        return self._by_value or (self.wait_count > 0 and self.wait_count >= self.patience)

    @classmethod
    def of(cls, settings: Any) -> Stopper:
        """From the ``init_args`` of a config, or from an EarlyStopping.

        Raises:
            AnnealError: For an unknown argument, or a value that can't be.

        Example:
            >>> Stopper.of({"monitor": "val_loss", "patience": 8}).patience
            8
        """
        if isinstance(settings, Mapping):
            for key in settings:
                if key not in (*_USED, *_UNUSED):
                    known = suggestion(key, (*_USED, *_UNUSED))
                    raise AnnealError("EarlyStopping", f"unknown argument {quote(key)}{known}")
            given = {key: settings[key] for key in _USED if settings.get(key) is not None}
        elif hasattr(settings, "patience"):
            given = {key: getattr(settings, key) for key in _USED}
            # For mode min EarlyStopping has turned its sign.
            given["min_delta"] *= -1 if settings.mode == "min" else 1
        else:
            raise AnnealError("early_stopping", f"must be an EarlyStopping or its arguments, got {quote(settings)}")
        if not isinstance(given.get("monitor"), str):
            raise AnnealError("EarlyStopping.monitor", "missing")
        stopper = cls(**given)
        stopper.patience = count("EarlyStopping.patience", stopper.patience, least=0)
        stopper.mode = choice("EarlyStopping.mode", stopper.mode, ("min", "max"))
        stopper.min_delta = number("EarlyStopping.min_delta", stopper.min_delta)
        stopper.check_finite = flag("EarlyStopping.check_finite", stopper.check_finite)
        for key in ("stopping_threshold", "divergence_threshold"):
            if getattr(stopper, key) is not None:
                setattr(stopper, key, number(f"EarlyStopping.{key}", getattr(stopper, key)))
        return stopper

    def check(self, value: float) -> bool:
        """Look at the metric of a validation; whether a stop is asked for by patience in this very check."""
        if self._passed(value):
            self._by_value = self.ended = True
            return False
        worse = value + self.min_delta if self.mode == "min" else value - self.min_delta
        best = (math.inf if self.mode == "min" else -math.inf) if self.best is None else self.best
        if self._better(worse, best):
            self.best, self.wait_count = value, 0
            return False
        self.wait_count += 1
        out_of_patience = self.wait_count >= self.patience
        self.ended = self.ended or out_of_patience
        return out_of_patience

    def take_back(self) -> None:
        """Forget that a stop was asked for, and begin to count anew."""
        self.wait_count, self.ended = 0, False

    def _passed(self, value: float) -> bool:
        """Whether a value alone is reason to stop."""
        if self.check_finite and not math.isfinite(value):
            return True
        good, bad = self.stopping_threshold, self.divergence_threshold
        return (good is not None and self._better(value, good)) or (bad is not None and self._better(bad, value))

    def _better(self, a: float, b: float) -> bool:
        return a < b if self.mode == "min" else a > b
