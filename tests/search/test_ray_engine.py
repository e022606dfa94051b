"""What the Ray engine asks of Ray, whether that is installed or not; with a real cluster it is tested in `test_ray`."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.search import ray_engine
from lightning_anneal.search.driver_watch import let_watch
from lightning_anneal.search.ray_engine import RayEngine, look_for_cluster, run_in_task
from lightning_anneal.search.runs import Run
from lightning_anneal.search.settings import Settings


class Ray:
    """What the engine needs of the module, with a cluster of so many GPUs: it writes down what it is asked."""

    def __init__(self, gpus: int = 0, *, there: bool = False, fails: Exception | None = None) -> None:
        self.asked: list[Any] = []
        self.ready: list[str] = []
        self._gpus, self._there, self._fails = gpus, there, fails

    def is_initialized(self) -> bool:
        return self._there

    def init(self, **options: Any) -> None:
        self.asked.append(("init", options["address"]))
        if self._fails:
            raise self._fails

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0, **({"GPU": float(self._gpus)} if self._gpus else {})}

    def remote(self, **options: Any) -> Callable[[Any], Any]:
        self.asked.append(("remote", options))

        def made(function: Any) -> Any:
            assert function is run_in_task

            def call(folder: str, environment: dict[str, str], paths: list[str]) -> str:
                assert paths == [os.path.abspath(path) for path in sys.path]
                self.asked.append(("call", folder, environment))
                return f"task of {folder}"

            return SimpleNamespace(remote=call)

        return made

    def wait(self, tasks: list[str], num_returns: int, timeout: float) -> tuple[list[str], list[str]]:
        self.asked.append(("wait", len(tasks), num_returns, timeout))
        return self.ready, [task for task in tasks if task not in self.ready]

    def cancel(self, task: str, force: bool) -> None:
        self.asked.append(("cancel", task, force))

    def shutdown(self) -> None:
        self.asked.append("shutdown")


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Ray], Ray]:
    """Let `import ray` be this."""
    # It is set where it isn't, and stays so otherwise.
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")

    def run(ray: Ray) -> Ray:
        monkeypatch.setitem(sys.modules, "ray", ray)
        return ray

    return run


@pytest.mark.parametrize(
    ("given", "gpus", "options"),
    [
        ({}, 0, {"num_cpus": 1, "num_gpus": 0, "max_retries": 1}),
        # One for each run where there are any.
        ({}, 3, {"num_cpus": 1, "num_gpus": 1, "max_retries": 1}),
        ({"gpus_per_run": 0}, 3, {"num_cpus": 1, "num_gpus": 0, "max_retries": 1}),
        ({"gpus_per_run": 2, "cpus_per_run": 4, "retries": 3}, 3, {"num_cpus": 4, "num_gpus": 2, "max_retries": 3}),
    ],
)
def test_what_each_run_needs(use: Callable[[Ray], Ray], given: dict[str, Any], gpus: int, options: Any) -> None:
    ray = use(Ray(gpus))
    RayEngine(Settings(engine="ray", ray_address="head:6379", **given))
    assert ray.asked == [("init", "head:6379"), ("remote", options)]


def test_runs_are_tasks(use: Callable[[Ray], Ray], tmp_path: Path) -> None:
    ray = use(Ray(there=True))
    runs = [Run(i, tmp_path / f"run{i}", {}) for i in range(2)]
    tasks = [f"task of {run.folder}" for run in runs]
    engine = RayEngine(Settings(engine="ray", workers=2, cpus_per_run=3))
    assert engine.ended(0.5) == []
    assert engine.free
    del ray.asked[:]
    for run in runs:
        engine.start(run)
    assert not engine.free
    assert engine.running == runs
    assert ray.asked == [("call", str(run.folder), {"OMP_NUM_THREADS": "3"}) for run in runs]

    del ray.asked[:]
    ray.ready = [tasks[0]]
    assert engine.ended(0.5) == [runs[0]]
    assert engine.running == [runs[1]]
    assert engine.free
    engine.stop(at_once=False)
    engine.close()
    # The cluster was there before, and stays.
    assert ray.asked == [("wait", 2, 1, 0.5), ("cancel", tasks[1], False), ("cancel", tasks[1], True)]
    assert engine.running == []


def test_a_cluster_of_its_own_ends_with_the_search(use: Callable[[Ray], Ray]) -> None:
    ray = use(Ray())
    RayEngine(Settings(engine="ray")).close()
    assert [ray.asked[0], ray.asked[-1]] == [("init", None), "shutdown"]


@pytest.mark.parametrize("kind", [ConnectionError, ValueError, RuntimeError])
def test_a_cluster_that_can_not_be_reached_is_one_line(use: Callable[[Ray], Ray], kind: type[Exception]) -> None:
    use(Ray(fails=kind("no\n  node " + 100 * "x")))
    with pytest.raises(AnnealError) as error:
        RayEngine(Settings(engine="ray", ray_address="head:1"))
    assert str(error.value) == f"search.ray_address: there is no cluster at 'head:1': no node {72 * 'x'}"


# -- is anybody there? ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_somebody_listens(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"{scheme}127.0.0.1:{server.getsockname()[1]}"
        look_for_cluster(address)
    with pytest.raises(AnnealError) as error:
        look_for_cluster(address)
    refused = f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
    assert str(error.value) == f"search.ray_address: there is no cluster at '{address}': {refused}"


def test_an_address_without_a_number_has_none() -> None:
    with pytest.raises(
        AnnealError, match=r"^search\.ray_address: there is no cluster at 'head:a': invalid literal for"
    ):
        look_for_cluster("head:a")


@pytest.mark.parametrize("address", [None, "auto", "local"])
def test_what_only_ray_knows_is_left_to_it(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    called: list[Any] = []
    monkeypatch.setattr(socket, "create_connection", called.append)
    look_for_cluster(address)
    assert called == []


# -- a task --------------------------------------------------------------------------------------------------------------


class Process:
    """A run's process, which goes on for some looks and ends with a status."""

    def __init__(self, looks: int, status: int) -> None:
        self.looks, self.status = looks, status
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self.looks -= 1
        if self.looks < 0:
            self.returncode = self.status
        return self.returncode

    def wait(self) -> None:
        self.returncode = self.status


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Let a task have this process, and get what it does; a look that is interrupted is its last."""

    def run(process: Process, interrupted: BaseException | None = None) -> list[Any]:
        did: list[Any] = []

        def start(folder: Path, environment: dict[str, str], watched: int) -> Process:
            # It is a pipe that is open.
            let_watch(watched)
            did.append((folder, environment, watched))
            return process

        def sleep(seconds: float) -> None:
            did.append("looks")
            if interrupted is not None:
                raise interrupted

        monkeypatch.setattr(ray_engine, "start_child", start)
        monkeypatch.setattr(ray_engine, "time", SimpleNamespace(sleep=sleep))
        monkeypatch.setattr(ray_engine, "ask_to_end", lambda process: did.append("asks it to end"))
        monkeypatch.setattr(ray_engine, "end", lambda process, folder: did.append(("ends all", folder)))
        return did

    return run


def closed(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return True
    return False


@pytest.mark.parametrize(
    ("known", "expected"),
    [("/there", f"/a{os.pathsep}/b{os.pathsep}/there"), ("", f"/a{os.pathsep}/b")],
)
@pytest.mark.parametrize(
    ("status", "ends"), [(0, []), (1, [("ends all", Path("run"))]), (-9, [("ends all", Path("run"))])]
)
def test_a_task_waits_for_its_process(
    noted: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, known: str, expected: str, status: int, ends: Any
) -> None:
    monkeypatch.setenv("PYTHONPATH", known)
    did = noted(Process(2, status))
    run_in_task("run", {"OMP_NUM_THREADS": "1"}, ["/a", "/b"])
    (folder, environment, watched), *rest = did
    assert (folder, environment) == (Path("run"), {"OMP_NUM_THREADS": "1", "PYTHONPATH": expected})
    # Of one that was killed, something may be left.
    assert rest == ["looks", "looks", *ends]
    assert closed(watched)


@pytest.mark.parametrize(("status", "ends"), [(0, []), (143, [("ends all", Path("run"))])])
def test_a_cancelled_task_lets_its_run_end(noted: Callable[..., list[Any]], status: int, ends: list[Any]) -> None:
    did = noted(Process(9, status), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run_in_task("run", {}, [])
    assert did[1:] == ["looks", "asks it to end", *ends]
    assert closed(did[0][2])
