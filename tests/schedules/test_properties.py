"""What holds for every schedule, whatever its numbers."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_anneal import (
    Constant,
    Cosine,
    Cyclical,
    Exponential,
    Linear,
    Milestones,
    Polynomial,
    Saturating,
    Sequence,
    Sigmoid,
    WarmRestart,
)
from lightning_anneal.schedules import Schedule

ends = st.floats(-1e6, 1e6)
lengths = st.floats(0.1, 1e5)
shapes = st.floats(0.1, 20)
positive = st.floats(1e-6, 1e6)

ramps = st.one_of(
    st.builds(Linear, ends, ends, lengths),
    st.builds(Cosine, ends, ends, lengths),
    st.builds(Exponential, positive, positive, lengths),
    st.builds(Saturating, ends, ends, lengths, shapes),
    st.builds(Polynomial, ends, ends, lengths, shapes),
    st.builds(Sigmoid, ends, ends, lengths, shapes),
)
simple = st.one_of(
    ramps,
    st.builds(Constant, ends),
    st.builds(Cyclical, lengths, ends, ends, st.sampled_from(["cosine", "triangle"])),
    st.builds(Milestones, st.dictionaries(st.integers(0, 100), ends, min_size=1), ends),
)
schedules = st.one_of(
    simple,
    st.builds(WarmRestart, simple, st.floats(1, 100), st.floats(0.5, 2)),
    st.builds(Sequence, st.lists(st.tuples(simple, lengths), min_size=1, max_size=4)),
)
times = st.floats(0, 1e4) | st.integers(0, 10_000)


@settings(max_examples=200, deadline=None)
@given(schedules, times)
def test_within_bounds_and_a_float(schedule: Schedule, t: float) -> None:
    low, high = schedule.bounds
    slack = 1e-9 * max(1.0, abs(low), abs(high))
    assert low - slack <= schedule(t) <= high + slack
    assert type(schedule(t)) is float


@settings(max_examples=200, deadline=None)
@given(ramps, st.floats(0, 1), st.floats(0, 1))
def test_ramps_go_one_way_between_exact_ends(ramp: Linear, first: float, second: float) -> None:
    assert (ramp(0), ramp(ramp.duration)) == (ramp.start, ramp.end)
    early, late = sorted((first, second))
    rise = ramp(late * ramp.duration) - ramp(early * ramp.duration)
    slack = 1e-9 * max(1.0, abs(ramp.start), abs(ramp.end))
    assert rise * (1 if ramp.end >= ramp.start else -1) >= -slack


@settings(max_examples=200, deadline=None)
@given(schedules, st.lists(times, min_size=2, max_size=8), st.randoms())
def test_pure(schedule: Schedule, moments: list[float], order: object) -> None:
    fresh = copy.deepcopy(schedule)
    values = {t: schedule(t) for t in moments}
    order.shuffle(moments)
    assert {t: fresh(t) for t in moments} == values


@settings(max_examples=200, deadline=None)
@given(schedules)
def test_survives_pickling(schedule: Schedule) -> None:
    again = pickle.loads(pickle.dumps(schedule))
    assert again == schedule
    assert again.values(5) == schedule.values(5)
    assert repr(again) == repr(schedule)


@settings(max_examples=200, deadline=None)
@given(schedules, st.integers(0, 500))
def test_after_it_has_settled_nothing_moves(schedule: Schedule, later: int) -> None:
    if schedule.settles_at < float("inf"):
        assert schedule(schedule.settles_at + later) == schedule(schedule.settles_at)
        assert schedule.next_event(schedule.settles_at) == float("inf")


@settings(max_examples=200, deadline=None)
@given(schedules, st.floats(0, 1000))
def test_events_lie_ahead(schedule: Schedule, t: float) -> None:
    assert schedule.next_event(t) > t


def test_what_can_be_hashed() -> None:
    assert len({Linear(0, 1, 2), Linear(0.0, 1.0, 2.0), Milestones({0: 1.0}), WarmRestart(Linear(0, 1, 2), 3)}) == 3


@pytest.mark.parametrize("schedule", [Linear(0, 1, 2), Cyclical(4, 0, 1), Sequence([(Constant(1), 2)])])
def test_frozen(schedule: Schedule) -> None:
    with pytest.raises(AttributeError):
        schedule.start = 3
