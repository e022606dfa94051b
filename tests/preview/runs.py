"""Real runs to hold previews against: what was in force at every epoch and step, written down while training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import configure_optimizers
from lightning_anneal.preview.command import preview_of
from lightning_anneal.preview.planned import Preview
from lightning_anneal.preview.run_config import read_run
from tests.scripted import Scripted
from tests.tiny import trainer_for

BATCHES = 4


class Watched(Scripted):
    """Has the attributes of `starts`; `trace` has epoch, batch, steps done and what was in force at each training step."""

    def __init__(self, starts: dict[str, Any], losses: Sequence[float] = (), **options: Any) -> None:
        super().__init__(losses=list(losses) or [1.0] * 100, batches=options.pop("batches", BATCHES), **options)
        for name, value in starts.items():
            setattr(self, name, value)
        self.names = list(starts)
        self.trace: list[tuple[int, int, int, dict[str, Any]]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        group = self.trainer.optimizers[0].param_groups[0]
        seen = {**{name: getattr(self, name) for name in self.names}, "lr": group["lr"], "wd": group["weight_decay"]}
        seen["clip"] = self.trainer.gradient_clip_val
        self.trace.append((self.current_epoch, batch_idx, self.trainer.global_step, seen))
        return super().training_step(batch, batch_idx)

    def epochs(self, name: str) -> list[Any]:
        """The one value of each epoch."""
        found: dict[int, list[Any]] = {}
        for epoch, _, _, seen in self.trace:
            found.setdefault(epoch, []).append(seen[name])
        assert all(value == values[0] for values in found.values() for value in values), "moved within an epoch"
        return [values[0] for values in found.values()]

    def steps(self, name: str) -> list[Any]:
        """The one value of each optimizer step."""
        found: dict[int, list[Any]] = {}
        for _, _, step, seen in self.trace:
            found.setdefault(step, []).append(seen[name])
        assert all(value == values[0] for values in found.values() for value in values), "moved within a step"
        assert list(found) == list(range(len(found)))
        return [values[0] for values in found.values()]


class BySize(Watched):
    """Its loader has the batch size that it has."""

    def __init__(self, **options: Any) -> None:
        super().__init__({"batch_size": 2}, **options)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(24, 4)), batch_size=self.batch_size)


class Optimized(Watched):
    """Its optimizer is what `optim` says."""

    def __init__(self, optim: dict[str, Any], starts: dict[str, Any] | None = None, **options: Any) -> None:
        super().__init__(starts or {}, **options)
        self.optim = optim

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, **self.optim)


def previewed(config: dict[str, Any], folder: Path, losses: Sequence[float] = (), **options: Any) -> Preview:
    """The preview of a config, with `losses` as the val_loss of its validations in a file."""
    metrics = {}
    if losses:
        every = config["trainer"].get("check_val_every_n_epoch", 1)
        path = folder / "val_loss.csv"
        rows = [f"{every * (i + 1) - 1},{loss}\n" for i, loss in enumerate(losses)]
        path.write_text("epoch,val_loss\n" + "".join(rows))
        metrics = {"val_loss": str(path)}
    return preview_of(read_run(config), metrics=metrics, **options)


def fitted(folder: Path, module: Watched, *callbacks: Callback, **options: Any) -> Watched:
    """The module, after a fit."""
    trainer_for(folder, *callbacks, **{"num_sanity_val_steps": 0, **options}).fit(module)
    return module
