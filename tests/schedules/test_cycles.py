"""Waves and warm restarts."""

from __future__ import annotations

import random
import tracemalloc

import pytest

from lightning_anneal import AnnealError, Cyclical, Linear, WarmRestart


@pytest.mark.parametrize(
    ("wave", "expected"),
    [
        (Cyclical(4, 0, 1), [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]),
        (Cyclical(4, 0, 1, "triangle"), [0.0, 0.5, 1.0, 0.5, 0.0, 0.5]),
        (Cyclical(6, 0, 4), [0.0, 1.0, 3.0, 4.0, 3.0, 1.0]),
        (Cyclical(8, 1, 5, "triangle"), [1.0, 2.0, 3.0, 4.0, 5.0, 4.0]),
        (Cyclical(4, 1, 0), [1.0, 0.5, 0.0, 0.5, 1.0, 0.5]),
    ],
    ids=repr,
)
def test_both_waves_start_low_and_are_high_at_half(wave: Cyclical, expected: list[float]) -> None:
    assert wave.values(6) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["cosine", "triangle"])
def test_the_high_is_exact(kind: str) -> None:
    assert [Cyclical(10, 0.1, 0.7, kind)(t) for t in (0, 5, 10, 15, -3)] == [0.1, 0.7, 0.1, 0.7, 0.1]


@pytest.mark.parametrize(
    ("interval", "multiplier", "expected"),
    [
        (40, 1.2, [40, 88, 146, 215, 298, 397]),
        (10, 1, [10, 20, 30, 40, 50, 60]),
        (10, 2, [10, 30, 70, 150, 310, 630]),
        # 8, 12, 14, 15, 15.5 -> 16, and from there on 1 at a time: 15.75 would be 16 again
        (8, 0.5, [8, 12, 14, 15, 16, 17]),
        (2.5, 1, [3, 5, 8, 10, 13, 15]),
        (10.1, 1, [10, 20, 30, 40, 51, 61]),
        (1, 0.1, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_restarts(interval: float, multiplier: float, expected: list[int]) -> None:
    schedule = WarmRestart(Linear(0, 1, 5), interval, multiplier)
    found = [0]
    for _ in expected:
        found.append(schedule.restart_info(found[-1]).next)
    assert found[1:] == expected


def test_the_base_begins_again() -> None:
    assert WarmRestart(Linear(0, 1, 2), interval=4, multiplier=1.5).values(11) == [
        *(0.0, 0.5, 1.0, 1.0),
        *(0.0, 0.5, 1.0, 1.0, 1.0, 1.0),
        0.0,
    ]


def test_restart_info() -> None:
    schedule = WarmRestart(Linear(0, 1, 5), interval=40, multiplier=1.2)
    assert [tuple(schedule.restart_info(t)) for t in (0, 39, 40, 145, 146, 147)] == [
        (0, 0, 40, False),
        (0, 39, 40, False),
        (40, 0, 88, True),
        (88, 57, 146, False),
        (146, 0, 215, True),
        (146, 1, 215, False),
    ]


@pytest.mark.parametrize(
    ("interval", "t", "expected"),
    [
        # 2.5 is rounded up, and 2.4 down.
        (2.5, 2.75, (0, 2.75, 3, False)),
        (2.4, 2.25, (2, 0.25, 5, False)),
        # 455 * 10.1 = 4595.5, of which 455 times 10.1 added up in floats falls short.
        (10.1, 4595, (4585, 10, 4596, False)),
        (10.1, 4596, (4596, 0, 4606, True)),
    ],
)
def test_a_restart_is_at_a_whole_number(interval: float, t: float, expected: tuple[float, ...]) -> None:
    assert tuple(WarmRestart(Linear(0, 1, 5), interval).restart_info(t)) == expected


@pytest.mark.parametrize(
    ("schedule", "value", "expected"),
    [
        (WarmRestart(Linear(0, 1, 5), 5), 0.8, (99_999_995, 4, 100_000_000, False)),
        # 8, 12, 14, 15, 16, and from there on each step.
        (WarmRestart(Linear(0, 1, 5), 8, 0.5), 0.0, (99_999_999, 0, 100_000_000, True)),
    ],
)
def test_many_restarts_take_no_memory(
    schedule: WarmRestart, value: float, expected: tuple[float, float, float, bool]
) -> None:
    tracemalloc.start()
    try:
        assert (schedule(99_999_999), schedule.restart_info(99_999_999)) == (value, expected)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("multiplier", [1.2, 1.0, 0.5])
def test_any_order_gives_the_same(multiplier: float) -> None:
    times = list(range(500))
    forward = WarmRestart(Linear(0, 1, 30), 40, multiplier)
    in_order = {t: (forward(t), forward.restart_info(t)) for t in times}
    random.Random(3).shuffle(times)
    shuffled = WarmRestart(Linear(0, 1, 30), 40, multiplier)
    assert {t: (shuffled(t), shuffled.restart_info(t)) for t in times} == in_order


def test_events() -> None:
    schedule = WarmRestart(Linear(0, 1, 2), interval=4)
    assert [schedule.next_event(t) for t in (0, 3, 4)] == [4, 4, 8]
    assert schedule.settles_at == Cyclical(4, 0, 1).next_event(3) == float("inf")
    assert (schedule.bounds, Cyclical(4, 3, 1).bounds) == ((0.0, 1.0), (1.0, 3.0))
    assert WarmRestart(lambda t: t, 4).bounds == (float("-inf"), float("inf"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Cyclical(0, 0, 1), "Cyclical.period: must be positive, got 0"),
        (lambda: Cyclical(4, 0, 1, "cosin"), "Cyclical.wave: unknown wave 'cosin'; did you mean 'cosine'?"),
        (lambda: Cyclical(4, -1e308, 1e308), "Cyclical.high: too far from the low value for a float"),
        (lambda: WarmRestart(Linear(0, 1, 2), 0.5), "WarmRestart.interval: must be at least 1, got 0.5"),
        (lambda: WarmRestart(Linear(0, 1, 2), 5, 0), "WarmRestart.multiplier: must be positive, got 0"),
        (lambda: WarmRestart(lambda t: "x", 5)(1), "WarmRestart.base at 1: must be a number, got 'x'"),
        (lambda: WarmRestart(Linear, 5), "WarmRestart.base: must be a schedule or a callable of t"),
        (lambda: WarmRestart(3, 5), "WarmRestart.base: must be a schedule or a callable of t"),
    ],
)
def test_refused(make: object, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        make()
    assert str(error.value) == message


@pytest.mark.parametrize("t", [1.1e9, float("inf")])
def test_a_time_that_no_run_reaches(t: float) -> None:
    with pytest.raises(AnnealError, match=r"^WarmRestart: t must be at most 1e\+09, got "):
        WarmRestart(Linear(0, 1, 4), 1)(t)
