"""What follows another value in a fit: learning rates of schedulers, batch sizes, and what a resumed run knows of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.callbacks.test_batch_size import Data, Sees
from tests.scripted import Scripted
from tests.tiny import Tiny, trainer_for

RATE = "optimizer.param_groups.0.lr"


def follow(other: str = RATE, **settings: Any) -> dict[str, Any]:
    return {"strategy": "follow", "other": other, **settings}


class Scheduled(Tiny):
    """A learning rate of a scheduler's."""

    def __init__(self, interval: str, gamma: float = 0.5) -> None:
        super().__init__(batches=4)
        self.interval, self.gamma = interval, gamma
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        config = {"scheduler": StepLR(optimizer, 1, self.gamma), "interval": self.interval}
        return {"optimizer": optimizer, "lr_scheduler": config}


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_it_moves_with_a_scheduler(tmp_path: Path, interval: str) -> None:
    module = Scheduled(interval)
    trainer_for(tmp_path, HyperparamAnnealingCallback({"beta": follow(scale=3.0)}), max_epochs=2).fit(module)
    assert module.values == [3.0 * rate for rate in module.rates]
    assert len(set(module.values)) == (8 if interval == "step" else 2)


def test_it_moves_with_a_plateau_scheduler(tmp_path: Path) -> None:
    module = Scripted([5, 5, 5, 5, 5, 5], plateau={})
    trainer_for(tmp_path, HyperparamAnnealingCallback({"beta": follow(scale=2.0)}), max_epochs=6).fit(module)
    assert module.by_epoch == [2 * rate for rate in module.rates[::8]] == [0.25, 0.25, 0.25, 0.125, 0.125, 0.0625]


def test_every_group_and_what_is_annealed_there(tmp_path: Path) -> None:
    params = {
        "beta": follow("optimizer.param_groups.0.weight_decay", scale=4.0),
        "optimizer.param_groups.*.weight_decay": follow("optimizer.param_groups.*.lr", power=2.0),
    }
    module = Scheduled("step")
    callback = HyperparamAnnealingCallback(params)
    trainer_for(tmp_path, callback, max_epochs=2).fit(module)
    assert module.values == [4.0 * rate**2 for rate in module.rates]
    assert callback.values["optimizer.param_groups.0.weight_decay"] == module.rates[-1] ** 2


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"beta": follow("optimizer.param_groups.3.lr")}, "beta.other: there is no parameter group 3; the optimizer has 1"),
        ({"beta": follow("optimizer.param_groups.0.rate")}, "beta.other: dict has no key 'rate'; known: dampening"),
        ({"beta": follow("margin")}, "beta.other: Scheduled has no attribute 'margin'"),
        ({"beta": follow("loss.margn")}, "beta.other: Loss has no attribute 'margn'; did you mean 'margin'?"),
        ({"beta": follow("net")}, "beta.other: net is a module (Sequential), and only a number can be followed"),
        ({"beta": follow("trainer.max_epochs")}, "beta.other: the trainer's 'max_epochs' can't be changed while it trains"),
        ({"loss.margin": follow("beta"), "beta": follow("loss.margin")},
         "loss.margin.other: goes round in a circle: loss.margin -> beta -> loss.margin"),
        ({"beta": follow(power=-400.0)}, f"beta: has no value where {RATE} is 0.1: it is to the power -400"),
        ({"beta": {**follow(), "monitor": "kl"}}, "beta: unknown key 'monitor'"),
        ({"top_k": follow()}, "top_k: holds an int and would get 0.1; write 3.0 in the module, or set round: true"),
        ({RATE: follow("beta")}, f"{RATE}: owned by StepLR; anneal another key or drop that scheduler"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, params: dict[str, Any], message: str) -> None:
    module = Scheduled("step")
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, HyperparamAnnealingCallback(params)).fit(module)
    assert str(error.value).startswith(message)
    assert module.seen == []


def test_evaluations_of_a_checkpoint(tmp_path: Path) -> None:
    """There is no optimizer: a follower has what it went by last, and one that is new there has nothing."""
    held = {"strategy": "pi_control", "monitor": "loss", "set_point": 0.0, "max_value": 0.5}
    params = {"beta": follow(scale=3.0), "optimizer.param_groups.0.weight_decay": held}
    saver = ModelCheckpoint(tmp_path, filename="last")
    callback = HyperparamAnnealingCallback(params)
    trainer_for(tmp_path, callback, saver, max_epochs=2, enable_checkpointing=True).fit(Scheduled("epoch"))
    again = HyperparamAnnealingCallback({**params, "loss.margin": follow()})
    module = Scheduled("epoch")
    with pytest.warns(UserWarning, match="loss.margin"):
        trainer_for(tmp_path, again).validate(module, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert module.beta == callback.values["beta"] != 1.0
    assert module.loss.margin == 0.2


# -- batch sizes ----------------------------------------------------------------------------------------------------

SIZE = "datamodule.batch_size"


def larger(optimizer: Any) -> Any:
    return StepLR(optimizer, 1, 1.5)


def fitted(folder: Path, params: dict[str, Any], *callbacks: Any, ckpt_path: Any = None, **options: Any) -> Sees:
    module = Sees(**options)
    trainer = trainer_for(
        folder, HyperparamAnnealingCallback(params), *callbacks, max_epochs=3, enable_checkpointing=bool(callbacks)
    )
    trainer.fit(module, datamodule=Data(), ckpt_path=ckpt_path)
    return module


# 24 samples; the rate goes 0.125, 0.1875, 0.28125.
SIZES = {0: [4] * 6, 1: [6] * 4, 2: [9, 9, 6]}
FOLLOWERS: dict[str, dict[str, Any]] = {
    "a rate": {SIZE: follow(scale=32.0)},
    "by way of another one": {SIZE: follow("beta", scale=4.0), "beta": follow(scale=8.0, interval="epoch")},
    "a schedule": {
        SIZE: follow("beta", scale=4.0),
        "beta": {"strategy": "scheduled", "schedule": {0: 1.0, 1: 1.5, 2: 2.25}},
    },
}


@pytest.mark.parametrize("name", FOLLOWERS)
def test_a_batch_size_follows(tmp_path: Path, name: str) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, save_on_train_epoch_end=True)
    whole = fitted(tmp_path, FOLLOWERS[name], saver, scheduler=larger)
    assert whole.sizes == SIZES
    assert whole.saw_everything()
    # From the ends of epochs 0 and 1.
    for step, begins in ((6, 1), (10, 2)):
        again = fitted(tmp_path, FOLLOWERS[name], scheduler=larger, ckpt_path=tmp_path / f"step={step}.ckpt")
        assert again.sizes == {epoch: sizes for epoch, sizes in SIZES.items() if epoch >= begins}


def test_a_batch_size_that_follows_too_far_is_refused_before_it_is_there(tmp_path: Path) -> None:
    growing = {"strategy": "scheduled", "schedule": {0: 1.0, 1: 100.0}}
    params = {SIZE: follow("beta", scale=4.0), "beta": growing}
    module = Sees()
    data = Data(drop_last=True)
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, HyperparamAnnealingCallback(params), max_epochs=3).fit(module, datamodule=data)
    assert str(error.value) == f"{SIZE}: a batch size of 400 leaves no batch to train on"
    assert data.batch_size == 4


@pytest.mark.parametrize("params", [{SIZE: follow(scale=32.0, scale_lr="linear")}, {SIZE: follow("beta", scale_lr="sqrt"), "beta": follow(scale=32.0)}])  # fmt: skip
def test_a_batch_size_can_not_scale_the_rate_that_it_follows(tmp_path: Path, params: dict[str, Any]) -> None:
    with pytest.raises(AnnealError) as error:
        fitted(tmp_path, params, scheduler=lambda optimizer: ReduceLROnPlateau(optimizer))
    assert str(error.value) == f"{SIZE}.scale_lr: follows '{RATE}', which it would scale; drop one of them"


def test_a_batch_size_that_follows_something_else_scales_the_rate(tmp_path: Path) -> None:
    params = {
        SIZE: follow("beta", scale=4.0, scale_lr="linear"),
        "beta": {"strategy": "scheduled", "schedule": {0: 1.0, 1: 1.5, 2: 3.0}},
    }
    module = fitted(tmp_path, params)
    assert module.sizes == {0: [4] * 6, 1: [6] * 4, 2: [12] * 2}
    assert module.rates == [0.125] * 6 + [0.1875] * 4 + [0.375] * 2
