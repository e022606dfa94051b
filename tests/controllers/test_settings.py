"""What settings can't be, each in one line."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_anneal import AnnealError, AnnealingManager, HyperparamAnnealingCallback, Milestones
from lightning_anneal.config import read_rules

RAMP = {"strategy": "linear", "end_value": 1}
WHEN = {"monitor": "val_loss", "below": 0.5}
GIVEN: dict[str, dict[str, Any]] = {
    "pi_control": {"monitor": "kl", "set_point": 3},
    "constraint": {"monitor": "kl", "limit": 3},
    "on_plateau": {"monitor": "val_loss", "factor": 0.5},
    "gated": {"schedule": RAMP, "advance_when": WHEN},
    "follow": {"other": "lr"},
}


def given(strategy: str, **changes: Any) -> dict[str, Any]:
    """Settings that are right, but for some; ``...`` takes a key away."""
    settings = {"strategy": strategy, **GIVEN[strategy], **changes}
    return {key: value for key, value in settings.items() if value is not ...}


REFUSED: dict[str, list[tuple[dict[str, Any], str]]] = {
    "pi_control": [
        ({"monitor": ...}, "p.monitor: missing; pi_control needs it"),
        ({"monitor": 3}, "p.monitor: must be the name of a metric, got 3"),
        ({"monitor": ""}, "p.monitor: must be the name of a metric, got ''"),
        ({"scheduler_configs": {"monitor": "loss"}}, "p.monitor: 'kl' here and 'loss' in scheduler_configs; keep one"),
        ({"set_point": ...}, "p.set_point: missing; pi_control needs it"),
        ({"set_point": None}, "p.set_point: missing; pi_control needs it"),
        ({"set_point": "high"}, "p.set_point: must be a number, got 'high'"),
        ({"set_point": "3ep"}, "p.set_point: must be a number, got '3ep'; units are for lengths"),
        ({"set_point": True}, "p.set_point: must be a number, got True"),
        ({"set_point": math.nan}, "p.set_point: must be a finite number, got nan"),
        ({"set_point": [1, 2]}, "p.set_point: must be a number, got [1, 2]"),
        ({"set_point": {"end_value": 1}}, "p.set_point.strategy: missing; known: competence, constant, constant_pace, cosine, cyclical, exponential, linear, milestones, polynomial, saturating, ..."),
        ({"set_point": {"strategy": "linera"}}, "p.set_point.strategy: unknown strategy 'linera'; did you mean 'linear'?"),
        ({"set_point": {"strategy": "gated"}}, "p.set_point.strategy: gated can't be a part of another strategy"),
        ({"set_point": {"strategy": "linear"}}, "p.set_point.end_value: missing; linear needs it"),
        ({"set_point": RAMP}, "p.set_point.start_value: missing; there is no value of a metric to be found (milestones: give one for 0)"),
        ({"set_point": Milestones({3: 1.0})}, "p.set_point.start_value: missing; there is no value of a metric to be found (milestones: give one for 0)"),
        ({"set_point": {**RAMP, "start_value": 0, "total_steps": 0}}, "p.set_point.total_steps: must be positive, got 0"),
        ({"setpoint": 3}, "p: unknown key 'setpoint'; did you mean 'set_point'?"),
        ({"kp": -1}, "p.kp: must not be negative, got -1"),
        ({"kp": "x"}, "p.kp: must be a number, got 'x'"),
        ({"ki": 0}, "p.ki: must be positive, got 0"),
        ({"ki": True}, "p.ki: must be a number, got True"),
        ({"min_value": 2}, "p.min_value: must be below max_value, got 2 and 1"),
        ({"min_value": 1}, "p.min_value: must be below max_value, got 1 and 1"),
        ({"max_value": "a"}, "p.max_value: must be a number, got 'a'"),
        ({"max_value": math.inf}, "p.max_value: must be a finite number, got inf"),
        ({"start_value": 2}, "p.start_value: must be from min_value to max_value, 0 to 1, got 2"),
        ({"start_value": -1}, "p.start_value: must be from min_value to max_value, 0 to 1, got -1"),
        ({"start_value": "a"}, "p.start_value: must be a number, got 'a'"),
        ({"effect": "up"}, "p.effect: unknown effect 'up'; known: lowers, raises"),
        ({"effect": "lower"}, "p.effect: unknown effect 'lower'; did you mean 'lowers'?"),
        ({"interval": "batch"}, "p.interval: unknown interval 'batch'; known: epoch, step"),
        ({"frequency": 0}, "p.frequency: must be positive, got 0"),
        ({"frequency": 1.5}, "p.frequency: must be a whole number, got 1.5"),
        ({"round": "yes"}, "p.round: must be true or false, got 'yes'"),
        ({"as_tensor": 1}, "p.as_tensor: must be true or false, got 1"),
        ({"eval_value": "x"}, "p.eval_value: must be a number, got 'x'"),
        ({"mode": "min"}, "p: unknown key 'mode'; known: as_tensor, attr_name, effect, eval_value, frequency, interval, ki, kp, max_value, min_value, monitor, object, round, ..."),
    ],
    "constraint": [
        ({"monitor": ...}, "p.monitor: missing; constraint needs it"),
        ({"limit": ...}, "p.limit: missing; constraint needs it"),
        ({"limit": "x"}, "p.limit: must be a number, got 'x'"),
        ({"limit": RAMP}, "p.limit.start_value: missing; there is no value of a metric to be found (milestones: give one for 0)"),
        ({"mode": "low"}, "p.mode: unknown mode 'low'; known: max, min"),
        ({"mode": 1}, "p.mode: unknown mode 1; known: max, min"),
        ({"method": "pid"}, "p.method: unknown method 'pid'; did you mean 'pi'?"),
        ({"method": 1}, "p.method: unknown method 1; known: geco, pi"),
        ({"rate": 0}, "p.rate: must be positive, got 0"),
        ({"rate": "x"}, "p.rate: must be a number, got 'x'"),
        ({"ki": 1}, "p.ki: is for method pi, not for geco"),
        ({"kp": 1}, "p.kp: is for method pi, not for geco"),
        ({"method": "pi", "rate": 1}, "p.rate: is for method geco, not for pi"),
        ({"method": "pi", "ki": 0}, "p.ki: must be positive, got 0"),
        ({"method": "pi", "kp": -1}, "p.kp: must not be negative, got -1"),
        ({"momentum": 1}, "p.momentum: must be below 1, got 1"),
        ({"momentum": -0.1}, "p.momentum: must not be negative, got -0.1"),
        ({"momentum": "a"}, "p.momentum: must be a number, got 'a'"),
        ({"min_value": 0}, "p.min_value: must be positive, or a factor could never raise it, got 0"),
        ({"max_value": 1e-7}, "p.min_value: must be below max_value, got 1e-06 and 1e-07"),
        ({"start_value": 0}, "p.start_value: must be from min_value to max_value, 1e-06 to 1e+06, got 0"),
        ({"method": "pi", "start_value": -1}, "p.start_value: must be from min_value to max_value, 0 to 1e+06, got -1"),
        ({"effect": "rises"}, "p.effect: unknown effect 'rises'; did you mean 'raises'?"),
        ({"limits": 1}, "p: unknown key 'limits'; did you mean 'limit'?"),
    ],
    "on_plateau": [
        ({"monitor": ...}, "p.monitor: missing; on_plateau needs it"),
        ({"factor": ...}, "p.factor: missing; give factor, or step"),
        ({"step": 1}, "p.factor: give factor or step, not both"),
        ({"factor": 0}, "p.factor: must be positive, got 0"),
        ({"factor": 1}, "p.factor: must not be 1, which changes nothing"),
        ({"factor": "a"}, "p.factor: must be a number, got 'a'"),
        ({"factor": ..., "step": 0}, "p.step: must not be 0, which changes nothing"),
        ({"factor": ..., "step": "a"}, "p.step: must be a number, got 'a'"),
        ({"patience": -1}, "p.patience: counts polls: a whole number from 0, got -1"),
        ({"patience": 1.5}, "p.patience: counts polls: a whole number from 0, got 1.5"),
        ({"patience": "3ep"}, "p.patience: counts polls: a whole number from 0, got '3ep'"),
        ({"cooldown": -1}, "p.cooldown: counts polls: a whole number from 0, got -1"),
        ({"threshold": -1}, "p.threshold: must not be negative, got -1"),
        ({"threshold": "a"}, "p.threshold: must be a number, got 'a'"),
        ({"threshold_mode": "relative"}, "p.threshold_mode: unknown threshold_mode 'relative'; known: abs, rel"),
        ({"mode": "low"}, "p.mode: unknown mode 'low'; known: max, min"),
        ({"min_value": 2, "max_value": 1}, "p.min_value: must not be above max_value, got 2 and 1"),
        ({"min_value": "a"}, "p.min_value: must be a number, got 'a'"),
        ({"max_value": "a"}, "p.max_value: must be a number, got 'a'"),
        ({"interval": "step"}, "p.interval: a trigger acts when its event has come; leave it out"),
        ({"frequency": 2}, "p.frequency: a trigger acts when its event has come; leave it out"),
        ({"min_delta": 0.1}, "p: unknown key 'min_delta'; known: as_tensor, attr_name, cooldown, eval_value, factor, frequency, interval, max_value, min_value, mode, monitor, ..."),
    ],
    "gated": [
        ({"schedule": ...}, "p.schedule: missing; gated needs it"),
        ({"schedule": 3}, "p.schedule: must be a schedule, such as {strategy: linear, end_value: 1}, got 3"),
        ({"schedule": {"strategy": "gated"}}, "p.schedule.strategy: gated can't be a part of another strategy"),
        ({"schedule": {"strategy": "linear"}}, "p.schedule.end_value: missing; linear needs it"),
        ({"schedule": {**RAMP, "interval": "step"}}, "p.schedule: unknown key 'interval'; known: end_value, start_value, strategy, total_steps"),
        ({"advance_when": ...}, "p.advance_when: missing; gated needs it"),
        ({"advance_when": "val_loss < 0.5"}, "p.advance_when: must be a mapping, got 'val_loss < 0.5'"),
        ({"advance_when": {}}, "p.advance_when.monitor: missing, as in {monitor: val_loss, below: 0.5}"),
        ({"advance_when": {"monitor": 1, "below": 1}}, "p.advance_when.monitor: must be the name of a metric, got 1"),
        ({"advance_when": {"monitor": "v"}}, "p.advance_when.below: missing; give below, or above"),
        ({"advance_when": {**WHEN, "above": 2}}, "p.advance_when.below: give below or above, not both"),
        ({"advance_when": {"monitor": "v", "below": "x"}}, "p.advance_when.below: must be a number, got 'x'"),
        ({"advance_when": {"monitor": "v", "above": math.nan}}, "p.advance_when.above: must be a finite number, got nan"),
        ({"advance_when": {"monitor": "v", "belov": 1}}, "p.advance_when: unknown key 'belov'; did you mean 'below'?"),
        ({"max_wait": 0}, "p.max_wait: must be positive, got 0"),
        ({"max_wait": 0.5}, "p.max_wait: must be at least 1, got 0.5"),
        ({"max_wait": "x"}, "p.max_wait: must be a number, '10ep', '500st' or '30%', got 'x'"),
        ({"max_wiat": 2}, "p: unknown key 'max_wiat'; did you mean 'max_wait'?"),
    ],
    "follow": [
        ({"other": ...}, "p.other: missing; follow needs it"),
        ({"other": 3}, "p.other: must be a parameter's name or a path, got 3"),
        ({"other": ""}, "p.other: must be a parameter's name or a path, got ''"),
        ({"other": "p"}, "p.other: goes round in a circle: p -> p"),
        ({"scale": 0}, "p.scale: must not be 0, which would follow nothing"),
        ({"scale": "x"}, "p.scale: must be a number, got 'x'"),
        ({"power": 0}, "p.power: must not be 0, which would follow nothing"),
        ({"power": True}, "p.power: must be a number, got True"),
        ({"offset": math.inf}, "p.offset: must be a finite number, got inf"),
        ({"othr": "x"}, "p: unknown key 'othr'; did you mean 'other'?"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "changes", "message"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
def test_refused_in_the_constructor(strategy: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        HyperparamAnnealingCallback({"p": given(strategy, **changes)})
    assert str(error.value) == message
    assert len(message) <= 200


def test_every_key_is_refused_somewhere() -> None:
    keys = {
        "pi_control": ("monitor", "set_point", "kp", "ki", "min_value", "max_value", "start_value", "effect"),
        "constraint": ("monitor", "limit", "mode", "method", "rate", "ki", "kp", "momentum", "min_value", "max_value", "start_value", "effect"),
        "on_plateau": ("monitor", "factor", "step", "patience", "cooldown", "threshold", "threshold_mode", "mode", "min_value", "max_value"),
        "gated": ("schedule", "advance_when", "max_wait"),
        "follow": ("other", "scale", "power", "offset"),
    }  # fmt: skip
    for strategy, known in keys.items():
        assert set(known) <= {key for changes, _ in REFUSED[strategy] for key in changes}, strategy


@pytest.mark.parametrize("strategy", GIVEN)
def test_what_is_right_is_read_in_any_case(strategy: str) -> None:
    for name in (strategy, strategy.upper()):
        (rule,) = read_rules({"p": {**given(strategy), "strategy": name}})
        assert rule.name == "p"


@pytest.mark.parametrize(
    ("settings", "start", "message"),
    [
        (given("constraint"), 0.0, "p: begins at 0, beyond the min_value 1e-06; give start_value or another min_value"),
        (given("constraint", max_value=2), 3.0, "p: begins at 3, beyond the max_value 2; give start_value or another max_value"),
        (given("pi_control", set_point={**RAMP, "start_value": 0}), 0.0,
         "p.set_point.total_steps: leaving it out needs the length of the run, which is not known; give a number of epochs"),
        (given("constraint", limit={**RAMP, "start_value": 0, "total_steps": "30%"}), 1.0,
         "p.limit.total_steps: '30%' needs the length of the run, which is not known; give a number of epochs"),
        (given("gated", max_wait="10%"), 0.0, "p.schedule.total_steps: leaving it out needs the length of the run, which is not known; give a number of epochs"),
        (given("gated", schedule={**RAMP, "total_steps": 5}, max_wait="10%"), 0.0,
         "p.max_wait: '10%' needs the length of the run, which is not known; give a number of epochs"),
        (given("on_plateau"), 0.0, "p.factor: the value found is 0, and stays so; give step"),
        (given("on_plateau", min_value=1), 0.5, "p.min_value: the value found, 0.5, is beyond 1 already"),
        (given("on_plateau", factor=..., step=1, max_value=1), 2.0, "p.max_value: the value found, 2, is beyond 1 already"),
        (given("pi_control"), 1, "p: holds an int and would get 0.5; write 1.0 in the module, or set round: true"),
        (given("constraint"), 1, "p: holds an int and would get 0.5; write 1.0 in the module, or set round: true"),
        (given("gated", schedule={**RAMP, "total_steps": 5}), 0, "p: holds an int and would get 0.5; write 0.0 in the module, or set round: true"),
        (given("on_plateau"), 3, "p: holds an int and would get 1.5; write 3.0 in the module, or set round: true"),
        (given("on_plateau"), True, "p: holds true or false, which no factor can move"),
        (given("on_plateau", factor=..., step=1), "low", "p: holds a string, which no step can move"),
        (given("pi_control"), True, "p: is True; a schedule gives numbers"),
        (given("pi_control"), "low", "p: is 'low'; a schedule gives numbers"),
        (given("follow"), 0.0, "p.other: SimpleNamespace has no attribute 'lr'; known: p, q"),
        (given("follow", other="qq"), 0.0, "p.other: SimpleNamespace has no attribute 'qq'; did you mean 'q'?"),
        (given("follow", other="q"), 0.0, "p.other: q is 'text', and only a number can be followed"),
        (given("follow", other="optimizer.param_groups.0.lr"), 0.0, "p.other: there is no optimizer here"),
        (given("pi_control", as_tensor=True), 0.0, "p.as_tensor: is for a Lightning fit; put a 0-d tensor in that place yourself, and it is filled in place"),
    ],
)  # fmt: skip
def test_refused_when_it_begins(settings: dict[str, Any], start: Any, message: str) -> None:
    model = SimpleNamespace(p=start, q="text")
    with pytest.raises(AnnealError) as error:
        AnnealingManager({"p": settings}, objects={"model": model})
    assert str(error.value) == message
    assert model.p == start


def optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "weight_decay": decay} for decay in (0.5, 0.25)]
    return torch.optim.SGD(groups, lr=0.5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (given("constraint"), "start_value: one value steers them all, and they begin at different ones (0.5, 0.25); give it"),
        (given("gated", schedule={**RAMP, "total_steps": 5}), "schedule.start_value: one value steers them all, and they begin at different ones (0.5, 0.25); give it"),
        (given("pi_control", min_value=-1), " weight_decay must be at least 0, and would go to -1"),
        (given("follow", other="optimizer.param_groups.0.lr", offset=-1), " weight_decay must be at least 0, and would go to -0.5"),
    ],
)  # fmt: skip
def test_refused_of_several_groups(settings: dict[str, Any], message: str) -> None:
    path = "optimizer.param_groups.*.weight_decay"
    with pytest.raises(AnnealError) as error:
        AnnealingManager({path: settings}, objects={"optimizer": optimizer()})
    own = "optimizer.param_groups.0.weight_decay" if message.startswith(" ") else path
    assert str(error.value) == (f"{own}:{message}" if message.startswith(" ") else f"{path}.{message}")
