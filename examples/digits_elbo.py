"""The VAE of the digits with what a comparison of schedules needs: its ELBO, and how many latents it uses."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from examples.active_units import ActiveUnits
from examples.digits_vae import DigitsVAE


class SampledDigitsVAE(DigitsVAE):
    """Draws the latent while validating, too, where `DigitsVAE` rebuilds the digits from its mean.

    From the mean they are rebuilt better than the ELBO allows; drawn once for each image, ``val_loss`` at beta 1 is an
    unbiased estimate of the negative ELBO.

    Args:
        settings: Those of `DigitsVAE`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.active_units = ActiveUnits()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pixel logits, and mean and log variance of the latents."""
        mean, log_variance = self.encoder(images).chunk(2, dim=-1)
        if not self.training:
            self.active_units.update(mean)
        latent = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        return self.decoder(latent), mean, log_variance

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self.log("val_active_units", self.active_units)
