"""A batch size that a controller steers: in force from the epoch after a metric, in every rebuilt loader, on resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.preview.runs import BySize
from tests.tiny import trainer_for

# By epoch: the metric of each of its batches. The size goes up by as much as the metric is above 4.
METRICS = [6.0, 5.0, 4.0, 2.0, 9.0]
HELD: dict[str, Any] = {"strategy": "pi_control", "monitor": "kl", "set_point": 4, "kp": 0.0, "ki": 1.0}
HELD |= {"start_value": 2, "min_value": 1, "max_value": 8, "round": True}
SIZES = [2, 4, 5, 5, 3]
# Of 24 samples.
BATCHES = [12, 6, 5, 5, 8]


class Steered(BySize):
    """`sizes` has the size of the first batch of each epoch, and `seen_rates` the learning rate."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.lam = 0.0
        self.sizes: dict[int, int] = {}
        self.seen_rates: dict[int, float] = {}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.sizes.setdefault(self.current_epoch, len(batch[0]))
        self.seen_rates.setdefault(self.current_epoch, self.trainer.optimizers[0].param_groups[0]["lr"])
        out = super().training_step(batch, batch_idx)
        return {**(out if isinstance(out, dict) else {"loss": out}), "kl": torch.tensor(METRICS[self.current_epoch])}

    @property
    def batches_of(self) -> list[int]:
        return [sum(epoch == e for e, *_ in self.trace) for epoch in self.sizes]


def fit(folder: Path, module: Steered, *callbacks: Any, ckpt_path: Any = None, **options: Any) -> Steered:
    trainer_for(folder, *callbacks, **{"max_epochs": 5, **options}).fit(module, ckpt_path=ckpt_path)
    return module


def held(**more: Any) -> HyperparamAnnealingCallback:
    return HyperparamAnnealingCallback({"batch_size": {**HELD, **more}})


def test_from_the_epoch_after_the_metric(tmp_path: Path) -> None:
    callback = held()
    module = fit(tmp_path, Steered(), callback)
    assert list(module.sizes.values()) == SIZES
    assert module.batches_of == BATCHES
    steps = [0, 12, 18, 28]
    assert [(c.step, c.new) for c in callback.changes if c.name == "batch_size"][-3:] == list(
        zip(steps[1:], [4, 5, 3], strict=True)
    )


def test_with_learning_rates_that_follow(tmp_path: Path) -> None:
    callback = held(scale_lr="linear")
    module = fit(tmp_path, Steered(), callback)
    first = module.seen_rates[0]
    assert [rate / first for rate in module.seen_rates.values()] == pytest.approx([1, 2, 2.5, 2.5, 1.5])
    # Another fit of the same Trainer: new optimizers, the same size as at the end.
    trainer = trainer_for(tmp_path, again := held(scale_lr="linear"), max_epochs=2)
    trainer.fit(Steered())
    trainer.fit_loop.max_epochs = 3
    trainer.fit(more := Steered())
    assert more.sizes == {2: 5}
    assert more.seen_rates == {2: pytest.approx(2.5 * first)}
    assert again.values == {"batch_size": 5}


@pytest.mark.parametrize("when", [{"save_on_train_epoch_end": True}, {"every_n_train_steps": 4}], ids=str)
def test_from_every_checkpoint(tmp_path: Path, when: dict[str, Any]) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}-{step}", save_top_k=-1, **when)
    whole = fit(tmp_path, Steered(), held(), saver, enable_checkpointing=True)
    files = sorted(tmp_path.glob("*.ckpt"))
    assert len(files) >= 5
    for file in files:
        resumed = fit(tmp_path, Steered(), held(), ckpt_path=file)
        assert resumed.trace == whole.trace[int(file.stem.split("=")[-1]) :], file.stem


def test_a_follower_beside_others(tmp_path: Path) -> None:
    params = {
        "lam": {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "interval": "step"},
        "top_k": {key: value for key, value in HELD.items() if key != "round"},
        "batch_size": {"strategy": "follow", "other": "top_k", "offset": 1, "round": True},
    }
    module = Steered()
    module.top_k = 0.0
    fit(tmp_path, module, HyperparamAnnealingCallback(params))
    assert list(module.sizes.values()) == [size + 1 for size in SIZES]


def test_a_bound_that_leaves_no_batch_is_refused(tmp_path: Path) -> None:
    module = Steered()
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, module, held(max_value=500), val_check_interval=2)
    assert str(error.value) == (
        "batch_size: a batch size of 500 makes 1 batches, fewer than val_check_interval=2; give that as a fraction"
    )
    assert (module.batch_size, module.trace) == (2, [])
