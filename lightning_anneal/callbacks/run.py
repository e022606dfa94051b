"""What the callbacks need to know of a Trainer's run."""

from __future__ import annotations

from lightning_anneal.lightnings import LightningDataModule, LightningModule, Trainer
from lightning_anneal.targets.resolve import Roots


def roots_of(trainer: Trainer, module: LightningModule) -> Roots:
    """The objects that paths can start from in a run."""
    return Roots(
        model=module,
        optimizers=trainer.optimizers,
        # Lightning puts an object of its own there when loaders are given to fit() directly.
        datamodule=getattr(trainer, "datamodule", None),
        trainer=trainer,
        schedulers=[config.scheduler for config in trainer.lr_scheduler_configs],
        loaders=loader_maker(trainer),
        fits=trainer.state.fn == "fit",
    )


def loader_maker(trainer: Trainer) -> LightningModule | LightningDataModule | None:
    """Whose ``train_dataloader`` makes the training data; ``None`` where loaders were given to ``fit`` ready made.

    There is no public way to this: a module may have hooks for the data that ``fit`` was told not to use.
    """
    source = trainer.fit_loop._data_source.instance
    return source if isinstance(source, LightningModule | LightningDataModule) else None
