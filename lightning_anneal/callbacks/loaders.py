"""A batch size that changes: new training loaders, and a learning rate that follows.

Writing ``datamodule.batch_size`` alone changes nothing, and a loader's own can't be written. The loaders are made anew
by Lightning, which also gives them their samplers under DDP.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from lightning.pytorch import Trainer
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, IterableDataset

from lightning_anneal.changes import Change
from lightning_anneal.engine import Engine
from lightning_anneal.errors import AnnealError


def rebuild_train_loaders(trainer: Trainer) -> None:
    """Make the training loaders anew, now, for a batch size that has just been written.

    ``reload_dataloaders_every_n_epochs`` is the public way. -1 stands for "again, although it was this epoch", which
    is so in epoch 0 and where the user reloads in every epoch. By ``on_train_epoch_start`` Lightning has told the
    samplers which epoch it is, so the new ones are told here.
    """
    every_n = trainer.reload_dataloaders_every_n_epochs  # type: ignore[attr-defined]
    trainer.reload_dataloaders_every_n_epochs = -1  # type: ignore[attr-defined]
    try:
        trainer.fit_loop.setup_data()
    finally:
        trainer.reload_dataloaders_every_n_epochs = every_n  # type: ignore[attr-defined]
    for loader in train_loaders(trainer):
        samplers: list[Any] = [getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
        for sampler in samplers:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(trainer.current_epoch)


def train_loaders(trainer: Trainer) -> list[Any]:
    """The training loaders, out of whatever mapping or list they are in."""
    return list(_flat(trainer.train_dataloader))


def check_loaders(trainer: Trainer, engine: Engine) -> None:
    """Refuse training data that another batch size wouldn't reach, before anything is changed.

    Raises:
        AnnealError: If no loader has the batch size that is annealed, the data can be read only once, or a value is
            too large for the data.
    """
    if engine.batch_size is None:
        return
    _, target = engine.batch_size
    trainer.fit_loop.setup_data()
    loaders = train_loaders(trainer)
    sizes = [getattr(loader, "batch_size", None) for loader in loaders]
    if target.read() not in sizes:
        what = f"the training loader has a batch size of {sizes[0]}, not {target.read()}"
        raise AnnealError(target.name, f"{what}; make it with batch_size=self.batch_size")
    for loader in loaders:
        if isinstance(loader.dataset, IterableDataset) and isinstance(loader.dataset, Iterator):
            kind = type(loader.dataset).__name__
            raise AnnealError(target.name, f"{kind} is an iterator, which a new loader can't read from the beginning")
        largest = engine.largest(target)
        if largest < math.inf:
            _check_count(trainer, target.name, int(largest), _batches(trainer, loader, int(largest)))


def _check_count(trainer: Trainer, name: str, size: int, batches: float) -> None:
    """Refuse a batch size that leaves no batch, or fewer than ``val_check_interval`` counts.

    Raises:
        AnnealError: If it does.
    """
    if batches < 1:
        raise AnnealError(name, f"a batch size of {size} leaves no batch to train on")
    interval = trainer.val_check_interval
    by_batches = isinstance(interval, int) and trainer.check_val_every_n_epoch is not None
    if by_batches and interval > batches and trainer.enable_validation:
        what = f"a batch size of {size} makes {batches:g} batches, fewer than val_check_interval={interval}"
        raise AnnealError(name, f"{what}; give that as a fraction")


def scale_rates(trainer: Trainer, engine: Engine, old: int, step: int) -> None:
    """Scale every learning rate with the batch size, if its rule says so, and tell of it.

    Linear: Goyal et al., Accurate, Large Minibatch SGD (2017). Square root: Krizhevsky, One weird trick (2014), and for
    adaptive optimizers Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms (2022).

    Args:
        trainer: The trainer.
        engine: What has changed the batch size.
        old: The batch size before.
        step: The optimizer step that is the first to see the new one.
    """
    names = scaled_names(trainer, engine)
    if not names or engine.batch_size is None:
        return
    rule, target = engine.batch_size
    ratio = float(target.read()) / old
    factor = ratio if rule.scale_lr == "linear" else math.sqrt(ratio)
    why = f"scale_lr {rule.scale_lr}, {target.name} {old} -> {target.read()}"
    groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
    for name, group in zip(names, groups, strict=True):
        before = float(group["lr"])
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(before * factor)
        else:
            group["lr"] = before * factor
        engine.on_change(Change(engine.epoch, step, name, before, before * factor, why))


def scaled_names(trainer: Trainer, engine: Engine) -> list[str]:
    """What the learning rates are called that follow the batch size."""
    if engine.batch_size is None or engine.batch_size[0].scale_lr is None:
        return []
    return [
        f"optimizers.{i}.param_groups.{j}.lr"
        for i, optimizer in enumerate(trainer.optimizers)
        for j in range(len(optimizer.param_groups))
    ]


def check_scaling(trainer: Trainer, engine: Engine) -> None:
    """Refuse to scale a learning rate that something else moves.

    Raises:
        AnnealError: If an LR scheduler other than ReduceLROnPlateau, or a rule, writes it.
    """
    rule = None if engine.batch_size is None else engine.batch_size[0]
    if rule is None or rule.scale_lr is None:
        return
    for config in trainer.lr_scheduler_configs:
        if not isinstance(config.scheduler, ReduceLROnPlateau):
            kind = type(config.scheduler).__name__
            what = f"{kind} writes the learning rate, too; drop one of them (ReduceLROnPlateau goes along)"
            raise AnnealError(f"{rule.name}.scale_lr", what)
    for target in engine.targets:
        if target.key == "lr":
            raise AnnealError(f"{rule.name}.scale_lr", f"'{target.name}' anneals the learning rate; keep one of them")


def _batches(trainer: Trainer, loader: Any, size: int) -> float:
    """How many batches of this size an epoch would have."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return math.inf
    samples = len(loader.sampler)  # type: ignore[arg-type]
    batches = samples // size if loader.drop_last else math.ceil(samples / size)
    limit = trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)


def _flat(loaders: Any) -> Iterator[Any]:
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        for each in loaders:
            yield from _flat(each)
    elif loaders is not None:
        yield loaders
