"""What a run's keeper does in the cases that a plain search has not: other loggers, trials, ranks and fits."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import SIGTERMException
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_anneal.lightnings import twins
from lightning_anneal.search import keeper
from lightning_anneal.search.files import read_json, write_json
from lightning_anneal.search.keeper import RunKeeper, resume_by_itself
from tests.tiny import Tiny, trainer_for

ORDER = {"values": {"model.init_args.lr": 0.1}, "monitor": "val_loss", "mode": "min"}


class Level(Tiny):
    """Its val_loss is 0.5."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", 0.5)


def test_of_several_loggers_tensorboard_has_the_best_metric(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", ORDER)
    board = TensorBoardLogger(tmp_path, "board")
    loggers = [CSVLogger(tmp_path, "csv"), board]
    options: dict[str, Any] = {"enable_checkpointing": True, "logger": loggers, "log_every_n_steps": 1}
    trainer_for(tmp_path, RunKeeper(tmp_path), max_epochs=1, **options).fit(Level())
    assert read_json(tmp_path / "result.json")["epochs"]["0"]["val_loss"] == 0.5
    tags = EventAccumulator(board.log_dir).Reload()
    assert tags.Scalars("best/val_loss")[0].value == 0.5
    assert "hp_metric" not in tags.Tags()["scalars"]
    rows = (Path(loggers[0].log_dir) / "metrics.csv").read_text()
    assert "val_loss" in rows
    assert "best/val_loss" not in rows


def test_a_trial_leaves_nothing_behind(tmp_path: Path) -> None:
    module = Level()
    trainer_for(tmp_path, RunKeeper(tmp_path), enable_checkpointing=True, fast_dev_run=True).fit(module)
    assert len(module.seen) == 1
    assert list(tmp_path.iterdir()) == []


# -- the second process of a run -----------------------------------------------------------------------------------------


class SecondRank(SimpleNamespace):
    """What a keeper sees of the Trainer of a run's second process, at the end of an epoch."""

    world_size, is_global_zero, fast_dev_run, current_epoch, should_stop = 2, False, 0, 0, False

    def __init__(self) -> None:
        super().__init__(callback_metrics={"val_loss": 0.5}, saved=[])
        self._signal_connector = SimpleNamespace(received_sigterm=False)

    def save_checkpoint(self, path: Path) -> None:
        self.saved.append(path)


def test_every_rank_saves_and_only_the_first_one_writes_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "_fits", 1)
    trainer: Any = SecondRank()
    RunKeeper(tmp_path).on_train_epoch_end(trainer, Tiny())
    # A sharded checkpoint is made by all of them together.
    assert trainer.saved == [tmp_path / ".last.ckpt"]
    assert list(tmp_path.iterdir()) == []
    assert trainer.should_stop is False


@pytest.fixture
def sigterm() -> Iterator[None]:
    """What a signal does here is put back."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_signal_to_several_ranks_is_left_to_the_loop(sigterm: None, tmp_path: Path) -> None:
    trainer: Any = SecondRank()
    RunKeeper(tmp_path).on_train_start(trainer, Tiny())
    assert trainer._signal_connector.received_sigterm is False
    signal.raise_signal(signal.SIGTERM)
    assert trainer._signal_connector.received_sigterm is True
    assert trainer.should_stop is False


def test_the_loop_passes_the_flag_of_the_signal_on(fit: Any) -> None:
    """What `received_sigterm` of the connector does."""

    class Flagged(Tiny):
        def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
            if batch_idx == 3:
                self.trainer._signal_connector.received_sigterm = True

    module = Flagged()
    with pytest.raises(SIGTERMException):
        fit(module=module)
    assert len(module.seen) == 4


# -- fits that go on by themselves -----------------------------------------------------------------------------------------


@pytest.fixture
def no_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process that has not fitted yet."""
    monkeypatch.setattr(keeper, "_fits", 0)


def test_however_many_trainers_a_script_makes_a_fit_is_counted_once(
    no_fits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for trainer in twins("Trainer"):
        monkeypatch.setattr(trainer, "fit", trainer.fit)
    monkeypatch.setenv("LIGHTNING_ANNEAL_RUN", str(tmp_path))
    resume_by_itself()
    once = [trainer.fit for trainer in twins("Trainer")]
    resume_by_itself()
    assert [trainer.fit for trainer in twins("Trainer")] == once
    trainer_for(tmp_path, max_epochs=1).fit(Tiny())
    assert keeper._fits == 1


def test_a_lightning_that_knows_nothing_of_weights_only_is_not_told_of_it(
    no_fits: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Lightning 2.5 is."""
    given: list[Any] = []

    def fit(self: Any, model: Any, ckpt_path: str | None = None) -> None:
        given.append((model, ckpt_path))

    resuming = keeper._resuming(fit, SIGTERMException)
    # Before the variable is there: Lightning asks the package for callbacks, which would change `fit` for all tests.
    trainer = lightning.pytorch.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    monkeypatch.setenv("LIGHTNING_ANNEAL_RUN", str(tmp_path))
    for name in ("last.ckpt", "last_of_fit_2.ckpt"):
        (tmp_path / name).touch()
    resuming(trainer, "a")
    resuming(trainer, "b")
    resuming(trainer, "c")
    resuming(trainer, "d", ckpt_path="mine.ckpt")
    assert given == [
        ("a", str(tmp_path / "last.ckpt")),
        ("b", str(tmp_path / "last_of_fit_2.ckpt")),
        ("c", None),
        ("d", "mine.ckpt"),
    ]
