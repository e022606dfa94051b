"""``lightning-anneal plot RUN_DIR``: what really happened, read back from what real fits have written."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from PIL import Image

from lightning_anneal import BetaScheduleCallback, HyperparamAnnealingCallback, LossBalancingCallback
from lightning_anneal.cli import main
from lightning_anneal.drawing.panels import Panel
from lightning_anneal.errors import AnnealError
from lightning_anneal.history.command import planned
from lightning_anneal.history.folders import find_run
from lightning_anneal.history.panels import Record
from lightning_anneal.history.scalars import Times, by_epoch, read_scalars
from tests.scripted import Scripted
from tests.tiny import trainer_for
from tests.weighed import AB, FEW, Weighed

LOGGERS = {"tensorboard": TensorBoardLogger, "csv": CSVLogger}
PARAMS: dict[str, Any] = {
    "beta": {"strategy": "TRIGGER_BASED", "trigger_source": "early_stopper_half_patience", "values": [0.5, 1, 2]},
    "weights.kl": {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 4},
    "optimizer.param_groups.0.weight_decay": {
        "strategy": "linear",
        "start_value": 0.0,
        "end_value": 1.0,
        "total_steps": 64,
        "interval": "step",
    },
}
STOPPER: dict[str, Any] = {"monitor": "val_loss", "patience": 4}


@pytest.fixture(params=LOGGERS)
def run(request: pytest.FixtureRequest, tmp_path: Path, fit: Any) -> Path:
    """A run of nine epochs of eight steps, whose EarlyStopping is at half of its patience after epochs 3 and 7."""
    logger = LOGGERS[request.param](tmp_path, name="runs", version="one")
    callbacks = [HyperparamAnnealingCallback(PARAMS), EarlyStopping(**STOPPER)]
    fit(*callbacks, module=Scripted(), logger=logger, max_epochs=9, log_every_n_steps=4)
    return Path(logger.log_dir or "")


def record_of(run: Path) -> Record:
    return Record(run, read_scalars(run))


def by_name(panels: list[Panel]) -> dict[str, Panel]:
    return {panel.name: panel for panel in panels}


def config_of(folder: Path, **params: Any) -> str:
    arguments = {"annealing_params": {**PARAMS, **params}}
    callbacks = [
        {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": arguments},
        {"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": STOPPER},
    ]
    file = folder / "plan.yaml"
    file.write_text(yaml.safe_dump({"trainer": {"max_epochs": 9, "callbacks": callbacks}}))
    return str(file)


def test_values_reasons_and_losses(run: Path) -> None:
    panels = by_name(record_of(run).panels())
    assert list(panels) == [*sorted(PARAMS, key=list(panels).index), "val_loss"]
    beta = panels["beta"]
    # The count is 2 after epoch 3 and again after epoch 7, and what follows is in force in the epoch after.
    assert [(mark.x, mark.kind, mark.text) for mark in beta.marks] == [
        (4.0, "change", "early_stopper_half_patience (2 of 4)"),
        (8.0, "change", "early_stopper_half_patience (2 of 4)"),
    ]
    assert [beta.traces[0].at(t) for t in (0, 3.9, 4, 7.9, 8, 9)] == [0.5, 0.5, 1, 1, 2, 2]
    kl = panels["weights.kl"]
    assert kl.marks == ()
    assert [kl.traces[0].at(t) for t in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    decay = panels["optimizer.param_groups.0.weight_decay"].traces[0]
    # Logged at every fourth step, at 59 and at 63; the audit has the last one. Between them it has moved.
    assert [decay.at(step / 8) for step in (59, 62, 63, 64)] == [59 / 64, 62 / 64, 63 / 64, 1]
    assert decay.at(8) == 1
    loss = panels["val_loss"].traces[0]
    assert list(loss.y) == [5, 4, 4, 4, 4, 3, 3, 3, 2]
    assert list(loss.x) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_the_plan_beside_the_run(run: Path, tmp_path: Path) -> None:
    record = record_of(run)
    other = {"strategy": "linear", "start_value": 0.0, "end_value": 2.0, "total_steps": 4}
    panels = by_name(record.panels(plan=planned(config_of(tmp_path, **{"weights.kl": other, "never": other}), record)))
    # Triggers of the plan have seen the metrics of the run.
    happened, plan = panels["beta"].traces
    assert plan.aside
    assert not happened.aside
    assert [plan.at(t) for t in (3, 4, 7, 8, 9)] == [happened.at(t) for t in (3, 4, 7, 8, 9)] == [0.5, 1, 1, 2, 2]
    happened, plan = panels["weights.kl"].traces
    assert [(happened.at(t), plan.at(t)) for t in (0, 2, 4)] == [(0, 0), (0.5, 1), (1, 2)]
    plan = panels["optimizer.param_groups.0.weight_decay"].traces[1]
    assert [plan.at(t) for t in (0, 4, 8)] == [0, 0.5, 1]
    [only] = panels["never"].traces
    assert (only.aside, only.label) == (True, "planned, never logged")


ANSWERS: dict[str, Any] = {
    "beta": {"strategy": "pi_control", "monitor": "val_loss", "set_point": 4, "kp": 0, "ki": 0.125, "start_value": 0},
    "weights.kl": {"strategy": "on_plateau", "monitor": "val_loss", "factor": 0.5, "patience": 1},
    "loss.margin": {
        "strategy": "gated",
        "schedule": {"strategy": "linear", "start_value": 0, "end_value": 8, "total_steps": 8},
        "advance_when": {"monitor": "val_loss", "below": 4.5},
    },
    "temperature": {"strategy": "follow", "other": "beta", "scale": 2},
    "top_k": {
        "strategy": "constraint",
        "monitor": "kl_loss",
        "limit": 0,
        "method": "pi",
        "ki": 4,
        "kp": 0,
        "start_value": 3,
        "round": True,
    },
}


class Logs(Scripted):
    """Logs what it returns, by step and by epoch: a quarter."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        seen = super().training_step(batch, batch_idx)
        self.log("kl_loss", seen["kl_loss"], on_step=True, on_epoch=True)
        return seen


@pytest.mark.parametrize("logger", LOGGERS)
def test_what_answers_to_metrics_and_what_follows(tmp_path: Path, fit: Any, logger: str) -> None:
    kept = LOGGERS[logger](tmp_path, name="runs", version="one")
    fit(HyperparamAnnealingCallback(ANSWERS), module=Logs(), logger=kept, max_epochs=9)
    record = record_of(tmp_path / "runs" / "one")
    plan = config_of(tmp_path, **ANSWERS)
    callbacks = [
        {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": {"annealing_params": ANSWERS}}
    ]
    Path(plan).write_text(yaml.safe_dump({"trainer": {"max_epochs": 9, "callbacks": callbacks}}))
    panels = by_name(record.panels(plan=planned(plan, record)))
    # The losses are 5, 4, 4, 4, 4, 3, 3, 3, 2: one above the set point, and later one below it.
    assert [(mark.x, mark.text) for mark in panels["beta"].marks] == [
        (1.0, "pi_control (metric 5, set_point 4)"),
        (6.0, "pi_control (metric 3, set_point 4)"),
    ]
    assert [(mark.x, mark.text) for mark in panels["weights.kl"].marks] == [
        (4.0, "on_plateau val_loss no better than 4 for 2 polls"),
        (8.0, "on_plateau val_loss no better than 3 for 2 polls"),
    ]
    assert panels["loss.margin"].marks == ()
    # At the start, and no more, though it moves in epochs 1 and 6.
    assert [(mark.x, mark.text) for mark in panels["temperature"].marks] == [(0.0, "follow (beta 0)")]
    assert panels["top_k"].marks[0].text == "constraint (metric 0.25, limit 0)"
    # What is aimed at, beside the metric of the epoch before.
    metric, aim = panels["beta: metric and set point"].traces
    assert (metric.label, aim.label) == ("metric", "set point")
    assert [metric.at(epoch) for epoch in range(1, 9)] == [5, 4, 4, 4, 4, 3, 3, 3]
    assert [aim.at(epoch) for epoch in range(1, 9)] == [4] * 8
    assert [trace.label for trace in panels["top_k: metric and limit"].traces] == ["metric", "limit"]
    expected = {
        "beta": [0, *[0.125] * 5, 0, 0, 0],
        "weights.kl": [0.5] * 4 + [0.25] * 4 + [0.125],
        "loss.margin": [0, 0, 1, 2, 3, 4, 5, 6, 7],
        "temperature": [0, *[0.25] * 5, 0, 0, 0],
        "top_k": [3, 4, 5, 6, 7, 8, 9, 10, 11],
    }
    for name, values in expected.items():
        happened, foreseen = panels[name].traces
        assert [happened.at(epoch) for epoch in range(9)] == [foreseen.at(epoch) for epoch in range(9)] == values


class Told(Weighed):
    """Logs the one loss that a picture is to have."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", 3.0 - self.current_epoch)


@pytest.mark.parametrize("logger", LOGGERS)
def test_weights_of_losses_and_the_losses(tmp_path: Path, logger: str) -> None:
    kept = LOGGERS[logger](tmp_path, name="runs", version="one")
    balancing = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2)
    trainer = trainer_for(tmp_path, balancing, logger=kept, log_every_n_steps=1, max_epochs=2)
    trainer.fit(Told(FEW, batches=4))
    panels = by_name(record_of(tmp_path / "runs" / "one").panels())
    assert list(panels) == ["a", "b", "val_loss"]
    # The means of two batches are 20 and 2, again 20 and 2, and 10 and 2.
    weights = [1.0, 1.0, 2 / 11, 2 / 11, 2 / 11, 2 / 11, 1 / 3, 1 / 3]
    assert [panels["a"].traces[0].at(step / 4) for step in range(8)] == pytest.approx(weights)
    assert [panels["b"].traces[0].at(step / 4) for step in range(8)] == pytest.approx([2 - a for a in weights])
    assert [panels["val_loss"].traces[0].at(epoch) for epoch in (1, 2)] == [3.0, 2.0]


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", str(run.parent)]) == 0
    assert capsys.readouterr() == (f"{run / 'annealing.png'}\n", "")
    assert main(["plot", str(run), "-o", str(tmp_path / "p.png"), "--against", config_of(tmp_path)]) == 0
    for file in (run / "annealing.png", tmp_path / "p.png"):
        with Image.open(file) as picture:
            assert picture.width == 1080
            assert picture.height > 900
    capsys.readouterr()
    assert main(["plot", str(run), "--text", "--metrics", "val_loss"]) == 0
    text = capsys.readouterr().out
    assert "early_stopper_half_patience (2 of 4)" in text
    assert text.splitlines()[-2].endswith(" epoch")


def test_a_mistake_in_the_plan_is_told(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(tmp_path, **{"weights.kl": {"strategy": "linaer"}})
    assert main(["plot", str(run), "--against", config]) == 2
    assert capsys.readouterr().err == "error: weights.kl.strategy: unknown strategy 'linaer'; did you mean 'linear'?\n"


def test_restarts_are_marked(tmp_path: Path, fit: Any) -> None:
    base = {"base_scheduler_type": "linear", "base_scheduler_kwargs": {"max_beta": 1, "warmup_epochs": 2}}
    callback = BetaScheduleCallback("warm_restart", {**base, "restart_interval": 3})
    fit(callback, module=Scripted(), logger=CSVLogger(tmp_path, name=""), max_epochs=8)
    [run] = tmp_path.iterdir()
    [beta, _] = record_of(run).panels()
    assert [(mark.x, mark.kind) for mark in beta.marks] == [(3.0, "restart"), (6.0, "restart")]


def test_words_stand_in_the_audit_alone(tmp_path: Path, fit: Any) -> None:
    module = Scripted()
    module.mode = "soft"  # type: ignore[assignment]
    words = {"strategy": "TRIGGER_BASED", "trigger_source": "early_stopper_counter", "values": ["soft", "hard"]}
    logger = CSVLogger(tmp_path, name="")
    fit(
        HyperparamAnnealingCallback({"mode": words}),
        EarlyStopping(**STOPPER),
        module=module,
        logger=logger,
        max_epochs=5,
    )
    [run] = tmp_path.iterdir()
    panel = by_name(record_of(run).panels())["mode"]
    assert panel.words == ("soft", "hard")
    assert [panel.traces[0].at(t) for t in (0, 2.9, 3)] == [0, 0, 1]
    assert [mark.text for mark in panel.marks] == ["early_stopper_counter 0 -> 1"]


def test_a_batch_size_makes_epochs_of_other_lengths() -> None:
    times = Times({"epoch": [(7, 0), (15, 1), (19, 2), (23, 3)]})
    assert [times.at(step) for step in (0, 4, 8, 12, 16, 18, 20, 22, 24, 30)] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5]
    assert not times.even
    assert times.steps_per_epoch == 6
    # A validation within an epoch logs it as well.
    assert Times({"epoch": [(3, 0), (7, 0), (15, 1)]}).even


def test_without_epochs_times_are_steps() -> None:
    times = Times({"Annealing/beta": [(0, 1.0)]})
    assert (times.known, times.at(12), times.steps_per_epoch, times.even) == (False, 12.0, None, False)


def test_metrics_by_epoch() -> None:
    times = Times({"epoch": [(7, 0), (15, 1), (23, 2)]})
    assert by_epoch([(3, 9.0), (7, 5.0), (23, 4.0)], times) == [5.0, None, 4.0]


def test_a_resumed_run_counts_what_it_did_again_once(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,loss,epoch\n0,1,0\n1,2,0\n1,3,0\n2,,0\nbroken\n3,x,0\n4,5,1\n")
    assert read_scalars(tmp_path) == {
        "loss": [(0, 1.0), (1, 3.0), (4, 5.0)],
        "epoch": [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0), (4, 1.0)],
    }


def test_an_event_file_that_a_killed_process_left(run: Path) -> None:
    files = list(run.glob("events*"))
    if not files:
        pytest.skip("CSVLogger has none")
    whole = read_scalars(run)["val_loss"]
    files[0].write_bytes(files[0].read_bytes()[:-100])
    assert read_scalars(run)["val_loss"] == whole[: len(read_scalars(run)["val_loss"])]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        ([], "'FOLDER': holds no run: neither events.out.tfevents.* nor metrics.csv"),
        (["a/metrics.csv", "b/metrics.csv"], "'FOLDER': holds 2 runs (a, b); name one"),
        (["metrics.csv"], "'FOLDER': holds nothing annealed: no tag Annealing/, Beta_Schedule/ or Loss_Weights/"),
    ],
)
def test_folders_without_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make: list[str], error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("FOLDER").mkdir()
    for name in make:
        file = Path("FOLDER", name)
        file.parent.mkdir(exist_ok=True)
        file.write_text("step,loss\n0,1\n")
    assert main(["plot", "FOLDER"]) == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_chart_of_several_lines_is_no_run_of_its_own(tmp_path: Path) -> None:
    for name in ("one/events.out.tfevents.1", "one/Comparison_global/events.out.tfevents.1"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.write_bytes(b"")
    assert find_run(tmp_path) == tmp_path / "one"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nowhere"], "error: 'nowhere': no such folder"),
        ([], "error: the following arguments are required: RUN_DIR (--help tells the options)"),
        (["run", "--metrics", "val_los"], "error: --metrics: no 'val_los' was logged; did you mean 'val_loss'?"),
        (
            ["run", "-o", "no/such/p.png"],
            "error: 'no/such/p.png': can't be written: [Errno 2] No such file or directory: 'no/such/p.png'",
        ),
        (["run", "--against", "nowhere.yaml"], "error: CONFIG: no such file 'nowhere.yaml'"),
    ],
)
def test_mistakes_on_the_command_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").mkdir()
    Path("run/metrics.csv").write_text("step,epoch,Annealing/beta,val_loss\n0,0,1,2\n1,0,2,3\n")
    try:
        status = main(["plot", *arguments])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    assert capsys.readouterr().err.rstrip() == error


def test_a_folder_that_takes_no_picture(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match="no such folder"):
        find_run(tmp_path / "gone")


def test_the_losses_of_training_and_validation_share_a_panel(tmp_path: Path) -> None:
    header = [
        "step",
        "epoch",
        "Annealing/beta",
        "train_loss_step",
        "train_loss_epoch",
        "val_loss",
        "val/kl_loss",
        "acc",
        "Batch/KL_Loss",
    ]
    with (tmp_path / "metrics.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerows([header, [0, 0, 1, 2, 3, 4, 5, 6, 7], [1, 1, 1, 2, 3, 4, 5, 6, 7]])
    panels = record_of(tmp_path).panels()
    assert [(panel.name, [trace.label for trace in panel.traces]) for panel in panels] == [
        ("beta", [""]),
        ("loss", ["train_loss_epoch", "val_loss"]),
        ("val/kl_loss", [""]),
    ]
    chosen = record_of(tmp_path).panels(["acc", "Batch/KL_Loss"])
    assert [panel.name for panel in chosen] == ["beta", "acc", "Batch/KL_Loss"]


def rated(folder: Path, *rates: str) -> Path:
    """A run of two epochs whose learning rates were logged, and what may be logged beside them."""
    header = ["step", "epoch", "Annealing/beta", *rates, "lr-SGD-momentum", "lr-SGD-weight_decay"]
    with (folder / "metrics.csv").open("w", newline="") as lines:
        csv.writer(lines).writerows(
            [header, [0, 0, 1, *[0.5] * len(rates), 7, 8], [1, 1, 2, *[0.25] * len(rates), 7, 8]]
        )
    return folder


def plan_of(folder: Path, max_epochs: int | None = 2, **beta: Any) -> str:
    """A config that anneals beta alone."""
    arguments = {"annealing_params": {"beta": beta}}
    callback = {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": arguments}
    (folder / "plan.yaml").write_text(yaml.safe_dump({"trainer": {"max_epochs": max_epochs, "callbacks": [callback]}}))
    return str(folder / "plan.yaml")


@pytest.mark.parametrize(
    ("rates", "labels"), [(["lr-SGD"], [""]), (["lr-SGD/pg1", "lr-SGD/pg2"], ["SGD/pg1", "SGD/pg2"])]
)
def test_what_learning_rate_monitor_has_logged(tmp_path: Path, rates: list[str], labels: list[str]) -> None:
    panels = by_name(record_of(rated(tmp_path, *rates)).panels())
    assert list(panels) == ["beta", "learning rate"]
    assert [trace.label for trace in panels["learning rate"].traces] == labels
    for trace in panels["learning rate"].traces:
        assert (list(trace.x), list(trace.y)) == ([0.0, 1.0, 2.0], [0.5, 0.25, 0.25])


def test_what_the_plan_has_not_stands_alone(tmp_path: Path) -> None:
    record = record_of(rated(tmp_path, "lr-SGD"))
    plan = plan_of(tmp_path, strategy="linear", start_value=1.0, end_value=2.0, total_steps=1)
    panels = record.panels(plan=planned(plan, record))
    assert [(panel.name, [trace.label for trace in panel.traces]) for panel in panels] == [
        ("beta", ["what happened", "planned"]),
        ("learning rate", [""]),
    ]


def test_notes_of_the_plan_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Without epochs it isn't known how many steps are in one.
    (tmp_path / "metrics.csv").write_text("step,Annealing/beta\n0,1\n1,2\n")
    plan = plan_of(tmp_path, strategy="linear", start_value=1.0, end_value=2.0, total_steps=8, interval="step")
    assert main(["plot", str(tmp_path), "--text", "--against", plan]) == 0
    assert capsys.readouterr().err == "steps in an epoch are not known: 100 assumed\n"


def test_a_plan_without_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "metrics.csv").write_text("step,Annealing/beta\n0,1\n1,2\n")
    plan = plan_of(tmp_path, -1, strategy="linear", start_value=1.0, end_value=2.0, total_steps=8)
    assert main(["plot", str(tmp_path), "--text", "--against", plan]) == 2
    assert capsys.readouterr().err == "error: max_epochs: not known, and neither is max_steps; give one of them\n"


@pytest.mark.parametrize("max_epochs", [-1, None])
def test_a_plan_without_an_end_has_that_of_the_run(tmp_path: Path, max_epochs: int | None) -> None:
    record = record_of(rated(tmp_path, "lr-SGD"))
    plan = plan_of(tmp_path, max_epochs, strategy="linear", start_value=1.0, end_value=3.0, total_steps="100%")
    assert planned(plan, record)["beta"] == [1.0, 2.0]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (
            lambda: Path("events.out.tfevents.1").mkdir(),
            "'.': can't be read: IsADirectoryError: [Errno 21] Is a directory: b'./events.out.tfevents.1'",
        ),
        # More than the module csv takes for a cell.
        (lambda: Path("metrics.csv").write_text("step,a\n0," + "1" * 200_000), "'metrics.csv': can't be read: Error"),
    ],
)
def test_a_record_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], make: Any, error: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make()
    assert main(["plot", "."]) == 2
    assert capsys.readouterr().err == f"error: {error}\n"


def test_a_copied_run_is_a_run(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "elsewhere" / "x")
    assert [panel.name for panel in record_of(tmp_path / "elsewhere" / "x").panels()] == [
        p.name for p in record_of(run).panels()
    ]
