"""A module whose validation loss is written down beforehand, and a training rate that a plateau scheduler lowers."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.callbacks import EarlyStopping
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from tests.tiny import Tiny

# What EarlyStopping counts after each:
#        0  0  1  2  3  0  1  2  0  1  2  3  0  1  2  3  4  0    1    2    3    4    0    1
LOSSES = [5, 4, 4, 4, 4, 3, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.4, 0.4]


class Scripted(Tiny):
    """`plateau` are the settings of a ReduceLROnPlateau, whose `patience` is 1; `seen` has the beta of each batch."""

    def __init__(
        self, losses: list[float] | None = None, plateau: dict[str, Any] | None = None, **options: Any
    ) -> None:
        super().__init__(**options)
        self.losses = LOSSES if losses is None else losses
        self.plateau = plateau
        self.validations = 0
        self.beta = 0.0
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(float(self.losses[self.validations])))

    def on_validation_epoch_end(self) -> None:
        self.validations += not self.trainer.sanity_checking

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.125, weight_decay=0.01)
        if self.plateau is None:
            return optimizer
        config = {"scheduler": ReduceLROnPlateau(optimizer, factor=0.5, patience=1), "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": {**config, **self.plateau}}


class WithCosine(Scripted):
    """A cosine lowers one optimizer's rate at every epoch, a plateau scheduler is there for the other."""

    def __init__(self) -> None:
        super().__init__(losses=[5.0 - i / 10 for i in range(24)])
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        Tiny.training_step(self, batch, batch_idx)
        for optimizer in self.optimizers():
            optimizer.step()

    def on_train_epoch_end(self) -> None:
        cosine, plateau = self.lr_schedulers()
        cosine.step()
        plateau.step(self.trainer.callback_metrics["val_loss"])

    def configure_optimizers(self) -> Any:
        first = torch.optim.SGD(self.layer.parameters(), lr=0.1)
        second = torch.optim.SGD(self.net.parameters(), lr=0.1)
        return [first, second], [CosineAnnealingLR(first, 24), ReduceLROnPlateau(second, patience=1)]


def stopper(**options: Any) -> EarlyStopping:
    return EarlyStopping("val_loss", **{"patience": 6, **options})
