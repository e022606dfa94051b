"""The messages that the troubleshooting page quotes, each provoked in a run: by the name of its block in the page."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import (
    AnnealError,
    AnnealingManager,
    BetaScheduleCallback,
    HyperparamAnnealingCallback,
    LossBalancingCallback,
    OptimizerWatchCallback,
    configure_optimizers,
    get_beta_scheduler,
)
from lightning_anneal.callbacks.poll import Poll
from lightning_anneal.config import read_rules
from lightning_anneal.triggers.signals import Reading
from tests.compile.test_compile import Backend, Compiled, UsesInt, ramp
from tests.tiny import Data, Tiny, WithHparams, trainer_for


class Model(Tiny):
    """Tiny as the page has it: with a temperature, a configured optimizer, and a loss that can be NaN."""

    def __init__(self, *, nan_at: int = -1, **optim: Any) -> None:
        super().__init__()
        del self.temperature
        self.temperature = 1.0
        self.margin = torch.nn.Parameter(torch.ones(1))
        self.nan_at = nan_at
        self.optim = {"optimizer": "SGD", "learning_rate": 0.1, **optim}

    @property
    def sharpness(self) -> float:
        return 1 / self.temperature

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = super().training_step(batch, batch_idx)
        self.log("train_loss", outputs["loss"], on_step=False, on_epoch=True)
        bad = float("nan") if batch_idx == self.nan_at else 1.0
        # The KL of each image stands in it as well, as somebody may have it.
        return {"loss": outputs["loss"] * bad, "kl_loss": torch.tensor(0.25 * bad), "kl_each": torch.ones(4)}

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, **self.optim)


class ByHand(Model):
    """A scheduler that is written in the module, as Lightning takes it."""

    def __init__(self, *, automatic: bool = True, **config: Any) -> None:
        super().__init__()
        self.automatic_optimization = automatic
        self.config = config

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if not self.automatic_optimization:
            self.optimizers().step()
            return None
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **self.config}}


class WithZero(Model):
    """With a number that no factor moves."""

    def __init__(self) -> None:
        super().__init__()
        self.penalty = 0.0


class Weighed(Model):
    """With weights of its losses, and both of them in what `training_step` returns."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_weights = {"recon": 1.0, "kl_los": 1.0}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {**super().training_step(batch, batch_idx), "recon": torch.tensor(3.0)}


class FixedLoader(Data):
    """A loader that knows nothing of the datamodule's batch size."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_size = 2

    def train_dataloader(self) -> Any:
        return DataLoader(TensorDataset(torch.ones(8, 4)), batch_size=4)


def fit(folder: Path, module: LightningModule, *callbacks: Any, ckpt_path: Any = None, **options: Any) -> None:
    """Fit in a run of 20 epochs, unless `options` say something else."""
    data = options.pop("datamodule", None)
    trainer: Trainer = trainer_for(folder, *callbacks, **{"max_epochs": 20, **options})
    trainer.fit(module, datamodule=data, ckpt_path=ckpt_path)


def anneal(name: str = "temperature", **settings: Any) -> HyperparamAnnealingCallback:
    """One parameter, by default along a line to 0.1."""
    return HyperparamAnnealingCallback({name: settings or {"strategy": "linear", "end_value": 0.1}})


def trigger(source: str, **settings: Any) -> HyperparamAnnealingCallback:
    return anneal("beta", strategy="TRIGGER_BASED", trigger_source=source, values=[0.5, 1.0], **settings)


def control(set_point: float = 0.2, **settings: Any) -> HyperparamAnnealingCallback:
    """A beta that is to hold the KL, which is 0.25 whatever beta is."""
    given = {"monitor": "kl_loss", "set_point": set_point, "kp": 0.1, "ki": 1.0, **settings}
    return anneal("beta", strategy="pi_control", **given)


def follow(other: str, **settings: Any) -> HyperparamAnnealingCallback:
    return anneal("beta", strategy="follow", other=other, **settings)


def phased(name: str) -> HyperparamAnnealingCallback:
    """Two phases, of which the first one is called so."""
    return HyperparamAnnealingCallback(phases=[{"name": name, "until": 2, "set": {"beta": 0.0}}, {"name": "main"}])


def open_phase() -> HyperparamAnnealingCallback:
    until = {"trigger": "metric_below", "monitor": "val_loss", "threshold": 0.1}
    ramp = {"strategy": "linear", "end_value": 0.0}
    return HyperparamAnnealingCallback(
        phases=[{"name": "warm", "until": until, "anneal": {"beta": ramp}}, {"name": "x"}]
    )


def resumed(
    folder: Path,
    again: HyperparamAnnealingCallback,
    first: HyperparamAnnealingCallback | None = None,
    **options: Any,
) -> None:
    """A run of 4 epochs, and one that goes on from its checkpoint."""
    half = anneal(strategy="linear", end_value=0.1, total_steps="50%")
    saver = ModelCheckpoint(folder, save_last=True)
    fit(folder, Model(), first or half, saver, max_epochs=4, enable_checkpointing=True)
    fit(folder, Model(), again, ckpt_path=folder / "last.ckpt", **options)


def other_ranks(folder: Path) -> None:
    """What a rank is told that sees another value than rank 0."""
    settings = {"strategy": "TRIGGER_BASED", "trigger_source": "metric_above", "monitor": "val_acc", "threshold": 0.5}
    poll = Poll(read_rules({"beta": {**settings, "values": [0.5, 1.0]}}))
    poll.warn_of_other_ranks({"beta": Reading(0.4)}, {"beta": Reading(0.6)})


PLATEAU = {"scheduler": "ReduceLROnPlateau", "scheduler_kwargs": {"patience": 1}}
WARMUP = {"scheduler": "LinearWarmupCosineAnnealingLR", "scheduler_kwargs": {"warmup_epochs": 20, "max_epochs": 40}}
LATE = {"schedulers": [{"scheduler": "LinearLR"}, {"scheduler": "ReduceLROnPlateau"}], "milestones": [30]}
HALF = {"strategy": "linear", "end_value": 0.1, "total_steps": "50%"}

PROVOKE: dict[str, Callable[[Path], Any]] = {
    # names and places
    "misspelled": lambda d: fit(d, Model(), anneal("temprature")),
    "misspelled_strategy": lambda d: anneal(strategy="cosin", end_value=0.1),
    "misspelled_parameter": lambda d: get_beta_scheduler("linear", max_beta=1.0, warmup_epoch=10),
    "property": lambda d: fit(d, Model(), anneal("sharpness")),
    "learnable": lambda d: fit(d, Model(), anneal("margin")),
    "class_attribute": lambda d: fit(d, type("Net", (Model,), {"alpha": 0.5})(), anneal("alpha")),
    "int": lambda d: fit(d, Model(), anneal("top_k", strategy="linear", end_value=1, total_steps=4)),
    "owned": lambda d: fit(d, Model(scheduler="CosineAnnealingLR"), anneal("optimizer.param_groups.0.lr")),
    "shadowed": lambda d: fit(d, WithHparams(), anneal("beta"), max_epochs=2),
    "two_callbacks": lambda d: fit(d, Model(), anneal("beta"), BetaScheduleCallback("constant", {"max_beta": 1})),
    "fixed_loader": lambda d: fit(
        d,
        Model(),
        anneal("datamodule.batch_size", strategy="milestones", schedule={0: 2, 3: 8}),
        datamodule=FixedLoader(),
    ),
    # a scheduler that doesn't update
    "no_scheduler": lambda d: configure_optimizers(Model(), scheduler_kwargs={"T_max": 10}),
    "never_frequency": lambda d: fit(d, ByHand(interval="step", frequency=10), OptimizerWatchCallback()),
    "never_manual": lambda d: fit(d, ByHand(automatic=False), OptimizerWatchCallback()),
    "never_epoch": lambda d: fit(d, ByHand(interval="epoch"), OptimizerWatchCallback(), max_epochs=1),
    "no_stopper": lambda d: fit(d, Model(), trigger("early_stopper_half_patience")),
    "no_plateau": lambda d: fit(d, Model(), trigger("lr_scheduler_triggered")),
    "which_stopper": lambda d: fit(
        d, Model(), trigger("early_stopper_counter"), EarlyStopping("val_loss"), EarlyStopping("train_loss")
    ),
    "no_metric": lambda d: fit(d, Model(), trigger("metric_below", monitor="val_los", threshold=0.1)),
    "too_long": lambda d: fit(
        d,
        Model(),
        anneal("beta", strategy="linear", start_value=0.0, end_value=1.0, total_steps=40),
    ),
    "no_length": lambda d: fit(d, Model(), anneal(**HALF), max_epochs=-1, max_steps=-1),
    # rates that are too high or too low
    "nan": lambda d: fit(d, Model(nan_at=3, learning_rate=5.0), OptimizerWatchCallback()),
    "warmup": lambda d: fit(d, Model(**WARMUP), max_epochs=20),
    "rises_again": lambda d: fit(d, Model(scheduler="CosineAnnealingLR", scheduler_kwargs={"T_max": 10})),
    "one_cycle_early": lambda d: fit(d, Model(scheduler="OneCycleLR", scheduler_kwargs={"total_steps": 100})),
    "one_cycle_late": lambda d: fit(d, Model(scheduler="OneCycleLR", scheduler_kwargs={"total_steps": 400})),
    "polynomial_over": lambda d: fit(d, Model(scheduler="PolynomialLR", scheduler_kwargs={"total_iters": 5})),
    "hugging_face_over": lambda d: fit(
        d, Model(scheduler="linear", scheduler_kwargs={"warmup_steps": 10, "num_training_steps": 80})
    ),
    "floor": lambda d: fit(d, Model(scheduler="CosineAnnealingLR", scheduler_kwargs={"eta_min": 0.5})),
    "range": lambda d: fit(d, Model(), anneal("optimizer.param_groups.0.lr", strategy="linear", end_value=-1.0)),
    "exponential_zero": lambda d: anneal("beta", strategy="exponential", start_value=0.0, end_value=1.0),
    # values that answer to metrics
    "no_metric_seen": lambda d: fit(d, Model(), control(monitor="kl_los"), max_epochs=2),
    "metric_nan": lambda d: fit(d, Model(nan_at=3), control(interval="step"), max_epochs=1),
    "one_number": lambda d: fit(d, Model(), control(monitor="kl_each"), max_epochs=2),
    "out_of_reach": lambda d: fit(d, Model(), control(ki=10.0), max_epochs=30),
    "constraint_start": lambda d: fit(
        d, Model(), anneal("beta", strategy="constraint", monitor="kl_loss", limit=0.2, max_value=0.5)
    ),
    "no_plateau_metric": lambda d: fit(
        d, Model(), anneal("beta", strategy="on_plateau", monitor="val_los", factor=0.5), max_epochs=2
    ),
    "plateau_zero": lambda d: fit(
        d, WithZero(), anneal("penalty", strategy="on_plateau", monitor="val_loss", factor=2.0), max_epochs=2
    ),
    "follow_nowhere": lambda d: fit(d, Model(), follow("temprature")),
    "follow_circle": lambda d: HyperparamAnnealingCallback(
        {"a": {"strategy": "follow", "other": "b"}, "b": {"strategy": "follow", "other": "a"}}
    ),
    "follow_no_value": lambda d: fit(d, WithZero(), follow("penalty", power=-1)),
    # weights of losses
    "no_mapping": lambda d: fit(d, Model(), LossBalancingCallback(["recon", "kl_loss"])),
    "no_term": lambda d: fit(d, Weighed(), LossBalancingCallback(["recon", "kl_los"]), max_epochs=2),
    # phases
    "in_both": lambda d: HyperparamAnnealingCallback({"beta": HALF}, phases=[{"name": "warm", "set": {"beta": 0.0}}]),
    "open_phase": lambda d: fit(d, Model(), open_phase()),
    "other_phases": lambda d: resumed(d, phased("first"), first=phased("warm"), max_epochs=5),
    "other_controller": lambda d: resumed(d, control(), first=control(monitor="val_loss"), max_epochs=5),
    # compiled code
    "compiled": lambda d: fit(
        d,
        Compiled(UsesInt(), Backend(inductor=False)),
        HyperparamAnnealingCallback({"body.top_k": ramp(0, 50, round=True)}),
        max_epochs=1,
    ),
    # plateaus
    "monitor": lambda d: fit(
        d, Model(**PLATEAU, scheduler_configs={"monitor": "val_los"}), OptimizerWatchCallback(), max_epochs=2
    ),
    "plateau_never": lambda d: fit(d, Model(scheduler="SequentialLR", scheduler_kwargs=LATE), max_epochs=20),
    # resume, and several processes
    "horizon": lambda d: resumed(d, anneal(**HALF), max_epochs=8),
    "horizon_error": lambda d: resumed(
        d, HyperparamAnnealingCallback({"temperature": HALF}, on_horizon_change="error"), max_epochs=8
    ),
    "other_names": lambda d: resumed(d, anneal("beta"), max_epochs=5),
    "sync_dist": other_ranks,
    # a loop of one's own
    "near_metric": lambda d: AnnealingManager(
        {
            "beta": {
                "strategy": "TRIGGER_BASED",
                "trigger_source": "metric_plateau",
                "monitor": "val_loss",
                "patience": 2,
                "values": [0, 1],
            }
        },
        objects={"model": Model()},
    ).step(0, {"valid_loss": 1.0}),
}


def provoke(name: str, folder: Path) -> list[str]:
    """What is said: the error, or each warning of the package's own."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            PROVOKE[name](folder)
        except AnnealError as error:
            return [str(error)]
        except ValueError as error:  # torch's, for a OneCycleLR beyond its end
            if "total steps" not in str(error):
                raise
    return [str(warning.message) for warning in caught]
