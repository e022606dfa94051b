"""Lengths among the arguments of torch's schedulers, in steps of the scheduler's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, MultiStepLR, OneCycleLR, StepLR

from lightning_anneal.clock import Horizon
from lightning_anneal.optim.lengths import Timing, with_lengths
from lightning_anneal.optim.schedulers import build
from lightning_anneal.optim.schedules import LinearWarmupCosineAnnealingLR
from lightning_anneal.optim.specs import read_spec

RUN = Horizon(max_epochs=10, steps_per_epoch=lambda: 8)


@pytest.mark.parametrize(
    ("cls", "given", "interval", "every", "expected"),
    [
        # Plain numbers count steps of the scheduler, whatever the frequency.
        (StepLR, {"step_size": 4}, "epoch", 2, {"step_size": 4}),
        # Units count time: four epochs are two steps at every second.
        (StepLR, {"step_size": "4ep"}, "epoch", 1, {"step_size": 4}),
        (StepLR, {"step_size": "4ep"}, "epoch", 2, {"step_size": 2}),
        (StepLR, {"step_size": "4ep"}, "step", 1, {"step_size": 32}),
        (StepLR, {"step_size": "4ep"}, "step", 5, {"step_size": 6}),
        (StepLR, {"step_size": "24st"}, "epoch", 1, {"step_size": 3}),
        (StepLR, {"step_size": "1st"}, "epoch", 1, {"step_size": 1}),
        # A half is rounded up.
        (MultiStepLR, {"milestones": ["25%", 9]}, "epoch", 1, {"milestones": [3, 9]}),
        (MultiStepLR, {"milestones": ["50%"]}, "epoch", 2, {"milestones": [3]}),
        (LinearLR, {"total_iters": "20%"}, "step", 4, {"total_iters": 4}),
        # What is left out is the run, of which every step begun counts.
        (CosineAnnealingLR, {}, "epoch", 1, {"T_max": 10}),
        (CosineAnnealingLR, {}, "epoch", 3, {"T_max": 4}),
        (CosineAnnealingLR, {"T_max": None}, "step", 1, {"T_max": 80}),
        (CosineAnnealingLR, {}, "step", 3, {"T_max": 27}),
        (OneCycleLR, {}, "step", 3, {"total_steps": 27}),
        (OneCycleLR, {"epochs": 4}, "step", 3, {"epochs": 4, "steps_per_epoch": 3}),
        (OneCycleLR, {"epochs": 4}, "epoch", 1, {"epochs": 4, "steps_per_epoch": 1}),
        (LinearWarmupCosineAnnealingLR, {"warmup_epochs": "10%"}, "epoch", 1, {"warmup_epochs": 1, "max_epochs": 10}),
        (LinearWarmupCosineAnnealingLR, {"warmup_epochs": 1.5}, "epoch", 1, {"warmup_epochs": 1.5, "max_epochs": 10}),
        # The run is too short for the warm-up: it goes on past it.
        (LinearWarmupCosineAnnealingLR, {"warmup_epochs": 12}, "epoch", 1, {"warmup_epochs": 12, "max_epochs": 13}),
    ],
)
def test_lengths(cls: type, given: dict[str, Any], interval: Any, every: int, expected: dict[str, Any]) -> None:
    timing = Timing(interval, every, RUN)
    found = with_lengths("scheduler_kwargs", cls, given, timing)
    assert {key: value for key, value in found.items() if value is not None} == expected


def test_a_part_has_its_stretch_of_the_run() -> None:
    part = Timing("step", 2, RUN).stretch(30.0)
    assert with_lengths("scheduler_kwargs", CosineAnnealingLR, {}, part) == {"T_max": 15}
    # Per cent are of the whole run all the same.
    assert with_lengths("scheduler_kwargs", StepLR, {"step_size": "50%"}, part) == {"step_size": 20}


def test_parts_of_a_sequence_that_is_stepped_at_every_second_step() -> None:
    parts = [{"scheduler": "ConstantLR", "factor": 1.0}, {"scheduler": "linear"}]
    kwargs = {"schedulers": parts, "milestones": ["20%"]}
    spec = read_spec("scheduler", "SequentialLR", "scheduler_kwargs", kwargs)
    optimizer = SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = build(optimizer, spec, Timing("step", 2, Horizon(max_steps=40)))
    rates = []
    for _ in range(22):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    # 20 % of 40 steps are 4 of the scheduler's own; the other 32 are 16 of them, down from 1 to 0.
    assert rates == [1.0] * 4 + [1 - i / 16 for i in range(16)] + [0.0] * 2
