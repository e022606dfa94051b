"""Settings of a TRIGGER_BASED parameter: what they do, and one line for each thing that is wrong."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.config import read_rules
from lightning_anneal.triggers.reaction import Progress
from lightning_anneal.triggers.settings import SOURCES
from lightning_anneal.triggers.signals import Reading

TRIGGERED = {"strategy": "TRIGGER_BASED", "trigger_source": "early_stopper_counter"}
COUNTER = {**TRIGGERED, "values": [10, 20, 40]}
STOP = {**COUNTER, "trigger_source": "early_stopper_triggered"}
BELOW = {**COUNTER, "trigger_source": "metric_below", "monitor": "val_loss", "threshold": 0.5}
PLATEAU = {**COUNTER, "trigger_source": "metric_plateau", "monitor": "val_loss", "patience": 2}
DOWN = {**TRIGGERED, "multiply": 0.5}
UP = {**TRIGGERED, "multiply": 2}


def without(settings: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in settings.items() if k != key}


def source(settings: dict[str, Any]) -> Any:
    [rule] = read_rules({"x": settings})
    return rule.source


@pytest.mark.parametrize(
    ("settings", "readings", "values"),
    [
        # A target that holds 8.0; the value after each poll.
        (COUNTER, [0, 1, 2, 3], [10.0, 20.0, 40.0, 40.0]),
        ({**COUNTER, "strategy": "trigger_based", "trigger_source": "Early_Stopper_COUNTER"}, [0, 1], [10.0, 20.0]),
        ({**COUNTER, "current_index": 1}, [0, 1, 2], [20.0, 40.0, 40.0]),
        ({**COUNTER, "current_index": "2"}, [0, 1], [40.0, 40.0]),
        ({**COUNTER, "at_end": "hold"}, [1, 2, 3], [20.0, 40.0, 40.0]),
        ({**COUNTER, "at_end": "CYCLE"}, [1, 2, 3, 4], [20.0, 40.0, 10.0, 20.0]),
        ({**COUNTER, "at_end": "cycle", "current_index": 2}, [0, 1], [40.0, 10.0]),
        ({**COUNTER, "cooldown": 1}, [1, 2, 3], [20.0, 20.0, 40.0]),
        ({**COUNTER, "cooldown": "2"}, [1, 2, 3, 4], [20.0, 20.0, 20.0, 40.0]),
        # A key that is given as null is a key left out.
        ({**COUNTER, "current_index": None, "at_end": None, "cooldown": None, "multiply": None, "min_value": None,
          "threshold": None, "extend_training": None, "monitor": None}, [0, 1], [10.0, 20.0]),
        ({**TRIGGERED, "values": ("1e-7", "2.5", 3)}, [0, 1, 2], [1e-7, 2.5, 3.0]),
        ({**TRIGGERED, "values": [7]}, [0, 1], [7.0, 7.0]),
        ({**TRIGGERED, "values": [False, True]}, [0, 1], [False, True]),
        ({**TRIGGERED, "values": ["low", "high"]}, [0, 1], ["low", "high"]),
        (DOWN, [0, 1, 2], [8.0, 4.0, 2.0]),
        ({**TRIGGERED, "multiply": "5e-1"}, [0, 1], [8.0, 4.0]),
        ({**DOWN, "min_value": 3}, [1, 2, 3], [4.0, 3.0, 3.0]),
        ({**UP, "max_value": 20}, [1, 2, 3], [16.0, 20.0, 20.0]),
        ({**UP, "min_value": 1, "max_value": "20"}, [1, 2], [16.0, 20.0]),
        # Each bound alone, on either side of 0.
        ({**UP, "max_value": 0.5}, [0, 1], [8.0, 0.5]),
        ({**UP, "max_value": -5}, [0, 1], [8.0, -5.0]),
        ({**UP, "min_value": 100}, [0, 1], [8.0, 100.0]),
        ({**UP, "min_value": -100}, [0, 1], [8.0, 16.0]),
        ({**DOWN, "min_value": 6, "max_value": 6}, [0, 1], [8.0, 6.0]),
        # Sources.
        ({**COUNTER, "trigger_source": "early_stopper_half_patience"}, [0, 1, 1, 0, 1], [10.0, 20.0, 20.0, 20.0, 40.0]),
        ({**COUNTER, "trigger_source": "early_stopper_third_patience"}, [1, 0], [20.0, 20.0]),
        (STOP, [0, 1, 1], [10.0, 20.0, 20.0]),
        ({**COUNTER, "trigger_source": "lr_scheduler_triggered"}, [0, 1, 1, 0, 1], [10.0, 20.0, 20.0, 20.0, 40.0]),
        (BELOW, [1, 0.5, 0.4, 0.3], [10.0, 10.0, 20.0, 20.0]),
        ({**BELOW, "threshold": "3.5e-1"}, [0.4, 0.3], [10.0, 20.0]),
        ({**BELOW, "trigger_source": "METRIC_ABOVE"}, [0.4, 0.5, 0.6], [10.0, 10.0, 20.0]),
        ({**BELOW, "threshold": 0}, [0, -1], [10.0, 20.0]),
        (PLATEAU, [5, 5, 5, 4, 3], [10.0, 10.0, 20.0, 20.0, 20.0]),
        ({**PLATEAU, "mode": "min"}, [5, 4, 3], [10.0, 10.0, 10.0]),
        ({**PLATEAU, "mode": "MAX"}, [5, 4, 3], [10.0, 10.0, 20.0]),
        ({**PLATEAU, "patience": "1"}, [5, 5], [10.0, 20.0]),
        ({**PLATEAU, "patience": 1, "min_delta": 1}, [5, 4, 2.5], [10.0, 20.0, 20.0]),
        ({**PLATEAU, "patience": 1, "min_delta": 0}, [5, 4, 4], [10.0, 10.0, 20.0]),
    ],
)  # fmt: skip
def test_values(settings: dict[str, Any], readings: list[float], values: list[Any]) -> None:
    before = copy.deepcopy(settings)
    reaction, progress, seen = source(settings), Progress(), []
    for reading in readings:
        progress = reaction.after(progress, Reading(float(reading)))
        seen.append(reaction.response.value(progress.firings, 8.0))
    assert seen == values
    assert [type(value) for value in seen] == [type(value) for value in values]
    assert settings == before


@pytest.mark.parametrize(
    ("settings", "monitor"),
    [
        (COUNTER, None),
        ({**COUNTER, "monitor": "val_acc"}, "val_acc"),
        ({**COUNTER, "scheduler_configs": {"monitor": "val_acc"}}, "val_acc"),
        ({**COUNTER, "scheduler_configs": {"monitor": None}}, None),
        ({**without(BELOW, "monitor"), "scheduler_configs": {"monitor": "val_acc"}}, "val_acc"),
        ({**BELOW, "scheduler_configs": {"monitor": "val_loss", "interval": "epoch", "frequency": 1}}, "val_loss"),
    ],
)
def test_monitor(settings: dict[str, Any], monitor: str | None) -> None:
    assert source(settings).monitor == monitor


def test_extend_training() -> None:
    assert source({**STOP, "extend_training": True}).extend_training is True
    assert source({**STOP, "extend_training": False, "cooldown": 2}).extend_training is False
    assert source(STOP).extend_training is False
    assert source({**STOP, "extend_training": True, "cooldown": 0}).cooldown == 0


def test_sources() -> None:
    assert SOURCES == (
        "early_stopper_counter",
        "early_stopper_half_patience",
        "early_stopper_third_patience",
        "early_stopper_triggered",
        "lr_scheduler_triggered",
        "metric_below",
        "metric_above",
        "metric_plateau",
    )


KNOWN = "early_stopper_counter, early_stopper_half_patience, early_stopper_third_patience, early_stopper_triggered, ..."
MIXED = "x.values: must be all numbers, all booleans or all strings"
EVENT = "a trigger acts when its event has come; leave it out"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        # The source.
        (without(COUNTER, "trigger_source"), "x.trigger_source: missing; trigger_based needs it"),
        ({**COUNTER, "trigger_source": None}, "x.trigger_source: missing; trigger_based needs it"),
        ({**COUNTER, "trigger_source": "early_stoper_counter"},
         "x.trigger_source: unknown trigger_source 'early_stoper_counter'; did you mean 'early_stopper_counter'?"),
        ({**COUNTER, "trigger_source": "half_patience"},
         "x.trigger_source: unknown trigger_source 'half_patience'; did you mean 'early_stopper_half_patience'?"),
        ({**COUNTER, "trigger_source": "lr_scheduler"},
         "x.trigger_source: unknown trigger_source 'lr_scheduler'; did you mean 'lr_scheduler_triggered'?"),
        ({**COUNTER, "trigger_source": "metric_bellow"},
         "x.trigger_source: unknown trigger_source 'metric_bellow'; did you mean 'metric_below'?"),
        ({**COUNTER, "trigger_source": 3}, f"x.trigger_source: unknown trigger_source 3; known: {KNOWN}"),
        ({**COUNTER, "trigger_source": ["metric_below"]},
         f"x.trigger_source: unknown trigger_source ['metric_below']; known: {KNOWN}"),
        # Keys.
        ({**COUNTER, "trigger_sorce": 1}, "x: unknown key 'trigger_sorce'; did you mean 'trigger_source'?"),
        ({**TRIGGERED, "value": [1]}, "x: unknown key 'value'; did you mean 'values'?"),
        ({**COUNTER, "cool_down": 1}, "x: unknown key 'cool_down'; did you mean 'cooldown'?"),
        ({**COUNTER, "total_steps": 3}, "x: unknown key 'total_steps'; known: as_tensor, at_end, attr_name, cooldown, "
         "current_index, eval_value, extend_training, frequency, interval, max_value, ..."),
        # Values, or a factor.
        (TRIGGERED, "x.values: missing; give values, or multiply"),
        ({**COUNTER, "values": None}, "x.values: missing; give values, or multiply"),
        ({**COUNTER, "multiply": 0.5}, "x.values: give values or multiply, not both"),
        ({**TRIGGERED, "values": []}, "x.values: must be a list of at least one value, got []"),
        ({**TRIGGERED, "values": 3}, "x.values: must be a list of at least one value, got 3"),
        ({**TRIGGERED, "values": "abc"}, "x.values: must be a list of at least one value, got 'abc'"),
        ({**TRIGGERED, "values": {0: 1}}, "x.values: must be a list of at least one value, got {0: 1}"),
        ({**TRIGGERED, "values": [0, True]}, f"{MIXED}, got [0, True]"),
        ({**TRIGGERED, "values": ["low", 1]}, f"{MIXED}, got ['low', 1]"),
        ({**TRIGGERED, "values": ["low", "1"]}, f"{MIXED}, got ['low', '1']"),
        ({**TRIGGERED, "values": [True, "no"]}, f"{MIXED}, got [True, 'no']"),
        ({**TRIGGERED, "values": [0, None]}, "x.values.1: must be a number, got None"),
        ({**TRIGGERED, "values": [[0], 1]}, "x.values.0: must be a number, got [0]"),
        ({**TRIGGERED, "values": [0, float("nan")]}, "x.values.1: must be a finite number, got nan"),
        ({**TRIGGERED, "values": [0, "-inf"]}, "x.values.1: must be a finite number, got -inf"),
        ({**COUNTER, "current_index": 3}, "x.current_index: must be a whole number from 0 to 2, got 3"),
        ({**COUNTER, "current_index": -1}, "x.current_index: must be a whole number from 0 to 2, got -1"),
        ({**COUNTER, "current_index": 0.5}, "x.current_index: must be a whole number from 0 to 2, got 0.5"),
        ({**COUNTER, "current_index": "one"}, "x.current_index: must be a number, got 'one'"),
        ({**COUNTER, "current_index": True}, "x.current_index: must be a number, got True"),
        ({**COUNTER, "at_end": "stop"}, "x.at_end: unknown at_end 'stop'; known: cycle, hold"),
        ({**COUNTER, "at_end": "cyle"}, "x.at_end: unknown at_end 'cyle'; did you mean 'cycle'?"),
        ({**COUNTER, "min_value": 0}, "x.min_value: doesn't go with values"),
        ({**COUNTER, "max_value": 0}, "x.max_value: doesn't go with values"),
        ({**DOWN, "current_index": 0}, "x.current_index: doesn't go with multiply"),
        ({**DOWN, "at_end": "hold"}, "x.at_end: doesn't go with multiply"),
        ({**TRIGGERED, "multiply": 0}, "x.multiply: must be positive, got 0"),
        ({**TRIGGERED, "multiply": -2}, "x.multiply: must be positive, got -2"),
        ({**TRIGGERED, "multiply": "half"}, "x.multiply: must be a number, got 'half'"),
        ({**TRIGGERED, "multiply": True}, "x.multiply: must be a number, got True"),
        ({**DOWN, "min_value": 2, "max_value": 1}, "x.min_value: must not be above max_value, got 2 and 1"),
        ({**DOWN, "min_value": -1, "max_value": -1.5}, "x.min_value: must not be above max_value, got -1 and -1.5"),
        ({**DOWN, "min_value": "low"}, "x.min_value: must be a number, got 'low'"),
        ({**DOWN, "max_value": [1]}, "x.max_value: must be a number, got [1]"),
        # Cooldown.
        ({**COUNTER, "cooldown": -1}, "x.cooldown: counts polls: a whole number from 0, got -1"),
        ({**COUNTER, "cooldown": 1.5}, "x.cooldown: counts polls: a whole number from 0, got 1.5"),
        ({**COUNTER, "cooldown": True}, "x.cooldown: counts polls: a whole number from 0, got True"),
        ({**COUNTER, "cooldown": "long"}, "x.cooldown: counts polls: a whole number from 0, got 'long'"),
        ({**STOP, "extend_training": True, "cooldown": 1},
         "x.cooldown: doesn't go with extend_training: the patience has to run out anew"),
        ({**STOP, "extend_training": "yes"}, "x.extend_training: must be true or false, got 'yes'"),
        ({**STOP, "extend_training": 1}, "x.extend_training: must be true or false, got 1"),
        # Keys of another source.
        ({**COUNTER, "extend_training": True},
         "x.extend_training: is for early_stopper_triggered, not for early_stopper_counter"),
        ({**COUNTER, "threshold": 1}, "x.threshold: is for metric_below and metric_above, not for early_stopper_counter"),
        ({**PLATEAU, "threshold": 1}, "x.threshold: is for metric_below and metric_above, not for metric_plateau"),
        ({**BELOW, "patience": 2}, "x.patience: is for metric_plateau, not for metric_below"),
        ({**BELOW, "mode": "min"}, "x.mode: is for metric_plateau, not for metric_below"),
        ({**COUNTER, "min_delta": 0.0}, "x.min_delta: is for metric_plateau, not for early_stopper_counter"),
        ({**COUNTER, "trigger_source": "lr_scheduler_triggered", "patience": 3},
         "x.patience: is for metric_plateau, not for lr_scheduler_triggered"),
        # Metrics.
        (without(BELOW, "monitor"), "x.monitor: missing; metric_below needs it"),
        (without(BELOW, "threshold"), "x.threshold: missing; metric_below needs it"),
        ({**without(BELOW, "threshold"), "trigger_source": "METRIC_ABOVE"},
         "x.threshold: missing; metric_above needs it"),
        (without(PLATEAU, "monitor"), "x.monitor: missing; metric_plateau needs it"),
        (without(PLATEAU, "patience"), "x.patience: missing; metric_plateau needs it"),
        ({**BELOW, "threshold": "low"}, "x.threshold: must be a number, got 'low'"),
        ({**BELOW, "threshold": True}, "x.threshold: must be a number, got True"),
        ({**BELOW, "threshold": float("inf")}, "x.threshold: must be a finite number, got inf"),
        ({**PLATEAU, "patience": 0}, "x.patience: counts polls: a whole number from 1, got 0"),
        ({**PLATEAU, "patience": 1.5}, "x.patience: counts polls: a whole number from 1, got 1.5"),
        ({**PLATEAU, "mode": "minimum"}, "x.mode: unknown mode 'minimum'; did you mean 'min'?"),
        ({**PLATEAU, "mode": "auto"}, "x.mode: unknown mode 'auto'; known: max, min"),
        ({**PLATEAU, "min_delta": -1}, "x.min_delta: must not be negative, got -1"),
        ({**PLATEAU, "min_delta": "x"}, "x.min_delta: must be a number, got 'x'"),
        ({**BELOW, "monitor": ""}, "x.monitor: must be the name of a metric, got ''"),
        ({**BELOW, "monitor": 3}, "x.monitor: must be the name of a metric, got 3"),
        ({**COUNTER, "monitor": ["val_loss"]}, "x.monitor: must be the name of a metric, got ['val_loss']"),
        ({**COUNTER, "scheduler_configs": {"monitor": 3}}, "x.monitor: must be the name of a metric, got 3"),
        ({**BELOW, "scheduler_configs": {"monitor": "val_acc"}},
         "x.monitor: 'val_loss' here and 'val_acc' in scheduler_configs; keep one"),
        ({**TRIGGERED, "multiply": 1}, "x.multiply: must not be 1, which changes nothing"),
        # Timing.
        ({**COUNTER, "interval": "step"}, f"x.interval: {EVENT}"),
        ({**COUNTER, "frequency": 2}, f"x.frequency: {EVENT}"),
        ({**COUNTER, "interval": "step", "frequency": 2}, f"x.interval: {EVENT}"),
        ({**COUNTER, "scheduler_configs": {"interval": "step"}}, f"x.interval: {EVENT}"),
        ({**COUNTER, "scheduler_configs": {"frequency": 3}}, f"x.frequency: {EVENT}"),
        ({**COUNTER, "frequency": 0}, "x.frequency: must be positive, got 0"),
        # Inside another strategy.
        ({"strategy": "sequence", "parts": [{"strategy": "linear", "end_value": 1, "duration": 2}, COUNTER]},
         "x.parts.1.strategy: trigger_based can't be a part of another strategy"),
        ({"strategy": "sequence", "parts": [{**COUNTER, "duration": 2}]},
         "x.parts.0.strategy: trigger_based can't be a part of another strategy"),
        ({"strategy": "warm_restart", "restart_interval": 4, "base": COUNTER},
         "x.base.strategy: trigger_based can't be a part of another strategy"),
        # Common keys.
        ({**COUNTER, "round": "no"}, "x.round: must be true or false, got 'no'"),
        ({**COUNTER, "as_tensor": 1}, "x.as_tensor: must be true or false, got 1"),
        ({**COUNTER, "eval_value": "high"}, "x.eval_value: must be a number, got 'high'"),
    ],
)  # fmt: skip
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        read_rules({"x": settings})
    assert str(error.value) == message
    assert len(message) <= 200
