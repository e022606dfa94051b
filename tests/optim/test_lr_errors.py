"""What an LR scheduler can't be: each told in one line, and nothing else ever raised."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from lightning_anneal import AnnealError, Linear, build_lr_scheduler
from tests.optim.runs import optimizer, run, settings

NAN = float("nan")
HUGE = 10**400

KNOWN = "known: ChainedScheduler, Competence, Constant, ConstantLR, Cosine, "
STEP = "StepLR takes step_size, gamma"
UNITS = "must be a number, '10ep', '500st' or '30%'"
FUNCTION = "needs a function, which a config can't hold; take a schedule by name, such as Linear or Milestones"
LIST = "takes a list such as [{scheduler: LinearLR, total_iters: 5}, ...]"
NO_RUN = "the length of the run, which is not known"
MULTIPLY = "writes the learning rate and doesn't multiply it; take SequentialLR"

WARMUP = {"scheduler": "LinearLR", "total_iters": 4}


def build(name: Any, kwargs: Any = None, **options: Any) -> Any:
    return build_lr_scheduler(optimizer(0.4, 0.2, momentum=0.9), name, scheduler_kwargs=kwargs, **options)


def sequence(*parts: Any, milestones: Any = (4,)) -> tuple[str, dict[str, Any]]:
    return "SequentialLR", {"schedulers": list(parts), "milestones": list(milestones)}


def chain(*parts: Any) -> tuple[str, dict[str, Any]]:
    return "ChainedScheduler", {"schedulers": list(parts)}


def three(milestones: Any) -> tuple[str, dict[str, Any]]:
    return "SequentialLR", {"schedulers": [WARMUP] * 3, "milestones": milestones}


def told(name: Any, kwargs: Any, options: dict[str, Any]) -> str:
    """What is told of it, after a look at how."""
    made = optimizer(0.4, 0.2, momentum=0.9)
    before = settings(made)
    with pytest.raises(AnnealError) as error:
        build_lr_scheduler(made, name, scheduler_kwargs=kwargs, **options)
    text = str(error.value)
    assert type(error.value) is AnnealError
    assert "\n" not in text
    assert len(text) <= 200
    assert settings(made) == before
    return text


REFUSED: list[tuple[Any, Any, dict[str, Any], str]] = [
    # Names
    ("CosineAnealingLR", None, {}, "scheduler: unknown scheduler 'CosineAnealingLR'; did you mean 'CosineAnnealingLR'?"),
    ("StepLr ", None, {}, "scheduler: unknown scheduler 'StepLr '; did you mean 'StepLR'?"),
    ("OneCycle", None, {}, "scheduler: unknown scheduler 'OneCycle'; did you mean 'OneCycleLR'?"),
    ("ReduceLrOnPlatau", None, {}, "scheduler: unknown scheduler 'ReduceLrOnPlatau'; did you mean 'ReduceLROnPlateau'?"),
    ("cyclical", None, {}, "scheduler: unknown scheduler 'cyclical'; did you mean 'Cyclical'?"),
    ("warmrestart", None, {}, "scheduler: unknown scheduler 'warmrestart'; did you mean 'WarmRestart'?"),
    ("cosine_with_restart", None, {}, "scheduler: unknown scheduler 'cosine_with_restart'; did you mean 'cosine_with_restarts'?"),
    ("LinearWarmupCosineAnealingLR", None, {}, "scheduler: unknown scheduler 'LinearWarmupCosineAnealingLR'; did you mean 'LinearWarmupCosineAnnealingLR'?"),
    # Arguments
    ("StepLR", {"step_siz": 3}, {}, f"scheduler_kwargs: StepLR takes no 'step_siz'; did you mean 'step_size'? {STEP}"),
    ("StepLR", {"step_size": 3, "milestones": [3]}, {}, "scheduler_kwargs: StepLR takes no 'milestones'; known: gamma, step_size"),
    ("StepLR", {"step_size": 3, "last_epoch": 3}, {}, "scheduler_kwargs: StepLR takes no 'last_epoch'; known: gamma, step_size"),
    ("StepLR", {"step_size": 3, "optimizer": 3}, {}, "scheduler_kwargs: StepLR takes no 'optimizer'; known: gamma, step_size"),
    ("StepLR", {3: 3}, {}, "scheduler_kwargs: StepLR takes no 3; known: gamma, step_size"),
    ("StepLR", {None: 3}, {}, "scheduler_kwargs: StepLR takes no None; known: gamma, step_size"),
    ("StepLR", {b"step_size": 3}, {}, "scheduler_kwargs: StepLR takes no b'step_size'; known: gamma, step_size"),
    ("StepLR", {}, {}, f"scheduler_kwargs.step_size: missing; {STEP}"),
    ("StepLR", None, {}, f"scheduler_kwargs.step_size: missing; {STEP}"),
    ("MultiStepLR", {"gamma": 0.5}, {}, "scheduler_kwargs.milestones: missing; MultiStepLR takes milestones, gamma"),
    ("ExponentialLR", {}, {}, "scheduler_kwargs.gamma: missing; ExponentialLR takes gamma"),
    ("CosineAnnealingWarmRestarts", {}, {"max_epochs": 20}, "scheduler_kwargs.T_0: missing; CosineAnnealingWarmRestarts takes T_0, T_mult, eta_min"),
    ("LinearWarmupCosineAnnealingLR", {}, {"max_epochs": 20}, "scheduler_kwargs.warmup_epochs: missing; LinearWarmupCosineAnnealingLR takes warmup_epochs, max_epochs, warmup_start_lr, eta_min"),
    ("LinearWarmupCosineAnnealingLR", {"warmup_steps": 3}, {"max_epochs": 20}, "scheduler_kwargs: LinearWarmupCosineAnnealingLR takes no 'warmup_steps'; did you mean 'warmup_epochs'? LinearWarmupCosineAnnealingLR takes warmup_epochs, max_epochs, warmup_start_lr, eta_min"),
    # What is no mapping
    ("StepLR", [3], {}, "scheduler_kwargs: must be a mapping, got [3]"),
    ("StepLR", 3, {}, "scheduler_kwargs: must be a mapping, got 3"),
    ("StepLR", "step_size=3", {}, "scheduler_kwargs: must be a mapping, got 'step_size=3'"),
    ("StepLR", [("step_size", 3)], {}, "scheduler_kwargs: must be a mapping, got [('step_size', 3)]"),
    ("StepLR", "{step_size:3}", {}, "scheduler_kwargs: YAML reads 'step_size:3' as text; write 'step_size: 3'"),
    ("StepLR", {"step_size:3": None}, {}, "scheduler_kwargs: YAML reads 'step_size:3' as text; write 'step_size: 3'"),
    ("linear", [0.1], {"max_steps": 9}, "scheduler_kwargs: must be a mapping, got [0.1]"),
    ("Linear", "end", {"max_epochs": 9}, "scheduler_kwargs: must be a mapping, got 'end'"),
    (Linear(1, 0, 3), {"end": 0}, {}, "scheduler_kwargs: a schedule that is given ready made takes none"),
    # Values
    ("StepLR", {"step_size": 0}, {}, "scheduler_kwargs.step_size: must be positive, got 0"),
    ("StepLR", {"step_size": -3}, {}, "scheduler_kwargs.step_size: must not be negative, got -3"),
    ("StepLR", {"step_size": 1.5}, {}, "scheduler_kwargs.step_size: must be a whole number, got 1.5"),
    ("StepLR", {"step_size": NAN}, {}, "scheduler_kwargs.step_size: must be a finite number, got nan"),
    ("StepLR", {"step_size": HUGE}, {}, "scheduler_kwargs.step_size: must be a finite number, got one too large for a float"),
    ("StepLR", {"step_size": True}, {}, "scheduler_kwargs.step_size: must be a number, got True"),
    ("StepLR", {"step_size": "often"}, {}, f"scheduler_kwargs.step_size: {UNITS}, got 'often'"),
    ("StepLR", {"step_size": "3 epochs"}, {}, f"scheduler_kwargs.step_size: {UNITS}, got '3 epochs'"),
    ("StepLR", {"step_size": "-3ep"}, {}, f"scheduler_kwargs.step_size: {UNITS}, got '-3ep'"),
    ("StepLR", {"step_size": {"a": 1}}, {}, "scheduler_kwargs.step_size: must be a number, got {'a': 1}"),
    ("StepLR", {"step_size": 3, "gamma": "x"}, {}, "scheduler_kwargs.gamma: must be a number, got 'x'"),
    ("StepLR", {"step_size": 3, "gamma": NAN}, {}, "scheduler_kwargs.gamma: must be a finite number, got nan"),
    ("StepLR", {"step_size": 3, "gamma": "inf"}, {}, "scheduler_kwargs.gamma: must be a finite number, got inf"),
    ("MultiStepLR", {"milestones": [3, "x"]}, {}, f"scheduler_kwargs.milestones: {UNITS}, got 'x'"),
    ("MultiStepLR", {"milestones": [0, 3]}, {}, "scheduler_kwargs.milestones: must be positive, got 0"),
    ("MultiStepLR", {"milestones": [[3]]}, {}, "scheduler_kwargs.milestones: must be a number, got [3]"),
    ("CosineAnnealingLR", {"T_max": 5, "eta_min": "low"}, {}, "scheduler_kwargs.eta_min: must be a number, got 'low'"),
    ("CosineAnnealingWarmRestarts", {"T_0": 3, "T_mult": 1.5}, {}, "scheduler_kwargs.T_mult: must be a whole number, got 1.5"),
    ("ConstantLR", {"factor": 2}, {}, "scheduler_kwargs: ConstantLR: Constant multiplicative factor expected to be between 0 and 1."),
    ("OneCycleLR", {"max_lr": [0.1], "total_steps": 9}, {}, "scheduler_kwargs: OneCycleLR: max_lr must have the same length as optimizer.param_groups. max_lr has 1 values, param_groups has 2."),
    ("OneCycleLR", {"pct_start": 2, "total_steps": 9}, {}, "scheduler_kwargs: OneCycleLR: Expected float between 0 and 1 pct_start, but got 2"),
    ("OneCycleLR", {"anneal_strategy": "sin", "total_steps": 9}, {}, "scheduler_kwargs.anneal_strategy: unknown anneal_strategy 'sin'; known: cos, linear"),
    ("ReduceLROnPlateau", {"factor": 1}, {}, "scheduler_kwargs: ReduceLROnPlateau: Factor should be < 1.0."),
    ("ReduceLROnPlateau", {"mode": "low"}, {}, "scheduler_kwargs.mode: unknown mode 'low'; known: max, min"),
    ("ReduceLROnPlateau", {"monitor": "val_loss"}, {}, "scheduler_kwargs.monitor: ReduceLROnPlateau takes none; it goes into scheduler_configs"),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 5, "max_epochs": 5}, {}, "scheduler_kwargs.warmup_epochs: must be below max_epochs (5), got 5"),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 1, "max_epochs": 5, "eta_min": -1}, {}, "scheduler_kwargs.eta_min: must not be negative, got -1"),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 1, "max_epochs": 5, "warmup_start_lr": NAN}, {}, "scheduler_kwargs.warmup_start_lr: must be a finite number, got nan"),
    # What a config can't hold
    ("LambdaLR", {}, {}, f"scheduler_kwargs.lr_lambda: LambdaLR {FUNCTION}"),
    ("LambdaLR", {"lr_lambda": "lambda t: 0.95 ** t"}, {}, f"scheduler_kwargs.lr_lambda: LambdaLR {FUNCTION}"),
    ("LambdaLR", {"lr_lambda": [math.sqrt, "x"]}, {}, f"scheduler_kwargs.lr_lambda: LambdaLR {FUNCTION}"),
    ("MultiplicativeLR", {"lr_lambda": 0.95}, {}, f"scheduler_kwargs.lr_lambda: MultiplicativeLR {FUNCTION}"),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "scale_fn": "x"}, {}, f"scheduler_kwargs.scale_fn: CyclicLR {FUNCTION}"),
    # Contradictions
    ("linear", {"warmup_steps": 3, "warmup_ratio": 0.1}, {"max_steps": 9}, "scheduler_kwargs.warmup_ratio: warmup_steps says it too; keep one"),
    ("cosine_with_min_lr", {"min_lr": 0.1, "min_lr_rate": 0.1}, {"max_steps": 9}, "scheduler_kwargs.min_lr_rate: min_lr says it too; keep one"),
    (*sequence(WARMUP, {"scheduler": "StepLR", "step_size": 3, "scheduler_kwargs": {"gamma": 0.1}}), {}, "scheduler_kwargs.schedulers.1.step_size: goes into scheduler_kwargs, which is there, too"),
    # Lengths that can't be known
    ("CosineAnnealingLR", {}, {}, f"scheduler_kwargs.T_max: leaving it out needs {NO_RUN}; give a number of epochs"),
    ("CosineAnnealingLR", {}, {"max_steps": 9}, f"scheduler_kwargs.T_max: leaving it out needs {NO_RUN}; give a number of epochs"),
    ("CosineAnnealingLR", {}, {"max_steps": 9, "max_epochs": 9}, f"scheduler_kwargs.T_max: leaving it out needs {NO_RUN}; give a number of epochs"),
    ("CosineAnnealingLR", {}, {"interval": "step", "max_epochs": 9}, f"scheduler_kwargs.T_max: leaving it out needs {NO_RUN}; give a number of steps"),
    ("CosineAnnealingLR", {"T_max": "50%"}, {}, f"scheduler_kwargs.T_max: '50%' needs {NO_RUN}; give a number of epochs"),
    ("OneCycleLR", {}, {"max_epochs": 9}, f"scheduler_kwargs.total_steps: leaving it out needs {NO_RUN}; give a number of steps"),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 3}, {}, f"scheduler_kwargs.max_epochs: leaving it out needs {NO_RUN}; give a number of epochs"),
    ("StepLR", {"step_size": "100st"}, {"max_epochs": 9}, "scheduler_kwargs.step_size: '100st' needs the number of steps in an epoch, which is not known; give a number of epochs"),
    ("StepLR", {"step_size": "2ep"}, {"interval": "step", "max_steps": 9}, "scheduler_kwargs.step_size: '2ep' needs the number of steps in an epoch, which is not known; give a number of steps"),
    (*sequence(WARMUP, {"scheduler": "CosineAnnealingLR"}), {}, f"scheduler_kwargs.schedulers.1.T_max: leaving it out needs {NO_RUN}; give a number of epochs"),
    (*sequence(WARMUP, WARMUP, milestones=["20%"]), {}, f"scheduler_kwargs.milestones: '20%' needs {NO_RUN}; give a number of epochs"),
    # The run itself
    ("CosineAnnealingLR", {}, {"max_epochs": -1}, "max_epochs: must be positive, got -1"),
    ("CosineAnnealingLR", {}, {"max_epochs": NAN}, "max_epochs: must be a finite number, got nan"),
    ("CosineAnnealingLR", {}, {"max_steps": "all"}, "max_steps: must be a number, got 'all'"),
    ("CosineAnnealingLR", {}, {"steps_per_epoch": 0}, "steps_per_epoch: must be positive, got 0"),
    ("CosineAnnealingLR", {}, {"steps_per_epoch": True}, "steps_per_epoch: must be a number, got True"),
    # Sequences and chains
    ("SequentialLR", {}, {}, f"scheduler_kwargs.schedulers: missing; SequentialLR {LIST}"),
    ("ChainedScheduler", {"schedulers": []}, {}, f"scheduler_kwargs.schedulers: ChainedScheduler {LIST}, got []"),
    ("SequentialLR", {"schedulers": "StepLR"}, {}, f"scheduler_kwargs.schedulers: SequentialLR {LIST}, got 'StepLR'"),
    ("SequentialLR", {"schedulers": {"scheduler": "StepLR"}}, {}, f"scheduler_kwargs.schedulers: SequentialLR {LIST}, got {{'scheduler': 'StepLR'}}"),
    (*sequence("StepLR", WARMUP), {}, "scheduler_kwargs.schedulers.0: must be a mapping with a 'scheduler', got 'StepLR'"),
    (*sequence(WARMUP, {"step_size": 3}), {}, "scheduler_kwargs.schedulers.1: must be a mapping with a 'scheduler', got {'step_size': 3}"),
    (*sequence(WARMUP, {"scheduler": "ExponetialLR", "gamma": 0.9}), {}, "scheduler_kwargs.schedulers.1.scheduler: unknown scheduler 'ExponetialLR'; did you mean 'ExponentialLR'?"),
    (*sequence(WARMUP, {"scheduler": "StepLR"}), {}, f"scheduler_kwargs.schedulers.1.step_size: missing; {STEP}"),
    (*sequence(WARMUP, {"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 0}}), {}, "scheduler_kwargs.schedulers.1.step_size: must be positive, got 0"),
    (*sequence(WARMUP, {"scheduler": "StepLR", "step_size": 3, "interval": "step"}), {}, "scheduler_kwargs.schedulers.1.interval: StepLR takes none; it goes into scheduler_configs"),
    (*sequence(WARMUP, {"scheduler": "LambdaLR"}), {}, f"scheduler_kwargs.schedulers.1.lr_lambda: LambdaLR {FUNCTION}"),
    (*sequence(WARMUP, {"scheduler": "Linear", "end": "x"}), {"max_epochs": 9}, "scheduler_kwargs.schedulers.1.end: must be a number, got 'x'"),
    (*sequence(WARMUP, {"scheduler": "linear", "warmup_steps": "x"}), {"max_steps": 9}, f"scheduler_kwargs.schedulers.1.warmup_steps: {UNITS}, got 'x'"),
    (*chain(WARMUP, {"scheduler": "StepLR", "gama": 1}), {}, f"scheduler_kwargs.schedulers.1: StepLR takes no 'gama'; did you mean 'gamma'? {STEP}"),
    ("SequentialLR", {"schedulers": [WARMUP, WARMUP]}, {}, "scheduler_kwargs.milestones: missing; SequentialLR takes 1 for 2 schedulers"),
    ("SequentialLR", {"schedulers": [WARMUP, WARMUP], "milestones": [4], "milestone": 4}, {}, "scheduler_kwargs: SequentialLR takes no 'milestone'; did you mean 'milestones'? SequentialLR takes schedulers, milestones"),
    (*sequence(WARMUP), {}, "scheduler_kwargs.schedulers: SequentialLR needs at least two"),
    (*three([4]), {}, "scheduler_kwargs.milestones: 1 for 3 schedulers; give 2, where each but the first begins"),
    (*three([4, 4]), {}, "scheduler_kwargs.milestones: must grow, got [4, 4]"),
    (*three([8, 4]), {}, "scheduler_kwargs.milestones: must grow, got [8, 4]"),
    (*three(["50%", "10ep"]), {"max_epochs": 20}, "scheduler_kwargs.milestones: must grow, got [10, 10]"),
    (*three(4), {}, "scheduler_kwargs.milestones: must be a list, got 4"),
    (*three([0, 4]), {}, "scheduler_kwargs.milestones: must be positive, got 0"),
    (*three([4, 7.5]), {}, "scheduler_kwargs.milestones: must be a whole number, got 7.5"),
    (*three([4, None]), {}, "scheduler_kwargs.milestones: must be a number, got None"),
    # A plateau can only be last, and multiplying is not what all do
    (*sequence({"scheduler": "ReduceLROnPlateau"}, WARMUP), {}, "scheduler_kwargs.schedulers.0.scheduler: ReduceLROnPlateau can only be the last part of a SequentialLR"),
    (*chain(WARMUP, {"scheduler": "reduce_lr_on_plateau"}), {}, "scheduler_kwargs.schedulers.1.scheduler: ReduceLROnPlateau can only be the last part of a SequentialLR"),
    (*sequence(WARMUP, {"scheduler": "ReduceLROnPlateau"}), {}, "scheduler: a warm-up and a ReduceLROnPlateau are two schedulers; take configure_optimizers, or build each"),
    (*chain(WARMUP, {"scheduler": "Cosine", "end": 0}), {"max_epochs": 9}, f"scheduler_kwargs.schedulers.1.scheduler: Cosine {MULTIPLY}"),
    (*chain(WARMUP, {"scheduler": "cosine"}), {"max_steps": 9}, f"scheduler_kwargs.schedulers.1.scheduler: cosine {MULTIPLY}"),
    (*chain(WARMUP, {"scheduler": "OneCycleLR"}), {"max_steps": 9}, f"scheduler_kwargs.schedulers.1.scheduler: OneCycleLR {MULTIPLY}"),
    (*chain({"scheduler": "LinearWarmupCosineAnnealingLR", "warmup_epochs": 2}, WARMUP), {"max_epochs": 9}, f"scheduler_kwargs.schedulers.0.scheduler: LinearWarmupCosineAnnealingLR {MULTIPLY}"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "kwargs", "options", "message"), REFUSED)
def test_refused(name: Any, kwargs: Any, options: dict[str, Any], message: str) -> None:
    assert told(name, kwargs, options) == message


def test_what_is_no_optimizer() -> None:
    with pytest.raises(AnnealError, match=r"^optimizer: must be an optimizer, got 'SGD'$"):
        build_lr_scheduler("SGD", "StepLR", scheduler_kwargs={"step_size": 3})


class Lines:
    def __repr__(self) -> str:
        return "two\nlines"


@pytest.mark.parametrize(
    "name",
    [
        *(None, 3, 0.5, NAN, HUGE, True, b"StepLR", (), ("StepLR",), "", "x" * 5000, "Step\nLR", Lines(), np.float64(3)),
        *("LRScheduler", "_LRScheduler", "Optimizer", "Tensor", "SWALR", "torch.optim.lr_scheduler.StepLR"),
        *("GatedLR", "ScheduleLR", "PlannedLR", "PlateauAfterWarmup", "EPOCH_DEPRECATION_WARNING"),
        *(StepLR, Linear, frozenset({"StepLR"})),
        # What can't be looked up in a mapping, or compared
        *(["StepLR"], {"scheduler": "StepLR"}, {"StepLR"}, np.array(["StepLR", "LinearLR"]), torch.ones(2)),
    ],
)  # fmt: skip
def test_what_is_no_name(name: Any) -> None:
    assert told(name, None, {}).startswith("scheduler: unknown scheduler ")
    part = told(*sequence(WARMUP, {"scheduler": name}), {})
    assert part.startswith("scheduler_kwargs.schedulers.1.scheduler: unknown scheduler ")
    base = told("WarmRestart", {"base": {"scheduler": name, "end": 0.0}, "interval": 3}, {})
    assert base.startswith("scheduler_kwargs.base.scheduler: ")


def test_without_a_near_one_the_known_names_are_listed() -> None:
    assert told("xyz", None, {}).startswith(f"scheduler: unknown scheduler 'xyz'; {KNOWN}")
    assert told(None, None, {}).startswith(f"scheduler: unknown scheduler None; {KNOWN}")


@pytest.mark.parametrize(
    ("name", "kwargs", "options", "start"),
    [
        # null where something is needed is as good as nothing.
        ("StepLR", {"step_size": None}, {}, f"scheduler_kwargs.step_size: missing; {STEP}"),
        ("MultiStepLR", {"milestones": None}, {}, "scheduler_kwargs.milestones: missing"),
        ("ExponentialLR", {"gamma": None}, {}, "scheduler_kwargs.gamma: missing"),
        ("CosineAnnealingWarmRestarts", {"T_0": None}, {}, "scheduler_kwargs.T_0: missing"),
        ("CyclicLR", {"base_lr": None, "max_lr": 0.2}, {}, "scheduler_kwargs.base_lr: missing"),
        ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": None}, {"max_epochs": 9}, "scheduler_kwargs.warmup_epochs: missing"),
        # A list where a number belongs, and a number where a list does.
        ("StepLR", {"step_size": [3]}, {}, "scheduler_kwargs.step_size: must be a number, got [3]"),
        ("StepLR", {"step_size": 3, "gamma": [0.5]}, {}, "scheduler_kwargs.gamma: "),
        ("CosineAnnealingLR", {"T_max": [3]}, {}, "scheduler_kwargs.T_max: must be a number, got [3]"),
        ("CosineAnnealingLR", {"T_max": 3, "eta_min": [0.1]}, {}, "scheduler_kwargs.eta_min: "),
        ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": [3]}, {"max_epochs": 9}, "scheduler_kwargs.warmup_epochs: must be a number, got [3]"),
        ("MultiStepLR", {"milestones": 3}, {}, "scheduler_kwargs.milestones: must be a list"),
        ("MultiStepLR", {"milestones": []}, {}, "scheduler_kwargs.milestones: "),
        # Other things that are no numbers.
        ("ExponentialLR", {"gamma": {}}, {}, "scheduler_kwargs.gamma: must be a number, got {}"),
        ("ExponentialLR", {"gamma": b"0.5"}, {}, "scheduler_kwargs.gamma: must be a number, got b'0.5'"),
        ("ExponentialLR", {"gamma": math.sqrt}, {}, "scheduler_kwargs.gamma: must be a number"),
        ("ExponentialLR", {"gamma": True}, {}, "scheduler_kwargs.gamma: must be a number, got True"),
        ("ReduceLROnPlateau", {"patience": 1.5}, {}, "scheduler_kwargs.patience: must be a whole number, got 1.5"),
        ("ReduceLROnPlateau", {"mode": 3}, {}, "scheduler_kwargs.mode: "),
        # "no" is a string and would count as true.
        ("OneCycleLR", {"total_steps": 9, "cycle_momentum": "no"}, {}, "scheduler_kwargs.cycle_momentum: must be true or false, got 'no'"),
        ("OneCycleLR", {"total_steps": 9, "three_phase": "no"}, {}, "scheduler_kwargs.three_phase: must be true or false, got 'no'"),
        ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2, "cycle_momentum": "no"}, {}, "scheduler_kwargs.cycle_momentum: must be true or false, got 'no'"),
        # Learning rates are never negative.
        ("StepLR", {"step_size": 3, "gamma": -0.5}, {}, "scheduler_kwargs.gamma: must not be negative, got -0.5"),
        ("ExponentialLR", {"gamma": -1}, {}, "scheduler_kwargs.gamma: must not be negative, got -1"),
        ("CosineAnnealingLR", {"T_max": 3, "eta_min": -1}, {}, "scheduler_kwargs.eta_min: must not be negative, got -1"),
        ("CosineAnnealingWarmRestarts", {"T_0": 3, "eta_min": -1}, {}, "scheduler_kwargs.eta_min: must not be negative, got -1"),
        ("OneCycleLR", {"max_lr": -1, "total_steps": 9}, {}, "scheduler_kwargs.max_lr: must not be negative, got -1"),
        ("OneCycleLR", {"max_lr": [0.1, -1], "total_steps": 9}, {}, "scheduler_kwargs.max_lr: must not be negative, got -1"),
        ("OneCycleLR", {"div_factor": -3, "total_steps": 9}, {}, "scheduler_kwargs.div_factor: "),
        ("CyclicLR", {"base_lr": -1, "max_lr": 0.2}, {}, "scheduler_kwargs.base_lr: must not be negative, got -1"),
        ("ReduceLROnPlateau", {"factor": -1}, {}, "scheduler_kwargs.factor: must not be negative, got -1"),
        ("ReduceLROnPlateau", {"min_lr": -1}, {}, "scheduler_kwargs.min_lr: must not be negative, got -1"),
        ("ReduceLROnPlateau", {"patience": -1}, {}, "scheduler_kwargs.patience: must not be negative, got -1"),
        # Both divide by zero, and only in the middle of the run.
        ("ConstantLR", {"factor": 0}, {}, "scheduler_kwargs.factor: "),
        ("PolynomialLR", {"power": -1}, {}, "scheduler_kwargs.power: "),
        # Time begins at 0.
        ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": -1, "max_epochs": 9}, {}, "scheduler_kwargs.warmup_epochs: must not be negative, got -1"),
        # Two ways to say how long, and a part of one.
        ("OneCycleLR", {"total_steps": 9, "epochs": 3, "steps_per_epoch": 4}, {}, "scheduler_kwargs.epochs: total_steps says it too; keep one"),
        ("OneCycleLR", {"steps_per_epoch": 4}, {"max_steps": 9}, "scheduler_kwargs.steps_per_epoch: "),
        ("OneCycleLR", {"epochs": 3, "steps_per_epoch": 0}, {"max_epochs": 9, "steps_per_epoch": 5}, "scheduler_kwargs.steps_per_epoch: "),
        # The interval is one of two words.
        ("StepLR", {"step_size": 3}, {"interval": "batch"}, "interval: unknown interval 'batch'; known: epoch, step"),
        ("CosineAnnealingLR", {}, {"interval": "batch", "max_epochs": 9}, "interval: unknown interval 'batch'"),
        ("cosine", {}, {"interval": 3, "max_steps": 9}, "interval: unknown interval 3; known: epoch, step"),
        ("Linear", {"end": 0}, {"interval": ["step"], "max_steps": 9}, "interval: unknown interval ['step']"),
        # Units in places that are no lengths: no hint at the settings of other things.
        ("ReduceLROnPlateau", {"patience": "10%"}, {}, "scheduler_kwargs.patience: must be a number, got '10%'"),
        # Keys that nothing takes.
        ("ChainedScheduler", {"schedulers": [WARMUP], "milestones": [3]}, {}, "scheduler_kwargs: ChainedScheduler takes no 'milestones'"),
        ("ChainedScheduler", {"schedulers": [WARMUP], "last_epoch": 3}, {}, "scheduler_kwargs: ChainedScheduler takes no 'last_epoch'"),
        (*chain({"scheduler": "ChainedScheduler", "schedulers": [WARMUP], "optimizer": 3}), {}, "scheduler_kwargs.schedulers.0.scheduler: torch can't begin a ChainedScheduler within another scheduler"),
        # What doesn't multiply doesn't do so within a sequence, either.
        (*chain(WARMUP, {"scheduler": "SequentialLR", "schedulers": [WARMUP, {"scheduler": "Cosine", "end": 0}], "milestones": [3]}), {"max_epochs": 9}, "scheduler_kwargs.schedulers.1"),
        # Lengths too large for any number.
        ("StepLR", {"step_size": "1e300ep"}, {"interval": "step", "steps_per_epoch": 1e300}, "scheduler_kwargs.step_size: "),
        ("CosineAnnealingLR", {}, {"interval": "step", "max_epochs": 1e300, "steps_per_epoch": 1e300}, "scheduler_kwargs.T_max: "),
        ("cosine", {}, {"max_epochs": 1e300, "steps_per_epoch": 1e300}, "scheduler_kwargs.num_training_steps: "),
        ("WarmRestart", {"base": {"scheduler": "Linear", "end": 0}, "interval": 4, "multiplier": 1e308}, {}, "scheduler_kwargs.multiplier: "),
        # Functions that give no learning rate.
        (lambda t: -1.0, None, {}, "scheduler"),
        (lambda t: NAN, None, {}, "scheduler"),
        (lambda t: "fast", None, {}, "scheduler"),
        (lambda t: None, None, {}, "scheduler"),
        (Linear(0, -1, 3), None, {}, "scheduler"),
    ],
)  # fmt: skip
def test_refused_in_whatever_words(name: Any, kwargs: Any, options: dict[str, Any], start: str) -> None:
    text = told(name, kwargs, options)
    assert text.startswith(start)
    assert "annealing_params" not in text


def nested(depth: int) -> dict[str, Any]:
    part: dict[str, Any] = {"scheduler": "StepLR", "step_size": 3}
    for _ in range(depth):
        part = {"scheduler": "ChainedScheduler", "schedulers": [part]}
    return part


def restarted(depth: int) -> dict[str, Any]:
    base: dict[str, Any] = {"scheduler": "Linear", "end": 0.0, "duration": 3}
    for _ in range(depth):
        base = {"scheduler": "WarmRestart", "base": base, "interval": 3}
    return base


def endless() -> dict[str, Any]:
    part: dict[str, Any] = {"scheduler": "ChainedScheduler"}
    part["schedulers"] = [part]
    return part


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [
        chain(nested(3000)),
        chain(endless()),
        ("WarmRestart", {"base": restarted(3000), "interval": 3}),
    ],
    ids=["deep", "endless", "restarts"],
)
def test_what_is_nested_too_deeply(name: str, kwargs: dict[str, Any]) -> None:
    assert told(name, kwargs, {}).startswith("scheduler_kwargs")


def test_what_is_nested_a_little_is_fine() -> None:
    assert run(build(*chain(nested(0))), 5) == run(build("StepLR", {"step_size": 3}), 5)
    once = run(build("WarmRestart", {"base": restarted(0), "interval": 3}), 7)
    assert run(build("WarmRestart", {"base": restarted(3), "interval": 3}), 7) == once


ODD: list[Any] = [
    *(None, "", "x", "nan", "1e1", " 3 ", "10 parsecs", b"3", True, False, [], [3], [None], (), {}, {"a": 1}),
    *(NAN, math.inf, -math.inf, -1, -0.5, 0, 0.5, 1.5, 3, 1000, HUGE, "1e-3", 3 + 0j, object(), math.sqrt, Lines()),
    *(np.float32(3), np.int64(3), np.bool_(True), np.array([3, 4]), torch.tensor(3.0), torch.ones(2), Decimal(3), Fraction(3)),
    *("10ep", "500st", "30%", "1e400ep", {3}, range(3), Linear(0, 1, 3), Linear),
]  # fmt: skip

PLAIN: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("StepLR", {"step_size": 3}, ("step_size", "gamma")),
    ("MultiStepLR", {"milestones": [3]}, ("milestones", "gamma")),
    ("ConstantLR", {}, ("factor", "total_iters")),
    ("LinearLR", {}, ("start_factor", "end_factor", "total_iters")),
    ("ExponentialLR", {"gamma": 0.5}, ("gamma",)),
    ("PolynomialLR", {}, ("total_iters", "power")),
    ("CosineAnnealingLR", {}, ("T_max", "eta_min")),
    ("CosineAnnealingWarmRestarts", {"T_0": 3}, ("T_0", "T_mult", "eta_min")),
    ("OneCycleLR", {}, ("max_lr", "total_steps", "epochs", "pct_start", "anneal_strategy", "cycle_momentum", "base_momentum", "div_factor", "final_div_factor", "three_phase")),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.2}, ("base_lr", "max_lr", "step_size_up", "step_size_down", "mode", "gamma", "scale_mode", "max_momentum")),
    ("ReduceLROnPlateau", {}, ("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr", "eps")),
    ("LinearWarmupCosineAnnealingLR", {"warmup_epochs": 3}, ("warmup_epochs", "max_epochs", "warmup_start_lr", "eta_min")),
    ("SequentialLR", {"schedulers": [WARMUP, WARMUP], "milestones": [4]}, ("schedulers", "milestones")),
    ("ChainedScheduler", {"schedulers": [WARMUP]}, ("schedulers",)),
    ("cosine_with_min_lr", {"min_lr": 0.1}, ("warmup_steps", "warmup_ratio", "num_training_steps", "num_cycles", "min_lr", "min_lr_rate")),
    ("polynomial", {}, ("lr_end", "power")),
    ("inverse_sqrt", {}, ("timescale", "warmup_steps")),
    ("warmup_stable_decay", {"num_decay_steps": 4}, ("num_decay_steps", "num_stable_steps", "warmup_type", "decay_type", "min_lr_ratio", "num_cycles")),
    ("Linear", {"end": 0.0}, ("start", "end", "duration")),
    ("Exponential", {"end": 0.1}, ("start", "end", "duration")),
    ("Saturating", {"end": 0.0}, ("end", "rate")),
    ("Polynomial", {"end": 0.0, "power": 2}, ("end", "power")),
    ("Sigmoid", {"end": 0.0}, ("end", "steepness")),
    ("Competence", {"end": 0.0}, ("end", "power")),
    ("Constant", {"value": 1}, ("value",)),
    ("Cyclical", {"period": 3, "low": 0.0, "high": 1.0}, ("period", "low", "high", "wave")),
    ("WarmRestart", {"base": {"scheduler": "Linear", "end": 0.0}, "interval": 3}, ("base", "interval", "multiplier")),
    ("Milestones", {"values": {3: 0.1}}, ("values", "initial")),
    ("Sequence", {"parts": [{"scheduler": "Linear", "end": 0.0}]}, ("parts",)),
]  # fmt: skip

KEYS = [(name, kwargs, key) for name, kwargs, keys in PLAIN for key in keys]


def outcome(make: Callable[[], Any]) -> str:
    """What is wrong with what comes of it: with an error, or with a scheduler and its first steps."""
    try:
        made = make()
    except AnnealError as error:
        text = str(error)
        return "" if "\n" not in text and len(text) <= 200 else f"no line: {text}"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    steps = 4 if isinstance(made, ReduceLROnPlateau) else min(getattr(made, "total_steps", 12), 12)
    try:
        rates = run(made, int(steps))
    except Exception as error:
        return f"built, and then raises {type(error).__name__}: {error}"
    # torch's LinearLR ends a rounding error below 0.
    wrong = [rate for pair in rates for rate in pair if not -1e-12 < rate < math.inf]
    return f"built, with a learning rate of {wrong[0]}" if wrong else ""


@pytest.mark.parametrize(("name", "kwargs", "key"), KEYS, ids=[f"{name}.{key}" for name, _, key in KEYS])
def test_odd_values_are_refused_or_give_learning_rates(name: str, kwargs: dict[str, Any], key: str) -> None:
    found = {}
    for i, value in enumerate(ODD):
        given = {**kwargs, key: value}
        wrong = outcome(lambda given=given: build(name, given, max_epochs=4, steps_per_epoch=5))
        if wrong:
            found[f"{i}: {value!r}"[:40]] = wrong
    assert found == {}


def test_odd_keys_are_refused() -> None:
    for name, kwargs, _ in PLAIN:
        for key in (None, 3, b"x", ("a",), NAN, "", "optimizer", "last_epoch", "self", "verbose", "x" * 500, "a\nb"):
            given = {**kwargs, key: 1}
            assert told(name, given, {"max_epochs": 4, "steps_per_epoch": 5}).startswith("scheduler_kwargs")
