"""`configure_optimizers` in real fits: the learning rate of every training step, against lists worked out by hand."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.tuner import Tuner
from omegaconf import OmegaConf
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.utils.data import DataLoader, IterableDataset

from lightning_anneal import (
    AnnealError,
    Cosine,
    HyperparamAnnealingCallback,
    Linear,
    LinearWarmupCosineAnnealingLR,
    OptimConfig,
    configure_optimizers,
)
from tests.optim.fitted import Configured, Scripted, by_hand, saving
from tests.tiny import trainer_for

Fit = Callable[..., Any]

BY_EPOCH = [epoch for epoch in range(4) for _ in range(8)]
# Calls of the scheduler that went before each batch, where gradients accumulate over 3 of 8 batches.
BY_THREES = [calls + 3 * epoch for epoch in range(4) for calls in (0, 0, 0, 1, 1, 1, 2, 2)]


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Any:
        return iter([[torch.ones(1, 4)]] * 8)


def endless() -> DataLoader[Any]:
    return DataLoader(Endless(), batch_size=None)


# -- lengths that are filled in ---------------------------------------------------------------------------------------

EPOCH, STEP = {"interval": "epoch"}, {"interval": "step"}
LENGTHS = [
    # options of the trainer, scheduler_configs, the run's length, calls of the scheduler before each batch
    ({"max_epochs": 4}, None, 4, BY_EPOCH),
    ({"max_epochs": 4}, EPOCH, 4, BY_EPOCH),
    ({"max_epochs": 4}, STEP, 32, list(range(32))),
    ({"max_epochs": 4, "accumulate_grad_batches": 3}, EPOCH, 4, BY_EPOCH),
    ({"max_epochs": 4, "accumulate_grad_batches": 3}, STEP, 12, BY_THREES),
    ({"max_epochs": 4, "accumulate_grad_batches": 4}, STEP, 8, [i // 4 for i in range(32)]),
    ({"max_epochs": 4, "limit_train_batches": 5}, STEP, 20, list(range(20))),
    ({"max_epochs": 4, "limit_train_batches": 0.5}, STEP, 16, list(range(16))),
    ({"max_epochs": -1, "max_steps": 20}, STEP, 20, list(range(20))),
    ({"max_epochs": -1, "max_steps": 20}, EPOCH, 3, BY_EPOCH[:20]),
    ({"max_epochs": -1, "max_steps": 6, "accumulate_grad_batches": 3}, STEP, 6, BY_THREES[:16]),
    ({"max_epochs": -1, "max_steps": 6, "accumulate_grad_batches": 3}, EPOCH, 2, BY_EPOCH[:16]),
    ({"max_epochs": 4, "max_steps": 10}, STEP, 10, list(range(10))),
    ({"max_epochs": 4, "max_steps": 10}, EPOCH, 2, BY_EPOCH[:10]),
    ({"max_epochs": 2, "max_steps": 100}, STEP, 16, list(range(16))),
    ({"max_epochs": 2, "max_steps": 100}, EPOCH, 2, BY_EPOCH[:16]),
    ({"max_epochs": 2, "max_steps": 100, "limit_train_batches": 4, "accumulate_grad_batches": 2}, STEP, 4,
     [0, 0, 1, 1, 2, 2, 3, 3]),
]  # fmt: skip


@pytest.mark.parametrize(("options", "configs", "length", "calls"), LENGTHS)
def test_t_max(
    fit: Fit, options: dict[str, Any], configs: dict[str, Any] | None, length: int, calls: list[int]
) -> None:
    module = Configured(scheduler="CosineAnnealingLR", scheduler_kwargs={"eta_min": 0.125}, scheduler_configs=configs)
    fit(module=module, **options)
    torchs = by_hand(lambda optimizer: CosineAnnealingLR(optimizer, T_max=length, eta_min=0.125), 40)
    assert module.configured["lr_scheduler"]["scheduler"].T_max == length
    assert module.first_rates == [torchs[done] for done in calls]


# By epoch it is seldom meant, as Lightning says.
@pytest.mark.filterwarnings("ignore:A `OneCycleLR` scheduler is using 'interval'")
@pytest.mark.parametrize(("options", "configs", "length", "calls"), LENGTHS[1:])
def test_total_steps_of_one_cycle(
    fit: Fit, options: dict[str, Any], configs: dict[str, Any], length: int, calls: list[int]
) -> None:
    module = Configured(
        optimizer_kwargs={"momentum": 0.9}, scheduler="OneCycleLR", scheduler_kwargs={"div_factor": 10},
        scheduler_configs=configs,
    )  # fmt: skip
    fit(module=module, **options)

    def one_cycle(optimizer: Any) -> OneCycleLR:
        return OneCycleLR(optimizer, max_lr=1.0, total_steps=length, div_factor=10)

    rates = by_hand(one_cycle, length - 1, momentum=0.9)
    moments = by_hand(one_cycle, length - 1, momentum=0.9, key="momentum")
    assert module.configured["lr_scheduler"]["scheduler"].total_steps == length
    assert module.first_rates == [rates[done] for done in calls]
    assert module.moments == [moments[done] for done in calls]
    assert len(set(module.moments)) > 1


@pytest.mark.parametrize(("options", "configs", "length", "calls"), LENGTHS)
def test_max_epochs_behind_a_warmup(
    fit: Fit, options: dict[str, Any], configs: dict[str, Any] | None, length: int, calls: list[int]
) -> None:
    module = Configured(
        scheduler="LinearWarmupCosineAnnealingLR", scheduler_kwargs={"warmup_epochs": 1}, scheduler_configs=configs
    )
    fit(module=module, **options)
    expected = by_hand(lambda optimizer: LinearWarmupCosineAnnealingLR(optimizer, 1, length), 40)
    assert expected[:2] == [0.0, 1.0]
    assert expected[length:] == [0.0] * (41 - length)
    assert module.first_rates == [expected[done] for done in calls]


@pytest.mark.parametrize(("options", "configs", "length", "calls"), LENGTHS[2:])
def test_num_training_steps(
    fit: Fit, options: dict[str, Any], configs: dict[str, Any], length: int, calls: list[int]
) -> None:
    fit(module=(module := Configured(scheduler="linear", scheduler_configs=configs)), **options)
    run = length
    if configs == EPOCH and "max_steps" in options:
        # Hugging Face's lengths are no whole numbers of epochs where the run isn't.
        run = {20: 2.5, 6: 2.0, 10: 1.25, 100: 2.0}[options["max_steps"]]
    assert module.first_rates == pytest.approx([1 - done / run for done in calls], abs=1e-15)


def test_warmup_ratio(fit: Fit) -> None:
    module = Configured(scheduler="linear", scheduler_kwargs={"warmup_ratio": 0.25})
    fit(module=module, max_epochs=2)
    assert module.first_rates[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert module.first_rates[4:] == pytest.approx([k / 12 for k in range(12, 0, -1)], abs=1e-15)


@pytest.mark.parametrize(
    ("milestones", "configs", "drops"),
    [
        (["50%", "75%"], EPOCH, [16, 24]),
        (["50%", "75%"], STEP, [16, 24]),
        (["1ep", "24st"], EPOCH, [8, 24]),
        (["1ep", 20, "24st"], STEP, [8, 20, 24]),
    ],
)
def test_units(fit: Fit, milestones: list[Any], configs: dict[str, Any], drops: list[int]) -> None:
    kwargs = {"milestones": milestones, "gamma": 0.5}
    module = fit(module=Configured(scheduler="MultiStepLR", scheduler_kwargs=kwargs, scheduler_configs=configs))
    rates = module.first_rates
    assert [i for i in range(1, 32) if rates[i] != rates[i - 1]] == drops
    assert rates[-1] == 0.5 ** len(drops)


@pytest.mark.parametrize("accumulate", [1, 4])
def test_one_cycle_in_epochs(fit: Fit, accumulate: int) -> None:
    module = Configured(optimizer="AdamW", scheduler="OneCycleLR", scheduler_kwargs={"epochs": 4})
    fit(module=module, accumulate_grad_batches=accumulate)
    scheduler = module.configured["lr_scheduler"]["scheduler"]
    assert scheduler.total_steps == 32 // accumulate
    torchs = by_hand(lambda o: OneCycleLR(o, 1.0, 32 // accumulate, cycle_momentum=False), 32 // accumulate - 1)
    assert module.first_rates == [torchs[i // accumulate] for i in range(32)]


def test_a_part_of_a_sequence_has_its_own_length(fit: Fit) -> None:
    parts = [{"scheduler": "LinearLR", "start_factor": 0.25, "total_iters": 3}, {"scheduler": "CosineAnnealingLR"}]
    module = Configured(
        scheduler="SequentialLR", scheduler_kwargs={"schedulers": parts, "milestones": [4]}, scheduler_configs=STEP
    )
    fit(module=module, max_epochs=2)
    cosine = by_hand(lambda optimizer: CosineAnnealingLR(optimizer, 12), 11)
    assert module.first_rates == [0.25, 0.5, 0.75, 1.0, *cosine]


def test_without_a_scheduler(fit: Fit) -> None:
    for more in ({}, {"scheduler": None}, {"scheduler": "null"}, {"scheduler": "None", "scheduler_kwargs": {}}):
        module = fit(module=Configured(**more), max_epochs=1)
        assert list(module.configured) == ["optimizer"]
        assert module.rates == [(1.0,)] * 8


def test_settings_of_a_scheduler_that_is_none_are_warned_of(fit: Fit) -> None:
    settings = {"scheduler_kwargs": {"T_max": 4}, "scheduler_configs": STEP}
    with pytest.warns(UserWarning, match="without a scheduler") as warned:
        fit(module=Configured(**settings), max_epochs=1)
    told = [str(each.message) for each in warned if "without a scheduler" in str(each.message)]
    rest = "without a scheduler: the learning rate stays as it is"
    assert told == [f"scheduler_kwargs {rest}", f"scheduler_configs {rest}"]


def test_a_key_that_is_none() -> None:
    with pytest.raises(AnnealError) as error:
        configure_optimizers(Configured(), learningrate=0.1)
    assert str(error.value) == "optim: unknown key 'learningrate'; did you mean 'learning_rate'?"


def test_a_part_that_is_none() -> None:
    with pytest.raises(AnnealError) as error:
        configure_optimizers(Configured(), part="layer")
    assert str(error.value) == "part: must be a submodule, got 'layer'"


def test_a_schedule_in_the_hparams_can_be_resumed(tmp_path: Path) -> None:
    module = Configured(scheduler=Linear(1.0, 0.0, 4))
    module.save_hyperparameters({"optim": {"scheduler": Linear(1.0, 0.0, 4)}})
    first = trainer_for(tmp_path, max_epochs=2)
    first.fit(module)
    first.save_checkpoint(tmp_path / "half.ckpt")
    again = Configured(scheduler=Linear(1.0, 0.0, 4))
    trainer_for(tmp_path, max_epochs=4).fit(again, ckpt_path=tmp_path / "half.ckpt")
    assert again.first_rates == [0.5] * 8 + [0.25] * 8


def test_max_steps_of_several_optimizers_are_warned_of(fit: Fit) -> None:
    class Manual(Configured):
        def __init__(self) -> None:
            super().__init__(scheduler="linear")
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            super().training_step(batch, batch_idx)
            self.optimizers().step()

    with pytest.warns(UserWarning, match="in manual optimization max_steps counts the steps of all optimizers"):
        fit(module=Manual(), max_epochs=-1, max_steps=4)


# -- when it is stepped -----------------------------------------------------------------------------------------------

PARTS = [{"scheduler": "LinearLR"}, {"scheduler": "linear"}]


@pytest.mark.parametrize(
    ("scheduler", "kwargs", "interval"),
    [
        ("OneCycleLR", {}, "step"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 1.0, "cycle_momentum": False}, "step"),
        ("cosine", {}, "step"),
        ("constant_with_warmup", {"warmup_steps": 2}, "step"),
        ("SequentialLR", {"schedulers": PARTS, "milestones": [2]}, "step"),
        ("Cosine", {"end": 0.1}, "epoch"),
        ("Cyclical", {"period": 2, "low": 0.5, "high": 1.0}, "epoch"),
        ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 1}, "epoch"),
        ("StepLR", {"step_size": 1}, "epoch"),
        (
            "SequentialLR",
            {"schedulers": [PARTS[0], {"scheduler": "StepLR", "step_size": 1}], "milestones": [1]},
            "epoch",
        ),
        ("ChainedScheduler", {"schedulers": [PARTS[0], {"scheduler": "StepLR", "step_size": 1}]}, "epoch"),
        ("reduce_lr_on_plateau", {"patience": 0}, "epoch"),
        (Cosine(1.0, 0.1, 2), {}, "epoch"),
    ],
)
def test_natural_intervals(fit: Fit, scheduler: Any, kwargs: dict[str, Any], interval: str) -> None:
    module = Scripted([1.0, 1.0], scheduler=scheduler, scheduler_kwargs=kwargs)
    fit(module=module, max_epochs=2)
    assert module.configured["lr_scheduler"]["interval"] == interval
    # The first batch of the second epoch is the first one with another rate, or the second one is.
    changed = [i for i in range(1, 16) if module.rates[i] != module.rates[i - 1]]
    plateau = scheduler == "reduce_lr_on_plateau"
    assert changed[:1] == ([] if plateau else [8] if interval == "epoch" else [1])


@pytest.mark.parametrize(
    ("configs", "options", "rates"),
    [
        # 10 with 8 batches an epoch
        ({"interval": "step", "frequency": 10}, {"max_epochs": 4}, [1.0] * 10 + [0.5] * 10 + [0.25] * 10 + [0.125] * 2),
        ({"interval": "step", "frequency": 3}, {"max_epochs": 1}, [1.0] * 3 + [0.5] * 3 + [0.25] * 2),
        # two optimizer steps an epoch; every third of them
        ({"interval": "step", "frequency": 3}, {"max_epochs": 4, "accumulate_grad_batches": 4},
         [1.0] * 12 + [0.5] * 12 + [0.25] * 8),
        ({"interval": "epoch", "frequency": 2}, {"max_epochs": 5}, [1.0] * 16 + [0.5] * 16 + [0.25] * 8),
        ({"interval": "epoch", "frequency": 3}, {"max_epochs": 2}, [1.0] * 16),
    ],
)  # fmt: skip
def test_frequency(fit: Fit, configs: dict[str, Any], options: dict[str, Any], rates: list[float]) -> None:
    step = {"step_size": 1, "gamma": 0.5}
    module = fit(module=Configured(scheduler="StepLR", scheduler_kwargs=step, scheduler_configs=configs), **options)
    assert module.first_rates == rates


def test_lengths_under_a_frequency(fit: Fit) -> None:
    fours = {"interval": "step", "frequency": 4}
    module = fit(module=Configured(scheduler="CosineAnnealingLR", scheduler_configs=fours), max_epochs=2)
    torchs = by_hand(lambda optimizer: CosineAnnealingLR(optimizer, 4), 4)
    assert module.first_rates == [torchs[i // 4] for i in range(16)]
    # Hugging Face's go by steps, whatever the frequency.
    module = fit(module=Configured(scheduler="linear", scheduler_configs=fours), max_epochs=2)
    assert module.first_rates == [1.0] * 4 + [0.75] * 4 + [0.5] * 4 + [0.25] * 4
    kwargs = {"end": 0.0, "duration": 8}
    module = fit(module=Configured(scheduler="Linear", scheduler_kwargs=kwargs, scheduler_configs=fours), max_epochs=2)
    assert module.first_rates == [1.0] * 4 + [0.5] * 4 + [0.0] * 8


# -- ReduceLROnPlateau ------------------------------------------------------------------------------------------------

HALVE = {"patience": 0, "factor": 0.5}


def plateau(losses: list[float], **configs: Any) -> Scripted:
    return Scripted(losses, scheduler="ReduceLROnPlateau", scheduler_kwargs=HALVE, scheduler_configs=configs or None)


@pytest.mark.parametrize(
    ("options", "monitor"), [({}, "val_loss"), ({"limit_val_batches": 0}, "train_loss")], ids=["validates", "not"]
)
@pytest.mark.parametrize("configs", [{}, {"interval": "step"}])
def test_a_plateau_watches_what_there_is_and_says_so(
    fit: Fit, options: dict[str, Any], monitor: str, configs: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    module = plateau([2.0, 2.0, 1.0, 1.0, 1.0], **configs)
    with caplog.at_level(logging.INFO):
        fit(module=module, max_epochs=5, **options)
    said = [record.getMessage() for record in caplog.records if "ReduceLROnPlateau" in record.getMessage()]
    assert said == [f"ReduceLROnPlateau watches {monitor} (scheduler_configs.monitor names another metric)"]
    assert module.configured["lr_scheduler"]["monitor"] == monitor
    assert module.rate_of_epochs == [1.0, 1.0, 0.5, 0.5, 0.25]


def test_a_module_without_a_validation(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    class Unvalidated(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1)
            self.rates: list[float] = []

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
            self.log("train_loss", 1.0)
            return self.layer(batch).mean()

        def train_dataloader(self) -> DataLoader[Any]:
            return DataLoader(torch.ones(2, 4))

        def configure_optimizers(self) -> Any:
            return configure_optimizers(
                self, learning_rate=1.0, scheduler="reduce_lr_on_plateau", scheduler_kwargs=HALVE
            )

    module = Unvalidated()
    with caplog.at_level(logging.INFO):
        fit(module=module, max_epochs=3)
    assert "ReduceLROnPlateau watches train_loss" in caplog.text
    assert module.rates == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


def test_a_monitor_of_ones_own_is_not_told(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    class Both(Scripted):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_accuracy", self.losses[self.current_epoch])

    kwargs, configs = {**HALVE, "mode": "max"}, {"monitor": "val_accuracy"}
    module = Both(
        [1.0, 2.0, 2.0, 2.0], scheduler="ReduceLROnPlateau", scheduler_kwargs=kwargs, scheduler_configs=configs
    )
    with caplog.at_level(logging.INFO):
        fit(module=module)
    assert "watches" not in caplog.text
    assert module.rate_of_epochs == [1.0, 1.0, 1.0, 0.5]


def test_a_plateau_looks_after_a_validation_only(fit: Fit) -> None:
    module = fit(module=plateau([1.0] * 8, interval="epoch"), max_epochs=8, check_val_every_n_epoch=2)
    # Validated after the second, fourth, sixth epoch; the first time gives it something to compare with.
    assert module.rate_of_epochs == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


def test_by_step_it_would_look_where_there_is_none(fit: Fit) -> None:
    with pytest.raises(AnnealError) as error:
        fit(module=plateau([1.0] * 2, interval="step"), max_epochs=2, check_val_every_n_epoch=2)
    assert str(error.value) == (
        "scheduler_configs.interval: by step a ReduceLROnPlateau looks in every epoch, "
        "and there is a val_loss in one of 2; take epoch"
    )


def test_a_plateau_on_the_training_looks_after_every_epoch(fit: Fit) -> None:
    module = fit(module=plateau([1.0] * 4, monitor="train_loss"), check_val_every_n_epoch=2)
    assert module.rate_of_epochs == [1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("frequency", "options", "rates"),
    [
        (4, {}, [1.0] * 8 + [0.5] * 4 + [0.25] * 4),
        (2, {"accumulate_grad_batches": 2}, [1.0] * 8 + [0.5] * 4 + [0.25] * 4),
        (8, {}, [1.0] * 16),
    ],
)
def test_a_plateau_by_step_within_an_epoch(
    fit: Fit, frequency: int, options: dict[str, Any], rates: list[float]
) -> None:
    module = plateau([1.0] * 2, interval="step", frequency=frequency, monitor="train_loss")
    fit(module=module, max_epochs=2, **options)
    assert module.first_rates == rates


def test_a_plateau_by_step_that_does_not_fit_into_an_epoch(fit: Fit) -> None:
    what = "ReduceLROnPlateau by step looks at whole parts of an epoch of 8 steps, not every 3"
    with pytest.raises(AnnealError) as error:
        fit(module=plateau([1.0], interval="step", frequency=3))
    assert str(error.value) == f"scheduler_configs.frequency: {what}"


# -- warm-up, then plateau --------------------------------------------------------------------------------------------


def warmup_then_plateau(losses: list[float], steps: int, interval: str, **more: Any) -> Scripted:
    parts = [
        {"scheduler": "LinearLR", "start_factor": 0.25, "total_iters": steps},
        {"scheduler": "ReduceLROnPlateau", **HALVE},
    ]
    kwargs = {"schedulers": parts, "milestones": [steps]}
    return Scripted(
        losses, scheduler="SequentialLR", scheduler_kwargs=kwargs, scheduler_configs={"interval": interval}, **more
    )


def test_a_plateau_after_a_warmup_has_no_frequency() -> None:
    module = warmup_then_plateau([1.0], 3, "epoch")
    module.optim["scheduler_configs"] = {"frequency": 2}
    with pytest.raises(AnnealError) as error:
        module.configure_optimizers()
    assert str(error.value) == "scheduler_configs.frequency: a warm-up before a ReduceLROnPlateau has none but 1"


def test_a_plateau_after_a_warmup_by_epoch(fit: Fit) -> None:
    # 0.1 during the warm-up would be the best for ever, had it been looked at.
    module = warmup_then_plateau([0.1, 0.1, 0.1, 1.0, 1.0, 1.0, 0.5], 3, "epoch")
    fit(module=module, max_epochs=7)
    assert module.rate_of_epochs == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize(
    ("steps", "epochs"),
    [
        # It ends within the second epoch, whose metric counts; that of the third is no better.
        (12, [1.0, 0.5, 0.25]),
        # It ends with the second epoch: nothing was trained since, and the third one's counts first.
        (16, [1.0, 1.0, 0.5]),
    ],
)
def test_a_plateau_after_a_warmup_by_step(fit: Fit, steps: int, epochs: list[float]) -> None:
    module = warmup_then_plateau([0.1, 0.2, 1.0, 1.0, 1.0], steps, "step")
    fit(module=module, max_epochs=5)
    warmup = [0.25 + 0.75 * min(i / steps, 1) for i in range(16)]
    assert module.first_rates[:16] == pytest.approx(warmup, abs=1e-12)
    # torch's LinearLR gets to 1.0 by multiplying.
    assert [module.first_rates[i] for i in (16, 24, 32)] == pytest.approx(epochs, abs=1e-12)


def test_a_plateau_after_a_warmup_with_groups_and_a_name(fit: Fit) -> None:
    module = warmup_then_plateau(
        [0.1, 0.1, 1.0, 1.0, 1.0], 2, "epoch",
        lr_parameter_groups={"slow": {"prefix": "layer", "lr_factor": 0.5}},
    )  # fmt: skip
    fit(module=module, max_epochs=5)
    assert module.rates[::8] == [(0.125, 0.25), (0.3125, 0.625), (0.5, 1.0), (0.5, 1.0), (0.25, 0.5)]
    [optimizer], configs = module.configured
    assert [group["name"] for group in optimizer.param_groups] == ["slow", "default"]
    assert [config["interval"] for config in configs] == ["epoch", "epoch"]


def test_a_plateau_after_three_parts(fit: Fit) -> None:
    parts = [
        {"scheduler": "ConstantLR", "factor": 0.5, "total_iters": 9},
        {"scheduler": "ConstantLR", "factor": 0.25, "total_iters": 1},
        {"scheduler": "ReduceLROnPlateau", **HALVE},
    ]
    kwargs = {"schedulers": parts, "milestones": [2, 3]}
    module = Scripted([0.1] * 3 + [1.0] * 3, scheduler="SequentialLR", scheduler_kwargs=kwargs)
    fit(module=module, max_epochs=6)
    assert module.rate_of_epochs == [0.5, 0.5, 0.25, 1.0, 1.0, 0.5]


# -- the learning rate ------------------------------------------------------------------------------------------------


class Rated(Configured):
    """A module with learning rates in the places they are looked for."""

    def __init__(self, own: dict[str, Any], hparams: dict[str, Any], **optim: Any) -> None:
        super().__init__(**{"learning_rate": None, **optim})
        self.save_hyperparameters(hparams)
        for key, value in own.items():
            setattr(self, key, value)


@pytest.mark.parametrize(
    ("own", "hparams", "optim", "rate"),
    [
        ({"learning_rate": 0.5, "lr": 0.25}, {"learning_rate": 0.75}, {}, 0.5),
        ({"lr": 0.25}, {"learning_rate": 0.75}, {}, 0.25),
        ({"learning_rate": None}, {"learning_rate": 0.75, "lr": 2.0}, {}, 0.75),
        ({}, {"lr": 0.125}, {}, 0.125),
        ({"lr": "1e-2"}, {}, {}, 0.01),
        ({"learning_rate": 0.5}, {}, {"learning_rate": 0.0625}, 0.0625),
        ({"learning_rate": 0.5}, {}, {"optimizer_kwargs": {"lr": 0.03125}}, 0.03125),
        ({}, {}, {}, 0.01),
        ({}, {}, {"optimizer": "adam"}, 0.001),
        ({}, {}, {"optimizer": "AdamW"}, 0.001),
        ({}, {}, {"optimizer": "Adagrad"}, 0.01),
        ({}, {}, {"optimizer": "Adamax"}, 0.002),
        ({"lr": 0.25}, {}, {"learning_rate": 0.0}, 0.0),
    ],
)
def test_learning_rates(
    fit: Fit, own: dict[str, Any], hparams: dict[str, Any], optim: dict[str, Any], rate: float
) -> None:
    module = fit(module=Rated(own, hparams, **optim), max_epochs=1, limit_train_batches=2)
    assert module.rates == [(rate,)] * 2


@pytest.mark.parametrize(
    ("own", "hparams", "message"),
    [
        ({"learning_rate": -1.0}, {}, "learning_rate: must not be negative, got -1.0"),
        ({"lr": float("nan")}, {}, "lr: must be a finite number, got nan"),
        ({}, {"lr": "fast"}, "lr: must be a number, got 'fast'"),
    ],
)
def test_learning_rates_that_are_none(fit: Fit, own: dict[str, Any], hparams: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        fit(module=Rated(own, hparams))
    assert str(error.value) == message


# -- lengths that can't be known --------------------------------------------------------------------------------------


RUN = "needs the length of the run, which is not known; give a number of"


@pytest.mark.parametrize(
    ("scheduler", "kwargs", "configs", "options", "message"),
    [
        ("CosineAnnealingLR", {}, STEP, {},
         f"scheduler_kwargs.T_max: leaving it out {RUN} steps"),
        ("OneCycleLR", {}, None, {},
         f"scheduler_kwargs.total_steps: leaving it out {RUN} steps"),
        ("OneCycleLR", {"epochs": 3}, None, {},
         "scheduler_kwargs.steps_per_epoch: '1ep' needs the number of steps in an epoch, which is not known; "
         "give a number of steps"),
        ("cosine", {"warmup_ratio": 0.1}, None, {},
         f"scheduler_kwargs.num_training_steps: leaving it out {RUN} steps"),
        ("StepLR", {"step_size": "2ep"}, STEP, {},
         "scheduler_kwargs.step_size: '2ep' needs the number of steps in an epoch, which is not known; "
         "give a number of steps"),
        ("ReduceLROnPlateau", {}, STEP, {},
         "scheduler_configs.frequency: ReduceLROnPlateau by step needs the length of an epoch; take interval: epoch"),
        ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 1}, None, {"max_epochs": -1},
         f"scheduler_kwargs.max_epochs: leaving it out {RUN} epochs"),
        ("CosineAnnealingLR", {}, None, {"max_epochs": -1},
         f"scheduler_kwargs.T_max: leaving it out {RUN} epochs"),
        ("Cosine", {"end": 0.0}, None, {"max_epochs": -1},
         f"scheduler_kwargs.duration: leaving it out {RUN} epochs"),
        ("MultiStepLR", {"milestones": ["50%"]}, None, {"max_epochs": -1},
         "scheduler_kwargs.milestones: '50%' needs the length of the run, which is not known; give a number of epochs"),
    ],
)  # fmt: skip
def test_a_length_that_is_not_known(
    tmp_path: Path, scheduler: str, kwargs: dict[str, Any], configs: Any, options: dict[str, Any], message: str
) -> None:
    module = Configured(scheduler=scheduler, scheduler_kwargs=kwargs, scheduler_configs=configs)
    trainer = trainer_for(tmp_path, limit_val_batches=0, **options)
    with pytest.raises(AnnealError) as error:
        trainer.fit(module, endless())
    assert str(error.value) == message
    assert module.rates == []


@pytest.mark.parametrize(
    ("scheduler", "kwargs", "configs", "options", "rates"),
    [
        ("StepLR", {"step_size": 3, "gamma": 0.5}, STEP, {"max_epochs": 1}, [1.0] * 3 + [0.5] * 3 + [0.25] * 2),
        ("Linear", {"end": 0.0}, None, {"max_epochs": 3}, [1.0] * 8 + [0.5] * 8 + [0.0] * 8),
        ("linear", {}, None, {"max_epochs": -1, "max_steps": 4}, [1.0, 0.75, 0.5, 0.25]),
        (
            "linear",
            {"num_training_steps": 4},
            None,
            {"max_epochs": 1, "limit_train_batches": 5},
            [1.0, 0.75, 0.5, 0.25, 0.0],
        ),
    ],
)
def test_a_loader_without_a_length_where_none_is_needed(
    tmp_path: Path, scheduler: str, kwargs: dict[str, Any], configs: Any, options: dict[str, Any], rates: Any
) -> None:
    module = Configured(scheduler=scheduler, scheduler_kwargs=kwargs, scheduler_configs=configs)
    trainer_for(tmp_path, limit_val_batches=0, **options).fit(module, endless())
    assert module.first_rates == rates


# -- where the settings come from -------------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "optimizer": "AdamW",
    "learning_rate": 0.5,
    "optimizer_kwargs": {"weight_decay": 0.05, "betas": [0.8, 0.9]},
    "scheduler": "SequentialLR",
    "scheduler_kwargs": {
        "schedulers": [
            {"scheduler": "LinearLR", "start_factor": 0.5, "total_iters": 2},
            {"scheduler": "CosineAnnealingLR"},
        ],
        "milestones": ["25%"],
    },
    "scheduler_configs": {"interval": "step"},
    "lr_parameter_groups": {"head": {"pattern": "^layer", "lr_factor": 0.5, "betas": [0.7, 0.9]}},
    "no_decay": ["bias"],
}  # fmt: skip


class Stored(Configured):
    """Its settings are one of its hyperparameters."""

    def __init__(self, optim: Any) -> None:
        super().__init__()
        self.save_hyperparameters()

    def configure_optimizers(self) -> Any:
        self.configured = configure_optimizers(self, **self.hparams.optim)
        return self.configured


FORMS = {"dict": dict, "OptimConfig": lambda settings: OptimConfig(**settings), "OmegaConf": OmegaConf.create}


@pytest.mark.parametrize("form", list(FORMS))
def test_a_dict_a_dataclass_and_omegaconf(fit: Fit, form: str) -> None:
    given = FORMS[form](copy.deepcopy(SETTINGS))
    before = copy.deepcopy(given)
    module = fit(module=Stored(given), max_epochs=1)
    assert given == before
    assert module.hparams.optim == before
    cosine = by_hand(lambda optimizer: CosineAnnealingLR(optimizer, 6), 5, lr=0.5)
    assert [rates[2] for rates in module.rates] == [0.25, 0.375, *cosine]
    groups = {group["name"]: group for group in module.configured["optimizer"].param_groups}
    assert {name: (group["weight_decay"], group["betas"]) for name, group in groups.items()} == {
        "head": (0.05, (0.7, 0.9)),
        "head_no_decay": (0.0, (0.7, 0.9)),
        "default": (0.05, (0.8, 0.9)),
        "default_no_decay": (0.0, (0.8, 0.9)),
    }


@pytest.mark.parametrize("form", ["dict", "OptimConfig"])
def test_a_checkpoint_that_holds_the_settings_is_resumed(tmp_path: Path, form: str) -> None:
    def module() -> Stored:
        return Stored(FORMS[form](copy.deepcopy(SETTINGS)))

    whole, resumed = module(), module()
    trainer_for(tmp_path, saving(tmp_path), max_epochs=2, enable_checkpointing=True).fit(whole)
    [checkpoint] = tmp_path.glob("epoch=0-*.ckpt")
    assert torch.load(checkpoint, weights_only=True)["hyper_parameters"]["optim"] == whole.hparams.optim
    trainer_for(tmp_path, max_epochs=2).fit(resumed, ckpt_path=checkpoint)
    assert resumed.rates == whole.rates[8:]
    assert Stored.load_from_checkpoint(checkpoint, weights_only=True).hparams.optim == whole.hparams.optim


def test_a_second_call_gives_the_same() -> None:
    module = Configured(**copy.deepcopy(SETTINGS), batches=4)
    module.optim["scheduler_kwargs"]["schedulers"][1]["T_max"] = 6
    module.optim["scheduler_kwargs"]["milestones"] = [2]
    first, second = module.configure_optimizers(), module.configure_optimizers()
    assert first["optimizer"] is not second["optimizer"]
    names, others = (
        [id(p) for group in each["optimizer"].param_groups for p in group["params"]] for each in (first, second)
    )
    assert names == others

    def options(configured: Any) -> list[dict[str, Any]]:
        groups = configured["optimizer"].param_groups
        return [{key: value for key, value in group.items() if key != "params"} for group in groups]

    assert options(first) == options(second)
    assert [len(group["params"]) for group in first["optimizer"].param_groups] == [1, 1, 1, 1]
    assert first["lr_scheduler"]["scheduler"].state_dict() == second["lr_scheduler"]["scheduler"].state_dict()


def test_several_fits_with_the_same_module(tmp_path: Path) -> None:
    module = Configured(scheduler="CosineAnnealingLR")
    for epochs in (2, 4, 2):
        module.trace.clear()
        trainer_for(tmp_path, max_epochs=epochs).fit(module)
        torchs = {2: [1.0, 0.5], 4: [1.0, 0.8535533905932737, 0.5, 0.14644660940672627]}
        assert module.first_rates[::8] == pytest.approx(torchs[epochs], abs=1e-15)
        assert len(module.rates) == 8 * epochs


# -- several optimizers -----------------------------------------------------------------------------------------------


class Adversaries(Configured):
    """Manual optimization: the first optimizer steps at every batch, the second one at every other."""

    def __init__(self, first: dict[str, Any], second: dict[str, Any]) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.parts = first, second

    def configure_optimizers(self) -> Any:
        first, second = self.parts
        self.configured = [
            configure_optimizers(self, part=self.layer, **first),
            configure_optimizers(self, part=self.net, **second),
        ]
        return self.configured

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.note(batch_idx)
        for i, (optimizer, part) in enumerate(zip(self.optimizers(), (self.layer, self.net), strict=True)):
            if batch_idx % (i + 1) == 0:
                optimizer.zero_grad()
                self.manual_backward(part(batch[0]).tanh().mean())
                optimizer.step()


def test_two_optimizers_for_parts_of_the_module(fit: Fit) -> None:
    module = Adversaries(
        {"optimizer": "SGD", "learning_rate": 0.5, "scheduler": "StepLR", "scheduler_kwargs": {"step_size": 1}},
        {"optimizer": "AdamW", "learning_rate": 0.25, "no_decay": ["bias"]},
    )
    before = [copy.deepcopy(parameter) for parameter in module.parameters()]
    fit(module=module, max_epochs=1)
    sgd, adam = module.trainer.optimizers
    assert (type(sgd), type(adam)) == (torch.optim.SGD, torch.optim.AdamW)
    assert [len(group["params"]) for group in sgd.param_groups] == [2]
    assert [(group["name"], group["weight_decay"]) for group in adam.param_groups] == [
        ("default", 0.01),
        ("default_no_decay", 0.0),
    ]
    # Lightning steps no scheduler here.
    assert module.rates == [(0.5, 0.25, 0.25)] * 8
    assert [config.scheduler.optimizer for config in module.trainer.lr_scheduler_configs] == [sgd]
    assert not any(torch.equal(was, now) for was, now in zip(before, module.parameters(), strict=True))


def test_a_plateau_in_manual_optimization_needs_no_monitor(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    watched = {"scheduler": "ReduceLROnPlateau", "scheduler_kwargs": HALVE, "scheduler_configs": {"monitor": "g_loss"}}
    module = Adversaries({"learning_rate": 0.5, **watched}, {"learning_rate": 0.25, "scheduler": "ReduceLROnPlateau"})
    with caplog.at_level(logging.INFO):
        fit(module=module, max_epochs=1)
    assert caplog.text.count("ReduceLROnPlateau watches val_loss") == 1
    assert module.rates == [(0.5, 0.25)] * 8


# -- together with others ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["learning_rate", "lr"])
@pytest.mark.parametrize("scheduler", ["CosineAnnealingLR", "OneCycleLR", "cosine"])
def test_lr_find(tmp_path: Path, name: str, scheduler: str) -> None:
    module = Rated({name: 0.5}, {}, scheduler=scheduler, scheduler_configs=STEP, optimizer_kwargs={"momentum": 0.9})
    trainer = trainer_for(tmp_path, max_epochs=2, enable_checkpointing=True)
    finder = Tuner(trainer).lr_find(module, num_training=16, min_lr=1e-4, max_lr=0.01, attr_name=name)
    assert finder is not None
    found = finder.suggestion(skip_begin=10, skip_end=1)
    assert found is not None
    assert 1e-4 < found < 0.01
    assert len(finder.results["lr"]) == 16
    assert getattr(module, name) == found
    module.trace.clear()
    trainer.fit(module)
    make = {
        "CosineAnnealingLR": lambda optimizer: CosineAnnealingLR(optimizer, 16),
        "OneCycleLR": lambda optimizer: OneCycleLR(optimizer, found, 16),
        "cosine": lambda optimizer: CosineAnnealingLR(optimizer, 16),
    }[scheduler]
    assert module.first_rates == pytest.approx(by_hand(make, 15, lr=found, momentum=0.9), rel=1e-9)


def test_the_weight_decay_of_a_named_group_is_annealed(tmp_path: Path) -> None:
    seen: list[list[float]] = []

    class Looking(Configured):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append([group["weight_decay"] for group in self.trainer.optimizers[0].param_groups])
            return super().training_step(batch, batch_idx)

    module = Looking(
        optimizer="AdamW",
        optimizer_kwargs={"weight_decay": 0.5},
        scheduler="CosineAnnealingLR",
        lr_parameter_groups={"head": {"prefix": "layer", "weight_decay": 0.25}},
    )
    ramp = {"strategy": "linear", "end_value": 1.0, "total_steps": 3}
    callback = HyperparamAnnealingCallback({"optimizer.param_groups.head.weight_decay": ramp})
    trainer_for(tmp_path, callback).fit(module)
    assert seen[::8] == [[0.25, 0.5], [0.5, 0.5], [0.75, 0.5], [1.0, 0.5]]
    assert module.first_rates[::8] == by_hand(lambda optimizer: CosineAnnealingLR(optimizer, 4), 3)


@pytest.mark.parametrize(
    ("optim", "path", "owner"),
    [
        ({"scheduler": "CosineAnnealingLR"}, "head.lr", "CosineAnnealingLR"),
        ({"scheduler": "cosine"}, "head.lr", "cosine"),
        ({"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 1},
          "scheduler_configs": {"interval": "step", "frequency": 10}}, "default.lr", "StepLR"),
        ({"scheduler": "OneCycleLR", "optimizer_kwargs": {"momentum": 0.9}}, "head.momentum", "OneCycleLR"),
        ({"scheduler": "OneCycleLR", "optimizer_kwargs": {"momentum": 0.9},
          "scheduler_configs": {"frequency": 2}}, "head.momentum", "OneCycleLR"),
        ({"scheduler": "SequentialLR", "optimizer_kwargs": {"momentum": 0.9}, "scheduler_kwargs": {
            "schedulers": [{"scheduler": "ConstantLR"}, {"scheduler": "OneCycleLR"}], "milestones": [4]}},
         "head.momentum", "SequentialLR"),
        ({"scheduler": "ReduceLROnPlateau", "scheduler_configs": {"monitor": "val_loss"}}, "*.lr", "ReduceLROnPlateau"),
    ],
)  # fmt: skip
def test_what_a_scheduler_owns_is_not_annealed(fit: Fit, optim: dict[str, Any], path: str, owner: str) -> None:
    module = Configured(**optim, lr_parameter_groups={"head": {"prefix": "layer"}})
    name = f"optimizer.param_groups.{path}"
    callback = HyperparamAnnealingCallback({name: {"strategy": "linear", "end_value": 0.5, "total_steps": 3}})
    with pytest.raises(AnnealError) as error:
        fit(callback, module=module)
    assert str(error.value) == f"{name}: owned by {owner}; anneal another key or drop that scheduler"
    assert module.rates == []


def test_the_learning_rate_is_annealed_where_there_is_no_scheduler(fit: Fit) -> None:
    ramp = {"strategy": "linear", "end_value": 0.25, "total_steps": 3}
    callback = HyperparamAnnealingCallback({"optimizer.param_groups.head.lr": ramp})
    module = Configured(lr_parameter_groups={"head": {"prefix": "layer"}})
    assert fit(callback, module=module).rates[::8] == [(1.0, 1.0), (0.75, 1.0), (0.5, 1.0), (0.25, 1.0)]
