"""One broadcast, whatever happens."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.sync import agree, all_well


class Rank:
    """A strategy on which rank 0 has broadcast something."""

    def __init__(self, sent: Any = None) -> None:
        self.sent = sent
        self.calls: list[Any] = []

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        self.calls.append(obj)
        return obj if self.sent is None else self.sent


def fail() -> dict[str, int]:
    raise AnnealError("beta", "is wrong")


def test_rank_0_decides() -> None:
    assert agree(Rank((None, {"start": 0.1})), lambda: {"start": 0.2}) == {"start": 0.1}


@pytest.mark.parametrize(
    ("rank", "decide"),
    [
        (Rank(), fail),
        (Rank((("beta", "is wrong"), None)), lambda: {"start": 1}),
        (Rank((None, {"start": 1})), fail),
    ],
    ids=["on rank 0", "told by rank 0", "on another rank only"],
)
def test_an_error_comes_after_the_broadcast(rank: Rank, decide: Any) -> None:
    with pytest.raises(AnnealError, match=r"^beta: is wrong$"):
        agree(rank, decide)
    assert len(rank.calls) == 1


class Fails:
    """A strategy of two ranks on one of which something went wrong."""

    world_size = 2

    def __init__(self, *told: Any) -> None:
        self.told = told

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        return False

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        return self.told[src] if self.told else obj


def divide() -> float:
    return 1 / 0


def test_an_error_of_any_kind_is_told_to_the_other_ranks() -> None:
    with pytest.raises(ZeroDivisionError, match=r"^division by zero$"):
        all_well(Fails(), divide)
    with pytest.raises(AnnealError, match=r"^rank 1: ZeroDivisionError: 'division by zero'$"):
        all_well(Fails(None, ("rank 1", "ZeroDivisionError: 'division by zero'")), lambda: 1)
