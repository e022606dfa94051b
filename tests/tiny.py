"""A module that trains in a moment and writes down what it sees, and ways to fit it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCHES = 8


class Tiny(LightningModule):
    """Attributes of every kind, and `seen`: (epoch, batch, value) of what `watch` names, at each training step."""

    def __init__(self, watch: str = "beta", batches: int = BATCHES, momentum: float = 0.0) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
        self.beta = 1.0
        self.top_k = 3
        self.loss = Loss()
        self.weights = {"kl": 0.5, "nested": [0.1, 0.2]}
        self.register_buffer("temperature", torch.tensor(2.0))
        self.watch = watch
        self.batches = batches
        self.momentum = momentum
        self.seen: list[tuple[int, int, float]] = []
        self.validated: list[tuple[int, float]] = []

    def look(self) -> float:
        if self.watch in ("lr", "weight_decay"):
            return self.trainer.optimizers[0].param_groups[0][self.watch]
        return float(getattr(self, self.watch))

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:
        self.seen.append((self.current_epoch, batch_idx, self.look()))
        loss = self.layer(batch[0]).pow(2).mean()
        return {"loss": loss, "kl_loss": torch.tensor(0.25)}

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        value = self.beta if self.watch in ("lr", "weight_decay") else self.look()
        self.validated.append((self.current_epoch, float(value)))
        self.log("val_loss", self.layer(batch[0]).pow(2).mean())

    def test_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        self.validated.append((self.current_epoch, float(self.beta)))

    def predict_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.validated.append((self.current_epoch, float(self.beta)))
        return self.layer(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=self.momentum)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(self.batches, 4)), batch_size=1)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(2, 4)), batch_size=1)

    test_dataloader = val_dataloader
    predict_dataloader = val_dataloader

    @property
    def values(self) -> list[float]:
        """What was seen, without the times."""
        return [value for _, _, value in self.seen]

    @property
    def by_epoch(self) -> list[float]:
        """What was seen at the first batch of each epoch."""
        return [value for _, batch, value in self.seen if batch == 0]


class TwoOptimizers(Tiny):
    """Manual optimization: both optimizers step at every second batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append((self.current_epoch, batch_idx, self.look()))
        if batch_idx % 2:
            for optimizer in self.optimizers():
                optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.layer.parameters(), lr=0.1), torch.optim.SGD(self.net.parameters(), lr=0.1)]


class WithHparams(Tiny):
    """The same name in the module and in its hparams."""

    def __init__(self, beta: float = 4.0) -> None:
        super().__init__()
        self.save_hyperparameters()


class Loss(nn.Module):
    """A submodule with a number in it."""

    def __init__(self) -> None:
        super().__init__()
        self.margin = 0.2


class Data(LightningDataModule):
    """The same data from a datamodule, with a number to anneal."""

    def __init__(self) -> None:
        super().__init__()
        self.noise = 0.5
        self.batch_size = 1

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(BATCHES, 4)), batch_size=1)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(2, 4)), batch_size=1)


QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}
"""What a Trainer of a test is like, unless the test is about just that."""


def trainer_for(folder: Path, *callbacks: Callback, **options: Any) -> Trainer:
    """A quiet trainer on the CPU; `options` go to Lightning."""
    settings: dict[str, Any] = {
        **QUIET,
        "devices": 1,
        "default_root_dir": folder,
        "callbacks": list(callbacks),
        "max_epochs": 4,
    }
    return Trainer(**{**settings, **options})
