"""LR schedulers by name, without Lightning: against torch's own, value by value, and through a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import SGD, Adam, AdamW, lr_scheduler
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lightning_anneal import (
    AnnealError,
    Linear,
    LinearWarmupCosineAnnealingLR,
    build_lr_scheduler,
    register_lr_scheduler,
)
from tests.optim.runs import first_rates, optimizer, resumed, run, settings

RATES = (0.4, 0.2, 0.1)
STEPS = 25

Make = Callable[[Any], Any]

WARMUP = {"scheduler": "LinearLR", "start_factor": 0.1, "total_iters": 4}
HALF = {"scheduler": "ConstantLR", "factor": 0.5, "total_iters": 6}
DECAY = {"scheduler": "ExponentialLR", "gamma": 0.9}


def sequence(made: Any) -> Any:
    parts = [LinearLR(made, 0.1, total_iters=4), CosineAnnealingLR(made, 8), ExponentialLR(made, 0.7)]
    return SequentialLR(made, parts, [4, 12])


def chain(made: Any) -> Any:
    return ChainedScheduler([ConstantLR(made, 0.5, 3), ExponentialLR(made, 0.9), MultiStepLR(made, [6, 11])], made)


TORCH: dict[str, tuple[dict[str, Any], Make]] = {
    "StepLR": ({"step_size": 3, "gamma": 0.7}, lambda made: StepLR(made, 3, 0.7)),
    "MultiStepLR": ({"milestones": [2, 5, 9], "gamma": 0.3}, lambda made: MultiStepLR(made, [2, 5, 9], 0.3)),
    "ConstantLR": ({"factor": 0.25, "total_iters": 4}, lambda made: ConstantLR(made, 0.25, 4)),
    "LinearLR": ({"start_factor": 0.1, "end_factor": 0.8, "total_iters": 9}, lambda made: LinearLR(made, 0.1, 0.8, 9)),
    "ExponentialLR": ({"gamma": 0.9}, lambda made: ExponentialLR(made, 0.9)),
    "PolynomialLR": ({"total_iters": 10, "power": 2.0}, lambda made: PolynomialLR(made, 10, 2.0)),
    "CosineAnnealingLR": ({"T_max": 7, "eta_min": 0.01}, lambda made: CosineAnnealingLR(made, 7, 0.01)),
    "CosineAnnealingWarmRestarts": (
        {"T_0": 3, "T_mult": 2, "eta_min": 0.01},
        lambda made: CosineAnnealingWarmRestarts(made, 3, 2, 0.01),
    ),
    "OneCycleLR": (
        {"max_lr": [1.0, 0.5, 0.3], "total_steps": 25, "pct_start": 0.4, "anneal_strategy": "linear"},
        lambda made: OneCycleLR(made, [1.0, 0.5, 0.3], total_steps=25, pct_start=0.4, anneal_strategy="linear"),
    ),
    "CyclicLR": (
        {"base_lr": 0.1, "max_lr": [0.4, 0.3, 0.2], "step_size_up": 3, "mode": "exp_range", "gamma": 0.95},
        lambda made: CyclicLR(made, 0.1, [0.4, 0.3, 0.2], 3, mode="exp_range", gamma=0.95),
    ),
    "ReduceLROnPlateau": (
        {"factor": 0.5, "patience": 1, "cooldown": 1, "min_lr": [0.1, 0.01, 0.0]},
        lambda made: ReduceLROnPlateau(made, factor=0.5, patience=1, cooldown=1, min_lr=[0.1, 0.01, 0.0]),
    ),
    "SequentialLR": (
        {
            "schedulers": [
                WARMUP,
                {"scheduler": "CosineAnnealingLR", "scheduler_kwargs": {"T_max": 8}},
                {"scheduler": "exponentiallr", "gamma": 0.7},
            ],
            "milestones": [4, 12],
        },
        sequence,
    ),
    "ChainedScheduler": (
        {
            "schedulers": [
                {"scheduler": "ConstantLR", "factor": 0.5, "total_iters": 3},
                {"scheduler": "ExponentialLR", "gamma": 0.9},
                {"scheduler": "MultiStepLR", "milestones": [6, 11]},
            ]
        },
        chain,
    ),
}

HUGGING_FACE: dict[str, dict[str, Any]] = {
    "linear": {"warmup_ratio": 0.2},
    "cosine": {"warmup_steps": 5},
    "cosine_with_restarts": {"warmup_steps": "1ep", "num_cycles": 3},
    "polynomial": {"lr_end": 0.01, "power": 2},
    "constant": {},
    "constant_with_warmup": {"warmup_steps": 6},
    "inverse_sqrt": {"warmup_steps": 5, "timescale": 3},
    "cosine_with_min_lr": {"min_lr": 0.05},
    "cosine_warmup_with_min_lr": {"min_lr_rate": 0.1, "warmup_steps": 4, "warmup_lr_rate": 0.2},
    "warmup_stable_decay": {"warmup_ratio": 0.2, "num_decay_steps": "40%", "decay_type": "1-sqrt"},
    "reduce_lr_on_plateau": {"patience": 1, "factor": 0.5},
}

OWN: dict[str, dict[str, Any]] = {
    "Constant": {"value": 0.5},
    "Linear": {"end": 0.1},
    "Cosine": {"end": 0.0, "duration": "60%"},
    "Exponential": {"end": 0.01},
    "Saturating": {"start": 0.0, "end": 1.0, "rate": 3},
    "Polynomial": {"end": 0.0, "power": 2},
    "Sigmoid": {"end": 0.1, "steepness": 8},
    "Competence": {"end": 0.1, "power": 3},
    "Cyclical": {"period": "30%", "low": 0.1, "high": 1.0},
    "WarmRestart": {"base": {"scheduler": "Cosine", "end": 0.0}, "interval": 5, "multiplier": 1.5},
    "Milestones": {"values": {3: 0.5, "50%": 0.1}},
    "Sequence": {
        "parts": [{"scheduler": "Linear", "start": 0, "end": 1, "duration": "20%"}, {"scheduler": "Cosine", "end": 0}]
    },
}

NESTED: dict[str, dict[str, Any]] = {
    "SequentialLR": {
        "schedulers": [
            {"scheduler": "constant_with_warmup", "warmup_steps": 3},
            DECAY,
            {"scheduler": "Linear", "end": 0},
        ],
        "milestones": ["20%", 12],
    },
    "LinearWarmupCosineAnnealingLR": {"warmup_epochs": 4, "eta_min": 0.01},
}

RUN: dict[str, Any] = {"interval": "step", "max_steps": 20, "steps_per_epoch": 5}

NAMED = [
    *((name, kwargs) for name, (kwargs, _) in TORCH.items()),
    *HUGGING_FACE.items(),
    *OWN.items(),
    *NESTED.items(),
]


def build(name: Any, kwargs: dict[str, Any] | None = None, made: Any = None, **options: Any) -> Any:
    made = optimizer(*RATES, momentum=0.9) if made is None else made
    return build_lr_scheduler(made, name, scheduler_kwargs=kwargs, **options)


def by_hand(make: Make, **options: Any) -> Any:
    return make(optimizer(*RATES, momentum=0.9, **options))


def test_the_table_has_every_scheduler_of_torch() -> None:
    assert {*TORCH, "LambdaLR", "MultiplicativeLR", "LRScheduler"} == set(lr_scheduler.__all__)


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=["plain", "foreach", "fused"])
@pytest.mark.parametrize("cls", [SGD, Adam, AdamW])
@pytest.mark.parametrize("name", TORCH)
def test_it_is_torchs_value_by_value(name: str, cls: Any, options: dict[str, Any]) -> None:
    kwargs, make = TORCH[name]
    options = {**options, "momentum": 0.9} if cls is SGD else options
    ours = build(name, kwargs, optimizer(*RATES, cls=cls, **options))
    torchs = make(optimizer(*RATES, cls=cls, **options))
    assert type(ours) is type(torchs)
    rates = run(ours, STEPS)
    assert rates == run(torchs, STEPS)
    assert len({first for first, *_ in rates}) > 1
    # The momentum that OneCycleLR and CyclicLR move is among these.
    assert settings(ours.optimizer) == settings(torchs.optimizer)
    for mine, theirs in zip(ours.optimizer.param_groups, torchs.optimizer.param_groups, strict=True):
        assert torch.equal(mine["params"][0], theirs["params"][0])


@pytest.mark.parametrize("cls", [SGD, Adam, AdamW])
@pytest.mark.parametrize("name", TORCH)
def test_rates_in_tensors(name: str, cls: Any) -> None:
    kwargs, make = TORCH[name]
    options = {"momentum": 0.9} if cls is SGD else {}
    made = optimizer(*RATES, cls=cls, tensor=True, **options)
    tensors = [group["lr"] for group in made.param_groups]
    assert run(build(name, kwargs, made), STEPS) == run(make(optimizer(*RATES, cls=cls, tensor=True, **options)), STEPS)
    assert all(group["lr"] is tensor for group, tensor in zip(made.param_groups, tensors, strict=True))


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}], ids=["plain", "foreach", "fused"])
@pytest.mark.parametrize("cls", [Adam, AdamW])
@pytest.mark.parametrize("name", [*HUGGING_FACE, *OWN, "LinearWarmupCosineAnnealingLR"])
def test_the_others_don_t_depend_on_the_optimizer(name: str, cls: Any, options: dict[str, Any]) -> None:
    kwargs = {**HUGGING_FACE, **OWN, **NESTED}[name]
    rates = run(build(name, kwargs, optimizer(*RATES, cls=cls, **options), **RUN), STEPS)
    assert rates == run(build(name, kwargs, optimizer(*RATES), **RUN), STEPS)
    in_tensors = run(build(name, kwargs, optimizer(*RATES, cls=cls, tensor=True), **RUN), STEPS)
    assert in_tensors == [pytest.approx(each, rel=1e-5, abs=1e-7) for each in rates]


@pytest.mark.parametrize("case", [str.lower, str.upper, str.swapcase])
@pytest.mark.parametrize("name", [*TORCH, "LinearWarmupCosineAnnealingLR"])
def test_torchs_names_in_any_case(name: str, case: Callable[[str], str]) -> None:
    kwargs = TORCH[name][0] if name in TORCH else NESTED[name]
    assert type(build(case(name), kwargs, **RUN)).__name__ == name


def test_a_name_on_both_sides_is_hugging_faces_in_lower_case() -> None:
    assert first_rates(build("linear", max_steps=4), 5) == [0.4, 0.4 * 0.75, 0.4 * 0.5, 0.4 * 0.25, 0.0]
    assert first_rates(build("Linear", {"end": 0.5}, max_epochs=3), 4) == [0.4, 0.4 * 0.75, 0.4 * 0.5, 0.4 * 0.5]
    assert first_rates(build("constant"), 2) == [0.4, 0.4]
    assert first_rates(build("Constant", {"value": 0.5}), 2) == [0.2, 0.2]


@pytest.mark.parametrize(
    ("name", "kwargs", "make"),
    [
        ("LambdaLR", {"lr_lambda": lambda t: 0.5**t}, lambda made: LambdaLR(made, lambda t: 0.5**t)),
        ("MultiplicativeLR", {"lr_lambda": lambda t: 0.9}, lambda made: MultiplicativeLR(made, lambda t: 0.9)),
        (
            "CyclicLR",
            {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": 2, "scale_fn": lambda x: 0.5},
            lambda made: CyclicLR(made, 0.1, 0.4, 2, scale_fn=lambda x: 0.5),
        ),
    ],
)
def test_functions_can_be_given_in_code(name: str, kwargs: dict[str, Any], make: Make) -> None:
    assert run(build(name, kwargs), 8) == run(by_hand(make), 8)


def test_a_schedule_can_be_given_in_code() -> None:
    assert first_rates(build(Linear(1.0, 0.5, 2)), 4) == [0.4, 0.4 * 0.75, 0.2, 0.2]
    assert first_rates(build(lambda t: 1 / (1 + t)), 3) == [0.4, 0.2, 0.4 / 3]
    parts = [{"scheduler": "ConstantLR", "factor": 0.5, "total_iters": 9}, {"scheduler": lambda t: 0.25 if t else 1.0}]
    assert first_rates(build("SequentialLR", {"schedulers": parts, "milestones": [2]}), 5) == [0.2, 0.2, 0.4, 0.1, 0.1]


@pytest.mark.parametrize(
    ("name", "kwargs", "make"),
    [
        ("StepLR", {"step_size": "3", "gamma": "5e-1"}, lambda made: StepLR(made, 3, 0.5)),
        ("MultiStepLR", {"milestones": ("2", "4"), "gamma": "0.1"}, lambda made: MultiStepLR(made, [2, 4])),
        ("OneCycleLR", {"max_lr": ["1.0", "5e-1", 0.1], "total_steps": "20"}, lambda made: OneCycleLR(made, [1.0, 0.5, 0.1], 20)),
        ("CosineAnnealingLR", {"T_max": 4.0, "eta_min": "1e-2"}, lambda made: CosineAnnealingLR(made, 4, 0.01)),
    ],
)  # fmt: skip
def test_numbers_may_be_text(name: str, kwargs: dict[str, Any], make: Make) -> None:
    assert run(build(name, kwargs), 10) == run(by_hand(make), 10)


@pytest.mark.parametrize(
    ("name", "kwargs", "make"),
    [
        ("StepLR", {"step_size": 3, "gamma": None}, lambda made: StepLR(made, 3)),
        ("LinearLR", {"start_factor": None, "total_iters": None}, lambda made: LinearLR(made)),
        ("ReduceLROnPlateau", {"mode": None, "patience": None}, lambda made: ReduceLROnPlateau(made)),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.4, "step_size_down": None}, lambda made: CyclicLR(made, 0.1, 0.4)),
    ],
)
def test_null_is_left_out(name: str, kwargs: dict[str, Any], make: Make) -> None:
    assert run(build(name, kwargs), 15) == run(by_hand(make), 15)


@pytest.mark.parametrize(
    ("name", "kwargs", "make"),
    [
        ("OneCycleLR", {"total_steps": 15, "cycle_momentum": False}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 15, cycle_momentum=False)),
        ("OneCycleLR", {"total_steps": 15, "three_phase": True}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 15, three_phase=True)),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.4, "cycle_momentum": False}, lambda made: CyclicLR(made, 0.1, 0.4, cycle_momentum=False)),
    ],
)  # fmt: skip
def test_booleans(name: str, kwargs: dict[str, Any], make: Make) -> None:
    ours, expected = build(name, kwargs), by_hand(make)
    assert run(ours, 15) == run(expected, 15)
    assert settings(ours.optimizer) == settings(expected.optimizer)


LENGTHS: list[tuple[str, dict[str, Any], dict[str, Any], Make]] = [
    # Left out: the run.
    ("CosineAnnealingLR", {}, {"max_epochs": 12}, lambda made: CosineAnnealingLR(made, 12)),
    ("CosineAnnealingLR", {"T_max": None}, {"max_epochs": "12"}, lambda made: CosineAnnealingLR(made, 12)),
    ("CosineAnnealingLR", {}, {"interval": "step", "max_epochs": 3, "steps_per_epoch": 5}, lambda made: CosineAnnealingLR(made, 15)),
    ("CosineAnnealingLR", {}, {"interval": "step", "max_steps": 17}, lambda made: CosineAnnealingLR(made, 17)),
    ("CosineAnnealingLR", {}, {"max_steps": 50, "steps_per_epoch": 8}, lambda made: CosineAnnealingLR(made, 7)),
    ("CosineAnnealingLR", {}, {"max_epochs": 9, "max_steps": 24, "steps_per_epoch": 8}, lambda made: CosineAnnealingLR(made, 3)),
    ("CosineAnnealingLR", {}, {"max_epochs": 2, "max_steps": 24, "steps_per_epoch": 8}, lambda made: CosineAnnealingLR(made, 2)),
    ("OneCycleLR", {}, {"max_steps": 20}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 20)),
    ("OneCycleLR", {}, {"max_epochs": 4, "steps_per_epoch": 5}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 20)),
    ("OneCycleLR", {}, {"interval": "epoch", "max_epochs": 20}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 20)),
    ("OneCycleLR", {"max_lr": 0.8}, {"max_steps": 20}, lambda made: OneCycleLR(made, 0.8, 20)),
    ("OneCycleLR", {"max_lr": None, "div_factor": 5}, {"max_steps": 20}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 20, div_factor=5)),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 2}, {"max_epochs": 8}, lambda made: LinearWarmupCosineAnnealingLR(made, 2, 8)),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 0}, {"max_steps": 16, "steps_per_epoch": 2}, lambda made: LinearWarmupCosineAnnealingLR(made, 0, 8)),
    # OneCycleLR's other way to say its length: epochs, of which each has the run's steps.
    ("OneCycleLR", {"epochs": 4}, {"steps_per_epoch": 5, "max_epochs": 50}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 20)),
    ("OneCycleLR", {"epochs": 4, "steps_per_epoch": 5}, {"steps_per_epoch": 7, "max_epochs": 50}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 20)),
    # A number is one of the interval's.
    ("StepLR", {"step_size": 4}, {"max_epochs": 3, "steps_per_epoch": 7}, lambda made: StepLR(made, 4)),
    ("StepLR", {"step_size": 4}, {"interval": "step", "max_epochs": 3, "steps_per_epoch": 7}, lambda made: StepLR(made, 4)),
    # Epochs.
    ("StepLR", {"step_size": "4ep"}, {}, lambda made: StepLR(made, 4)),
    ("StepLR", {"step_size": "2ep"}, {"interval": "step", "steps_per_epoch": 3}, lambda made: StepLR(made, 6)),
    ("StepLR", {"step_size": "0.5ep"}, {"interval": "step", "steps_per_epoch": 7}, lambda made: StepLR(made, 4)),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": "1ep", "step_size_down": "2ep"}, {"steps_per_epoch": 3}, lambda made: CyclicLR(made, 0.1, 0.4, 3, 6)),
    # Optimizer steps.
    ("StepLR", {"step_size": "5st"}, {"interval": "step"}, lambda made: StepLR(made, 5)),
    ("StepLR", {"step_size": "24st"}, {"steps_per_epoch": 8}, lambda made: StepLR(made, 3)),
    ("StepLR", {"step_size": "20st"}, {"steps_per_epoch": 8}, lambda made: StepLR(made, 3)),
    ("StepLR", {"step_size": "19st"}, {"steps_per_epoch": 8}, lambda made: StepLR(made, 2)),
    ("StepLR", {"step_size": "1st"}, {"steps_per_epoch": 8}, lambda made: StepLR(made, 1)),
    # A share of the run.
    ("StepLR", {"step_size": "30%"}, {"max_epochs": 20}, lambda made: StepLR(made, 6)),
    ("StepLR", {"step_size": "30%"}, {"max_epochs": 15}, lambda made: StepLR(made, 5)),
    ("StepLR", {"step_size": "30%"}, {"interval": "step", "max_epochs": 2, "steps_per_epoch": 5}, lambda made: StepLR(made, 3)),
    ("MultiStepLR", {"milestones": ["25%", 8, "12ep"]}, {"max_epochs": 20}, lambda made: MultiStepLR(made, [5, 8, 12])),
    ("MultiStepLR", {"milestones": ["25%", 8, "12ep"]}, {"interval": "step", "max_epochs": 20, "steps_per_epoch": 1}, lambda made: MultiStepLR(made, [5, 8, 12])),
    ("ConstantLR", {"factor": 0.5, "total_iters": "10%"}, {"max_epochs": 40}, lambda made: ConstantLR(made, 0.5, 4)),
    ("LinearLR", {"total_iters": "50%"}, {"max_epochs": 12}, lambda made: LinearLR(made, total_iters=6)),
    ("PolynomialLR", {"total_iters": "75%"}, {"max_epochs": 12}, lambda made: PolynomialLR(made, 9)),
    ("CosineAnnealingLR", {"T_max": "50%"}, {"max_epochs": 12}, lambda made: CosineAnnealingLR(made, 6)),
    ("CosineAnnealingWarmRestarts", {"T_0": "20%"}, {"max_epochs": 20}, lambda made: CosineAnnealingWarmRestarts(made, 4)),
    ("OneCycleLR", {"total_steps": "50%"}, {"max_steps": 40}, lambda made: OneCycleLR(made, [0.4, 0.2, 0.1], 20)),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": "25%"}, {"max_epochs": 8}, lambda made: LinearWarmupCosineAnnealingLR(made, 2, 8)),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": "1ep", "max_epochs": "100%"}, {"interval": "step", "max_epochs": 4, "steps_per_epoch": 5}, lambda made: LinearWarmupCosineAnnealingLR(made, 5, 20)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "options", "make"), LENGTHS)
def test_lengths(name: str, kwargs: dict[str, Any], options: dict[str, Any], make: Make) -> None:
    ours, expected = build(name, kwargs, **options), by_hand(make)
    assert run(ours, 20) == run(expected, 20)
    assert settings(ours.optimizer) == settings(expected.optimizer)


def cosines(made: Any, *lengths: int) -> list[Any]:
    return [CosineAnnealingLR(made, length) for length in lengths]


def test_a_part_has_its_stretch_of_the_sequence() -> None:
    kwargs = {"schedulers": [{"scheduler": "CosineAnnealingLR"}] * 3, "milestones": [4, "50%"]}
    ours = build("SequentialLR", kwargs, max_epochs=20)
    torchs = by_hand(lambda made: SequentialLR(made, cosines(made, 4, 6, 10), [4, 10]))
    assert run(ours, 25) == run(torchs, 25)


def test_a_part_has_its_stretch_by_step() -> None:
    kwargs = {"schedulers": [{"scheduler": "CosineAnnealingLR"}] * 2, "milestones": ["2ep"]}
    ours = build("SequentialLR", kwargs, interval="step", max_epochs=5, steps_per_epoch=4)
    torchs = by_hand(lambda made: SequentialLR(made, cosines(made, 8, 12), [8]))
    assert run(ours, 25) == run(torchs, 25)


@pytest.mark.parametrize("outer", ["SequentialLR", "ChainedScheduler"])
@pytest.mark.parametrize("inner", ["SequentialLR", "ChainedScheduler"])
@pytest.mark.parametrize("first", [True, False])
def test_torch_can_not_begin_one_within_another(outer: str, inner: str, first: bool) -> None:
    part = {"scheduler": inner, "schedulers": [WARMUP, DECAY], "milestones": [4]}
    parts = [part, DECAY] if first else [DECAY, part]
    with pytest.raises(AnnealError) as error:
        build(outer, {"schedulers": parts, "milestones": [9]}, max_epochs=20)
    assert str(error.value) == (
        f"scheduler_kwargs.schedulers.{0 if first else 1}.scheduler: "
        f"torch can't begin a {inner} within another scheduler; write its parts here"
    )


def test_a_chain_has_the_whole_run() -> None:
    kwargs = {
        "schedulers": [
            {"scheduler": "CosineAnnealingLR"},
            {"scheduler": "ConstantLR", "factor": 0.5, "total_iters": "20%"},
        ]
    }
    ours = build("ChainedScheduler", kwargs, max_epochs=20)
    torchs = by_hand(lambda made: ChainedScheduler([CosineAnnealingLR(made, 20), ConstantLR(made, 0.5, 4)], made))
    assert run(ours, 22) == run(torchs, 22)


def two(made: Any) -> Any:
    return ChainedScheduler([ConstantLR(made, 0.5, 6), ExponentialLR(made, 0.9)], made)


@pytest.mark.parametrize(
    ("part", "make"),
    [
        ({"scheduler": "linear"}, lambda t: max(1 - t / 16, 0)),
        ({"scheduler": "linear", "warmup_ratio": 0.25}, lambda t: t / 4 if t < 4 else max(1 - (t - 4) / 12, 0)),
        # The last of the 20 steps trains at the end value, as it does without a sequence.
        ({"scheduler": "Linear", "end": 0.0}, lambda t: 1 - min(t, 15) / 15),
        ({"scheduler": "LinearWarmupCosineAnnealingLR", "warmup_epochs": 0}, None),
    ],
)
def test_other_parts_have_their_stretch_too(part: dict[str, Any], make: Callable[[int], float] | None) -> None:
    kwargs = {"schedulers": [{"scheduler": "ConstantLR", "factor": 0.5, "total_iters": 9}, part], "milestones": [4]}
    ours = run(build("SequentialLR", kwargs, interval="step", max_steps=20), 25)
    assert ours[:4] == [(0.2, 0.1, 0.05)] * 4
    if make is None:
        last = run(by_hand(lambda made: LinearWarmupCosineAnnealingLR(made, 0, 16)), 21)
    else:
        last = [(0.4 * make(t), 0.2 * make(t), 0.1 * make(t)) for t in range(21)]
    assert ours[4:] == [pytest.approx(rates, rel=1e-12) for rates in last]


def test_one_cycle_in_a_sequence_peaks_at_the_rates_of_the_groups() -> None:
    parts = [{"scheduler": "LinearLR", "total_iters": 4}, {"scheduler": "OneCycleLR"}]
    ours = build("SequentialLR", {"schedulers": parts, "milestones": [4]}, max_steps=20)

    def make(made: Any) -> Any:
        warmup = LinearLR(made, total_iters=4)
        return SequentialLR(made, [warmup, OneCycleLR(made, [0.4, 0.2, 0.1], 16)], [4])

    assert run(ours, 20) == run(by_hand(make), 20)


@pytest.mark.parametrize(
    ("name", "kwargs", "options"),
    [
        ("OneCycleLR", {}, {"max_steps": 20}),
        ("linear", {}, {"max_steps": 20}),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.4, "step_size_up": "20%"}, {"max_steps": 20}),
        ("SequentialLR", {"schedulers": [WARMUP, {"scheduler": "cosine"}], "milestones": [4]}, {"max_steps": 20}),
        ("CosineAnnealingLR", {}, {"max_epochs": 20}),
        ("Linear", {"end": 0.0}, {"max_epochs": 20}),
        ("SequentialLR", {"schedulers": [WARMUP, {"scheduler": "Cosine", "end": 0}], "milestones": [4]}, {"max_epochs": 20}),
    ],
)  # fmt: skip
def test_the_natural_interval_is_the_one_whose_length_is_enough(
    name: str, kwargs: dict[str, Any], options: dict[str, Any]
) -> None:
    by_name = run(build(name, kwargs, **options), 15)
    interval: Any = "step" if "max_steps" in options else "epoch"
    assert by_name == run(build(name, kwargs, interval=interval, **options), 15)
    other: dict[str, Any] = {"max_epochs": 20} if interval == "step" else {"max_steps": 20}
    with pytest.raises(AnnealError, match="the length of the run, which is not known"):
        build(name, kwargs, **other)


@pytest.mark.parametrize("after", [0, 1, 7, 13])
@pytest.mark.parametrize(("name", "kwargs"), NAMED, ids=[name for name, _ in NAMED])
def test_a_resume_is_exact(name: str, kwargs: dict[str, Any], after: int, tmp_path: Path) -> None:
    whole = run(build(name, kwargs, **RUN), STEPS)
    assert resumed(tmp_path / "state", lambda: build(name, kwargs, **RUN), after, STEPS) == whole[after:]


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        ("CosineAnnealingLR", {}),
        ("MultiStepLR", {"milestones": ["25%", "75%"]}),
        ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": "10%"}),
        *((name, kwargs) for name, kwargs in HUGGING_FACE.items() if name not in ("constant", "reduce_lr_on_plateau")),
        *((name, kwargs) for name, kwargs in OWN.items() if name != "Constant"),
        ("SequentialLR", {"schedulers": [WARMUP, {"scheduler": "CosineAnnealingLR"}], "milestones": ["20%"]}),
        ("SequentialLR", {"schedulers": [WARMUP, {"scheduler": "cosine"}], "milestones": [4]}),
        ("SequentialLR", {"schedulers": [WARMUP, {"scheduler": "Linear", "end": 0}], "milestones": ["20%"]}),
        ("ChainedScheduler", {"schedulers": [WARMUP, {"scheduler": "CosineAnnealingLR"}]}),
    ],
)
def test_a_resume_in_a_longer_run_goes_on_as_it_began(name: str, kwargs: dict[str, Any], tmp_path: Path) -> None:
    longer = {**RUN, "max_steps": 40}
    whole = run(build(name, kwargs, **RUN), STEPS)
    rates = resumed(
        tmp_path / "state", lambda: build(name, kwargs, **RUN), 7, STEPS, lambda: build(name, kwargs, **longer)
    )
    assert rates == whole[7:]


@pytest.mark.parametrize(("name", "kwargs"), NAMED, ids=[name for name, _ in NAMED])
def test_the_mapping_is_never_changed(name: str, kwargs: dict[str, Any]) -> None:
    before = copy.deepcopy(kwargs)
    run(build(name, kwargs, **RUN), 12)
    assert kwargs == before


def broken(second: dict[str, Any], kind: str = "SequentialLR") -> tuple[str, dict[str, Any]]:
    milestones = {"milestones": [4]} if kind == "SequentialLR" else {}
    return kind, {"schedulers": [WARMUP, second], **milestones}


BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": -1}),
    ("OneCycleLR", {"max_lr": [1.0], "total_steps": 9}),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": 9, "final_div_factor": 0}),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "mode": "zigzag"}),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 5, "max_epochs": 5}),
    ("ReduceLROnPlateau", {"factor": 2}),
    ("cosine", {"warmup_steps": "x"}),
    ("Linear", {"end": -1}),
    broken({"scheduler": "StepLR"}),
    broken({"scheduler": "LinearLR", "start_factor": 2}),
    broken({"scheduler": "Cosine", "end": -1, "duration": 5}),
    broken({"scheduler": "SequentialLR", "schedulers": [WARMUP, {"scheduler": "StepLR"}], "milestones": [2]}),
    broken({"scheduler": "Cosine", "end": 0, "duration": 5}, "ChainedScheduler"),
    broken({"scheduler": "OneCycleLR", "total_steps": 5}, "ChainedScheduler"),
]


@pytest.mark.parametrize("tensor", [False, True], ids=["numbers", "tensors"])
@pytest.mark.parametrize(("name", "kwargs"), BROKEN)
def test_the_optimizer_is_as_it_was_after_an_error(name: str, kwargs: dict[str, Any], tensor: bool) -> None:
    made = optimizer(*RATES, tensor=tensor, momentum=0.9)
    before, weights = settings(made), [group["params"] for group in made.param_groups]
    with pytest.raises(AnnealError):
        build(name, kwargs, made)
    assert settings(made) == before
    assert all(group["params"] is was for group, was in zip(made.param_groups, weights, strict=True))
    assert run(build("ExponentialLR", {"gamma": 0.5}, made), 2) == run(
        ExponentialLR(optimizer(*RATES, tensor=tensor), 0.5), 2
    )


def test_a_registered_one_in_any_case() -> None:
    @register_lr_scheduler
    class ThirdingLR(ExponentialLR):
        def __init__(self, optimizer: Any) -> None:
            super().__init__(optimizer, gamma=1 / 3)

    assert type(build("thirdinglr")) is ThirdingLR
    assert first_rates(build("ThirdingLR"), 2) == [0.4, 0.4 * (1 / 3)]
    # Once more is no mistake: a notebook's cell runs twice.
    assert register_lr_scheduler(ThirdingLR) is ThirdingLR


def test_a_registered_one_by_another_name_gets_the_run_by_step() -> None:
    class Fade(LinearLR):
        def __init__(self, optimizer: Any, total_steps: int, low: float = 0.5) -> None:
            super().__init__(optimizer, 1.0, low, total_steps)

    register_lr_scheduler(Fade, "my-fade", interval="step")
    expected = [0.4, 0.35, 0.3, 0.25, 0.2, 0.2]
    assert first_rates(build("My-Fade", max_steps=4), 6) == pytest.approx(expected, rel=1e-12)
    assert first_rates(build("my-fade", {"total_steps": "50%", "low": "0.5"}, max_steps=8), 6) == pytest.approx(
        expected
    )
    parts = [{"scheduler": "my-fade"}, {"scheduler": "Constant", "value": 0.1}]
    rates = first_rates(build("SequentialLR", {"schedulers": parts, "milestones": [4]}, max_steps=9), 6)
    assert rates == pytest.approx([0.4, 0.35, 0.3, 0.25, 0.04, 0.04])
    with pytest.raises(AnnealError, match=r"scheduler_kwargs: Fade takes no 'lowest'; did you mean 'low'\? Fade takes"):
        build("my-fade", {"lowest": 0.1}, max_steps=4)


def test_a_registered_one_that_takes_anything() -> None:
    @register_lr_scheduler
    class AnythingLR(LRScheduler):
        def __init__(self, optimizer: Any, **options: Any) -> None:
            self.options = options
            super().__init__(optimizer)

        def get_lr(self) -> list[float | torch.Tensor]:
            return [0.5 * base for base in self.base_lrs]

    made = build("AnythingLR", {"color": "red", "total_iters": 5})
    assert made.options == {"color": "red", "total_iters": 5}
    assert run(made, 2) == [(0.2, 0.1, 0.05)] * 2


@pytest.mark.parametrize(
    ("cls", "name", "message"),
    [
        (dict, None, "scheduler: must be a subclass of LRScheduler, got <class 'dict'>"),
        ("StepLR", None, "scheduler: must be a subclass of LRScheduler, got 'StepLR'"),
        (StepLR, 3, "scheduler: a name must be a string, got 3"),
        (StepLR, "", "scheduler: a name must be a string, got ''"),
        (LinearLR, "steplr", "scheduler: 'steplr' is torch.optim.lr_scheduler's already; give another name"),
        (LinearLR, "Cosine_With_Restarts", "scheduler: 'Cosine_With_Restarts' is lightning_anneal's already; give another name"),
        (LinearLR, "reduce_lr_on_plateau", "scheduler: 'reduce_lr_on_plateau' is lightning_anneal's already; give another name"),
        (LinearLR, "CYCLICAL", "scheduler: 'CYCLICAL' is lightning_anneal's already; give another name"),
        (LinearLR, "LinearWarmupCosineAnnealingLR", "scheduler: 'LinearWarmupCosineAnnealingLR' is lightning_anneal.optim.schedules's already; give another name"),
    ],
)  # fmt: skip
def test_what_can_not_be_registered(cls: Any, name: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        register_lr_scheduler(cls, name)
    assert str(error.value) == message


def test_an_interval_that_is_none_can_not_be_registered() -> None:
    class HourlyLR(LinearLR):
        pass

    interval: Any = "hour"
    with pytest.raises(AnnealError, match="interval: "):
        register_lr_scheduler(HourlyLR, interval=interval)
    with pytest.raises(AnnealError, match="unknown scheduler 'HourlyLR'"):
        build("HourlyLR")
