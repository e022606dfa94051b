"""Lengths and their units."""

from __future__ import annotations

import pytest

from lightning_anneal.clock import Horizon, Length, Lengths
from lightning_anneal.config import read_rules
from lightning_anneal.errors import AnnealError

RUN = Horizon(max_epochs=20, steps_per_epoch=lambda: 8)


@pytest.mark.parametrize(
    ("length", "interval", "expected"),
    [
        (10, "epoch", 10),
        ("10", "step", 10),
        ("10ep", "epoch", 10),
        ("10ep", "step", 80),
        ("500st", "step", 500),
        ("20st", "epoch", 2.5),
        ("30%", "epoch", 6),
        ("30%", "step", 48),
        ("100%", "epoch", 20),
        (" 2.5 ep ", "epoch", 2.5),
        ("1e2st", "step", 100),
        (None, "epoch", 19),
        (None, "step", 159),
    ],
)
def test_units(length: object, interval: str, expected: float) -> None:
    parsed = None if length is None else Length.parse("x", length)
    assert Lengths("x", interval, RUN)("total_steps", parsed) == expected


@pytest.mark.parametrize(
    ("horizon", "interval", "expected"),
    [
        (Horizon(max_epochs=10), "epoch", 10),
        (Horizon(max_steps=100), "step", 100),
        (Horizon(max_steps=100, steps_per_epoch=lambda: 8), "epoch", 12.5),
        (Horizon(max_epochs=10, max_steps=20, steps_per_epoch=lambda: 8), "epoch", 2.5),
        (Horizon(max_epochs=2, max_steps=20, steps_per_epoch=lambda: 8), "step", 16),
        (Horizon(), "epoch", None),
        (Horizon(max_epochs=10), "step", None),
        (Horizon(max_epochs=10, max_steps=20), "epoch", None),
    ],
)
def test_length_of_the_run(horizon: Horizon, interval: str, expected: float | None) -> None:
    assert horizon.run(interval) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (0, "x: must be positive, got 0"),
        ("0%", "x: must be positive, got '0'"),
        (-3, "x: must be positive, got -3"),
        ("10 epochs", "x: must be a number, '10ep', '500st' or '30%', got '10 epochs'"),
        ("1.2.3", "x: must be a number, got '1.2.3'"),
        (float("nan"), "x: must be a finite number, got nan"),
        (True, "x: must be a number, got True"),
        ([3], "x: must be a number, got [3]"),
        ("9" * 50, f"x: must be a number, '10ep', '500st' or '30%', got '{'9' * 50}'"),
    ],
)
def test_no_length(value: object, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        Length.parse("x", value)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("length", "interval", "message"),
    [
        (
            "30%",
            "epoch",
            "b.total_steps: '30%' needs the length of the run, which is not known; give a number of epochs",
        ),
        (
            "3ep",
            "step",
            "b.total_steps: '3ep' needs the number of steps in an epoch, which is not known; give a number of steps",
        ),
        (
            None,
            "step",
            "b.total_steps: leaving it out needs the length of the run, which is not known; give a number of steps",
        ),
    ],
)
def test_unknown_length(length: str | None, interval: str, message: str) -> None:
    parsed = None if length is None else Length.parse("x", length)
    with pytest.raises(AnnealError) as error:
        Lengths("b", interval, Horizon())("total_steps", parsed)
    assert str(error.value) == message


def test_what_was_found_stays_in_a_longer_run() -> None:
    first = Lengths("b", "epoch", Horizon(max_epochs=10))
    assert first("total_steps", Length(50, "%")) == 5
    later = Lengths("b", "epoch", Horizon(max_epochs=100), dict(first.found))
    assert later("total_steps", Length(50, "%")) == 5


def test_a_number_in_the_config_is_not_kept() -> None:
    lengths = Lengths("b", "epoch", Horizon(max_epochs=10))
    assert lengths("total_steps", Length(7)) == 7
    assert lengths.found == {}


def test_the_loader_is_asked_for_only_when_needed() -> None:
    def explode() -> float:
        raise AssertionError("asked")

    lengths = Lengths("b", "epoch", Horizon(max_epochs=10, steps_per_epoch=explode))
    assert lengths("total_steps", Length(50, "%")) == 5
    with pytest.raises(AssertionError, match="asked"):
        lengths("other", Length(5, "st"))


def test_a_run_of_one_epoch_has_a_length_too() -> None:
    assert Lengths("b", "epoch", Horizon(max_epochs=1))("total_steps", None) == 1


def test_two_lengths_that_differ_far_behind_the_comma_are_two() -> None:
    assert [str(Length(10)), str(Length(0.5, "%")), str(Length(1e6, "ep"))] == ["10", "0.5%", "1e+06ep"]
    assert [str(Length(1234567, "ep")), str(Length(1234568, "ep"))] == ["1234567ep", "1234568ep"]
    points = {"strategy": "milestones", "schedule": {"1234567ep": 1.0, "1234568ep": 2.0}, "interval": "step"}
    (rule,) = read_rules({"x": points})
    lengths = Lengths("x", "step", Horizon(steps_per_epoch=lambda: 2.0))
    assert rule.source.build(lengths, 0.0).points == ((2469134.0, 1.0), (2469136.0, 2.0))
