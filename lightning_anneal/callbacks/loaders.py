"""A batch size that changes: new training loaders, and a learning rate that follows.

Writing ``datamodule.batch_size`` alone changes nothing, and a loader's own can't be written. The loaders are made anew
by Lightning, which also gives them their samplers under DDP.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from lightning.pytorch.utilities import CombinedLoader
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, IterableDataset

from lightning_anneal.batch_sizes import batch_size_at, largest_batch_size, rate_followed
from lightning_anneal.changes import Change
from lightning_anneal.engine import Engine
from lightning_anneal.errors import AnnealError
from lightning_anneal.lightnings import Trainer
from lightning_anneal.targets.target import Target
from lightning_anneal.triggers.reaction import Reaction


def rebuild_train_loaders(trainer: Trainer, target: Target) -> None:
    """Make the training loaders anew, now, for a batch size that has just been written to its target.

    ``reload_dataloaders_every_n_epochs`` is the public way. -1 stands for "again, although it was this epoch", which
    is so in epoch 0 and where the user reloads in every epoch. By ``on_train_epoch_start`` Lightning has told the
    samplers which epoch it is, so the new ones are told here.
    """
    clock = getattr(trainer, "_last_val_time", None)
    every_n = trainer.reload_dataloaders_every_n_epochs  # type: ignore[union-attr]
    trainer.reload_dataloaders_every_n_epochs = -1  # type: ignore[union-attr]
    try:
        trainer.fit_loop.setup_data()
    finally:
        trainer.reload_dataloaders_every_n_epochs = every_n  # type: ignore[union-attr]
        if clock is not None:
            # Validation by the clock would begin to wait anew.
            trainer._last_val_time = clock  # type: ignore[union-attr]
    check_reached(trainer, target)
    for loader in train_loaders(trainer):
        samplers: list[Any] = [getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)]
        for sampler in samplers:
            if hasattr(sampler, "set_epoch"):
                sampler.set_epoch(trainer.current_epoch)


def train_loaders(trainer: Trainer) -> list[Any]:
    """The training loaders, out of whatever mapping or list they are in."""
    loaders = trainer.train_dataloader
    return [] if loaders is None else CombinedLoader(loaders, "max_size_cycle").flattened


def begin_with_batch_size(trainer: Trainer, engine: Engine) -> bool:
    """Put the first batch size of a fit in force, and say whether it is another one than the loaders had."""
    if engine.findings.batch_size is None:
        return False
    # Any rank's: the loaders are made by all ranks together.
    if not trainer.strategy.reduce_boolean_decision(engine.write_batch_size(), all=False):
        return False
    rebuild_train_loaders(trainer, engine.findings.batch_size[1])
    return True


def start_epoch(trainer: Trainer, engine: Engine, step: int, *, begins: bool) -> float:
    """Put in force what holds during an epoch; another batch size takes new loaders, and maybe another learning rate.

    Args:
        trainer: The trainer.
        engine: What drives the values.
        step: Optimizer steps done.
        begins: Whether the epoch begins here: a batch size that a trigger has asked for waits for that.

    Returns:
        The factor that every learning rate has got.

    Raises:
        AnnealError: If the new batch size can't be, before it is in force.
    """
    if begins:
        engine.begin_epoch(trainer.current_epoch)
    if engine.findings.batch_size is None:
        engine.start_epoch(trainer.current_epoch, step, begins=begins)
        return 1.0
    _, target = engine.findings.batch_size
    size, to_come = int(target.read()), batch_size_at(engine, trainer.current_epoch)
    if to_come != size:
        check_size(trainer, target.name, to_come)
    engine.start_epoch(trainer.current_epoch, step, begins=begins)
    if target.read() == size:
        return 1.0
    rebuild_train_loaders(trainer, target)
    return scale_rates(trainer, engine, size, step)


def count_epoch_as_done(trainer: Trainer) -> None:
    """Let the next epoch begin with its first batch, after a resume behind the last one of an epoch.

    Lightning takes it for the same epoch still where its new loaders have more batches than that one had.
    """
    done: Any = trainer.fit_loop.epoch_loop.batch_progress.current
    batches = trainer.num_training_batches
    if done.completed < batches < math.inf:
        done.ready = done.started = done.processed = done.completed = int(batches)


def check_loaders(trainer: Trainer, engine: Engine) -> None:
    """Refuse training data that another batch size wouldn't reach, before anything is changed.

    Raises:
        AnnealError: If no loader has the batch size that is annealed, the data can be read only once, or a value is
            too large for the data.
    """
    if engine.findings.batch_size is None:
        return
    rule, target = engine.findings.batch_size
    trainer.fit_loop.setup_data()
    check_reached(trainer, target)
    for loader in train_loaders(trainer):
        dataset = getattr(loader, "dataset", None)
        if isinstance(dataset, IterableDataset) and isinstance(dataset, Iterator):
            kind = type(dataset).__name__
            raise AnnealError(target.name, f"{kind} is an iterator, which a new loader can't read from the beginning")
    largest = largest_batch_size(engine)
    if largest < math.inf:
        check_size(trainer, target.name, int(largest))
    elif isinstance(rule.source, Reaction):
        raise AnnealError(f"{rule.name}.max_value", "missing; a batch size can't grow without end")


def check_reached(trainer: Trainer, target: Target) -> None:
    """Refuse loaders that don't have the batch size which is in force.

    Raises:
        AnnealError: If none of them has.
    """
    loaders = train_loaders(trainer)
    sizes = [_batch_size(loader) for loader in loaders]
    if not loaders or target.read() in sizes:
        return
    if sizes[0] is None:
        what = f"the training data comes as {type(loaders[0]).__name__}, which has no batch_size"
        raise AnnealError(target.name, f"{what}; return a DataLoader made with batch_size=self.batch_size")
    what = f"the training loader has a batch size of {sizes[0]}, not {target.read()}"
    raise AnnealError(target.name, f"{what}; make it with batch_size=self.batch_size")


def check_size(trainer: Trainer, name: str, size: int) -> None:
    """Refuse a batch size that leaves no batch, or fewer than ``val_check_interval`` counts.

    Raises:
        AnnealError: If it does.
    """
    batches = min((_batches(trainer, loader, size) for loader in train_loaders(trainer)), default=math.inf)
    if batches < 1 and trainer.limit_train_batches != 0:
        raise AnnealError(name, f"a batch size of {size} leaves no batch to train on")
    # There is none where validation goes by the clock.
    interval: Any = getattr(trainer, "val_check_interval", None)
    by_batches = isinstance(interval, int) and trainer.check_val_every_n_epoch is not None
    if by_batches and interval > batches and trainer.enable_validation:
        what = f"a batch size of {size} makes {batches:g} batches, fewer than val_check_interval={interval}"
        raise AnnealError(name, f"{what}; give that as a fraction")


def scale_rates(trainer: Trainer, engine: Engine, old: int | None, step: int) -> float:
    """Scale every learning rate with the batch size, if its rule says so, and tell of it.

    Linear: Goyal et al., Accurate, Large Minibatch SGD (2017). Square root: Krizhevsky, One weird trick (2014), and for
    adaptive optimizers Malladi et al., On the SDEs and Scaling Rules for Adaptive Gradient Algorithms (2022).

    Args:
        trainer: The trainer.
        engine: What has changed the batch size.
        old: The batch size before.
        step: The optimizer step that is the first to see the new one.

    Returns:
        The factor.
    """
    names = scaled_names(trainer, engine)
    size = engine.findings.batch_size
    if not names or size is None or old in (None, size[1].read()):
        return 1.0
    rule, target = size
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
    return factor


def scaled_names(trainer: Trainer, engine: Engine) -> list[str]:
    """What the learning rates are called that follow the batch size."""
    if engine.findings.batch_size is None or engine.findings.batch_size[0].scale_lr is None:
        return []
    several = len(trainer.optimizers) > 1
    return [
        f"{f'optimizers.{i}' if several else 'optimizer'}.param_groups.{j}.lr"
        for i, optimizer in enumerate(trainer.optimizers)
        for j in range(len(optimizer.param_groups))
    ]


def check_scaling(trainer: Trainer, engine: Engine) -> None:
    """Refuse to scale a learning rate that something else moves.

    Raises:
        AnnealError: If an LR scheduler other than ReduceLROnPlateau, or a rule, writes it; or if the batch size follows
            it.
    """
    rule = None if engine.findings.batch_size is None else engine.findings.batch_size[0]
    if rule is None or rule.scale_lr is None:
        return
    if (rate := rate_followed(engine)) is not None:
        raise AnnealError(f"{rule.name}.scale_lr", f"follows '{rate}', which it would scale; drop one of them")
    for config in trainer.lr_scheduler_configs:
        if not isinstance(config.scheduler, ReduceLROnPlateau):
            kind = getattr(config.scheduler, "shown_as", type(config.scheduler).__name__)
            what = f"{kind} writes the learning rate, too; drop one of them (ReduceLROnPlateau goes along)"
            raise AnnealError(f"{rule.name}.scale_lr", what)
    for target in engine.findings.targets:
        if target.key == "lr":
            raise AnnealError(f"{rule.name}.scale_lr", f"'{target.name}' anneals the learning rate; keep one of them")


def _batch_size(loader: Any) -> int | None:
    own: int | None = getattr(loader, "batch_size", None)
    return own if own is not None else getattr(getattr(loader, "batch_sampler", None), "batch_size", None)


def _batches(trainer: Trainer, loader: Any, size: int) -> float:
    """How many batches of this size an epoch would have."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return math.inf
    samples = len(loader.sampler)  # type: ignore[arg-type]
    batches = samples // size if loader.drop_last else math.ceil(samples / size)
    limit = trainer.limit_train_batches
    return min(batches, limit) if isinstance(limit, int) else int(batches * limit)
