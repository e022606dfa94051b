"""What the callbacks need to know of a Trainer's run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer

from lightning_anneal.engine import Engine
from lightning_anneal.lightnings import (
    LightningDataModule,
    LightningModule,
    StochasticWeightAveraging,
    Trainer,
    averages_buffers,
    swaps_buffers,
)
from lightning_anneal.targets.resolve import Roots


@dataclass(frozen=True)
class _Averaging:
    """Stands for the LR scheduler that StochasticWeightAveraging is going to put in, in the midst of a fit."""

    optimizer: Optimizer
    shown_as: str = "StochasticWeightAveraging"


def roots_of(trainer: Trainer, module: LightningModule) -> Roots:
    """The objects that paths can start from in a run."""
    return Roots(
        model=module,
        optimizers=trainer.optimizers,
        # Lightning puts an object of its own there when loaders are given to fit() directly.
        datamodule=getattr(trainer, "datamodule", None),
        trainer=trainer,
        schedulers=[*(config.scheduler for config in trainer.lr_scheduler_configs), *_to_come(trainer)],
        loaders=loader_maker(trainer),
        fits=trainer.state.fn == "fit",
    )


def _to_come(trainer: Trainer) -> Iterator[_Averaging]:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[union-attr]
    if any(isinstance(callback, StochasticWeightAveraging) for callback in callbacks):
        yield from map(_Averaging, trainer.optimizers)


def swapped_buffers(trainer: Trainer, module: LightningModule, engine: Engine) -> Iterator[str]:
    """What to warn of where annealed buffers and WeightAveraging meet."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[union-attr]
    averaging = [callback for callback in callbacks if swaps_buffers(callback)]
    buffers = {id(buffer) for buffer in module.buffers()} if averaging else set()
    for rule, target in engine.findings.places:
        if id(target.slot.get()) not in buffers:
            continue
        if any(map(averages_buffers, averaging)):
            what = "is a buffer, which WeightAveraging averages like a weight; give use_buffers=False, or keep it in"
            yield f"{target.name}: {what} a plain attribute (as_tensor: true makes it a tensor)"
        elif rule.eval_value is not None:
            what = "is not seen in a buffer, which WeightAveraging swaps while validating; keep it in"
            yield f"{target.name}.eval_value: {what} a plain attribute (as_tensor: true makes it a tensor)"


def loader_maker(trainer: Trainer) -> LightningModule | LightningDataModule | None:
    """Whose ``train_dataloader`` makes the training data; ``None`` where loaders were given to ``fit`` ready made.

    There is no public way to this: a module may have hooks for the data that ``fit`` was told not to use.
    """
    source = trainer.fit_loop._data_source.instance
    return source if isinstance(source, LightningModule | LightningDataModule) else None
