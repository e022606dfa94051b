"""Events: at which polls each trigger fires."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.triggers.events import Drop, Rise, Stall, Threshold, fired
from lightning_anneal.triggers.signals import Reading, Snapshot, as_reading

NAN, INF = float("nan"), float("inf")


def fires(trigger: Any, readings: list[Any]) -> list[int]:
    """The polls, counted from 0, at which a trigger fires."""
    before, polls = Snapshot(), []
    for poll, reading in enumerate(readings):
        now = trigger.look(before, reading if isinstance(reading, Reading) else Reading(float(reading)))
        if fired(before, now):
            polls.append(poll)
        before = now
    return polls


@pytest.mark.parametrize(
    ("values", "polls"),
    [
        ([0, 1, 2, 3, 0, 1], [1, 2, 3, 5]),
        ([1], [0]),
        ([0, 0, 0], []),
        ([3, 3, 3], [0]),
        ([3, 2, 1, 2], [0, 3]),
        ([2, 5, 5, 6], [0, 1, 3]),
        ([True, True, False, True, True], [0, 3]),
        ([False, True, False, False, True], [1, 4]),
        # What is no number is as if nobody had looked.
        ([1, NAN, 1, 2], [0, 3]),
        ([INF, 1, -INF, 1, 2], [1, 4]),
        ([], []),
    ],
)
def test_rise(values: list[Any], polls: list[int]) -> None:
    assert fires(Rise(), values) == polls


@pytest.mark.parametrize(
    ("above", "values", "polls"),
    [
        (False, [1.0, 0.4, 0.3, 0.6, 0.2], [1, 4]),
        (False, [0.1, 0.1], [0]),
        (False, [0.5, 0.5, 0.4999], [2]),
        (False, [NAN, 0.4], [1]),
        (False, [-INF], [0]),
        (False, [INF, 0.6], []),
        (True, [0.1, 0.6, 0.7, 0.4, 0.9], [1, 4]),
        (True, [0.5, 0.5, 0.5001], [2]),
        (True, [NAN, 0.6], [1]),
        (True, [NAN, NAN], []),
        (True, [INF, INF], [0]),
    ],
)
def test_threshold_of_a_half(above: bool, values: list[float], polls: list[int]) -> None:
    assert fires(Threshold(0.5, above), values) == polls


@pytest.mark.parametrize(
    ("patience", "maximize", "min_delta", "values", "polls"),
    [
        # The first metric is an improvement on nothing; then two in a row have to be bad.
        (2, False, 0.0, [5, 4, 4, 4.5, 4.1, 4.2], [3, 5]),
        (2, False, 0.0, [5, 5, 4, 4, 3, 3, 3], [6]),
        (1, False, 0.0, [5, 5, 5, 4, 6], [1, 2, 4]),
        (3, False, 0.0, [1, 2, 2, 2, 2, 2, 2], [3, 6]),
        (3, False, 0.0, [1, 2, 2], []),
        # The best is that of all polls, not of those since the last firing.
        (2, False, 0.0, [3, 9, 9, 5, 4, 2], [2, 4]),
        (2, True, 0.0, [1, 2, 2, 1.5, 3, 3, 3], [3, 6]),
        (1, True, 0.0, [1, 0, 2, 2], [1, 3]),
        # By more than min_delta: 4.5 is not enough, and each step is measured from the last improvement.
        (2, False, 0.5, [5, 4.5, 4.5], [2]),
        (2, False, 0.5, [5, 4.75, 4.25, 4.0, 4.0], [4]),
        (2, True, 0.5, [1, 1.5, 1.75, 2.0, 2.25], [4]),
        # NaN and infinities are bad, whatever came before.
        (2, False, 0.0, [NAN, NAN, 3, NAN, 4], [1, 4]),
        (2, False, 0.0, [-INF, 3, 2, INF, NAN], [4]),
        (2, True, 0.0, [INF, INF, 1, 2], [1]),
    ],
)
def test_stall(patience: int, maximize: bool, min_delta: float, values: list[float], polls: list[int]) -> None:
    assert fires(Stall(patience, maximize, min_delta), values) == polls


@pytest.mark.parametrize(
    ("readings", "polls"),
    [
        # One group: each fall, no rise.
        ([(0.1,), (0.1,), (0.05,), (0.05,), (0.1,), (0.01,)], [2, 5]),
        # Two groups: any of them; one that rises meanwhile takes nothing away.
        ([(0.1, 0.2), (0.1, 0.1), (0.05, 0.1), (0.2, 0.05)], [1, 2, 3]),
        # A group at its min_lr stays where it is; the other one falls.
        ([(0.1, 0.2), (0.1, 0.2), (0.1, 0.15)], [2]),
        # Another number of groups is another optimizer: nothing to compare with, at that poll.
        ([(0.1,), (0.05, 0.1), (0.05, 0.01)], [2]),
        ([(0.1, 0.2), (0.05,), (0.01,)], [2]),
    ],
)
def test_drop_of_rates(readings: list[tuple[float, ...]], polls: list[int]) -> None:
    assert fires(Drop(), [Reading(rates=rates) for rates in readings]) == polls


@pytest.mark.parametrize(
    ("readings", "polls"),
    [
        # 0.1 at the last poll, 0.05 in the record: that fall was somebody else's.
        ([((0.1,), ()), ((0.05,), (0.05,))], []),
        # It fell after the record.
        ([((0.1,), ()), ((0.05,), (0.1,))], [1]),
        # The record had risen, and it fell to what the last poll had seen.
        ([((0.1,), ()), ((0.1,), (0.2,))], [1]),
        # A record is a past even for the first poll.
        ([((0.05,), (0.1,))], [0]),
        # A record of another number of groups is none that can be compared.
        ([((0.1,), ()), ((0.05,), (0.1, 0.1))], []),
        # Without a newer record the last poll counts.
        ([((0.1,), (0.1,)), ((0.05,), ())], [1]),
    ],
)
def test_drop_with_records(readings: list[tuple[tuple[float, ...], tuple[float, ...]]], polls: list[int]) -> None:
    assert fires(Drop(), [Reading(rates=rates, recorded=recorded) for rates, recorded in readings]) == polls


@pytest.mark.parametrize(
    ("values", "polls"),
    [
        ([False, True, True, False, True], [1, 4]),
        ([True], [0]),
        ([1, 2, 2, 3], [0, 1, 3]),
        # NaN is no news, as for a count.
        ([1, NAN, 2], [0, 2]),
        ([NAN, 1], [1]),
    ],
)
def test_drop_as_a_condition_in_a_loop_of_ones_own(values: list[Any], polls: list[int]) -> None:
    assert fires(Drop(), values) == polls


@pytest.mark.parametrize(
    ("trigger", "before", "reading", "told"),
    [
        (Rise(counts=True), Snapshot(level=2.0), Reading(3.0, note="unseen"), "2 -> 3"),
        (Rise(), Snapshot(), Reading(1.0, note="3 of 6"), "3 of 6"),
        (Threshold(0.5, above=False), Snapshot(), Reading(0.25, note="val_loss"), "val_loss 0.25 < 0.5"),
        (Threshold(0.5, above=True), Snapshot(), Reading(1.0), "1 > 0.5"),
        (Stall(2, False, 0.0), Snapshot(best=4.0, bad=1), Reading(5.0, note="val_loss"),
         "val_loss no better than 4 for 2 polls"),
        (Stall(1, False, 0.0), Snapshot(), Reading(NAN), "no better than nothing for 1 poll"),
        (Drop(), Snapshot(rates=(0.1, 0.2, 0.3)), Reading(rates=(0.05, 0.2, 0.03)), "0.1 -> 0.05, 0.3 -> 0.03"),
        (Drop(), Snapshot(rates=(5.0, 5.0, 5.0, 5.0)), Reading(rates=(4.0, 3.0, 2.0, 1.0)), "5 -> 4, 5 -> 3, 5 -> 2"),
        (Drop(), Snapshot(rates=(0.9,)), Reading(rates=(0.1,), recorded=(0.5,)), "0.5 -> 0.1"),
        (Drop(), Snapshot(), Reading(1.0), ""),
    ],
)  # fmt: skip
def test_what_is_told(trigger: Any, before: Snapshot, reading: Reading, told: str) -> None:
    assert trigger.tell(before, trigger.look(before, reading), reading) == told


def test_looking_changes_no_snapshot() -> None:
    before = Snapshot(level=1.0, best=2.0, bad=1, rates=(0.1,))
    kept = replace(before)
    for trigger in (Rise(), Threshold(0.5, True), Stall(2, False, 0.0), Drop()):
        assert trigger.look(before, Reading(3.0, (0.05,))) != before
        assert trigger.look(before, Reading(3.0, (0.05,))) == trigger.look(before, Reading(3.0, (0.05,)))
    assert before == kept


@pytest.mark.parametrize(("value", "expected"), [(True, 1.0), (False, 0.0), (3, 3.0), (0.5, 0.5), ("2", 2.0)])
def test_readings_of_a_loop(value: Any, expected: float) -> None:
    assert as_reading("metrics.x", value) == Reading(expected)


@pytest.mark.parametrize(
    ("value", "told"),
    [("low", "'low'"), (None, "None"), ([1.0], "[1.0]"), ({}, "{}"), (1 + 2j, "(1+2j)"), pytest.param(10**400, "1" + "0" * 56 + "...", id="too large for a float")],
)  # fmt: skip
def test_no_readings(value: Any, told: str) -> None:
    with pytest.raises(AnnealError) as error:
        as_reading("metrics.x", value)
    assert str(error.value) == f"metrics.x: must be a number or a boolean, got {told}"
