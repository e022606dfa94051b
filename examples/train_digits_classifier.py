"""Values that answer to the run: ``python -m examples.train_digits_classifier [FOLDER]``, ten seconds on two cores."""

from __future__ import annotations

import sys

from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger

from examples.digits_classifier import DigitsClassifier, PrintAudit
from examples.digits_data import DigitsData
from lightning_anneal import HyperparamAnnealingCallback, OptimConfig


def train(folder: str = "runs", max_epochs: int = 60) -> HyperparamAnnealingCallback:
    """Train until EarlyStopping has had enough, and return the callback with its changes."""
    seed_everything(1, verbose=False)
    anneal = HyperparamAnnealingCallback(
        {
            # More regularisation when the validation loss has not improved for half of EarlyStopping's patience ...
            "reg_param": {
                "strategy": "TRIGGER_BASED",
                "trigger_source": "early_stopper_half_patience",
                "values": [0.0, 0.1, 0.2, 0.4],
            },
            # ... larger batches at a third of it ...
            "datamodule.batch_size": {
                "strategy": "TRIGGER_BASED",
                "trigger_source": "early_stopper_third_patience",
                "values": [32, 64, 128],
            },
            # ... and less weight decay whenever ReduceLROnPlateau has lowered the learning rate.
            "optimizer.param_groups.0.weight_decay": {
                "strategy": "TRIGGER_BASED",
                "trigger_source": "lr_scheduler_triggered",
                "multiply": 0.5,
                "min_value": 0.01,
            },
        },
        prog_bar=["reg_param"],
    )
    trainer = Trainer(
        max_epochs=max_epochs,
        accelerator="cpu",
        logger=TensorBoardLogger(folder, name="triggers"),
        log_every_n_steps=5,
        enable_model_summary=False,
        callbacks=[anneal, EarlyStopping("val_loss", patience=8), LearningRateMonitor(), PrintAudit()],
    )
    optim = OptimConfig(
        optimizer="AdamW",
        learning_rate=3e-3,
        optimizer_kwargs={"weight_decay": 0.1},
        scheduler="ReduceLROnPlateau",
        scheduler_kwargs={"factor": 0.5, "patience": 3},
        scheduler_configs={"monitor": "val_loss"},
    )
    trainer.fit(DigitsClassifier(optim=optim), datamodule=DigitsData(batch_size=32, validation_share=0.5))
    return anneal


if __name__ == "__main__":
    train(sys.argv[1] if len(sys.argv) > 1 else "runs")
