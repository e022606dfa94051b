"""A module whose optimizer comes from a config, and which writes down the learning rates of every training step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.optim import SGD

from lightning_anneal import configure_optimizers
from tests.tiny import Tiny


class Configured(Tiny):
    """Its optimizer is what `optim` says; `trace` holds what every training step found in the parameter groups."""

    def __init__(self, batches: int = 8, **optim: Any) -> None:
        super().__init__(batches=batches)
        self.optim = {"optimizer": "SGD", "learning_rate": 1.0, **optim}
        self.configured: Any = None
        self.trace: list[tuple[int, int, tuple[float, ...], tuple[float, ...]]] = []

    def configure_optimizers(self) -> Any:
        self.configured = configure_optimizers(self, **self.optim)
        return self.configured

    def note(self, batch_idx: int) -> None:
        groups = [group for optimizer in self.trainer.optimizers for group in optimizer.param_groups]
        rates = tuple(float(group["lr"]) for group in groups)
        moments = tuple(group["betas"][0] if "betas" in group else group.get("momentum", 0.0) for group in groups)
        self.trace.append((self.current_epoch, batch_idx, rates, moments))

    def loss_of(self, batch: list[torch.Tensor]) -> torch.Tensor:
        # Steep where the weights are far off, and never too steep for a learning rate of 1.
        return self.layer(batch[0]).tanh().mean() + 1

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
        self.note(batch_idx)
        loss = self.loss_of(batch)
        self.log("train_loss", loss)
        return loss

    @property
    def rates(self) -> list[tuple[float, ...]]:
        """The learning rates of all groups."""
        return [rates for _, _, rates, _ in self.trace]

    @property
    def moments(self) -> list[float]:
        """The momentum of the first group."""
        return [moments[0] for *_, moments in self.trace]

    @property
    def first_rates(self) -> list[float]:
        """The learning rates of the first group."""
        return [rates[0] for rates in self.rates]


class Scripted(Configured):
    """Its metrics are what `losses` says of each epoch, whatever is learned."""

    def __init__(self, losses: Iterable[float], **more: Any) -> None:
        super().__init__(**more)
        self.losses = list(losses)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
        self.note(batch_idx)
        self.log("train_loss", self.losses[self.current_epoch])
        return self.loss_of(batch)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.log("val_loss", self.losses[self.current_epoch])

    @property
    def rate_of_epochs(self) -> list[float]:
        """The one learning rate of each epoch."""
        epochs = [
            {rate for (rate,) in self.rates[i : i + self.batches]} for i in range(0, len(self.rates), self.batches)
        ]
        assert all(len(epoch) == 1 for epoch in epochs)
        return [epoch.pop() for epoch in epochs]


def by_hand(make: Callable[[Any], Any], calls: int, lr: float = 1.0, key: str = "lr", **options: Any) -> list[float]:
    """torch's own scheduler, stepped by hand: the learning rate (or `key`) after 0, 1, ... `calls` of its steps."""
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=lr, **options)
    scheduler = make(optimizer)
    values = [optimizer.param_groups[0][key]]
    for _ in range(calls):
        optimizer.step()
        scheduler.step()
        values.append(optimizer.param_groups[0][key])
    return values


def saving(folder: Path, **when: Any) -> ModelCheckpoint:
    """Keeps every checkpoint."""
    return ModelCheckpoint(folder, filename="{epoch}-{step}", save_top_k=-1, **when)
