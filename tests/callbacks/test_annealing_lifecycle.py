"""HyperparamAnnealingCallback from one run to the next: refits, new Trainers, stages, tuners, copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback, LearningRateFinder
from lightning.pytorch.tuner import Tuner

from lightning_anneal import HyperparamAnnealingCallback
from tests.callbacks.rules import anneal, ramp
from tests.tiny import Tiny, trainer_for

Fit = Callable[..., Tiny]

# Many a ramp here is cut short on purpose; one test looks at the warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.5}, {"check_val_every_n_epoch": 2}])
def test_eval_value_is_in_force_in_validation_only(fit: Fit, options: dict[str, Any]) -> None:
    module = fit(anneal(total_steps=3, eval_value=9.0), max_epochs=3, num_sanity_val_steps=2, **options)
    assert module.by_epoch == [0.0, 1.0, 2.0]
    assert set(module.values) == {0.0, 1.0, 2.0}
    assert {value for _, value in module.validated} == {9.0}
    assert len(module.validated) > 2
    assert module.beta == 2.0


def test_without_eval_value_validation_sees_the_training_value(fit: Fit) -> None:
    module = fit(anneal(total_steps=3), max_epochs=3)
    assert module.validated == [(0, 0.0)] * 2 + [(e, float(e)) for e in (0, 1, 2) for _ in range(2)]


def test_eval_value_is_put_back_after_an_exception(tmp_path: Path) -> None:
    class Breaks(Tiny):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if self.current_epoch == 2:
                raise RuntimeError("out of order")

    module, callback = Breaks(), anneal(total_steps=3, eval_value=9.0)
    with pytest.raises(RuntimeError, match="out of order"):
        trainer_for(tmp_path, callback).fit(module)
    assert module.beta == 2.0
    assert callback.values == {"beta": 2.0}


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_other_stages(tmp_path: Path, stage: str) -> None:
    module, callback = Tiny(), anneal(total_steps=3, eval_value=9.0)
    run = getattr(trainer_for(tmp_path, callback), stage)
    run(module, **({} if stage == "predict" else {"verbose": False}))
    assert {value for _, value in module.validated} == {9.0}
    assert module.beta == 1.0


def test_fit_twice_goes_on(tmp_path: Path) -> None:
    module, callback = Tiny(), anneal(end=32.0, total_steps=32, interval="step")
    trainer = trainer_for(tmp_path, callback, max_epochs=2)
    trainer.fit(module)
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module)
    assert module.values == [float(s) for s in range(32)]


def test_a_new_trainer_begins_anew(tmp_path: Path) -> None:
    callback = anneal(end=16.0, total_steps=16, interval="step")
    runs = []
    for _ in range(2):
        module = Tiny()
        trainer_for(tmp_path, callback, max_epochs=1).fit(module)
        runs.append(module.values)
    assert runs[0] == runs[1] == [float(s) for s in range(8)]


@pytest.mark.parametrize(
    "options", [{"fast_dev_run": 2}, {"barebones": True}, {"max_steps": 5}, {"limit_val_batches": 0}]
)
def test_other_ways_to_run(tmp_path: Path, options: dict[str, Any]) -> None:
    module = Tiny()
    defaults: dict[str, Any] = {"max_epochs": 1}
    if "barebones" in options:
        for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"):
            defaults[name] = None
        module.validation_step = module.test_step  # it logs, and barebones can't
    trainer_for(tmp_path, anneal(end=8.0, total_steps=8, interval="step"), **{**defaults, **options}).fit(module)
    assert module.values == [float(s) for s in range(len(module.values))]
    assert len(module.values) == {"fast_dev_run": 2, "max_steps": 5}.get(next(iter(options)), 8)


def test_a_new_trainer_finds_start_values_and_lengths_anew(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({"beta": {"strategy": "linear", "end_value": 9.0}})
    for start, epochs, expected in ((1.0, 3, [1.0, 5.0, 9.0]), (3.0, 4, [3.0, 5.0, 7.0, 9.0])):
        module = Tiny()
        module.beta = start
        trainer_for(tmp_path, callback, max_epochs=epochs).fit(module)
        assert module.by_epoch == expected


def test_deepcopy_and_pickle() -> None:
    callback = anneal(total_steps=3)
    for twin in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert twin.state_key == callback.state_key == "HyperparamAnnealingCallback"


def test_after_a_fit_the_last_values_can_be_read_and_the_callback_pickled(fit: Fit) -> None:
    callback = anneal(total_steps=3)
    fit(callback, max_epochs=3)
    assert callback.values == pickle.loads(pickle.dumps(callback)).values == {"beta": 2.0}


@pytest.mark.parametrize(
    "tune", [lambda t, m: Tuner(t).lr_find(m, num_training=5), lambda t, m: Tuner(t).scale_batch_size(m, max_trials=2)]
)
def test_a_tuner_before_the_fit(tmp_path: Path, tune: Any) -> None:
    class Tunable(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.1
            self.batch_size = 1

    module, callback = Tunable(), anneal(end=16.0, total_steps=16, interval="step")
    trainer = trainer_for(tmp_path, callback, max_epochs=2)
    tune(trainer, module)
    module.seen.clear()
    trainer.fit(module)
    assert module.values == [float(s) for s in range(len(module.values))]
    assert len(module.values) == 16


class SearchLate(LearningRateFinder):
    """Searches again in the middle of a fit, as Lightning's documentation shows it."""

    def on_fit_start(self, *args: Any) -> None: ...

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            self.lr_find(trainer, pl_module)


def test_a_tuner_in_the_middle_of_a_fit(tmp_path: Path) -> None:
    class Tunable(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.1

    module, callback = Tunable(), anneal(end=24.0, total_steps=24, interval="step")
    trainer_for(tmp_path, callback, SearchLate(num_training_steps=4, update_attr=False), max_epochs=3).fit(module)
    assert module.values[:8] == [float(s) for s in range(8)]
    assert module.values[-16:] == [float(s) for s in range(8, 24)]


def test_a_parameter_group_that_is_added_meanwhile(tmp_path: Path) -> None:
    class Unfreezes(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                trainer.optimizers[0].add_param_group({"params": pl_module.net.parameters(), "weight_decay": 0.8})

    class Part(Tiny):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.layer.parameters(), lr=0.1, weight_decay=0.0)

    path = "optimizer.param_groups.*.weight_decay"
    callback = HyperparamAnnealingCallback({path: {"strategy": "linear", "end_value": 0.4, "total_steps": 4}})
    trainer_for(tmp_path, Unfreezes(), callback, max_epochs=3).fit(Part())
    assert callback.values == pytest.approx(
        {"optimizer.param_groups.0.weight_decay": 0.2, "optimizer.param_groups.1.weight_decay": 0.6}
    )


def test_values_are_kept_through_an_evaluation(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({"beta": ramp(), "optimizer.param_groups.0.lr": ramp(0.3)})
    trainer = trainer_for(tmp_path, callback)
    trainer.fit(Tiny())
    values = callback.values
    trainer.validate(Tiny(), verbose=False)
    assert values == callback.values == {"beta": 3.0, "optimizer.param_groups.0.lr": 0.3}
