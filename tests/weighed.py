"""A module whose losses are written down beforehand, and the weights that it is trained with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from tests.tiny import Tiny, trainer_for

AB = ("a", "b")
Row = Mapping[str, float]
# Means 20 and 2 in epoch 0, 10 and 2 in epoch 1, 10 and 4 in epoch 2.
FEW = [
    {"a": a, "b": b}
    for a, b in [(10, 1), (30, 3), (20, 1), (20, 3), (5, 1), (15, 3), (5, 2), (15, 2), (4, 4), (16, 4), (8, 4), (12, 4)]
]
HALF_IS_THREE_TIMES = 0.5 / math.log(3)
"""The temperature at which a ratio that is larger by 1/2 has three times the weight."""


class Weighed(Tiny):
    """Its terms are written down beforehand, batch by batch; `seen` has the weights that each batch was trained with.

    `told` says how the terms are told of: returned beside the loss, or logged with these options.
    """

    def __init__(self, rows: Sequence[Row], batches: int, told: dict[str, Any] | None = None) -> None:
        super().__init__(batches=batches)
        self.rows, self.told = rows, told
        self.names = tuple(rows[0])
        self.loss_weights: Any = dict.fromkeys(self.names, 1.0)
        self.weights_seen: list[list[float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        row = self.rows[self.current_epoch * self.batches + batch_idx]
        self.weights_seen.append([float(weight) for weight in self.in_force()])
        terms = {name: torch.tensor(value, dtype=torch.float64) for name, value in row.items()}
        loss = self.layer(batch[0]).pow(2).mean() * float(sum(self.in_force()))
        if self.told is None:
            return {"loss": loss, **terms}
        for name, term in terms.items():
            self.log(name, term, **self.told)
        return loss

    def in_force(self) -> list[Any]:
        return [self.loss_weights[name] for name in self.names]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def fit(
    folder: Path,
    module: Weighed,
    callback: Callback,
    *more: Callback,
    epochs: int = 1,
    ckpt_path: Any = None,
    **options: Any,
) -> list[list[float]]:
    """The weights that each batch was trained with."""
    trainer_for(folder, callback, *more, max_epochs=epochs, **options).fit(module, ckpt_path=ckpt_path)
    return module.weights_seen


def means(rows: Sequence[Row], size: int) -> list[dict[str, float]]:
    """The mean of so many rows, one block after the other."""
    blocks = [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
    return [{name: math.fsum(row[name] for row in block) / size for name in rows[0]} for block in blocks]


def held(weights: list[Any], times: int) -> list[Any]:
    """What each batch is trained with: first the ones, then what follows from each update, so many times."""
    return [row for row in [[1.0] * len(weights[0]), *weights] for _ in range(times)]


def close(rows: Any) -> Any:
    return [pytest.approx(list(row), rel=1e-12, abs=0) for row in rows]
