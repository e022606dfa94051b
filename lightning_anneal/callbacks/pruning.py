"""Takes hooks that do nothing out of Lightning's way."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from lightning_anneal.lightnings import Callback

PER_BATCH_HOOKS = (
    "on_train_batch_start",
    "on_train_batch_end",
    "on_before_zero_grad",
    "on_before_backward",
    "on_after_backward",
    "on_before_optimizer_step",
    "on_validation_batch_start",
    "on_validation_batch_end",
    "on_test_batch_start",
    "on_test_batch_end",
    "on_predict_batch_start",
    "on_predict_batch_end",
)


def prune_unused_hooks(callback: Callback, idle: Collection[Callable[..., Any]] = ()) -> None:
    """Set the per-batch hooks that the callback's class doesn't override to ``None`` on this instance.

    Args:
        callback: The callback.
        idle: Hooks that this very callback has no use for; a subclass's override is none of them.

    Lightning opens a profiler context around every hook of every callback, overridden or not, unless the attribute
    isn't callable: six of them in a training step, which cost more than annealing does.
    """
    for hook in PER_BATCH_HOOKS:
        if getattr(type(callback), hook) in (getattr(Callback, hook), *idle):
            setattr(callback, hook, None)
