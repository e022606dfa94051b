"""Reactions: cooldown, and what a checkpoint keeps of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.triggers.events import Drop, Rise, Stall, Threshold
from lightning_anneal.triggers.reaction import Progress, Reaction
from lightning_anneal.triggers.responses import NextOf
from lightning_anneal.triggers.signals import Reading, Snapshot

VALUES = NextOf((1.0, 2.0))


def reaction(trigger: Any, cooldown: int = 0, source: str = "metric_below") -> Reaction:
    return Reaction(source, trigger, VALUES, cooldown)


def firings(reaction: Reaction, readings: list[float], progress: Progress | None = None) -> list[int]:
    """How often it has fired after each poll."""
    progress, counts = progress or Progress(), []
    for value in readings:
        progress = reaction.after(progress, Reading(float(value)))
        counts.append(progress.firings)
    return counts


@pytest.mark.parametrize(
    ("cooldown", "readings", "counts"),
    [
        (0, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
        (1, [1, 2, 3, 4, 5, 6], [1, 1, 2, 2, 3, 3]),
        (2, [1, 2, 3, 4, 5, 6], [1, 1, 1, 2, 2, 2]),
        (9, [1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1]),
        # What rises while it rests is not made up for.
        (2, [1, 5, 5, 5, 6], [1, 1, 1, 1, 2]),
        # Quiet polls count as rest, too.
        (2, [1, 1, 1, 2], [1, 1, 1, 2]),
        (2, [1, 0, 1, 2, 3, 4, 5], [1, 1, 1, 2, 2, 2, 3]),
        # Before the first firing there is nothing to rest from.
        (2, [0, 0, 1, 2], [0, 0, 1, 1]),
    ],
)
def test_cooldown(cooldown: int, readings: list[float], counts: list[int]) -> None:
    assert firings(reaction(Rise(), cooldown), readings) == counts


def test_a_stall_is_counted_while_it_rests() -> None:
    # Bad polls 1 to 8, a stall at each second of them; the three polls after a firing can't fire.
    assert firings(reaction(Stall(2, False, 0.0), cooldown=3), [5] * 9) == [0, 0, 1, 1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("trigger", "value"), [(Rise(), 1.0), (Threshold(0.5, above=True), 1.0), (Threshold(0.5, above=False), 0.0)]
)
def test_before_the_first_poll_nothing_has_happened(trigger: Any, value: float) -> None:
    assert firings(reaction(trigger), [value, value]) == [1, 1]
    # Where it was so at the last poll already, it is no news.
    assert firings(reaction(trigger), [value], Progress(seen=Snapshot(level=1.0))) == [0]


def test_rates_have_no_first_drop() -> None:
    progress = reaction(Drop()).after(Progress(), Reading(rates=(0.1,)))
    assert progress == Progress(seen=Snapshot(rates=(0.1,)))
    assert reaction(Drop()).after(progress, Reading(rates=(0.01,))).firings == 1


def test_a_poll_takes_note_of_a_count_that_is_gone() -> None:
    after = reaction(Rise()).after(Progress(peak=3), Reading(0.0, earlier=Reading(3.0)))
    assert (after.firings, after.peak, after.seen) == (1, None, Snapshot(0.0))


PROGRESS = [
    (Progress(), {"firings": 0, "applied": 0, "rest": 0, "peak": None, "seen": None}),
    (
        Progress(3, 2, 4, 2, Snapshot(2.0, 0.5, 4, (0.1, 0.01))),
        {
            "firings": 3,
            "applied": 2,
            "rest": 2,
            "peak": 4,
            "seen": {"level": 2.0, "best": 0.5, "bad": 4, "rates": [0.1, 0.01]},
        },
    ),
    (
        Progress(1, 0, None, 0, Snapshot()),
        {
            "firings": 1,
            "applied": 0,
            "rest": 0,
            "peak": None,
            "seen": {"level": 0.0, "best": None, "bad": 0, "rates": []},
        },
    ),
]


@pytest.mark.parametrize(("progress", "plain"), PROGRESS)
def test_plain_values_and_back(progress: Progress, plain: dict[str, Any]) -> None:
    assert progress.plain() == plain
    # The way through JSON lets nothing pass that isn't plain, and tuples don't come back from it.
    assert json.loads(json.dumps(progress.plain())) == plain
    assert Progress.of("checkpoint.beta", json.loads(json.dumps(plain))) == progress


def types_in(value: Any) -> set[type]:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {type(value)}.union(*map(types_in, inside))


@pytest.mark.parametrize("trigger", [Rise(), Threshold(0.5, True), Stall(1, False, 0.0), Drop()])
def test_only_plain_types_after_polls(trigger: Any) -> None:
    progress = Progress()
    for value in (0.0, 1.0, 2.0, float("nan"), float("inf"), 1.0):
        progress = reaction(trigger, cooldown=2).after(progress, Reading(value))
        plain = progress.plain()
        assert types_in(plain) <= {dict, list, int, float, type(None)}
        assert Progress.of("checkpoint.beta", plain) == progress
    rated = reaction(Drop()).after(Progress(), Reading(rates=(0.1, 0.2)))
    assert types_in(rated.plain()) == {dict, list, int, float, type(None)}


def test_going_on_from_plain_values_is_going_on() -> None:
    readings = [1, 2, 0, 3, 4, 4, 5]
    resting = reaction(Rise(), cooldown=1)
    whole = firings(resting, readings)
    assert whole == [1, 1, 1, 2, 2, 2, 3]
    for cut in range(len(readings)):
        progress = Progress()
        for value in readings[:cut]:
            progress = resting.after(progress, Reading(float(value)))
        resumed = Progress.of("checkpoint.beta", progress.plain())
        assert firings(resting, readings[cut:], resumed) == whole[cut:]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"level": "high"}, "checkpoint.beta.level: must be a number, got 'high'"),
        ({"best": []}, "checkpoint.beta.best: must be a number, got []"),
        ({"rates": [0.1, None]}, "checkpoint.beta.rates: must be a number, got None"),
    ],
)
def test_a_damaged_snapshot(wrong: dict[str, Any], message: str) -> None:
    plain = {"firings": 0, "applied": 0, "rest": 0, "peak": None, "seen": {**Snapshot().plain(), **wrong}}
    with pytest.raises(AnnealError) as error:
        Progress.of("checkpoint.beta", plain)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("source", "trigger", "reading", "why"),
    [
        ("early_stopper_counter", Rise(counts=True), Reading(3.0), "early_stopper_counter 2 -> 3"),
        ("early_stopper_triggered", Rise(), Reading(3.0), "early_stopper_triggered"),
        ("metric_below", Threshold(0.5, False), Reading(0.25, note="val_loss"), "metric_below val_loss 0.25 < 0.5"),
        ("lr_scheduler_triggered", Drop(), Reading(rates=(0.1,)), "lr_scheduler_triggered 0.2 -> 0.1"),
    ],
)
def test_why(source: str, trigger: Any, reading: Reading, why: str) -> None:
    progress = Progress(seen=Snapshot(level=2.0, rates=(0.2,)))
    assert reaction(trigger, source=source).why(progress, reading) == why


@pytest.mark.parametrize(
    ("source", "watches"),
    [
        ("early_stopper_counter", "stopper"),
        ("early_stopper_triggered", "stopper"),
        ("lr_scheduler_triggered", "lr"),
        ("metric_below", "metric"),
        ("metric_plateau", "metric"),
    ],
)
def test_what_is_watched(source: str, watches: str) -> None:
    assert reaction(Rise(), source=source).watches == watches
