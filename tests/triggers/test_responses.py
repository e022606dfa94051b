"""Responses: the value after n firings."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_anneal.triggers.responses import Add, Multiply, NextGreater, NextOf

INF = float("inf")


@pytest.mark.parametrize(
    ("response", "start", "values", "more"),
    [
        # Held at the end; the start found plays no part.
        (NextOf((1.0, 2.0, 4.0)), 9.0, [1.0, 2.0, 4.0, 4.0, 4.0], [True, True, False, False, False]),
        (NextOf((1.0, 2.0, 4.0), first=1), 9.0, [2.0, 4.0, 4.0], [True, False, False]),
        (NextOf((1.0, 2.0, 4.0), first=2), 9.0, [4.0, 4.0], [False, False]),
        (NextOf((7.0,)), 9.0, [7.0, 7.0], [False, False]),
        (NextOf((4.0, 1.0, 2.0)), 9.0, [4.0, 1.0, 2.0, 2.0], [True, True, False, False]),
        # Round and round.
        (NextOf((1.0, 2.0, 4.0), cycle=True), 9.0, [1.0, 2.0, 4.0, 1.0, 2.0], [True] * 5),
        (NextOf((1.0, 2.0, 4.0), first=2, cycle=True), 9.0, [4.0, 1.0, 2.0, 4.0], [True] * 4),
        (NextOf((7.0,), cycle=True), 9.0, [7.0, 7.0], [False, False]),
        # Booleans and strings.
        (NextOf((False, True)), False, [False, True, True], [True, False, False]),
        (NextOf(("a", "b"), first=1, cycle=True), "c", ["b", "a", "b"], [True] * 3),
        # The value found, then each greater one of the list, sorted.
        (NextGreater((0.0, 0.01, 0.02)), 0.005, [0.005, 0.01, 0.02, 0.02], [True, True, False, False]),
        (NextGreater((0.02, 0.0, 0.01)), -1.0, [-1.0, 0.0, 0.01, 0.02, 0.02], [True, True, True, False, False]),
        (NextGreater((0.0, 0.01, 0.02)), 0.01, [0.01, 0.02, 0.02], [True, False, False]),
        (NextGreater((0.0, 0.01)), 0.01, [0.01, 0.01], [False, False]),
        (NextGreater((0.0, 0.01)), 5.0, [5.0, 5.0], [False, False]),
        # A factor.
        (Multiply(2.0), 3.0, [3.0, 6.0, 12.0, 24.0], [True] * 4),
        (Multiply(0.5), 8.0, [8.0, 4.0, 2.0, 1.0, 0.5], [True] * 5),
        (Multiply(1.0), 3.0, [3.0, 3.0, 3.0], [False] * 3),
        (Multiply(2.0), -3.0, [-3.0, -6.0, -12.0], [True] * 3),
        (Multiply(2.0), 0.0, [0.0, 0.0, 0.0], [False] * 3),
        (Multiply(0.5, low=3.0), 8.0, [8.0, 4.0, 3.0, 3.0], [True, True, False, False]),
        (Multiply(2.0, high=10.0), 3.0, [3.0, 6.0, 10.0, 10.0], [True, True, False, False]),
        (Multiply(2.0, low=-10.0), -3.0, [-3.0, -6.0, -10.0, -10.0], [True, True, False, False]),
        (Multiply(0.5, high=-1.0), -4.0, [-4.0, -2.0, -1.0, -1.0], [True, True, False, False]),
        # A value found outside of the bounds stays until the first firing brings it in.
        (Multiply(0.5, high=1.0), 8.0, [8.0, 1.0, 1.0, 1.0, 0.5], [True, False, False, True, True]),
        (Multiply(2.0, low=10.0), 3.0, [3.0, 10.0, 12.0], [True, True, True]),
        (Multiply(2.0, low=1.0), 0.0, [0.0, 1.0, 1.0], [True, False, False]),
        (Multiply(2.0, low=1.0, high=1.0), 1.0, [1.0, 1.0], [False, False]),
        # A step.
        (Add(0.5), 1.0, [1.0, 1.5, 2.0], [True] * 3),
        (Add(-2.0, low=-1.0), 2.0, [2.0, 0.0, -1.0, -1.0], [True, True, False, False]),
        (Add(2.0, low=3.0, high=4.0), 0.0, [0.0, 3.0, 4.0, 4.0], [True, True, False, False]),
    ],
)  # fmt: skip
def test_values_and_whether_there_are_more(response: Any, start: Any, values: list[Any], more: list[bool]) -> None:
    assert [response.value(n, start) for n in range(len(values))] == values
    # A boolean equals a number: the kinds are compared, too.
    assert [type(response.value(n, start)) for n in range(len(values))] == [type(value) for value in values]
    assert [response.has_next(n, start) for n in range(len(more))] == more


@pytest.mark.parametrize(
    ("response", "start", "firings", "value"),
    [
        (Multiply(2.0), 1.0, 5000, INF),
        (Multiply(2.0), -1.0, 5000, -INF),
        (Multiply(2.0, high=100.0), 1.0, 5000, 100.0),
        (Multiply(2.0, low=-100.0), -1.0, 5000, -100.0),
        (Multiply(2.0), 0.0, 5000, 0.0),
        (Multiply(0.5), 1.0, 5000, 0.0),
        (Multiply(0.5, low=0.25), 1.0, 5000, 0.25),
        (NextOf((1.0, 2.0, 4.0)), 0.0, 5000, 4.0),
        (NextOf((1.0, 2.0, 4.0), cycle=True), 0.0, 5000, 4.0),
    ],
)
def test_very_many_firings(response: Any, start: float, firings: int, value: float) -> None:
    assert response.value(firings, start) == value


@pytest.mark.parametrize(
    ("response", "start", "ends"),
    [
        (NextOf((2.0, 1.0, 4.0), first=1), 9.0, (2.0, 1.0, 4.0)),
        (NextOf(("a", "b")), "c", ("a", "b")),
        (NextGreater((0.02, 0.0, 0.01)), 0.005, (0.005, 0.01, 0.02)),
        (NextGreater((0.0, 0.01)), 1.0, (1.0,)),
        (Multiply(2.0), 3.0, (3.0, INF)),
        (Multiply(2.0), -3.0, (-3.0, -INF)),
        (Multiply(2.0, high=10.0), 3.0, (3.0, 10.0)),
        (Multiply(2.0, low=-10.0), -3.0, (-3.0, -10.0)),
        (Multiply(2.0), 0.0, (0.0, 0.0)),
        (Multiply(0.5), 3.0, (3.0, 0.0)),
        (Multiply(0.5), -3.0, (-3.0, 0.0)),
        (Multiply(0.5, low=1.0), 3.0, (3.0, 1.0)),
        # Nothing ever moves.
        (Multiply(1.0), 3.0, (3.0, 3.0)),
    ],
)
def test_to_come(response: Any, start: Any, ends: tuple[Any, ...]) -> None:
    assert response.to_come(start) == ends


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (NextOf((True, False)), bool),
        (NextOf(("a",)), str),
        (NextOf((1.0, 2.0)), float),
        (NextOf((1, 2)), float),
        (NextGreater((1.0,)), float),
        (Multiply(2.0), float),
    ],
)
def test_kind(response: Any, kind: type) -> None:
    assert response.kind is kind
