"""A module, its data and a trainer of pytorch_lightning, and as a script its LightningCLI.

``python -m tests.other_lightning fit --config FILE`` writes what the module saw as ``seen.json``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.cli import LightningCLI
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from tests.tiny import BATCHES, QUIET

# What EarlyStopping counts after each epoch:
#         0    0    1    2    0    1    2    3
LOSSES = [5.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0]


class OtherData(pl.LightningDataModule):
    """Eight samples, in batches of a size that can be annealed."""

    def __init__(self, batch_size: int = 1) -> None:
        super().__init__()
        self.noise = 0.5
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(BATCHES, 4)), batch_size=self.batch_size)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(1, 4)), batch_size=1)


class Other(pl.LightningModule):
    """Writes down what is in force at each training step: `seen` has epoch, batch, beta and the learning rate.

    Args:
        plateau: Whether a ReduceLROnPlateau halves the learning rate when the loss has not improved twice in a row.
        rate: In the module's hparams only.
    """

    def __init__(self, plateau: bool = False, rate: float = 0.25) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(4, 1)
        self.beta = 0.0
        self.plateau = plateau
        self.seen: list[tuple[int, int, float, float]] = []
        self.validated: list[float] = []
        self.extra: list[Any] = []
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.fill_(0.5)

    def look(self) -> Any:
        """What else a test wants to see."""

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:
        group = self.optimizers().param_groups[0]
        self.seen.append((self.current_epoch, batch_idx, self.beta, group["lr"]))
        self.extra.append(self.look())
        return {"loss": 0.05 * (1 + self.beta) * self.layer(batch[0]).pow(2).mean(), "kl_loss": torch.tensor(0.25)}

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        if not self.trainer.sanity_checking:
            self.validated.append(self.beta)
        self.log("val_loss", torch.tensor(LOSSES[min(self.current_epoch, len(LOSSES) - 1)]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.125, weight_decay=0.0)
        if not self.plateau:
            return optimizer
        config = {"scheduler": ReduceLROnPlateau(optimizer, factor=0.5, patience=1), "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def on_fit_end(self) -> None:
        folder = os.environ.get("SEEN_IN")
        if folder:
            name = f"seen{self.trainer.global_rank}.json" if self.trainer.world_size > 1 else "seen.json"
            (Path(folder) / name).write_text(json.dumps(self.by_epoch))

    @property
    def by_epoch(self) -> list[float]:
        """The beta at the first batch of each epoch."""
        return [beta for _, batch, beta, _ in self.seen if batch == 0]

    @property
    def rates(self) -> list[float]:
        """The learning rate at the first batch of each epoch."""
        return [rate for _, batch, _, rate in self.seen if batch == 0]


def other_trainer(folder: Path, *callbacks: Any, **options: Any) -> pl.Trainer:
    """A quiet trainer on the CPU; `options` go to pytorch_lightning."""
    settings = {**QUIET, "devices": 1, "default_root_dir": folder, "callbacks": list(callbacks), "max_epochs": 4}
    return pl.Trainer(**{**settings, **options})


def stopper(**options: Any) -> EarlyStopping:
    """One that watches the losses above."""
    return EarlyStopping("val_loss", **{"patience": 4, **options})


if __name__ == "__main__":
    LightningCLI(pl.LightningModule, OtherData, subclass_mode_model=True, save_config_callback=None)
