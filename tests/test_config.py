"""Settings: what is read, and one line for each thing that is wrong."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from lightning_anneal import AnnealError, Cosine, Linear
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.config import plain, read_file, read_rules

RUN = Horizon(max_epochs=21, steps_per_epoch=lambda: 10)


def values(settings: dict[str, Any], times: list[int], start: float = 2.0) -> list[float]:
    """What a rule writes at some times in a run of 21 epochs of 10 steps, in a target that holds `start`."""
    [rule] = read_rules({"x": settings})
    lengths = Lengths("x", rule.interval, RUN)
    schedule = rule.source.build(lengths, start if rule.source.needs_start else None)
    return [round(schedule(rule.due(t)), 6) for t in times]


@pytest.mark.parametrize(
    ("settings", "times", "expected"),
    [
        ({"strategy": "CONSTANT_PACE", "end_value": 0, "total_steps": 4}, [0, 1, 4, 9], [2.0, 1.5, 0.0, 0.0]),
        ({"strategy": "linear", "start_value": "1e-1", "end_value": 0.3, "total_steps": "20%"}, [0, 2, 5], [0.1, 0.195238, 0.3]),
        ({"strategy": "linear", "end_value": 4}, [0, 10, 20, 21], [2.0, 3.0, 4.0, 4.0]),
        ({"strategy": "linear", "end_value": 211, "interval": "step"}, [0, 209, 210], [2.0, 211.0, 211.0]),
        ({"strategy": "Cosine", "start_value": 0, "end_value": 1, "total_steps": 3}, [1, 2, 3], [0.25, 0.75, 1.0]),
        ({"strategy": "exponential", "start_value": 1, "end_value": 0.01, "total_steps": 2}, [1, 2], [0.1, 0.01]),
        ({"strategy": "saturating", "start_value": 0, "end_value": 1, "total_steps": 4}, [2, 4], [0.924142, 1.0]),
        ({"strategy": "polynomial", "start_value": 0, "end_value": 16, "total_steps": 4, "power": 2}, [1, 3], [1.0, 9.0]),
        ({"strategy": "sigmoid", "start_value": 0, "end_value": 1, "total_steps": 4}, [2, 4], [0.5, 1.0]),
        # From 7 to 17 by squares, and to 1 where no end is given.
        ({"strategy": "competence", "start_value": 7, "end_value": 17, "total_steps": 4}, [0, 2, 4], [7.0, 13.0, 17.0]),
        ({"strategy": "competence", "start_value": 0, "total_steps": 4, "power": 1}, [1, 4], [0.25, 1.0]),
        ({"strategy": "constant", "value": 7}, [0, 5], [7.0, 7.0]),
        ({"strategy": "SCHEDULED", "schedule": {"3": 1, 5: "0.5"}}, [0, 2, 3, 5, 9], [2.0, 2.0, 1.0, 0.5, 0.5]),
        ({"strategy": "milestones", "schedule": {0: 1, "50%": 3}}, [0, 10, 11], [1.0, 1.0, 3.0]),
        ({"strategy": "milestones", "schedule": {"0": 1, "2ep": 3}, "interval": "step"}, [0, 19, 20], [1.0, 1.0, 3.0]),
        ({"strategy": "cyclical", "cycle_length": 4, "min_value": 1, "max_value": 3}, [0, 1, 2, 4], [1.0, 2.0, 3.0, 1.0]),
        (
            {"strategy": "cyclical", "cycle_length": "4ep", "min_value": 0, "max_value": 1, "wave_type": "triangle",
             "interval": "step"}, [0, 10, 20], [0.0, 0.5, 1.0],
        ),
        (
            {"strategy": "warm_restart", "base": {"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 2},
             "restart_interval": 4, "restart_multiplier": 1.5}, [0, 1, 3, 4, 5, 9, 10], [0.0, 0.5, 1.0, 0.0, 0.5, 1.0, 0.0],
        ),
        # A base without a length takes one stretch, so that the last epoch before a restart has the end value.
        (
            {"strategy": "warm_restart", "base": {"strategy": "linear", "end_value": 5}, "restart_interval": 4},
            [0, 1, 3, 4, 7], [2.0, 3.0, 5.0, 2.0, 5.0],
        ),
        # Parts join: each begins where the one before ends, and the last one has the rest of the run.
        (
            {"strategy": "sequence", "parts": [
                {"strategy": "linear", "end_value": 4, "duration": 2},
                {"strategy": "linear", "end_value": 0, "duration": "4ep"},
                {"strategy": "linear", "end_value": 14},
            ]}, [0, 1, 2, 3, 6, 7, 20, 30], [2.0, 3.0, 4.0, 3.0, 0.0, 1.0, 14.0, 14.0],
        ),
        ({"strategy": "linear", "end_value": 0, "total_steps": 4, "frequency": 2}, [0, 1, 2, 3, 4], [2, 2, 1, 1, 0]),
        (
            {"strategy": "linear", "end_value": 22, "total_steps": "2ep",
             "scheduler_configs": {"interval": "step", "frequency": 5, "monitor": "val_loss"}}, [4, 5, 9, 20],
            [2.0, 7.0, 7.0, 22.0],
        ),
    ],
)  # fmt: skip
def test_strategies(settings: dict[str, Any], times: list[int], expected: list[float]) -> None:
    before = copy.deepcopy(settings)
    assert values(settings, times) == expected
    assert settings == before


def test_schedules_and_callables_in_code() -> None:
    rules = read_rules({"a": Cosine(0, 1, 2), "b": lambda t: t * 2})
    built = [rule.source.build(Lengths(rule.name, "epoch", RUN), None) for rule in rules]
    assert [schedule(1) for schedule in built] == [pytest.approx(0.5), 2.0]


@pytest.mark.parametrize(
    "make", [lambda m: m, OmegaConf.create, lambda m: {k: OmegaConf.create(v) for k, v in m.items()}]
)
def test_any_mapping(make: Any) -> None:
    given = {"x": {"strategy": "scheduled", "schedule": {0: 1.0, 3: 0.5}}, "y": {"strategy": "linear", "end_value": 1}}
    assert read_rules(make(given)) == read_rules(given)


def test_omegaconf_is_resolved() -> None:
    config = OmegaConf.create({"top": 3, "x": {"strategy": "linear", "end_value": "${top}", "total_steps": 3}})
    assert values(config.x, [3]) == [3.0]
    nested = OmegaConf.create({"x": {"strategy": "${nope}"}})
    for broken in (nested, {"x": nested.x}, {"x": {"strategy": "sequence", "parts": OmegaConf.create(["${nope}"])}}):
        with pytest.raises(AnnealError, match=r"^config: .*nope.*"):
            read_rules(broken)
    with pytest.raises(AnnealError, match="Missing mandatory value"):
        read_rules(OmegaConf.create({"x": {"strategy": "linear", "end_value": "???"}}))


def test_numbers_of_numpy() -> None:
    settings = {
        "strategy": "linear",
        "start_value": np.float32(0.5),
        "end_value": np.int64(2),
        "total_steps": np.int32(3),
    }
    assert values(settings, [0, 3]) == [0.5, 2.0]


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("beta: {strategy: linear, end_value: 1e-7, total_steps: 3}")
    assert read_file(tmp_path / "a.yaml") == {"beta": {"strategy": "linear", "end_value": 1e-7, "total_steps": 3}}
    (tmp_path / "a.json").write_text('{"a": {"0": 1}}')
    assert read_file(tmp_path / "a.json") == {"a": {"0": 1}}
    (tmp_path / "twice.yaml").write_text("a: 1\na: 2")
    (tmp_path / "list.yaml").write_text("[1, 2]")
    for name, what in [
        ("twice", "can't be read: .*duplicate"),
        ("list", "must hold a mapping"),
        ("no", "no such file"),
    ]:
        with pytest.raises(AnnealError, match=what):
            read_file(tmp_path / f"{name}.yaml")


def test_plain_copies() -> None:
    nested = OmegaConf.create({"a": [1, {"b": (2, 3)}], "s": "text"})
    copied = plain("x", nested)
    assert copied == {"a": [1, {"b": [2, 3]}], "s": "text"}
    assert type(copied["a"]) is list


LINEAR = {"strategy": "linear", "end_value": 1}
STRATEGIES = "competence, constant, constant_pace, constraint, cosine, cyclical, exponential, follow, gated, linear, milestones, ..."


def deep() -> dict[str, Any]:
    config: dict[str, Any] = {}
    for _ in range(1000):
        config = {"base": config}
    return config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "cosin", "end_value": 1}, "x.strategy: unknown strategy 'cosin'; did you mean 'cosine'?"),
        ({"strategy": 3}, f"x.strategy: unknown strategy 3; known: {STRATEGIES}"),
        ({}, f"x.strategy: missing; known: {STRATEGIES}"),
        ({**LINEAR, "end_vlue": 1}, "x: unknown key 'end_vlue'; did you mean 'end_value'?"),
        ({**LINEAR, "trigger_sorce": 1}, "x: unknown key 'trigger_sorce'; known: as_tensor, attr_name, end_value, eval_value, "
         "frequency, interval, object, round, scale_lr, scheduler_configs, ..."),
        ({"strategy": "linear"}, "x.end_value: missing; linear needs it"),
        ({"strategy": "linear", "end_value": None}, "x.end_value: missing; linear needs it"),
        ({"strategy": "linear", "end_value": "abc"}, "x.end_value: must be a number, got 'abc'"),
        ({"strategy": "linear", "end_value": float("nan")}, "x.end_value: must be a finite number, got nan"),
        ({"strategy": "linear", "end_value": float("inf")}, "x.end_value: must be a finite number, got inf"),
        ({"strategy": "linear", "end_value": [1]}, "x.end_value: must be a number, got [1]"),
        ({**LINEAR, "total_steps": 0}, "x.total_steps: must be positive, got 0"),
        ({**LINEAR, "total_steps": "5 epochs"}, "x.total_steps: must be a number, '10ep', '500st' or '30%', got '5 epochs'"),
        ({**LINEAR, "interval": "epochs"}, "x.interval: unknown interval 'epochs'; did you mean 'epoch'?"),
        ({**LINEAR, "frequency": 0}, "x.frequency: must be positive, got 0"),
        ({**LINEAR, "frequency": 1.5}, "x.frequency: must be a whole number, got 1.5"),
        ({**LINEAR, "scheduler_configs": {"freq": 2}}, "x.scheduler_configs: unknown key 'freq'; did you mean 'frequency'?"),
        ({**LINEAR, "scheduler_configs": 3}, "x.scheduler_configs: must be a mapping, got 3"),
        ({**LINEAR, "frequency": 2, "scheduler_configs": {"frequency": 3}},
         "x.frequency: 2 here and 3 in scheduler_configs; keep one"),
        ({**LINEAR, "round": "no"}, "x.round: must be true or false, got 'no'"),
        ({**LINEAR, "as_tensor": 1}, "x.as_tensor: must be true or false, got 1"),
        ({**LINEAR, "eval_value": "high"}, "x.eval_value: must be a number, got 'high'"),
        ({**LINEAR, "attr_name": 3}, "x.attr_name: must be a dotted path, got 3"),
        ({**LINEAR, "object": "modle"}, "x.object: unknown object 'modle'; did you mean 'model'?"),
        ({"strategy": "exponential", "start_value": 0, "end_value": 1},
         "x.start_value: a geometric curve can't start at 0; take Saturating"),
        ({"strategy": "polynomial", "end_value": 1}, "x.power: missing; polynomial needs it"),
        ({"strategy": "sigmoid", "end_value": 1, "steepness": -1}, "x.steepness: must be positive, got -1"),
        ({"strategy": "competence", "start_value": -1}, "x.start_value: must not be negative, got -1.0"),
        ({"strategy": "competence", "end_value": "x"}, "x.end_value: must be a number, got 'x'"),
        ({"strategy": "competence", "power": 0}, "x.power: must be positive, got 0"),
        ({"strategy": "scheduled", "schedule": {}}, "x.schedule: must have at least one milestone such as {0: 1.0}"),
        ({"strategy": "scheduled", "schedule": [1]}, "x.schedule: must be a mapping, got [1]"),
        ({"strategy": "scheduled", "schedule": {"a": 1}},
         "x.schedule.a: must be a number, '10ep', '500st' or '30%', got 'a'"),
        ({"strategy": "scheduled", "schedule": {-1: 1}}, "x.schedule.-1: must not be negative, got -1"),
        ({"strategy": "scheduled", "schedule": {3: "b"}}, "x.schedule.3: must be a number, got 'b'"),
        ({"strategy": "scheduled", "schedule": {3: 1, "3": 2}}, "x.schedule: two values for 3"),
        ({"strategy": "cyclical", "cycle_length": 4, "min_value": 0}, "x.max_value: missing; cyclical needs it"),
        ({"strategy": "cyclical", "cycle_length": 4, "min_value": 0, "max_value": 1, "wave_type": "sine"},
         "x.wave_type: unknown wave_type 'sine'; did you mean 'cosine'?"),
        ({"strategy": "cyclical", "cycle_length": 4, "min_value": 0, "max_value": 1, "wave_type": ""},
         "x.wave_type: unknown wave_type ''; known: cosine, triangle"),
        ({"strategy": "warm_restart", "restart_interval": 4, "base": 3}, "x.base: must be a mapping, got 3"),
        ({"strategy": "warm_restart", "restart_interval": 4, "base": {**LINEAR, "frequency": 3}},
         "x.base: unknown key 'frequency'; known: end_value, start_value, strategy, total_steps"),
        ({"strategy": "warm_restart", "restart_interval": -1, "base": LINEAR}, "x.restart_interval: must be positive, got -1"),
        ({"strategy": "sequence", "parts": []}, "x.parts: must be a list of settings, got []"),
        ({"strategy": "sequence", "parts": [LINEAR, LINEAR]}, "x.parts.0.duration: missing; only the last part can do without"),
        ({"strategy": "sequence", "parts": [{**LINEAR, "duration": 2}, {"strategy": "liner"}]},
         "x.parts.1.strategy: unknown strategy 'liner'; did you mean 'linear'?"),
        ({"strategy": "TRIGGER_BASED", "values": [1]}, "x.trigger_source: missing; trigger_based needs it"),
        ({"strategy": "warm_restart", "base": deep()}, "x.base: nested more than 20 deep"),
        ("linear", "x: must be a mapping of settings, a schedule or a callable of t, got 'linear'"),
    ],
)  # fmt: skip
def test_refused(settings: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        read_rules({"x": settings})
    assert str(error.value) == message
    assert len(message) <= 200


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "annealing_params: must name at least one parameter"),
        ([1], "annealing_params: must be a mapping of names to settings, got [1]"),
        (None, "annealing_params: must be a mapping of names to settings, got None"),
        ({3: LINEAR}, "annealing_params: a parameter's name must be a string, got 3"),
    ],
)
def test_refused_as_a_whole(params: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        read_rules(params)
    assert str(error.value) == message


def test_a_schedule_is_the_same_as_its_settings() -> None:
    [rule] = read_rules({"x": {"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 5}})
    assert rule.source.build(Lengths("x", "epoch", RUN), None) == Linear(0, 1, 5)
