"""``extend_training``: takes back the stop that an EarlyStopping asks for, while there are values left to try.

An ordinary callback can't veto a stop: Lightning has EarlyStopping check after all of them. So the stopper's own two
hooks are wrapped on the instance for the time of a fit. There it is plain whether the stop was asked for already
(by ``max_time``, another stopper, a line of the user's), and whether this check is one that the patience ran out in.
A subclass of EarlyStopping behind it in the list of callbacks would see neither, and would stand in
``trainer.early_stopping_callbacks``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lightning_anneal.changes import log
from lightning_anneal.lightnings import EarlyStopping, Trainer, twins
from lightning_anneal.reactions import Reactions
from lightning_anneal.sync import agree

_HOOKS = ("on_train_epoch_end", "on_validation_end")
_OTHER_HOOKS = ("on_train_batch_end", "on_validation_epoch_end")
"""Where a subclass of EarlyStopping may check besides."""

Note = Callable[[Trainer, EarlyStopping, int], None]


class StopTaker:
    """Wraps stoppers, until `release`."""

    def __init__(self) -> None:
        self._wrapped: list[tuple[EarlyStopping, str, Any]] = []

    def wrap(self, stoppers: dict[str, EarlyStopping], reactions: Reactions, note: Note) -> None:
        """Take back the stops of these stoppers while a rule that extends training has values left.

        Args:
            stoppers: By rule, the stopper it watches.
            reactions: How far the rules have come.
            note: Called with the trainer, a stopper and its count when a stop is taken back.
        """
        self.release()
        extending: dict[EarlyStopping, list[str]] = {}
        for name, stopper in stoppers.items():
            if reactions.by_name[name].extend_training:
                extending.setdefault(stopper, []).append(name)
        for stopper, names in extending.items():
            for hook in (*_HOOKS, *(hook for hook in _OTHER_HOOKS if _overrides(stopper, hook))):
                self._wrapped.append((stopper, hook, vars(stopper).get(hook)))
                setattr(stopper, hook, _wrapper(stopper, getattr(stopper, hook), names, reactions, note))

    def release(self) -> None:
        """Give the stoppers their own hooks back."""
        for stopper, hook, own in reversed(self._wrapped):
            if own is None:
                vars(stopper).pop(hook, None)
            else:
                setattr(stopper, hook, own)
        self._wrapped = []


def _overrides(stopper: EarlyStopping, hook: str) -> bool:
    return all(getattr(type(stopper), hook) is not getattr(base, hook) for base in twins("Callback"))


def _wrapper(
    stopper: EarlyStopping, check: Callable[..., None], names: list[str], reactions: Reactions, note: Note
) -> Callable[..., None]:
    def hook(trainer: Trainer, *args: Any) -> None:
        asked_before, count_before = trainer.should_stop, stopper.wait_count
        check(trainer, *args)
        if trainer.sanity_checking or (not trainer.training and not trainer.validating):
            return

        def decide() -> int | None:
            # A stop by NaN or by a threshold leaves the count as it was.
            by_patience = stopper.wait_count > count_before and stopper.wait_count >= stopper.patience
            asked_now = trainer.should_stop and not asked_before
            return stopper.wait_count if asked_now and by_patience and any(map(reactions.has_next, names)) else None

        count = agree(trainer.strategy, decide)
        if count is not None:
            _take_back(trainer, stopper)
            note(trainer, stopper, count)

    return hook


def _take_back(trainer: Trainer, stopper: EarlyStopping) -> None:
    fresh: dict[str, Any] = {"wait_count": 0, "stopped_epoch": 0}
    reason = getattr(stopper, "stopping_reason", None)
    if reason is not None:  # pragma: no branch - it came with Lightning 2.6
        fresh |= {"stopping_reason": type(reason).NOT_STOPPED, "stopping_reason_message": None}
    for key, value in fresh.items():
        setattr(stopper, key, value)
    trainer.should_stop = False
    if trainer.is_global_zero:
        log.info("the stop that EarlyStopping(%r) asked for is taken back: values are left", stopper.monitor)
