"""``extend_training``: a stop by patience is taken back while values are left, and no other stop ever is."""

from __future__ import annotations

import logging
import math
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer

from lightning_anneal import HyperparamAnnealingCallback
from tests.scripted import Scripted, stopper
from tests.tiny import trainer_for

# Nothing gets better after the first validation: with a patience of 2 a stop is asked for after every second one.
STUCK = [1.0] * 40


def extending(**settings: Any) -> HyperparamAnnealingCallback:
    given = {"strategy": "trigger_based", "trigger_source": "early_stopper_triggered", "extend_training": True}
    return HyperparamAnnealingCallback({"beta": {**given, "values": [0.0, 1.0, 2.0], **settings}})


@pytest.mark.parametrize("annealing_first", [True, False])
@pytest.mark.parametrize("checkpoints", [True, False])
def test_until_the_values_are_used_up(tmp_path: Path, annealing_first: bool, checkpoints: bool) -> None:
    early, callback, module = stopper(patience=2), extending(), Scripted(STUCK)
    callbacks: list[Callback] = [callback, early] if annealing_first else [early, callback]
    trainer = trainer_for(tmp_path, *callbacks, max_epochs=30, enable_checkpointing=checkpoints)
    trainer.fit(module)
    # Stops after epochs 2, 4 and 6; the last one stands.
    assert module.by_epoch == [0, 0, 0, 1, 1, 2, 2]
    assert (early.wait_count, early.stopped_epoch) == (2, 6)
    assert trainer.callbacks.count(early) == 1
    assert [c for c in trainer.callbacks if isinstance(c, EarlyStopping)] == [early]
    assert "on_train_epoch_end" not in vars(early)
    assert "on_validation_end" not in vars(early)


@pytest.mark.parametrize("annealing_first", [True, False])
def test_with_validation_inside_the_epoch(tmp_path: Path, annealing_first: bool) -> None:
    early, callback, module = stopper(patience=2), extending(), Scripted(STUCK)
    callbacks: list[Callback] = [callback, early] if annealing_first else [early, callback]
    trainer_for(tmp_path, *callbacks, max_epochs=30, val_check_interval=0.5).fit(module)
    # Validations after steps 3, 7, 11 (stop), 15, 19 (stop), 23, 27 (stop, which stands).
    assert module.values == [0.0] * 12 + [1.0] * 8 + [2.0] * 8


def test_max_epochs_stays_the_limit(tmp_path: Path) -> None:
    module = Scripted(STUCK)
    trainer_for(tmp_path, stopper(patience=2), extending(values=[0.0, 1.0], at_end="cycle"), max_epochs=8).fit(module)
    assert module.by_epoch == [0, 0, 0, 1, 1, 0, 0, 1]


def test_multiply_goes_on_until_its_bound(tmp_path: Path) -> None:
    module = Scripted(STUCK)
    module.beta = 1.0
    trainer_for(tmp_path, stopper(patience=2), extending(values=None, multiply=0.5, min_value=0.3), max_epochs=30).fit(
        module
    )
    assert module.by_epoch == [1, 1, 1, 0.5, 0.5, 0.3, 0.3]


def test_under_min_epochs(tmp_path: Path) -> None:
    module = Scripted(STUCK)
    trainer_for(tmp_path, stopper(patience=2), extending(), max_epochs=30, min_epochs=10).fit(module)
    assert module.by_epoch == [0, 0, 0, 1, 1] + [2] * 5


class Asks(Callback):
    """Asks for a stop at the end of an epoch, as a user's own callback might."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop |= trainer.current_epoch == self.epoch


@pytest.mark.parametrize(
    ("losses", "options", "others", "epochs"),
    [
        pytest.param([1.0, math.nan], {}, [], 2, id="NaN"),
        pytest.param([1.0, 1.0, math.nan], {}, [], 3, id="NaN with a count just below"),
        pytest.param([1.0, math.nan], {"patience": 0}, [], 2, id="NaN with no patience"),
        pytest.param([1.0, 0.1], {"stopping_threshold": 0.5}, [], 2, id="threshold"),
        pytest.param([1.0, 9.0], {"divergence_threshold": 5.0}, [], 2, id="divergence"),
        pytest.param(STUCK, {}, [Asks(2)], 3, id="a callback in the same epoch"),
        pytest.param(STUCK, {}, [EarlyStopping("val_loss", patience=2, mode="max")], 3, id="another stopper"),
    ],
)
def test_other_stops_stand(tmp_path: Path, losses: list[float], options: Any, others: Any, epochs: int) -> None:
    module = Scripted(losses)
    callback = extending(monitor="val_loss")
    trainer_for(tmp_path, *others, stopper(**{"patience": 2, **options}), callback, max_epochs=30).fit(module)
    assert len(module.by_epoch) == epochs


class OverInEpoch2(Timer):
    """A clock that runs out at the end of epoch 2."""

    def __init__(self) -> None:
        super().__init__(timedelta(hours=1), interval="epoch", verbose=False)
        self.elapsed = 0.0

    def time_elapsed(self, *args: Any) -> float:
        return self.elapsed

    def on_train_epoch_end(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
        self.elapsed = 7200.0 if trainer.current_epoch == 2 else 0.0
        super().on_train_epoch_end(trainer, *args, **kwargs)


@pytest.mark.parametrize("timer_first", [True, False])
def test_max_time_stands_in_the_epoch_whose_patience_runs_out(tmp_path: Path, timer_first: bool) -> None:
    module, timer, rest = Scripted(STUCK), OverInEpoch2(), [stopper(patience=2), extending()]
    callbacks = [timer, *rest] if timer_first else [*rest, timer]
    trainer_for(tmp_path, *callbacks, max_epochs=30).fit(module)
    assert module.by_epoch == [0, 0, 0]


def test_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lightning_anneal"):
        trainer_for(tmp_path, stopper(patience=2), extending(values=[0.0, 1.0]), max_epochs=30).fit(Scripted(STUCK))
    assert [r.getMessage() for r in caplog.records if r.name == "lightning_anneal"] == [
        "the stop that EarlyStopping('val_loss') asked for is taken back: values are left",
        "beta: 0 -> 1 (epoch 3, step 24; early_stopper_triggered)",
    ]


def test_after_an_error_the_stopper_has_its_own_hooks(tmp_path: Path) -> None:
    class Fails(Scripted):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise RuntimeError("no")

    early = stopper(patience=2)
    with pytest.raises(RuntimeError, match="no"):
        trainer_for(tmp_path, early, extending()).fit(Fails())
    assert not {"on_train_epoch_end", "on_validation_end"} & set(vars(early))


def test_resume_from_every_checkpoint(tmp_path: Path) -> None:
    def callbacks() -> list[Callback]:
        return [stopper(patience=2), extending()]

    whole = Scripted(STUCK)
    saver = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    trainer_for(tmp_path, *callbacks(), saver, max_epochs=30, enable_checkpointing=True).fit(whole)
    assert whole.by_epoch == [0, 0, 0, 1, 1, 2, 2]
    # But for the last one: Lightning saves no stop, and the run would go on.
    for epoch in range(6):
        resumed = Scripted(STUCK)
        trainer_for(tmp_path, *callbacks(), max_epochs=30).fit(resumed, ckpt_path=tmp_path / f"epoch={epoch}.ckpt")
        assert resumed.seen == [entry for entry in whole.seen if entry[0] > epoch]


def test_a_rule_of_another_stopper_does_not_see_the_stop_taken_back(tmp_path: Path) -> None:
    at = {"strategy": "trigger_based", "values": [0.0, 1.0]}
    first = {**at, "trigger_source": "early_stopper_triggered", "monitor": "val_loss", "extend_training": True}
    other = {**at, "trigger_source": "early_stopper_triggered", "monitor": "other"}
    callback = HyperparamAnnealingCallback({"beta": first, "loss.margin": other})

    class Two(Scripted):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            self.log("other", -float(self.validations))

    module = Two(STUCK)
    trainer_for(tmp_path, stopper(patience=2), EarlyStopping("other"), callback, max_epochs=30).fit(module)
    assert [(c.epoch, c.name, c.new) for c in callback.changes if c.epoch] == [(3, "beta", 1.0)]
    assert len(module.by_epoch) == 5


def test_other_rules_of_the_stopper_see_the_count_it_stopped_at(tmp_path: Path) -> None:
    at = {"strategy": "trigger_based", "values": [float(n) for n in range(9)]}
    callback = HyperparamAnnealingCallback(
        {
            "beta": {**at, "trigger_source": "early_stopper_triggered", "extend_training": True, "values": [0.0, 1.0]},
            "loss.margin": {**at, "trigger_source": "early_stopper_counter"},
            "weights.kl": {**at, "trigger_source": "early_stopper_half_patience"},
        }
    )
    module = Scripted(STUCK)
    trainer_for(tmp_path, stopper(patience=2), callback, max_epochs=30).fit(module)
    # Counts after the epochs: 0, 1, 2 (taken back, so 0), 1, 2 (stands).
    assert [(c.epoch, c.name, c.new, c.why) for c in callback.changes if c.epoch] == [
        (2, "loss.margin", 1.0, "early_stopper_counter 0 -> 1"),
        (2, "weights.kl", 1.0, "early_stopper_half_patience (1 of 2)"),
        (3, "beta", 1.0, "early_stopper_triggered"),
        (3, "loss.margin", 2.0, "early_stopper_counter 1 -> 2"),
        (4, "loss.margin", 3.0, "early_stopper_counter 0 -> 1"),
        (4, "weights.kl", 2.0, "early_stopper_half_patience (1 of 2)"),
    ]
