"""Gated schedules in real fits: whose clock they go by, by epoch and by step, and after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_anneal import HyperparamAnnealingCallback, Linear
from tests.preview.runs import Watched, fitted
from tests.tiny import trainer_for

pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")

# A schedule that gives the time on its clock, which runs below 2.5; epochs of two steps.
CLOCK = {"strategy": "linear", "start_value": 0, "end_value": 128, "total_steps": 128}
WHEN = {"monitor": "val_loss", "below": 2.5}
LOSSES = [3.0, 2.0, 2.0, 3.0, 2.0, 2.0, 2.0, 2.0]


def gated(**more: Any) -> dict[str, Any]:
    return {"strategy": "gated", "schedule": CLOCK, "advance_when": WHEN, **more}


class ByEpoch(Watched):
    """The loss of an epoch is the same in a resumed run."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(self.losses[self.current_epoch]))


def run(folder: Path, losses: list[float], rules: dict[str, Any], *callbacks: Any, **options: Any) -> Watched:
    module = ByEpoch(dict.fromkeys(rules, 0.0), losses, batches=2)
    return fitted(folder, module, HyperparamAnnealingCallback(rules), *callbacks, max_epochs=len(losses), **options)


RULES = {
    "epoch": gated(),
    "third_epoch": gated(frequency=3),
    "step": gated(interval="step"),
    "second_step": gated(interval="step", frequency=2),
    "made_in_python": gated(schedule=Linear(0, 64, 64)),
}


def test_the_clock_runs_while_it_is_open(tmp_path: Path) -> None:
    module = run(tmp_path, LOSSES, RULES)
    # Closed in epochs 0, 1 and 4.
    assert module.epochs("epoch") == [0, 0, 1, 2, 2, 3, 4, 5]
    assert module.epochs("made_in_python") == [0, 0, 1, 2, 2, 3, 4, 5]
    assert module.steps("step") == [0, 0, 0, 0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 8, 9, 10]
    # Every third epoch, and every second step, of the clock's own.
    assert module.epochs("third_epoch") == [0, 0, 0, 0, 0, 3, 3, 3]
    assert module.steps("second_step") == [0, 0, 0, 0, 0, 2, 2, 4, 4, 4, 4, 6, 6, 8, 8, 10]


def test_a_closed_clock_moves_on_after_a_while(tmp_path: Path) -> None:
    rules = {"epoch": gated(max_wait=2), "step": gated(max_wait="1ep", interval="step"), "ever": gated()}
    module = run(tmp_path, [3.0] * 5, rules)
    assert module.epochs("epoch") == [0, 0, 1, 1, 2]
    assert module.steps("step") == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert module.epochs("ever") == [0] * 5


def test_validations_within_an_epoch(tmp_path: Path) -> None:
    rules = {"epoch": gated(), "step": gated(interval="step")}
    module = Watched(dict.fromkeys(rules, 0.0), [3.0, 2.0, 2.0, 3.0, 3.0, 2.0], batches=2)
    fitted(tmp_path, module, HyperparamAnnealingCallback(rules), max_epochs=3, val_check_interval=1)
    # Open after steps 1 and 2.
    assert module.steps("step") == [0, 0, 1, 2, 2, 2]
    # Open after epoch 0, and closed at the end of epoch 1.
    assert module.epochs("epoch") == [0, 1, 1]


@pytest.mark.parametrize("when", [{"save_on_train_epoch_end": True}, {"every_n_train_steps": 3}], ids=str)
def test_from_every_checkpoint(tmp_path: Path, when: dict[str, Any]) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}-{step}", save_top_k=-1, **when)
    whole = run(tmp_path, LOSSES, RULES, saver, enable_checkpointing=True)
    files = sorted(tmp_path.glob("*.ckpt"))
    assert len(files) >= 5
    for file in files:
        resumed = ByEpoch(dict.fromkeys(RULES, 0.0), LOSSES, batches=2)
        options: dict[str, Any] = {"max_epochs": len(LOSSES), "num_sanity_val_steps": 0}
        trainer_for(tmp_path, HyperparamAnnealingCallback(RULES), **options).fit(resumed, ckpt_path=file)
        assert resumed.trace == whole.trace[int(file.stem.split("=")[-1]) :]
