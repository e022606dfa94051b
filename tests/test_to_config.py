"""Schedules written as settings. That they come back the same is one of the properties of every schedule."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_anneal import (
    AnnealError,
    Competence,
    Constant,
    Cosine,
    CosineBetaScheduler,
    Cyclical,
    Linear,
    Milestones,
    Polynomial,
    Saturating,
    Sequence,
    Sigmoid,
    WarmRestart,
    as_settings,
)


class Mine(Linear):
    """A schedule of somebody's own."""


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(2), {"strategy": "constant", "value": 2.0}),
        (Polynomial(0, 1, 3, 2), {"strategy": "polynomial", "start_value": 0.0, "end_value": 1.0, "total_steps": 3.0, "power": 2.0}),
        (Saturating(0, 1, 3), {"strategy": "saturating", "start_value": 0.0, "end_value": 1.0, "total_steps": 3.0, "rate": 5.0}),
        (Sigmoid(1, 0, 3), {"strategy": "sigmoid", "start_value": 1.0, "end_value": 0.0, "total_steps": 3.0, "steepness": 12.0}),
        (Competence(0, 2, 3), {"strategy": "competence", "start_value": 0.0, "end_value": 2.0, "total_steps": 3.0, "power": 2.0}),
        (Cyclical(4, 0, 1), {"strategy": "cyclical", "cycle_length": 4.0, "min_value": 0.0, "max_value": 1.0, "wave_type": "cosine"}),
        (Milestones({3: 1}), {"strategy": "milestones", "schedule": {3.0: 1.0}}),
        (Milestones({3: 1}, initial=2), {"strategy": "milestones", "schedule": {0.0: 2.0, 3.0: 1.0}}),
        (Milestones({0: 1}, initial=2), {"strategy": "milestones", "schedule": {0.0: 1.0}}),
        (
            WarmRestart(Constant(1), 5, 1.2),
            {"strategy": "warm_restart", "base": {"strategy": "constant", "value": 1.0}, "restart_interval": 5.0, "restart_multiplier": 1.2},
        ),
        (
            Sequence([(Constant(1), 2), (Constant(3), 4)]),
            {"strategy": "sequence", "parts": [{"strategy": "constant", "value": 1.0, "duration": 2.0}, {"strategy": "constant", "value": 3.0, "duration": 4.0}]},
        ),
        (CosineBetaScheduler(2, 5), {"strategy": "cosine", "start_value": 0.0, "end_value": 2.0, "total_steps": 5.0}),
    ],
    ids=lambda x: type(x).__name__,
)  # fmt: skip
def test_settings(schedule: Any, expected: dict[str, Any]) -> None:
    assert as_settings(schedule) == expected


@pytest.mark.parametrize(
    ("schedule", "where"),
    [
        (len, "schedule"),
        (Mine(0, 1, 2), "schedule"),
        (WarmRestart(len, 3), "schedule.base"),
        (Sequence([(Cosine(0, 1, 2), 2), (WarmRestart(abs, 4), 4)]), "schedule.parts.1.base"),
    ],
)
def test_what_no_config_can_hold(schedule: Any, where: str) -> None:
    with pytest.raises(AnnealError) as caught:
        as_settings(schedule)
    assert caught.value.where == where
    assert caught.value.what.endswith("is a schedule of your own, which no config can hold")
