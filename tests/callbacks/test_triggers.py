"""When triggers fire in real fits: every source under every cadence, against a simulator that shares no code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.scripted import LOSSES, Scripted, WithCosine, stopper
from tests.tiny import BATCHES, Tiny, trainer_for

EPOCHS = 12
VALUES = [float(n) for n in range(20)]


def triggered(source: str, **settings: Any) -> HyperparamAnnealingCallback:
    given = {"strategy": "TRIGGER_BASED", "trigger_source": source, "values": VALUES, **settings}
    return HyperparamAnnealingCallback({"beta": given})


SOURCES: dict[str, dict[str, Any]] = {
    "early_stopper_counter": {},
    "early_stopper_half_patience": {},
    "early_stopper_third_patience": {},
    "early_stopper_triggered": {},
    "lr_scheduler_triggered": {},
    "metric_below": {"monitor": "val_loss", "threshold": 2.5},
    "metric_above": {"monitor": "val_loss", "threshold": 4.5},
    "metric_plateau": {"monitor": "val_loss", "patience": 2},
}

# The trainer's options, and what the simulator is told.
CADENCES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "once an epoch": ({}, {}),
    "twice an epoch": ({"val_check_interval": 0.5}, {"validate_after": (3, 7)}),
    "every second epoch": ({"check_val_every_n_epoch": 2}, {"every_n": 2}),
    "max_steps": ({"max_epochs": -1, "max_steps": 84}, {"steps": 84}),
    "max_time": ({"max_time": {"hours": 1}}, {}),
    "accumulation": ({"accumulate_grad_batches": 2}, {}),
    "min_epochs": ({"min_epochs": EPOCHS}, {"patience": 2}),
    "no sanity check": ({"num_sanity_val_steps": 0}, {}),
    "limit_train_batches": ({"limit_train_batches": 5}, {"batches": 5, "validate_after": (4,)}),
    "fast_dev_run": ({"fast_dev_run": True}, {"batches": 1, "steps": 1}),
}


def simulate(
    source: str,
    batches: int = 8,
    validate_after: tuple[int, ...] = (7,),
    every_n: int = 1,
    steps: int = 999,
    patience: int = 6,
) -> list[float]:
    """The value at each batch: what the counts would be by hand, and a step up for each event."""
    value, count, stalled, best, held, seen, losses = 0, 0, 0, 99.0, False, [], iter(LOSSES)
    plateau_best, plateau_bad = 99.0, 0
    for epoch in range(EPOCHS):
        for batch in range(batches):
            if len(seen) == steps:
                return seen
            seen.append(float(value))
            if (epoch + 1) % every_n or batch not in validate_after:
                continue
            loss = next(losses)
            count, stalled = (0, 0) if loss < best else (count + 1, stalled + 1)
            best = min(best, loss)
            if source == "lr_scheduler_triggered":
                if fires := batch == batches - 1 and loss >= plateau_best and plateau_bad == 1:
                    plateau_bad = 0
                elif batch == batches - 1:
                    plateau_bad = 0 if loss < plateau_best else plateau_bad + 1
                    plateau_best = min(plateau_best, loss)
            elif source in ("early_stopper_counter", "metric_plateau"):
                fires = count > 0 if source == "early_stopper_counter" else stalled == 2
                stalled = 0 if stalled == 2 else stalled
            else:
                now = {
                    "early_stopper_half_patience": count >= patience / 2,
                    "early_stopper_third_patience": count > 0 and count >= patience / 3,
                    "early_stopper_triggered": count >= patience,
                    "metric_below": loss < 2.5,
                    "metric_above": loss > 4.5,
                }[source]
                fires, held = now and not held, now
            value += fires
    return seen


CASES = [(source, cadence, False) for source in SOURCES for cadence in CADENCES]
CASES += [(source, cadence, True) for source in SOURCES for cadence in ("once an epoch", "twice an epoch")]


@pytest.mark.parametrize(("source", "cadence", "annealing_first"), CASES)
def test_values_of_every_batch(tmp_path: Path, source: str, cadence: str, annealing_first: bool) -> None:
    options, told = CADENCES[cadence]
    callbacks: list[Callback] = [stopper(patience=told.get("patience", 6)), triggered(source, **SOURCES[source])]
    plateau = {"frequency": told.get("every_n", 1)} if source == "lr_scheduler_triggered" else None
    module = Scripted(plateau=plateau)
    ordered = callbacks[::-1] if annealing_first else callbacks
    trainer_for(tmp_path, *ordered, **{"max_epochs": EPOCHS, **options}).fit(module)
    assert module.values == simulate(source, **told)
    assert module.values[0] == 0.0


def test_the_simulator_knows_what_the_counts_fire_at() -> None:
    # Counts 0 0 1 2 3 0 1 2 0 1 2 3: a value that follows epoch e holds from the first batch of epoch e + 1.
    by_epoch = simulate("early_stopper_counter")[::BATCHES]
    assert by_epoch == [0, 0, 0, 1, 2, 3, 3, 4, 5, 5, 6, 7]
    assert simulate("early_stopper_half_patience")[::BATCHES] == [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]


# -- learning rates -------------------------------------------------------------------------------------------------


def rates_fall_at(rates: list[float]) -> list[int]:
    """The steps whose rate is lower than that of the step before."""
    return [step for step in range(1, len(rates)) if rates[step] < rates[step - 1]]


# How the plateau scheduler steps; the trainer's options; the steps that first see a lower rate, by hand: its patience
# is 1, so the second bad loss in a row lowers it.
PLATEAUS: dict[str, tuple[dict[str, Any], dict[str, Any], list[int]]] = {
    # Bad losses after epochs 2, 3 (falls), 4, 6, 7 (falls), 9, 10 (falls), 11.
    "by epoch": ({}, {}, [32, 64, 88]),
    "by epoch, validation twice": ({}, {"val_check_interval": 0.5}, [88]),
    "every second epoch": ({"frequency": 2}, {"check_val_every_n_epoch": 2}, [64]),
    "by step, once an epoch": ({"interval": "step", "frequency": BATCHES}, {}, [32, 64, 88]),
    "by step, accumulated": ({"interval": "step", "frequency": BATCHES}, {"accumulate_grad_batches": 2}, [32, 64, 88]),
}


@pytest.mark.parametrize("cadence", PLATEAUS)
@pytest.mark.parametrize("monitored", [False, True])
def test_a_drop_is_answered_at_the_very_step_that_first_sees_it(tmp_path: Path, cadence: str, monitored: bool) -> None:
    plateau, options, falls = PLATEAUS[cadence]
    module = Scripted(plateau=plateau)
    callbacks: list[Callback] = [triggered("lr_scheduler_triggered")]
    if monitored:
        monitor = LearningRateMonitor()
        callbacks.insert(0, monitor)
        options = {**options, "logger": CSVLogger(tmp_path), "log_every_n_steps": 1}
    trainer_for(tmp_path, *callbacks, **{"max_epochs": EPOCHS, **options}).fit(module)
    assert rates_fall_at(module.rates) == falls
    assert [step for step in range(1, len(module.values)) if module.values[step] != module.values[step - 1]] == falls
    if monitored:
        [record] = monitor.lrs.values()
        assert sorted(set(record), reverse=True) == sorted(set(module.rates), reverse=True)
        assert len(set(record)) == len(falls) + 1


def test_a_plateau_scheduler_by_its_monitor(tmp_path: Path) -> None:
    module = Scripted(plateau={})
    callback = triggered("lr_scheduler_triggered", monitor="val_loss")
    trainer_for(tmp_path, callback, max_epochs=6).fit(module)
    # Losses 5 4 4 4: the second one that is no better comes after epoch 3.
    assert module.by_epoch == [0, 0, 0, 0, 1, 1]


def test_a_plateau_scheduler_that_steps_within_the_epoch(tmp_path: Path) -> None:
    # After every second step, on the loss of the last validation: after step 7 the first, then bad ones.
    module = Scripted(losses=[5.0] * 24, plateau={"interval": "step", "frequency": 2, "strict": False})
    with pytest.warns(RuntimeWarning, match="ReduceLROnPlateau conditioned on metric"):
        trainer_for(tmp_path, triggered("lr_scheduler_triggered"), max_epochs=3).fit(module)
    falls = rates_fall_at(module.rates)
    assert falls[:2] == [12, 16]
    assert [step for step in range(1, 24) if module.values[step] != module.values[step - 1]] == falls


def test_a_cooldown_counts_the_steps_of_a_plateau_scheduler(tmp_path: Path) -> None:
    module = Scripted(losses=[5.0] * 24, plateau={"interval": "step", "frequency": 2, "strict": False})
    with pytest.warns(RuntimeWarning, match="ReduceLROnPlateau conditioned on metric"):
        trainer_for(tmp_path, triggered("lr_scheduler_triggered", cooldown=3), max_epochs=4).fit(module)
    # It steps after every second step, and every second of these lowers the rate.
    assert rates_fall_at(module.rates) == [12, 16, 20, 24, 28]
    assert [step for step in range(1, 32) if module.values[step] != module.values[step - 1]] == [12, 20, 28]


def test_a_fall_by_a_cosine_is_no_drop(tmp_path: Path) -> None:
    module = WithCosine()
    trainer_for(tmp_path, triggered("lr_scheduler_triggered"), max_epochs=6).fit(module)
    assert module.trainer.optimizers[0].param_groups[0]["lr"] < 0.09
    assert set(module.values) == {0.0}


class Halves(Callback):
    """Halves the rate by hand in the middle of an epoch."""

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if batch_idx == 4:
            trainer.optimizers[0].param_groups[0]["lr"] *= 0.5


def test_a_fall_that_the_monitor_has_recorded_is_somebody_elses(tmp_path: Path) -> None:
    module = Scripted(losses=[5.0 - i / 10 for i in range(24)], plateau={})
    callbacks = [triggered("lr_scheduler_triggered"), Halves(), LearningRateMonitor(logging_interval="step")]
    options: dict[str, Any] = {"logger": CSVLogger(tmp_path), "log_every_n_steps": 1, "max_epochs": 4}
    trainer_for(tmp_path, *callbacks, **options).fit(module)
    assert len(set(module.rates)) == 5
    assert set(module.values) == {0.0}


# -- what follows ---------------------------------------------------------------------------------------------------


def test_multiply_within_bounds(tmp_path: Path) -> None:
    given = {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "multiply": 0.5}
    bounded = {**given, "multiply": 2, "max_value": 0.03}
    callback = HyperparamAnnealingCallback({"loss.margin": given, "optimizer.param_groups.*.weight_decay": bounded})
    module = Scripted(watch="weight_decay")
    trainer_for(tmp_path, callback, stopper(), max_epochs=6).fit(module)
    # Three firings, after epochs 2, 3 and 4.
    assert module.loss.margin == 0.025
    assert module.by_epoch == [0.01, 0.01, 0.01, 0.02, 0.03, 0.03]


def test_bools_and_strings(tmp_path: Path) -> None:
    class Module(Scripted):
        def __init__(self) -> None:
            super().__init__()
            self.augment = False
            self.mode = "none"
            self.told: list[tuple[bool, str]] = []

        def on_train_epoch_start(self) -> None:
            self.told.append((self.augment, self.mode))

    at = {"strategy": "trigger_based", "trigger_source": "early_stopper_counter"}
    callback = HyperparamAnnealingCallback(
        {"augment": {**at, "values": [False, True]}, "mode": {**at, "values": ["weak", "strong"], "at_end": "cycle"}},
        prog_bar=["mode"],
    )
    module = Module()
    trainer_for(tmp_path, callback, stopper(), max_epochs=6, logger=CSVLogger(tmp_path)).fit(module)
    assert module.told == [
        (False, "weak"),
        (False, "weak"),
        (False, "weak"),
        (True, "strong"),
        (True, "weak"),
        (True, "strong"),
    ]
    assert callback.values == {"augment": True, "mode": "strong"}


def test_the_defaults(tmp_path: Path) -> None:
    module = Regularized()
    callback = HyperparamAnnealingCallback()
    trainer_for(tmp_path, callback, stopper(patience=2), max_epochs=12, min_epochs=12).fit(module)
    # Half of 2 is reached after epochs 2, 6, 9; the values found is between the first and the second of the list.
    assert module.by_epoch == [0.002] * 3 + [0.005] * 4 + [0.01] * 5
    assert callback.values == {"reg_param": 0.01}


def test_values_start_at_current_index(tmp_path: Path) -> None:
    module = Scripted()
    trainer_for(tmp_path, stopper(), triggered("early_stopper_counter", current_index=3), max_epochs=4).fit(module)
    assert module.by_epoch == [3.0, 3.0, 3.0, 4.0]


def test_cooldown_counts_polls(tmp_path: Path) -> None:
    module = Scripted()
    trainer_for(tmp_path, stopper(), triggered("early_stopper_counter", cooldown=2), max_epochs=12).fit(module)
    # Rises after epochs 2, 3, 4, 6, 7, 9, 10, 11; after one, two polls can't fire.
    assert module.by_epoch == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3]


def test_a_step_of_a_plateau_scheduler_is_no_poll_for_the_others(tmp_path: Path) -> None:
    at = {"strategy": "trigger_based", "values": VALUES}
    callback = HyperparamAnnealingCallback(
        {
            "beta": {**at, "trigger_source": "early_stopper_counter", "cooldown": 1},
            "loss.margin": {**at, "trigger_source": "lr_scheduler_triggered"},
        }
    )
    module = Scripted(plateau={"interval": "step", "frequency": 2, "strict": False})
    with pytest.warns(RuntimeWarning, match="ReduceLROnPlateau conditioned on metric"):
        trainer_for(tmp_path, stopper(), callback, max_epochs=8).fit(module)
    # Rises after epochs 2, 3, 4, 6; the second one is within the cooldown of the first.
    assert module.by_epoch == [0, 0, 0, 1, 1, 2, 2, 3]
    assert callback.values["loss.margin"] > 3


def test_a_training_metric_is_seen_once(tmp_path: Path) -> None:
    class Module(Scripted):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("loss_of_epoch", 1.0, on_step=False, on_epoch=True)
            return super().training_step(batch, batch_idx)

    module = Module()
    at = triggered("metric_plateau", monitor="loss_of_epoch", patience=2)
    # A validation in the middle of the epoch is no new value of a metric of the epoch.
    trainer_for(tmp_path, at, max_epochs=6, val_check_interval=0.5).fit(module)
    assert module.by_epoch == [0, 0, 0, 1, 1, 2]


class Regularized(Scripted):
    """Has what is annealed by default."""

    def __init__(self) -> None:
        super().__init__(watch="reg_param")
        self.reg_param = 0.002


class Halving:
    """Somebody's own plateau scheduler, which counts nothing."""

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer

    def step(self, metric: float) -> None:
        self.optimizer.param_groups[0]["lr"] /= 2

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass


class OwnPlateau(Scripted):
    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        scheduler.step(metric)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.125)
        config = {"scheduler": Halving(optimizer), "interval": "step", "monitor": "val_loss", "reduce_on_plateau": True}
        return {"optimizer": optimizer, "lr_scheduler": config}


# -- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "callbacks", "message"),
    [
        (Scripted, [triggered("early_stopper_counter")],
         "beta.trigger_source: early_stopper_counter needs an EarlyStopping callback, and the Trainer has none"),
        (Scripted, [triggered("early_stopper_counter"), stopper(), EarlyStopping("train_loss")],
         "beta.monitor: missing; there are several EarlyStopping callbacks (val_loss, train_loss), say which is meant"),
        (Scripted, [triggered("early_stopper_counter", monitor="val_los"), stopper()],
         "beta.monitor: no EarlyStopping watches 'val_los'; did you mean 'val_loss'?"),
        (Scripted, [triggered("lr_scheduler_triggered")],
         "beta.trigger_source: lr_scheduler_triggered needs a ReduceLROnPlateau, and configure_optimizers gives none"),
        (lambda: Scripted(plateau={}), [triggered("lr_scheduler_triggered", monitor="val_los")],
         "beta.monitor: no plateau scheduler watches 'val_los'; did you mean 'val_loss'?"),
        (Scripted, [triggered("metric_below", monitor="val_los", threshold=1)],
         "beta.monitor: no metric 'val_los' has been logged; did you mean 'val_loss'?"),
        (OwnPlateau, [triggered("lr_scheduler_triggered")],
         "beta.trigger_source: Halving doesn't count its steps in last_epoch; give it interval 'epoch'"),
        (Regularized, [HyperparamAnnealingCallback()],
         "annealing_params: none given, and by default reg_param waits for EarlyStopping: early_stopper_half_patience needs "
         "an EarlyStopping callback, and the Trainer has none"),
        (Tiny, [HyperparamAnnealingCallback()],
         "annealing_params: none given, and Tiny has neither 'reg_param' nor 'contrastive_weight'"),
        (Scripted, [triggered("early_stopper_counter", values=[True, False]), stopper()],
         "beta: holds a number, and its values are booleans; give numbers"),
        (Scripted, [triggered("early_stopper_counter", attr_name="top_k", values=[3, 2.5]), stopper()],
         "beta: holds an int and would get 2.5; write 3.0 in the module, or set round: true"),
    ],
)  # fmt: skip
def test_refused_by_a_fit(tmp_path: Path, make: Any, callbacks: list[Callback], message: str) -> None:
    module = make()
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, *callbacks).fit(module)
    assert str(error.value) == message
    assert not module.seen or "has been logged" in message
