"""What is drawn: values at a time, ranges, scales, and which points are shown of many."""

from __future__ import annotations

import math

import pytest

from lightning_anneal.drawing.panels import Mark, Panel, Trace, sampled


@pytest.mark.parametrize(
    ("holds", "times", "values"),
    [
        (True, [0, 0.5, 0.99, 1, 1.5, 3, 9], [5.0, 5.0, 5.0, 7.0, 7.0, 1.0, 1.0]),
        (False, [0, 0.5, 1, 1.5, 2, 3], [5.0, 6.0, 7.0, 5.5, 4.0, 1.0]),
    ],
)
def test_the_value_at_a_time(holds: bool, times: list[float], values: list[float]) -> None:
    trace = Trace([0, 1, 3], [5.0, 7.0, 1.0], holds=holds)
    assert [trace.at(time) for time in times] == values
    assert math.isnan(trace.at(-0.1))
    # What holds goes on; a line ends with its last point.
    assert math.isnan(trace.at(3.1)) != holds


def test_no_value_at_all() -> None:
    assert math.isnan(Trace([], []).at(1))
    assert Panel("a", (Trace([], []),)).range == (0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "bounds", "logarithmic"),
    [
        ([1.0, 3.0], (1.0, 3.0), False),
        ([1.0, 99.9], (1.0, 99.9), False),
        ([1.0, 100.0], (1.0, 100.0), True),
        ([0.0, 100.0], (0.0, 100.0), False),
        ([-100.0, -1.0], (-100.0, -1.0), False),
        ([math.nan, 2.0, math.inf], (2.0, 2.0), False),
        ([math.nan], (0.0, 0.0), False),
        ([1e-3, 1e-6], (1e-6, 1e-3), True),
    ],
)
def test_ranges(values: list[float], bounds: tuple[float, float], logarithmic: bool) -> None:
    panel = Panel("a", (Trace(range(len(values)), values),))
    assert (panel.range, panel.logarithmic) == (bounds, logarithmic)


@pytest.mark.parametrize(
    ("count", "most", "also", "shown"),
    [
        (0, 4, [], []),
        (3, 4, [9], [0, 1, 2]),
        (4, 4, [], [0, 1, 2, 3]),
        (10, 4, [5, -1, 10], [0, 3, 5, 6, 9]),
        (10**9, 3, [7], [0, 7, 500_000_000, 999_999_999]),
    ],
)
def test_sampled(count: int, most: int, also: list[int], shown: list[int]) -> None:
    assert sampled(count, most, also) == shown


def test_marks_of_a_kind() -> None:
    marks = (Mark(1, "restart"), Mark(2, "end", "why"), Mark(3, "restart"))
    panel = Panel("a", (Trace([0], [1.0]),), marks=marks)
    assert [mark.x for mark in panel.of_kind("restart")] == [1, 3]
    assert panel.of_kind("part") == []
