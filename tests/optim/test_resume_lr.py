"""A run that was stopped and resumed has the learning rates and the weights of one that never was, with ``==``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_anneal import Cosine
from tests.optim.fitted import Configured, Scripted, saving
from tests.tiny import trainer_for

BATCHES, EPOCHS = 5, 4

STEP = {"interval": "step"}
LINEAR = {"scheduler": "LinearLR", "start_factor": 0.25, "total_iters": 2}
COSINE = {"scheduler": "Cosine", "end": 0.125, "total_steps": 4}
HALVE = {"patience": 0, "factor": 0.5}

SCHEDULERS: dict[str, dict[str, Any]] = {
    "warm-up and cosine": {"scheduler": "LinearWarmupCosineAnnealingLR", "scheduler_kwargs": {"warmup_epochs": 1}},
    "warm-up and cosine by step": {
        "scheduler": "LinearWarmupCosineAnnealingLR",
        "scheduler_kwargs": {"warmup_epochs": "1ep", "eta_min": 0.01},
        "scheduler_configs": STEP,
    },
    "OneCycleLR": {"scheduler": "OneCycleLR"},
    "OneCycleLR of AdamW": {"optimizer": "AdamW", "optimizer_kwargs": {}, "scheduler": "OneCycleLR"},
    "CyclicLR": {"scheduler": "CyclicLR", "scheduler_kwargs": {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3}},
    "StepLR": {"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 1}},
    "StepLR by step": {
        "scheduler": "StepLR",
        "scheduler_kwargs": {"step_size": 2, "gamma": 0.9},
        "scheduler_configs": STEP,
    },
    "MultiStepLR": {
        "scheduler": "MultiStepLR",
        "scheduler_kwargs": {"milestones": ["25%", 11]},
        "scheduler_configs": STEP,
    },
    "CosineAnnealingLR": {"scheduler": "CosineAnnealingLR", "scheduler_configs": STEP},
    "CosineAnnealingWarmRestarts": {
        "scheduler": "CosineAnnealingWarmRestarts",
        "scheduler_kwargs": {"T_0": 4, "T_mult": 2},
        "scheduler_configs": STEP,
    },
    "SequentialLR": {
        "scheduler": "SequentialLR",
        "scheduler_kwargs": {"schedulers": [LINEAR, {"scheduler": "CosineAnnealingLR"}], "milestones": [2]},
        "scheduler_configs": STEP,
    },
    "SequentialLR by epoch": {
        "scheduler": "SequentialLR",
        "scheduler_kwargs": {"schedulers": [LINEAR, {"scheduler": "StepLR", "step_size": 1}], "milestones": ["50%"]},
    },
    "SequentialLR of ours": {
        "scheduler": "SequentialLR",
        "scheduler_kwargs": {"schedulers": [LINEAR, {"scheduler": "Cosine", "end": 0.0}], "milestones": ["25%"]},
        "scheduler_configs": STEP,
    },
    "ChainedScheduler": {
        "scheduler": "ChainedScheduler",
        "scheduler_kwargs": {"schedulers": [LINEAR, {"scheduler": "ExponentialLR", "gamma": 0.9}]},
        "scheduler_configs": STEP,
    },
    "linear": {"scheduler": "linear", "scheduler_kwargs": {"warmup_ratio": 0.25}},
    "cosine_with_restarts": {
        "scheduler": "cosine_with_restarts",
        "scheduler_kwargs": {"warmup_steps": 3, "num_cycles": 2},
    },
    "Cyclical": {
        "scheduler": "Cyclical",
        "scheduler_kwargs": {"period": 7, "low": 0.1, "high": 1.0},
        "scheduler_configs": STEP,
    },
    "WarmRestart": {
        "scheduler": "WarmRestart",
        "scheduler_kwargs": {"base": COSINE, "interval": "1ep", "multiplier": 2},
        "scheduler_configs": STEP,
    },
    "a schedule in code": {"scheduler": Cosine(1.0, 0.1, 9), "scheduler_configs": STEP},
    "every third step": {
        "scheduler": "StepLR",
        "scheduler_kwargs": {"step_size": 1, "gamma": 0.5},
        "scheduler_configs": {"interval": "step", "frequency": 3},
    },
    "every seventh step": {
        "scheduler": "cosine",
        "scheduler_kwargs": {},
        "scheduler_configs": {"interval": "step", "frequency": 7},
    },
    "every other epoch": {
        "scheduler": "ExponentialLR",
        "scheduler_kwargs": {"gamma": 0.5},
        "scheduler_configs": {"interval": "epoch", "frequency": 2},
    },
}  # fmt: skip


def configured(optim: dict[str, Any]) -> Configured:
    torch.manual_seed(1)
    return Configured(
        BATCHES,
        **{
            "learning_rate": 0.5,
            "optimizer_kwargs": {"momentum": 0.9},
            "lr_parameter_groups": {"bias": {"pattern": "bias", "lr_factor": 0.5}},
            **optim,
        },
    )


CADENCES: dict[str, dict[str, Any]] = {
    "epochs": {"save_on_train_epoch_end": True},
    "validations": {"save_on_train_epoch_end": False},
    "steps": {"every_n_train_steps": 3},
    # none of them an epoch's last
    "inner steps": {"every_n_train_steps": 4},
}


def resume_everywhere(
    tmp_path: Path, make: Callable[[], Configured], cadences: Iterable[str] = ("epochs", "steps"), **options: Any
) -> None:
    """Resume from every checkpoint, and compare with the run that was not stopped."""
    whole = make()
    savers = [saving(tmp_path / cadence, **CADENCES[cadence]) for cadence in cadences]
    options = {"max_epochs": EPOCHS, **options}
    trainer = trainer_for(tmp_path, *savers, enable_checkpointing=True, **options)
    trainer.fit(whole)
    # What never changes would be easy to resume.
    assert len(set(whole.rates)) > 1
    steps = trainer.global_step
    resumed_at: dict[str, set[int]] = {cadence: set() for cadence in cadences}
    for checkpoint in sorted(tmp_path.glob("*/*.ckpt")):
        done = torch.load(checkpoint, weights_only=True)["global_step"]
        if done == steps:
            continue
        resumed = make()
        resumed_trainer = trainer_for(tmp_path, **options)
        resumed_trainer.fit(resumed, ckpt_path=checkpoint)
        resumed_at[checkpoint.parent.name].add(done)
        assert resumed_trainer.global_step == steps
        assert resumed.trace
        assert resumed.trace == whole.trace[-len(resumed.trace) :], checkpoint
        assert all(map(torch.equal, resumed.parameters(), whole.parameters())), checkpoint
    every = {"epochs": steps // EPOCHS, "validations": steps // EPOCHS, "steps": 3, "inner steps": 4}
    assert resumed_at == {cadence: set(range(every[cadence], steps, every[cadence])) for cadence in cadences}


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_from_every_checkpoint(tmp_path: Path, name: str) -> None:
    resume_everywhere(tmp_path, lambda: configured(SCHEDULERS[name]))


@pytest.mark.parametrize("name", ["OneCycleLR", "linear", "every third step", "SequentialLR of ours"])
def test_under_accumulation(tmp_path: Path, name: str) -> None:
    # Three optimizer steps an epoch, the last of them after one batch.
    resume_everywhere(tmp_path, lambda: configured(SCHEDULERS[name]), accumulate_grad_batches=2)


def test_momentum_moves_in_both_groups(tmp_path: Path) -> None:
    module = configured(SCHEDULERS["OneCycleLR"])
    trainer_for(tmp_path, max_epochs=EPOCHS).fit(module)
    # It falls and rises again, by a value of its own at each step but for the first and the last.
    assert len({moments for *_, moments in module.trace}) == BATCHES * EPOCHS - 1
    assert all(first == second for *_, (first, second) in module.trace)


# -- ReduceLROnPlateau ------------------------------------------------------------------------------------------------

PLATEAU = {"scheduler": "ReduceLROnPlateau", "scheduler_kwargs": HALVE}
WARMUP_AND_PLATEAU = {
    "scheduler": "SequentialLR",
    "scheduler_kwargs": {"schedulers": [LINEAR, {"scheduler": "ReduceLROnPlateau", **HALVE}], "milestones": ["25%"]},
}
BOTH = pytest.mark.parametrize("optim", [PLATEAU, WARMUP_AND_PLATEAU], ids=["plateau", "warm-up and plateau"])


def scripted(optim: dict[str, Any], monitor: str, interval: str) -> Scripted:
    torch.manual_seed(1)
    configs = {"interval": interval, "monitor": monitor}
    return Scripted([1.0] * 4, batches=BATCHES, **{"learning_rate": 0.5, "scheduler_configs": configs, **optim})


@pytest.mark.parametrize("cadence", ["epochs", "inner steps"])
@pytest.mark.parametrize("monitor", ["val_loss", "train_loss"])
@BOTH
def test_a_plateau_by_step(tmp_path: Path, optim: dict[str, Any], monitor: str, cadence: str) -> None:
    resume_everywhere(tmp_path, lambda: scripted(optim, monitor, "step"), [cadence])


@pytest.mark.parametrize(
    ("interval", "cadence", "seen"),
    [
        # By epoch Lightning saves before it steps, and doesn't step at the end of an epoch that was resumed midway.
        ("epoch", "epochs", {5: [0.5, 0.5, 0.25], 10: [0.5, 0.25], 15: [0.25], 20: []}),
        ("epoch", "validations", {5: [0.5, 0.5, 0.25], 10: [0.5, 0.25], 15: [0.25], 20: []}),
        ("epoch", "inner steps", {4: [0.5, 0.5, 0.25], 8: [0.5, 0.25], 12: [0.25], 16: [], 20: []}),
        # By step it only does so where the checkpoint was made after an epoch's last step and before its validation.
        ("step", "steps", {3: [0.5, 0.25, 0.125], 6: [0.25, 0.125], 9: [0.25, 0.125], 12: [0.125], 15: [0.25], 18: []}),
    ],
)
def test_what_lightning_loses_of_a_plateau(
    tmp_path: Path, interval: str, cadence: str, seen: dict[int, list[float]]
) -> None:
    whole = scripted(PLATEAU, "val_loss", interval)
    saver = saving(tmp_path / cadence, **CADENCES[cadence])
    trainer_for(tmp_path, saver, max_epochs=EPOCHS, enable_checkpointing=True).fit(whole)
    assert whole.rate_of_epochs == [0.5, 0.5, 0.25, 0.125]
    found = {}
    for checkpoint in (tmp_path / cadence).glob("*.ckpt"):
        resumed = scripted(PLATEAU, "val_loss", interval)
        trainer_for(tmp_path, max_epochs=EPOCHS).fit(resumed, ckpt_path=checkpoint)
        # The rate of each epoch that was begun after the resume.
        begun = [rates[0] for _, batch, rates, _ in resumed.trace if batch == 0]
        found[torch.load(checkpoint, weights_only=True)["global_step"]] = begun
    assert found == seen


# -- a run that gets longer -------------------------------------------------------------------------------------------

CONSTANT = {"scheduler": "ConstantLR", "total_iters": 100}


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize(
    ("scheduler", "kwargs", "rates"),
    [
        # the rates at the beginning of epochs 2 to 7, of a schedule for 4
        ("CosineAnnealingLR", {}, [0.5, 0.1464466094067262, 0.0, 0.1464466094067262, 0.5, 0.8535533905932737]),
        ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": "25%"}, [0.75, 0.25, 0.0, 0.0, 0.0, 0.0]),
        ("PolynomialLR", {"total_iters": "100%"}, [0.5, 0.25, 0.0, 0.0, 0.0, 0.0]),
        ("linear", {}, [0.5, 0.25, 0.0, 0.0, 0.0, 0.0]),
        ("linear", {"warmup_ratio": 0.5}, [1.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
        ("cosine", {"warmup_steps": "25%"}, [0.75, 0.25, 0.0, 0.0, 0.0, 0.0]),
        ("Linear", {"end": 0.5, "total_steps": "75%"}, [2 / 3, 0.5, 0.5, 0.5, 0.5, 0.5]),
        ("Cyclical", {"period": "50%", "low": 0.0, "high": 1.0, "wave": "triangle"}, [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]),
        ("StepLR", {"step_size": "50%", "gamma": 0.5}, [0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
        ("MultiStepLR", {"milestones": ["75%"], "gamma": 0.5}, [1.0, 0.5, 0.5, 0.5, 0.5, 0.5]),
        ("SequentialLR",
         {"schedulers": [{**CONSTANT, "factor": 0.5}, {**CONSTANT, "factor": 0.25}], "milestones": ["75%"]},
         [0.5, 0.25, 0.25, 0.25, 0.25, 0.25]),
        ("SequentialLR", {"schedulers": [{**CONSTANT, "factor": 0.5}, {"scheduler": "linear"}], "milestones": ["50%"]},
         [1.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
    ],
)  # fmt: skip
def test_lengths_stay_as_they_were_found(
    tmp_path: Path, scheduler: str, kwargs: dict[str, Any], rates: list[float], interval: str
) -> None:
    def make() -> Configured:
        return Configured(
            BATCHES, scheduler=scheduler, scheduler_kwargs=kwargs, scheduler_configs={"interval": interval}
        )

    saver = saving(tmp_path, save_on_train_epoch_end=True)
    trainer_for(tmp_path, saver, max_epochs=EPOCHS, enable_checkpointing=True).fit(make())
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    longer = make()
    trainer_for(tmp_path, max_epochs=8).fit(longer, ckpt_path=checkpoint)
    assert longer.first_rates[::BATCHES] == pytest.approx(rates, abs=1e-12)


def test_a_warmup_before_a_plateau_stays_as_long_as_it_was(tmp_path: Path) -> None:
    parts = [{**LINEAR, "total_iters": 3}, {"scheduler": "ReduceLROnPlateau", **HALVE}]

    def make() -> Scripted:
        # It never has to go down.
        losses = [0.5**epoch for epoch in range(8)]
        kwargs = {"schedulers": parts, "milestones": ["50%"]}
        return Scripted(losses, batches=BATCHES, scheduler="SequentialLR", scheduler_kwargs=kwargs)

    saver = saving(tmp_path, save_on_train_epoch_end=True)
    planned, longer = make(), make()
    trainer_for(tmp_path, saver, max_epochs=EPOCHS, enable_checkpointing=True).fit(planned)
    assert planned.rate_of_epochs == [0.25, 0.5, 0.75, 0.75]
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    trainer_for(tmp_path, max_epochs=8).fit(longer, ckpt_path=checkpoint)
    assert longer.rate_of_epochs == [0.75] * 6
