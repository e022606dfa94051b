"""A project as a user would write it; mypy finds nothing to say of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytorch_lightning
import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import (
    AnnealError,
    AnnealingManager,
    BetaScheduleCallback,
    Competence,
    Constant,
    Cosine,
    Cyclical,
    Exponential,
    HyperparamAnnealingCallback,
    HyperParamSearch,
    Linear,
    LinearWarmupCosineAnnealingLR,
    Milestones,
    OptimConfig,
    OptimizerWatchCallback,
    Polynomial,
    Saturating,
    Sequence,
    Sigmoid,
    WarmRestart,
    build_lr_scheduler,
    build_optimizer,
    configure_optimizers,
    get_beta_scheduler,
    register_lr_scheduler,
    register_optimizer,
)


class VAE(LightningModule):
    """With a weight to anneal, and its optimizer from a config."""

    def __init__(self, optim: OptimConfig | None = None) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.optim = optim or OptimConfig(optimizer="AdamW", learning_rate=1e-3, scheduler="CosineAnnealingLR")
        self.beta = 0.0
        self.seen: list[float] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """The loss."""
        self.seen.append(self.beta)
        loss: Tensor = self.layer(batch[0]).pow(2).mean()
        return loss * (1 + self.beta)

    def configure_optimizers(self) -> Any:
        """By name."""
        return configure_optimizers(self, **self.optim)


class Data(LightningDataModule):
    """Four samples."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_size = 1

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        """Of the size that is in force."""
        return DataLoader(TensorDataset(torch.ones(4, 4)), batch_size=self.batch_size)


def my_curve(t: float) -> float:
    """Any callable is a schedule."""
    return 1.0 / (1.0 + t)


CURVES: dict[str, Callable[[float], float]] = {
    "constant": Constant(1.0),
    "linear": Linear(0, 1, 10),
    "cosine": Cosine(start=1.0, end=0.1, duration=20),
    "exponential": Exponential(1.0, 0.01, 5),
    "saturating": Saturating(0.0, 1.0, 10, rate=3.0),
    "polynomial": Polynomial(0.0, 1.0, 10, power=2.0),
    "sigmoid": Sigmoid(0.0, 1.0, 10, steepness=8.0),
    "competence": Competence(0.0, 1.0, 10),
    "milestones": Milestones({0: 1.0, 5: 0.5}, initial=2.0),
    "cyclical": Cyclical(10, 0.0, 1.0, wave="triangle"),
    "restarts": WarmRestart(Cosine(0.0, 1.0, 5), 10, multiplier=1.5),
    "sequence": Sequence([(Linear(0, 1, 3), 3), (Constant(1.0), 2)]),
    "mine": my_curve,
}


def callbacks() -> list[Any]:
    """Of every kind."""
    settings = {"strategy": "linear", "end_value": 0.0, "total_steps": "50%"}
    annealing = HyperparamAnnealingCallback(
        {"beta": Linear(0.0, 1.0, 2), "optimizer.param_groups.0.weight_decay": settings},
        name="mine",
        prog_bar=["beta"],
        on_horizon_change="stretch",
    )
    values: dict[str, float | bool | str] = annealing.values
    reasons: list[str] = [change.why for change in annealing.changes]
    assert not values
    assert not reasons
    return [annealing, OptimizerWatchCallback(log=False, stop_on_nan=True)]


def fit(folder: Path) -> list[float]:
    """What beta was at each step."""
    model = VAE()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=callbacks(),
    )
    trainer.fit(model, Data())
    return model.seen


def trainers(beta: BetaScheduleCallback) -> tuple[Trainer, pytorch_lightning.Trainer]:
    """The same callback is one for either."""
    return (
        Trainer(callbacks=[beta, EarlyStopping("val_loss")]),
        pytorch_lightning.Trainer(callbacks=[beta, OptimizerWatchCallback()]),
    )


def betas() -> tuple[float, int, float]:
    """What the name says is what the type is."""
    restarts = get_beta_scheduler(
        "warm_restart",
        base_scheduler_type="cosine",
        base_scheduler_kwargs={"max_beta": 1.0, "warmup_epochs": 20},
        restart_interval=40,
    )
    both = get_beta_scheduler(
        "hierarchical",
        global_scheduler={"type": "constant", "max_beta": 2.0},
        local_scheduler={"type": "linear", "max_beta": 1.0, "warmup_epochs": 2},
    )
    callback = BetaScheduleCallback.from_config(
        {"training": {"beta_scheduler_type": "linear", "beta_scheduler_params": {"max_beta": 1.0, "warmup_epochs": 2}}},
        eval_beta=1.0,
    )
    assert callback.state_key
    return restarts(10), restarts.get_restart_info(100)["last_restart_epoch"], both(1)["local_kl_weight"]


def by_hand() -> tuple[bool, float, list[float]]:
    """Without Lightning, with classes that are known by their names."""

    @register_optimizer
    class PlainSGD(torch.optim.SGD):
        """Known by its name from here on."""

        plain = True

    @register_lr_scheduler
    class HalvingLR(torch.optim.lr_scheduler.ExponentialLR):
        """Likewise."""

        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            super().__init__(optimizer, gamma=0.5)

    model = nn.Linear(2, 1)
    optimizer: torch.optim.Optimizer = build_optimizer(model.parameters(), "plainsgd", learning_rate=0.1)
    halving = build_lr_scheduler(optimizer, "halvinglr")
    warming = LinearWarmupCosineAnnealingLR(build_optimizer(model.parameters()), warmup_epochs=2, max_epochs=10)
    assert warming.get_last_lr()
    space = SimpleNamespace(beta=0.0)
    manager = AnnealingManager({"beta": Linear(0.0, 1.0, 4)}, objects={"model": space}, epochs=10)
    changed: dict[str, float | bool | str] = manager.step(2)
    assert changed == {"beta": 0.5}
    return PlainSGD.plain, space.beta, [float(rate) for rate in halving.get_last_lr()]


def search(folder: Path) -> tuple[int, list[str]]:
    """Planned, not run."""
    found = HyperParamSearch({"lr": [1e-3, 1e-4], "depth": {"grid": [2, 3, 4]}}, root_dir=folder, quiet=True)
    return found.count(), [axis.path for axis in found.axes()]


def best_of(found: HyperParamSearch) -> str:
    """What comes out of a search."""
    result = found.run(algo="random", n_runs=5)
    return "none" if result.best is None else f"{result.best.index}: {result.best.values} in {result.best.folder}"


def refused() -> str:
    """An error says where and what."""
    try:
        HyperparamAnnealingCallback({"beta": {"strategy": "cosin"}})
    except AnnealError as error:
        return f"{error.where} | {error.what}"
    return ""
