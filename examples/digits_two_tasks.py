"""Two tasks on the digits whose losses differ by a thousand: what to weigh losses against each other with."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.regression import R2Score

from lightning_anneal import UncertaintyWeights

INK_MEAN, INK_DEVIATION = 19.54, 2.154
"""Of the sum of an image's pixels, over all 1,797 images."""
INK_SCALE = 2000.0
"""What the squared error of the standardised ink is taken times, as another unit of ink would."""


class DigitsTwoTasks(LightningModule):
    """Reads from an image which digit it is and how much ink it has, by one body and a head for each.

    ``label`` is a cross-entropy, some 2.3 nats before training. ``ink`` is a squared error, some 2,000. Their weights
    stand in ``self.loss_weights``, plain numbers that a callback writes.

    Args:
        hidden_size: Width of both layers of the body.
        learning_rate: Of Adam.
        learned_weights: Whether the weights are learned by `UncertaintyWeights` in place of ``self.loss_weights``.
        weights_learning_rate: What Adam learns those by.
    """

    def __init__(
        self,
        hidden_size: int = 64,
        learning_rate: float = 1e-3,
        learned_weights: bool = False,
        weights_learning_rate: float = 1e-3,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.loss_weights = {"label": 1.0, "ink": 1.0}
        self.body = nn.Sequential(nn.Linear(64, hidden_size), nn.ReLU(), nn.Linear(hidden_size, hidden_size), nn.ReLU())
        self.label_head, self.ink_head = nn.Linear(hidden_size, 10), nn.Linear(hidden_size, 1)
        self.balance = (
            UncertaintyWeights(["label", "ink"], kinds={"label": "classification"}) if learned_weights else None
        )
        self.accuracy = MulticlassAccuracy(10, average="micro")
        self.ink_r2 = R2Score()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of shape ``(batch, 10)``, and the standardised ink of shape ``(batch,)``."""
        states = self.body(images)
        return self.label_head(states), self.ink_head(states)[:, 0]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        logits, ink = self(batch[0])
        losses = {
            "label": F.cross_entropy(logits, batch[1]),
            "ink": INK_SCALE * F.mse_loss(ink, ink_of(batch[0])),
        }
        if self.balance is not None:
            loss, weights = self.balance(losses), self.balance.weights
        else:
            weights = {name: torch.tensor(weight) for name, weight in self.loss_weights.items()}
            loss = sum((self.loss_weights[name] * term for name, term in losses.items()), torch.tensor(0.0))
        shown = {f"train_{name}": term for name, term in losses.items()}
        shown |= {f"weight_{name}": weight for name, weight in weights.items()}
        self.log_dict(shown, on_step=False, on_epoch=True)
        # What stands here under its name is what LossBalancingCallback goes by.
        return {"loss": loss, **{name: term.detach() for name, term in losses.items()}}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        logits, ink = self(batch[0])
        self.accuracy.update(logits, batch[1])
        self.ink_r2.update(ink, ink_of(batch[0]))
        # Of a scale of its own for each, so that no weight and no unit has a part in it.
        error = F.mse_loss(ink, ink_of(batch[0]))
        self.log("val_loss", F.cross_entropy(logits, batch[1]) + error)
        self.log_dict({"val_accuracy": self.accuracy, "val_ink_r2": self.ink_r2}, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        learned = [] if self.balance is None else [*self.balance.parameters()]
        rest = [p for name, p in self.named_parameters() if not name.startswith("balance.")]
        groups = [{"params": rest}, {"params": learned, "lr": self.hparams["weights_learning_rate"]}]
        return torch.optim.Adam([group for group in groups if group["params"]], lr=self.hparams["learning_rate"])


def ink_of(images: Tensor) -> Tensor:
    """The ink of images of shape ``(batch, 64)``, standardised.

    Example:
        >>> ink_of(torch.full((1, 64), 19.54 / 64))
        tensor([0.])
    """
    return (images.sum(1) - INK_MEAN) / INK_DEVIATION
