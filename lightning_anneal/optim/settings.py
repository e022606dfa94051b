"""The settings of `configure_optimizers` as a type, for LightningCLI."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch


# Bare dicts: inside a value typed ``Any`` LightningCLI would import and call any ``class_path`` it meets.
@dataclass
class OptimConfig:
    """What `configure_optimizers` takes, for a LightningModule's ``__init__``: ``optim: OptimConfig = OptimConfig()``.

    LightningCLI then knows the keys, checks their types and lists them in its help. It unpacks like a mapping, so
    ``configure_optimizers(self, **self.hparams.optim)`` works with it, with a dict and with OmegaConf.

    Args:
        optimizer: Any optimizer of torch.optim or a registered one, in any case.
        learning_rate: By default the module's learning_rate or lr, else the optimizer's default.
        optimizer_kwargs: What else the optimizer takes, such as {momentum: 0.9}.
        scheduler: torch's class, Hugging Face's name, or a schedule of lightning_anneal; none by default.
        scheduler_kwargs: What the scheduler takes; the run's length is filled in, and lengths may be 10ep, 500st, 30%.
        scheduler_configs: interval (epoch or step), frequency, monitor, strict, name.
        lr_parameter_groups: {name: {pattern or prefix, lr or lr_factor, weight_decay, ...}}.
        recurrent_learning_rate_multiplier: Factor of the learning rate of recurrent layers.
        no_decay: What gets no weight decay, such as [bias, norm].

    Example:
        >>> dict(**OptimConfig(optimizer="SGD", learning_rate=0.1))["optimizer"]
        'SGD'
    """

    optimizer: str = "Adam"
    learning_rate: float | None = None
    optimizer_kwargs: dict | None = None  # type: ignore[type-arg]
    scheduler: str | None = None
    scheduler_kwargs: dict | None = None  # type: ignore[type-arg]
    scheduler_configs: dict | None = None  # type: ignore[type-arg]
    lr_parameter_groups: dict | None = None  # type: ignore[type-arg]
    recurrent_learning_rate_multiplier: float | None = None
    no_decay: list[str] | None = None

    def keys(self) -> Iterator[str]:
        """The names of the settings, so that ``**`` unpacks them."""
        return (field.name for field in fields(self))

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)


# It may stand in a module's hparams, and so in checkpoints, which Lightning reads with ``weights_only=True``.
torch.serialization.add_safe_globals([OptimConfig])
