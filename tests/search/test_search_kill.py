"""Whatever is killed: no run trains an epoch twice but the one it died in, and none trains on unseen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

from lightning_anneal.search.hyper_param_search import HyperParamSearch
from lightning_anneal.search.plan import Plan
from tests.search.test_child import ROOT, Noting, noted
from tests.tiny import QUIET

T = TypeVar("T")
PATIENCE_S = 60.0
WRAPPER, FIT = "lightning_anneal.search.child", "lightning_anneal.cli\0fit"


class Holding(Noting):
    """Waits within an epoch until it is released by a file, or asked to stop; and a while in each batch."""

    def __init__(self, hold_in: int = -1, pause_s: float = 0.0) -> None:
        super().__init__("")
        self.hold_in, self.pause_s = hold_in, pause_s

    def setup(self, stage: str) -> None:
        self.folder = Path(self.trainer.default_root_dir)

    def note(self, what: str) -> None:
        if self.trainer.is_global_zero:
            super().note(what)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        time.sleep(self.pause_s)
        if (self.current_epoch, batch_idx) == (self.hold_in, 3):
            (self.folder / f"held.{os.getpid()}").touch()
            until(lambda: (self.folder / "released").exists() or self.trainer.received_sigterm, 2 * PATIENCE_S)


def until(happens: Callable[[], T], seconds: float = PATIENCE_S) -> T:
    """What has come true."""
    patience = time.monotonic() + seconds
    while not (result := happens()):
        assert time.monotonic() < patience, "it didn't happen"
        time.sleep(0.02)
    return result


class Process(NamedTuple):
    pid: int
    command: str
    environment: str


def processes(folder: Path, what: str = "") -> list[Process]:
    """The processes, without dead ones, that were told of a folder or a file in it."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            texts = [(entry / name).read_text(errors="replace") for name in ("cmdline", "environ")]
        except OSError:
            continue
        told = any(text in "\0".join(texts) + "\0" for text in (f"{folder}/", f"{folder}\0"))
        if entry.name.isdigit() and int(entry.name) != os.getpid() and told and what in texts[0]:
            found.append(Process(int(entry.name), *texts))
    return found


def the(folder: Path, what: str) -> int:
    [process] = processes(folder, what)
    return process.pid


def held(folder: Path) -> set[int]:
    """The processes of a run that have come to where they wait, and still live."""
    living = {process.pid for process in processes(folder)}
    return {int(path.suffix[1:]) for path in folder.glob("held.*")} & living


def kill(*pids: int) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def kill_both(search: int, wrapper: int) -> None:
    """Before one of them can do something about the other."""
    os.kill(wrapper, signal.SIGSTOP)
    kill(search, wrapper)


def planned(root: Path, trainer: dict[str, Any] | None = None, **arguments: Any) -> Plan:
    """A grid over the model's arguments; its folders are made and nothing is run."""
    config = {
        "seed_everything": 1,
        "model": {"class_path": "tests.search.test_search_kill.Holding", "init_args": arguments},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {"max_epochs": 4, **QUIET, **(trainer or {})},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return HyperParamSearch(config, root_dir=root, quiet=True, workers=2).plan()


class Search:
    """The process of a search, and what it says."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.said = folder.parent / f"said.{time.monotonic_ns()}"
        # What is ignored here would be ignored there.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        # As nohup has it; these tests themselves are to go on when their terminal is gone.
        hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with self.said.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lightning_anneal.cli", "search", "--resume", str(folder), *options],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
            )  # fmt: skip
        signal.signal(signal.SIGHUP, hangup)

    @property
    def pid(self) -> int:
        return self.process.pid

    def status(self) -> int:
        return self.process.wait(timeout=PATIENCE_S)

    def lines(self) -> list[str]:
        return self.said.read_text().splitlines()


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An odd name; of what was started there, nothing is left behind."""
    folder = tmp_path / "odd [runs] {x}"
    yield folder
    for process in processes(folder):
        kill(process.pid)


def epochs(*numbers: int) -> list[str]:
    return [f"begin {number}" for number in numbers]


def written(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.processes
def test_a_killed_fit_and_a_killed_wrapper_are_taken_up_again(root: Path) -> None:
    plan = planned(root, hold_in=[2, 1])
    by_fit, by_wrapper = (run.folder for run in plan.runs)
    search = Search(plan.folder)
    until(lambda: held(by_fit) and held(by_wrapper))
    fit, wrapper, left_alone = the(by_fit, FIT), the(by_wrapper, WRAPPER), the(by_wrapper, FIT)
    kill(fit, wrapper)
    # Each waits once more; the one whose wrapper was killed as another process.
    until(lambda: held(by_fit) and held(by_wrapper) - {left_alone})
    assert not {fit, wrapper, left_alone} & {process.pid for process in processes(root)}
    for run in plan.runs:
        (run.folder / "released").touch()
    assert search.status() == 0
    assert noted(by_fit) == epochs(0, 1, 2, 2, 3)
    assert noted(by_wrapper) == epochs(0, 1, 1, 2, 3)
    for run in plan.runs:
        assert run.status == {"state": "done", "attempts": 2, "exit_status": 0}
        assert list(run.epochs) == [0, 1, 2, 3]
    assert f"{by_fit.name} ended with status 137; it goes on after epoch 1" in search.lines()
    assert f"{by_wrapper.name} ended with status killed; it goes on after epoch 0" in search.lines()


def test_a_killed_search_leaves_no_process_and_goes_on(root: Path) -> None:
    plan = planned(root, hold_in=[-1, 2])
    finished, cut = plan.runs
    search = Search(plan.folder)
    until(lambda: finished.state == "done" and held(cut.folder))

    second = Search(plan.folder)
    assert second.status() == 2
    [line] = second.lines()
    # Where the folder is too long for a line, its end is left out.
    assert line.startswith("error: /")
    assert line.endswith(f": process {search.pid} works on it; wait for it, or end it")

    before = written(finished.folder)
    kill(search.pid)
    search.status()
    until(lambda: not processes(root))
    assert cut.status["state"] == "running"

    # The process that would end the run goes with the search.
    search = Search(plan.folder)
    until(lambda: held(cut.folder))
    kill_both(search.pid, the(cut.folder, WRAPPER))
    search.status()
    until(lambda: not processes(root))

    (cut.folder / "released").touch()
    search = Search(plan.folder)
    assert search.status() == 0
    assert written(finished.folder) == before
    assert noted(finished.folder) == epochs(0, 1, 2, 3)
    assert noted(cut.folder) == epochs(0, 1, 2, 2, 2, 3)
    assert cut.status == {"state": "done", "attempts": 3, "exit_status": 0}
    assert list(cut.epochs) == [0, 1, 2, 3]


@pytest.mark.processes
def test_ctrl_c_stops_runs_after_their_batch_and_resume_finishes_them(root: Path) -> None:
    plan = planned(root, hold_in=[1, 2])
    stopped = plan.runs[0]
    search = Search(plan.folder, "--workers", "1")
    until(lambda: held(stopped.folder))
    os.kill(search.pid, signal.SIGINT)
    assert search.status() == 130
    assert [run.state for run in plan.runs] == ["stopped", "waiting"]
    assert search.lines()[-1] == f"stopped; go on with: lightning-anneal search --resume '{plan.folder}'"
    assert not processes(root)
    for run in plan.runs:
        (run.folder / "released").touch()
    assert Search(plan.folder).status() == 0
    assert [run.state for run in plan.runs] == ["done", "done"]
    assert [noted(run.folder) for run in plan.runs] == [epochs(0, 1, 1, 2, 3), epochs(0, 1, 2, 3)]


# -- commands without Lightning --------------------------------------------------------------------------------------

STUBBORN = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path(sys.argv[1], "held").touch()
time.sleep(600)
"""
LAUNCHING = """
import subprocess, sys
subprocess.run([sys.executable, *sys.argv[1:]], start_new_session=True)
"""


def stubborn(root: Path, *, launched: bool = False) -> Plan:
    """A run that no polite word ends; perhaps within a session of its own, as torchrun's processes are."""
    root.mkdir()
    scripts = {"stubborn.py": STUBBORN, "launching.py": LAUNCHING}
    for name, text in scripts.items():
        (root.parent / name).write_text(text)
    launch = f"{root.parent / 'launching.py'} " if launched else ""
    command = f"{sys.executable} {launch}{root.parent / 'stubborn.py'} {{run_dir}} {{config}}"
    return HyperParamSearch({"a": 1}, root_dir=root, quiet=True, command=command).plan()


def started(plan: Plan) -> Search:
    search = Search(plan.folder)
    until(lambda: (plan.runs[0].folder / "held").exists())
    return search


def test_ctrl_c_twice_ends_at_once_what_ignores_the_first(root: Path) -> None:
    plan = stubborn(root)
    search = started(plan)
    os.kill(search.pid, signal.SIGINT)
    until(lambda: any("Ctrl-C again, or 30 s, end them at once" in line for line in search.lines()))
    os.kill(search.pid, signal.SIGINT)
    assert search.status() == 130
    assert not processes(root)
    assert search.lines()[-1] == f"stopped; go on with: lightning-anneal search --resume '{plan.folder}'"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_command_without_lightning_ends_with_the_search(root: Path, number: signal.Signals) -> None:
    search = started(stubborn(root))
    os.kill(search.pid, number)
    assert search.status() == -number
    until(lambda: not processes(root))


def test_a_command_without_lightning_ends_with_the_search_and_its_wrapper(root: Path) -> None:
    plan = stubborn(root)
    search = started(plan)
    kill_both(search.pid, the(plan.runs[0].folder, WRAPPER))
    search.status()
    until(lambda: not processes(root), seconds=5)


def test_processes_in_a_session_of_their_own_end_with_the_search(root: Path) -> None:
    search = started(stubborn(root, launched=True))
    kill(search.pid)
    search.status()
    until(lambda: not processes(root), seconds=5)


# -- two ranks -------------------------------------------------------------------------------------------------------


@pytest.mark.processes
def test_a_run_of_two_ranks(root: Path) -> None:
    plan = planned(root, {"devices": 2, "strategy": "ddp_find_unused_parameters_true"}, hold_in={"grid": [1]})
    [run] = plan.runs
    search = Search(plan.folder)

    def ranks() -> list[int]:
        """Both, with the second one last, while they wait."""
        found = {
            "LOCAL_RANK=1" in each.environment: each.pid
            for each in processes(run.folder)
            if each.pid in held(run.folder)
        }
        return [found[False], found[True]] if len(found) == 2 else []

    first = until(ranks)
    kill(first[1])
    second = until(lambda: [pid for pid in ranks() if pid not in first])
    assert len(second) == 2
    assert not set(first) & {process.pid for process in processes(root)}
    assert noted(run.folder) == epochs(0, 1, 1)
    kill(search.pid)
    search.status()
    until(lambda: not processes(root))
    assert run.status["state"] == "running"


@pytest.mark.slow
def test_ctrl_c_stops_a_run_of_two_ranks(root: Path) -> None:
    plan = planned(
        root, {"devices": 2, "strategy": "ddp_find_unused_parameters_true", "max_epochs": -1}, pause_s={"grid": [0.3]}
    )
    [run] = plan.runs
    search = Search(plan.folder)
    until(lambda: run.epochs)
    os.kill(search.pid, signal.SIGINT)
    assert search.process.wait(timeout=30) == 130
    assert run.state == "stopped"
    assert not processes(root)
