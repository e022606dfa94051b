"""That no orphan trains on: what the processes of a run are told, and what they do when the search is gone."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_anneal.search import attached, driver_watch, keeper
from lightning_anneal.search.driver_watch import die_with_the_parent, end_with_the_driver, kill_run, let_watch

DRIVER = "LIGHTNING_ANNEAL_DRIVER"
PR_SET_PDEATHSIG = 1  # of linux/prctl.h


class AtOnce:
    """A thread that is through when it has started."""

    def __init__(self, target: Callable[[], None], daemon: bool) -> None:
        assert daemon  # else it would keep a run from ending
        self.start = target


def test_all_processes_of_a_run_are_killed_when_the_pipe_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[Any] = []
    watched, held = os.pipe()
    monkeypatch.setattr(driver_watch, "threading", SimpleNamespace(Thread=AtOnce))
    monkeypatch.setattr(driver_watch, "kill_run", killed.append)
    monkeypatch.setattr(os, "killpg", lambda group, number: killed.append((group, number)))
    monkeypatch.setenv(DRIVER, let_watch(watched)[DRIVER])
    # A word isn't the end, which comes behind it.
    os.write(held, b"x")
    os.close(held)
    assert end_with_the_driver(Path("run")) == watched
    assert os.read(watched, 1) == b""
    os.close(watched)
    # Its own group last, because that is itself.
    assert killed == [Path("run"), (0, signal.SIGKILL)]


def test_a_runs_processes_are_killed_in_sessions_of_their_own_and_no_others(tmp_path: Path) -> None:
    def waiting(run: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "LIGHTNING_ANNEAL_RUN": str(run)}
        words = [sys.executable, "-c", "input()"]
        return subprocess.Popen(words, stdin=subprocess.PIPE, env=environment, start_new_session=True)

    with waiting(tmp_path / "run") as its, waiting(tmp_path / "run_2") as another:
        kill_run(tmp_path / "run")
        assert its.wait(timeout=60) == -signal.SIGKILL
        # It ends by itself.
        another.communicate(b"\n", timeout=60)
        assert another.returncode == 0


def test_the_system_is_asked_to_kill_a_process_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(driver_watch, "_LIBC", SimpleNamespace(prctl=lambda *words: asked.append(words)))
    die_with_the_parent()
    assert asked == [(PR_SET_PDEATHSIG, signal.SIGKILL)]


def test_where_the_system_can_not_be_asked_all_else_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(name: None) -> None:
        raise OSError("Dynamic loading not supported")  # as a Python says that is linked statically

    monkeypatch.setattr(ctypes, "CDLL", fails)
    spec: Any = importlib.util.find_spec("lightning_anneal.search.driver_watch")
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again._LIBC is None
    again.die_with_the_parent()


@pytest.mark.parametrize(("rank", "asked"), [(None, 0), ("0", 0), ("1", 1)])
def test_only_what_a_runs_first_process_has_started_dies_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: str | None, asked: int
) -> None:
    called: list[str] = []
    monkeypatch.setattr(attached, "die_with_the_parent", lambda: called.append("dies"))
    monkeypatch.setattr(keeper, "resume_by_itself", lambda: called.append("resumes"))
    monkeypatch.setenv("LIGHTNING_ANNEAL_RUN", str(tmp_path))
    monkeypatch.setenv(DRIVER, "no pipe")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    [found] = attached.callbacks()
    assert (type(found), found.folder) == (keeper.RunKeeper, tmp_path)
    assert called == ["dies"] * asked + ["resumes"]
    assert DRIVER not in os.environ
