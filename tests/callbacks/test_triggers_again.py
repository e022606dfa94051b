"""More of where runs are not straight: what waits for an epoch, 32 bits, callbacks beside each other, evaluations."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from lightning_anneal import HyperparamAnnealingCallback
from tests.callbacks.test_batch_size import Data, Sees
from tests.callbacks.test_extend_training import STUCK
from tests.scripted import Scripted, stopper
from tests.tiny import Tiny, trainer_for

LINEAR = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0}


def rises(*values: Any, **settings: Any) -> dict[str, Any]:
    given = {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": list(values)}
    return {**given, **settings}


def sizes(*values: int) -> HyperparamAnnealingCallback:
    return HyperparamAnnealingCallback({"datamodule.batch_size": rises(*values, scale_lr="linear")})


class Constant(Sees):
    """Its loss never changes: the count rises with every validation but the first."""


def fit(folder: Path, *callbacks: Callback, ckpt_path: Any = None, **options: Any) -> Sees:
    module = Constant()
    settings: dict[str, Any] = {"val_check_interval": 0.5, "max_epochs": 4, "num_sanity_val_steps": 0, **options}
    trainer_for(folder, *callbacks, stopper(patience=50), **settings).fit(
        module, datamodule=Data(4, shuffle=False), ckpt_path=ckpt_path
    )
    return module


def test_a_size_that_waits_for_its_epoch_does_so_after_a_resume(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    whole = fit(tmp_path, sizes(4, 6, 12), saver, enable_checkpointing=True)
    # 6 batches in epoch 0; the count rises at its end and in the middle of epoch 1, after step 7.
    assert {epoch: got[0] for epoch, got in whole.sizes.items()} == {0: 4, 1: 6, 2: 12, 3: 12}
    for step in (7, 9):
        resumed = fit(tmp_path, sizes(4, 6, 12), ckpt_path=tmp_path / f"step={step}.ckpt")
        assert {epoch: got[0] for epoch, got in resumed.sizes.items()} == {1: 6, 2: 12, 3: 12}
        assert resumed.rates == whole.rates[len(whole.rates) - len(resumed.rates) :]
        assert set(resumed.rates) == {0.1875, 0.375}


class AddsAGroup(Callback):
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 2:
            trainer.optimizers[0].add_param_group({"params": [nn.Parameter(torch.zeros(1))]})


def test_a_size_that_waits_while_a_group_is_added(tmp_path: Path) -> None:
    module = fit(tmp_path, AddsAGroup(), sizes(4, 6, 12))
    assert {epoch: got[0] for epoch, got in module.sizes.items()} == {0: 4, 1: 6, 2: 12, 3: 12}
    assert module.rates[-1] == 0.375


def test_what_32_bits_hold_is_no_change(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback(
        {
            "temperature": rises(0.1, 0.3),
            "beta": {"strategy": "scheduled", "schedule": {0: 0.1, 2: 0.3}, "as_tensor": True},
        }
    )
    trainer_for(tmp_path, callback, stopper(), max_epochs=5).fit(Scripted())
    assert [(c.epoch, c.name, c.new) for c in callback.changes] == [
        (0, "beta", 0.1),
        (0, "temperature", 0.1),
        (2, "beta", 0.3),
        (3, "temperature", 0.3),
    ]


@pytest.mark.parametrize("sizes_first", [True, False])
def test_lengths_are_those_of_another_callbacks_batch_size(tmp_path: Path, sizes_first: bool) -> None:
    ramp = HyperparamAnnealingCallback({"beta": {**LINEAR, "total_steps": "100%", "interval": "step"}}, name="ramp")
    size = HyperparamAnnealingCallback({"datamodule.batch_size": {"strategy": "scheduled", "schedule": {0: 4}}})
    callbacks = [size, ramp] if sizes_first else [ramp, size]
    trainer_for(tmp_path, *callbacks, max_epochs=2).fit(Sees(), datamodule=Data(12))
    assert ramp.state_dict()["found"]["beta"]["lengths"] == {"total_steps=100%": 12.0}
    assert ramp.values["beta"] == 11 / 12


def test_a_callback_that_is_new_leaves_the_audit_of_the_others(tmp_path: Path) -> None:
    def beta() -> HyperparamAnnealingCallback:
        return HyperparamAnnealingCallback({"beta": {**LINEAR, "total_steps": 4}})

    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    log = {"save_dir": tmp_path, "version": 0}
    trainer_for(tmp_path, beta(), saver, logger=CSVLogger(**log), enable_checkpointing=True).fit(Tiny())
    new = HyperparamAnnealingCallback({"weights.kl": {**LINEAR, "total_steps": 4}}, name="new")
    old = beta()
    trainer_for(tmp_path, new, old, logger=CSVLogger(**log)).fit(Tiny(), ckpt_path=tmp_path / "epoch=1.ckpt")
    assert [(c.epoch, c.new) for c in old.changes] == [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)]


@pytest.mark.parametrize(("patience", "epochs"), [(1, 5), (2, 9)])
def test_extending_ends_where_an_int_has_come_to_nothing(tmp_path: Path, patience: int, epochs: int) -> None:
    given = {"strategy": "trigger_based", "trigger_source": "early_stopper_triggered", "extend_training": True}
    callback = HyperparamAnnealingCallback({"top_k": {**given, "multiply": 0.5, "round": True}})
    module = Scripted(STUCK, watch="top_k")
    trainer_for(tmp_path, callback, stopper(patience=patience), max_epochs=30).fit(module)
    # 3, 2, 1, 0: half of 3 and of 1.5 are rounded up, 0.375 is not.
    assert [value for i, value in enumerate(module.by_epoch) if not i or value != module.by_epoch[i - 1]] == [
        3,
        2,
        1,
        0,
    ]
    assert len(module.by_epoch) == epochs


def test_a_second_fit_has_the_rate_of_its_batch_size(tmp_path: Path) -> None:
    size = {"strategy": "scheduled", "schedule": {0: 4, 1: 12}, "scale_lr": "linear"}
    module, data = Sees(), Data(4)
    trainer = trainer_for(tmp_path, HyperparamAnnealingCallback({"datamodule.batch_size": size}), max_epochs=2)
    trainer.fit(module, datamodule=data)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, datamodule=data)
    assert module.rates == [0.125] * 6 + [0.375] * 4


def test_an_evaluation_is_no_change(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({"beta": {**LINEAR, "total_steps": 4}})
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    module = Tiny()
    trainer = trainer_for(tmp_path, callback, saver, enable_checkpointing=True)
    trainer.fit(module)
    before = callback.changes
    trainer.test(module, ckpt_path=tmp_path / "epoch=1.ckpt", verbose=False)
    assert callback.changes == before


def test_after_a_fit_nothing_of_the_run_is_held(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({"beta": rises(0.0, 1.0), "loss.margin": LINEAR})
    module = Scripted()
    trainer = trainer_for(tmp_path, callback, stopper(), max_epochs=2)
    trainer.fit(module)
    held = [weakref.ref(module), weakref.ref(trainer)]
    del module, trainer
    gc.collect()
    assert [ref() for ref in held] == [None, None]


@pytest.mark.parametrize(
    "mistake",
    [
        "{strategy: %s}" % ("x" * 500),
        "{strategy: linear, %s: 1}" % ("k" * 500),
    ],
)
def test_the_commands_line_is_short(tmp_path: Path, mistake: str, capsys: pytest.CaptureFixture[str]) -> None:
    from lightning_anneal.cli import main

    config = tmp_path / "long.yaml"
    config.write_text(
        "trainer:\n  callbacks:\n    - class_path: lightning_anneal.HyperparamAnnealingCallback\n"
        f"      init_args: {{annealing_params: {{beta: {mistake}}}}}\n"
    )
    model = ["--model=examples.digits_vae.DigitsVAE", "--data=examples.digits_data.DigitsData"]
    assert main(["fit", "--config", str(config), *model]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: beta")
    assert len(last) <= 200
