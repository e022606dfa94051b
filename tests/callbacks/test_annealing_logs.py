"""HyperparamAnnealingCallback tells: loggers, callback_metrics, the progress bar, INFO."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger

from lightning_anneal import HyperparamAnnealingCallback
from tests.callbacks.rules import anneal, ramp
from tests.tiny import Tiny, TwoOptimizers, WithHparams, trainer_for

Fit = Callable[..., Tiny]

# Many a ramp here is cut short on purpose; one test looks at the warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


@pytest.mark.parametrize("order", [0, 1])
def test_learning_rate_monitor_anywhere_logs_the_value_of_its_step(tmp_path: Path, order: int) -> None:
    callbacks: list[Callback] = [
        HyperparamAnnealingCallback(
            {"optimizer.param_groups.0.weight_decay": ramp(8.0, total_steps=8, interval="step")}
        )
    ]
    callbacks.insert(order, LearningRateMonitor("step", log_weight_decay=True))
    logger = CSVLogger(tmp_path, name="", version="run")
    trainer_for(tmp_path, *callbacks, logger=logger, max_epochs=1, log_every_n_steps=1).fit(WithScheduler())
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lr-SGD-weight_decay"]]
    assert [(int(row["step"]), float(row["lr-SGD-weight_decay"])) for row in rows] == [(s, float(s)) for s in range(8)]


class WithScheduler(Tiny):
    """LearningRateMonitor wants one."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, weight_decay=1.0)
        return [optimizer], [torch.optim.lr_scheduler.ConstantLR(optimizer)]


class Recorder(CSVLogger):
    """A logger that remembers the calls."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls: list[tuple[int | None, str, float]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.calls += [(step, name, value) for name, value in metrics.items() if "/" in name]


def test_what_is_logged_at_which_x(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = HyperparamAnnealingCallback(
        {"beta": ramp(), "loss.margin": ramp(16.0, total_steps=16, interval="step")}, prog_bar=["beta"]
    )
    trainer = trainer_for(tmp_path, callback, logger=[logger], log_every_n_steps=3, max_epochs=2)
    trainer.fit(Tiny())
    assert [c for c in logger.calls if c[1] == "Annealing/beta"] == [
        (0, "Annealing/beta", 0.0),
        (8, "Annealing/beta", 3.0),
    ]
    steps = [2, 5, 8, 11, 14]
    assert [c for c in logger.calls if "margin" in c[1]] == [(s, "Annealing/loss.margin", float(s)) for s in steps]
    assert trainer.progress_bar_metrics["beta"] == 3.0


def test_accumulation_logs_each_step_once(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = anneal(end=8.0, total_steps=8, interval="step")
    trainer_for(tmp_path, callback, logger=logger, log_every_n_steps=1, accumulate_grad_batches=2, max_epochs=2).fit(
        Tiny()
    )
    assert logger.calls == [(s, "Annealing/beta", float(s)) for s in range(8)]


def test_manual_optimization_logs_at_lightnings_x(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = anneal(end=8.0, total_steps=8, interval="step")
    trainer_for(tmp_path, callback, logger=logger, log_every_n_steps=2, max_epochs=1).fit(TwoOptimizers())
    # Lightning counts every batch there, and the optimizers step at every second one.
    assert logger.calls == [(1, "Annealing/beta", 0.0), (3, "Annealing/beta", 1.0), (5, "Annealing/beta", 2.0),
                            (7, "Annealing/beta", 3.0)]  # fmt: skip


def test_callback_metrics(tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {"validation": [], "epoch end": [], "batch": []}

    class Reads(Callback):
        def note(self, trainer: Any, when: str) -> None:
            if "Annealing/beta" in trainer.callback_metrics:
                seen[when].append(float(trainer.callback_metrics["Annealing/beta"]))

        def on_validation_start(self, trainer: Any, *args: Any) -> None:
            self.note(trainer, "validation")

        def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
            self.note(trainer, "epoch end")

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            self.note(trainer, "batch")

    callback = anneal(end=16.0, total_steps=16, interval="step", eval_value=1.0)
    trainer_for(tmp_path, callback, Reads(), max_epochs=2, val_check_interval=0.5).fit(Tiny())
    assert seen["validation"] == [3.0, 7.0, 11.0, 15.0]
    assert seen["epoch end"] == [7.0, 15.0]
    # Not per step: between the hooks it stays.
    assert seen["batch"] == [3.0] * 4 + [7.0] * 4 + [11.0] * 4


def test_what_is_said(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lightning_anneal"):
        callback = HyperparamAnnealingCallback(
            {
                "beta": ramp(total_steps=3),
                "loss.margin": ramp(12.0, total_steps=12, interval="step"),
                "weights.kl": {"strategy": "milestones", "schedule": {5: 1, 10: 2}, "interval": "step"},
                "weights.nested.0": {
                    "strategy": "warm_restart",
                    "base": ramp(4.0, total_steps=4),
                    "restart_interval": 9,
                    "interval": "step",
                },
            }
        )
        fit(callback, max_epochs=2)
    assert [r.getMessage() for r in caplog.records if r.name == "lightning_anneal"] == [
        "beta: 1 -> 0 (epoch 0, step 0; schedule)",
        "loss.margin: 0.2 -> 0 (epoch 0, step 0; schedule)",
        "weights.nested.0: 0.1 -> 0 (epoch 0, step 0; schedule)",
        "weights.kl: 0.5 -> 1 (epoch 0, step 5; schedule)",
        "beta: 0 -> 1 (epoch 1, step 8; schedule)",
        "weights.nested.0: 4 -> 0 (epoch 1, step 9; schedule)",
        "weights.kl: 1 -> 2 (epoch 1, step 10; schedule)",
        "loss.margin: 11 -> 12 (epoch 1, step 12; schedule)",
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"total_steps": 9}, "beta: 9 epochs is longer than the run (4 epochs); it will end on 1"),
        (
            {"total_steps": 90, "interval": "step"},
            "beta: 90 steps is longer than the run (32 steps); it will end on 1.03333",
        ),
    ],
)
def test_a_length_longer_than_the_run_is_told(fit: Fit, settings: dict[str, Any], message: str) -> None:
    with pytest.warns(UserWarning, match="longer than the run") as warned:
        fit(anneal(**settings))
    assert [str(w.message) for w in warned if "longer" in str(w.message)] == [message]


def test_a_name_in_the_module_and_in_its_hparams(fit: Fit) -> None:
    with pytest.warns(UserWarning, match=r"beta: the module and its hparams both have it.*write hparams\.beta"):
        module: Any = fit(anneal(total_steps=3), module=WithHparams())
    assert (module.beta, module.hparams.beta) == (3.0, 4.0)
