"""A value at a bound: how soon it leaves it again, and when it is said that its aim is out of reach."""

from __future__ import annotations

import math
import random
from itertools import cycle, islice

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from lightning_anneal import Constant
from lightning_anneal.controllers.constraint import Constraint, Method
from lightning_anneal.controllers.controller import Controller, Memory
from lightning_anneal.controllers.pi_control import Effect, PIControl

LONG = 10_000

errors = st.lists(st.floats(0.01, 100), min_size=1, max_size=12)
effects = st.sampled_from(["lowers", "raises"])


def pushed(controller: Controller, metrics: list[float]) -> Memory:
    """What it remembers after metrics that come again and again for a long time."""
    memory = controller.begin()
    for metric in islice(cycle(metrics), LONG):
        memory = controller.after(memory, {"kl": metric}, 0)
    return memory


@settings(max_examples=30)
@given(
    errors=errors,
    back=st.floats(0.01, 100),
    kp=st.floats(0, 3),
    ki=st.floats(1e-4, 1),
    start=st.none() | st.floats(-0.5, 1.5),
    effect=effects,
    up=st.booleans(),
)
# The proportional part alone is more than the bounds are apart, and the integral has to make up for it.
@example(errors=[5.0], back=0.01, kp=3.0, ki=1e-4, start=None, effect="lowers", up=True)
@example(errors=[0.01, 100.0], back=0.01, kp=3.0, ki=1.0, start=1.5, effect="raises", up=True)
@example(errors=[0.01, 100.0], back=0.01, kp=3.0, ki=1e-4, start=-0.5, effect="lowers", up=False)
def test_pi_control_leaves_a_bound_as_soon_as_it_says(
    errors: list[float], back: float, kp: float, ki: float, start: float | None, effect: Effect, up: bool
) -> None:
    low, high = -0.5, 1.5
    control = PIControl("kl", Constant(0.0), kp, ki, low, high, start, effect)
    # A metric above the set point drives the value up where a greater value lowers it.
    way = 1.0 if up == (effect == "lowers") else -1.0
    memory = pushed(control, [way * error for error in errors])
    assume(memory["value"] == (high if up else low))
    at_most = 1 + kp / (2 * ki * back) if up and kp > 2 * (high - low) else 1
    updates = 0
    while memory["value"] == (high if up else low):
        memory = control.after(memory, {"kl": -way * back}, 0)
        updates += 1
        assert updates <= at_most


@settings(max_examples=30)
@given(
    errors=errors,
    back=st.floats(0.01, 100),
    rate=st.floats(1e-3, 1),
    momentum=st.sampled_from([0.0, 0.5, 0.9, 0.99]),
    effect=effects,
    at_least=st.booleans(),
    exceeded=st.booleans(),
)
@example(errors=[100.0], back=0.01, rate=1.0, momentum=0.99, effect="lowers", at_least=False, exceeded=True)
def test_geco_turns_as_soon_as_it_says(
    errors: list[float], back: float, rate: float, momentum: float, effect: Effect, at_least: bool, exceeded: bool
) -> None:
    constraint = Constraint(
        "kl", Constant(0.0), 1.0, 0.1, 10.0, at_least=at_least, effect=effect, rate=rate, momentum=momentum
    )
    # Whether the limit is exceeded, or kept with room to spare.
    way = 1.0 if exceeded != at_least else -1.0
    memory = pushed(constraint, [way * error for error in errors])
    bound = 10.0 if exceeded == (effect == "lowers") else 0.1
    assume(memory["value"] == bound)
    takes = math.log(1 + max(errors) / back) / math.log(1 / momentum) if momentum else 0.0
    updates = 0
    while memory["average"] * (1 if exceeded else -1) >= 0:
        memory = constraint.after(memory, {"kl": -way * back}, 0)
        updates += 1
        # As much as the last digit of an average is worth.
        assert updates <= 1 + takes + 1e-9
    # Just then it may be too near to 0 for a float to move; the next one moves it.
    memory = constraint.after(memory, {"kl": -way * back}, 0)
    assert memory["value"] != bound


@settings(max_examples=30)
@given(
    errors=errors,
    back=st.floats(0.01, 100),
    ki=st.floats(1e-3, 1),
    kp=st.floats(0, 10),
    momentum=st.sampled_from([0.0, 0.5, 0.99]),
    effect=effects,
    exceeded=st.booleans(),
)
def test_a_pi_constraint_turns_at_once(
    errors: list[float], back: float, ki: float, kp: float, momentum: float, effect: Effect, exceeded: bool
) -> None:
    constraint = Constraint(
        "kl", Constant(0.0), 1.0, 0.1, 10.0, effect=effect, method="pi", ki=ki, kp=kp, momentum=momentum
    )
    way = 1.0 if exceeded else -1.0
    memory = pushed(constraint, [way * error for error in errors])
    bound = 10.0 if exceeded == (effect == "lowers") else 0.1
    # A change of the violation moves it, too: errors that rise and fall may leave it off the bound.
    assume(memory["value"] == bound)
    assert constraint.after(memory, {"kl": -way * back}, 0)["value"] != bound


def test_what_no_exponential_can_hold() -> None:
    control = PIControl("kl", Constant(0.0), kp=0.5, ki=0.01, low=0.0, high=1.0)
    memory = control.begin()
    for metric in (1e300, -1e300, 1e300):
        memory = control.after(memory, {"kl": metric}, 0)
        assert memory["value"] == (1.0 if metric > 0 else 0.0)
    # It comes back from there at once: the integral is at the bound, less the whole proportional part.
    assert control.after(memory, {"kl": 0.0}, 0)["value"] == 0.75
    constraint = Constraint("kl", Constant(0.0), 1.0, rate=1.0, momentum=0.0)
    memory = constraint.begin()
    for metric in (1e300, -1e300, 1e300):
        memory = constraint.after(memory, {"kl": metric}, 0)
        assert memory["value"] == (1e6 if metric > 0 else 1e-6)


# -- out of reach ---------------------------------------------------------------------------------------------------


def told(controller: Controller, metrics: list[float]) -> list[int]:
    """After how many updates it is said that the aim is out of reach, and from then on."""
    memory, when = controller.begin(), []
    for t, metric in enumerate(metrics):
        memory = controller.after(memory, {"kl": metric}, t)
        when += [t + 1] if controller.stuck(memory) else []
    return when


def pi(**options: float) -> PIControl:
    return PIControl("kl", Constant(10.0), kp=0.5, ki=0.5, **options)  # type: ignore[arg-type]


def limit(method: Method = "geco", **options: float) -> Constraint:
    return Constraint("kl", Constant(10.0), 1.0, 0.5, 2.0, method=method, rate=1.0, momentum=0.5, ki=1.0, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("controller", [pi(), limit(), limit("pi")], ids=["pi_control", "geco", "pi"])
def test_an_aim_that_gets_no_nearer_is_out_of_reach(controller: Controller) -> None:
    # At the bound from the first or second update on; the first look there is the nearest one.
    assert told(controller, [30.0] * 40)[0] in (20, 21)
    # Nearer now and then, if only by a little.
    assert told(controller, [30.0 - t // 15 / 1000 for t in range(200)]) == []
    # It comes and goes.
    assert told(controller, ([30.0] * 15 + [9.0]) * 10) == []


@pytest.mark.parametrize(
    ("metric", "text"),
    [
        (30.0, "the set point 10 is out of reach: kl is 30 with the value at its max_value 1"),
        (3.0, "the set point 10 is out of reach: kl is 3 with the value at its min_value 0.1"),
    ],
)
def test_what_is_said_of_a_set_point(metric: float, text: str) -> None:
    # 0.1 is no sum of floats: the value is the bound itself all the same.
    memory = pushed(pi(low=0.1), [metric])
    assert pi(low=0.1).stuck(memory) == text


@pytest.mark.parametrize(
    ("effect", "at_least", "metric", "bound"),
    [
        ("lowers", False, 30.0, "max_value 2"),
        ("lowers", True, 3.0, "max_value 2"),
        ("raises", False, 30.0, "min_value 0.5"),
        ("raises", True, 3.0, "min_value 0.5"),
    ],
)
def test_what_is_said_of_a_limit(effect: Effect, at_least: bool, metric: float, bound: str) -> None:
    constraint = Constraint("kl", Constant(10.0), 1.0, 0.5, 2.0, at_least=at_least, effect=effect, rate=1.0)
    text = f"the limit 10 is out of reach: kl is {metric:g} with the value at its {bound}"
    assert constraint.stuck(pushed(constraint, [metric])) == text
    # A limit that is kept with the least weight is none.
    assert constraint.stuck(pushed(constraint, [20 - metric])) == ""


@pytest.mark.parametrize("steps", [500, 20_000])
def test_a_set_point_that_is_approached_slowly_is_not_out_of_reach(steps: int) -> None:
    """ControlVAE's own gains, by step: the KL grows from 0 while the weight waits at 0; with a noise of 5%."""
    for seed in range(2):
        noise = random.Random(seed)
        metrics = [20 * t / steps + noise.gauss(0, 1) for t in range(steps)]
        # Single batches would say so before long.
        assert told(PIControl("kl", Constant(20.0)), metrics[:400]) != []
        assert told(PIControl("kl", Constant(20.0), look=50), metrics) == []


def test_a_noisy_set_point_out_of_reach_is_told_of() -> None:
    noise = random.Random(0)
    metrics = [5 + noise.gauss(0, 1) for _ in range(4000)]
    first = told(PIControl("kl", Constant(20.0), look=50), metrics)[0]
    # 20 looks of 50 steps, and some more for the new lows that chance brings.
    assert 1000 <= first <= 3000
