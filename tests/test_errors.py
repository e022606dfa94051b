"""The one error, and the help with names."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.checks import choice, count, flag, number
from lightning_anneal.errors import misspelling, quote, suggestion


def test_it_is_a_value_error_that_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(AnnealError("beta.total_steps", "must be positive, got 0")))
    assert isinstance(error, ValueError)
    assert (str(error), error.where) == ("beta.total_steps: must be positive, got 0", "beta.total_steps")


@pytest.mark.parametrize(
    ("where", "what", "expected"),
    [
        ("a\nb", "is\r\nwrong", "a b: is wrong"),
        ("m" * 200 + "n" * 300, "is wrong", "m" * 92 + "..." + "n" * 95 + ": is wrong"),
        ("b\x1b[2J\u202e", "got '\ud800'", r"b\x1b[2J\u202e: got '\ud800'"),
        ("key", "w" * 300, "key: " + "w" * 192 + "..."),
    ],
)
def test_one_line_of_at_most_200_characters(where: str, what: str, expected: str) -> None:
    assert str(AnnealError(where, what)) == expected
    assert len(expected) <= 200


@pytest.mark.parametrize(
    ("name", "known", "expected"),
    [
        ("cosin", ["linear", "cosine"], "; did you mean 'cosine'?"),
        ("COSINE", ["linear", "cosine"], "; did you mean 'cosine'?"),
        ("k1", ["kl"], "; did you mean 'kl'?"),
        ("xyz", ["linear", "cosine"], "; known: cosine, linear"),
        (None, ["None_", "b"], "; known: None_, b"),
        ("x", [], ""),
        ("x" * 10**6, ["a"], "; known: a"),
        ("x", [f"name{i}" for i in range(99)], "; known: name0, name1, name10, name11, name12, name13, name14, name15, "
         "name16, name17, name18, name19, name2, name20, name21, ..."),
    ],
)  # fmt: skip
def test_suggestion(name: object, known: list[str], expected: str) -> None:
    assert suggestion(name, known) == expected


class Loud:
    def __repr__(self) -> str:
        raise RuntimeError


def test_quote_takes_anything() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert [quote(value) for value in (deep, 10**5_000, Loud())] == ["a list", "a int", "a Loud"]


def test_a_misspelling_of_what_is_missing() -> None:
    known = {"strategy", "end_value"}
    assert misspelling("strategy", ["end_value", 3, "stratgy"], known) == "stratgy"
    # One that is nearer to another, one that is known, and none.
    assert misspelling("strategy", ["end_valu"], known) is None
    assert misspelling("strategy", ["end_value"], known) is None
    assert misspelling("strategy", [], known) is None


def test_quote_stays_on_one_short_line() -> None:
    assert quote("a\nb") == "'a\\nb'"
    assert len(quote("x" * 10**6)) == len(quote(list(range(10**4)))) == 60


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (number, "1" * 41, "k: must be a number, got '11111111111111111111111111111111111111111'"),
        (number, None, "k: must be a number, got None"),
        (number, "step", "k: must be a number, got 'step'"),
        (number, "5ep", "k: must be a number, got '5ep'; units are for lengths"),
        (number, 1 + 2j, "k: must be a number, got (1+2j)"),
        (count, 0, "k: must be positive, got 0"),
        (count, 2.5, "k: must be a whole number, got 2.5"),
        (flag, "yes", "k: must be true or false, got 'yes'"),
    ],
)
def test_checks(read: object, value: object, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        read("k", value)
    assert str(error.value) == message


def test_what_checks_read() -> None:
    assert (number("k", " 2.5 "), count("k", "3"), flag("k", True), choice("k", "Epoch", ["epoch"])) == (
        2.5,
        3,
        True,
        "epoch",
    )
