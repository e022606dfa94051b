"""A VAE of the digits with a global latent for the image and a local one for each of its quarters."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F


def _network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 64), nn.ReLU(), nn.Linear(64, outputs))


def _sample(statistics: Tensor) -> tuple[Tensor, Tensor]:
    """A latent, and its KL divergence from the standard normal in nats per row."""
    mean, log_variance = statistics.chunk(2, dim=-1)
    latent = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
    return latent, ((mean**2 + log_variance.exp() - 1 - log_variance) / 2).sum(-1)


class DigitsHierarchicalVAE(LightningModule):
    """Two KL terms, each with a weight of its own: ``global_kl_weight`` and ``local_kl_weight``.

    Args:
        global_size: Dimensions of the global latent.
        local_size: Dimensions of each of the four local latents.
    """

    def __init__(self, global_size: int = 4, local_size: int = 2) -> None:
        super().__init__()
        self.global_kl_weight = 1.0
        self.local_kl_weight = 1.0
        self.global_encoder = _network(64, 2 * global_size)
        self.local_encoder = _network(16 + global_size, 2 * local_size)
        self.decoder = _network(global_size + local_size + 4, 16)

    def losses(self, images: Tensor) -> dict[str, Tensor]:
        """The terms of the loss in nats per image, and their weighted sum."""
        # (batch, 8, 8) into four quarters: (batch, 4, 16).
        quarters = images.view(-1, 2, 4, 2, 4).transpose(2, 3).reshape(-1, 4, 16)
        shared, global_kl = _sample(self.global_encoder(images))
        shared = shared[:, None].expand(-1, 4, -1)
        local, local_kl = _sample(self.local_encoder(torch.cat([quarters, shared], dim=-1)))
        position = torch.eye(4, device=images.device).expand(len(images), -1, -1)
        logits = self.decoder(torch.cat([shared, local, position], dim=-1))
        reconstruction = F.binary_cross_entropy_with_logits(logits, quarters, reduction="none").sum((1, 2)).mean()
        terms = {"global_kl_loss": global_kl.mean(), "local_kl_loss": local_kl.sum(-1).mean()}
        weighted = self.global_kl_weight * terms["global_kl_loss"] + self.local_kl_weight * terms["local_kl_loss"]
        return {"loss": reconstruction + weighted, "reconstruction_loss": reconstruction, **terms}

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        losses = self.losses(batch[0])
        self.log_dict({f"train_{name}": value for name, value in losses.items()}, on_step=False, on_epoch=True)
        return {**losses, "kl_loss": losses["global_kl_loss"] + losses["local_kl_loss"]}

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log_dict({f"val_{name}": value for name, value in self.losses(batch[0]).items()}, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)
