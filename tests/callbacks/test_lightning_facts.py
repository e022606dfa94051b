"""What this package takes for granted of Lightning. A release that changes it fails here, and not in a user's run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import report
from lightning_anneal.run_length import horizon_of, steps_per_epoch
from tests.tiny import Tiny, trainer_for


class Hooks(Callback):
    """Writes down which hooks came, in order."""

    NAMES = (
        *("setup", "on_load_checkpoint", "load_state_dict", "on_fit_start", "on_sanity_check_start"),
        *("on_train_start", "on_train_epoch_start", "on_train_batch_start", "on_train_batch_end"),
        *("on_validation_start", "on_validation_end", "on_train_epoch_end", "on_train_end", "on_fit_end", "teardown"),
    )

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.steps: dict[str, int] = {}
        for name in self.NAMES:
            setattr(self, name, self._note(name))

    def _note(self, name: str) -> Any:
        def hook(*args: Any, **kwargs: Any) -> None:
            if self.calls[-1:] != [name]:
                self.calls.append(name)
            if name != "load_state_dict":
                self.steps.setdefault(name, args[0].global_step)

        return hook

    def state_dict(self) -> dict[str, Any]:
        return {"any": 1}


EPOCH = ["on_train_epoch_start", *["on_train_batch_start", "on_train_batch_end"] * 8,
         "on_validation_start", "on_validation_end", "on_train_epoch_end"]  # fmt: skip


def test_order_of_hooks(tmp_path: Path) -> None:
    hooks = Hooks()
    trainer_for(tmp_path, hooks, max_epochs=1).fit(Tiny())
    assert hooks.calls == [
        *(
            "setup",
            "on_fit_start",
            "on_sanity_check_start",
            "on_validation_start",
            "on_validation_end",
            "on_train_start",
        ),
        *EPOCH,
        *("on_train_end", "on_fit_end", "teardown"),
    ]


def test_order_of_hooks_on_resume(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, Hooks(), max_epochs=1)
    trainer.fit(Tiny())
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    hooks = Hooks()
    trainer_for(tmp_path, hooks, max_epochs=2).fit(Tiny(), ckpt_path=tmp_path / "c.ckpt")
    assert hooks.calls[:4] == ["setup", "on_load_checkpoint", "load_state_dict", "on_fit_start"]
    # Before on_train_start nothing of the loops is restored.
    assert (hooks.steps["on_fit_start"], hooks.steps["on_train_start"]) == (0, 8)


def test_optimizers_are_there_at_fit_start_and_have_new_groups_after_a_resume(tmp_path: Path) -> None:
    groups: dict[str, list[int]] = {}

    class Reads(Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            groups["fit"] = [id(g) for g in trainer.optimizers[0].param_groups]
            self.keep = trainer.optimizers[0].param_groups

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            groups["train"] = [id(g) for g in trainer.optimizers[0].param_groups]

    trainer = trainer_for(tmp_path, Reads(), max_epochs=1)
    trainer.fit(Tiny())
    assert groups["fit"] == groups["train"]
    trainer.save_checkpoint(tmp_path / "c.ckpt")
    trainer_for(tmp_path, Reads(), max_epochs=2).fit(Tiny(), ckpt_path=tmp_path / "c.ckpt")
    assert groups["fit"] != groups["train"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"max_epochs": 3}, (3, 24, 8)),
        ({"max_epochs": 3, "accumulate_grad_batches": 3}, (3, 9, 3)),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, (3, 12, 4)),
        ({"max_epochs": -1, "max_steps": 20}, (2.5, 20, 8)),
        ({"max_epochs": 3, "max_steps": 20}, (2.5, 20, 8)),
        ({"max_epochs": None}, (1000, 8000, 8)),
        ({"max_epochs": -1, "max_time": "00:00:00:01"}, (None, None, 8)),
    ],
)
@pytest.mark.filterwarnings("ignore:`max_epochs` was not set")
def test_length_of_the_run(tmp_path: Path, options: dict[str, Any], expected: tuple[Any, ...]) -> None:
    found = []

    class Reads(Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            horizon = horizon_of(trainer)
            found.append((horizon.run("epoch"), horizon.run("step"), steps_per_epoch(trainer)))
            trainer.should_stop = True
            trainer.fit_loop.max_epochs = 1

    trainer_for(tmp_path, Reads(), limit_val_batches=0, **options).fit(Tiny())
    assert found == [expected]


def test_the_loader_is_made_once(tmp_path: Path) -> None:
    made = []

    class Counts(Tiny):
        def train_dataloader(self) -> DataLoader[Any]:
            made.append(1)
            return DataLoader(TensorDataset(torch.ones(8, 4)), batch_size=1)

    class Asks(Callback):
        def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
            assert steps_per_epoch(trainer) == steps_per_epoch(trainer) == 8

    trainer_for(tmp_path, Asks(), max_epochs=2).fit(Counts())
    assert len(made) == 1


def test_the_x_is_that_of_lightnings_own_logging(tmp_path: Path) -> None:
    seen: list[int] = []
    due: list[int] = []
    ahead: list[float] = []

    class Logs(Tiny):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("own", 1.0)
            return super().training_step(batch, batch_idx)

    class Recorder(CSVLogger):
        def log_metrics(self, metrics: Any, step: int | None = None) -> None:
            if "own" in metrics and step is not None:
                seen.append(step)

    class Reads(Callback):
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            step = report.due_step(trainer)
            if step >= 0 and step not in due:
                due.append(step)
            ahead.append(report.batch_step(trainer) + report.steps_until_due(trainer))

    for options in ({}, {"accumulate_grad_batches": 2}):
        for record in (seen, due, ahead):
            record.clear()
        trainer_for(tmp_path, Reads(), logger=Recorder(tmp_path), log_every_n_steps=3, max_epochs=3, **options).fit(
            Logs()
        )
        assert due == seen != []
        assert {int(x) for x in ahead} >= set(due[1:])
        assert all((x + 1) % 3 == 0 for x in ahead)


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_in_automatic_optimization_the_x_moves_with_global_step(tmp_path: Path, accumulate: int) -> None:
    pairs: list[tuple[int, int]] = []

    class Reads(Callback):
        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            pairs.append((report.batch_step(trainer), trainer.global_step))

    class SkipsSome(Tiny):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return None if batch_idx in (2, 5) else super().training_step(batch, batch_idx)

    trainer_for(tmp_path, Reads(), max_epochs=3, accumulate_grad_batches=accumulate).fit(SkipsSome())
    assert all(x == step for x, step in pairs)
    assert pairs[-1][0] == {1: 23, 3: 8}[accumulate]


def test_without_loggers_nothing_is_due(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, max_epochs=1, log_every_n_steps=1)
    trainer.fit(Tiny())
    assert (report.due_step(trainer), report.steps_until_due(trainer)) == (-1, float("inf"))


def test_published_metrics_reach_file_names_and_callbacks(tmp_path: Path) -> None:
    trainer = trainer_for(tmp_path, max_epochs=1)
    trainer.fit(Tiny())
    report.publish(trainer, {"Annealing/x": 0.1})
    assert trainer.callback_metrics["Annealing/x"].item() == 0.1
    report.show(trainer, {"x": 0.1})
    assert trainer.progress_bar_metrics["x"] == 0.1
