"""What is told of phases: loggers, hyperparameters, the progress bar, the audit; and phases beside other callbacks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    RichProgressBar,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from lightning_anneal import AnnealError, BetaScheduleCallback, HyperparamAnnealingCallback, Linear
from tests.callbacks.test_annealing_logs import Recorder
from tests.marks import puts_finders_back
from tests.phased import Moving, by_step, each, fit, linear, phase, told
from tests.tiny import trainer_for

TWO = [phase("warm", "6st", set={"beta": 2.0}), phase("main", set={"beta": 3.0, "flag": True, "mode": "b"})]


def logged(folder: Path, phases: Any, *more: Callback, **options: Any) -> dict[str, list[tuple[int | None, float]]]:
    """By tag: every x and value."""
    logger = Recorder(folder)
    fit(folder, phases, None, *more, logger=[logger], **{"max_epochs": 3, "log_every_n_steps": 1, **options})
    found: dict[str, list[tuple[int | None, float]]] = {}
    for step, name, value in logger.calls:
        found.setdefault(name, []).append((step, value))
    return found


def test_the_phase_at_every_epoch_and_where_it_turns(tmp_path: Path) -> None:
    found = logged(tmp_path, TWO)
    # Epochs begin with steps 0, 4 and 8.
    assert found["Annealing/phase"] == [(0, 0.0), (4, 0.0), (6, 1.0), (8, 1.0)]
    # What has changed with it stands at the same x; a string is no number.
    assert found["Annealing/beta"] == [(0, 2.0), (4, 2.0), (6, 3.0), (8, 3.0)]
    assert found["Annealing/flag"] == [(0, 0.0), (4, 0.0), (6, 1.0), (8, 1.0)]
    assert "Annealing/mode" not in found


def test_a_phase_that_an_event_ends_within_an_epoch(tmp_path: Path) -> None:
    phases = [
        phase("a", {"trigger": "early_stopper_counter"}, set={"beta": 2.0}),
        phase("b", anneal={"beta": linear(5.0), "loss.margin": by_step(1.2, total_steps=2)}),
    ]
    module = Moving(validate_every=2)
    logger = Recorder(tmp_path)
    stopper = EarlyStopping("val_loss", patience=6)
    options = {"logger": [logger], "max_epochs": 3, "log_every_n_steps": 1, "val_check_interval": 0.5}
    fit(tmp_path, phases, None, stopper, module=module, **options)
    # The count rises with the validation after step 6.
    assert [call for call in logger.calls if "phase" in call[1]] == [
        (step, "Annealing/phase", value) for step, value in ((0, 0.0), (4, 0.0), (6, 1.0), (8, 1.0))
    ]
    margins = [(step, value) for step, name, value in logger.calls if "margin" in name]
    assert margins == [
        *((s, 0.2) for s in range(6)),
        (6, 0.2),
        *((s, pytest.approx(v)) for s, v in ((7, 0.7), *((s, 1.2) for s in range(8, 12)))),
    ]


@pytest.mark.parametrize("bar", [TQDMProgressBar(leave=True), RichProgressBar(leave=True)], ids=["tqdm", "rich"])
def test_the_progress_bar_shows_the_name(tmp_path: Path, bar: Any, capsys: pytest.CaptureFixture[str]) -> None:
    phases = [phase("warm", 1), phase("main", 2), phase("finish")]
    fit(tmp_path, phases, None, bar, enable_progress_bar=True, max_epochs=3)
    out, err = capsys.readouterr()
    lines = [line for line in (out + err).replace("\r", "\n").splitlines() if line.startswith("Epoch")]
    for epoch, name in enumerate(("warm", "main", "finish")):
        last = [line for line in lines if line.startswith(f"Epoch {epoch}")][-1]
        assert f"phase={name}" in last or f"phase: {name}" in last


def test_the_audit_file(tmp_path: Path) -> None:
    fit(tmp_path, TWO, logger=CSVLogger(tmp_path, name="", version="run"), max_epochs=3)
    with (tmp_path / "run" / "annealing_changes.csv").open() as file:
        rows = [
            (row["epoch"], row["step"], row["name"], row["old"], row["new"], row["why"]) for row in csv.DictReader(file)
        ]
    assert rows == [
        ("0", "0", "beta", "1.0", "2.0", "start"), ("1", "6", "phase", "warm", "main", "step 6"), ("1", "6", "beta", "2.0", "3.0", "phases"),
        ("1", "6", "flag", "False", "True", "phases"), ("1", "6", "mode", "a", "b", "phases"),
    ]  # fmt: skip


def test_hyperparameters(tmp_path: Path) -> None:
    phases = [
        phase("warm", "10%", set={"beta": 0.0}),
        phase("main", {"trigger": "metric_below", "monitor": "val_loss", "threshold": 0.5}, anneal={"loss.margin": Linear(0, 1, 2)}),
        phase("finish"),
    ]  # fmt: skip
    callback = HyperparamAnnealingCallback({"top_k": {"strategy": "constant", "value": 3}}, phases=phases)
    assert callback.settings == {
        "top_k": {"strategy": "constant", "value": 3},
        "phases": {
            "warm": {"until": "10%", "set": {"beta": 0.0}},
            "main": {
                "until": {"trigger": "metric_below", "monitor": "val_loss", "threshold": 0.5},
                "anneal": {"loss.margin": "Linear(start=0.0, end=1.0, duration=2.0)"},
            },
            "finish": {},
        },
    }
    trainer_for(tmp_path, callback, logger=CSVLogger(tmp_path, name="", version="run"), max_epochs=2).fit(Moving())
    assert "until: 10%" in (tmp_path / "run" / "hparams.yaml").read_text()


def test_tensorboard(tmp_path: Path) -> None:
    """Of what phases do no picture is made: when they begin shows only then."""
    phases = [phase("warm", 1, anneal={"beta": linear(2.0)}), phase("main", anneal={"beta": by_step(3.0)})]
    phases[1]["anneal"]["beta"] = linear(3.0)
    module, _ = fit(tmp_path, phases, {"loss.margin": linear(1.0)}, logger=TensorBoardLogger(tmp_path), max_epochs=3)
    assert module.column("beta") == each([1.0, 1.0, 3.0])


# -- beside others --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [0, 1])
def test_two_callbacks(tmp_path: Path, order: int) -> None:
    """Each with its own rows, also where a resumed run writes them anew."""

    def go(*more: Callback, ckpt_path: Any = None) -> Any:
        phased = HyperparamAnnealingCallback({"loss.margin": linear(1.2)}, phases=PHASED)
        other = HyperparamAnnealingCallback({"top_k": {"strategy": "scheduled", "schedule": {2: 5}}}, name="other")
        logger = CSVLogger(tmp_path, name="", version="run")
        callbacks = [other, phased] if order else [phased, other]
        stopper, module = EarlyStopping("val_loss", patience=6), Moving()
        trainer = trainer_for(
            tmp_path, *callbacks, stopper, *more, logger=logger, max_epochs=5, enable_checkpointing=bool(more)
        )
        trainer.fit(module, ckpt_path=ckpt_path)
        return module, phased, other

    PHASED = [
        phase("a", "6st", anneal={"beta": linear(3.0, total_steps="50%")}),
        phase("b", {"trigger": "early_stopper_counter"}, anneal={"beta": linear(0.0, total_steps=2)}),
        phase("c", anneal={"beta": linear(8.0)}),
    ]
    whole, phased, other = go(ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1))
    assert whole.turns() == [(1, 2, "b"), (3, 0, "c")]
    assert whole.column("top_k") == [3.0] * 8 + [5.0] * 12
    assert {change.name for change in other.changes} == {"top_k"}
    assert {change.name for change in phased.changes} == {"beta", "loss.margin", "phase"}
    rows = sorted((tmp_path / "run" / "annealing_changes.csv").read_text().splitlines())
    for step in (4, 8, 12, 16):
        resumed, again, beside = go(ckpt_path=tmp_path / f"step={step}.ckpt")
        assert resumed.trace == whole.trace[step:]
        assert (again.changes, beside.changes) == (phased.changes, other.changes)
        assert sorted((tmp_path / "run" / "annealing_changes.csv").read_text().splitlines()) == rows


def test_a_callback_that_is_new_leaves_the_rows_of_the_phases(tmp_path: Path) -> None:
    logger = {"logger": CSVLogger(tmp_path, name="", version="run")}
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    _, callback = fit(tmp_path, TWO, None, saver, **logger, max_epochs=4, enable_checkpointing=True)
    new = BetaScheduleCallback("linear", {"max_beta": 1.0, "warmup_epochs": 2}, attr_name="loss.margin")
    logger = {"logger": CSVLogger(tmp_path, name="", version="run")}
    _, again = fit(tmp_path, TWO, None, new, **logger, max_epochs=4, ckpt_path=tmp_path / "step=8.ckpt")
    assert told(again) == told(callback) == [(1, 6, "warm", "main", "step 6")]
    assert "warm,main" in (tmp_path / "run" / "annealing_changes.csv").read_text()


def test_phases_stand_in_one_callback(tmp_path: Path) -> None:
    other = HyperparamAnnealingCallback(phases=[phase("a", 1), phase("b")], name="other")
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, TWO, None, other)
    what = "HyperparamAnnealingCallback[name=other] has phases, too; put all of them into one callback"
    assert str(error.value) == f"phases: {what}"


@pytest.mark.parametrize(
    ("trigger", "line"),
    [
        ({"trigger": "early_stopper_counter"},
         "phases.a.until.trigger: early_stopper_counter needs an EarlyStopping callback, and the Trainer has none"),
        ({"trigger": "lr_scheduler_triggered"},
         "phases.a.until.trigger: lr_scheduler_triggered needs a ReduceLROnPlateau, and configure_optimizers gives none"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("beside", [False, True])
def test_what_a_trigger_watches_has_to_be_there(tmp_path: Path, trigger: Any, line: str, beside: bool) -> None:
    more = [HyperparamAnnealingCallback({"top_k": {"strategy": "constant", "value": 3}}, name="other")] * beside
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, [phase("a", trigger), phase("b")], None, *more)
    assert str(error.value) == line


def test_a_stopper_of_another_metric(tmp_path: Path) -> None:
    phases = [phase("a", {"trigger": "early_stopper_counter", "monitor": "val_los"}), phase("b")]
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, phases, None, EarlyStopping("val_loss"))
    assert str(error.value) == "phases.a.until.monitor: no EarlyStopping watches 'val_los'; did you mean 'val_loss'?"


LATER = {"trigger": "metric_below", "monitor": "later", "threshold": 0.5}


class LogsLater(Moving):
    """From epoch 2 on, another metric."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if self.current_epoch >= 2:
            self.log("later", 1.0 / self.current_epoch)


def test_a_metric_of_a_later_phase(tmp_path: Path) -> None:
    """Told of once before, and an error if it isn't there when its phase runs."""
    phases = [phase("a", 2), phase("b", LATER), phase("c")]
    with pytest.warns(UserWarning, match="has been logged") as warned:
        module, _ = fit(tmp_path, phases, module=LogsLater(), max_epochs=6)
    assert module.turns() == [(2, 0, "b"), (4, 0, "c")]
    lines = [str(w.message) for w in warned if "logged" in str(w.message)]
    assert lines == ["phases.b.until.monitor: no metric 'later' has been logged; known: val_loss"]


def test_a_metric_that_is_never_there(tmp_path: Path) -> None:
    phases = [phase("a", 2), phase("b", {**LATER, "monitor": "val_los"}), phase("c")]
    with (
        pytest.warns(UserWarning, match="did you mean 'val_loss'"),
        pytest.raises(AnnealError) as error,
    ):
        fit(tmp_path, phases, max_epochs=6)
    line = "phases.b.until.monitor: no metric 'val_los' has been logged; did you mean 'val_loss'?"
    assert str(error.value) == line


def test_a_stop_that_is_taken_back(tmp_path: Path) -> None:
    """The patience of 2 runs out after epoch 3, and after epoch 7: the count is 1 2 1 2 before, and 0 after."""
    extended = {
        "strategy": "trigger_based",
        "trigger_source": "early_stopper_triggered",
        "values": [1, 2, 3],
        "extend_training": True,
    }
    phases = [phase("a", 3), phase("b", {"trigger": "early_stopper_triggered"}), phase("c", set={"loss.margin": 1.0})]
    module, _ = fit(tmp_path, phases, {"beta": extended}, EarlyStopping("val_loss", patience=2), max_epochs=8)
    assert module.turns() == [(3, 0, "b"), (4, 0, "c")]
    assert module.column("beta") == each([1, 1, 1, 1, 2, 2, 2, 2])


@puts_finders_back
def test_what_a_finder_trains_is_no_part_of_a_phase(tmp_path: Path) -> None:
    finder = LearningRateFinder(num_training_steps=10, update_attr=False)
    found = Moving()
    found.lr = 0.1
    module, callback = fit(tmp_path, TWO, None, finder, module=found, max_epochs=3, enable_checkpointing=True)
    assert told(callback) == [(1, 6, "warm", "main", "step 6")]
    assert [seen.get("phase") for _, _, seen in module.trace][-12:] == ["warm"] * 6 + ["main"] * 6


@pytest.mark.filterwarnings("ignore:.*never begins")
def test_another_fit(tmp_path: Path) -> None:
    """Of one Trainer it goes on; in another one a callback begins anew."""
    callback = HyperparamAnnealingCallback(phases=TWO)
    trainer = trainer_for(tmp_path, callback, max_epochs=1)
    trainer.fit(first := Moving())
    trainer.fit_loop.max_epochs = 3
    trainer.fit(second := Moving())
    assert (set(first.column("phase")), second.turns()) == ({"warm"}, [(1, 2, "main")])
    trainer_for(tmp_path, callback, max_epochs=2).fit(third := Moving())
    assert third.turns() == [(1, 2, "main")]
    assert callback.phase == "main"


def test_what_follows_a_parameter_of_the_phases(tmp_path: Path) -> None:
    follow = {"strategy": "follow", "scale": 2.0}
    params = {
        "loss.margin": {**follow, "other": "beta"},
        "annealed.slow": {**follow, "other": "annealed.fast", "interval": "epoch"},
    }
    phases = [
        phase("a", "6st", set={"beta": 2.0, "annealed.fast": 1.0}),
        phase("b", anneal={"beta": by_step(5.0, total_steps=3)}, set={"annealed.fast": 3.0}),
    ]
    module, _ = fit(tmp_path, phases, params, max_epochs=3)
    betas = [2.0] * 6 + [2.0, 3.0, 4.0, 5.0, 5.0, 5.0]
    assert module.column("beta") == betas
    assert module.column("margin") == [2 * beta for beta in betas]
    # By epoch it has the value of each epoch's start, or of the turn.
    assert module.column("slow") == [2.0] * 6 + [6.0] * 6


class ByHand(Moving):
    """Manual optimization with two optimizers, which both step at every second batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.tell((self.current_epoch, batch_idx, self.in_force()))
        if batch_idx % 2:
            for optimizer in self.optimizers():  # type: ignore[union-attr]
                optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(part.parameters(), lr=0.1) for part in (self.layer, self.net)]


def test_steps_in_manual_optimization(tmp_path: Path) -> None:
    """A step is a batch after which the optimizers have stepped, as ever."""
    module, callback = fit(
        tmp_path, [phase("a", "3st"), phase("b", duration="2st"), phase("c")], module=ByHand(), max_epochs=4
    )
    assert [(epoch, step) for epoch, step, *_ in told(callback)] == [(1, 3), (2, 5)]
    assert module.turns() == [(1, 2, "b"), (2, 2, "c")]


def test_a_quick_run(tmp_path: Path) -> None:
    module, callback = fit(tmp_path, TWO, fast_dev_run=True)
    assert (module.column("phase"), callback.values["beta"]) == (["warm"], 2.0)


def test_phases_that_move_nothing(tmp_path: Path) -> None:
    module, callback = fit(tmp_path, [phase("a", 1), phase("b")], max_epochs=2)
    assert module.turns() == [(1, 0, "b")]
    assert callback.values == {}
