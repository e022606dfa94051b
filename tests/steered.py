"""A module whose metrics are written down beforehand, and given in each of the ways that a module has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from tests.tiny import Tiny

# How a metric comes: in the mapping that training_step returns, or logged.
WAYS = ("returned", "on_step", "both", "on_epoch", "validated")


class Steered(Tiny):
    """`series` is the metric of each batch, or of each validation; ``None`` is none, and not a number is returned as is.

    Args:
        series: The metrics, from the beginning of the run.
        way: How they come: one of `WAYS`.
        name: What the metric is called.
        start: What `beta` is at first.
        batches: Batches of an epoch.
        log: More options of ``self.log``.
    """

    def __init__(
        self,
        series: Sequence[Any],
        way: str = "returned",
        *,
        name: str = "kl",
        start: float = 0.5,
        batches: int = 4,
        **log: Any,
    ) -> None:
        super().__init__(batches=batches)
        self.series, self.way, self.name, self.log_options = list(series), way, name, log
        self.beta = start
        self.net = torch.nn.Sequential()

    def metric(self, at: int) -> Any:
        value = self.series[at]
        return torch.tensor(value) if isinstance(value, float) else value

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
        outputs = super().training_step(batch, batch_idx)
        del outputs["kl_loss"]
        value = self.metric(self.current_epoch * self.batches + batch_idx) if self.way != "validated" else None
        if value is not None:
            if self.way == "returned":
                outputs[self.name] = value
            else:
                options = {"on_step": self.way != "on_epoch", "on_epoch": self.way != "on_step", **self.log_options}
                self.log(self.name, value, **options)
        return outputs

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        if self.way == "validated" and not self.trainer.sanity_checking:
            value = self.metric(self.trainer.global_step // self.validate_every - 1)
            if value is not None:
                self.log(self.name, value, **self.log_options)

    @property
    def validate_every(self) -> int:
        """Optimizer steps between two validations."""
        return int(self.trainer.val_check_batch) // self.trainer.accumulate_grad_batches
