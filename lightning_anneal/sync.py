"""Rank 0 decides, every rank applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from lightning_anneal.errors import AnnealError, quote

T = TypeVar("T")


class Strategy(Protocol):
    """The two things that are needed of a Lightning strategy."""

    def broadcast(self, obj: T, src: int = 0) -> T:
        """The object of rank `src`, on every rank."""
        ...

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        """Whether all ranks (or any) say yes."""
        ...


def agree(strategy: Strategy, decide: Callable[[], T]) -> T:
    """What rank 0 decides, on every rank, by exactly one broadcast.

    Every rank calls `decide`, which may itself need all of them (finding the length of a data loader does). The
    broadcast comes whatever happened in there: a rank that left it out would hang all the others.

    Args:
        strategy: ``trainer.strategy``.
        decide: Gives plain Python values.

    Raises:
        AnnealError: On every rank, if `decide` raised anything on rank 0, which itself raises what it was; else on the
            ranks where it did.
    """
    failed: Exception | None = None
    decision: T | None = None
    try:
        decision = decide()
    except Exception as error:
        failed = error
    refused, agreed = strategy.broadcast((_told(failed), decision))
    _raise(failed, refused)
    return agreed  # type: ignore[return-value]


def all_well(strategy: Strategy, act: Callable[[], T]) -> T:
    """Do something on every rank, and raise an error on any of them as the same line on all.

    One small collective tells whether all ranks are well; the line itself is sent only where one is not.

    Raises:
        AnnealError: On every rank, if `act` raised anything on any; a rank where it did raises what it was.
    """
    failed: Exception | None = None
    result: T | None = None
    try:
        result = act()
    except Exception as error:
        failed = error
    if not strategy.reduce_boolean_decision(failed is None, all=True):
        for rank in range(getattr(strategy, "world_size", 1)):  # pragma: no branch - one of them has something to tell
            refused = strategy.broadcast(_told(failed, rank), src=rank)
            if refused is not None:
                _raise(failed, refused)
    return result  # type: ignore[return-value]


def _told(error: Exception | None, rank: int = 0) -> tuple[str, str] | None:
    if error is None:
        return None
    if isinstance(error, AnnealError):
        return error.where, error.what
    return f"rank {rank}", f"{type(error).__name__}: {quote(str(error))}"


def _raise(own: Exception | None, refused: tuple[str, str] | None) -> None:
    """Raise what all ranks raise, or what happened here if that is it."""
    if refused is not None and (own is None or (isinstance(own, AnnealError) and _told(own) != refused)):
        raise AnnealError(*refused)
    if own is not None:
        raise own
