"""How long a Trainer's run is going to be."""

from __future__ import annotations

import math

from lightning_anneal.clock import Horizon
from lightning_anneal.lightnings import Trainer


def horizon_of(trainer: Trainer) -> Horizon:
    """The length of the planned run."""
    max_epochs, max_steps = trainer.max_epochs, trainer.max_steps
    return Horizon(
        max_epochs=None if max_epochs is None or max_epochs < 0 else float(max_epochs),
        max_steps=None if max_steps < 0 else float(max_steps),
        steps_per_epoch=lambda: steps_per_epoch(trainer),
    )


def steps_per_epoch(trainer: Trainer) -> float | None:
    """Optimizer steps in an epoch; ``None`` for a loader without a length.

    Loads the training data if that hasn't happened yet, as ``trainer.estimated_stepping_batches`` does. (That one
    gives ``max_steps`` or infinity where there is no ``max_epochs``, and is no help.)
    """
    trainer.fit_loop.setup_data()
    batches = trainer.num_training_batches
    if math.isinf(batches) or batches == 0:
        return None
    # Lightning also steps with the last batch of an epoch, whatever has accumulated by then.
    return math.ceil(batches / trainer.accumulate_grad_batches)
