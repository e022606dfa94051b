"""The process of a run: its status, checkpoints and results, after a kill too, with any entry point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer

from lightning_anneal.search import child as process_of_a_run
from lightning_anneal.search.driver_watch import let_watch
from lightning_anneal.search.files import locked, read_json, write_json
from tests.tiny import QUIET, Tiny

ROOT = Path(__file__).parents[2]


class Noting(Tiny):
    """Writes down the epochs that it begins and ends; the process is killed in `killed_in`, the first time."""

    def __init__(self, folder: str, killed_in: int = -1) -> None:
        super().__init__()
        self.folder, self.killed_in = Path(folder), killed_in

    def note(self, what: str) -> None:
        with (self.folder / "noted.txt").open("a") as file:
            file.write(f"{what} {self.current_epoch}\n")

    def on_train_epoch_start(self) -> None:
        self.note("begin")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        if self.current_epoch == self.killed_in and batch_idx == 3 and not (self.folder / "killed").exists():
            (self.folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)


def prepared(folder: Path, command: str | None = None, *, max_epochs: int = 4, **arguments: Any) -> Path:
    """A run's folder."""
    trainer = {
        "max_epochs": max_epochs,
        **QUIET,
        "default_root_dir": str(folder),
    }
    model = {"class_path": "tests.search.test_child.Noting", "init_args": {"folder": str(folder), **arguments}}
    data = {"class_path": "tests.tiny.Data"}
    config = {"seed_everything": 1, "model": model, "data": data, "trainer": trainer}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_json(folder / "run.json", {"command": command, "cwd": str(ROOT)})
    return folder


def child(folder: Path, **options: Any) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "lightning_anneal.search.child", str(folder)]
    return subprocess.Popen(words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def finished(folder: Path) -> int:
    process = child(folder, start_new_session=True)
    process.communicate(timeout=120)
    return process.returncode


def noted(folder: Path) -> list[str]:
    return (folder / "noted.txt").read_text().split("\n")[:-1]


def test_a_run(tmp_path: Path) -> None:
    assert finished(prepared(tmp_path)) == 0
    assert read_json(tmp_path / "status.json") == {"state": "done", "attempts": 1, "exit_status": 0}
    epochs = read_json(tmp_path / "result.json")["epochs"]
    assert list(epochs) == ["0", "1", "2", "3"]
    assert all("val_loss" in metrics for metrics in epochs.values())
    assert (tmp_path / "last.ckpt").exists()


def test_a_killed_run_goes_on_where_its_last_epoch_ended(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert finished(prepared(whole)) == 0
    assert finished(prepared(killed, killed_in=2)) == 128 + signal.SIGKILL  # of what it ran
    assert read_json(killed / "status.json") == {"state": "failed", "attempts": 1, "exit_status": 137}
    assert finished(killed) == 0
    assert read_json(killed / "status.json") == {"state": "done", "attempts": 2, "exit_status": 0}
    # The third epoch, in which it was killed, begins again.
    assert noted(killed) == [f"begin {epoch}" for epoch in (0, 1, 2, 2, 3)]
    assert read_json(killed / "result.json") == read_json(whole / "result.json")


def test_a_finished_run_trains_no_more(tmp_path: Path) -> None:
    prepared(tmp_path, max_epochs=2)
    assert [finished(tmp_path), finished(tmp_path)] == [0, 0]
    assert noted(tmp_path) == ["begin 0", "begin 1"]


def test_what_somebody_else_has_finished_meanwhile_is_not_begun(tmp_path: Path) -> None:
    prepared(tmp_path, "false {config}")
    write_json(tmp_path / "status.json", {"state": "done", "attempts": 1, "exit_status": 0})
    assert finished(tmp_path) == 0
    assert read_json(tmp_path / "status.json")["attempts"] == 1


SCRIPT = """
import sys
import yaml
from lightning.pytorch import Trainer
from tests.search.test_child import Noting
from tests.tiny import Data
config = yaml.safe_load(open(sys.argv[1]))
Trainer(**config["trainer"]).fit(Noting(**config["model"]["init_args"]), Data())
"""


@pytest.mark.processes
def test_any_command_is_kept_and_resumed(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SCRIPT}")
    folder = tmp_path / "run"
    folder.mkdir()
    prepared(folder, f"{sys.executable} {script} {{config}}", max_epochs=3, killed_in=1)
    assert finished(folder) == 128 + signal.SIGKILL  # of the command, not of the process that ran it
    assert read_json(folder / "status.json")["state"] == "failed"
    assert finished(folder) == 0
    assert noted(folder) == ["begin 0", "begin 1", "begin 1", "begin 2"]
    assert list(read_json(folder / "result.json")["epochs"]) == ["0", "1", "2"]


def test_a_mistake_is_a_failure_with_its_line_in_the_log(tmp_path: Path) -> None:
    prepared(tmp_path)
    config = yaml.safe_load((tmp_path / "config.yaml").read_text())
    config["trainer"]["callbacks"] = [{"class_path": "lightning_anneal.BetaScheduleCallback", "init_args": {"x": 1}}]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    process = child(tmp_path)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert output.splitlines()[-1].startswith("error: BetaScheduleCallback: unknown argument 'x'")
    assert read_json(tmp_path / "status.json") == {"state": "failed", "attempts": 1, "exit_status": 2}


@pytest.mark.parametrize("own", [True, False])
def test_no_orphan_trains_on(tmp_path: Path, own: bool) -> None:
    script = tmp_path / "train.py"
    script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{SCRIPT}")
    prepared(tmp_path, None if own else f"{sys.executable} {script} {{config}}", max_epochs=-1)
    theirs, ours = os.pipe()
    environment = {**os.environ, **let_watch(theirs)}
    process = child(tmp_path, env=environment, pass_fds=(theirs,), start_new_session=True)
    os.close(theirs)
    while not (tmp_path / "result.json").exists():
        assert process.poll() is None
    os.close(ours)
    # The output ends when the last process that holds it does.
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("order", "status", "message"),
    [
        (None, 2, "{folder}: is no folder of a run, which has a run.json"),
        ("x", 1, "{folder}/run.json: can't be read: Expecting value: line 1 column 1 (char 0)"),
        ("{}", 1, "{folder}: process {pid} works on it; wait for it, or end it"),
    ],
)  # fmt: skip
def test_what_can_not_be_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], order: str | None, status: int, message: str
) -> None:  # fmt: skip
    monkeypatch.setattr(process_of_a_run, "_PATIENCE_S", 0.0)
    # A short name, because a long line is cut.
    folder = tmp_path / "x"
    folder.mkdir()
    if order is not None:
        (folder / "run.json").write_text(order)
    with locked(folder / "lock"):
        assert process_of_a_run.main(folder) == status
    assert capsys.readouterr().err == f"error: {message.format(folder=folder, pid=os.getpid())}\n"
    assert not (folder / "status.json").exists()


def test_a_program_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    process = child(prepared(tmp_path, "pyhton train.py {config}"))
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, output) == (2, "error: pyhton: No such file or directory\n")
    assert read_json(tmp_path / "status.json") == {"state": "failed", "attempts": 1, "exit_status": 2}


def test_a_variable_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    process = child(prepared(tmp_path, "true ${oc.env:NOT_THERE} {config}"))
    output, _ = process.communicate(timeout=120)
    assert (process.returncode, output) == (2, "error: search.command: the environment has no 'NOT_THERE'\n")
    # Not as a killed one, which would be tried again.
    assert read_json(tmp_path / "status.json") == {"state": "failed", "attempts": 1, "exit_status": 2}


def test_a_variable_is_put_into_its_word_whatever_quotes_it_has(tmp_path: Path) -> None:
    program = tmp_path / "told.py"
    program.write_text("import json, sys; print(json.dumps(sys.argv[1:]))")
    token = "${oc.env:TOKEN}"
    command = f"""{sys.executable} {program} {token} "{token}" '{token}' --token=${{oc.env: TOKEN }} {{config}}"""
    held = 'it\'s "$HOME" \\1'
    process = child(prepared(tmp_path, command), env={**os.environ, "TOKEN": held})
    output, _ = process.communicate(timeout=120)
    assert json.loads(output) == [held, held, held, f"--token={held}", str(tmp_path / "config.yaml")]


def test_outside_of_a_search_there_is_nothing(tmp_path: Path) -> None:
    trainer: Any = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path)
    assert not [each for each in trainer.callbacks if type(each).__name__ == "RunKeeper"]
    assert not hasattr(Trainer.fit, "resumes")
