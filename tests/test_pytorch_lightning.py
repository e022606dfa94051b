"""The same callbacks in a Trainer, with modules and under the LightningCLI of ``pytorch_lightning``."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import lightning_anneal
from lightning_anneal import (
    AnnealError,
    BetaScheduleCallback,
    Cosine,
    HyperparamAnnealingCallback,
    HyperParamSearch,
    Linear,
    LossBalancingCallback,
    OptimizerWatchCallback,
    configure_optimizers,
)
from lightning_anneal.search.driver_watch import RUN_FOLDER
from tests.tiny import QUIET

pl = pytest.importorskip("pytorch_lightning")

from pytorch_lightning.callbacks import (  # noqa: E402 (it may be missing)
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)
from pytorch_lightning.cli import LightningCLI  # noqa: E402
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger  # noqa: E402

from tests.other_lightning import BATCHES, Other, OtherData, other_trainer, stopper  # noqa: E402

ROOT = Path(__file__).parents[1]
CALLBACKS = (BetaScheduleCallback, HyperparamAnnealingCallback, LossBalancingCallback, OptimizerWatchCallback)

pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


def on(source: str, **settings: Any) -> dict[str, Any]:
    answer = {} if "multiply" in settings else {"values": [0.0, 1.0, 2.0, 3.0, 4.0]}
    return {"strategy": "TRIGGER_BASED", "trigger_source": source, **answer, **settings}


def rows(file: Path, column: str) -> list[tuple[int, float]]:
    with file.open() as lines:
        return [(int(row["step"]), float(row[column])) for row in csv.DictReader(lines) if row.get(column)]


def test_the_callbacks_are_callbacks_of_both() -> None:
    import lightning.pytorch

    for callback in CALLBACKS:
        assert issubclass(callback, lightning.pytorch.Callback)
        assert issubclass(callback, pl.Callback)


def test_a_schedule_by_epoch_and_by_step(tmp_path: Path) -> None:
    module = Other()
    by_epoch = HyperparamAnnealingCallback({"beta": Linear(0.0, 1.0, 4)})
    by_step = HyperparamAnnealingCallback(
        {
            "hparams.rate": {
                "strategy": "linear",
                "start_value": 0.0,
                "end_value": 8.0,
                "total_steps": 8,
                "interval": "step",
            }
        },
        name="steps",
    )
    module.look = lambda: module.hparams.rate
    other_trainer(tmp_path, by_epoch, by_step, max_epochs=5).fit(module, OtherData())
    assert module.by_epoch == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert module.extra[:10] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0]


def test_targets_in_the_optimizer_the_datamodule_and_the_trainer(tmp_path: Path) -> None:
    module, data = Other(), OtherData()
    callback = HyperparamAnnealingCallback(
        {
            "optimizer.param_groups.0.weight_decay": Linear(0.0, 1.0, 2),
            "datamodule.noise": Linear(0.0, 4.0, 2),
            "trainer.gradient_clip_val": Linear(1.0, 3.0, 2),
        }
    )
    module.look = lambda: (
        module.trainer.optimizers[0].param_groups[0]["weight_decay"],
        data.noise,
        module.trainer.gradient_clip_val,
    )
    other_trainer(tmp_path, callback, max_epochs=3, gradient_clip_val=1.0).fit(module, data)
    assert module.extra[::BATCHES] == [(0.0, 0.0, 1.0), (0.5, 2.0, 2.0), (1.0, 4.0, 3.0)]


def test_the_batch_size_of_a_datamodule(tmp_path: Path) -> None:
    module = Other()
    sizes = {"strategy": "milestones", "schedule": {1: 2, 2: 4}, "scale_lr": "linear"}
    callback = HyperparamAnnealingCallback({"datamodule.batch_size": sizes})
    other_trainer(tmp_path, callback, max_epochs=3).fit(module, OtherData())
    assert [sum(seen[0] == epoch for seen in module.seen) for epoch in range(3)] == [8, 4, 2]
    assert module.rates == [0.125, 0.25, 0.5]


def test_the_batch_size_of_a_module_with_its_own_loader(tmp_path: Path) -> None:
    class Own(Other):
        def __init__(self) -> None:
            super().__init__()
            self.batch_size = 1

        train_dataloader = OtherData.train_dataloader
        val_dataloader = OtherData.val_dataloader

    module = Own()
    callback = HyperparamAnnealingCallback({"batch_size": {"strategy": "milestones", "schedule": {1: 8}}})
    other_trainer(tmp_path, callback, max_epochs=2).fit(module)
    assert [sum(seen[0] == epoch for seen in module.seen) for epoch in range(2)] == [8, 1]


class Weighted(Other):
    """Logs ``kl`` by step, twice as far above 4 in every other batch, and returns two losses, 4 and 1."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_weights = {"one": 1.0, "two": 1.0}

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:
        self.log("kl", torch.tensor(5.0 + batch_idx % 2), on_step=True)
        return {**super().training_step(batch, batch_idx), "one": torch.tensor(4.0), "two": torch.tensor(1.0)}


def test_a_controller_by_step_beside_phases_and_loss_weights(tmp_path: Path) -> None:
    module = Weighted()
    # The mean of two batches is 1.5 above the set point, and the integral goes up by 1.5 times ki.
    control = {"strategy": "pi_control", "monitor": "kl", "set_point": 4.0, "kp": 0.0, "ki": 0.5, "max_value": 2.5}
    control |= {"interval": "step", "frequency": 2}
    phases = [
        {"name": "warm", "until": 1, "set": {"hparams.rate": 1.0}},
        {"name": "main", "set": {"hparams.rate": 2.0}},
    ]
    module.look = lambda: (module.hparams.rate, dict(module.loss_weights))
    annealing = HyperparamAnnealingCallback({"beta": control}, phases=phases)
    balancing = LossBalancingCallback(["one", "two"], method="inverse_ema")
    other_trainer(tmp_path, annealing, balancing, max_epochs=2).fit(module, OtherData())
    assert [seen[2] for seen in module.seen] == [0.0, 0.0, 0.75, 0.75, 1.5, 1.5, 2.25, 2.25] + [2.5] * 8
    rates, weights = zip(*module.extra, strict=True)
    assert list(rates) == [1.0] * 8 + [2.0] * 8
    # In inverse proportion to 4 and 1, with a mean of 1.
    assert list(weights[:2]) == [{"one": 1.0, "two": 1.0}, {"one": pytest.approx(0.4), "two": pytest.approx(1.6)}]
    assert weights[-1] == {"one": pytest.approx(0.4), "two": pytest.approx(1.6)}


@pytest.mark.parametrize("order", [1, -1])
def test_early_stopping_and_metrics(tmp_path: Path, order: int) -> None:
    module = Other()
    # The counts after the epochs: 0 0 1 2 0 1 2 3.
    callbacks: list[Any] = [
        HyperparamAnnealingCallback({"beta": on("early_stopper_counter")}),
        stopper(),
        HyperparamAnnealingCallback({"hparams.rate": on("metric_below", monitor="val_loss", threshold=3.5)}, name="b"),
    ]
    module.look = lambda: module.hparams.rate
    other_trainer(tmp_path, *callbacks[::order], max_epochs=8).fit(module, OtherData())
    assert module.by_epoch == [0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 4.0]
    assert module.extra[::BATCHES] == [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def test_a_plateau_scheduler(tmp_path: Path) -> None:
    module = Other(plateau=True)
    callback = HyperparamAnnealingCallback({"beta": on("lr_scheduler_triggered")})
    other_trainer(tmp_path, callback, max_epochs=8).fit(module, OtherData())
    # No better in epochs 2 and 3, and in 5 and 6: halved behind the second of both.
    assert module.rates == [0.125] * 4 + [0.0625] * 3 + [0.03125]
    assert module.by_epoch == [0.0] * 4 + [1.0] * 3 + [2.0]


def test_a_stop_is_taken_back(tmp_path: Path) -> None:
    module, stop = Other(), stopper(patience=2)
    wrapped: list[set[str]] = []
    module.look = lambda: wrapped.append({name for name in vars(stop) if name.startswith("on_")})
    extends = on("early_stopper_triggered", extend_training=True, values=[0.0, 1.0])
    other_trainer(tmp_path, HyperparamAnnealingCallback({"beta": extends}), stop, max_epochs=8).fit(module, OtherData())
    # Asked for after epoch 3, and after epoch 6, when no value was left.
    assert module.by_epoch == [0.0] * 4 + [1.0] * 3
    # Its own hooks and no other: under DDP each of them would be a broadcast.
    assert {frozenset(hooks) for hooks in wrapped} == {frozenset({"on_train_epoch_end", "on_validation_end"})}


@pytest.mark.parametrize("order", [0, 1])
def test_learning_rate_monitor_logs_the_value_of_its_step(tmp_path: Path, order: int) -> None:
    ramp = {"strategy": "linear", "start_value": 0.0, "end_value": 8.0, "total_steps": 8, "interval": "step"}
    callbacks: list[Any] = [HyperparamAnnealingCallback({"optimizer.param_groups.0.weight_decay": ramp})]
    callbacks.insert(order, LearningRateMonitor("step", log_weight_decay=True))
    logger = CSVLogger(tmp_path, name="", version="run")
    trainer = other_trainer(tmp_path, *callbacks, logger=logger, max_epochs=1, log_every_n_steps=1)
    trainer.fit(Other(plateau=True), OtherData())
    found = rows(tmp_path / "run" / "metrics.csv", "lr-SGD-weight_decay")
    assert found == [(step, float(step)) for step in range(8)]


def test_a_drop_that_learning_rate_monitor_has_recorded(tmp_path: Path) -> None:
    """The rate that was in force is the recorded one, where another callback moves it afterwards."""
    from lightning_anneal.callbacks.poll import _records

    monitor = LearningRateMonitor("epoch")
    seen: list[int] = []
    module = Other(plateau=True)
    callback = HyperparamAnnealingCallback({"beta": on("lr_scheduler_triggered")})
    logger = CSVLogger(tmp_path, name="", version="run")
    trainer = other_trainer(tmp_path, callback, monitor, logger=logger, max_epochs=5, log_every_n_steps=1)
    module.look = lambda: seen.append(_records(trainer))
    trainer.fit(module, OtherData())
    assert module.by_epoch == [0.0] * 4 + [1.0]
    assert seen[::BATCHES] == [1, 2, 3, 4, 5]


def test_values_reach_the_loggers_and_the_names_of_checkpoints(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loggers = [CSVLogger(tmp_path, name="", version="csv"), TensorBoardLogger(tmp_path, name="", version="board")]
    saves = ModelCheckpoint(
        tmp_path / "saved",
        filename="{epoch}-beta{Beta_Schedule/beta:.2f}",
        save_top_k=-1,
        auto_insert_metric_name=False,
    )
    callback = BetaScheduleCallback("linear", {"max_beta": 1.0, "warmup_epochs": 2}, eval_beta=1.0)
    trainer = other_trainer(tmp_path, callback, saves, logger=loggers, max_epochs=3, log_every_n_steps=8,
                            enable_checkpointing=True)  # fmt: skip
    module = Other()
    trainer.fit(module, OtherData())
    assert module.by_epoch == [0.0, 0.5, 1.0]
    assert module.validated == [1.0, 1.0, 1.0]
    assert rows(tmp_path / "csv" / "metrics.csv", "Beta_Schedule/beta") == [(0, 0.0), (8, 0.5), (16, 1.0)]
    assert rows(tmp_path / "csv" / "metrics.csv", "Batch/KL_Loss") == [(7, 0.25), (15, 0.25), (23, 0.25)]
    board = EventAccumulator(str(tmp_path / "board")).Reload()
    assert [(e.step, e.value) for e in board.Scalars("Beta_Schedule/beta")] == [(0, 0.0), (8, 0.5), (16, 1.0)]
    names = sorted(path.name for path in (tmp_path / "saved").iterdir())
    assert names == ["0-beta0.00.ckpt", "1-beta0.50.ckpt", "2-beta1.00.ckpt"]
    assert (tmp_path / "csv" / "annealing_changes.csv").read_text().count("schedule") == 2


def test_a_hierarchical_beta_is_one_chart(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    class Hierarchical(Other):
        def __init__(self) -> None:
            super().__init__()
            self.global_kl_weight, self.local_kl_weight = 0.0, 0.0

    parts = {
        "global_scheduler": {"type": "constant", "max_beta": 2.0},
        "local_scheduler": {"type": "linear", "max_beta": 1.0, "warmup_epochs": 1},
    }
    logger = TensorBoardLogger(tmp_path, name="", version="board")
    trainer = other_trainer(tmp_path, BetaScheduleCallback("hierarchical", parts), logger=logger, max_epochs=2)
    trainer.fit(Hierarchical(), OtherData())
    chart = "Beta_Schedule_Hierarchical_Comparison"
    lines = {
        part: EventAccumulator(str(tmp_path / "board" / f"{chart}_{part}")).Reload() for part in ("global", "local")
    }
    tag = "Beta_Schedule/Hierarchical_Comparison"
    assert [e.value for e in lines["global"].Scalars(tag)] == [2.0, 2.0]
    assert [e.value for e in lines["local"].Scalars(tag)] == [0.0, 1.0]


def test_a_resumed_run_equals_one_that_was_never_stopped(tmp_path: Path) -> None:
    def callbacks() -> list[Any]:
        annealed = {
            "beta": on("early_stopper_counter"),
            "optimizer.param_groups.0.weight_decay": {"strategy": "linear", "end_value": 0.5, "interval": "step"},
        }
        beta = BetaScheduleCallback("cosine", {"max_beta": 1.0, "warmup_epochs": 4}, attr_name="hparams.rate")
        return [HyperparamAnnealingCallback(annealed), beta, stopper(), OptimizerWatchCallback()]

    def run(ckpt: Path | None = None) -> Other:
        module = Other()
        module.look = lambda: (module.hparams.rate, module.trainer.optimizers[0].param_groups[0]["weight_decay"])
        saves = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        trainer = other_trainer(tmp_path, *callbacks(), saves, max_epochs=8, enable_checkpointing=True)
        trainer.fit(module, OtherData(), ckpt_path=None if ckpt is None else str(ckpt))
        return module

    whole = run()
    assert whole.by_epoch == [0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 3.0, 4.0]
    assert whole.extra[0] == (0.0, 0.0)
    for epoch in (2, 5):
        resumed = run(tmp_path / f"epoch={epoch}.ckpt")
        done = (epoch + 1) * BATCHES
        assert (resumed.seen, resumed.extra) == (whole.seen[done:], whole.extra[done:])
        assert torch.equal(resumed.layer.weight, whole.layer.weight)


def test_an_evaluation_has_the_values_of_the_checkpoint(tmp_path: Path) -> None:
    module = Other()
    saves = ModelCheckpoint(tmp_path, filename="last", save_on_train_epoch_end=True)
    beta = {"max_beta": 1.0, "warmup_epochs": 2}
    other_trainer(tmp_path, BetaScheduleCallback("linear", beta), saves, max_epochs=2, enable_checkpointing=True).fit(
        module, OtherData()
    )
    fresh = Other()
    other_trainer(tmp_path, BetaScheduleCallback("linear", beta)).validate(
        fresh, OtherData(), ckpt_path=str(tmp_path / "last.ckpt"), verbose=False
    )
    assert fresh.validated == [0.5]


class Configured(Other):
    """Configured by name."""

    def __init__(self, **optim: Any) -> None:
        super().__init__()
        self.optim = {"optimizer": "SGD", "learning_rate": 1.0, **optim}

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, **self.optim)


def test_configured_optimizers_get_the_lengths_of_the_run(tmp_path: Path) -> None:
    module = Configured(scheduler="CosineAnnealingLR")
    other_trainer(tmp_path, max_epochs=4).fit(module, OtherData())
    # Half a cosine over four epochs: cos of 0, 45, 90 and 135 degrees.
    assert module.rates == pytest.approx([1.0, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


def test_a_schedule_of_this_package_and_a_plateau_without_a_monitor(tmp_path: Path) -> None:
    module = Configured(scheduler=Cosine(1.0, 0.0, 2))
    other_trainer(tmp_path, max_epochs=3).fit(module, OtherData())
    assert module.rates == pytest.approx([1.0, 0.5, 0.0])
    module = Configured(scheduler="ReduceLROnPlateau", scheduler_kwargs={"factor": 0.5, "patience": 0})
    other_trainer(tmp_path, max_epochs=4).fit(module, OtherData())
    assert module.rates == [1.0, 1.0, 1.0, 0.5]


@pytest.mark.parametrize("validates", [True, False])
def test_what_a_plateau_watches_in_a_module_without_a_trainer(validates: bool) -> None:
    class Blind(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

    class Seeing(Blind):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            """Something."""

    module = Seeing() if validates else Blind()
    configured = configure_optimizers(module, scheduler="ReduceLROnPlateau")
    assert configured["lr_scheduler"]["monitor"] == ("val_loss" if validates else "train_loss")


@pytest.mark.parametrize("monitor", [False, True])
def test_optimizers_are_watched(tmp_path: Path, monitor: bool) -> None:
    callbacks = [OptimizerWatchCallback(), *([LearningRateMonitor("epoch")] if monitor else [])]
    logger = CSVLogger(tmp_path, name="", version="run")
    module = Configured(scheduler="StepLR", scheduler_kwargs={"step_size": 1, "gamma": 0.5})
    other_trainer(tmp_path, *callbacks, logger=logger, max_epochs=2, log_every_n_steps=4).fit(module, OtherData())
    logged = rows(tmp_path / "run" / "metrics.csv", "lr-SGD")
    decay = rows(tmp_path / "run" / "metrics.csv", "lr-SGD-weight_decay")
    if monitor:  # it does the logging, as it was told to
        assert (logged, decay) == ([(0, 1.0), (8, 0.5)], [])
    else:
        assert logged == [(0, 1.0), (8, 0.5)]
        assert {value for _, value in decay} == {0.0}


def test_a_nan_loss_and_a_monitor_that_is_not_logged(tmp_path: Path) -> None:
    class Bad(Configured):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch[0]).mean() * (float("nan") if batch_idx == 3 else 1.0)

    with pytest.raises(AnnealError, match="loss: NaN in epoch 0, batch 3, with a learning rate of 1; "):
        other_trainer(tmp_path, OptimizerWatchCallback()).fit(Bad(), OtherData())
    watching = {"scheduler": "ReduceLROnPlateau", "scheduler_configs": {"monitor": "val_los"}}
    with pytest.raises(AnnealError, match="'val_los' is not logged; did you mean 'val_loss'"):
        other_trainer(tmp_path, OptimizerWatchCallback()).fit(Configured(**watching), OtherData())


def test_a_metric_that_the_module_logs_in_its_own_hook_is_waited_for(tmp_path: Path) -> None:
    class Late(Configured):
        def on_train_epoch_end(self) -> None:
            self.log("late", torch.tensor(1.0))

    module = Late(
        scheduler="ReduceLROnPlateau", scheduler_configs={"monitor": "late"}, scheduler_kwargs={"patience": 0}
    )
    other_trainer(tmp_path, OptimizerWatchCallback(), max_epochs=3).fit(module, OtherData())
    assert module.rates == pytest.approx([1.0, 1.0, 0.1])


def test_a_mistake_is_told_as_ever(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match="betta: Other has no attribute 'betta'; did you mean 'beta'"):
        other_trainer(tmp_path, HyperparamAnnealingCallback({"betta": Linear(0, 1, 2)})).fit(Other(), OtherData())
    trainer = other_trainer(tmp_path, HyperparamAnnealingCallback({"batch_size": Linear(1, 2, 2)}))
    with pytest.raises(AnnealError, match="loaders given to fit"):
        trainer.fit(Batched(), OtherData().train_dataloader(), OtherData().val_dataloader())


class Batched(Other):
    """With a batch size that no loader is made with."""

    def __init__(self) -> None:
        super().__init__()
        self.batch_size = 1


# -- LightningCLI -----------------------------------------------------------------------------------------------------


def config(folder: Path, *callbacks: dict[str, Any], **trainer: Any) -> dict[str, Any]:
    return {
        "seed_everything": 1,
        "model": {"class_path": "tests.other_lightning.Other", "init_args": {"plateau": True}},
        "data": {"batch_size": 2},
        "trainer": {**QUIET, "max_epochs": 3, "default_root_dir": str(folder), "callbacks": list(callbacks), **trainer},
    }


YAML_CALLBACKS: list[dict[str, Any]] = [
    {
        "class_path": "lightning_anneal.BetaScheduleCallback",
        "init_args": {
            "beta_scheduler_type": "linear",
            "beta_scheduler_params": {"max_beta": 1.0, "warmup_epochs": 2},
            "eval_beta": 1.0,
        },
    },
    {
        "class_path": "lightning_anneal.HyperparamAnnealingCallback",
        "init_args": {"annealing_params": {"datamodule.batch_size": {"strategy": "milestones", "schedule": {2: 8}}}},
    },
    {"class_path": "lightning_anneal.OptimizerWatchCallback"},
    {"class_path": "pytorch_lightning.callbacks.EarlyStopping", "init_args": {"monitor": "val_loss"}},
]


def test_lightning_cli_from_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["fit"])  # it warns of words on the command line besides its args
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config(tmp_path, *YAML_CALLBACKS)))
    cli = LightningCLI(
        pl.LightningModule,
        OtherData,
        subclass_mode_model=True,
        save_config_callback=None,
        args=["fit", "--config", str(file)],
    )
    assert cli.model.by_epoch == [0.0, 0.5, 1.0]
    assert cli.model.validated == [1.0, 1.0, 1.0]
    assert [sum(seen[0] == epoch for seen in cli.model.seen) for epoch in range(3)] == [4, 4, 1]
    assert any(isinstance(callback, EarlyStopping) for callback in cli.trainer.callbacks)


def other_process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=ROOT, timeout=300,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.processes
def test_lightning_cli_as_a_process_of_two_ranks(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    spread = {"class_path": "pytorch_lightning.strategies.DDPStrategy", "init_args": {"process_group_backend": "gloo"}}
    file.write_text(yaml.safe_dump(config(tmp_path, *YAML_CALLBACKS[:1], devices=2, strategy=spread)))
    done = other_process("-m", "tests.other_lightning", "fit", "--config", str(file), SEEN_IN=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    assert [json.loads((tmp_path / f"seen{rank}.json").read_text()) for rank in (0, 1)] == [[0.0, 0.5, 1.0]] * 2


# -- a search ----------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_the_runs_of_a_search_are_kept(tmp_path: Path) -> None:
    """The entry point for Trainers of this package: found by Lightning, without a word in the script."""
    words = f"{sys.executable} -m tests.other_lightning fit --config {{config}}"
    logger = {"class_path": "pytorch_lightning.loggers.TensorBoardLogger", "init_args": {"save_dir": "elsewhere"}}
    whole = config(
        tmp_path, *YAML_CALLBACKS[:2], {"class_path": "pytorch_lightning.callbacks.ModelSummary"}, logger=logger
    )
    whole["data"]["batch_size"] = [1, 2]
    search = HyperParamSearch(whole, root_dir=tmp_path / "runs", quiet=True, command=words, monitor="val_loss")
    assert [(axis.path, axis.values) for axis in search.axes()] == [("data.batch_size", (1, 2))]
    result = search.run()
    assert [row["state"] for row in result.table] == ["done", "done"]
    folders = sorted(path.parent for path in (tmp_path / "runs").rglob("result.json"))
    assert len(folders) == 2
    for folder in folders:
        epochs = json.loads((folder / "result.json").read_text())["epochs"]
        assert [metrics["val_loss"] for metrics in epochs.values()] == [5.0, 4.0, 4.0]
        assert torch.load(folder / "last.ckpt", weights_only=True)["epoch"] == 2
        assert list(folder.rglob("events.*"))


@pytest.mark.processes
def test_a_run_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config(tmp_path, YAML_CALLBACKS[0])))
    words = ("-m", "tests.other_lightning", "fit", "--config", str(file))
    for epochs, seen in ((1, [0.0]), (3, [0.5, 1.0])):
        done = other_process(
            *words, f"--trainer.max_epochs={epochs}", **{RUN_FOLDER: str(tmp_path), "SEEN_IN": str(tmp_path)}
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert json.loads((tmp_path / "seen.json").read_text()) == seen


# -- importing --------------------------------------------------------------------------------------------------------


@pytest.mark.processes
@pytest.mark.parametrize("first", ["pytorch_lightning", "lightning_anneal.callbacks.beta", "lightning.pytorch"])
def test_whichever_is_imported_first(first: str) -> None:
    code = f"import {first}; from lightning_anneal import OptimizerWatchCallback as C, BetaScheduleCallback as B; " \
           "import lightning.pytorch as a, pytorch_lightning as b; " \
           "print([issubclass(c, p.Callback) for c in (B, C) for p in (a, b)])"  # fmt: skip
    done = other_process("-W", "ignore", "-c", code)
    assert done.stdout.splitlines()[-1:] == ["[True, True, True, True]"], done.stderr


@pytest.mark.processes
@pytest.mark.parametrize("missing", ["sys.modules['pytorch_lightning'] = None", "sys.path.insert(0, BROKEN)"])
def test_without_pytorch_lightning(tmp_path: Path, missing: str) -> None:
    """Where it isn't installed, and where it can't be imported for whatever reason."""
    broken = tmp_path / "pytorch_lightning"
    broken.mkdir()
    (broken / "__init__.py").write_text("raise AttributeError('np.Inf')")
    code = f"""
import sys
from pathlib import Path
BROKEN = {str(tmp_path)!r}
{missing}
from lightning_anneal import HyperparamAnnealingCallback, Linear, OptimizerWatchCallback
from tests.tiny import Tiny, Data, trainer_for
module = Tiny()
annealed = {{"beta": Linear(0.0, 1.0, 2), "optimizer.param_groups.0.weight_decay": Linear(0.0, 1.0, 2)}}
trainer_for(Path({str(tmp_path)!r}), HyperparamAnnealingCallback(annealed), OptimizerWatchCallback(), max_epochs=3).fit(module, Data())
print(module.by_epoch)
"""
    done = other_process("-W", "ignore", "-c", code)
    assert done.stdout.splitlines()[-1:] == ["[0.0, 0.5, 1.0]"], done.stderr


def test_schedules_load_neither() -> None:
    code = "import lightning_anneal as a, sys; a.Cosine(0, 1, 10)(5); print('pytorch_lightning' in sys.modules)"
    assert other_process("-c", code).stdout.strip() == "False"


def test_the_package_is_this_one() -> None:
    assert Path(lightning_anneal.__file__).parents[1] == ROOT
