"""The audit of real fits: what is recorded, why, and where."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lightning_anneal import BetaScheduleCallback, HyperparamAnnealingCallback
from tests.scripted import Scripted, stopper
from tests.tiny import Tiny, trainer_for

pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")

SETTINGS: dict[str, Any] = {
    "beta": {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": [0.5, 1.0, 2.0]},
    "loss.margin": {"strategy": "linear", "start_value": 0.2, "end_value": 1.2, "total_steps": 10, "interval": "step"},
    "weights.kl": {"strategy": "scheduled", "schedule": {1: 0.25, 3: 0.125}},
}
# Counts 0 0 1 2 3; 8 steps an epoch.
ROWS = [
    (0, 0, "beta", 0.0, 0.5, "start"),
    (0, 1, "loss.margin", 0.2, 0.30000000000000004, "schedule"),
    (1, 8, "weights.kl", 0.5, 0.25, "schedule"),
    (1, 10, "loss.margin", 1.1, 1.2, "schedule"),
    (3, 24, "beta", 0.5, 1.0, "early_stopper_counter 0 -> 1"),
    (3, 24, "weights.kl", 0.25, 0.125, "schedule"),
    (4, 32, "beta", 1.0, 2.0, "early_stopper_counter 1 -> 2"),
]


def by_rows(callback: Any) -> list[tuple[Any, ...]]:
    return sorted((c.epoch, c.step, c.name, c.old, c.new, c.why) for c in callback.changes)


def in_file(folder: Path) -> list[tuple[Any, ...]]:
    with (folder / "annealing_changes.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["epoch", "step", "name", "old", "new", "why"]
    return sorted((int(e), int(s), n, float(old), float(new), why) for e, s, n, old, new, why in rows)


@pytest.mark.parametrize("logger", [CSVLogger, TensorBoardLogger])
def test_in_memory_and_beside_the_logger(tmp_path: Path, logger: Any) -> None:
    callback = HyperparamAnnealingCallback(SETTINGS)
    trainer = trainer_for(tmp_path, callback, stopper(), logger=logger(tmp_path), max_epochs=5)
    trainer.fit(Scripted())
    assert by_rows(callback) == ROWS
    assert in_file(Path(trainer.logger.log_dir)) == ROWS


def test_without_a_logger_it_is_in_memory_only(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback(SETTINGS)
    trainer_for(tmp_path, callback, stopper(), max_epochs=5).fit(Scripted())
    assert by_rows(callback) == ROWS
    assert not list(tmp_path.rglob("*.csv"))


@pytest.mark.parametrize("when", [{"save_on_train_epoch_end": True}, {"every_n_train_steps": 5}])
def test_a_resume_goes_on_and_doubles_nothing(tmp_path: Path, when: dict[str, Any]) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{epoch}-{step}", save_top_k=-1, **when)
    log = {"save_dir": tmp_path, "version": 0}
    options: dict[str, Any] = {"max_epochs": 5, "enable_checkpointing": True}
    trainer_for(
        tmp_path, HyperparamAnnealingCallback(SETTINGS), stopper(), saver, logger=CSVLogger(**log), **options
    ).fit(Scripted())
    file = tmp_path / "lightning_logs" / "version_0"
    assert in_file(file) == ROWS
    for checkpoint in sorted(tmp_path.glob("epoch=[0123]*.ckpt")):
        callback, module = HyperparamAnnealingCallback(SETTINGS), Scripted()
        module.validations = int(checkpoint.name.split("=")[1][0]) + (1 if "save_on_train_epoch_end" in when else 0)
        trainer_for(tmp_path, callback, stopper(), logger=CSVLogger(**log), max_epochs=5).fit(
            module, ckpt_path=checkpoint
        )
        assert in_file(file) == by_rows(callback) == ROWS


def test_a_new_run_in_the_same_folder_begins_anew(tmp_path: Path) -> None:
    for _ in range(2):
        callback = HyperparamAnnealingCallback(SETTINGS)
        trainer_for(tmp_path, callback, stopper(), logger=CSVLogger(tmp_path, version=0), max_epochs=5).fit(Scripted())
    assert in_file(tmp_path / "lightning_logs" / "version_0") == by_rows(callback) == ROWS


def test_two_callbacks_share_the_file(tmp_path: Path) -> None:
    beta = BetaScheduleCallback("linear", {"max_beta": 1.0, "warmup_epochs": 2})
    other = HyperparamAnnealingCallback({"weights.kl": SETTINGS["weights.kl"]})
    trainer_for(tmp_path, beta, other, logger=CSVLogger(tmp_path, version=0), max_epochs=4).fit(Tiny())
    assert in_file(tmp_path / "lightning_logs" / "version_0") == sorted(by_rows(beta) + by_rows(other))
    assert by_rows(beta) == [
        (0, 0, "beta", 1.0, 0.0, "schedule"),
        (1, 8, "beta", 0.0, 0.5, "schedule"),
        (2, 16, "beta", 0.5, 1.0, "schedule"),
    ]


def test_two_callbacks_keep_the_order_of_the_file_over_a_resume(tmp_path: Path) -> None:
    file = tmp_path / "lightning_logs" / "version_0" / "annealing_changes.csv"

    def fit(**options: Any) -> list[list[str]]:
        beta = BetaScheduleCallback("linear", {"max_beta": 1.0, "warmup_epochs": 4})
        other = HyperparamAnnealingCallback({"weights.kl": SETTINGS["weights.kl"]})
        saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
        logger = CSVLogger(tmp_path, version=0)
        every = [beta, other, saver]
        trainer_for(tmp_path, *every, logger=logger, enable_checkpointing=True).fit(Tiny(), **options)
        return [row.split(",")[1:3] for row in file.read_text().splitlines()[1:]]

    kl, beta = "weights.kl", "beta"
    whole = [["0", beta], ["8", beta], ["8", kl], ["16", beta], ["24", beta], ["24", kl]]
    assert fit() == whole
    for epoch in (0, 1, 2):
        assert fit(ckpt_path=tmp_path / f"epoch={epoch}.ckpt") == whole


def test_of_a_wave_and_of_restarts_by_step(tmp_path: Path) -> None:
    wave = {"strategy": "cyclical", "cycle_length": 8, "min_value": 0.0, "max_value": 1.0, "interval": "step"}
    base = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 4}
    restart = {"strategy": "warm_restart", "base": base, "restart_interval": 6, "interval": "step"}
    callback = HyperparamAnnealingCallback({"beta": restart, "loss.margin": {**wave, "wave_type": "triangle"}})
    trainer_for(tmp_path, callback, max_epochs=2).fit(Tiny())
    assert [row[1:5] for row in by_rows(callback)] == [
        (0, "beta", 1.0, 0.0),
        (0, "loss.margin", 0.2, 0.0),
        (6, "beta", 1.0, 0.0),
        (12, "beta", 1.0, 0.0),
    ]
