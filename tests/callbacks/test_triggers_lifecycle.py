"""Triggers where a run doesn't go straight from its start to its end: fits again, other callbacks, odd data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.loggers import CSVLogger
from packaging.version import Version
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.callbacks.test_batch_size import Data, Sees
from tests.callbacks.test_extend_training import STUCK
from tests.scripted import Scripted, stopper
from tests.tiny import trainer_for


def on(source: str, name: str | None = None, parameter: str = "beta", **settings: Any) -> HyperparamAnnealingCallback:
    given = {"strategy": "trigger_based", "trigger_source": source, "values": [float(n) for n in range(9)], **settings}
    return HyperparamAnnealingCallback({parameter: given}, name=name)


def stalls() -> HyperparamAnnealingCallback:
    return on("metric_plateau", monitor="val_loss", patience=1)


class Raises(Callback):
    """Raises once, when a hook is called in an epoch."""

    def __init__(self, hook: str, epoch: int) -> None:
        self.left = 1
        setattr(self, hook, lambda trainer, *args: self.strike(trainer, epoch))

    def strike(self, trainer: Any, epoch: int) -> None:
        if self.left and not trainer.sanity_checking and trainer.current_epoch == epoch:
            self.left = 0
            raise RuntimeError("stop")


def test_a_second_fit_goes_on(tmp_path: Path) -> None:
    module, callback = Scripted(), stalls()
    trainer = trainer_for(tmp_path, callback, max_epochs=4)
    trainer.fit(module)
    trainer.validate(module, verbose=False)
    trainer.fit_loop.max_epochs = 8
    module.validations = 4
    trainer.fit(module)
    whole = Scripted()
    trainer_for(tmp_path, stalls(), max_epochs=8).fit(whole)
    assert module.seen == whole.seen
    # Losses 5 4 4 4 4 3 3 3: bad ones after epochs 2, 3, 4, 6.
    assert whole.by_epoch == [0, 0, 0, 1, 2, 3, 3, 4]


@pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")
@pytest.mark.parametrize("hook", ["on_train_epoch_start", "on_validation_start", "on_train_epoch_end"])
def test_a_fit_after_an_exception(tmp_path: Path, hook: str) -> None:
    module = Scripted()
    trainer = trainer_for(tmp_path, stalls(), Raises(hook, 0), max_epochs=4)
    with pytest.raises(RuntimeError, match="stop"):
        trainer.fit(module)
    trainer.fit(module)
    # Losses 5 4 4: the third one is bad. Stopped before its validation, epoch 0 is trained again.
    assert module.by_epoch == [0.0] * (4 if hook == "on_validation_start" else 3) + [1.0]


def test_a_checkpoint_that_is_saved_after_the_fit(tmp_path: Path) -> None:
    module = Scripted()
    trainer = trainer_for(tmp_path, stalls(), max_epochs=3)
    trainer.fit(module)
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    resumed = Scripted()
    resumed.validations = 3
    trainer_for(tmp_path, stalls(), max_epochs=6).fit(resumed, ckpt_path=tmp_path / "after.ckpt")
    assert resumed.by_epoch == [1, 2, 3]


def test_another_source_has_seen_nothing_yet(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer_for(tmp_path, on("early_stopper_counter"), stopper(), saver, max_epochs=5, enable_checkpointing=True).fit(
        Scripted()
    )
    resumed = Scripted()
    resumed.validations = 5
    below = on("metric_below", monitor="val_loss", threshold=3.5)
    trainer_for(tmp_path, below, stopper(), max_epochs=8).fit(resumed, ckpt_path=tmp_path / "epoch=4.ckpt")
    # Two firings before; below the threshold after epoch 5.
    assert resumed.by_epoch == [2, 3, 3]


def test_what_was_before_a_rule_was_added_is_no_event(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    before = HyperparamAnnealingCallback({"loss.margin": {"strategy": "constant", "value": 0.5}})
    trainer_for(tmp_path, before, stopper(patience=4), saver, max_epochs=5, enable_checkpointing=True).fit(Scripted())
    resumed = Scripted()
    resumed.validations = 4
    with pytest.warns(UserWarning, match="added: beta; dropped: loss.margin"):
        trainer_for(tmp_path, on("early_stopper_half_patience"), stopper(patience=4), max_epochs=9).fit(
            resumed, ckpt_path=tmp_path / "epoch=3.ckpt"
        )
    # The count is 2 after epoch 3, which is half already, and then 3 0 1 2.
    assert resumed.by_epoch == [0, 0, 0, 0, 1]


@pytest.mark.parametrize("extending_first", [True, False])
def test_two_callbacks_on_a_stopper_that_one_of_them_extends(tmp_path: Path, extending_first: bool) -> None:
    extends = on("early_stopper_triggered", "a", extend_training=True, values=[0.0, 1.0])
    other = on("early_stopper_triggered", "b", "loss.margin")
    module = Scripted(STUCK)
    callbacks = [extends, other] if extending_first else [other, extends]
    trainer_for(tmp_path, *callbacks, stopper(patience=2), max_epochs=30).fit(module)
    assert [(c.epoch, c.new) for c in other.changes if c.epoch] == [(3, 1.0)]
    assert [(c.epoch, c.new) for c in extends.changes if c.epoch] == [(3, 1.0)]
    assert len(module.by_epoch) == 5


def test_two_callbacks_that_extend_go_on_together(tmp_path: Path) -> None:
    first = on("early_stopper_triggered", "a", extend_training=True, values=[0.0, 1.0])
    second = on("early_stopper_triggered", "b", "loss.margin", extend_training=True, values=[0.0, 1.0, 2.0])
    module = Scripted(STUCK)
    trainer_for(tmp_path, first, second, stopper(patience=2), max_epochs=30).fit(module)
    assert [c.epoch for c in first.changes if c.epoch] == [3]
    assert [c.epoch for c in second.changes if c.epoch] == [3, 5]
    assert len(module.by_epoch) == 7


class ChecksElsewhere(EarlyStopping):
    """A stopper whose own check is in another hook."""

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        pass

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        pass

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._run_early_stopping_check(trainer)


def test_a_stopper_of_ones_own_is_extended_too(tmp_path: Path) -> None:
    module = Scripted(STUCK)
    extends = on("early_stopper_triggered", extend_training=True, values=[0.0, 1.0])
    trainer_for(tmp_path, extends, ChecksElsewhere("val_loss", patience=2), max_epochs=30).fit(module)
    assert module.by_epoch == [0, 0, 0, 1, 1]


def test_hooks_that_were_set_on_a_stopper_come_back(tmp_path: Path) -> None:
    early, calls = stopper(patience=2), []
    own = early.on_train_epoch_end
    early.on_train_epoch_end = mine = lambda *args: (calls.append(1), own(*args))
    extends = on("early_stopper_triggered", extend_training=True, values=[0.0, 1.0])
    trainer_for(tmp_path, extends, early, max_epochs=30).fit(Scripted(STUCK))
    assert early.on_train_epoch_end is mine
    assert len(calls) == 5


def test_weight_averaging_in_the_place_of_a_plateau_scheduler(tmp_path: Path) -> None:
    module = Scripted(losses=[5.0 - i / 10 for i in range(24)], plateau={})
    averaging = StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=2)
    trainer_for(tmp_path, on("lr_scheduler_triggered"), averaging, max_epochs=6).fit(module)
    assert module.rates[-1] < 0.02
    assert set(module.values) == {0.0}


@pytest.mark.parametrize("scaling_first", [True, False])
def test_a_rate_that_another_callback_scales_is_no_drop(tmp_path: Path, scaling_first: bool) -> None:
    given = {"strategy": "scheduled", "schedule": {0: 12, 2: 6, 4: 3}, "scale_lr": "linear"}
    scales = HyperparamAnnealingCallback({"datamodule.batch_size": given}, name="a")
    answers = on("lr_scheduler_triggered", "b")
    module = Sees(lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=2), losses=[1.0] * 6)
    callbacks = [scales, answers] if scaling_first else [answers, scales]
    trainer_for(tmp_path, *callbacks, max_epochs=6).fit(module, datamodule=Data(12))
    # The scheduler's third bad loss comes after epoch 3, and the size changes at once with the rate.
    assert [c.epoch for c in answers.changes if c.epoch] == [4]
    assert module.rates[-1] == 0.125 / 4 / 2


class AddsAGroup(Callback):
    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 2:
            trainer.optimizers[0].add_param_group({"params": [nn.Parameter(torch.zeros(1))], "weight_decay": 0.5})


@pytest.mark.parametrize("behind", [True, False])
def test_a_group_that_is_added_meanwhile(tmp_path: Path, behind: bool) -> None:
    seen: list[tuple[float, ...]] = []

    class Looks(Scripted):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            seen.append(tuple(group["weight_decay"] for group in self.trainer.optimizers[0].param_groups))
            return super().training_step(batch, batch_idx)

    anneal = on("early_stopper_counter", parameter="optimizer.param_groups.*.weight_decay")
    callbacks: list[Callback] = [anneal, AddsAGroup()] if behind else [AddsAGroup(), anneal]
    trainer_for(tmp_path, *callbacks, stopper(), max_epochs=4).fit(Looks())
    assert seen[::8] == [(0.0,), (0.0,), (0.0, 0.0), (1.0, 1.0)]
    assert len(set(seen[16:24])) == 1


class Spoils(Callback):
    """Takes the audit's file away in epoch 1, and may put a folder in its place."""

    def __init__(self, folder: bool) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            file = Path(trainer.logger.log_dir) / "annealing_changes.csv"
            file.unlink()
            if self.folder:
                file.mkdir()


def test_no_run_ends_for_its_audit(tmp_path: Path) -> None:
    callback, module = on("early_stopper_counter"), Scripted()
    trainer = trainer_for(tmp_path, callback, stopper(), Spoils(True), logger=CSVLogger(tmp_path), max_epochs=6)
    with pytest.warns(UserWarning, match=r"annealing_changes.csv can't be written \(IsADirectoryError") as warned:
        trainer.fit(module)
    assert sum("can't be written" in str(w.message) for w in warned) == 1
    assert module.by_epoch == [0, 0, 0, 1, 2, 3]
    assert [c.epoch for c in callback.changes] == [3, 4, 5]


def test_a_file_that_is_gone_comes_back_whole(tmp_path: Path) -> None:
    callback = on("early_stopper_counter", values=[1.0, 2.0, 3.0])
    trainer = trainer_for(tmp_path, callback, stopper(), Spoils(False), logger=CSVLogger(tmp_path), max_epochs=4)
    trainer.fit(Scripted())
    rows = (Path(trainer.logger.log_dir) / "annealing_changes.csv").read_text().splitlines()
    assert rows == [
        "epoch,step,name,old,new,why",
        "0,0,beta,0.0,1.0,start",
        "3,24,beta,1.0,2.0,early_stopper_counter 0 -> 1",
    ]


@pytest.mark.parametrize(
    ("settings", "data", "options", "message"),
    [
        ({"multiply": 2}, Data(), {},
         "datamodule.batch_size.max_value: missing; a batch size can't grow without end"),
        ({"multiply": 2, "max_value": 48}, Data(drop_last=True), {},
         "datamodule.batch_size: a batch size of 48 leaves no batch to train on"),
    ],
)  # fmt: skip
def test_a_batch_size_that_grows_too_far(tmp_path: Path, settings: Any, data: Data, options: Any, message: str) -> None:
    given = {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", **settings}
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, stopper(), HyperparamAnnealingCallback({"datamodule.batch_size": given}), **options).fit(
            Sees(), datamodule=data
        )
    assert str(error.value) == message


def test_a_size_that_the_loaders_made_anew_do_not_have(tmp_path: Path) -> None:
    data, module = Data(), Sees(losses=[1.0, 2.0, 3.0])
    make, data.train_dataloader = data.train_dataloader, None
    first = make()
    data.train_dataloader = lambda: first
    given = {"strategy": "scheduled", "schedule": {0: 4, 1: 8}, "scale_lr": "linear"}
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, HyperparamAnnealingCallback({"datamodule.batch_size": given})).fit(
            module, datamodule=data
        )
    assert str(error.value) == (
        "datamodule.batch_size: the training loader has a batch size of 4, not 8; make it with batch_size=self.batch_size"
    )
    assert set(module.rates) == {0.125}


@pytest.mark.skipif(Version(lightning.__version__) < Version("2.6"), reason="validation by the clock is new in 2.6")
def test_validation_by_the_clock_does_not_begin_to_wait_anew(tmp_path: Path) -> None:
    clock: set[float] = set()

    class Reads(Callback):
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            clock.add(trainer._last_val_time)

    sizes = HyperparamAnnealingCallback({"datamodule.batch_size": {"strategy": "scheduled", "schedule": {0: 4, 1: 8}}})
    module = Sees()
    options: dict[str, Any] = {"val_check_interval": "00:00:10:00", "max_epochs": 2}
    trainer_for(tmp_path, sizes, Reads(), **options).fit(module, datamodule=Data())
    assert len(clock) == 1
    assert {epoch: sizes[0] for epoch, sizes in module.sizes.items()} == {0: 4, 1: 8}


@pytest.mark.filterwarnings("ignore:.*is longer than the run")
def test_a_batch_size_of_the_module_outside_of_a_fit(tmp_path: Path) -> None:
    class Own(Sees):
        def __init__(self) -> None:
            super().__init__()
            self.batch_size = 4

        def train_dataloader(self) -> Any:
            return Data(self.batch_size).train_dataloader()

        def val_dataloader(self) -> Any:
            return Data().val_dataloader()

    module = Own()
    ramp = {"strategy": "linear", "end_value": 7, "total_steps": 4}
    trainer = trainer_for(tmp_path, HyperparamAnnealingCallback({"batch_size": ramp}), max_epochs=2)
    trainer.fit(module)
    assert {epoch: sizes[0] for epoch, sizes in module.sizes.items()} == {0: 4, 1: 5}
    trainer.validate(module, verbose=False)
    assert module.batch_size == 5


def test_stretching_counts_steps_of_the_first_batch_size(tmp_path: Path) -> None:
    def callback() -> HyperparamAnnealingCallback:
        ramp = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": "100%", "interval": "step"}
        size = {"strategy": "scheduled", "schedule": {0: 3, 2: 12}}
        return HyperparamAnnealingCallback({"datamodule.batch_size": size, "beta": ramp}, on_horizon_change="stretch")

    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    trainer_for(tmp_path, callback(), saver, enable_checkpointing=True).fit(Sees(), datamodule=Data(3))
    longer = callback()
    with pytest.warns(UserWarning, match="max_epochs 4 -> 8"):
        trainer_for(tmp_path, longer, max_epochs=8).fit(Sees(), datamodule=Data(3), ckpt_path=tmp_path / "epoch=3.ckpt")
    # 8 steps an epoch at first: 64 in 8 epochs. 16 + 2 * 6 are done.
    assert longer.state_dict()["found"]["beta"]["lengths"] == {"total_steps=100%": 64.0}
    assert longer.values["beta"] == 27 / 64


@pytest.mark.parametrize(
    "damage",
    [
        {"poll": None},
        {"poll": {"pending": True, "metrics": None}},
        {"poll": {"metrics": {"val_loss": "x"}}},
        {"triggers": {"beta": None}},
        {"triggers": {"beta": {"firings": -3, "rest": 0, "peak": None, "seen": None}}},
        {"triggers": {"beta": {"firings": 1, "rest": 0, "seen": None}}},
        {"triggers": [1]},
    ],
)
def test_a_damaged_state_is_one_line(damage: dict[str, Any]) -> None:
    callback = stalls()
    state = {"version": 2, "epoch": 0, "step": 0, "found": {"beta": {"start": [0.0], "lengths": {}}}, "run": {}}
    with pytest.raises(AnnealError, match=r"^checkpoint: the annealing state is damaged"):
        callback.load_state_dict({**state, **damage})


def test_two_callbacks_without_names_in_a_config(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lightning_anneal.cli import main

    entry = (
        "  - class_path: lightning_anneal.HyperparamAnnealingCallback\n"
        "    init_args: {annealing_params: {%s: {strategy: linear, end_value: 1.0}}}\n"
    )
    config = tmp_path / "two.yaml"
    config.write_text(
        "trainer:\n  callbacks:\n"
        + "".join("  " + line for name in ("beta", "free_bits") for line in (entry % name).splitlines(True))
    )
    model = ["--model=examples.digits_vae.DigitsVAE", "--data=examples.digits_data.DigitsData"]
    assert main(["fit", "--config", str(config), *model]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == "error: HyperparamAnnealingCallback.name: a second callback of this class needs a name of its own"
