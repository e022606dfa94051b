"""A run that was stopped and resumed has the values of one that never was, at every step, with ``==``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from lightning_anneal import AnnealError, BetaScheduleCallback, HyperparamAnnealingCallback
from tests.tiny import BATCHES, Tiny, trainer_for

EPOCHS = 6

pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


class Watching(Tiny):
    """Writes down every annealed value at every step."""

    def __init__(self) -> None:
        super().__init__(momentum=0.9)
        self.trace: list[tuple[int, int, tuple[float, ...]]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        group = self.trainer.optimizers[0].param_groups[0]
        values = (
            self.beta,
            self.loss.margin,
            group["lr"],
            group["weight_decay"],
            group["momentum"],
            float(self.temperature),
        )
        self.trace.append((self.current_epoch, batch_idx, values))
        return super().training_step(batch, batch_idx)


def annealing() -> HyperparamAnnealingCallback:
    """Start values that are found, lengths that depend on the run, both intervals, every kind of target."""
    return HyperparamAnnealingCallback(
        {
            "beta": {"strategy": "cosine", "end_value": 4.0},
            "loss.margin": {"strategy": "sigmoid", "end_value": 1.0, "total_steps": "70%", "interval": "step"},
            "optimizer.param_groups.0.lr": {"strategy": "exponential", "end_value": 1e-3, "interval": "step"},
            "optimizer.param_groups.*.weight_decay": {"strategy": "linear", "end_value": 0.1, "frequency": 2},
            "optimizer.param_groups.0.momentum": {
                "strategy": "warm_restart",
                "base": {"strategy": "linear", "end_value": 0.5},
                "restart_interval": "1ep",
                "interval": "step",
            },
            "temperature": {"strategy": "scheduled", "schedule": {"2": 1.0, "75%": 0.25}},
        }
    )


def saving(folder: Path, **when: Any) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="{epoch}-{step}", save_top_k=-1, **when)


CADENCES = {
    "end of epoch": {"save_on_train_epoch_end": True},
    "on validation": {"save_on_train_epoch_end": False},
    "every 3 steps": {"every_n_train_steps": 3},
}


@pytest.mark.parametrize("cadence", list(CADENCES))
def test_from_every_checkpoint(tmp_path: Path, cadence: str) -> None:
    whole = Watching()
    trainer_for(
        tmp_path, annealing(), saving(tmp_path, **CADENCES[cadence]), max_epochs=EPOCHS, enable_checkpointing=True
    ).fit(whole)
    checkpoints = sorted(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) >= EPOCHS
    expected = {(epoch, batch): values for epoch, batch, values in whole.trace}
    assert len(set(expected.values())) > BATCHES
    for checkpoint in checkpoints:
        torch.load(checkpoint, weights_only=True)
        resumed = Watching()
        trainer_for(tmp_path, annealing(), max_epochs=EPOCHS).fit(resumed, ckpt_path=checkpoint)
        assert {(e, b): v for e, b, v in resumed.trace} == {
            key: values for key, values in expected.items() if key in {(e, b) for e, b, _ in resumed.trace}
        }
        last_epoch = torch.load(checkpoint, weights_only=True)["epoch"] == EPOCHS - 1
        assert resumed.trace or last_epoch
        assert (resumed.beta, resumed.loss.margin) == (whole.beta, whole.loss.margin)


class StopAt(Callback):
    """Ends the process of training in the middle of a batch."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("accumulate", [1, 3])
def test_mid_epoch_after_an_interrupt(tmp_path: Path, accumulate: int) -> None:
    whole = Watching()
    options: dict[str, Any] = {"max_epochs": EPOCHS, "accumulate_grad_batches": accumulate}
    trainer_for(tmp_path, annealing(), **options).fit(whole)
    stopped = Watching()
    checkpoint = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_last=True)
    trainer = trainer_for(tmp_path, annealing(), checkpoint, StopAt(7), enable_checkpointing=True, **options)
    with pytest.raises(SystemExit):
        trainer.fit(stopped)
    resumed = Watching()
    trainer_for(tmp_path, annealing(), **options).fit(resumed, ckpt_path=tmp_path / "last.ckpt")
    length = len(whole.trace)
    assert resumed.trace[0][:2] != (0, 0)
    assert resumed.trace == whole.trace[length - len(resumed.trace) :]
    assert stopped.trace == whole.trace[: len(stopped.trace)]


def test_with_max_steps(tmp_path: Path) -> None:
    whole = Watching()
    options: dict[str, Any] = {"max_epochs": -1, "max_steps": 36}
    saver = saving(tmp_path, save_on_train_epoch_end=True)
    trainer_for(tmp_path, annealing(), saver, enable_checkpointing=True, **options).fit(whole)
    for checkpoint in sorted(tmp_path.glob("*.ckpt"))[:3]:
        resumed = Watching()
        trainer_for(tmp_path, annealing(), **options).fit(resumed, ckpt_path=checkpoint)
        assert resumed.trace == whole.trace[len(whole.trace) - len(resumed.trace) :]
        assert resumed.trace


def test_a_longer_run_goes_on_as_it_began(tmp_path: Path) -> None:
    trainer_for(tmp_path, annealing(), saving(tmp_path), max_epochs=4, enable_checkpointing=True).fit(Watching())
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    as_planned, longer = Watching(), Watching()
    trainer_for(tmp_path, annealing(), max_epochs=4).fit(as_planned, ckpt_path=checkpoint)
    with pytest.warns(UserWarning, match="length has changed") as warned:
        trainer_for(tmp_path, annealing(), max_epochs=8).fit(longer, ckpt_path=checkpoint)
    assert [str(w.message) for w in warned if "length has" in str(w.message)] == [
        "the run's length has changed (max_epochs 4 -> 8), which these depend on: beta.total_steps, "
        "loss.margin.total_steps, optimizer.param_groups.0.lr.total_steps; they stay as they were "
        "(on_horizon_change: stretch would let them follow)"
    ]
    assert longer.trace[: len(as_planned.trace)] == as_planned.trace
    assert longer.beta == as_planned.beta == 4.0


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_other_stages_see_the_value_of_the_checkpoint(tmp_path: Path, stage: str) -> None:
    def callback(**more: Any) -> HyperparamAnnealingCallback:
        ramp = {"strategy": "linear", "start_value": 0.0, "end_value": 31.0, "interval": "step", **more}
        return HyperparamAnnealingCallback({"beta": ramp})

    trained = Tiny()
    trainer_for(tmp_path, callback(), saving(tmp_path), enable_checkpointing=True).fit(trained)
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    # The validation of epoch 1, after its last step, 15.
    assert (1, 15.0) in trained.validated
    for settings, expected in (({}, 15.0), ({"eval_value": 9.0}, 9.0)):
        module = Tiny()
        run = getattr(trainer_for(tmp_path, callback(**settings)), stage)
        run(module, ckpt_path=checkpoint, verbose=False)
        assert {value for _, value in module.validated} == {expected}
        assert module.beta == 15.0


def test_what_a_checkpoint_holds(tmp_path: Path) -> None:
    callback = annealing()
    trainer_for(tmp_path, callback, saving(tmp_path), max_epochs=2, enable_checkpointing=True).fit(Watching())
    [checkpoint] = tmp_path.glob("epoch=0-*.ckpt")
    state = torch.load(checkpoint, weights_only=True)["callbacks"]["HyperparamAnnealingCallback"]
    assert state == {
        "version": 2,
        "epoch": 0,
        "step": 7,
        "steps_done": 8,
        "found": {
            "beta": {"start": [1.0], "lengths": {"total_steps": 1.0}, "path": "beta", "interval": "epoch"},
            "loss.margin": {
                "start": [0.2],
                "lengths": {"total_steps=70%": 11.2},
                "path": "loss.margin",
                "interval": "step",
            },
            "optimizer.param_groups.0.lr": {
                "start": [0.1],
                "lengths": {"total_steps": 15},
                "path": "optimizer.param_groups.0.lr",
                "interval": "step",
            },
            "optimizer.param_groups.*.weight_decay": {
                "start": [0.0],
                "lengths": {"total_steps": 1},
                "path": "optimizer.param_groups.*.weight_decay",
                "interval": "epoch",
            },
            "optimizer.param_groups.0.momentum": {
                "start": [0.9],
                "lengths": {"restart_interval=1ep": 8.0},
                "path": "optimizer.param_groups.0.momentum",
                "interval": "step",
            },
            "temperature": {
                "start": [2.0],
                "lengths": {"schedule.75%=75%": 1.5},
                "path": "temperature",
                "interval": "epoch",
            },
        },
        "run": {"max_epochs": 2.0, "max_steps": None},
    }


def ramp_of(*names: str) -> HyperparamAnnealingCallback:
    return HyperparamAnnealingCallback({n: {"strategy": "linear", "end_value": 4.0, "total_steps": 4} for n in names})


def test_added_and_dropped_parameters_are_told(tmp_path: Path) -> None:
    trainer_for(
        tmp_path, ramp_of("beta", "loss.margin"), saving(tmp_path), max_epochs=2, enable_checkpointing=True
    ).fit(Tiny())
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    module = Tiny()
    with pytest.warns(UserWarning, match="annealed parameters have changed") as warned:
        trainer_for(tmp_path, ramp_of("beta", "weights.kl")).fit(module, ckpt_path=checkpoint)
    assert [str(w.message) for w in warned if "annealed" in str(w.message)] == [
        "annealed parameters have changed since the checkpoint (added: weights.kl; dropped: loss.margin)"
    ]
    assert module.by_epoch == [2.5, 3.25]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"version": 3}, "checkpoint: was written by a newer lightning_anneal (state 3); update it"),
        ({"epoch": 1}, "checkpoint: holds no state of an annealing callback"),
        ({"version": 1, "epoch": 1, "found": {}}, "checkpoint: the annealing state is damaged (KeyError: 'step')"),
        (
            {"version": 1, "epoch": 1, "step": 2, "found": {"beta": {"start": [None]}}},
            "checkpoint: the annealing state is damaged (AnnealError: checkpoint.beta: must be a number, got None)",
        ),
    ],
)
def test_a_state_that_is_none(state: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        ramp_of("beta").load_state_dict(state)
    assert str(error.value) == message


def test_numbers_of_numpy_leave_no_trace_in_a_checkpoint(tmp_path: Path) -> None:
    settings = {"strategy": "linear", "end_value": np.float64(4.0), "interval": "step"}
    callback = HyperparamAnnealingCallback({"beta": settings, "loss.margin": {**settings, "total_steps": "50%"}})
    options: dict[str, Any] = {"max_epochs": -1, "max_steps": np.int64(8), "enable_checkpointing": True}
    trainer_for(tmp_path, callback, saving(tmp_path), **options).fit(Tiny())
    [checkpoint] = tmp_path.glob("*.ckpt")
    found = torch.load(checkpoint, weights_only=True)["callbacks"]["HyperparamAnnealingCallback"]["found"]
    assert found["beta"]["lengths"] == {"total_steps": 7.0}


def test_a_length_that_was_changed_before_a_resume_counts(tmp_path: Path) -> None:
    def ramp(length: str) -> HyperparamAnnealingCallback:
        settings = {"strategy": "linear", "start_value": 0, "end_value": 8, "total_steps": length}
        return HyperparamAnnealingCallback({"beta": settings})

    trainer_for(tmp_path, ramp("50%"), saving(tmp_path), max_epochs=8, enable_checkpointing=True).fit(Tiny())
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    module = Tiny()
    trainer_for(tmp_path, ramp("100%"), max_epochs=8).fit(module, ckpt_path=checkpoint)
    assert module.by_epoch == [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]


def test_a_callback_that_the_checkpoint_does_not_know(tmp_path: Path) -> None:
    trainer_for(tmp_path, saving(tmp_path), max_epochs=2, enable_checkpointing=True).fit(Tiny())
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    module = Tiny()
    settings = {"strategy": "linear", "start_value": 0, "end_value": 32, "total_steps": 32, "interval": "step"}
    trainer_for(tmp_path, HyperparamAnnealingCallback({"beta": settings})).fit(module, ckpt_path=checkpoint)
    assert module.values == [float(s) for s in range(16, 32)]


def test_an_evaluation_of_another_checkpoint_between_two_fits(tmp_path: Path) -> None:
    settings = {"strategy": "linear", "start_value": 0, "end_value": 32, "total_steps": 32, "interval": "step"}
    callback = HyperparamAnnealingCallback({"beta": settings})
    module = Tiny()
    trainer = trainer_for(tmp_path, callback, saving(tmp_path), max_epochs=3, enable_checkpointing=True)
    trainer.fit(module)
    [early] = tmp_path.glob("epoch=0-*.ckpt")
    module.validated.clear()
    trainer.validate(module, ckpt_path=early, verbose=False)
    assert {value for _, value in module.validated} == {7.0}
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module)
    assert module.values == [float(s) for s in range(32)]


def test_beta_resumes_too(tmp_path: Path) -> None:
    def callback() -> BetaScheduleCallback:
        return BetaScheduleCallback("linear", {"max_beta": 1.0, "warmup_epochs": "75%"}, eval_beta=1.0)

    whole = Tiny()
    trainer_for(tmp_path, callback(), saving(tmp_path), enable_checkpointing=True).fit(whole)
    assert whole.by_epoch == [0.0, 1 / 3, 2 / 3, 1.0]
    [checkpoint] = tmp_path.glob("epoch=1-*.ckpt")
    resumed = Tiny()
    with pytest.warns(UserWarning, match="max_epochs 4 -> 8"):
        trainer_for(tmp_path, callback(), max_epochs=8).fit(resumed, ckpt_path=checkpoint)
    assert resumed.by_epoch == [2 / 3, 1.0, 1.0, 1.0, 1.0, 1.0]
