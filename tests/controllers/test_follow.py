"""Parameters that follow others: in which order, when, and from where a resumed run goes on."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_anneal import AnnealError, AnnealingManager
from tests.written import on

RAMP = {"strategy": "linear", "start_value": 0, "end_value": 100, "total_steps": 100}


def follow(other: str, **settings: Any) -> dict[str, Any]:
    return {"strategy": "follow", "other": other, **settings}


def managed(params: dict[str, Any], **start: Any) -> tuple[AnnealingManager, Any]:
    model = SimpleNamespace(**{**dict.fromkeys("abcdef", 0.0), **start})
    return AnnealingManager(params, objects={"model": model}), model


def held(params: dict[str, Any], name: str, moments: int = 10, interval: str = "step", **start: Any) -> list[float]:
    """The value of a parameter at each of the first steps (or epochs)."""
    manager, model = managed(params, **start)
    values = []
    for i in range(moments):
        manager.step(**{interval: i})  # type: ignore[arg-type]
        values.append(getattr(model, name))
    return values


# -- in which order -------------------------------------------------------------------------------------------------


def test_a_chain_in_any_order() -> None:
    chain = {"b": follow("a", scale=2.0), "c": follow("b", offset=1.0), "d": follow("c", power=2.0)}
    for names in ("abcd", "dcba", "cadb"):
        params = {name: {**RAMP, "interval": "epoch"} if name == "a" else chain[name] for name in names}
        # (2 t + 1) ** 2
        assert held(params, "d", 4, "epoch") == [1.0, 9.0, 25.0, 49.0]


def test_a_long_chain() -> None:
    model = SimpleNamespace(**{f"x{i}": 0.0 for i in range(1500)})
    params: dict[str, Any] = {f"x{i}": follow(f"x{i + 1}", offset=1.0) for i in range(1499)}
    manager = AnnealingManager({**params, "x1499": {**RAMP}}, objects={"model": model})
    manager.step(epoch=3)
    assert model.x0 == 3.0 + 1499


def test_a_path_to_a_place_that_has_another_name() -> None:
    model = SimpleNamespace(loss={"kl": 0.0}, a=0.0)
    # Listed first, and by a path which is nobody's name.
    params = {"a": follow("loss.kl", scale=2.0), "beta": {**RAMP, "attr_name": "loss.kl"}}
    manager = AnnealingManager(params, objects={"model": model})
    for t in range(4):
        manager.step(epoch=t, step=t)
        assert (model.loss["kl"], model.a) == (t, 2.0 * t)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": follow("a")}, "a.other: goes round in a circle: a -> a"),
        ({"a": follow("b"), "b": follow("a")}, "a.other: goes round in a circle: a -> b -> a"),
        ({"a": follow("b"), "b": follow("c"), "c": follow("b")}, "a.other: goes round in a circle: b -> c -> b"),
        # By path: only what is found in the model shows it.
        ({"x": follow("b", attr_name="a"), "b": follow("a")}, "x.other: goes round in a circle: x -> b -> x"),
        ({"x": follow("a", attr_name="a")}, "x.other: goes round in a circle: x -> x"),
    ],
)
def test_circles(params: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        managed(params)
    assert str(error.value) == message


def optimizer(rates: tuple[float, ...] = (0.5, 0.25)) -> torch.optim.Optimizer:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups, lr=0.1, weight_decay=0.0, momentum=0.0)


GROUP = "optimizer.param_groups"


def of(optimizer: torch.optim.Optimizer, key: str) -> list[float]:
    return [group[key] for group in optimizer.param_groups]


def test_groups_follow_each_its_own_or_all_the_same() -> None:
    sgd = optimizer()
    params = {f"{GROUP}.*.weight_decay": follow(f"{GROUP}.*.lr"), f"{GROUP}.*.momentum": follow(f"{GROUP}.1.lr")}
    AnnealingManager(params, objects={"optimizer": sgd}).step(step=0)
    assert of(sgd, "weight_decay") == [0.5, 0.25]
    assert of(sgd, "momentum") == [0.25, 0.25]


def test_one_can_not_follow_several() -> None:
    with pytest.raises(AnnealError) as error:
        AnnealingManager(
            {"a": follow(f"{GROUP}.*.lr")}, objects={"optimizer": optimizer(), "model": SimpleNamespace(a=0.0)}
        )
    assert str(error.value) == "a.other: is 2 values, and this is 1; name one of them"


def test_groups_of_different_rules_come_before_what_follows_them_all() -> None:
    sgd = optimizer()
    params = {
        f"{GROUP}.*.weight_decay": follow(f"{GROUP}.*.lr"),
        # The second group's rate comes by way of the first group's momentum.
        f"{GROUP}.0.lr": {**RAMP, "interval": "step"},
        f"{GROUP}.1.lr": follow(f"{GROUP}.0.momentum", scale=10),
        f"{GROUP}.0.momentum": follow(f"{GROUP}.0.lr", scale=0.01),
    }
    manager = AnnealingManager(params, objects={"optimizer": sgd})
    for step in range(4):
        manager.step(step=step)
        assert of(sgd, "weight_decay") == [step, 0.01 * step * 10]
    params[f"{GROUP}.0.momentum"] = follow(f"{GROUP}.1.weight_decay")
    with pytest.raises(AnnealError, match="goes round in a circle"):
        AnnealingManager(params, objects={"optimizer": optimizer()})


# -- when -----------------------------------------------------------------------------------------------------------

BY_STEP = {**RAMP, "interval": "step"}


def test_it_moves_when_the_other_one_does() -> None:
    assert held({"b": follow("a"), "a": BY_STEP}, "b", 4) == [0.0, 1.0, 2.0, 3.0]
    assert held({"b": follow("a"), "a": {**BY_STEP, "frequency": 3}}, "b", 7) == [0, 0, 0, 3, 3, 3, 6]
    assert held({"b": follow("a"), "a": RAMP}, "b", 4, "epoch") == [0.0, 1.0, 2.0, 3.0]
    # Nobody anneals it: whoever does change it may do so at any step.
    manager, model = managed({"b": follow("a")})
    for step in range(3):
        model.a = 10.0 + step
        manager.step(step=step)
        assert model.b == 10.0 + step


def test_its_own_frequency() -> None:
    assert held({"a": BY_STEP, "b": follow("a", interval="step", frequency=4)}, "b") == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    by_epoch = {"a": RAMP, "b": follow("a", interval="epoch", frequency=2)}
    assert held(by_epoch, "b", 5, "epoch") == [0, 0, 2, 2, 4]


def test_by_epoch_it_waits_for_the_next_one() -> None:
    manager, model = managed({"a": BY_STEP, "b": follow("a", interval="epoch")})
    seen = []
    for step in range(8):
        manager.step(epoch=step // 4 if step % 4 == 0 else None, step=step)
        seen.append(model.b)
    # At the start of an epoch the value is still that of the step before.
    assert seen == [0, 0, 0, 0, 3, 3, 3, 3]


def test_somebody_elses_update_is_no_turn_of_it() -> None:
    others = {
        "c": {"strategy": "pi_control", "monitor": "kl", "set_point": 1, "interval": "step"},
        "d": on("early_stopper_counter"),
    }
    manager, model = managed(
        {"a": BY_STEP, "b": follow("a", frequency=4), "e": follow("a", interval="epoch"), **others}
    )
    seen = []
    for step in range(10):
        manager.step(step=step, metrics={"kl": 0.5 * step, "early_stopper_counter": step})
        seen.append((model.b, model.e))
    assert [b for b, _ in seen] == [0, 0, 0, 0, 4, 4, 4, 4, 8, 8]
    assert {e for _, e in seen} == {0.0}


def test_it_follows_an_answer_at_once() -> None:
    manager, model = managed({"c": follow("b", offset=1), "b": follow("a", scale=10), "a": on("early_stopper_counter")})
    assert (model.a, model.b, model.c) == (0.0, 0.0, 1.0)
    # In the midst of an epoch.
    assert manager.step(step=1, metrics={"early_stopper_counter": 1}) == {"a": 1.0, "b": 10.0, "c": 11.0}
    assert manager.step(epoch=1, metrics={"early_stopper_counter": 2}) == {"a": 2.0, "b": 20.0, "c": 21.0}
    # The same epoch once more.
    assert manager.step(epoch=1, metrics={"early_stopper_counter": 3}) == {"a": 3.0, "b": 30.0, "c": 31.0}


def test_it_follows_a_controller_by_step_at_its_own_turns() -> None:
    settings = {"strategy": "pi_control", "monitor": "kl", "set_point": 1, "kp": 0, "ki": 0.125, "interval": "step"}
    manager, model = managed({"a": settings, "b": follow("a"), "c": follow("a", frequency=3)})
    seen = []
    for step in range(7):
        manager.step(step=step, metrics={"kl": 2.0} if step else None)
        seen.append((model.a, model.b, model.c))
    rises = [0.125 * step for step in range(7)]
    assert [a for a, *_ in seen] == rises
    assert [b for _, b, _ in seen] == rises
    assert [c for *_, c in seen] == [0, 0, 0, 0.375, 0.375, 0.375, 0.75]


# -- what it may be -------------------------------------------------------------------------------------------------


def test_an_inverse_of_what_has_not_begun_yet() -> None:
    # The model has 0, of which there is no inverse; the schedule begins at 2.
    params = {
        "b": follow("a", power=-1.0),
        "a": {"strategy": "linear", "start_value": 2, "end_value": 4, "total_steps": 2},
    }
    assert held(params, "b", 3, "epoch") == [0.5, 1 / 3, 0.25]


@pytest.mark.parametrize(
    ("settings", "start", "message"),
    [
        ({"power": -1.0}, 0.0, "b: has no value where a is 0: it is to the power -1"),
        ({"power": 0.5}, -1.0, "b: has no value where a is -1: it is to the power 0.5"),
        ({"power": 200.0}, 1e3, "b: has no value where a is 1000: it is to the power 200"),
    ],
)
def test_what_has_no_value(settings: dict[str, Any], start: float, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        managed({"b": follow("a", **settings)}, a=start)
    assert str(error.value) == message
    manager, model = managed({"b": follow("a", **settings)}, a=1.0)
    manager.step(step=0)
    model.a = start
    with pytest.raises(AnnealError) as error:
        manager.step(step=1)
    assert str(error.value) == message
    assert model.b == 1.0


def test_a_whole_number_rounds_where_it_is_told_to() -> None:
    assert held({"a": BY_STEP, "b": follow("a", scale=0.5, round=True)}, "b", 4, b=0) == [0, 1, 1, 2]
    with pytest.raises(AnnealError) as error:
        held({"a": BY_STEP, "b": follow("a", scale=0.5)}, "b", 4, b=0)
    assert str(error.value) == "b: holds an int and would get 0.5; write 0.0 in the module, or set round: true"


def test_a_tensor_is_read_and_filled_in_place() -> None:
    manager, model = managed({"b": follow("a", scale=2.0), "a": BY_STEP}, a=torch.tensor(0.0), b=torch.tensor(0.0))
    tensor = model.b
    for step in range(3):
        manager.step(step=step)
    assert model.b is tensor
    assert float(tensor) == 4.0


# -- state ----------------------------------------------------------------------------------------------------------

PARAMS = {
    "b": follow("a", frequency=4),
    "c": follow("a", interval="epoch"),
    "d": follow("f", scale=2.0),
    "a": BY_STEP,
    "f": on("early_stopper_counter"),
}


def go(manager: AnnealingManager, model: Any, steps: range) -> list[tuple[float, ...]]:
    seen = []
    for step in steps:
        metrics = {"early_stopper_counter": step // 3}
        manager.step(epoch=step // 5 if step % 5 == 0 else None, step=step, metrics=metrics)
        seen.append((model.a, model.b, model.c, model.d))
    return seen


@pytest.mark.parametrize("cut", range(1, 16))
def test_a_run_goes_on_where_its_state_was_taken(cut: int) -> None:
    whole = go(*managed(PARAMS), range(16))
    assert [b for _, b, *_ in whole] == [0] * 4 + [4] * 4 + [8] * 4 + [12] * 4
    manager, model = managed(PARAMS)
    go(manager, model, range(cut))
    state = json.loads(json.dumps(manager.state_dict()))
    again, fresh = managed(PARAMS)
    again.load_state_dict(state)
    assert (fresh.a, fresh.b, fresh.c, fresh.d) == whole[cut - 1]
    assert go(again, fresh, range(cut, 16)) == whole[cut:]


def test_what_followed_another_one_begins_anew() -> None:
    manager, _ = managed({"a": BY_STEP, "b": follow("a", frequency=100)})
    for step in range(3):
        manager.step(step=step)
    state = manager.state_dict()
    assert state["followed"] == {"b": {"path": "a", "other": 0.0, "at": 0}}
    other, fresh = managed({"a": BY_STEP, "b": follow("e", frequency=100)}, e=5.0)
    other.load_state_dict(state)
    assert fresh.b == 5.0


@pytest.mark.parametrize(
    "damage", [3, {"b": 1.0}, {"b": {"path": "a"}}, {"b": {"path": "a", "other": "x", "at": 0}}, {"b": {"path": "a", "other": 1.0, "at": -1}}]
)  # fmt: skip
def test_a_damaged_state(damage: Any) -> None:
    manager, _ = managed({"a": BY_STEP, "b": follow("a")})
    with pytest.raises(AnnealError, match=r"^checkpoint: the annealing state is damaged \(") as error:
        manager.load_state_dict({**manager.state_dict(), "followed": damage})
    assert "\n" not in str(error.value)


def test_what_holds_no_numbers_can_not_be_followed() -> None:
    params = {"a": on("early_stopper_counter") | {"values": ["x", "y"]}, "b": follow("a")}
    with pytest.raises(AnnealError) as error:
        managed(params, a="x")
    assert str(error.value) == "b.other: a is 'x', and only a number can be followed"
