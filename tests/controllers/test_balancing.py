"""Weights of losses: worked out by hand, against loops written from the papers, and for any finite numbers."""

from __future__ import annotations

import enum
import itertools
import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_anneal import AnnealError
from lightning_anneal.controllers.balancing import (
    Balancing,
    DynamicWeightAverage,
    InverseMagnitude,
    RelativeBalancing,
)
from lightning_anneal.controllers.balancing_settings import METHODS, read_balancing
from lightning_anneal.controllers.controller import Controller, Memory

AB = ("a", "b")
ABC = ("a", "b", "c")
# With these a ratio that is larger by 1 (or by 0.5) has twice (or three times) the weight.
TWICE = 1 / math.log(2)
HALF_IS_THREE_TIMES = 0.5 / math.log(3)


def weights(controller: Controller, memory: Memory, losses: Sequence[str], t: float = 0) -> list[float]:
    return [controller.value(memory, loss, t) for loss in losses]


def course(balancing: Balancing, rows: Sequence[Sequence[float]]) -> list[list[float]]:
    """The weights before the first update and after each."""
    memory = balancing.begin()
    found = [weights(balancing, memory, balancing.losses)]
    for t, row in enumerate(rows):
        memory = balancing.after(memory, dict(zip(balancing.losses, row, strict=True)), t)
        found.append(weights(balancing, memory, balancing.losses))
    return found


# -- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balancing", "rows", "expected"),
    [
        # Ratios 1/2 and 1, then 1 and 1, then 1 and 1/2.
        (
            DynamicWeightAverage(AB, temperature=HALF_IS_THREE_TIMES),
            [(100, 4), (50, 4), (50, 4), (50, 2)],
            [(1, 1), (1, 1), (0.5, 1.5), (1, 1), (1.5, 0.5)],
        ),
        # Ratios 1, 2 and 3: 1 + 2 + 4 = 7.
        (
            DynamicWeightAverage(ABC, temperature=TWICE),
            [(5, 50, 0.5), (5, 100, 1.5)],
            [(1, 1, 1), (1, 1, 1), (3 / 7, 6 / 7, 12 / 7)],
        ),
        # exp(1/4) = 1.2840254 and exp(1/2) = 1.6487213 at the paper's temperature.
        (DynamicWeightAverage(AB), [(100, 4), (50, 4)], [(1, 1), (1, 1), (0.8756470, 1.1243530)]),
        # Never a look back. Ratios 1 and 2, then 2 and 1: half of the weights, and half of 2/3 and 4/3, of 4/3 and 2/3.
        (
            RelativeBalancing(AB, alpha=0.5, temperature=TWICE, expected_rho=1),
            [(10, 10), (10, 20), (20, 20)],
            [(1, 1), (1, 1), (5 / 6, 7 / 6), (13 / 12, 11 / 12)],
        ),
        # Always: half of what the ratios to the first update give, 2/3 and 4/3, then 1 and 1.
        (
            RelativeBalancing(AB, alpha=0.5, temperature=TWICE, expected_rho=0),
            [(10, 10), (10, 20), (20, 20)],
            [(1, 1), (1, 1), (2 / 3, 4 / 3), (7 / 6, 5 / 6)],
        ),
        # No memory at all.
        (
            RelativeBalancing(AB, alpha=0, temperature=TWICE),
            [(10, 10), (10, 20), (20, 20)],
            [(1, 1), (1, 1), (2 / 3, 4 / 3), (4 / 3, 2 / 3)],
        ),
        # Nothing but memory, which is never given up.
        (RelativeBalancing(AB, alpha=1, expected_rho=1), [(10, 10), (1, 20), (9, 5)], [(1, 1)] * 4),
        # By the defaults one update moves the weights by a thousandth; e / (1 + e) = 0.7310586 of 2 is 1.4621172.
        (RelativeBalancing(AB), [(10, 10), (10, 20)], [(1, 1), (1, 1), (0.9995378828, 1.0004621172)]),
        # The first counts in full: 1/30 and 1/10. The next one counts 0.5 / (1 - 0.25) = 2/3: 50/3 and 70/3.
        (InverseMagnitude(AB, decay=0.5), [(30, 10), (-10, 30)], [(1, 1), (0.5, 1.5), (7 / 6, 5 / 6)]),
        # 4 and 1, then 0.01 / (1 - 0.9801) = 0.50251256 of the next: 2.4924623 and 2.5075377.
        (InverseMagnitude(AB), [(4, 1), (1, 4)], [(1, 1), (0.4, 1.6), (1.0030151, 0.9969849)]),
        (InverseMagnitude(AB, decay=0), [(30, 10), (1, 3)], [(1, 1), (0.5, 1.5), (1.5, 0.5)]),
        # Nothing is left of what was far larger.
        (InverseMagnitude(AB, decay=0), [(1e17, 1e17), (1, 3)], [(1, 1), (1, 1), (1.5, 0.5)]),
    ],
)  # fmt: skip
def test_weights(balancing: Balancing, rows: Any, expected: Any) -> None:
    assert course(balancing, rows) == [pytest.approx(row, rel=1e-7) for row in expected]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Each of these is ratio 1 for a; b's ratio is 1.5, so it has three times the weight.
        ([(0, 2), (5, 3)], (0.5, 1.5)),
        ([(5, 2), (0, 3)], (0.5, 1.5)),
        ([(0, 2), (0, 3)], (0.5, 1.5)),
        ([(-4, 2), (5, 3)], (0.5, 1.5)),
        ([(4, 2), (-5, 3)], (0.5, 1.5)),
        ([(-4, 2), (-2, 3)], (0.5, 1.5)),
        ([(-0.0, 2), (7, 3)], (0.5, 1.5)),
        ([(0, -1), (0, 0)], (1, 1)),
    ],
)
def test_what_is_not_positive_stands_still(rows: Any, expected: tuple[float, float]) -> None:
    balancing = DynamicWeightAverage(AB, temperature=HALF_IS_THREE_TIMES)
    assert course(balancing, rows)[-1] == pytest.approx(expected)
    relative = RelativeBalancing(AB, alpha=0, temperature=HALF_IS_THREE_TIMES)
    assert course(relative, rows)[-1] == pytest.approx(expected)
    looking_back = RelativeBalancing(AB, alpha=1, temperature=HALF_IS_THREE_TIMES, expected_rho=0)
    assert course(looking_back, rows)[-1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ((0, 2, 6), (1, 1.5, 0.5)),
        ((2, -0.0, 6), (1.5, 1, 0.5)),
        ((0, 0, 5), (1, 1, 1)),
        ((0, 0, 0), (1, 1, 1)),
        ((-2, -6, 0), (1.5, 0.5, 1)),
    ],
)
def test_a_loss_of_zero_takes_no_part(row: Any, expected: tuple[float, ...]) -> None:
    assert course(InverseMagnitude(ABC), [row])[-1] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("balancing", "rows", "expected"),
    [
        (DynamicWeightAverage(ABC), [(1e-300, 1, 1), (1, 1, 1)], (3, 0, 0)),
        (DynamicWeightAverage(ABC), [(5e-324, 5e-324, 1), (1e308, 1e308, 1)], (1.5, 1.5, 0)),
        (DynamicWeightAverage(AB, temperature=5e-324), [(1, 1), (1, 1)], (1, 1)),
        (DynamicWeightAverage(AB, temperature=1e308), [(1, 1), (1e100, 1)], (1, 1)),
        (RelativeBalancing(AB, alpha=0), [(1e-300, 1), (1e300, 1)], (2, 0)),
        # 0.2 * 3 + (1 - 0.2) * 3 is more than 3 in floats.
        (RelativeBalancing(ABC, alpha=0.2, expected_rho=0), [(1, 1, 1), (1e6, 1, 1)], (3, 0, 0)),
        (InverseMagnitude(AB), [(5e-324, 1e308)], (2, 0)),
        (InverseMagnitude(AB, decay=0.9), [(1.7976931348623157e308, 1.7976931348623157e308)] * 3, (1, 1)),
    ],
)
def test_the_farthest_numbers(balancing: Balancing, rows: Any, expected: tuple[float, ...]) -> None:
    assert course(balancing, rows)[-1] == list(expected)


# -- against loops written from the papers ------------------------------------------------------------------------


def recorded() -> list[dict[str, float]]:
    """500 updates of three losses that fall and flutter, each a thousandth of the one before."""
    source = random.Random(20)
    falls = {"residual": (2e3, 0.004), "boundary": (2.0, 0.012), "data": (2e-3, 0.0005)}
    return [
        {name: scale * math.exp(-speed * t + source.gauss(0, 0.2)) for name, (scale, speed) in falls.items()}
        for t in range(500)
    ]


NAMES = ("residual", "boundary", "data")


def three_shares(heights: list[float]) -> list[float]:
    """Three times the softmax, as the papers have it."""
    powers = [math.exp(height) for height in heights]
    return [3 * power / sum(powers) for power in powers]


def dwa_by_the_paper(rows: list[dict[str, float]], temperature: float) -> list[list[float]]:
    found = [[1.0, 1.0, 1.0]]
    for before, now in itertools.pairwise(rows):
        found.append(three_shares([now[name] / before[name] / temperature for name in NAMES]))
    return found


def relobralo_by_the_paper(
    rows: list[dict[str, float]], alpha: float, temperature: float, expected_rho: float, seed: int
) -> list[list[float]]:
    current, found = [1.0, 1.0, 1.0], []
    for t, now in enumerate(rows):
        previous = three_shares([now[name] / (temperature * rows[max(t - 1, 0)][name]) for name in NAMES])
        initial = three_shares([now[name] / (temperature * rows[0][name]) for name in NAMES])
        rho = 1 if random.Random(f"{seed} {t + 1}").random() < expected_rho else 0
        history = [rho * current[k] + (1 - rho) * initial[k] for k in range(3)]
        current = [alpha * history[k] + (1 - alpha) * previous[k] for k in range(3)]
        found.append(current)
    return found


def inverse_by_adam(rows: list[dict[str, float]], decay: float) -> list[tuple[list[float], list[float]]]:
    """The weights, and the averages."""
    average, found = [0.0, 0.0, 0.0], []
    for t, row in enumerate(rows, start=1):
        average = [decay * average[k] + (1 - decay) * abs(row[name]) for k, name in enumerate(NAMES)]
        corrected = [value / (1 - decay**t) for value in average]
        whole = sum(1 / value for value in corrected)
        found.append(([3 / value / whole for value in corrected], corrected))
    return found


def same(found: list[list[float]], expected: list[list[float]]) -> bool:
    return len(found) == 500 and found == [pytest.approx(row, rel=1e-12, abs=0) for row in expected]


def test_the_series_has_scales_a_thousand_apart() -> None:
    rows = recorded()
    means = [sum(row[name] for row in rows[:50]) / 50 for name in NAMES]
    assert means[0] / means[1] == pytest.approx(1000, rel=0.3)
    assert means[1] / means[2] == pytest.approx(1000, rel=0.3)


@pytest.mark.parametrize("temperature", [2.0, 0.3])
def test_dwa_is_the_papers(temperature: float) -> None:
    rows = recorded()
    found = course(DynamicWeightAverage(NAMES, temperature), [tuple(row.values()) for row in rows])[1:]
    assert same(found, dwa_by_the_paper(rows, temperature))


@pytest.mark.parametrize(
    ("alpha", "temperature", "expected_rho", "seed"),
    [(0.999, 1.0, 0.999, 0), (0.9, 0.1, 0.8, 3), (0.5, 0.5, 0.5, 12), (0.3, 2.0, 0.0, 0)],
)
def test_relobralo_is_the_papers(alpha: float, temperature: float, expected_rho: float, seed: int) -> None:
    rows = recorded()
    balancing = RelativeBalancing(NAMES, alpha, temperature, expected_rho, seed)
    found = course(balancing, [tuple(row.values()) for row in rows])[1:]
    assert same(found, relobralo_by_the_paper(rows, alpha, temperature, expected_rho, seed))


@pytest.mark.parametrize("decay", [0.99, 0.5, 0.9999])
def test_inverse_ema_is_that_of_adam(decay: float) -> None:
    rows = recorded()
    balancing = InverseMagnitude(NAMES, decay)
    memory = balancing.begin()
    for t, (by_adam, sizes) in enumerate(inverse_by_adam(rows, decay)):
        memory = balancing.after(memory, rows[t], t)
        assert weights(balancing, memory, NAMES) == pytest.approx(by_adam, rel=1e-12, abs=0)
        assert list(balancing.shown(memory)) == ["residual/ema", "boundary/ema", "data/ema"]
        assert list(balancing.shown(memory).values()) == pytest.approx(sizes, rel=1e-12, abs=0)
    # What it is for: every weighted loss has the same size.
    products = [memory[f"{name}/weight"] * memory[f"{name}/ema"] for name in NAMES]
    assert products == pytest.approx([products[0]] * 3, rel=1e-12)


# -- the random look back -----------------------------------------------------------------------------------------


def looks_back(expected_rho: float, seed: int, updates: int) -> list[int]:
    """The updates at which the weights were not kept."""
    # Nothing but the look back moves the weights, and the losses are never again where they were.
    balancing = RelativeBalancing(AB, alpha=1, expected_rho=expected_rho, seed=seed)
    found = course(balancing, [(1 + 1 / t, 1) for t in range(1, updates + 1)])
    return [t for t in range(2, updates + 1) if found[t] != found[t - 1]]


def test_the_draws_stay_what_they_are() -> None:
    # Read off once. A resumed run, and every rank, has to draw these on any version of Python.
    assert looks_back(0.5, seed=0, updates=20) == [3, 4, 6, 7, 8, 11, 12, 13, 14, 15]
    assert looks_back(0.5, seed=1, updates=20) == [2, 4, 5, 6, 7, 11, 12, 13, 14, 15, 16, 17, 18, 20]
    assert looks_back(1.0, seed=0, updates=20) == []
    assert looks_back(0.0, seed=0, updates=20) == list(range(2, 21))


def test_how_often_it_looks_back() -> None:
    assert len(looks_back(0.9, seed=0, updates=2000)) == pytest.approx(200, abs=40)


# -- what holds for all -------------------------------------------------------------------------------------------

BALANCED: list[Callable[[tuple[str, ...]], Balancing]] = [
    DynamicWeightAverage,
    lambda names: RelativeBalancing(names, alpha=0.9, expected_rho=0.5),
    lambda names: InverseMagnitude(names, decay=0.9),
]
each = pytest.mark.parametrize("make", BALANCED, ids=METHODS)

finite = st.floats(allow_nan=False, allow_infinity=False)
odd = st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 2.3e-308, 1e308, -1e308, 1.7976931348623157e308, 1.0])
temperatures = st.floats(min_value=5e-324, allow_infinity=False)
shares = st.floats(0, 1)


def methods(names: tuple[str, ...]) -> st.SearchStrategy[Balancing]:
    return st.one_of(
        st.builds(DynamicWeightAverage, st.just(names), temperatures),
        st.builds(RelativeBalancing, st.just(names), shares, temperatures, shares, st.integers(0, 9)),
        st.builds(InverseMagnitude, st.just(names), st.floats(0, 1, exclude_max=True)),
    )


@st.composite
def runs(draw: st.DrawFn) -> tuple[Balancing, list[list[float]]]:
    names = tuple("abcde"[: draw(st.integers(2, 5))])
    row = st.lists(odd | finite, min_size=len(names), max_size=len(names))
    return draw(methods(names)), draw(st.lists(row, min_size=1, max_size=8))


@given(runs())
def test_weights_are_finite_within_bounds_and_add_up(run: tuple[Balancing, list[list[float]]]) -> None:
    balancing, rows = run
    n = len(balancing.losses)
    assert balancing.bounds == (0.0, float(n))
    found = course(balancing, rows)
    assert found[0] == [1.0] * n
    for row in found:
        assert all(type(weight) is float and 0 <= weight <= n for weight in row)
        assert math.fsum(row) == pytest.approx(n, rel=1e-13)
    if not isinstance(balancing, InverseMagnitude):
        assert found[1] == pytest.approx([1.0] * n, rel=1e-15)


@given(runs())
def test_memory_is_finite_numbers_that_json_keeps(run: tuple[Balancing, list[list[float]]]) -> None:
    balancing, rows = run
    memory = balancing.begin()
    for t, row in enumerate(rows):
        before = dict(memory)
        means = dict(zip(balancing.losses, row, strict=True))
        after = balancing.after(memory, means, t)
        assert memory == before
        assert all(type(value) is float and math.isfinite(value) for value in after.values())
        # Kept and read again, it leads to the same.
        kept = json.loads(json.dumps(memory))
        assert balancing.after(kept, means, t) == after
        memory = after
    assert memory["updates"] == len(rows)


@each
def test_the_sum_does_not_drift(make: Callable[[tuple[str, ...]], Balancing]) -> None:
    source = random.Random(1)
    memory = (balancing := make(ABC)).begin()
    for t in range(20_000):
        memory = balancing.after(memory, {name: source.expovariate(1) for name in ABC}, t)
    assert math.fsum(weights(balancing, memory, ABC)) == pytest.approx(3, rel=1e-13)


@pytest.mark.parametrize("make", BALANCED[:2], ids=METHODS[:2])
@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=6), st.integers(-40, 40))
def test_the_scale_of_a_loss_cancels_out(
    make: Callable[[tuple[str, ...]], Balancing], rows: list[tuple[float, float]], power: int
) -> None:
    # By a power of two, so that nothing is rounded.
    assert course(make(AB), [(a * 2.0**power, b) for a, b in rows]) == course(make(AB), rows)


@each
def test_names_may_look_like_keys(make: Callable[[tuple[str, ...]], Balancing]) -> None:
    odd_names = ("a", "a/last", "a/weight", "updates", "a/ema", "ema")
    rows = [(1.0, 2.0, 3.0, 4.0, 5.0, 6.0), (6.0, 3.0, 2.0, 5.0, 1.0, 1.0), (6.0, 4.0, 1.0, 5.0, 3.0, 2.0)]
    assert course(make(odd_names), rows) == course(make(tuple("uvwxyz")), rows)
    memory = make(odd_names).after(make(odd_names).begin(), dict(zip(odd_names, rows[0], strict=True)), 0)
    assert set(make(odd_names).shown(memory)) <= {f"{name}/ema" for name in odd_names}


@each
def test_what_a_callback_asks(make: Callable[[tuple[str, ...]], Balancing]) -> None:
    balancing = make(AB)
    memory = balancing.begin()
    assert (balancing.shown(memory), balancing.stuck(memory)) == ({}, "")
    memory = balancing.after(memory, {"a": 3.0, "b": 1.0, "another": 9.0}, 0)
    assert balancing.stuck(memory) == ""
    # The weights stay until something is measured.
    assert weights(balancing, memory, AB, t=1) == weights(balancing, memory, AB, t=99)
    with pytest.raises(KeyError):
        balancing.value(memory, "another", 1)
    with pytest.raises(FrozenInstanceError):
        balancing.losses = ABC


def test_only_the_averages_are_shown() -> None:
    memory = (balancing := InverseMagnitude(AB)).after({"updates": 0.0}, {"a": -3.0, "b": 1.0}, 0)
    assert balancing.shown(memory) == {"a/ema": 3.0, "b/ema": 1.0}
    memory = (dwa := DynamicWeightAverage(AB)).after({"updates": 0.0}, {"a": -3.0, "b": 1.0}, 0)
    assert dwa.shown(memory) == {}


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "expected"),
    [
        ("dwa", {}, DynamicWeightAverage(AB, 2.0)),
        ("DWA", {"temperature": "1e-1"}, DynamicWeightAverage(AB, 0.1)),
        ("relobralo", {}, RelativeBalancing(AB, 0.999, 1.0, 0.999, 0)),
        (
            "relobralo",
            {"alpha": 0, "temperature": 2, "expected_rho": 1, "seed": 5, "decay": None},
            RelativeBalancing(AB, 0.0, 2.0, 1.0, 5),
        ),
        ("inverse_ema", {"temperature": None}, InverseMagnitude(AB, 0.99)),
        ("inverse_ema", {"decay": 0}, InverseMagnitude(AB, 0.0)),
    ],
)
def test_read(method: str, params: Mapping[str, Any], expected: Balancing) -> None:
    read = read_balancing("balance", ["a", "b"], method, params)
    assert read == expected
    assert repr(read) == repr(expected)


def test_names_become_plain_texts() -> None:
    class Name(str, enum.Enum):
        A = "a"

    losses = DynamicWeightAverage([Name.A, "b"]).losses
    assert losses == AB
    assert [type(name) for name in losses] == [str, str]


@pytest.mark.parametrize(
    ("losses", "method", "params", "message"),
    [
        (AB, "dwaa", {}, "balance.method: unknown method 'dwaa'; did you mean 'dwa'?"),
        (AB, "gradnorm", {}, "balance.method: unknown method 'gradnorm'; known: dwa, inverse_ema, relobralo"),
        (AB, None, {}, "balance.method: unknown method None; known: dwa, inverse_ema, relobralo"),
        (AB, "dwa", {"temprature": 1}, "balance: unknown parameter 'temprature'; did you mean 'temperature'?"),
        (AB, "relobralo", {"rho": None}, "balance: unknown parameter 'rho'; known: alpha, expected_rho, seed, temperature"),
        (AB, "dwa", {"losses": ["c"]}, "balance: unknown parameter 'losses'; known: temperature"),
        (AB, "dwa", {"decay": 0.9}, "balance.decay: is for inverse_ema, not for dwa"),
        (AB, "inverse_ema", {"temperature": 1}, "balance.temperature: is for dwa and relobralo, not for inverse_ema"),
        (AB, "dwa", {"temperature": 0}, "balance.temperature: must be positive, got 0"),
        (AB, "dwa", {"temperature": "hot"}, "balance.temperature: must be a number, got 'hot'"),
        (AB, "relobralo", {"temperature": -1}, "balance.temperature: must be positive, got -1"),
        (AB, "relobralo", {"alpha": 1.5}, "balance.alpha: must be from 0 to 1, got 1.5"),
        (AB, "relobralo", {"alpha": float("nan")}, "balance.alpha: must be a finite number, got nan"),
        (AB, "relobralo", {"expected_rho": -0.1}, "balance.expected_rho: must be from 0 to 1, got -0.1"),
        (AB, "relobralo", {"seed": 0.5}, "balance.seed: must be a whole number, got 0.5"),
        (AB, "relobralo", {"seed": -1}, "balance.seed: must not be negative, got -1"),
        (AB, "inverse_ema", {"decay": 1}, "balance.decay: must be less than 1, got 1: an average that never moves"),
        (AB, "inverse_ema", {"decay": 2}, "balance.decay: must be from 0 to 1, got 2"),
        ("ab", "dwa", {}, "balance.losses: must be a list of at least two names, got 'ab'"),
        (["kl"], "relobralo", {}, "balance.losses: must be a list of at least two names, got ['kl']"),
        ({"a": 1, "b": 2}, "dwa", {}, "balance.losses: must be a list of at least two names, got {'a': 1, 'b': 2}"),
        (["kl", ""], "inverse_ema", {}, "balance.losses.1: must be a name, got ''"),
        ([" ", "kl"], "dwa", {}, "balance.losses.0: must be a name, got ' '"),
        ([3, "kl"], "dwa", {}, "balance.losses.0: must be a name, got 3"),
        (["kl", "mse", "kl"], "dwa", {}, "balance.losses: 'kl' is there twice"),
    ],
)  # fmt: skip
def test_refused(losses: Any, method: Any, params: Mapping[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        read_balancing("balance", losses, method, params)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DynamicWeightAverage(AB, 0), "DynamicWeightAverage.temperature: must be positive, got 0"),
        (lambda: RelativeBalancing(("a",)), "RelativeBalancing.losses: must be a list of at least two names, got ('a',)"),
        (lambda: InverseMagnitude(AB, True), "InverseMagnitude.decay: must be a number, got True"),
    ],
)  # fmt: skip
def test_refused_in_code(make: Callable[[], Balancing], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        make()
    assert str(error.value) == message
