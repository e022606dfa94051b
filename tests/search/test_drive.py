"""The loop of a search and what comes of it, with an engine whose runs end as a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.search import drive as loop
from lightning_anneal.search import execute
from lightning_anneal.search.drive import Queue, drive
from lightning_anneal.search.execute import execute_plan
from lightning_anneal.search.files import locked, write_json
from lightning_anneal.search.hyper_param_search import HyperParamSearch
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.progress import Progress
from lightning_anneal.search.runs import Run
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.space import find_space


class Scripted:
    """An engine with room for all, at each look of which those runs end that are next in `ends`, in that state.

    What is left when there are no more of these is done.
    """

    def __init__(self, *ends: Mapping[int, str]) -> None:
        self.ends = list(ends)
        self.running: list[Run] = []
        self.free = True
        self.stopped: list[bool] = []

    def start(self, run: Run) -> None:
        self.running.append(run)

    def ended(self, wait_s: float) -> list[Run]:
        states = self.ends.pop(0) if self.ends else {run.index: "done" for run in self.running}
        gone = [run for run in self.running if run.index in states]
        for run in gone:
            write_json(run.folder / "status.json", {"state": states[run.index], "attempts": 1})
        self.running = [run for run in self.running if run not in gone]
        return gone

    def stop(self, *, at_once: bool) -> None:
        self.stopped.append(at_once)

    def close(self) -> None:
        pass


def planned(root: Path, count: int, **options: Any) -> Plan:
    """A grid of so many runs."""
    points = [{"lr": lr} for lr in range(count)]
    return Plan.make(root, Settings(retries=0, **options), find_space({"lr": list(range(count))}), points)


def states(runs: Sequence[Run]) -> list[str]:
    return [run.state for run in runs]


@pytest.mark.parametrize(
    ("patience_s", "stopped"),
    [
        (30.0, [False]),
        # Whoever hasn't ended by then is ended.
        (-1.0, [False, True, True]),
    ],
)
def test_runs_that_are_stopped_have_some_time_for_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float, stopped: list[bool]
) -> None:
    monkeypatch.setattr(loop, "_PATIENCE_S", patience_s)
    plan = planned(tmp_path, 3, fail_fast=True)
    # The second is at its end by itself; of the third, nobody can tell any more.
    engine = Scripted({0: "failed"}, {1: "done"}, {2: "running"})
    failed = drive(Queue(plan.runs), engine, plan.settings, Progress(plan, 3, 0, quiet=True))
    assert failed == [plan.runs[0]]
    assert engine.stopped == stopped
    assert states(plan.runs) == ["failed", "done", "stopped"]


def test_what_a_killed_search_has_left_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path, 2)
    held = ExitStack()
    held.enter_context(locked(plan.runs[0].folder / "lock"))
    # It is gone after the first look.
    monkeypatch.setattr(execute, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=lambda seconds: held.close()))
    monkeypatch.setattr(execute, "make_engine", lambda settings: Scripted())
    execute_plan(plan)
    assert states(plan.runs) == ["done", "done"]
    assert "left alone" not in capsys.readouterr().err


def test_a_grid_in_python_returns_the_folders_of_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "make_engine", lambda settings: Scripted())
    search = HyperParamSearch({"lr": [0.1, 0.2]}, root_dir=tmp_path, quiet=True, command="true {config}")
    folders = search.run_grid_search()
    [folder] = tmp_path.glob("*_search")
    runs = Plan.load(folder).runs
    assert folders == [run.folder for run in runs]
    assert states(runs) == ["done", "done"]


def test_a_grid_in_python_is_an_error_if_runs_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execute, "make_engine", lambda settings: Scripted({0: "done", 1: "failed", 2: "failed"}))
    search = HyperParamSearch({"lr": [1, 2, 3]}, root_dir=tmp_path, quiet=True, command="true {config}", retries=0)
    with pytest.raises(AnnealError) as error:
        search.run_grid_search()
    [folder] = tmp_path.glob("*_search")
    log = Plan.load(folder).runs[1].folder / "log.txt"
    assert (error.value.where, error.value.what) == (str(folder), f"2 of 3 runs failed; the first one's log is {log}")
