"""A Stopper counts and asks as Lightning's EarlyStopping does, at every check."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.trainer.states import TrainerFn

from lightning_anneal.preview.stopping import Stopper

LATER = [math.nan, 2.0, 1.0]
METRICS = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 2.0, -1.0, math.nan, math.inf, -math.inf]


def checked(options: dict[str, Any], values: list[float]) -> list[tuple[int, bool]]:
    """Lightning's count and wish after each validation; it is asked on, whatever it wishes."""
    stopping = EarlyStopping("m", **options)
    states: list[tuple[int, bool]] = []
    wishes = False
    for value in values:
        trainer: Any = SimpleNamespace(
            callback_metrics={"m": torch.tensor(value, dtype=torch.float64)},
            strategy=SimpleNamespace(reduce_boolean_decision=lambda decision, all: decision),
            should_stop=wishes,
            current_epoch=0,
            fast_dev_run=False,
            sanity_checking=False,
            state=SimpleNamespace(fn=TrainerFn.FITTING),
            global_rank=0,
            world_size=1,
        )
        stopping.on_train_epoch_start(trainer, trainer)
        stopping._check_on_train_epoch_end = False
        stopping.on_validation_end(trainer, trainer)
        wishes = trainer.should_stop
        states.append((stopping.wait_count, wishes))
    return states


def counted(options: dict[str, Any], values: list[float]) -> list[tuple[int, bool]]:
    """The same of a Stopper."""
    stopper = Stopper.of({"monitor": "m", **options})
    states = []
    for value in values:
        stopper.check(value)
        states.append((stopper.wait_count, stopper.ended))
    return states


OPTIONS: list[Any] = [
    {},
    {"patience": 0},
    {"patience": 1},
    {"patience": 2, "mode": "max"},
    {"patience": 2, "min_delta": 0.25},
    {"patience": 2, "min_delta": 0.25, "mode": "max"},
    pytest.param({"patience": 2, "min_delta": -0.25}),
    {"patience": 9, "check_finite": False},
    {"patience": 3, "stopping_threshold": 0.25},
    {"patience": 3, "stopping_threshold": 1.0, "mode": "max"},
    {"patience": 3, "divergence_threshold": 1.0},
    {"patience": 3, "divergence_threshold": -0.75, "mode": "max", "check_finite": False},
    {"patience": 2, "stopping_threshold": 0.0, "divergence_threshold": 1.25, "min_delta": 0.5},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_as_lightning(options: dict[str, Any]) -> None:
    for seed in range(30):
        draw = random.Random(seed)
        finite = seed % 2 == 0
        values = [draw.choice(METRICS[:7]), *(draw.choice(METRICS[:8] if finite else METRICS) for _ in range(11))]
        assert counted(options, values) == checked(options, values), values


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "patience": st.integers(0, 5),
            "mode": st.sampled_from(["min", "max"]),
            "min_delta": st.sampled_from([0.0, 0.1, 1e-9, 2.0]),
            "stopping_threshold": st.sampled_from([None, 0.0, 0.5, -1.0]),
            "divergence_threshold": st.sampled_from([None, 0.5, 1.0, 3.0]),
            "check_finite": st.booleans(),
        },
    ),
    st.lists(st.one_of(st.sampled_from(METRICS), st.floats(-3, 3)), max_size=12),
)
def test_as_lightning_whatever_comes(options: dict[str, Any], values: list[float]) -> None:
    assume(checked(options, [1.0]) == [(0, False)])  # where the first one is no best there is a test of its own
    assert counted(options, [1.0, *values]) == checked(options, [1.0, *values])


@pytest.mark.parametrize(
    ("first", "more"),
    [(math.nan, {}), (math.inf, {}), (1.0, {"mode": "max", "stopping_threshold": 0.0, "patience": 0})],
)
def test_a_first_value_that_is_none(first: float, more: dict[str, Any]) -> None:
    options = {"patience": 3, "check_finite": False, **more}
    assert counted(options, [first, *LATER]) == checked(options, [first, *LATER])


def test_by_hand() -> None:
    stopper = Stopper.of({"monitor": "m", "patience": 2, "min_delta": 0.5})
    #                  first  too little  enough   worse   out of patience
    answers = [stopper.check(value) for value in (2.0, 1.5, 1.25, 3.0, 1.0)]
    assert answers == [False, False, False, False, True]
    assert (stopper.wait_count, stopper.ended, stopper.best) == (2, True, 1.25)
    stopper.take_back()
    assert (stopper.wait_count, stopper.ended, stopper.best) == (0, False, 1.25)


@pytest.mark.parametrize("options", [options for options in OPTIONS if isinstance(options, dict)])
def test_the_same_from_an_early_stopping(options: dict[str, Any]) -> None:
    assert Stopper.of(EarlyStopping("m", **options)) == Stopper.of({"monitor": "m", **options})


def test_numbers_as_yaml_writes_them() -> None:
    stopper = Stopper.of({"monitor": "m", "patience": "4", "min_delta": "1e-3", "mode": "MAX"})
    assert (stopper.patience, stopper.min_delta, stopper.mode) == (4, 0.001, "max")
