"""Rank 0 decides, every rank applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from lightning_anneal.errors import AnnealError

T = TypeVar("T")


class Strategy(Protocol):
    """The one thing that is needed of a Lightning strategy."""

    def broadcast(self, obj: T, src: int = 0) -> T:
        """The object of rank `src`, on every rank."""
        ...


def agree(strategy: Strategy, decide: Callable[[], T]) -> T:
    """What rank 0 decides, on every rank, by exactly one broadcast.

    Every rank calls `decide`, which may itself need all of them (finding the length of a data loader does). The
    broadcast comes whatever happened in there: a rank that left it out would hang all the others.

    Args:
        strategy: ``trainer.strategy``.
        decide: Gives plain Python values.

    Raises:
        AnnealError: On every rank, if `decide` raised it on rank 0; else on the ranks where it did.
    """
    own: tuple[str, str] | None = None
    decision: T | None = None
    try:
        decision = decide()
    except AnnealError as error:
        own = (error.where, error.what)
    refused, agreed = strategy.broadcast((own, decision))
    if refused := refused or own:
        raise AnnealError(*refused)
    return agreed  # type: ignore[return-value]
