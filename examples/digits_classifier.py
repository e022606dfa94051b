"""A classifier of the digits that overfits unless somebody raises ``reg_param``, and what prints the audit."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_anneal import HyperparamAnnealingCallback


class DigitsClassifier(LightningModule):
    """Two layers, with a penalty on confident outputs (Pereyra et al., 2017) weighted by ``reg_param``.

    Args:
        hidden_size: Width of the hidden layer.
        learning_rate: Of AdamW, which a ReduceLROnPlateau halves.
        weight_decay: Of AdamW.
    """

    def __init__(self, hidden_size: int = 256, learning_rate: float = 3e-3, weight_decay: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.reg_param = 0.0
        self.net = nn.Sequential(nn.Linear(64, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 10))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch[0])
        loss, log_p = F.cross_entropy(logits, batch[1]), logits.log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum(-1).mean()
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss - self.reg_param * entropy

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        logits = self.net(batch[0])
        # Without the penalty, so that the losses of two epochs can be compared.
        self.log("val_loss", F.cross_entropy(logits, batch[1]), prog_bar=True)
        self.log("val_accuracy", (logits.argmax(-1) == batch[1]).float().mean(), prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            self.parameters(), lr=self.hparams["learning_rate"], weight_decay=self.hparams["weight_decay"]
        )
        plateau = ReduceLROnPlateau(optimizer, factor=0.5, patience=3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}


class PrintAudit(Callback):
    """Prints every change of the run's annealed parameters when training ends."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        print(f"\n{'epoch':>5} {'step':>6}  {'name':<40} {'old':>8} {'new':>8}  why")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, HyperparamAnnealingCallback):
                for change in callback.changes:
                    values = f"{change.old:>8} {change.new:>8}"
                    print(f"{change.epoch:>5} {change.step:>6}  {change.name:<40} {values}  {change.why}")
        print(f"\nThe same in {trainer.log_dir}/annealing_changes.csv")
