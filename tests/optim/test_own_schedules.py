"""This package's schedules as LR schedules, by class name, in the words of the class and in those of a config."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_anneal import AnnealError, build_lr_scheduler
from tests.optim.runs import first_rates, optimizer, run

COSINE = [1.0, 0.8535533905932737, 0.5, 0.1464466094067262, 0.0, 0.0]

LINEAR_0 = {"scheduler": "Linear", "end": 0.0}


def build(name: Any, kwargs: Any, *rates: float, **options: Any) -> Any:
    return build_lr_scheduler(optimizer(*(rates or (1.0,))), name, scheduler_kwargs=kwargs, **options)


# The factors of the first six epochs in a run of five, with the fields of the class and with the keys of a config.
SCHEDULES: list[tuple[str, dict[str, Any], dict[str, Any], list[float]]] = [
    ("Constant", {"value": 0.5}, {"value": "0.5"}, [0.5] * 6),
    ("Linear", {"end": 0.0}, {"end_value": 0.0}, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
    ("Linear", {"start": 0, "end": 1, "duration": 2}, {"start_value": 0, "end_value": 1, "total_steps": 2}, [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
    ("Linear", {"end": 0.5, "duration": "40%"}, {"end_value": 0.5, "total_steps": "2ep"}, [1.0, 0.75, 0.5, 0.5, 0.5, 0.5]),
    ("Linear", {"end": 3, "duration": "4ep"}, {"end_value": "3e0", "total_steps": "32st"}, [1.0, 1.5, 2.0, 2.5, 3.0, 3.0]),
    ("Cosine", {"end": 0.0}, {"end_value": 0.0}, COSINE),
    ("Cosine", {"start": 0.0, "end": 1.0, "duration": 2}, {"start_value": 0.0, "end_value": 1.0, "total_steps": 2}, [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
    ("Exponential", {"end": 0.0001}, {"end_value": "1e-4"}, [1.0, 0.1, 0.01, 0.001, 0.0001, 0.0001]),
    ("Exponential", {"start": 0.25, "end": 4.0}, {"start_value": 0.25, "end_value": 4.0}, [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]),
    # 1 - (1 - e^-1.25) / (1 - e^-5) and so on
    ("Saturating", {"end": 0.0}, {"end_value": 0.0}, [1.0, 0.2816646916247863, 0.0758581800212436, 0.0168936272217661, 0.0, 0.0]),
    ("Saturating", {"end": 0.0, "duration": 2, "rate": 1e-9}, {"end_value": 0.0, "total_steps": 2, "rate": 1e-9}, [1.0, 0.5, 0.0, 0.0, 0.0, 0.0]),
    ("Polynomial", {"end": 0.0, "power": 2}, {"end_value": 0.0, "power": "2"}, [1.0, 0.9375, 0.75, 0.4375, 0.0, 0.0]),
    # The logistic curve is at a half halfway; at a quarter it is (1 - tanh(1.5) / tanh(3)) / 2 of the way.
    ("Sigmoid", {"end": 0.0}, {"end_value": 0.0}, [1.0, 0.9548233402690878, 0.5, 0.0451766597309122, 0.0, 0.0]),
    ("Sigmoid", {"start": 0.0, "end": 1.0, "steepness": 1e-6}, {"start_value": 0.0, "end_value": 1.0, "steepness": 1e-6}, [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]),
    # sqrt(1 - t / 4), and sqrt(t / 4)
    ("Competence", {"end": 0.0}, {"end_value": 0.0}, [1.0, 0.8660254037844386, 0.7071067811865476, 0.5, 0.0, 0.0]),
    ("Competence", {"start": 0.0, "end": 1.0, "power": 2}, {"start_value": 0.0, "end_value": 1.0, "power": "2"}, [0.0, 0.5, 0.7071067811865476, 0.8660254037844386, 1.0, 1.0]),
    ("Cyclical", {"period": 4, "low": 0.0, "high": 1.0}, {"cycle_length": 4, "min_value": 0.0, "max_value": 1.0}, [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]),
    ("Cyclical", {"period": "80%", "low": 0.2, "high": 1.0, "wave": "triangle"}, {"cycle_length": "4ep", "min_value": 0.2, "max_value": 1.0, "wave_type": "Triangle"}, [0.2, 0.6, 1.0, 0.6, 0.2, 0.6]),
    # A base without a length takes its stretch, the last epoch of which trains at the end value.
    ("WarmRestart", {"base": LINEAR_0, "interval": 3}, {"base": {"strategy": "linear", "end_value": 0.0}, "restart_interval": 3}, [1.0, 0.5, 0.0, 1.0, 0.5, 0.0]),
    ("WarmRestart", {"base": {**LINEAR_0, "duration": 4}, "interval": 2, "multiplier": 2}, {"base": {"strategy": "linear", "end_value": 0.0, "total_steps": 4}, "restart_interval": "2ep", "restart_multiplier": 2}, [1.0, 0.75, 1.0, 0.75, 0.5, 0.25]),
    ("Milestones", {"values": {0: 1.0, 2: 0.5, 4: 0.1}}, {"schedule": {0: 1.0, 2: 0.5, 4: 0.1}}, [1.0, 1.0, 0.5, 0.5, 0.1, 0.1]),
    ("Milestones", {"values": {"40%": 0.5, "4ep": 0.25}}, {"schedule": {"16st": 0.5, 4: "0.25"}}, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]),
    ("Milestones", {"values": {2: 0.5}, "initial": 0.1}, {"schedule": {2: 0.5}, "initial": "0.1"}, [0.1, 0.1, 0.5, 0.5, 0.5, 0.5]),
    # A part begins where the one before ended; the last has the rest of the run.
    (
        "Sequence",
        {"parts": [{"scheduler": "Linear", "end": 0.5, "duration": 2}, LINEAR_0]},
        {"parts": [{"strategy": "linear", "end_value": 0.5, "duration": 2}, {"strategy": "linear", "end_value": 0.0}]},
        [1.0, 0.75, 0.5, 0.25, 0.0, 0.0],
    ),
    (
        "Sequence",
        {"parts": [{"scheduler": "Linear", "start": 0, "end": 1, "duration": "20%"}, {"scheduler": "Constant", "value": 0.5}]},
        {"parts": ({"strategy": "linear", "start_value": 0, "end_value": 1, "duration": 1}, {"strategy": "constant", "value": 0.5})},
        [0.0, 0.5, 0.5, 0.5, 0.5, 0.5],
    ),
    # A schedule in a schedule in a schedule.
    (
        "Sequence",
        {"parts": [{"scheduler": "Constant", "value": 0.5, "duration": 2}, {"scheduler": "WarmRestart", "base": LINEAR_0, "interval": 2}]},
        {"parts": [{"scheduler": "Constant", "value": 0.5, "duration": 2}, {"strategy": "warm_restart", "base": {"strategy": "linear", "start_value": 0.5, "end_value": 0.0}, "restart_interval": 2}]},
        [0.5, 0.5, 0.5, 0.0, 0.5, 0.0],
    ),
    (
        "WarmRestart",
        {"base": {"scheduler": "Sequence", "parts": [{"scheduler": "Constant", "value": 1, "duration": 1}, {"scheduler": "Milestones", "values": {0: 0.5, 1: 0.2}}]}, "interval": 3},
        {"base": {"strategy": "sequence", "parts": [{"strategy": "constant", "value": 1, "duration": 1}, {"strategy": "milestones", "schedule": {0: 0.5, 1: 0.2}}]}, "restart_interval": 3},
        [1.0, 0.5, 0.2, 1.0, 0.5, 0.2],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "keys", "factors"), SCHEDULES)
def test_as_a_factor_of_each_group_s_rate(
    name: str, fields: dict[str, Any], keys: dict[str, Any], factors: list[float]
) -> None:
    for kwargs in (fields, keys):
        rates = run(build(name, kwargs, 0.5, 0.125, max_epochs=5, steps_per_epoch=8), 6)
        expected = [(0.5 * factor, 0.125 * factor) for factor in factors]
        assert rates == [pytest.approx(each, rel=1e-7, abs=1e-12) for each in expected]


@pytest.mark.parametrize(
    ("name", "kwargs", "defaults"),
    [
        ("Linear", {"end": 0.0}, {"start": 1.0, "duration": 4}),
        ("Cosine", {"end": 0.0}, {"start": 1.0, "duration": 4}),
        ("Exponential", {"end": 0.1}, {"start": 1.0, "duration": 4}),
        ("Saturating", {"end": 0.0}, {"start": 1.0, "duration": 4, "rate": 5}),
        ("Polynomial", {"end": 0.0, "power": 3}, {"start": 1.0, "duration": 4}),
        ("Sigmoid", {"end": 0.0}, {"start": 1.0, "duration": 4, "steepness": 12}),
        ("Competence", {"end": 0.0}, {"start": 1.0, "duration": 4, "power": 2}),
        ("Cyclical", {"period": 4, "low": 0.0, "high": 1.0}, {"wave": "cosine"}),
        ("WarmRestart", {"base": LINEAR_0, "interval": 3}, {"base": {**LINEAR_0, "start": 1.0, "duration": 2}, "multiplier": 1}),
        ("Milestones", {"values": {3: 0.5}}, {"initial": 1.0}),
    ],
)  # fmt: skip
def test_defaults(name: str, kwargs: dict[str, Any], defaults: dict[str, Any]) -> None:
    rates = first_rates(build(name, kwargs, max_epochs=5), 8)
    assert len(set(rates)) > 1
    assert first_rates(build(name, {**kwargs, **defaults}), 8) == rates
    assert (
        first_rates(build(name, {**kwargs, **dict.fromkeys(defaults.keys() - kwargs.keys())}, max_epochs=5), 8) == rates
    )


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({"max_epochs": 3}, [1.0, 0.5, 0.0, 0.0]),
        ({"max_steps": 12, "steps_per_epoch": 4}, [1.0, 0.5, 0.0, 0.0]),
        ({"interval": "step", "max_steps": 5}, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        ({"interval": "step", "max_epochs": 2, "steps_per_epoch": 2.5}, [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
    ],
)
def test_the_last_epoch_or_step_trains_at_the_end_value(options: dict[str, Any], rates: list[float]) -> None:
    assert first_rates(build("Linear", {"end": 0.0}, **options), len(rates)) == rates


SK = "scheduler_kwargs"


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("Linear", {"end": "x"}, f"{SK}.end: must be a number, got 'x'"),
        ("Linear", {"end": -1}, f"{SK}: Linear goes down to -1; a learning rate is never negative"),
        ("Linear", {"end": 0, "start": float("nan")}, f"{SK}.start: must be a finite number, got nan"),
        ("Linear", {"end": 0, "duration": 0}, f"{SK}.duration: must be positive, got 0"),
        ("Linear", {"end_value": 0, "total_steps": 0}, f"{SK}.total_steps: must be positive, got 0"),
        ("Linear", {"end": 0, "duration": "soon"}, f"{SK}.duration: must be a number, '10ep', '500st' or '30%', got 'soon'"),
        ("Cosine", {"end": True}, f"{SK}.end: must be a number, got True"),
        ("Exponential", {"end": 0}, f"{SK}.end: a geometric curve never reaches 0; take Saturating"),
        ("Exponential", {"end_value": 0}, f"{SK}.end_value: a geometric curve never reaches 0; take Saturating"),
        ("Exponential", {"start": 0, "end": 1}, f"{SK}.start: a geometric curve can't start at 0; take Saturating"),
        ("Saturating", {"end": 0, "rate": 0}, f"{SK}.rate: must be positive, got 0"),
        ("Polynomial", {"end": 0, "power": -1}, f"{SK}.power: must be positive, got -1"),
        ("Sigmoid", {"end": 0, "steepness": "x"}, f"{SK}.steepness: must be a number, got 'x'"),
        ("Competence", {"end": -1}, f"{SK}.end: must not be negative, got -1.0"),
        ("Cyclical", {"period": 0, "low": 0, "high": 1}, f"{SK}.period: must be positive, got 0"),
        ("Cyclical", {"period": 4, "low": "x", "high": 1}, f"{SK}.low: must be a number, got 'x'"),
        ("Cyclical", {"period": 4, "low": -0.5, "high": 1}, f"{SK}: Cyclical goes down to -0.5; a learning rate is never negative"),
        ("Cyclical", {"cycle_length": 4, "min_value": 0, "max_value": 1, "wave_type": "sine"}, f"{SK}.wave_type: unknown wave_type 'sine'; did you mean 'cosine'?"),
        ("WarmRestart", {"base": 3, "interval": 4}, f"{SK}.base: must be a mapping such as {{scheduler: Cosine, end: 0.0}}, got 3"),
        ("WarmRestart", {"base": {"end": 0}, "interval": 4}, f"{SK}.base.scheduler: missing; known: Competence, Constant, Cosine, Cyclical, Exponential, Linear, Milestones, Polynomial, Saturating, Sequence, Sigmoid, ..."),
        ("WarmRestart", {"base": {"scheduler": "Linera", "end": 0}, "interval": 4}, f"{SK}.base.scheduler: unknown schedule 'Linera'; did you mean 'Linear'?"),
        ("WarmRestart", {"base": {"scheduler": "StepLR"}, "interval": 4}, f"{SK}.base.scheduler: unknown schedule 'StepLR'; known: Competence, Constant, Cosine, Cyclical, Exponential, Linear, Milestones, Polynomial, Saturating, Sequence, Sigmoid, ..."),
        ("WarmRestart", {"base": {"scheduler": "Linear", "end": "x"}, "interval": 4}, f"{SK}.base.end: must be a number, got 'x'"),
        ("WarmRestart", {"base": {"scheduler": "Cyclical", "low": 0, "high": 1, "period": 0}, "interval": 4}, f"{SK}.base.period: must be positive, got 0"),
        ("WarmRestart", {"base": LINEAR_0, "interval": 0.5}, f"{SK}.interval: must be at least 1, got 0.5"),
        ("WarmRestart", {"base": LINEAR_0, "interval": 4, "multiplier": 0}, f"{SK}.multiplier: must be positive, got 0"),
        ("Milestones", {"values": {}}, f"{SK}.values: must have at least one milestone such as {{0: 1.0}}"),
        ("Milestones", {"values": [1, 2]}, f"{SK}.values: must be a mapping, got [1, 2]"),
        ("Milestones", {"values": {5: 0.1}, "initial": "x"}, f"{SK}.initial: must be a number, got 'x'"),
        ("Milestones", {"values": {5: 0.1}, "initial": -1}, f"{SK}: Milestones goes down to -1; a learning rate is never negative"),
        ("Milestones", {"values": {"5": 0.1, 5: 0.2}}, f"{SK}.values: two values for 5"),
        ("Sequence", {"parts": []}, f"{SK}.parts: must be a list of settings, got []"),
        ("Sequence", {"parts": {"scheduler": "Linear"}}, f"{SK}.parts: must be a list of settings, got {{'scheduler': 'Linear'}}"),
        ("Sequence", {"parts": [3]}, f"{SK}.parts.0: must be a mapping such as {{scheduler: Cosine, end: 0.0}}, got 3"),
        ("Sequence", {"parts": [LINEAR_0, LINEAR_0]}, f"{SK}.parts.0.duration: missing; only the last part can do without"),
        ("Sequence", {"parts": [{**LINEAR_0, "duration": 2}, {"scheduler": "Exponential", "end": 1}]}, f"{SK}.parts.1.start: a geometric curve can't start at 0; take Saturating"),
        ("Sequence", {"parts": [{**LINEAR_0, "duration": 2}, {"scheduler": "Linear", "end": "x"}]}, f"{SK}.parts.1.end: must be a number, got 'x'"),
        ("Sequence", {"parts": [{**LINEAR_0, "duration": "x"}, LINEAR_0]}, f"{SK}.parts.0.duration: must be a number, '10ep', '500st' or '30%', got 'x'"),
    ],
)  # fmt: skip
def test_refused(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        build(name, kwargs, max_epochs=5)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "kwargs", "where", "foreign"),
    [
        # A key that is missing is called as the class calls it.
        ("Linear", {}, f"{SK}.end: missing", ("end_value", "linear needs")),
        ("Linear", {"end": None}, f"{SK}.end: missing", ("end_value", "linear needs")),
        ("Cosine", {"start": 0.5}, f"{SK}.end: missing", ("end_value", "cosine needs")),
        # Its default, 1, is where a factor begins.
        ("Competence", {"start": 0.5}, f"{SK}.end: missing", ("end_value", "competence needs")),
        ("Cyclical", {"low": 0, "high": 1}, f"{SK}.period: missing", ("cycle_length",)),
        ("WarmRestart", {"base": LINEAR_0}, f"{SK}.interval: missing", ("restart_interval",)),
        ("Milestones", {}, f"{SK}.values: missing", ("schedule:",)),
        ("WarmRestart", {"base": {"scheduler": "Linear"}, "interval": 3}, f"{SK}.base.end: missing", ("end_value",)),
        # So is one that is given twice, and one that is unknown, and those it is suggested to be.
        ("Linear", {"end": 0, "end_value": 0}, f"{SK}.end_value: 'end' says it too", ()),
        ("Linear", {"end": 0, "duration": 3, "total_steps": 3}, f"{SK}.total_steps: 'duration' says it too", ()),
        ("Linear", {"end": 0, "rate": 3}, f"{SK}: unknown key 'rate'", ("strategy", "end_value", "total_steps")),
        ("Linear", {"ende": 0}, f"{SK}: unknown key 'ende'; did you mean 'end'?", ("end_value",)),
        ("Linear", {"end": 0, "interval": "step"}, f"{SK}: unknown key 'interval'", ("restart_interval",)),
        ("Linear", {"end": 0, "strategy": "linear"}, f"{SK}: unknown key 'strategy'", ("says it too",)),
        ("Cyclical", {"period": 4, "low": 0, "high": 1, "wave": "sine"}, f"{SK}.wave: unknown wave 'sine'", ("wave_type",)),
        ("WarmRestart", {"base": {"scheduler": "Linear", "end": 0, "power": 2}, "interval": 3}, f"{SK}.base: unknown key 'power'", ("strategy", "end_value")),
        # A milestone is one of the values.
        ("Milestones", {"values": {"x": 1.0}}, f"{SK}.values.x: ", ("kwargs.schedule",)),
        ("Milestones", {"values": {0: "x"}}, f"{SK}.values.0: must be a number, got 'x'", ("kwargs.schedule",)),
        ("Milestones", {"values": {"5ep": 0.1, 5: 0.2}}, f"{SK}.values.5: a second value for t = 5", ("kwargs.schedule",)),
        # Time may begin at 0, so what is wrong with -1 is not that it isn't positive.
        ("Milestones", {"values": {-1: 1.0}}, f"{SK}.values.-1: must not be negative", ("kwargs.schedule",)),
        # What holds for a schedule holds for one within another, too.
        ("Sequence", {"parts": [{"scheduler": "Linear", "end": -0.5}]}, f"{SK}: Sequence goes down to -0.5", ()),
        ("WarmRestart", {"base": {"scheduler": "trigger_based"}, "interval": 3}, f"{SK}.base.scheduler: unknown schedule 'trigger_based'", ()),
        ("WarmRestart", {"base": {"strategy": "trigger_based"}, "interval": 3}, f"{SK}.base.strategy: ", ("trigger_source",)),
    ],
)  # fmt: skip
def test_errors_are_in_the_user_s_words(
    name: str, kwargs: dict[str, Any], where: str, foreign: tuple[str, ...]
) -> None:
    with pytest.raises(AnnealError) as error:
        build(name, kwargs, max_epochs=5)
    told = str(error.value)
    assert told.startswith(where)
    assert not [word for word in foreign if word in told]


def test_milestones_have_an_initial_value_within_others_too() -> None:
    steps = {"scheduler": "Milestones", "values": {1: 0.5}, "initial": 0.25}
    assert first_rates(build("WarmRestart", {"base": steps, "interval": 2}), 4) == [0.25, 0.5, 0.25, 0.5]
    parts = [{**steps, "duration": 2}, {"scheduler": "Constant", "value": 1.0}]
    assert first_rates(build("Sequence", {"parts": parts}, max_epochs=4), 4) == [0.25, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "kwargs", "options", "message"),
    [
        ("Linear", {"end": 0}, {}, f"{SK}.duration: leaving it out needs the length of the run, which is not known; give a number of epochs"),
        ("Linear", {"end": 0}, {"interval": "step"}, f"{SK}.duration: leaving it out needs the length of the run, which is not known; give a number of steps"),
        ("Linear", {"end": 0, "duration": "30%"}, {}, f"{SK}.duration: '30%' needs the length of the run, which is not known; give a number of epochs"),
        ("Linear", {"end": 0, "total_steps": "30%"}, {}, f"{SK}.total_steps: '30%' needs the length of the run, which is not known; give a number of epochs"),
        ("Cyclical", {"period": "4ep", "low": 0, "high": 1}, {"interval": "step"}, f"{SK}.period: '4ep' needs the number of steps in an epoch, which is not known; give a number of steps"),
        ("WarmRestart", {"base": LINEAR_0, "interval": "10st"}, {}, f"{SK}.interval: '10st' needs the number of steps in an epoch, which is not known; give a number of epochs"),
        ("WarmRestart", {"base": {**LINEAR_0, "duration": "10%"}, "interval": 3}, {}, f"{SK}.base.duration: '10%' needs the length of the run, which is not known; give a number of epochs"),
        ("Milestones", {"values": {"50%": 0.1}}, {}, f"{SK}.values.50%: '50%' needs the length of the run, which is not known; give a number of epochs"),
        ("Sequence", {"parts": [{**LINEAR_0, "duration": "10%"}, LINEAR_0]}, {}, f"{SK}.parts.0.duration: '10%' needs the length of the run, which is not known; give a number of epochs"),
        ("Sequence", {"parts": [{**LINEAR_0, "duration": 3}, LINEAR_0]}, {}, f"{SK}.duration: leaving it out needs the length of the run, which is not known; give a number of epochs"),
    ],
)  # fmt: skip
def test_an_unknown_length_is_told_with_the_key_to_give(
    name: str, kwargs: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(AnnealError) as error:
        build(name, kwargs, **options)
    assert str(error.value) == message
