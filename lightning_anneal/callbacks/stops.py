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

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from lightning_anneal.changes import log
from lightning_anneal.reactions import Reactions
from lightning_anneal.sync import agree

_HOOKS = ("on_train_epoch_end", "on_validation_end")


class StopTaker:
    """Wraps stoppers, until `release`."""

    def __init__(self) -> None:
        self._wrapped: list[EarlyStopping] = []

    def wrap(self, stoppers: dict[str, EarlyStopping], reactions: Reactions) -> None:
        """Take back the stops of these stoppers (by rule) while a rule that extends training has values left."""
        self.release()
        names: dict[int, list[str]] = {}
        for name, stopper in stoppers.items():
            names.setdefault(id(stopper), []).append(name)
            if reactions.by_name[name].extend_training and stopper not in self._wrapped:
                self._wrapped.append(stopper)
        for stopper in self._wrapped:
            for hook in _HOOKS:
                setattr(stopper, hook, _wrapper(stopper, getattr(stopper, hook), names[id(stopper)], reactions))

    def release(self) -> None:
        """Give the stoppers their own hooks back."""
        for stopper in self._wrapped:
            for hook in _HOOKS:
                vars(stopper).pop(hook, None)
        self._wrapped = []


def _wrapper(
    stopper: EarlyStopping, check: Callable[..., None], names: list[str], reactions: Reactions
) -> Callable[[Trainer, LightningModule], None]:
    extending = [name for name in names if reactions.by_name[name].extend_training]

    def hook(trainer: Trainer, pl_module: LightningModule) -> None:
        asked_before, count_before = trainer.should_stop, stopper.wait_count
        check(trainer, pl_module)
        if trainer.sanity_checking or (not trainer.training and not trainer.validating):
            return

        def decide() -> int | None:
            # A stop by NaN or by a threshold leaves the count as it was.
            by_patience = stopper.wait_count > count_before and stopper.wait_count >= stopper.patience
            asked_now = trainer.should_stop and not asked_before
            return stopper.wait_count if asked_now and by_patience and any(map(reactions.has_next, extending)) else None

        count = agree(trainer.strategy, decide)
        if count is not None:
            _take_back(trainer, stopper)
            for name in names:
                reactions.note_stop(name, count)

    return hook


def _take_back(trainer: Trainer, stopper: EarlyStopping) -> None:
    fresh: dict[str, Any] = {"wait_count": 0, "stopped_epoch": 0, "stopping_reason_message": None}
    reason = getattr(stopper, "stopping_reason", None)
    if reason is not None:
        fresh["stopping_reason"] = type(reason).NOT_STOPPED
    for key, value in fresh.items():
        if hasattr(stopper, key):  # the reason came with Lightning 2.6
            setattr(stopper, key, value)
    trainer.should_stop = False
    if trainer.is_global_zero:
        log.info("the stop that EarlyStopping(%r) asked for is taken back: values are left", stopper.monitor)
