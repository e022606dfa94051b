"""Modules for OptimizerWatchCallback to watch: a scheduler written by hand, and two optimizers in manual optimization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.optim import SGD

from lightning_anneal import (
    configure_optimizers,
)
from tests.optim.fitted import Configured, Scripted

Fit = Callable[..., Any]
Logged = dict[str, list[tuple[int, float]]]

STEP = {"interval": "step"}
HALVING = {"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 1, "gamma": 0.5}}


class ByHand(Configured):
    """The optimizer and the scheduler as one writes them without a config."""

    def __init__(self, make: Callable[[Any], Any], batches: int = 8, **config: Any) -> None:
        super().__init__(batches)
        self.make = make
        self.config = config

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=1.0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make(optimizer), **self.config}}


class Manual(Scripted):
    """Two optimizers: the first steps at every batch, the second at every other, from the first one on."""

    def __init__(self, *parts: dict[str, Any], losses: tuple[float, ...] = (1.0,) * 8, batches: int = 8) -> None:
        super().__init__(losses, batches=batches)
        self.automatic_optimization = False
        self.parts = parts

    def configure_optimizers(self) -> Any:
        modules = (self.layer, self.net)
        return [configure_optimizers(self, part=part, **optim) for part, optim in zip(modules, self.parts, strict=True)]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.note(batch_idx)
        self.log("train_loss", self.losses[self.current_epoch], on_step=False, on_epoch=True)
        for i, (optimizer, part) in enumerate(zip(self.optimizers(), (self.layer, self.net), strict=True)):
            if batch_idx % (i + 1) == 0:
                optimizer.zero_grad()
                self.manual_backward(part(batch[0]).tanh().mean())
                optimizer.step()


FIRST: dict[str, Any] = {"optimizer": "SGD", "learning_rate": 1.0}
SECOND: dict[str, Any] = {"optimizer": "AdamW", "learning_rate": 0.5}


def halved(rate: float, times: list[int]) -> list[float]:
    return [rate * 0.5**n for n in times]
