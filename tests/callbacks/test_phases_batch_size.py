"""A batch size under phases: one that begins within an epoch has its batch size with the next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.callbacks.test_batch_size import SAMPLES, Data, Sees
from tests.phased import by_step, linear, phase, told
from tests.scripted import stopper
from tests.tiny import trainer_for

SIZE = "datamodule.batch_size"
# The count of EarlyStopping rises after epoch 2.
LOSSES = [5.0, 4.0, 4.0, 3.0, 2.0, 1.0, 0.5]


class Sized(Sees):
    """Writes down the value of beta at each batch, too."""

    def __init__(self) -> None:
        super().__init__(losses=LOSSES)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen.append((self.current_epoch, batch_idx, self.beta))
        return super().training_step(batch, batch_idx)


def fit(folder: Path, phases: Any, *more: Callback, ckpt_path: Any = None, epochs: int = 5, **options: Any) -> Any:
    module, callback = Sized(), HyperparamAnnealingCallback(phases=phases)
    trainer = trainer_for(folder, callback, stopper(), *more, max_epochs=epochs, **options)
    trainer.fit(module, datamodule=Data(4, shuffle=False), ckpt_path=ckpt_path)
    return module, callback


def sizes(module: Sized) -> list[int]:
    """The batch size in each epoch; every sample is seen once."""
    assert module.saw_everything()
    found = []
    for batches in module.sizes.values():
        [size] = set(batches)
        assert len(batches) * size == SAMPLES
        found.append(size)
    return found


# 6 steps an epoch at a size of 4, 4 at 6, 3 at 8, 2 at 12.
ON_TIME = [phase("a", 2, set={SIZE: 4}), phase("b", duration=2, set={SIZE: 12}), phase("c", set={SIZE: 6})]
WITHIN = [phase("a", "8st"), phase("b", duration="6st", set={SIZE: 12}), phase("c", set={SIZE: 6, "beta": 7.0})]
EVENT = [phase("a", {"trigger": "early_stopper_counter"}), phase("b", anneal={"beta": linear(0.0)}, set={SIZE: 8})]
RAMP = [phase("a", "8st"), phase("b", anneal={SIZE: linear(12.0, total_steps=2)})]


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (ON_TIME, [4, 4, 12, 12, 6]),
        # Step 8 is in epoch 1, step 14 the third of epoch 2, which has none: it is the first of epoch 3.
        (WITHIN, [4, 4, 12, 6, 6]),
        (EVENT, [4, 4, 4, 8, 8]),
        # It begins in epoch 1, and its schedule with epoch 2: 4, 8, 12.
        (RAMP, [4, 4, 4, 8, 12]),
    ],
)
def test_sizes(tmp_path: Path, phases: Any, expected: list[int]) -> None:
    module, callback = fit(tmp_path, phases)
    assert sizes(module) == expected
    rows = [(c.epoch, c.old, c.new) for c in callback.changes if c.name == SIZE]
    assert rows == [(e, expected[e - 1], size) for e, size in enumerate(expected) if e and size != expected[e - 1]]


@pytest.mark.parametrize("phases", [ON_TIME, WITHIN, EVENT, RAMP], ids=["on time", "within", "event", "ramp"])
@pytest.mark.parametrize("when", [{"save_on_train_epoch_end": True}, {"every_n_train_steps": 1}], ids=["epoch", "step"])
def test_from_every_checkpoint(tmp_path: Path, phases: Any, when: dict[str, Any]) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **when)
    whole, callback = fit(tmp_path, phases, saver, enable_checkpointing=True)
    done = 0
    for checkpoint in tmp_path.glob("*.ckpt"):
        resumed, again = fit(tmp_path, phases, ckpt_path=checkpoint)
        if not resumed.seen or (phases is EVENT and "every_n_train_steps" in when and resumed.seen[0][1] == 0):
            continue  # on an epoch's last batch, after which Lightning skips the validation
        done += 1
        assert resumed.seen == whole.seen[-len(resumed.seen) :], checkpoint.name
        # Lightning starts a plain loader at its beginning, with as many batches as are left.
        begun = resumed.seen[0][0]
        for epoch, batches in resumed.sizes.items():
            assert set(batches) == set(whole.sizes[epoch]), (checkpoint.name, epoch)
            assert epoch == begun or batches == whole.sizes[epoch]
        assert (again.phase, again.values) == (callback.phase, callback.values)
    assert done > 3


def test_lengths_count_the_steps_that_an_epoch_has_at_first(tmp_path: Path) -> None:
    """The phases begin at a size of 12: 2 steps an epoch."""
    phases = [
        phase("a", 2, set={SIZE: 12}, anneal={"beta": by_step(4.0)}),
        phase("b", anneal={"beta": by_step(9.0, total_steps="2ep")}),
    ]
    module, _ = fit(tmp_path, phases)
    # The last of 4 steps trains at 4; then 2 epochs are 4 steps.
    assert [beta for _, _, beta in module.seen] == [1.0, 2.0, 3.0, 4.0, 4.0, 5.25, 6.5, 7.75, 9.0, 9.0]


def test_a_size_that_leaves_no_batch_is_told_of_before(tmp_path: Path) -> None:
    phases = [phase("a", 2), phase("b", set={SIZE: 0})]
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, phases)
    assert str(error.value) == f"{SIZE}: batch_size must be at least 1, and would go to 0"


def test_rows_of_turns(tmp_path: Path) -> None:
    _, callback = fit(tmp_path, WITHIN)
    assert told(callback) == [(1, 8, "a", "b", "step 8"), (3, 14, "b", "c", "step 14")]
