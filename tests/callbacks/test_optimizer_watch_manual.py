"""LR schedulers that OptimizerWatchCallback steps in manual optimization, where Lightning steps none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lightning_anneal import (
    AnnealError,
    OptimizerWatchCallback,
)
from tests.callbacks.watched import FIRST, HALVING, SECOND, STEP, Manual, halved
from tests.optim.fitted import Configured, saving
from tests.tiny import trainer_for

Fit = Callable[..., Any]
Logged = dict[str, list[tuple[int, float]]]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # calls of each scheduler before each of the eight batches
        ({**HALVING, "scheduler_configs": STEP}, {**HALVING, "scheduler_configs": STEP},
         ([0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 1, 2, 2, 3, 3, 4])),
        ({**HALVING, "scheduler_configs": {"interval": "step", "frequency": 3}},
         {**HALVING, "scheduler_configs": {"interval": "step", "frequency": 3}},
         ([0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1, 1, 1])),
        ({}, {**HALVING, "scheduler_configs": STEP}, ([0] * 8, [0, 1, 1, 2, 2, 3, 3, 4])),
        ({**HALVING, "scheduler_configs": STEP}, {**HALVING, "scheduler_configs": {"frequency": 1}},
         ([0, 1, 2, 3, 4, 5, 6, 7], [0] * 8)),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:the learning rate .* never changed")
def test_schedulers_are_stepped_with_their_optimizers(
    fit: Fit, first: dict[str, Any], second: dict[str, Any], expected: tuple[list[int], list[int]]
) -> None:
    module = Manual({**FIRST, **first}, {**SECOND, **second})
    fit(OptimizerWatchCallback(step_schedulers=True), module=module, max_epochs=1)
    assert module.rates == list(zip(halved(1.0, expected[0]), halved(0.5, expected[1]), strict=True))


def test_across_epochs(fit: Fit) -> None:
    # Three batches an epoch, of which the second optimizer steps at the first and the third.
    every_other = {**HALVING, "scheduler_configs": {"interval": "step", "frequency": 2}}
    module = Manual({**FIRST, **every_other}, {**SECOND, **every_other}, batches=3)
    fit(OptimizerWatchCallback(step_schedulers=True), module=module, max_epochs=3)
    assert [rates[0] for rates in module.rates] == halved(1.0, [0, 0, 1, 1, 2, 2, 3, 3, 4])
    assert [rates[1] for rates in module.rates] == halved(0.5, [0, 0, 0, 1, 1, 1, 2, 2, 2])


def test_by_epoch(fit: Fit) -> None:
    module = Manual({**FIRST, **HALVING}, {**SECOND, **HALVING, "scheduler_configs": {"frequency": 2}})
    fit(OptimizerWatchCallback(step_schedulers=True), module=module)
    assert module.rates[::8] == [(1.0, 0.5), (0.5, 0.5), (0.25, 0.25), (0.125, 0.25)]
    assert len(set(module.rates)) == 4


@pytest.mark.parametrize(
    ("configs", "options", "rates"),
    [
        (None, {}, [1.0, 1.0, 0.5, 0.5, 0.25]),
        ({"monitor": "train_loss"}, {}, [1.0, 1.0, 0.5, 0.5, 0.25]),
        (None, {"limit_val_batches": 0}, [1.0, 1.0, 0.5, 0.5, 0.25]),
        (None, {"check_val_every_n_epoch": 2}, [1.0] * 5),
        ({"frequency": 2, "monitor": "train_loss"}, {}, [1.0] * 5),
        ({"interval": "step"}, {}, [1.0, 1.0, 0.5, 0.5, 0.25]),
    ],
)
def test_a_plateau_in_manual_optimization(
    fit: Fit, configs: dict[str, Any] | None, options: dict[str, Any], rates: list[float]
) -> None:
    watching = {
        "scheduler": "ReduceLROnPlateau",
        "scheduler_kwargs": {"patience": 0, "factor": 0.5},
        "scheduler_configs": configs,
    }
    module = Manual({**FIRST, **watching}, SECOND, losses=(2.0, 2.0, 1.0, 1.0, 1.0))
    fit(OptimizerWatchCallback(step_schedulers=True), module=module, max_epochs=5, **options)
    assert [rates[0] for rates in module.rates[::8]] == rates


def test_a_metric_that_a_plateau_lacks_in_manual_optimization(fit: Fit) -> None:
    watching = {"scheduler": "ReduceLROnPlateau", "scheduler_configs": {"monitor": "score"}}
    module = Manual({**FIRST, **watching}, SECOND)
    with pytest.raises(AnnealError) as error:
        fit(OptimizerWatchCallback(step_schedulers=True), module=module)
    assert str(error.value) == "scheduler_configs.monitor: 'score' is not logged; logged: train_loss, val_loss"


def test_automatic_optimization_is_lightnings(fit: Fit) -> None:
    module = fit(OptimizerWatchCallback(step_schedulers=True), module=Configured(**HALVING))
    assert module.first_rates[::8] == [1.0, 0.5, 0.25, 0.125]


def test_no_hook_stays_in_the_optimizers(fit: Fit) -> None:
    module = Manual({**FIRST, **HALVING}, SECOND)
    fit(OptimizerWatchCallback(step_schedulers=True), module=module, max_epochs=2)
    assert [len(optimizer._optimizer_step_post_hooks) for optimizer in module.trainer.optimizers] == [0, 0]


MIXED = [
    ({**FIRST, "scheduler": "linear"}, {**SECOND, **HALVING}),
    (
        {**FIRST, "scheduler": "StepLR", "scheduler_kwargs": {"step_size": 1, "gamma": 0.9},
         "scheduler_configs": {"interval": "step", "frequency": 3}},
        {**SECOND, "scheduler": "WarmRestart", "scheduler_configs": STEP,
         "scheduler_kwargs": {"base": {"scheduler": "Cosine", "end": 0.1}, "interval": 5}},
    ),
    (
        {**FIRST, "scheduler": "ReduceLROnPlateau", "scheduler_kwargs": {"patience": 0, "factor": 0.5}},
        {**SECOND, "scheduler": "OneCycleLR"},
    ),
]  # fmt: skip


@pytest.mark.parametrize("parts", MIXED, ids=["linear, StepLR", "gated, restarts", "plateau, OneCycleLR"])
@pytest.mark.parametrize("when", [{"save_on_train_epoch_end": True}, {"every_n_train_steps": 4}])
@pytest.mark.filterwarnings(
    "ignore:OneCycleLR ends late",
    "ignore:Using ModelCheckpoint with manual optimization",
    "ignore:the learning rate .* never changed",
    # torch's own, where the resumed part of an epoch has no step of the second optimizer
    "ignore:Detected call of `lr_scheduler.step",
)
def test_a_resume_in_manual_optimization(tmp_path: Path, parts: Any, when: dict[str, Any]) -> None:
    def module() -> Manual:
        torch.manual_seed(1)
        made = Manual(*parts, batches=6)
        made.net = nn.Linear(4, 4)
        return made

    def watch() -> OptimizerWatchCallback:
        return OptimizerWatchCallback(step_schedulers=True)

    whole = module()
    saver = saving(tmp_path, **when)
    trainer_for(tmp_path, watch(), saver, max_epochs=4, enable_checkpointing=True).fit(whole)
    assert len(set(whole.rates)) >= 4
    resumed_from = 0
    for checkpoint in tmp_path.glob("*.ckpt"):
        # Nine steps an epoch: six of the first optimizer, three of the second.
        if torch.load(checkpoint, weights_only=True)["global_step"] == 36:
            continue
        resumed = module()
        trainer_for(tmp_path, watch(), max_epochs=4).fit(resumed, ckpt_path=checkpoint)
        assert resumed.trace
        assert resumed.trace == whole.trace[-len(resumed.trace) :], checkpoint
        assert all(map(torch.equal, resumed.parameters(), whole.parameters())), checkpoint
        resumed_from += 1
    assert resumed_from >= 3
