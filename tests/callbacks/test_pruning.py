"""Hooks that do nothing are out of Lightning's way, and those that do something are not."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Callback

from lightning_anneal import BetaScheduleCallback, HyperparamAnnealingCallback
from lightning_anneal.callbacks.pruning import PER_BATCH_HOOKS, prune_unused_hooks
from tests.tiny import Tiny, trainer_for

RULES = {"beta": {"strategy": "linear", "end_value": 3.0, "total_steps": 3}}


class Subclass(HyperparamAnnealingCallback):
    """A user's own, with hooks of its own."""

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        pl_module.backwards = getattr(pl_module, "backwards", 0) + 1


class Unpruned(HyperparamAnnealingCallback):
    prune_hooks = False


@pytest.mark.parametrize(
    ("make", "kept"),
    [
        (lambda: HyperparamAnnealingCallback(RULES), {"on_train_batch_start"}),
        (lambda: BetaScheduleCallback("constant", {"max_beta": 1}), {"on_train_batch_start", "on_train_batch_end"}),
        (lambda: Subclass(RULES), {"on_train_batch_start", "on_after_backward"}),
        (lambda: Unpruned(RULES), set(PER_BATCH_HOOKS)),
    ],
)
def test_what_is_left(make: Any, kept: set[str]) -> None:
    callback = make()
    assert {hook for hook in PER_BATCH_HOOKS if callable(getattr(callback, hook))} == kept
    assert all(callable(getattr(type(callback), hook)) for hook in PER_BATCH_HOOKS)


def test_a_fit_is_the_same_with_and_without(tmp_path: Any) -> None:
    seen = []
    for cls in (HyperparamAnnealingCallback, Unpruned, Subclass):
        module = Tiny()
        trainer_for(tmp_path, cls(RULES)).fit(module)
        seen.append(module.values)
    assert seen[0] == seen[1] == seen[2]
    assert module.backwards == 32


def test_the_hooks_are_lightnings() -> None:
    assert all(hasattr(Callback, hook) for hook in PER_BATCH_HOOKS)


def test_lightning_skips_what_is_not_callable(tmp_path: Any) -> None:
    # What pruning rests on; a Lightning that calls such a hook all the same fails here.
    callback = Callback()
    prune_unused_hooks(callback)
    assert callback.on_train_batch_start is None
    module = Tiny()
    trainer_for(tmp_path, callback, max_epochs=1).fit(module)
    assert len(module.seen) == 8
