"""Values that follow others in real fits: at which epoch and step they look at them, and after a resume."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import ExponentialLR

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.preview.runs import BySize, Watched, fitted
from tests.tiny import trainer_for

EPOCHS = 8

# Eight epochs of two steps: what they follow gives the epoch, or the step.
RULES: dict[str, dict[str, Any]] = {
    "epoch": {"strategy": "linear", "start_value": 0, "end_value": 8, "total_steps": 8},
    "step": {"strategy": "linear", "start_value": 0, "end_value": 16, "total_steps": 16, "interval": "step"},
    "third_epoch": {"strategy": "follow", "other": "epoch", "frequency": 3},
    "third_step": {"strategy": "follow", "other": "step", "frequency": 3},
    "once_an_epoch": {"strategy": "follow", "other": "step", "interval": "epoch"},
    "of_once_an_epoch": {"strategy": "follow", "other": "once_an_epoch", "scale": 2},
    "by_step": {"strategy": "follow", "other": "third_epoch", "interval": "step", "offset": 1},
}
STEERS = {"strategy": "pi_control", "monitor": "kl", "set_point": 2, "interval": "step"}


class Measured(Watched):
    """Gives a metric for a controller that has its turn in each step."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {**super().training_step(batch, batch_idx), "kl": torch.tensor(1.0)}


@pytest.mark.parametrize("more", [{}, {"steered": STEERS}], ids=["alone", "beside a controller by step"])
def test_each_looks_when_it_has_its_turn(tmp_path: Path, more: dict[str, Any]) -> None:
    rules = {**RULES, **more}
    module = Measured(dict.fromkeys(rules, 0.0), batches=2)
    fitted(tmp_path, module, HyperparamAnnealingCallback(rules), max_epochs=EPOCHS)
    assert module.epochs("third_epoch") == [0, 0, 0, 3, 3, 3, 6, 6]
    assert module.steps("third_step") == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9, 12, 12, 12, 15]
    # When an epoch begins, the last step is that of the epoch before.
    assert module.epochs("once_an_epoch") == [0, 1, 3, 5, 7, 9, 11, 13]
    assert module.epochs("of_once_an_epoch") == [0, 2, 6, 10, 14, 18, 22, 26]
    assert module.steps("by_step") == [1] * 6 + [4] * 6 + [7] * 4


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_what_another_callback_anneals(tmp_path: Path, interval: str) -> None:
    leads = {"a": {"strategy": "linear", "start_value": 0, "end_value": 3, "total_steps": 3, "interval": interval}}
    follows = {"b": {"strategy": "follow", "other": "a", "interval": interval}}

    def fit(*params: dict[str, Any]) -> Watched:
        callbacks = [HyperparamAnnealingCallback(each, name="".join(each)) for each in params]
        return fitted(tmp_path, Watched({"a": 9.0, "b": 9.0}, batches=1), *callbacks, max_epochs=4)

    assert fit(leads, follows).steps("b") == [0, 1, 2, 3]
    # It would be a step late.
    with pytest.raises(AnnealError) as error:
        fit(follows, leads)
    assert str(error.value) == (
        "b.other: a is annealed by HyperparamAnnealingCallback[name=a], whose turn comes after this one's; "
        "put that callback in front, or both into one"
    )
    assert fit({**follows, **leads}, {"beta": leads["a"]}).steps("b") == [0, 1, 2, 3]


@pytest.mark.parametrize("when", [{"save_on_train_epoch_end": True}, {"every_n_train_steps": 3}], ids=str)
def test_from_every_checkpoint(tmp_path: Path, when: dict[str, Any]) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}-{step}", save_top_k=-1, **when)
    whole = Watched(dict.fromkeys(RULES, 0.0), batches=2)
    options: dict[str, Any] = {"max_epochs": EPOCHS, "num_sanity_val_steps": 0}
    fitted(tmp_path, whole, HyperparamAnnealingCallback(RULES), saver, enable_checkpointing=True, **options)
    files = sorted(tmp_path.glob("*.ckpt"))
    assert len(files) >= 5
    for file in files:
        resumed = Watched(dict.fromkeys(RULES, 0.0), batches=2)
        trainer_for(tmp_path, HyperparamAnnealingCallback(RULES), **options).fit(resumed, ckpt_path=file)
        assert resumed.trace == whole.trace[int(file.stem.split("=")[-1]) :]


class Sized(BySize):
    """Its batch size is to follow, and `sizes` has the size of each epoch's first batch."""

    def __init__(self) -> None:
        super().__init__()
        self.k = 2.0
        self.sizes: dict[int, int] = {}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.sizes.setdefault(self.current_epoch, len(batch[0]))
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.5)
        return [optimizer], [ExponentialLR(optimizer, 0.5)]


K = {"strategy": "linear", "start_value": 4.0, "end_value": 12.0, "total_steps": 2}
SIZED: dict[str, tuple[dict[str, Any], list[int]]] = {
    "a parameter": ({"k": K, "batch_size": {"strategy": "follow", "other": "k"}}, [4, 8, 12, 12]),
    "a chain": (
        {"batch_size": {"strategy": "follow", "other": "beta", "offset": 1}, "beta": {"strategy": "follow", "other": "k", "scale": 0.25}, "k": K},
        [2, 3, 4, 4],
    ),
    # 1 / lr, which is 0.5, 0.25 and so on
    "a rate": ({"batch_size": {"strategy": "follow", "other": "optimizer.param_groups.0.lr", "power": -1}}, [2, 4, 8, 16]),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZED)
def test_a_batch_size_follows(tmp_path: Path, name: str) -> None:
    rules, sizes = SIZED[name]
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    module = Sized()
    fitted(tmp_path, module, HyperparamAnnealingCallback(rules), saver, enable_checkpointing=True, max_epochs=4)
    assert list(module.sizes.values()) == sizes
    for epoch in (0, 2):
        resumed = Sized()
        trainer = trainer_for(tmp_path, HyperparamAnnealingCallback(rules), max_epochs=4)
        trainer.fit(resumed, ckpt_path=tmp_path / f"epoch={epoch}.ckpt")
        assert resumed.sizes == {e: sizes[e] for e in range(epoch + 1, 4)}
