"""Metrics that are missing or no numbers, and checkpoints of something else, in a loop of one's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lightning_anneal import AnnealingManager

MANUAL = {"strategy": "pi_control", "set_point": 1.0, "kp": 0.0, "ki": 0.125, "interval": "step", "frequency": 2}


def drive(manager: AnnealingManager, interval: str, moments: range, metric: float, name: str = "kl") -> None:
    for moment in moments:
        manager.step(**{interval: moment}, metrics={name: metric})  # type: ignore[arg-type]


def test_what_is_not_finite_is_left_out_of_a_mean_in_a_loop_of_ones_own() -> None:
    nan, inf = float("nan"), float("inf")
    # Two in an interval; at each second one it goes up by an eighth of what their mean is above 1.
    metrics = [3.0, nan, inf, 5.0, None, 2.0, 9.0, None, 1.0, 1.0]
    model = SimpleNamespace(beta=0.0)
    manager = AnnealingManager({"beta": {"monitor": "kl", **MANUAL, "max_value": 9}}, objects={"model": model})
    values = []
    for i, metric in enumerate(metrics):
        manager.step(step=i + 1, metrics=None if metric is None else {"kl": metric})
        values.append(model.beta)
    assert values[1::2] == [0.25, 0.75, 0.875, 1.875, 1.875]
    assert values[::2] == [0.0, 0.25, 0.75, 0.875, 1.875]
    assert manager.missed == {"beta": 0}


def test_a_turn_with_nothing_to_go_by_is_counted_and_told_of_once() -> None:
    model = SimpleNamespace(beta=0.5)
    manager = AnnealingManager({"beta": {"monitor": "kl", **MANUAL, "max_value": 9}}, objects={"model": model})
    with pytest.warns(UserWarning, match="^beta: kl is nan, so the value is kept$") as warned:
        drive(manager, "step", range(1, 9), float("nan"))
    assert len(warned) == 1
    assert model.beta == 0.0
    assert manager.missed == {"beta": 4}
    # With no metrics at all nothing has been seen, and nothing was to be.
    manager.step(step=10)
    assert manager.missed == {"beta": 4}


def test_what_no_float_can_hold_is_nothing_to_go_by() -> None:
    model = SimpleNamespace(beta=0.5)
    settings = {"strategy": "constraint", "monitor": "kl", "limit": -1e308, "method": "pi", "max_value": 9}
    manager = AnnealingManager({"beta": settings}, objects={"model": model})
    what = "^beta: what was measured is beyond all bounds, so the value is kept$"
    with pytest.warns(UserWarning, match=what) as warned:
        drive(manager, "epoch", range(3), 1.7e308)
    assert len(warned) == 1
    assert model.beta == 0.5
    assert manager.missed == {"beta": 3}
    manager.step(epoch=4, metrics={"kl": -1e308})
    assert model.beta == 0.5


def test_a_checkpoint_of_another_controller_begins_anew() -> None:
    def managed(**settings: Any) -> tuple[AnnealingManager, Any]:
        model = SimpleNamespace(beta=0.5)
        return AnnealingManager({"beta": {"monitor": "kl", **settings}}, objects={"model": model}), model

    manager, model = managed(strategy="pi_control", set_point=1.0, ki=0.125, start_value=0.25)
    manager.step(epoch=1, metrics={"kl": 2.0})
    assert model.beta > 0.25
    state = manager.state_dict()
    other, fresh = managed(strategy="constraint", limit=1.0, start_value=2.0)
    what = r"^beta: the checkpoint is that of another controller \(PIControl of kl\); this one begins anew$"
    with pytest.warns(UserWarning, match=what):
        other.load_state_dict(state)
    assert fresh.beta == 2.0


def test_another_metric_is_not_added_to_the_last_one() -> None:
    settings = {**MANUAL, "max_value": 9, "frequency": 3}
    model = SimpleNamespace(beta=0.0)
    manager = AnnealingManager({"beta": {"monitor": "kl", **settings}}, objects={"model": model})
    manager.step(step=1, metrics={"kl": 100.0})
    other = AnnealingManager({"beta": {"monitor": "recon", **settings}}, objects={"model": model})
    with pytest.warns(UserWarning, match="another controller"):
        other.load_state_dict(manager.state_dict())
    other.step(step=2, metrics={"recon": 2.0})
    other.step(step=3, metrics={"recon": 4.0})
    assert model.beta == 0.25


def test_on_plateau_counts_what_is_not_finite() -> None:
    model = SimpleNamespace(beta=1.0)
    settings = {"strategy": "on_plateau", "monitor": "kl", "factor": 0.5, "patience": 1}
    manager = AnnealingManager({"beta": settings}, objects={"model": model})
    with pytest.warns(UserWarning, match="^beta: kl is inf, so the value is kept$") as warned:
        drive(manager, "epoch", range(5), float("inf"))
    assert len(warned) == 1
    assert manager.state_dict()["triggers"]["beta"]["missed"] == 5
    # They were no plateau either: the first number is the best, and two after it are too many.
    drive(manager, "epoch", range(5, 7), 3.0)
    assert model.beta == 1.0
    drive(manager, "epoch", range(7, 8), 3.0)
    assert model.beta == 0.5
    # The warning is not told again by a run that goes on.
    again = AnnealingManager({"beta": settings}, objects={"model": SimpleNamespace(beta=1.0)})
    again.load_state_dict(manager.state_dict())
    drive(again, "epoch", range(8, 9), float("nan"))
    assert again.state_dict()["triggers"]["beta"]["missed"] == 6


@pytest.mark.parametrize(("interval", "other"), [("epoch", "step"), ("step", "epoch")])
def test_each_has_its_turn_in_its_own_interval(interval: str, other: str) -> None:
    model = SimpleNamespace(beta=0.0)
    settings = {**MANUAL, "monitor": "kl", "interval": interval, "frequency": 1}
    manager = AnnealingManager({"beta": settings}, objects={"model": model})
    manager.step(**{other: 1}, metrics={"kl": 2.0})  # type: ignore[arg-type]
    assert (model.beta, manager.missed) == (0.0, {"beta": 0})
    manager.step(**{interval: 1}, metrics={"kl": 2.0})  # type: ignore[arg-type]
    assert model.beta == 0.125


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"strategy": "pi_control", "set_point": 1.0}, "beta: no metric 'kl' to be seen, so the value is kept"),
        ({"strategy": "on_plateau", "factor": 0.5}, "beta: no metric 'kl' to be seen, so the value is kept"),
    ],
)
def test_a_metric_that_never_comes_is_told_of_once(settings: dict[str, Any], told: str) -> None:
    model = SimpleNamespace(beta=0.5)
    manager = AnnealingManager({"beta": {"monitor": "kl", **settings}}, objects={"model": model})
    manager.step(epoch=1)
    assert manager.missed == {"beta": 0}
    before = model.beta
    with pytest.warns(UserWarning, match=f"^{told}") as warned:
        drive(manager, "epoch", range(2, 5), 1.0, "nll")
    assert len(warned) == 1
    assert (model.beta, manager.missed) == (before, {"beta": 3})
    # Within an epoch none was to come.
    manager.step(step=7, metrics={"nll": 1.0})
    assert manager.missed == {"beta": 3}
