"""A small VAE of the digits whose KL weight, ``beta``, is a plain attribute that a callback writes."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_anneal import OptimConfig, configure_optimizers


class DigitsVAE(LightningModule):
    """Kingma & Welling, "Auto-Encoding Variational Bayes", ICLR 2014, with the KL term weighted by beta.

    Args:
        latent_size: Dimensions of the latent.
        hidden_size: Width of both networks.
        learning_rate: Of the optimizer, unless ``optim`` has one.
        optim: The optimizer, Adam by default, and its LR scheduler.
    """

    def __init__(
        self,
        latent_size: int = 8,
        hidden_size: int = 128,
        learning_rate: float = 1e-3,
        optim: OptimConfig = OptimConfig(),  # noqa: B008 (LightningCLI takes its defaults from it)
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.beta = 1.0
        self.free_bits = 0.0
        self.encoder = nn.Sequential(
            nn.Dropout(0.0), nn.Linear(64, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 2 * latent_size)
        )
        self.decoder = nn.Sequential(nn.Linear(latent_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, 64))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel logits, and mean and log variance of the latents."""
        mean, log_variance = self.encoder(images).chunk(2, dim=-1)
        latent = mean + torch.randn_like(mean) * torch.exp(log_variance / 2) if self.training else mean
        return self.decoder(latent), mean, log_variance

    def losses(self, images: Tensor) -> dict[str, Tensor]:
        """The terms of the loss in nats per image, and their sum weighted by beta."""
        logits, mean, log_variance = self(images)
        reconstruction = F.binary_cross_entropy_with_logits(logits, images, reduction="none").sum(-1).mean()
        kl = (mean**2 + log_variance.exp() - 1 - log_variance) / 2
        kl_loss = kl.mean(0).clamp(min=self.free_bits).sum()
        return {
            "loss": reconstruction + self.beta * kl_loss,
            "reconstruction_loss": reconstruction,
            "kl_loss": kl_loss,
        }

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        losses = self.losses(batch[0])
        self.log_dict({f"train_{name}": value for name, value in losses.items()}, on_step=False, on_epoch=True)
        return losses

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log_dict({f"val_{name}": value for name, value in self.losses(batch[0]).items()}, prog_bar=True)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log_dict({f"test_{name}": value for name, value in self.losses(batch[0]).items()})

    def predict_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return torch.sigmoid(self(batch[0])[0])

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, **self.hparams["optim"])
