"""Triggers in a loop of one's own: what AnnealingManager makes of the metrics it is given."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_anneal import AnnealError, AnnealingManager

NAN = float("nan")


def settings(source: str = "early_stopper_counter", **given: Any) -> dict[str, Any]:
    values = {} if "multiply" in given else {"values": [10, 20, 40, 80]}
    return {"strategy": "trigger_based", "trigger_source": source, **values, **given}


def manager(model: Any, **params: Any) -> AnnealingManager:
    return AnnealingManager(params, objects={"model": model})


def values(source: str, seen: list[Any], key: str | None = None, **given: Any) -> list[float]:
    """The value of a parameter in each epoch, when each but the first begins with something seen."""
    model = SimpleNamespace(beta=0.0)
    annealing = manager(model, beta=settings(source, **given))
    held = []
    for epoch, value in enumerate([None, *seen]):
        annealing.step(epoch, None if value is None else {key or source: value})
        held.append(model.beta)
    return held


@pytest.mark.parametrize("source", ["early_stopper_counter", "early_stopper_triggered", "lr_scheduler_triggered"])
def test_counts_fire_where_they_rise(source: str) -> None:
    given = {"values": [0, 1, 2, 3, 4, 5]}
    assert values(source, [0, 1, 2, 3, 0, 1], **given) == [0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 4.0]


@pytest.mark.parametrize(
    "source",
    [
        "early_stopper_counter",
        "early_stopper_half_patience",
        "early_stopper_third_patience",
        "early_stopper_triggered",
        "lr_scheduler_triggered",
    ],
)
def test_conditions_fire_at_their_edge(source: str) -> None:
    assert values(source, [False, True, True, False, True, True]) == [10.0, 10.0, 20.0, 20.0, 20.0, 40.0, 40.0]
    # What is so at the first look has come since the start.
    assert values(source, [True, True]) == [10.0, 20.0, 20.0]


@pytest.mark.parametrize(
    ("source", "seen", "given", "expected"),
    [
        ("metric_below", [0.9, 0.4, 0.3, 0.6, 0.4], {"threshold": 0.5}, [10, 10, 20, 20, 20, 40]),
        ("metric_below", [0.5, NAN, torch.tensor(0.4)], {"threshold": 0.5}, [10, 10, 10, 20]),
        ("metric_above", [0.9, 0.4, 0.3, 0.6, 0.4], {"threshold": 0.5}, [10, 20, 20, 20, 40, 40]),
        ("metric_plateau", [5, 5, 5, 4, NAN, 5], {"patience": 2}, [10, 10, 10, 20, 20, 20, 40]),
        ("metric_plateau", [5, 4, 3, 3], {"patience": 2, "mode": "max"}, [10, 10, 10, 20, 20]),
        ("metric_plateau", [5, 4.5, 3], {"patience": 1, "min_delta": 1}, [10, 10, 20, 20]),
        # The cooldown counts looks: an epoch without the metric is none.
        ("metric_below", [0.4, 0.6, 0.4, 0.6, 0.4], {"threshold": 0.5, "cooldown": 2}, [10, 20, 20, 20, 20, 40]),
        ("metric_below", [0.4, None, None, 0.6, 0.4], {"threshold": 0.5, "cooldown": 2}, [10, 20, 20, 20, 20, 20]),
        ("metric_plateau", [5, None, 5, None, 5], {"patience": 2}, [10, 10, 10, 10, 10, 20]),
    ],
)
def test_metrics(source: str, seen: list[Any], given: dict[str, Any], expected: list[float]) -> None:
    assert values(source, seen, key="val_loss", monitor="val_loss", **given) == expected


@pytest.mark.parametrize("metric", ["early_loss", "lr_schedule_error"])
def test_a_metric_may_begin_as_a_source_does(metric: str) -> None:
    given = {"monitor": metric, "threshold": 0.5}
    assert values("metric_below", [0.9, 0.4], key=metric, **given) == [10.0, 10.0, 20.0]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, [10, 10, 20, 40, 80, 80, 80]),
        ({"current_index": 2}, [40, 40, 80, 80, 80, 80, 80]),
        ({"at_end": "cycle"}, [10, 10, 20, 40, 80, 10, 20]),
        ({"cooldown": 1}, [10, 10, 20, 20, 40, 40, 80]),
    ],
)
def test_values(given: dict[str, Any], expected: list[float]) -> None:
    assert values("early_stopper_counter", [0, 1, 2, 3, 4, 5], **given) == expected


@pytest.mark.parametrize(
    ("start", "given", "expected"),
    [
        (8.0, {"multiply": 0.5}, [8.0, 4.0, 2.0, 1.0, 0.5]),
        (8.0, {"multiply": 0.5, "min_value": 3}, [8.0, 4.0, 3.0, 3.0, 3.0]),
        (8, {"multiply": 2}, [8, 16, 32, 64, 128]),
        (5, {"multiply": 0.5, "min_value": 1, "round": True}, [5, 3, 1, 1, 1]),
        (-1.0, {"multiply": 2, "min_value": -5}, [-1.0, -2.0, -4.0, -5.0, -5.0]),
        (True, {"values": [True, False]}, [True, False, False, False, False]),
        (False, {"values": [True, False], "at_end": "cycle"}, [True, False, True, False, True]),
        ("off", {"values": ["low", "high"]}, ["low", "high", "high", "high", "high"]),
        (3, {"values": [1, 2.0]}, [1, 2, 2, 2, 2]),
        (3, {"values": [1.5, 2.5], "round": True}, [2, 3, 3, 3, 3]),
    ],
)
def test_targets_keep_their_kind(start: Any, given: dict[str, Any], expected: list[Any]) -> None:
    model = SimpleNamespace(x=start)
    annealing = manager(model, x=settings(**given))
    held = [model.x]
    for count in (1, 2, 3, 4):
        annealing.step(metrics={"early_stopper_counter": count})
        held.append(model.x)
    assert held == expected
    assert {type(value) for value in held} == {type(start)}


def test_a_tensor_is_filled_in_place() -> None:
    model = SimpleNamespace(x=torch.tensor(1.0))
    tensor = model.x
    manager(model, x=settings(multiply=4)).step(metrics={"early_stopper_counter": 1})
    assert model.x is tensor
    assert float(tensor) == 4.0


def test_the_first_value_is_put_in_force_at_once() -> None:
    model = SimpleNamespace(beta=7.0)
    annealing = manager(model, beta=settings(current_index=1))
    assert model.beta == 20.0
    assert annealing.values == {"beta": 20.0}
    assert annealing.step(epoch=0) == {}


def test_what_is_returned() -> None:
    model = SimpleNamespace(a=1.0, b=1.0, c=1.0)
    ramp = {"strategy": "linear", "start_value": 0, "end_value": 4, "total_steps": 4}
    below = settings("metric_below", monitor="val_loss", threshold=0.5)
    annealing = manager(model, a=settings(), b=below, c=ramp)
    assert annealing.step(0, {"early_stopper_counter": 0, "val_loss": 1.0, "unused": "text"}) == {"c": 0.0}
    assert annealing.step(1, {"early_stopper_counter": 1, "val_loss": 1.0}) == {"a": 20.0, "c": 1.0}
    assert annealing.step(2, {"val_loss": 0.25}) == {"b": 20.0, "c": 2.0}
    # By step alone the epoch stays, and events are seen all the same.
    assert annealing.step(step=30, metrics={"early_stopper_counter": 2}) == {"a": 40.0}
    assert annealing.step() == {"c": 3.0}


def test_every_group_has_a_start_of_its_own() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "weight_decay": decay} for decay in (0.5, 0.25)]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    path = "optimizer.param_groups.*.weight_decay"
    annealing = AnnealingManager({path: settings(multiply=0.5)}, objects={"optimizer": optimizer})
    annealing.step(metrics={"early_stopper_counter": 1})
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.25, 0.125]


# -- without settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("reg_param", 0.0, [0.0, 0.001, 0.005, 0.01, 0.01]),
        ("reg_param", 0.001, [0.001, 0.005, 0.01, 0.01, 0.01]),
        ("reg_param", 0.003, [0.003, 0.005, 0.01, 0.01, 0.01]),
        ("reg_param", 1.0, [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("contrastive_weight", 0.0, [0.0, 0.005, 0.01, 0.02, 0.03]),
        ("contrastive_weight", 0.01, [0.01, 0.02, 0.03, 0.03, 0.03]),
        ("contrastive_weight", -1.0, [-1.0, 0.0, 0.005, 0.01, 0.02]),
    ],
)
def test_default_rules(name: str, start: float, expected: list[float]) -> None:
    config = SimpleNamespace(annealing_params=None, **{name: start})
    annealing, held = AnnealingManager(config), [getattr(config, name)]
    for _ in range(4):
        annealing.step(metrics={"early_stopper_half_patience": True})
        held.append(getattr(config, name))
        annealing.step(metrics={"early_stopper_half_patience": False})
    assert held == expected


def test_default_rules_of_both() -> None:
    model = SimpleNamespace(reg_param=0.0, contrastive_weight=0.02, other=1.0)
    annealing = AnnealingManager({"annealing_params": None}, objects={"model": model})
    assert annealing.step(metrics={"early_stopper_counter": 3}) == {}
    changed = annealing.step(metrics={"early_stopper_half_patience": True})
    assert changed == {"reg_param": 0.001, "contrastive_weight": 0.03}


def test_default_rules_of_a_mapping() -> None:
    config = {"annealing_params": None, "reg_param": 0.0}
    AnnealingManager(config).step(metrics={"early_stopper_half_patience": 1})
    assert config["reg_param"] == 0.001


# -- state ----------------------------------------------------------------------------------------------------------

PARAMS = {
    "a": settings(cooldown=1),
    "b": settings("metric_plateau", monitor="val_loss", patience=2, multiply=0.5),
    "c": settings("metric_below", monitor="val_loss", threshold=2.5, values=["x", "y", "z"]),
    "d": settings("lr_scheduler_triggered", values=[False, True], at_end="cycle"),
}
# Count, val_loss, whether the learning rate fell; and what holds after it.
RUN: list[tuple[int, float, bool, tuple[Any, ...]]] = [
    (0, 5.0, False, (10.0, 8.0, "x", False)),
    (1, 5.0, True, (20.0, 8.0, "x", True)),
    (2, 5.0, True, (20.0, 4.0, "x", True)),
    (3, 2.0, False, (40.0, 4.0, "y", True)),
    (0, 3.0, True, (40.0, 4.0, "y", False)),
    (1, 2.0, True, (80.0, 2.0, "z", False)),
    (2, 2.0, False, (80.0, 2.0, "z", False)),
]


def fresh() -> Any:
    return SimpleNamespace(a=1.0, b=8.0, c="w", d=False)


def go(annealing: AnnealingManager, model: Any, polls: list[Any]) -> list[tuple[Any, ...]]:
    held = []
    for count, loss, fell, _ in polls:
        annealing.step(metrics={"early_stopper_counter": count, "val_loss": loss, "lr_scheduler_triggered": fell})
        held.append((model.a, model.b, model.c, model.d))
    return held


@pytest.mark.parametrize("cut", range(len(RUN) + 1))
def test_a_run_goes_on_where_its_state_was_taken(cut: int) -> None:
    model = fresh()
    first = manager(model, **PARAMS)
    assert go(first, model, RUN[:cut]) == [held for *_, held in RUN[:cut]]
    state = json.loads(json.dumps(first.state_dict()))
    again = fresh()
    # As after a restored optimizer: the start is what was found at first.
    again.b = 99.0
    second = manager(again, **PARAMS)
    second.load_state_dict(state)
    assert second.values == first.values
    assert vars(again) == vars(model)
    assert go(second, again, RUN[cut:]) == [held for *_, held in RUN[cut:]]


def test_the_state_in_full() -> None:
    model = fresh()
    annealing = manager(model, a=PARAMS["a"], b=PARAMS["b"])
    go(annealing, model, RUN[:3])
    state = annealing.state_dict()
    assert state == {
        "version": 2,
        "epoch": 2,
        "step": 0,
        "found": {
            "a": {"start": [1.0], "lengths": {}, "path": "a", "interval": "epoch"},
            "b": {"start": [8.0], "lengths": {}, "path": "b", "interval": "epoch"},
        },
        "run": {"max_epochs": None, "max_steps": None},
        "triggers": {
            "a": {
                "watches": "early_stopper_counter",
                "firings": 1,
                "applied": 1,
                "rest": 0,
                "peak": None,
                "seen": {"level": 2.0, "best": None, "bad": 0, "rates": []},
            },
            "b": {
                "watches": "metric_plateau val_loss",
                "firings": 1,
                "applied": 1,
                "rest": 0,
                "peak": None,
                "seen": {"level": 1.0, "best": 5.0, "bad": 0, "rates": []},
            },
        },
    }
    kept = json.dumps(state)
    go(annealing, model, RUN[3:])
    assert json.dumps(state) == kept


def test_a_state_takes_a_run_back() -> None:
    model = fresh()
    annealing = manager(model, **PARAMS)
    start = annealing.state_dict()
    first = go(annealing, model, RUN)
    annealing.load_state_dict(start)
    assert (model.a, model.b, model.c, model.d) == (10.0, 8.0, "x", False)
    assert go(annealing, model, RUN) == first


def test_any_reading_leaves_a_state_that_loads() -> None:
    sources = ("early_stopper_counter", "early_stopper_triggered", "lr_scheduler_triggered")
    model = SimpleNamespace(a=1.0, b=1.0, c=1.0)
    annealing = manager(model, **{name: settings(source) for name, source in zip("abc", sources, strict=True)})
    annealing.step(metrics=dict.fromkeys(sources, NAN))
    annealing.load_state_dict(json.loads(json.dumps(annealing.state_dict())))
    assert annealing.step(metrics=dict.fromkeys(sources, 1)) == {"a": 20.0, "b": 20.0, "c": 20.0}


# -- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"early_stoper_counter": 1}, "metrics: unknown source 'early_stoper_counter'; did you mean 'early_stopper_counter'?"),
        ({"early_stopper_counter": 1, "lr_scheduler_trigered": True},
         "metrics: unknown source 'lr_scheduler_trigered'; did you mean 'lr_scheduler_triggered'?"),
        ({"early_stopper_half_patients": 1},
         "metrics: unknown source 'early_stopper_half_patients'; did you mean 'early_stopper_half_patience'?"),
        (3, "metrics: must be a mapping of names to numbers, got 3"),
        ([], "metrics: must be a mapping of names to numbers, got []"),
        (["early_stopper_counter"], "metrics: must be a mapping of names to numbers, got ['early_stopper_counter']"),
        ({"early_stopper_counter": "many"}, "metrics.early_stopper_counter: must be a number or a boolean, got 'many'"),
        ({"early_stopper_counter": 1, "val_loss": [0.1]}, "metrics.val_loss: must be a number or a boolean, got [0.1]"),
        ({"early_stopper_counter": 1, "val_loss": torch.zeros(2)},
         "metrics.val_loss: must be a number or a boolean, got tensor([0., 0.])"),
    ],
)  # fmt: skip
def test_metrics_refused(metrics: Any, message: str) -> None:
    model = SimpleNamespace(a=0.0, b=0.0)
    annealing = manager(model, a=settings(), b=settings("metric_below", monitor="val_loss", threshold=0.5))
    before = annealing.state_dict()
    with pytest.raises(AnnealError) as error:
        annealing.step(0, metrics)
    assert str(error.value) == message
    # Nothing has moved, and the same count is news when it comes in order.
    assert vars(model) == {"a": 10.0, "b": 10.0}
    assert annealing.state_dict() == before
    assert annealing.step(0, {"early_stopper_counter": 1}) == {"a": 20.0}


@pytest.mark.parametrize("moment", [{"epoch": -1}, {"epoch": 1.5}, {"step": "soon"}])
def test_a_wrong_moment_moves_nothing(moment: dict[str, Any]) -> None:
    model = SimpleNamespace(a=0.0)
    annealing = manager(model, a=settings())
    before = annealing.state_dict()
    with pytest.raises(AnnealError, match="must be a"):
        annealing.step(**moment, metrics={"early_stopper_counter": 1})
    assert (model.a, annealing.state_dict()) == (10.0, before)


def test_a_value_that_cant_be_moves_nothing() -> None:
    # The later one of two parameters comes to what no float holds.
    model = SimpleNamespace(a=0.0, b=1e308)
    annealing = manager(model, a=settings(), b=settings(multiply=10))
    before = annealing.state_dict()
    with pytest.raises(AnnealError) as error:
        annealing.step(0, {"early_stopper_counter": 1})
    assert str(error.value) == "b: must be a finite number, got inf"
    assert vars(model) == {"a": 10.0, "b": 1e308}
    assert annealing.state_dict() == before


@pytest.mark.parametrize(
    ("start", "given", "message"),
    [
        (True, {"values": [0, 1]}, "x: holds true or false, and its values are numbers; give booleans"),
        (True, {"multiply": 0.5}, "x: holds true or false, which no factor can move"),
        (1.0, {"values": [True, False]}, "x: holds a number, and its values are booleans; give numbers"),
        (1.0, {"values": ["low"]}, "x: holds a number, and its values are strings; give numbers"),
        ("low", {"values": [1]}, "x: holds a string, and its values are numbers; give strings"),
        ("low", {"multiply": 0.5}, "x: holds a string, which no factor can move"),
        (None, {"values": [1]}, "x: is None; give it a number to start from"),
        (3, {"values": [1, 1.5]}, "x: holds an int and would get 1.5; write 3.0 in the module, or set round: true"),
        (True, {"values": [True, False], "eval_value": 0.5}, "x: holds true or false, and its values give 0.5"),
        ("low", {"values": ["low"], "eval_value": 1}, "x: holds a string, and its values give 1.0"),
        # 8, 4, 2, 1, and then a half: known from the start.
        (8, {"multiply": 0.5}, "x: holds an int and would get 0.5; write 8.0 in the module, or set round: true"),
    ],
)  # fmt: skip
def test_values_of_another_kind(start: Any, given: dict[str, Any], message: str) -> None:
    model = SimpleNamespace(w=1.0, x=start)
    with pytest.raises(AnnealError) as error:
        manager(model, w=settings(), x=settings(**given))
    assert str(error.value) == message
    assert vars(model) == {"w": 1.0, "x": start}


@pytest.mark.parametrize(
    ("start", "given", "message"),
    [
        (0.0, {"multiply": 2}, "x.multiply: the value found is 0, and stays so; give values"),
        (1.0, {"multiply": 2, "max_value": 0.5}, "x.max_value: the value found, 1, is beyond 0.5 already"),
        (1.0, {"multiply": 0.5, "min_value": 1.5}, "x.min_value: the value found, 1, is beyond 1.5 already"),
    ],
)
def test_starts_that_a_factor_cant_move(start: float, given: dict[str, Any], message: str) -> None:
    model = SimpleNamespace(x=start)
    with pytest.raises(AnnealError) as error:
        manager(model, x=settings(**given))
    assert str(error.value) == message
    assert model.x == start


@pytest.mark.parametrize(
    ("path", "given", "message"),
    [
        ("weight_decay", {"values": [0.1, -0.1]}, "weight_decay must be at least 0, and would go to -0.1"),
        ("betas.0", {"multiply": 2}, "betas must stay below 1, and would go to 1.8"),
        ("betas.0", {"values": [0.9, 1.0]}, "betas must stay below 1, and would go to 1"),
    ],
)
def test_values_out_of_range(path: str, given: dict[str, Any], message: str) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])
    name = f"optimizer.param_groups.0.{path}"
    with pytest.raises(AnnealError) as error:
        AnnealingManager({name: settings(**given)}, objects={"optimizer": optimizer})
    assert str(error.value) == f"{name}: {message}"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SimpleNamespace(annealing_params=None),
         "annealing_params: none given, and SimpleNamespace has neither 'reg_param' nor 'contrastive_weight'"),
        ({"annealing_params": None},
         "annealing_params: none given, and dict has neither 'reg_param' nor 'contrastive_weight'"),
        (SimpleNamespace(annealing_params=None, reg_param=None), "reg_param: is None; give it a number to start from"),
        (SimpleNamespace(annealing_params=None, reg_param="auto"), "reg_param: holds a string, and its values are numbers; give strings"),
        (SimpleNamespace(annealing_params=None, reg_param=0),
         "reg_param: holds an int and would get 0.001; write 0.0 in the module, or set round: true"),
    ],
)  # fmt: skip
def test_default_rules_refused(config: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        AnnealingManager(config)
    assert str(error.value) == message
