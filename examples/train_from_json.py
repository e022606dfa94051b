"""Train a VAE as a JSON file says: ``python -m examples.train_from_json configs/warm_restart_config.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer, seed_everything

from examples.digits_data import DigitsData
from examples.digits_hierarchical_vae import DigitsHierarchicalVAE
from examples.digits_vae import DigitsVAE
from lightning_anneal import BetaScheduleCallback


def train(path: str, folder: str = "runs") -> Trainer:
    """Fit the model that the file asks for, for as many epochs as it asks for."""
    training = json.loads(Path(path).read_text())["training"]
    seed_everything(1)
    model: LightningModule = DigitsHierarchicalVAE() if training["use_hierarchical_model"] else DigitsVAE()
    trainer = Trainer(
        max_epochs=training["num_epochs"],
        accelerator="cpu",
        default_root_dir=folder,
        log_every_n_steps=10,
        callbacks=[BetaScheduleCallback.from_config(path, eval_beta=1.0)],
    )
    trainer.fit(model, datamodule=DigitsData())
    return trainer


if __name__ == "__main__":
    train(sys.argv[1])
