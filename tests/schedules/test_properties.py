"""What holds for every schedule, whatever its numbers: each of them against each property.

The number of examples is that of the hypothesis profile, see `tests/conftest.py`.
"""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lightning_anneal import (
    Competence,
    Constant,
    ConstantBetaScheduler,
    Cosine,
    CosineBetaScheduler,
    Cyclical,
    CyclicalBetaScheduler,
    Exponential,
    ExponentialBetaScheduler,
    Linear,
    LinearBetaScheduler,
    Milestones,
    Polynomial,
    Saturating,
    Sequence,
    Sigmoid,
    WarmRestart,
    WarmRestartBetaScheduler,
    as_settings,
)
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.config import read_rules
from lightning_anneal.schedules import Schedule

ends = st.floats(-1e6, 1e6)
betas = st.floats(0, 1e6)
lengths = st.floats(0.1, 1e5)
shapes = st.floats(0.1, 20)
positive = st.floats(1e-6, 1e6)
waves = st.sampled_from(["cosine", "triangle"])
times = st.floats(0, 1e4) | st.integers(0, 10_000)

Points = list[tuple[float, float]]
Stretches = list[tuple[float, float]]


@dataclass(frozen=True)
class Kind:
    """One kind of schedule, and what it promises.

    Args:
        examples: Makes schedules of this kind.
        exact: Times at which the value is given exactly, by the schedule's own fields.
        one_way: Stretches of time, each without its end, within which the value goes one way.
        joined: Whether the value never jumps where one stretch meets the next.
    """

    examples: st.SearchStrategy[Any]
    exact: Callable[[Any], Points]
    one_way: Callable[[Any], Stretches]
    joined: bool = True


def _two_betas(make: Callable[..., Any], *more: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.tuples(betas, betas).map(sorted)
    return st.builds(lambda pair, length, *rest: make(pair[1], length, pair[0], *rest), pairs, lengths, *more)


def _ramp(examples: st.SearchStrategy[Any], *, joined: bool = True) -> Kind:
    return Kind(
        examples,
        lambda s: [(-1, s.start), (0, s.start), (s.duration, s.end), (s.duration * 2 + 1, s.end), (math.inf, s.end)],
        lambda s: [(0, s.duration), (s.duration, s.duration + 1e6)],
        joined,
    )


def _beta_ramp(cls: Callable[..., Any], *more: st.SearchStrategy[Any]) -> Kind:
    return Kind(
        _two_betas(cls, *more),
        lambda s: [(0, s.min_beta), (s.warmup_epochs, s.max_beta), (s.warmup_epochs + 7, s.max_beta)],
        lambda s: [(0, s.warmup_epochs), (s.warmup_epochs, s.warmup_epochs + 1e6)],
    )


def _restarts(schedule: WarmRestart) -> list[int]:
    found = [0]
    while len(found) < 5:
        found.append(schedule.restart_info(found[-1]).next)
    return found


def _restarted(schedule: WarmRestart) -> tuple[Points, Stretches]:
    """The base's own ends and stretches, moved behind each restart and cut off at the next one."""
    base, stretches = RAMPS[type(schedule.base).__name__], []
    exact: Points = []
    bounds = _restarts(schedule)
    for begin, end in itertools.pairwise(bounds):
        exact += [(begin + t, value) for t, value in base.exact(schedule.base) if t == 0]
        stretches += [(begin + a, min(begin + b, end)) for a, b in base.one_way(schedule.base) if begin + a < end]
    return exact, stretches


def _in_turn(schedule: Sequence) -> tuple[Points, Stretches]:
    exact: Points = []
    stretches: Stretches = []
    begin = 0.0
    for part, duration in schedule.parts:
        kind = RAMPS[type(part).__name__]
        exact += [(begin, value) for t, value in kind.exact(part) if t == 0]
        stretches += [(begin + a, begin + min(b, duration)) for a, b in kind.one_way(part) if a < duration]
        settled, begin = (begin + part.duration, part.end), begin + duration
    return [*exact, settled, (math.inf, settled[1])], stretches


RAMPS = {
    "Linear": _ramp(st.builds(Linear, ends, ends, lengths)),
    "Cosine": _ramp(st.builds(Cosine, ends, ends, lengths)),
    "Exponential": _ramp(
        st.builds(Exponential, positive, positive, lengths)
        | st.builds(lambda a, b, n: Exponential(-a, -b, n), positive, positive, lengths)
    ),
    "Saturating": _ramp(st.builds(Saturating, ends, ends, lengths, shapes)),
    "Polynomial": _ramp(st.builds(Polynomial, ends, ends, lengths, shapes)),
    "Sigmoid": _ramp(st.builds(Sigmoid, ends, ends, lengths, shapes)),
    # A root is endlessly steep where it meets 0, so that the last step of a float is no small one.
    "Competence": _ramp(st.builds(Competence, betas, betas, lengths, shapes), joined=False),
}
ramps = st.one_of(*(kind.examples for kind in RAMPS.values()))

KINDS = {
    **RAMPS,
    "Constant": Kind(st.builds(Constant, ends), lambda s: [(0, s.value), (1e9, s.value)], lambda s: [(0, 1e6)]),
    "Cyclical": Kind(
        st.builds(Cyclical, lengths, ends, ends, waves),
        lambda s: [(0, s.low), (s.period / 2, s.high), (s.period, s.low), (4 * s.period, s.low)],
        lambda s: [(0, s.period / 2), (s.period / 2, s.period), (s.period, s.period * 1.5)],
    ),
    "Milestones": Kind(
        st.builds(Milestones, st.dictionaries(st.integers(0, 100) | lengths, ends, min_size=1, max_size=6), ends),
        lambda s: [*([(0, s.initial)] if s.points[0][0] > 0 else []), *s.points, (1e9, s.points[-1][1])],
        lambda s: list(zip([0, *[t for t, _ in s.points]], [*[t for t, _ in s.points], 1e6], strict=True)),
        joined=False,
    ),
    "WarmRestart": Kind(
        st.builds(WarmRestart, ramps, st.floats(1, 100), st.floats(0.5, 2)),
        lambda s: _restarted(s)[0],
        lambda s: _restarted(s)[1],
        joined=False,
    ),
    "Sequence": Kind(
        st.builds(Sequence, st.lists(st.tuples(ramps, lengths), min_size=1, max_size=4)),
        lambda s: _in_turn(s)[0],
        lambda s: _in_turn(s)[1],
        joined=False,
    ),
    "ConstantBetaScheduler": Kind(
        st.builds(ConstantBetaScheduler, betas), lambda s: [(0, s.max_beta), (1e9, s.max_beta)], lambda s: [(0, 1e6)]
    ),
    "LinearBetaScheduler": _beta_ramp(LinearBetaScheduler),
    "CosineBetaScheduler": _beta_ramp(CosineBetaScheduler),
    "ExponentialBetaScheduler": _beta_ramp(ExponentialBetaScheduler, shapes),
    "CyclicalBetaScheduler": Kind(
        st.builds(
            lambda pair, length, wave: CyclicalBetaScheduler(length, pair[0], pair[1], wave),
            st.tuples(betas, betas).map(sorted), lengths, waves,
        ),
        lambda s: [(0, s.min_beta), (s.cycle_length / 2, s.max_beta), (s.cycle_length, s.min_beta)],
        lambda s: [(0, s.cycle_length / 2), (s.cycle_length / 2, s.cycle_length)],
    ),
    "WarmRestartBetaScheduler": Kind(
        st.builds(
            lambda pair, length, interval: WarmRestartBetaScheduler(
                "linear", {"min_beta": pair[0], "max_beta": pair[1], "warmup_epochs": length}, interval, 1.5
            ),
            st.tuples(betas, betas).map(sorted), lengths, st.floats(1, 100),
        ),
        lambda s: [(t, s.base_scheduler_kwargs["min_beta"]) for t in _restarts(s.curve)],
        lambda s: list(zip(_restarts(s.curve), _restarts(s.curve)[1:], strict=False)),
        joined=False,
    ),
}  # fmt: skip


def slack(schedule: Schedule) -> float:
    """What rounding may do to a value."""
    low, high = schedule.bounds
    return 1e-9 * max(1.0, abs(low), abs(high))


every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))


def falsified(check: Callable[..., None], *examples: st.SearchStrategy[Any]) -> None:
    """Look for an example that the check doesn't hold for."""
    given(*examples)(check)()


@every_kind
def test_within_bounds(kind: Kind) -> None:
    def check(schedule: Schedule, t: float) -> None:
        low, high = schedule.bounds
        assert low - slack(schedule) <= schedule(t) <= high + slack(schedule)

    falsified(check, kind.examples, times)


@every_kind
def test_exact_ends(kind: Kind) -> None:
    def check(schedule: Schedule) -> None:
        points = kind.exact(schedule)
        assert [(t, schedule(t)) for t, _ in points] == points

    falsified(check, kind.examples)


@every_kind
def test_goes_one_way_within_a_stretch(kind: Kind) -> None:
    def check(schedule: Schedule, shares: list[float]) -> None:
        for begin, end in kind.one_way(schedule):
            inside = [t for t in (begin + share * (end - begin) for share in sorted(shares)) if t < end]
            values = [schedule(t) for t in inside]
            moves = [later - earlier for earlier, later in itertools.pairwise(values)]
            assert not (min(moves, default=0.0) < -slack(schedule) and max(moves, default=0.0) > slack(schedule))

    falsified(check, kind.examples, st.lists(st.floats(0, 1), min_size=3, max_size=8))


@every_kind
def test_pure_in_any_order(kind: Kind) -> None:
    def check(schedule: Schedule, moments: list[float], order: random.Random) -> None:
        fresh = copy.deepcopy(schedule)
        values = {t: schedule(t) for t in moments}
        order.shuffle(moments)
        assert {t: fresh(t) for t in moments} == values
        assert fresh == schedule
        assert repr(fresh) == repr(schedule)

    falsified(check, kind.examples, st.lists(times, min_size=2, max_size=8), st.randoms())


@every_kind
def test_parts_join_without_a_gap(kind: Kind) -> None:
    def check(schedule: Schedule) -> None:
        stretches = kind.one_way(schedule)
        assert stretches[0][0] == 0
        for (_, end), (begin, _) in itertools.pairwise(stretches):
            # Adding a part's start and its length rounds.
            assert begin == pytest.approx(end, rel=1e-12)
            if kind.joined:
                before = schedule(math.nextafter(end, -math.inf))
                assert schedule(begin) == pytest.approx(before, abs=slack(schedule) * 100)
        if schedule.settles_at < math.inf:
            settled = schedule(schedule.settles_at)
            assert [schedule(schedule.settles_at + later) for later in (0.5, 17, 1e6)] == [settled] * 3
            assert schedule.next_event(schedule.settles_at) == math.inf
        t, events = 0.0, 0
        while t < math.inf and events < 20:
            following = schedule.next_event(t)
            assert following > t
            t, events = following, events + 1

    falsified(check, kind.examples)


@every_kind
def test_a_float_for_any_number(kind: Kind) -> None:
    def check(schedule: Schedule, t: float) -> None:
        assert {type(schedule(at)) for at in (t, int(t), bool(t), -t, t + 1e4)} == {float}

    falsified(check, kind.examples, times)


@every_kind
def test_from_schedule_to_yaml_and_back(kind: Kind) -> None:
    def check(schedule: Schedule, moments: list[float]) -> None:
        text = yaml.safe_dump({"x": as_settings(schedule)})
        (rule,) = read_rules(yaml.safe_load(text))
        again: Any = rule.source.build(Lengths("x", "epoch", Horizon()), None)  # type: ignore[union-attr, call-arg]
        at = [*moments, *(t for t, _ in kind.exact(schedule))]
        assert [again(t) for t in at] == [schedule(t) for t in at]
        assert again.bounds == schedule.bounds or isinstance(schedule, Milestones)
        assert pickle.loads(pickle.dumps(schedule)) == schedule

    falsified(check, kind.examples, st.lists(times, max_size=4))


def test_parts_of_a_config_begin_where_the_one_before_ended() -> None:
    strategies = st.sampled_from(["linear", "cosine", "saturating", "sigmoid"])
    part = st.fixed_dictionaries({"strategy": strategies, "end_value": ends, "duration": lengths})

    def check(start: float, parts: list[dict[str, Any]]) -> None:
        (rule,) = read_rules({"x": {"strategy": "sequence", "parts": parts}})
        curve: Any = rule.source.build(Lengths("x", "epoch", Horizon()), start)  # type: ignore[union-attr, call-arg]
        assert curve(0) == start
        begin = 0.0
        for one in parts[:-1]:
            begin += one["duration"]
            assert curve(begin) == pytest.approx(one["end_value"], abs=1e-3)
            assert curve(math.nextafter(begin, 0)) == pytest.approx(one["end_value"], abs=1e-3)

    falsified(check, ends, st.lists(part, min_size=2, max_size=4))


def test_what_can_be_hashed() -> None:
    assert len({Linear(0, 1, 2), Linear(0.0, 1.0, 2.0), Milestones({0: 1.0}), WarmRestart(Linear(0, 1, 2), 3)}) == 3


@pytest.mark.parametrize("schedule", [Linear(0, 1, 2), Cyclical(4, 0, 1), Sequence([(Constant(1), 2)])])
def test_frozen(schedule: Any) -> None:
    with pytest.raises(AttributeError):
        schedule.start = 3
