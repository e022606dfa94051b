"""Ramps: values worked out by hand, ends, and what is refused."""

from __future__ import annotations

from math import cos, pi

import pytest

from lightning_anneal import (
    AnnealError,
    Competence,
    Constant,
    Cosine,
    Exponential,
    Linear,
    Polynomial,
    Saturating,
    Sigmoid,
)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (Constant(3), {0: 3.0, 7: 3.0}),
        (Linear(0, 1, 4), {0: 0.0, 1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0, 9: 1.0}),
        (Linear(10, 0, 5), {0: 10.0, 1: 8.0, 4: 2.0, 5: 0.0}),
        # (1 - cos 60 degrees) / 2 = 1/4, (1 - cos 120 degrees) / 2 = 3/4
        (Cosine(0, 1, 3), {0: 0.0, 1: 0.25, 2: 0.75, 3: 1.0}),
        (Cosine(4, 0, 3), {1: 3.0, 2: 1.0, 3: 0.0}),
        (Exponential(1, 1e-4, 4), {0: 1.0, 1: 0.1, 2: 0.01, 3: 0.001, 4: 1e-4}),
        (Exponential(-2, -32, 4), {1: -4.0, 2: -8.0, 3: -16.0}),
        # exp(-ln 2) = 1/2 at the half: (1 - 1/2) / (1 - 1/4) = 2/3
        (Saturating(0, 3, 2, rate=1.3862943611198906), {0: 0.0, 1: 2.0, 2: 3.0}),
        (Polynomial(0, 16, 4, power=2), {1: 1.0, 2: 4.0, 3: 9.0, 4: 16.0}),
        (Polynomial(1, 0, 4, power=0.5), {1: 0.5, 4: 0.0}),
        # 2 sqrt(t)
        (Competence(0, 4, 4), {0: 0.0, 1: 2.0, 2: 2.8284271, 3: 3.4641016, 4: 4.0, 9: 4.0}),
        # sqrt(49 + 60 t): 109, 169, 229 on the way from 49 to 289, and back
        (Competence(7, 17, 4), {0: 7.0, 1: 10.4403065, 2: 13.0, 3: 15.1327460, 4: 17.0}),
        (Competence(17, 7, 4), {0: 17.0, 2: 13.0, 4: 7.0}),
        # 4 times the third root of t
        (Competence(0, 8, 8, power=3), {0: 0.0, 1: 4.0, 8: 8.0}),
        (Competence(1, 3, 4, power=1), {1: 1.5, 3: 2.5}),
        (Competence(0, 0, 4), {0: 0.0, 1: 0.0, 4: 0.0}),
        # at a quarter s = 1 / (1 + e^3) = 0.04742587, s(0) = 1 / (1 + e^6) = 0.00247262: 0.04495325 / 0.99505476
        (Sigmoid(0, 1, 4), {0: 0.0, 1: 0.0451767, 2: 0.5, 3: 0.9548233, 4: 1.0}),
    ],
    ids=repr,
)
def test_values(schedule: Linear, expected: dict[float, float]) -> None:
    assert {t: schedule(t) for t in expected} == pytest.approx(expected, abs=1e-7)


RAMPS = [
    Linear(0.1, 0.7, 3),
    Cosine(0.1, 0.7, 3),
    Exponential(0.1, 0.7, 3),
    Saturating(0.1, 0.7, 3),
    Polynomial(0.1, 0.7, 3, 2),
    Sigmoid(0.1, 0.7, 3),
    Competence(0.1, 0.7, 3),
]


@pytest.mark.parametrize("ramp", RAMPS, ids=repr)
def test_ends_are_exact_and_stay(ramp: Linear) -> None:
    assert [ramp(-5), ramp(0)] == [0.1, 0.1]
    assert [ramp(3), ramp(3.5), ramp(1e9)] == [0.7, 0.7, 0.7]
    assert 0.1 < ramp(1) < ramp(2) < 0.7
    assert ramp.bounds == (0.1, 0.7)
    assert (ramp.settles_at, ramp.next_event(0), ramp.next_event(2.9), ramp.next_event(3)) == (3, 3, 3, float("inf"))


def test_saturating_reaches_its_end_without_a_jump() -> None:
    ramp = Saturating(0, 1, 1000)
    assert 1 - ramp(999) < 5e-5


def test_a_steep_sigmoid_does_not_overflow() -> None:
    assert Sigmoid(0, 1, 10, steepness=1e6).values(11) == [0.0] * 5 + [0.5] + [1.0] * 5


def test_values_are_floats() -> None:
    assert all(type(v) is float for ramp in [*RAMPS, Constant(1), Linear(0, 10, 10)] for v in ramp.values(12))


def test_cosine_is_the_cosine() -> None:
    assert Cosine(2, 5, 7)(3) == pytest.approx(2 + 1.5 * (1 - cos(3 * pi / 7)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Linear(0, 1, 0), "Linear.duration: must be positive, got 0"),
        (lambda: Linear(0, float("nan"), 1), "Linear.end: must be a finite number, got nan"),
        (lambda: Linear("a", 1, 1), "Linear.start: must be a number, got 'a'"),
        (
            lambda: Cosine(0, 1, "10ep"),
            "Cosine.duration: must be a number, got '10ep'; units are for lengths",
        ),
        (lambda: Cosine(True, 1, 3), "Cosine.start: must be a number, got True"),
        (lambda: Linear(-1e308, 1e308, 3), "Linear.end: too far from the start value for a float"),
        (lambda: Exponential(0, 1, 3), "Exponential.start: a geometric curve can't start at 0; take Saturating"),
        (lambda: Exponential(1, 0, 3), "Exponential.end: a geometric curve never reaches 0; take Saturating"),
        (
            lambda: Exponential(1, -1, 3),
            "Exponential.end: must have the sign of the start value; take Linear or Cosine",
        ),
        (
            lambda: Exponential(1e-300, 1e300, 3),
            "Exponential.end: too many powers of ten away from the start value for a float",
        ),
        (lambda: Saturating(0, 1, 3, rate=0), "Saturating.rate: must be positive, got 0"),
        (lambda: Polynomial(0, 1, 3, power=-1), "Polynomial.power: must be positive, got -1"),
        (lambda: Saturating(0, 1, 3, rate=1e-310), "Saturating.rate: too small for a float, got 1e-310"),
        (lambda: Sigmoid(0, 1, 3, steepness=1e-320), "Sigmoid.steepness: too small for a float, got 9.99989e-321"),
        (lambda: Sigmoid(0, 1, 3, steepness=0), "Sigmoid.steepness: must be positive, got 0"),
        (lambda: Competence(-1, 1, 3), "Competence.start: must not be negative, got -1"),
        (lambda: Competence(0, -0.5, 3), "Competence.end: must not be negative, got -0.5"),
        (lambda: Competence(0, 1, 0), "Competence.duration: must be positive, got 0"),
        (lambda: Competence(0, 1, 3, power=0), "Competence.power: must be positive, got 0"),
        (lambda: Competence(0, 1, 3, power=1e-320), "Competence.power: too small for a float, got 9.99989e-321"),
        (lambda: Constant(10**400), "Constant.value: must be a finite number, got one too large for a float"),
    ],
)
def test_refused(make: object, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        make()
    assert str(error.value) == message


def test_numbers_as_strings_are_numbers() -> None:
    assert Exponential("1e-3", "1e-7", "10") == Exponential(0.001, 1e-7, 10)
