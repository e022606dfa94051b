"""The order in which Lightning does things, written down: every choice of when to look at the run hangs on it.

A release of Lightning that changes the order fails here, and by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tests.tiny import Tiny, trainer_for

told: list[str] = []

HOOKS = (
    *("setup", "on_fit_start", "on_sanity_check_start", "on_sanity_check_end", "on_train_start"),
    *("on_train_epoch_start", "on_train_batch_start", "on_train_batch_end", "on_validation_start"),
    *("on_validation_end", "on_train_epoch_end", "on_train_end", "teardown", "load_state_dict"),
)


def teller(hook: str) -> Any:
    def tell(self: Any, *args: Any, **kwargs: Any) -> None:
        told.append(hook.removeprefix("on_"))

    return tell


class Ordinary(Callback):
    """A callback without a part of its own; it has a state, so that one is loaded."""

    def state_dict(self) -> dict[str, Any]:
        return {"some": 1}


for hook in HOOKS:
    setattr(Ordinary, hook, teller(hook))


class Stopper(EarlyStopping):
    def _evaluate_stopping_criteria(self, current: torch.Tensor) -> Any:
        told.append("stopper checks")
        return super()._evaluate_stopping_criteria(current)


class Saver(ModelCheckpoint):
    def _save_checkpoint(self, trainer: Any, filepath: str) -> None:
        told.append("checkpoint saved")
        super()._save_checkpoint(trainer, filepath)


class Plateau(ReduceLROnPlateau):
    def step(self, metrics: Any, epoch: Any = None) -> None:
        told.append("plateau steps")
        super().step(metrics, epoch)


class Module(Tiny):
    def __init__(self, **plateau: Any) -> None:
        super().__init__(batches=2)
        self.plateau_options = plateau

    def configure_optimizers(self) -> Any:
        told.append("configure_optimizers")
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        config = {"scheduler": Plateau(optimizer), "monitor": "val_loss", **self.plateau_options}
        return {"optimizer": optimizer, "lr_scheduler": config}


BEGINNING = [
    *("setup", "configure_optimizers", "fit_start"),
    *("sanity_check_start", "validation_start", "validation_end", "sanity_check_end", "train_start"),
]
BATCH = ["train_batch_start", "train_batch_end"]
VALIDATION = ["validation_start", "validation_end"]
END = ["train_end", "teardown"]

ORDERS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any], list[str]]] = {
    "default settings": (
        {"max_epochs": 2},
        {},
        {"save_on_train_epoch_end": True},
        [
            *BEGINNING,
            *(2 * ["train_epoch_start", *BATCH, *BATCH, *VALIDATION, "train_epoch_end", "stopper checks",
                   "checkpoint saved", "plateau steps"]),
            *END,
        ],
    ),
    "validation inside the epoch": (
        {"max_epochs": 1, "val_check_interval": 0.5},
        {},
        {},
        [
            *BEGINNING,
            "train_epoch_start",
            *(2 * [*BATCH, "validation_start", "stopper checks", "validation_end", "checkpoint saved"]),
            "train_epoch_end",
            "plateau steps",
            *END,
        ],
    ),
    "validation every second epoch": (
        {"max_epochs": 2, "check_val_every_n_epoch": 2},
        {"frequency": 2},
        {"save_on_train_epoch_end": True},
        [
            *BEGINNING,
            *["train_epoch_start", *BATCH, *BATCH, "train_epoch_end", "checkpoint saved"],
            *["train_epoch_start", *BATCH, *BATCH, "validation_start", "stopper checks", "validation_end"],
            *["train_epoch_end", "checkpoint saved", "plateau steps"],
            *END,
        ],
    ),
    "plateau by step": (
        {"max_epochs": 2},
        {"interval": "step", "frequency": 2},
        {"save_on_train_epoch_end": True},
        [
            *BEGINNING,
            *(2 * ["train_epoch_start", *BATCH, *BATCH, *VALIDATION, "plateau steps", "train_epoch_end",
                   "stopper checks", "checkpoint saved"]),
            *END,
        ],
    ),
    "saved by step, accumulated": (
        {"max_epochs": 1, "accumulate_grad_batches": 2, "num_sanity_val_steps": 0},
        {},
        {"every_n_train_steps": 1},
        [
            *["setup", "configure_optimizers", "fit_start", "train_start", "train_epoch_start"],
            *[*BATCH, *BATCH, "checkpoint saved", *VALIDATION, "train_epoch_end", "stopper checks", "plateau steps"],
            *END,
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("variant", ORDERS)
def test_order(tmp_path: Path, variant: str) -> None:
    options, plateau, saving, expected = ORDERS[variant]
    told.clear()
    # The stopper stands in front: where validation is inside the epoch it runs in the order of the list.
    callbacks = [Stopper("val_loss", patience=9), Ordinary(), Saver(tmp_path, **saving)]
    trainer_for(tmp_path, *callbacks, enable_checkpointing=True, **options).fit(Module(**plateau))
    assert told == expected


def test_order_of_a_resume(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_on_train_epoch_end=True)
    trainer_for(tmp_path, Ordinary(), saver, enable_checkpointing=True, max_epochs=1).fit(Module())
    told.clear()
    trainer_for(tmp_path, Ordinary(), max_epochs=2).fit(Module(), ckpt_path=tmp_path / "epoch=0.ckpt")
    assert told == [
        *("setup", "load_state_dict", "configure_optimizers", "fit_start"),
        *("sanity_check_start", "validation_start", "validation_end", "sanity_check_end", "train_start"),
        *("train_epoch_start", *BATCH, *BATCH, *VALIDATION, "train_epoch_end", "plateau steps"),
        *END,
    ]
