"""Values on their way out: to the loggers, to ``callback_metrics`` and to the progress bar.

Through ``trainer.loggers`` and not through ``self.log``, which costs some 200 microseconds a call in every step and
puts the value of an epoch's start at its end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from lightning_anneal.checks import Value
from lightning_anneal.lightnings import Trainer


def batch_step(trainer: Trainer) -> int:
    """The x that Lightning itself logs at: batches after which an optimizer stepped.

    ``global_step`` is another number: with two optimizers it counts both. There is no public way to this one;
    LearningRateMonitor reads it so, too.
    """
    return trainer.fit_loop.epoch_loop._batches_that_stepped


def due_step(trainer: Trainer) -> int:
    """The x of this step if ``log_every_n_steps`` wants values at it, else -1."""
    step, every = batch_step(trainer), _every(trainer)
    return step if every > 0 and (step + 1) % every == 0 and trainer.loggers else -1


def steps_until_due(trainer: Trainer) -> float:
    """How many steps lie between this one and the next that ``log_every_n_steps`` wants values at."""
    every = _every(trainer)
    return (every - 2 - batch_step(trainer)) % every + 1 if every > 0 and trainer.loggers else math.inf


def _every(trainer: Trainer) -> int:
    return trainer.log_every_n_steps  # type: ignore[union-attr,no-any-return]


def log_values(trainer: Trainer, values: Mapping[str, float], step: int) -> None:
    """Send values to every logger."""
    if values:
        for logger in trainer.loggers:
            logger.log_metrics(dict(values), step=step)


def log_folder(trainer: Trainer) -> Path | None:
    """The folder of the first logger that has one, for files beside its own. On rank 0."""
    for logger in trainer.loggers:
        folder = logger.log_dir or logger.save_dir
        if folder and "://" not in str(folder):
            # Made by the logger itself: CSVLogger warns of a folder that others have written to before.
            _ = getattr(logger, "experiment", None)
            return Path(folder)
    return None


def publish(trainer: Trainer, values: Mapping[str, float]) -> None:
    """Put values where ModelCheckpoint's file names, EarlyStopping and later callbacks look for metrics."""
    for name, value in values.items():
        trainer.callback_metrics[name] = torch.tensor(value, dtype=torch.float64)


def show(trainer: Trainer, values: Mapping[str, Value]) -> None:
    """Put values into the progress bar."""
    trainer.progress_bar_metrics.update(values)  # type: ignore[arg-type]
