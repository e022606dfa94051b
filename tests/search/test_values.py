"""Values as a config can hold them."""

from __future__ import annotations

from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pytest
import torch

from lightning_anneal import AnnealError
from lightning_anneal.search.values import plain_value


class Name(str, Enum):
    """Texts with names."""

    ADAM = "adamw"


class Size(IntEnum):
    """Numbers with names."""

    LARGE = 512


class Text(str):
    """A text of somebody's own."""


class Rate(float):
    """A number of somebody's own."""


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (PurePosixPath("a/b"), "a/b"),
        ((1, range(2)), [1, [0, 1]]),
        ({Name.ADAM: (1,)}, {"adamw": [1]}),
        (np.float64(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        (torch.tensor(3), 3),
        (Name.ADAM, "adamw"),
        (Size.LARGE, 512),
        (Text("a"), "a"),
        (Rate(0.1), 0.1),
    ],
)
def test_what_becomes_of_a_value(value: Any, expected: Any) -> None:
    found = plain_value("x", value)
    assert (found, type(found)) == (expected, type(expected))


def test_keys_are_plain_too() -> None:
    assert [type(key) for key in plain_value("x", {Name.ADAM: 1, Size.LARGE: 2})] == [str, int]


def test_what_no_config_can_hold() -> None:
    with pytest.raises(AnnealError) as error:
        plain_value("x", {"a": [1j]})
    assert str(error.value) == "x: can't stand in a config: 1j; write a number, a text, a list or a mapping"
