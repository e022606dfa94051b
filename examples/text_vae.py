"""A small LSTM VAE of sentences, whose KL weight, ``beta``, is a plain attribute that a callback writes."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F

from examples.active_units import ActiveUnits
from examples.text_data import BOS, PAD, UNK
from lightning_anneal import OptimConfig, configure_optimizers


class TextVAE(LightningModule):
    """Bowman et al., "Generating Sentences from a Continuous Space", CoNLL 2016, with the KL term weighted by beta.

    An LSTM reads the sentence. Another one predicts each token from those before; the latent is its first state and
    stands beside every token that it reads. Such a decoder can do without the latent, and then the KL term is 0: the
    posterior has collapsed.

    The latent is drawn while validating, too, so that ``val_loss`` with ``eval_beta: 1.0`` is an estimate of the
    negative ELBO.

    Args:
        vocabulary_size: Different tokens; `DocstringData` has as many.
        latent_size: Dimensions of the latent.
        embedding_size: Of the tokens.
        hidden_size: Of both LSTMs.
        word_dropout: How likely the decoder reads ``<unk>`` in place of a word while training.
        learning_rate: Of the optimizer, unless ``optim`` has one.
        optim: The optimizer, Adam by default, and its LR scheduler.
    """

    def __init__(
        self,
        vocabulary_size: int = 1000,
        latent_size: int = 16,
        embedding_size: int = 32,
        hidden_size: int = 64,
        word_dropout: float = 0.3,
        learning_rate: float = 3e-3,
        optim: OptimConfig = OptimConfig(),  # noqa: B008 (LightningCLI takes its defaults from it)
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.beta = 1.0
        self.word_dropout = word_dropout
        self.embedding = nn.Embedding(vocabulary_size, embedding_size)
        self.encoder = nn.LSTM(embedding_size, hidden_size, batch_first=True)
        self.posterior = nn.Linear(hidden_size, 2 * latent_size)
        self.first_state = nn.Linear(latent_size, 2 * hidden_size)
        self.decoder = nn.LSTM(embedding_size + latent_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, vocabulary_size)
        self.active_units = ActiveUnits()

    def encode(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents, each of shape ``(batch, latent_size)``."""
        states, _ = self.encoder(self.embedding(tokens))
        # An LSTM reads forwards: the state at a sentence's last token knows nothing of the padding behind it.
        last = (tokens != PAD).sum(1) - 1
        mean, log_variance = self.posterior(states[torch.arange(len(tokens)), last]).chunk(2, dim=-1)
        return mean, log_variance

    def reconstruction(self, tokens: Tensor, latent: Tensor) -> Tensor:
        """Nats that the sentences take, given their latents, of shape ``(batch,)``."""
        read, written = tokens[:, :-1], tokens[:, 1:]
        if self.training and self.word_dropout:
            dropped = (torch.rand(read.shape, device=read.device) < self.word_dropout) & (read != BOS) & (read != PAD)
            read = read.masked_fill(dropped, UNK)
        hidden, cell = (part.contiguous()[None] for part in self.first_state(latent).chunk(2, dim=-1))
        everywhere = latent[:, None].expand(-1, read.shape[1], -1)
        states, _ = self.decoder(torch.cat([self.embedding(read), everywhere], dim=-1), (hidden.tanh(), cell))
        # The layer over the vocabulary is most of the work: only where there is a token to predict.
        there = written != PAD
        nats = F.cross_entropy(self.output(states[there]), written[there], reduction="none")
        return torch.zeros_like(written, dtype=nats.dtype).masked_scatter(there, nats).sum(1)

    def losses(self, tokens: Tensor) -> dict[str, Tensor]:
        """The terms of the loss in nats per sentence, and their sum weighted by beta."""
        mean, log_variance = self.encode(tokens)
        if not self.training:
            self.active_units.update(mean)
        latent = mean + torch.randn_like(mean) * torch.exp(log_variance / 2)
        reconstruction = self.reconstruction(tokens, latent).mean()
        kl_loss = ((mean**2 + log_variance.exp() - 1 - log_variance) / 2).sum(-1).mean()
        return {
            "loss": reconstruction + self.beta * kl_loss,
            "reconstruction_loss": reconstruction,
            "kl_loss": kl_loss,
        }

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> dict[str, Tensor]:
        losses = self.losses(batch[0])
        self.log_dict({f"train_{name}": value for name, value in losses.items()}, on_step=False, on_epoch=True)
        return losses

    def validation_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        self.log_dict({f"val_{name}": value for name, value in self.losses(batch[0]).items()}, prog_bar=True)
        self.log("val_active_units", self.active_units)

    def test_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        self.log_dict({f"test_{name}": value for name, value in self.losses(batch[0]).items()})
        self.log("test_active_units", self.active_units)

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, **self.hparams["optim"])
