"""Each controller, and each in a loop of one's own, against a plain loop over 500 recorded metrics: with ``==``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_anneal import AnnealingManager, Constant, Cyclical, Linear
from lightning_anneal.controllers.constraint import Constraint
from lightning_anneal.controllers.controller import Controller
from lightning_anneal.controllers.gate import Gate
from lightning_anneal.controllers.pi_control import PIControl
from lightning_anneal.triggers.events import Plateau
from lightning_anneal.triggers.reaction import Progress, Reaction
from lightning_anneal.triggers.responses import Multiply
from lightning_anneal.triggers.signals import Reading
from tests.controllers import series
from tests.controllers.series import SERIES, UPDATES, ramp

# What was recorded doesn't answer to the value: what is at a bound stays there, and is told of.
pytestmark = pytest.mark.filterwarnings("ignore:.* is out of reach")

FALLS = {"strategy": "linear", "start_value": 20, "end_value": 2, "total_steps": 400}


def always(value: float) -> Callable[[int], float]:
    return lambda t: value


Expected = Iterator[float]
Case = tuple[Expected, Controller, dict[str, Any]]


def pi_cases() -> Iterator[tuple[str, Case]]:
    """By effect and set point: a loop, a controller, settings. Gains that let the value come to both bounds."""
    gains: dict[str, Any] = {"kp": 0.5, "ki": 0.004}
    bounds: dict[str, Any] = {"low": 0.1, "high": 1.7}
    keys = {"min_value": 0.1, "max_value": 1.7}
    for effect in ("lowers", "raises"):
        for name, aim, given in (("number", always(8.0), 8.0), ("ramp", ramp(20, 2, 400), FALLS)):
            schedule = Linear(20, 2, 400) if name == "ramp" else Constant(8.0)
            for start in (None, 0.75):
                expected = series.pi_control(SERIES, aim, **gains, **bounds, start=start, raises=effect == "raises")
                controller = PIControl("kl", schedule, **gains, **bounds, start=start, effect=effect)  # type: ignore[arg-type]
                settings = {"strategy": "pi_control", "set_point": given, **gains, **keys, "effect": effect}
                settings |= {} if start is None else {"start_value": start}
                yield f"pi_control {effect} {name} {start}", (expected, controller, settings)


def constraint_cases() -> Iterator[tuple[str, Case]]:
    bounds: dict[str, Any] = {"low": 0.01, "high": 50.0}
    keys = {"min_value": 0.01, "max_value": 50}
    methods: dict[str, dict[str, Any]] = {
        "geco": {"rate": 0.02, "momentum": 0.9},
        "pi": {"ki": 0.05, "kp": 0.3, "momentum": 0.5},
    }
    for method, gains in methods.items():
        loop: Any = series.geco if method == "geco" else series.nupi
        for effect in ("lowers", "raises"):
            for mode in ("min", "max"):
                for name, aim, given in (("number", always(6.0), 6.0), ("ramp", ramp(20, 2, 400), FALLS)):
                    schedule = Linear(20, 2, 400) if name == "ramp" else Constant(6.0)
                    way = {"at_least": mode == "max", "raises": effect == "raises"}
                    expected = loop(SERIES, aim, **gains, **bounds, start=1.0, **way)
                    controller = Constraint(
                        "kl",
                        schedule,
                        start=1.0,
                        **bounds,
                        at_least=mode == "max",
                        effect=effect,  # type: ignore[arg-type]
                        method=method,  # type: ignore[arg-type]
                        **gains,
                    )
                    settings = {"strategy": "constraint", "limit": given, "method": method, "mode": mode}
                    settings |= {"effect": effect, **gains, **keys}
                    yield f"constraint {method} {effect} {mode} {name}", (expected, controller, settings)


CASES = dict([*pi_cases(), *constraint_cases()])
EXPECTED = {name: list(expected) for name, (expected, *_) in CASES.items()}


def after_each(controller: Controller, metrics: list[float]) -> list[float]:
    memory, values = controller.begin(), []
    for t, metric in enumerate(metrics):
        memory = controller.after(memory, {"kl": metric}, t)
        values.append(controller.value(memory, "", t + 1))
    return values


@pytest.mark.parametrize("name", CASES)
def test_a_controller(name: str) -> None:
    assert after_each(CASES[name][1], SERIES) == EXPECTED[name]
    # Noise, steps and outliers drive it to and fro.
    assert len(set(EXPECTED[name])) > 50


def test_the_recorded_series_brings_values_to_their_bounds() -> None:
    """So that what happens there has been compared, too."""
    reached = {name: {0.1, 1.7, 0.01, 50.0} & set(values) for name, values in EXPECTED.items()}
    assert sum(len(bounds) == 2 for bounds in reached.values()) >= 5
    # And leave them again.
    left = [name for name, values in EXPECTED.items() for a, b in pairwise(values) if a in reached[name] and b != a]
    assert len(left) > 20


def driven(
    settings: Mapping[str, Any], moments: list[dict[str, int]], metrics: list[float], start: float = 1.0
) -> list[float]:
    """The value after each call of a manager, whose state goes through JSON now and then."""
    model = SimpleNamespace(beta=start)
    manager = AnnealingManager({"beta": {"monitor": "kl", **settings}}, objects={"model": model})
    values = []
    for i, (moment, metric) in enumerate(zip(moments, metrics, strict=True)):
        if i % 97 == 50:
            state = json.loads(json.dumps(manager.state_dict()))
            model = SimpleNamespace(beta=start)
            manager = AnnealingManager({"beta": {"monitor": "kl", **settings}}, objects={"model": model})
            manager.load_state_dict(state)
            assert values[-1] == model.beta
        manager.step(**moment, metrics={"kl": metric})  # type: ignore[arg-type]
        values.append(model.beta)
    return values


@pytest.mark.parametrize(("name", "interval"), [*zip(CASES, ["epoch", "step", "step", "epoch"] * 6, strict=True)])
def test_a_controller_in_a_loop_of_ones_own(name: str, interval: str) -> None:
    # The metric of epoch (or step) 0 is known when 1 begins.
    moments = [{interval: i + 1} for i in range(UPDATES)]
    assert driven({**CASES[name][2], "interval": interval}, moments, SERIES) == EXPECTED[name]


@pytest.mark.parametrize("every", [2, 7])
def test_the_mean_of_an_interval_in_a_loop_of_ones_own(every: int) -> None:
    settings = CASES["pi_control lowers number None"][2]
    means = [sum(SERIES[i : i + every]) / every for i in range(0, UPDATES - every + 1, every)]
    # By step the set point, were it a ramp, would be that of the last step; here it is a number.
    expected = list(series.pi_control(means, always(8.0), kp=0.5, ki=0.004, low=0.1, high=1.7))
    by_step = driven({**settings, "interval": "step", "frequency": every}, moments("step"), SERIES, start=0.35)
    by_epoch = driven({**settings, "frequency": every}, moments("epoch"), SERIES, start=0.35)
    assert by_step[every - 1 :: every] == expected
    # It holds in between.
    assert all(a == b for i, (a, b) in enumerate(pairwise(by_step), 1) if (i + 1) % every)
    assert by_epoch == by_step


def moments(interval: str) -> list[dict[str, int]]:
    return [{interval: i + 1} for i in range(UPDATES)]


# -- gated ----------------------------------------------------------------------------------------------------------

GATES: dict[str, tuple[Any, dict[str, Any]]] = {
    "below": ({"threshold": 3.0}, {"below": 3.0}),
    "above": ({"threshold": 20.0, "above": True}, {"above": 20.0}),
    "below, waiting 5": ({"threshold": 0.0, "max_wait": 5}, {"below": 0.0, "max_wait": 5}),
    "above, waiting 1": ({"threshold": 15.0, "above": True, "max_wait": 1}, {"above": 15.0, "max_wait": 1}),
}
CURVE = Cyclical(37, 0, 2)
CURVE_SETTINGS = {"strategy": "cyclical", "cycle_length": 37, "min_value": 0, "max_value": 2}


@pytest.mark.parametrize("name", GATES)
def test_a_gate(name: str) -> None:
    loop, _ = GATES[name]
    expected = list(series.gated(SERIES, CURVE, **loop))
    gate = Gate(CURVE, "kl", loop["threshold"], loop.get("above", False), loop.get("max_wait"))
    memory, values = gate.begin(), []
    for t, metric in enumerate(SERIES):
        values.append(gate.value(memory, "", t))
        memory = gate.after(memory, {"kl": metric}, t)
    assert values == expected
    assert len(set(expected)) > 10


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("name", GATES)
def test_a_gate_in_a_loop_of_ones_own(name: str, interval: str) -> None:
    loop, settings = GATES[name]
    expected = list(series.gated(SERIES, CURVE, **loop))
    when = {"monitor": "kl", **{key: settings[key] for key in ("below", "above") if key in settings}}
    wait = {"max_wait": settings["max_wait"]} if "max_wait" in settings else {}
    given = {"strategy": "gated", "schedule": CURVE_SETTINGS, "advance_when": when, **wait, "interval": interval}
    model = SimpleNamespace(beta=0.0)
    manager = AnnealingManager({"beta": given}, objects={"model": model})
    values = []
    for i in range(UPDATES):
        manager.step(**{interval: i}, metrics={"kl": SERIES[i - 1]} if i else None)  # type: ignore[arg-type]
        values.append(model.beta)
    assert values == expected


def test_a_gates_frequency_is_that_of_its_own_clock() -> None:
    """The value moves at every third time of a clock that runs in some of the epochs only."""
    expected = list(series.gated(SERIES, lambda t: CURVE(t - t % 3), 3.0))
    when = {"monitor": "kl", "below": 3.0}
    given = {"strategy": "gated", "schedule": CURVE_SETTINGS, "advance_when": when, "frequency": 3}
    model = SimpleNamespace(beta=0.0)
    manager = AnnealingManager({"beta": given}, objects={"model": model})
    values = []
    for i in range(UPDATES):
        manager.step(epoch=i, metrics={"kl": SERIES[i - 1]} if i else None)
        values.append(model.beta)
    assert values == expected


# -- on_plateau -----------------------------------------------------------------------------------------------------

PLATEAUS: dict[str, dict[str, Any]] = {
    "as it is": {"factor": 0.5, "patience": 10, "cooldown": 0, "threshold": 1e-4},
    "no patience": {"factor": 0.9, "patience": 0, "cooldown": 0, "threshold": 1e-4},
    "cooldown": {"factor": 0.8, "patience": 2, "cooldown": 5, "threshold": 1e-4},
    "a share": {"factor": 0.7, "patience": 3, "cooldown": 1, "threshold": 0.25},
    "as a number": {"factor": 0.7, "patience": 3, "cooldown": 1, "threshold": 2.0, "relative": False},
    "max": {"factor": 0.9, "patience": 4, "cooldown": 2, "threshold": 0.1, "maximize": True},
    "max, as a number": {
        "factor": 0.95, "patience": 1, "cooldown": 0, "threshold": 1.0, "relative": False, "maximize": True,
    },
}  # fmt: skip


def plateau_settings(given: dict[str, Any]) -> dict[str, Any]:
    ours = {"strategy": "on_plateau", **{k: v for k, v in given.items() if k not in ("relative", "maximize")}}
    ours["threshold_mode"] = "rel" if given.get("relative", True) else "abs"
    ours["mode"] = "max" if given.get("maximize") else "min"
    return ours


@pytest.mark.parametrize("name", PLATEAUS)
def test_on_plateau(name: str) -> None:
    given = PLATEAUS[name]
    expected = list(series.on_plateau(SERIES, **given, start=4.0))
    options = {"maximize": False, "relative": True, **{k: v for k, v in given.items() if k != "factor"}}
    reaction = Reaction("on_plateau", Plateau(**options), Multiply(given["factor"]), monitor="kl", patient=True)
    progress, values = Progress(), []
    for metric in SERIES:
        progress = reaction.after(progress, Reading(metric))
        values.append(reaction.response.value(progress.firings, 4.0))
    assert values == expected
    assert driven(plateau_settings(given), moments("epoch"), SERIES, start=4.0) == expected
    assert len(set(expected)) > 10


@pytest.mark.parametrize("name", PLATEAUS)
def test_on_plateau_is_what_torch_does_to_a_learning_rate(name: str) -> None:
    given = PLATEAUS[name]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=4.0)
    scheduler = ReduceLROnPlateau(
        optimizer,
        mode="max" if given.get("maximize") else "min",
        factor=given["factor"],
        patience=given["patience"],
        cooldown=given["cooldown"],
        threshold=given["threshold"],
        threshold_mode="rel" if given.get("relative", True) else "abs",
        eps=0.0,
    )
    rates = []
    for metric in SERIES:
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    assert driven(plateau_settings(given), moments("epoch"), SERIES, start=4.0) == pytest.approx(rates, rel=1e-12)


def test_on_plateau_between_bounds_and_by_steps() -> None:
    expected = list(
        series.on_plateau(SERIES, factor=0.5, patience=0, cooldown=0, threshold=0, start=4.0, low=0.3, high=9.0)
    )
    settings = {"strategy": "on_plateau", "factor": 0.5, "patience": 0, "threshold": 0, "min_value": 0.3}
    assert driven(settings, moments("epoch"), SERIES, start=4.0) == expected
    assert expected[-1] == 0.3
    # A step is added each time: the number of firings, but for the bound.
    added = driven(
        {"strategy": "on_plateau", "step": 0.25, "patience": 10, "max_value": 6}, moments("epoch"), SERIES, start=4.0
    )
    halved = series.on_plateau(SERIES, factor=0.5, patience=10, cooldown=0, threshold=1e-4, start=1.0)
    firings = [{2.0**-n: n for n in range(60)}[value] for value in halved]
    assert added == [min(4 + 0.25 * n, 6.0) for n in firings]


# -- follow ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_follow(interval: str) -> None:
    settings = {"monitor": "kl", **CASES["pi_control lowers number None"][2], "interval": interval}
    follows = {
        "strategy": "follow", "other": "second", "scale": 3.0, "power": 2.0, "offset": -1.0,
    }  # fmt: skip
    second = {"strategy": "follow", "other": "beta", "scale": 0.5, "power": -1.0, "offset": 0.25}
    model = SimpleNamespace(beta=1.0, first=0.0, second=0.0)
    # Listed before what it follows.
    manager = AnnealingManager({"first": follows, "second": second, "beta": settings}, objects={"model": model})
    seen = []
    for i, metric in enumerate(SERIES):
        manager.step(**{interval: i + 1}, metrics={"kl": metric})  # type: ignore[arg-type]
        seen.append((model.beta, model.second, model.first))
    assert [beta for beta, *_ in seen] == EXPECTED["pi_control lowers number None"]
    for beta, half, squared in seen:
        assert half == 0.5 * beta**-1.0 + 0.25
        assert squared == 3.0 * half**2.0 - 1.0
