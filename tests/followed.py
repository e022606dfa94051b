"""A module whose weights depend on everything that is annealed, and whose losses depend on the place in the run only.

So a resumed run can be compared with one that was never stopped, at every step and down to the last bit of a weight.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_anneal import HyperparamAnnealingCallback
from tests.tiny import Tiny

BATCHES = 4
EPOCHS = 12

# What EarlyStopping counts after each epoch:
#         0    1    2    3    4     5    6    7    8    9    10   11
#         0    0    1    2    3     0    1    2    0    1    2    3
LOSSES = [5.0, 4.0, 4.5, 4.0, 4.25, 3.0, 3.5, 6.0, 2.0, 2.5, 2.0, 7.0]

Seen = tuple[int, int, dict[str, Any]]
"""Epoch, batch, and what was in force."""


class Followed(Tiny):
    """`plateau` are the settings of a ReduceLROnPlateau, whose `patience` is 1.

    The training data are the same at every batch, and a validation's loss follows from ``global_step``, so that both
    are right after a resume.
    """

    def __init__(self, plateau: dict[str, Any] | None = None, validate_every: int = BATCHES) -> None:
        super().__init__(batches=BATCHES)
        self.plateau = plateau
        self.validate_every = validate_every
        self.trace: list[Seen] = []
        self.annealed = {"fast": 0.0, "slow": 0.0}
        with torch.no_grad():
            for i, parameter in enumerate(self.layer.parameters()):
                parameter.fill_(0.5 + i)

    def in_force(self) -> dict[str, Any]:
        """Everything that may have been annealed, and what the callbacks say of it."""
        groups = self.trainer.optimizers[0].param_groups
        seen: dict[str, Any] = {
            f"group {i}": [group[key] for key in ("lr", "weight_decay", "momentum")] for i, group in enumerate(groups)
        }
        own = {"beta": self.beta, "margin": self.loss.margin, "temperature": float(self.temperature)}
        seen |= {**own, **self.weights_in_force()}
        seen["counts"] = [stopper.wait_count for stopper in self.trainer.early_stopping_callbacks]
        for callback in self.trainer.callbacks:
            if isinstance(callback, HyperparamAnnealingCallback):
                seen[callback.state_key] = callback.values
        return seen

    def weights_in_force(self) -> dict[str, float]:
        nested: Any = self.weights["nested"]
        return {"kl": self.weights["kl"], "first": nested[0], "second": nested[1], **self.annealed}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.tell((self.current_epoch, batch_idx, self.in_force()))
        scale = 1.0 + self.beta + self.loss.margin + float(self.temperature) + sum(self.weights_in_force().values())
        return 0.05 * scale * self.layer(batch[0]).pow(2).mean()

    def tell(self, seen: Seen) -> None:
        """Keep what was seen."""
        self.trace.append(seen)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        done = self.trainer.global_step // self.validate_every - 1
        # A sanity check has done none, and nobody looks at its loss.
        loss = LOSSES[done % len(LOSSES)] / 4 ** (done // len(LOSSES))
        self.log("val_loss", torch.tensor(loss))

    def configure_optimizers(self) -> Any:
        groups = [{"params": [self.layer.weight]}, {"params": [self.layer.bias], "lr": 0.0625}]
        optimizer = torch.optim.SGD(groups, lr=0.125, momentum=0.5, weight_decay=0.02)
        if self.plateau is None:
            return optimizer
        config = {"scheduler": ReduceLROnPlateau(optimizer, factor=0.5, patience=1), "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": {**config, **self.plateau}}

    @property
    def final(self) -> list[float]:
        """The weights."""
        return [float(value) for parameter in self.layer.parameters() for value in parameter.detach().flatten()]


# Found start values, lengths that depend on the run, both intervals.
SCHEDULES: dict[str, dict[str, Any]] = {
    "optimizer.param_groups.0.weight_decay": {"strategy": "linear", "end_value": 0.5, "interval": "step"},
    "optimizer.param_groups.*.momentum": {"strategy": "cosine", "end_value": 0.25, "total_steps": "75%"},
    "temperature": {
        "strategy": "warm_restart",
        "base": {"strategy": "linear", "end_value": 1.0},
        "restart_interval": "5st",
        "interval": "step",
    },
}
