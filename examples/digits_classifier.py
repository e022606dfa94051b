"""A classifier of the digits, its optimizer from a config, and what prints the audit of a run."""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy

from lightning_anneal import HyperparamAnnealingCallback, OptimConfig, configure_optimizers


class DigitsClassifier(LightningModule):
    """Two layers, or a GRU, with a penalty on confident outputs (Pereyra et al., 2017) weighted by ``reg_param``.

    Args:
        hidden_size: Width of the hidden layer.
        recurrent: Whether a GRU reads the image row by row.
        optim: The optimizer, Adam by default, and its LR scheduler.
    """

    def __init__(
        self,
        hidden_size: int = 256,
        recurrent: bool = False,
        optim: OptimConfig = OptimConfig(),  # noqa: B008 (LightningCLI takes its defaults from it)
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.reg_param = 0.0
        self.net: nn.Module = nn.Sequential(nn.Linear(64, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 10))
        if recurrent:
            self.net = RowReader(hidden_size)
        metrics = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(10, average="micro"),
                "top5_accuracy": MulticlassAccuracy(10, top_k=5, average="micro"),
            }
        )
        self.train_metrics = metrics.clone("train_")
        self.val_metrics = metrics.clone("val_")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        logits: Tensor = self.net(batch[0])
        loss, log_p = F.cross_entropy(logits, batch[1]), logits.log_softmax(-1)
        entropy = -(log_p.exp() * log_p).sum(-1).mean()
        self.train_metrics.update(logits, batch[1])
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log_dict(self.train_metrics, on_step=False, on_epoch=True)
        return loss - self.reg_param * entropy

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        logits = self.net(batch[0])
        self.val_metrics.update(logits, batch[1])
        # Without the penalty, so that the losses of two epochs can be compared.
        self.log("val_loss", F.cross_entropy(logits, batch[1]), prog_bar=True)
        self.log_dict(self.val_metrics, prog_bar=True)

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, **self.hparams["optim"])


class RowReader(nn.Module):
    """A GRU that reads the eight rows of an image, and a layer on its last state.

    Args:
        hidden_size: Of the GRU.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(8, hidden_size, batch_first=True)
        self.head = nn.Linear(hidden_size, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of shape ``(batch, 10)``, of images of shape ``(batch, 64)``."""
        _, last = self.rnn(images.view(-1, 8, 8))
        logits: Tensor = self.head(last[-1])
        return logits


class PrintAudit(Callback):
    """Prints every change of the run's annealed parameters when training ends."""

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = trainer.log_dir  # which all processes have to ask for
        if not trainer.is_global_zero or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        print(f"\n{'epoch':>5} {'step':>6}  {'name':<40} {'old':>8} {'new':>8}  why")
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, HyperparamAnnealingCallback):
                for change in callback.changes:
                    values = f"{_short(change.old):>8} {_short(change.new):>8}"
                    print(f"{change.epoch:>5} {change.step:>6}  {change.name:<40} {values}  {change.why}")
        print(f"\nThe same in {folder}/annealing_changes.csv")


def _short(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
