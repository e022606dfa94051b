"""The script of several gloo ranks under controllers: FOLDER RANKS SCENARIO... Each writes SCENARIO.RANK.json.

What a rank writes down: the values at every step, the hook that each broadcast of the package came from, and its error.
A rank that ends otherwise than by an AnnealError ends the script.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.controllers.series import SERIES
from tests.ddp.triggers_script import Rank, play

STEPS, EPOCHS = 6, 3
NAMES = ("step", "mean", "logged", "epoch", "validated", "plateau", "follow")

PI = {
    "strategy": "pi_control",
    "monitor": "kl",
    "set_point": 20,
    "kp": 0.5,
    "ki": 0.01,
    "min_value": -8,
    "max_value": 8,
}
PARAMS: dict[str, dict[str, Any]] = {
    "step": {**PI, "interval": "step"},
    "mean": {**PI, "interval": "step", "frequency": 4},
    "logged": {**PI, "monitor": "logged", "interval": "step", "frequency": 2},
    "epoch": {"strategy": "constraint", "monitor": "kl", "limit": 20, "rate": 0.125, "momentum": 0.5},
    "validated": {**PI, "monitor": "val_kl"},
    "plateau": {"strategy": "on_plateau", "monitor": "val_loss", "factor": 0.5, "patience": 0},
    "follow": {"strategy": "follow", "other": "step", "scale": 2},
}


def metric(rank: int, at: int) -> float:
    """The metric of a rank at a step: another one on each."""
    return SERIES[100 * rank + at]


class Module(LightningModule):
    """`odd` gives what this rank returns in the place of a number."""

    def __init__(self, odd: Callable[[int], Any] = lambda at: None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.odd = odd
        self.seen: list[tuple[int, int, list[float]]] = []
        for name in NAMES:
            setattr(self, name, 1.0)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
        self.seen.append((self.current_epoch, batch_idx, [getattr(self, name) for name in NAMES]))
        at = self.current_epoch * STEPS + batch_idx
        odd, value = self.odd(at), metric(self.global_rank, at)
        self.log("logged", torch.tensor(2 * value), on_step=True, on_epoch=False)
        return {"loss": self.layer(torch.ones(1, 1)).pow(2).mean(), "kl": value if odd is None else odd}

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        value = torch.tensor(metric(self.global_rank, self.global_step))
        # Of one of them the ranks know only their own.
        self.log("val_kl", value, sync_dist=False)
        self.log("val_loss", value, sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.125)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(STEPS * self.trainer.world_size)))

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(self.trainer.world_size)))


class Saves(Callback):
    """Saves in the midst of intervals, and at the end of an epoch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        if trainer.global_step in (3, 7, 14):
            trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


def fit(rank: Rank, module: Module, *more: Callback, params: Any = PARAMS, ckpt_path: Any = None) -> dict[str, Any]:
    callback = HyperparamAnnealingCallback(params)
    trainer = rank.trainer(callback, *more, max_epochs=EPOCHS)
    error = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            trainer.fit(module, ckpt_path=ckpt_path)
        except AnnealError as refused:
            error = str(refused)
    strategy: Any = trainer.strategy
    return {
        "error": error,
        "seen": module.seen,
        "broadcasts": strategy.broadcasts,
        "steered": callback.state_dict().get("steered", {}),
        "warned": [str(w.message) for w in caught if "value is kept" in str(w.message)],
    }


def values(rank: Rank) -> dict[str, Any]:
    whole = fit(rank, Module(), Saves(rank.folder))
    paths = {at: rank.folder / f"{at}.ckpt" for at in (3, 7, 14)}
    return {**whole, "resumed": {at: fit(rank, Module(), ckpt_path=path) for at, path in paths.items()}}


def _missing_on(on_rank: int) -> Callable[[Rank], dict[str, Any]]:
    def scenario(rank: Rank) -> dict[str, Any]:
        rank.trainer()
        # Half of the steps: no number there is left out, and the mean is that of the other rank.
        odd = lambda at: float("nan") if rank.index == on_rank and at % 2 else None  # noqa: E731
        return fit(rank, Module(odd), params={"step": PARAMS["step"], "epoch": PARAMS["epoch"]})

    return scenario


def nowhere(rank: Rank) -> dict[str, Any]:
    return fit(rank, Module(lambda at: float("inf")), params={"step": PARAMS["step"]})


def _refused_on(on_rank: int, key: str) -> Callable[[Rank], dict[str, Any]]:
    def scenario(rank: Rank) -> dict[str, Any]:
        rank.trainer()
        odd = lambda at: torch.ones(32) if rank.index == on_rank and at == 2 else None  # noqa: E731
        return fit(rank, Module(odd), params={key: PARAMS[key]})

    return scenario


SCENARIOS: dict[str, Callable[[Rank], dict[str, Any]]] = {
    "values": values,
    "nan_on_0": _missing_on(0),
    "nan_on_1": _missing_on(1),
    "nowhere": nowhere,
    **{f"{key}_refused_on_{rank}": _refused_on(rank, key) for rank in (0, 1) for key in ("step", "mean", "epoch")},
}


if __name__ == "__main__":
    sys.exit(play(SCENARIOS, sys.argv[1:]))
