"""Whole searches on this machine: the command, its runs with any entry point, and what is left of them."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from lightning_anneal.cli import main
from lightning_anneal.search.files import locked
from lightning_anneal.search.hyper_param_search import HyperParamSearch
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.results import SearchResult
from lightning_anneal.search.runs import Run
from tests.search.test_child import ROOT, Noting, noted

QUIET = {
    "accelerator": "cpu",
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


ENVIRONMENT = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
"""Nothing looks for GPUs, which takes longer than these runs."""


class Level(Noting):
    """Its val_loss is a level, in the second epoch, and more before and after: level + |epoch - 1|."""

    def __init__(self, level: float = 1.0, momentum: float = 0.0, killed_in: int = -1) -> None:
        super().__init__("", killed_in)
        self.save_hyperparameters()
        self.level = level

    def setup(self, stage: str) -> None:
        self.folder = Path(self.trainer.default_root_dir)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", self.level + abs(self.current_epoch - 1))


def config(trainer: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    return {
        "seed_everything": 1,
        "model": {"class_path": "tests.search.test_local_engine.Level", "init_args": arguments},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {**QUIET, **trainer},
    }


def search(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lightning_anneal.cli", "search", *words],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180,
        env=ENVIRONMENT,
    )  # fmt: skip


def plan_in(root: Path) -> Plan:
    [folder] = root.glob("*_search")
    return Plan.load(folder)


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, subprocess.CompletedProcess[str]]:
    """Two runs, which EarlyStopping ends after the third of five epochs."""
    root = tmp_path_factory.mktemp("grid")
    stopping = {
        "class_path": "lightning.pytorch.callbacks.EarlyStopping",
        "init_args": {"monitor": "val_loss", "patience": 1},
    }
    written = config({"max_epochs": 5, "callbacks": [stopping], "log_every_n_steps": 1}, level=[2.5, 1.5])
    (root / "c.yaml").write_text(yaml.safe_dump(written))
    done = search(
        "-c", str(root / "c.yaml"), "--root-dir", str(root / "runs [of] mine"), "--workers", "2", "--run-prefix", "g"
    )
    assert done.returncode == 0, done.stderr
    return plan_in(root / "runs [of] mine"), done


def test_the_command_tells_of_every_run_and_ranks_them(grid: tuple[Plan, subprocess.CompletedProcess[str]]) -> None:
    plan, done = grid
    assert done.stdout.splitlines() == [
        "rank  index  state  level  val_loss  best_epoch  epochs",
        "----  -----  -----  -----  --------  ----------  ------",
        "   1      1   done    1.5       1.5           1       3",
        "   2      0   done    2.5       2.5           1       3",
    ]
    said = done.stderr.splitlines()
    assert said[:3] == [
        "2 runs, by grid",
        "  model.init_args.level  2.5, 1.5  (by its type)",
        f"search: {plan.folder}",
    ]
    time = f"{plan.began:%H%M%S}"
    ended = sorted(line.split(" in ")[0].split("] ")[1] for line in said[3:5])
    assert ended == [f"g_{time}_level_1.5 done", f"g_{time}_level_2.5 done"]
    assert [line.split("]")[0] for line in said[3:5]] == ["[1/2", "[2/2"]
    assert said[5:] == ["best: val_loss 1.5 in epoch 1, level 1.5"]


def test_the_files_of_a_run(grid: tuple[Plan, subprocess.CompletedProcess[str]]) -> None:
    for run, level in zip(grid[0].runs, (2.5, 1.5), strict=True):
        assert run.status == {"state": "done", "attempts": 1, "exit_status": 0}
        assert {epoch: metrics["val_loss"] for epoch, metrics in run.epochs.items()} == {
            0: level + 1,
            1: level,
            2: level + 1,
        }
        assert noted(run.folder) == ["begin 0", "begin 1", "begin 2"]
        own = yaml.safe_load((run.folder / "config.yaml").read_text())
        assert own["model"]["init_args"] == {"level": level}
        assert "RunKeeper" in (run.folder / "log.txt").read_text()


def test_a_runs_config_fits_again_outside_of_the_search(
    grid: tuple[Plan, subprocess.CompletedProcess[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = grid[0].runs[0]
    before = (run.folder / "result.json").read_text()
    words = ["fit", "--config", str(run.folder / "config.yaml"), "--trainer.default_root_dir", str(tmp_path)]
    assert main([*words, "--trainer.logger", "false"]) == 0
    assert noted(tmp_path) == ["begin 0", "begin 1", "begin 2"]
    assert (run.folder / "result.json").read_text() == before


def test_tensorboard_has_each_runs_values_and_best_metric(grid: tuple[Plan, subprocess.CompletedProcess[str]]) -> None:
    for run, level in zip(grid[0].runs, (2.5, 1.5), strict=True):
        [events] = run.folder.rglob("events.out.tfevents.*")
        accumulator = EventAccumulator(str(events.parent)).Reload()
        read = {}
        for tag, text in accumulator.summary_metadata.items():
            if text.plugin_data.plugin_name == "hparams":
                read[tag] = plugin_data_pb2.HParamsPluginData.FromString(text.plugin_data.content)
        start = read["_hparams_/session_start_info"].session_start_info
        assert start.hparams["level"].number_value == level
        experiment = read["_hparams_/experiment"].experiment
        assert [metric.name.tag for metric in experiment.metric_infos] == ["best/val_loss"]
        tags = accumulator.Tags()["scalars"]
        assert "hp_metric" not in tags
        [best] = accumulator.Scalars("best/val_loss")
        assert best.value == level


def test_status_table_best_and_plot(
    grid: tuple[Plan, subprocess.CompletedProcess[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = grid[0]
    folder, names = str(plan.folder), [run.name for run in plan.runs]

    def told(action: str) -> list[str]:
        assert main(["search", action, folder]) == 0
        return capsys.readouterr().out.splitlines()

    assert told("status") == [
        f"{plan.folder.name}: 2 done",
        f"     0  done      epoch 2     {names[0]}",
        f"     1  done      epoch 2     {names[1]}",
    ]
    assert told("table") == grid[1].stdout.splitlines()
    with (plan.folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["rank"], row["run"], row["level"], row["val_loss"]) for row in rows] == [
        ("1", names[1], "1.5", "1.5"),
        ("2", names[0], "2.5", "2.5"),
    ]
    assert told("best") == [str(plan.runs[1].folder / "config.yaml")]
    assert told("plot") == [str(plan.folder / "results.png")]
    assert (plan.folder / "results.png").read_bytes()[:4] == b"\x89PNG"


def test_seeds_in_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    own = config({"max_epochs": 2, "logger": False}, level=1.5)
    result = HyperParamSearch(own, root_dir=tmp_path, quiet=True, workers=2, seeds=[3, 4]).run()
    runs = result.plan.runs
    assert [(run.values, run.state) for run in runs] == [({"seed_everything": seed}, "done") for seed in (3, 4)]
    written = [yaml.safe_load((run.folder / "config.yaml").read_text())["seed_everything"] for run in runs]
    assert written == [3, 4]
    names = [run.name for run in runs]
    assert result.averages == [{"mean val_loss": 1.5, "deviation": 0.0, "seeds": 2, "runs": names}]
    assert result.best.name == names[0]


# -- a user's own scripts --------------------------------------------------------------------------------------------

HEAD = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
PLAIN = """
import argparse
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from tests.search.test_local_engine import Level
from tests.tiny import Data
parser = argparse.ArgumentParser()
parser.add_argument("--config")
config = yaml.safe_load(open(parser.parse_args().config))
trainer = Trainer(
    max_epochs=config["epochs"], accelerator="cpu", logger=False, default_root_dir=config["folder"],
    callbacks=[ModelCheckpoint(monitor="val_loss")], enable_progress_bar=False, enable_model_summary=False,
)
module = Level(level=config["level"], killed_in=config["killed_in"])
trainer.fit(module, Data())
trainer.validate(module, Data(), ckpt_path="best")
"""
CLI = """
from lightning.pytorch.cli import LightningCLI
from tests.search.test_local_engine import Level
from tests.tiny import Data
LightningCLI(Level, Data)
"""


def script(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "train it.py"
    path.write_text(HEAD + text)
    return path


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Plan]:
    """A run with each of the scripts, killed once in its second epoch; both at the same time."""
    plans, started = {}, []
    for name, text, options in (("plain", PLAIN, "--config {config}"), ("cli", CLI, "fit --config {config}")):
        root = tmp_path_factory.mktemp(name)
        if name == "plain":
            own = {"epochs": 3, "folder": str(root), "killed_in": 1, "level": {"grid": [1.5]}}
        else:
            own = config({"max_epochs": 3, "logger": False}, level={"grid": [1.5]}, killed_in=1)
            own = {**own, "model": own["model"]["init_args"], "data": {}}
        command = f"{sys.executable} '{script(root, text)}' {options}"
        plans[name] = HyperParamSearch(own, root_dir=root / "runs", quiet=True, command=command).plan()
        words = [sys.executable, "-m", "lightning_anneal.cli", "search", "--resume", str(plans[name].folder)]
        started.append(
            subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
            )
        )
    for process in started:
        assert process.wait(timeout=120) == 0
    return plans


def test_a_plain_script_goes_on_after_a_kill(scripts: dict[str, Plan]) -> None:
    [run] = scripts["plain"].runs
    assert run.status == {"state": "done", "attempts": 2, "exit_status": 0}
    # It was told of a folder of its own.
    assert noted(run.folder.parent.parent) == ["begin 0", "begin 1", "begin 1", "begin 2"]
    assert [metrics["val_loss"] for metrics in run.epochs.values()] == [2.5, 1.5, 2.5]


def test_a_lightning_cli_of_ones_own_goes_on_after_a_kill(scripts: dict[str, Plan]) -> None:
    [run] = scripts["cli"].runs
    assert run.status == {"state": "done", "attempts": 2, "exit_status": 0}
    assert noted(run.folder) == ["begin 0", "begin 1", "begin 1", "begin 2"]
    assert [metrics["val_loss"] for metrics in run.epochs.values()] == [2.5, 1.5, 2.5]
    assert yaml.safe_load((run.folder / "config.yaml").read_text())["model"] == {"killed_in": 1, "level": 1.5}


# -- commands without Lightning, which take a moment -----------------------------------------------------------------

DOES = """
import pathlib, sys, time, yaml
does = yaml.safe_load(open(sys.argv[1]))["does"]
folder = pathlib.Path(sys.argv[1]).parent
with open(folder / "tries", "a") as file:
    print("try", file=file)
if does == "fail":
    raise RuntimeError("no such luck")
if does == "mistake":
    sys.exit(2)
if does == "wait":
    time.sleep(600)
"""


def tries(run: Run) -> int:
    path = run.folder / "tries"
    return len(path.read_text().splitlines()) if path.exists() else 0


def small(root: Path, *does: str, **settings: Any) -> Plan:
    """A grid of runs that do as they are told."""
    command = f"{sys.executable} '{script(root, DOES)}' {{config}}"
    return HyperParamSearch(
        {"does": {"grid": list(does)}}, root_dir=root / "runs", quiet=True, workers=2, command=command, **settings
    ).plan()


def test_a_failing_run_is_tried_again_and_reported_and_the_others_go_on(tmp_path: Path) -> None:
    plan = small(tmp_path, "fail", "mistake", "work")
    done = search("--resume", str(plan.folder), "--workers", "1")
    assert done.returncode == 1
    assert [run.state for run in plan.runs] == ["failed", "failed", "done"]
    assert [run.status["exit_status"] for run in plan.runs] == [1, 2, 0]
    # Trying a mistake again would change nothing.
    assert [tries(run) for run in plan.runs] == [2, 1, 1]
    said = done.stderr.splitlines()
    names = [run.name for run in plan.runs]
    assert f"{names[0]} ended with status 1; it goes on from the beginning" in said
    at = next(i for i, line in enumerate(said) if f"{names[0]} failed in" in line)
    tail = said[at + 1 : at + 7]
    assert "    RuntimeError: no such luck" in tail
    assert f"    (all of it in {plan.runs[0].folder / 'log.txt'})" in tail
    assert said[-2:] == [
        f"2 of 3 runs aren't finished: {names[0]}, {names[1]}",
        f"try them again with: lightning-anneal search --resume {plan.folder}",
    ]


def test_fail_fast_ends_the_search(tmp_path: Path) -> None:
    plan = small(tmp_path, "wait", "mistake", "work")
    done = search("--resume", str(plan.folder), "--fail-fast")
    assert done.returncode == 1
    assert [run.state for run in plan.runs] == ["stopped", "failed", "waiting"]
    assert f"{plan.runs[1].name} failed, so the search ends (fail_fast)" in done.stderr.splitlines()


def test_runs_one_by_one_and_then_the_rest(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "c.yaml"
    own.write_text("does: [work, other]\n")
    command = f"{sys.executable} '{script(tmp_path, DOES)}' {{config}}"
    root = tmp_path / "runs"
    assert main(["search", "-c", str(own), "--root-dir", str(root), "--command", command, "--no-execute"]) == 0
    plan = plan_in(root)
    assert capfd.readouterr().out.splitlines() == [str(run.folder) for run in plan.runs]
    assert [run.state for run in plan.runs] == ["waiting", "waiting"]

    words = ["search", "run-one", str(plan.folder), "--index"]
    one = [sys.executable, "-m", "lightning_anneal.cli", *words, "1"]
    assert subprocess.run(one, stdin=subprocess.DEVNULL, cwd=tmp_path).returncode == 0
    assert [run.state for run in plan.runs] == ["waiting", "done"]
    before = {path: path.stat().st_mtime_ns for path in plan.runs[1].folder.iterdir()}
    assert main([*words, "1"]) == 0
    assert f"{plan.runs[1].name} is done already" in capfd.readouterr().err
    assert main([*words, "2"]) == 2
    assert capfd.readouterr().err == "error: --index: there is no run 2; take 0 to 1\n"

    assert search("--resume", str(plan.folder)).returncode == 0
    assert [run.state for run in plan.runs] == ["done", "done"]
    assert {path: path.stat().st_mtime_ns for path in plan.runs[1].folder.iterdir()} == before
    assert [tries(run) for run in plan.runs] == [1, 1]
    assert SearchResult(plan).table[0]["state"] == "done"


def test_a_deleted_run_folder_leaves_the_others_alone(tmp_path: Path) -> None:
    plan = small(tmp_path, "work", "other")
    shutil.rmtree(plan.runs[0].folder)
    done = search("--resume", str(plan.folder))
    assert "Traceback" not in done.stderr
    assert done.returncode == 1
    assert plan.runs[1].state == "done"


def test_python_in_a_folder_with_a_space(tmp_path: Path) -> None:
    (tmp_path / "my environment").symlink_to(sys.prefix)
    python = tmp_path / "my environment" / "bin" / "python"
    plan = HyperParamSearch(config({"max_epochs": 1}), root_dir=tmp_path / "my runs", quiet=True).plan()
    words = [python, "-m", "lightning_anneal.cli", "search", "run-one", str(plan.folder), "--index", "0"]
    assert subprocess.run(words, cwd=ROOT, env=ENVIRONMENT).returncode == 0
    assert list(plan.runs[0].epochs) == [0]


def test_all_of_it_may_be_moved_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    own = config({"max_epochs": 1}, level={"grid": [1.5]})
    before = HyperParamSearch(own, root_dir=tmp_path / "before", quiet=True).plan().folder
    (tmp_path / "before").rename(tmp_path / "after")
    assert search("--resume", str(tmp_path / "after" / before.name)).returncode == 0
    [run] = plan_in(tmp_path / "after").runs
    assert run.state == "done"
    assert len(list(run.folder.rglob("events.out.tfevents.*"))) == 1
    assert not (tmp_path / "before").exists()


def test_what_an_array_job_trains_is_left_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("lightning_anneal.search.execute._PATIENCE_S", 0.0)
    plan = HyperParamSearch({"a": [1, 2]}, root_dir=tmp_path, quiet=True, command="true {config}").plan()
    with locked(plan.runs[0].folder / "lock"):
        assert main(["search", "--resume", str(plan.folder)]) == 1
    assert [run.state for run in plan.runs] == ["waiting", "done"]
    assert f"{plan.runs[0].name} is trained by another process, and left alone" in capsys.readouterr().err
    assert main(["search", "--resume", str(plan.folder)]) == 0
    assert [run.state for run in plan.runs] == ["done", "done"]
