"""Milestones, sequences and callables."""

from __future__ import annotations

import pytest

from lightning_anneal import AnnealError, Constant, Linear, Milestones, Sequence
from lightning_anneal.schedules.callables import FromCallable


def test_milestones_in_any_order_and_as_json_writes_them() -> None:
    schedule = Milestones({"5": 0.1, 2: "0.5"}, initial=1)
    assert schedule.values(7) == [1.0, 1.0, 0.5, 0.5, 0.5, 0.1, 0.1]
    assert schedule == Milestones({2: 0.5, 5: 0.1}, initial=1.0)
    assert repr(schedule) == "Milestones({2.0: 0.5, 5.0: 0.1}, initial=1.0)"
    assert (schedule.bounds, schedule.settles_at) == ((0.1, 1.0), 5)
    assert [schedule.next_event(t) for t in (0, 1.9, 2, 5)] == [2, 2, 5, float("inf")]


def test_parts_have_clocks_of_their_own() -> None:
    schedule = Sequence([(Constant(5), 2), (Linear(0, 1, 2), 3), (lambda t: 10 + t, 4)])
    assert schedule.values(8) == [5.0, 5.0, 0.0, 0.5, 1.0, 10.0, 11.0, 12.0]
    assert schedule(100) == 105
    assert schedule(-1) == 5
    assert schedule.bounds == (float("-inf"), float("inf"))
    assert schedule.settles_at == float("inf")


def test_events_of_a_sequence() -> None:
    schedule = Sequence([(Constant(5), 2), (Linear(0, 1, 2), 3), (Linear(1, 0, 4), 9)])
    assert [schedule.next_event(t) for t in (0, 2, 3, 4, 5, 8, 9)] == [2, 4, 4, 5, 9, 9, float("inf")]
    assert (schedule.settles_at, schedule.bounds) == (9, (0.0, 5.0))


def test_a_callable_is_looked_at() -> None:
    assert FromCallable(lambda t: t / 2, "x")(3) == 1.5
    with pytest.raises(AnnealError, match=r"^x at 3: must be a number, got None$"):
        FromCallable(lambda t: None, "x")(3)
    with pytest.raises(AnnealError, match=r"^x at 0: must be a finite number, got nan$"):
        FromCallable(lambda t: float("nan"), "x")(0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Milestones({}), "Milestones.values: must be a mapping such as {0: 1.0, 30: 0.1}, got {}"),
        (lambda: Milestones([1]), "Milestones.values: must be a mapping such as {0: 1.0, 30: 0.1}, got [1]"),
        (lambda: Milestones({-1: 2}), "Milestones.values: a milestone can't lie before 0, got -1"),
        (lambda: Milestones({1: 2, "1": 3}), "Milestones.values: two values for t = 1"),
        (lambda: Milestones({3: 2})(1), "Milestones.initial: needed: there is no value before t = 3"),
        (lambda: Milestones({3: "x"}), "Milestones.values[3]: must be a number, got 'x'"),
        (lambda: Sequence([]), "Sequence.parts: must have at least one part"),
        (lambda: Sequence(3), "Sequence.parts: must be a list of (schedule, duration) pairs"),
        (lambda: Sequence([Constant(1)]), "Sequence.parts: must be a list of (schedule, duration) pairs"),
        (lambda: Sequence([(Constant(1), 0)]), "Sequence.parts.0.duration: must be positive, got 0"),
        (lambda: Sequence([(1, 3)]), "Sequence.parts.0: must be a schedule or a callable of t, got 1"),
    ],
)
def test_refused(make: object, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        make()
    assert str(error.value) == message
