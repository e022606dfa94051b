"""The Ray engine: the same runs with the same results, and what becomes of them when parts of a search are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytest.importorskip("ray")

import ray

from lightning_anneal.cli import main
from lightning_anneal.search.files import locked, read_json
from lightning_anneal.search.plan import Plan
from tests.search.test_child import ROOT
from tests.tiny import QUIET, Tiny

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray")

HELD = "HELD_BY"
"""The environment variable that names a file: while it is there, runs wait in their second epoch."""


class Troubled(Tiny):
    """Trains with a rate, and gets into the trouble that it is given, the first time."""

    def __init__(self, lr: float = 0.001, trouble: str = "none") -> None:
        super().__init__()
        self.lr, self.trouble = lr, trouble

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def on_train_epoch_start(self) -> None:
        with (Path(self.trainer.default_root_dir) / "noted.txt").open("a") as file:
            file.write(f"{self.current_epoch}\n")

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        once = Path(self.trainer.default_root_dir) / "once"
        if self.current_epoch != 1 or batch_idx != 3:
            return
        if HELD in os.environ:
            eventually(lambda: not Path(os.environ[HELD]).exists())
        if self.trouble == "fails":
            raise RuntimeError("it failed again")
        if self.trouble != "none" and not once.exists():
            once.touch()
            getattr(self, self.trouble)()

    def run_killed(self) -> None:
        """The process that keeps the status of this run can't tell any more."""
        os.kill(os.getppid(), signal.SIGKILL)
        wait_for_the_end()

    def worker_killed(self) -> None:
        """Ray's process that waits for this run."""
        os.kill(parent_of(os.getppid()), signal.SIGKILL)
        wait_for_the_end()

    def interrupted(self) -> None:
        """Ctrl-C; this process doesn't wait for the end of its batch."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(int(os.environ["INTERRUPTS"]), signal.SIGINT)
        # In the end it goes on, so that a stop that never comes is seen as such.
        for _ in range(100):
            time.sleep(0.1)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("PPid:")[1].split()[0])


def wait_for_the_end() -> None:
    while True:
        signal.pause()


def eventually(true: Callable[[], Any]) -> None:
    patience = time.monotonic() + 120
    while not true():
        assert time.monotonic() < patience
        time.sleep(0.05)


def searched(folder: Path, *words: str, epochs: Any = 3, **arguments: Any) -> list[str]:
    """A search over the given arguments of the model, as words of the command."""
    config = {
        "seed_everything": 1,
        "search": {"workers": 2, "cpus_per_run": 1},
        "model": {"class_path": "tests.search.test_ray.Troubled", "init_args": arguments},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {"max_epochs": epochs, **QUIET},
    }
    folder.mkdir(exist_ok=True)
    (folder / "given.yaml").write_text(yaml.safe_dump(config))
    return ["search", "-c", str(folder / "given.yaml"), "--root-dir", str(folder / "runs"), *words]


def plan_in(folder: Path) -> Plan:
    [found] = (folder / "runs").glob("*_search")
    return Plan.load(found)


def results(folder: Path) -> list[Any]:
    return [(dict(run.values), run.state, run.epochs) for run in plan_in(folder).runs]


def noted(folder: Path) -> list[int]:
    return [int(epoch) for epoch in (folder / "noted.txt").read_text().split()]


@pytest.fixture(scope="module")
def cluster(at_root: None) -> Iterator[None]:
    """One for all searches of this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # A run has the environment of its node, which is what this process has now.
        patch.setenv("INTERRUPTS", str(os.getpid()))
        ray.init(
            num_cpus=2,
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
            object_store_memory=100_000_000,
        )
        yield
        ray.shutdown()


GRID: dict[str, Any] = {"epochs": [2, 3], "lr": [0.001, 0.01]}


@pytest.fixture(scope="module")
def local_grid(at_root: None, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    folder = tmp_path_factory.mktemp("local")
    assert main(searched(folder, **GRID)) == 0
    return results(folder)


def test_the_grid_has_the_same_results_on_both_engines(cluster: None, local_grid: list[Any], tmp_path: Path) -> None:
    assert main(searched(tmp_path, "--engine", "ray", **GRID)) == 0
    assert results(tmp_path) == local_grid
    lengths = {(values["trainer.max_epochs"], state, *epochs) for values, state, epochs in local_grid}
    assert lengths == {(2, "done", 0, 1), (3, "done", 0, 1, 2)}
    # The rates and epochs do make a difference.
    assert len({repr(epochs[max(epochs)]) for _, _, epochs in local_grid}) == 4


def test_what_is_killed_is_taken_up_again_and_what_fails_is_told(
    cluster: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    troubles = ["none", "run_killed", "worker_killed", "fails"]
    assert main(searched(tmp_path, "--engine", "ray", trouble=troubles)) == 1
    told = capsys.readouterr().err
    whole, killed, lost, failed = plan_in(tmp_path).runs
    assert [run.state for run in (whole, killed, lost, failed)] == ["done", "done", "done", "failed"]
    assert noted(whole.folder) == [0, 1, 2]
    # The epoch in which it was killed begins again, and no other.
    assert noted(killed.folder) == noted(lost.folder) == [0, 1, 1, 2]
    assert killed.epochs == lost.epochs == whole.epochs
    assert sorted(whole.epochs) == [0, 1, 2]
    assert [run.status["attempts"] for run in (whole, killed, lost, failed)] == [1, 2, 2, 2]
    assert noted(failed.folder) == [0, 1, 1]
    assert (failed.folder / "log.txt").read_text().count("RuntimeError: it failed again") == 2
    assert "    RuntimeError: it failed again" in told
    assert f"1 of 4 runs aren't finished: {failed.name}" in told


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_the_runs(cluster: None, tmp_path: Path) -> None:
    assert main(searched(tmp_path, "--engine", "ray", trouble={"grid": ["interrupted"]})) == 130
    [run] = plan_in(tmp_path).runs
    assert run.state == "stopped"
    assert noted(run.folder) == [0, 1]
    assert main(["search", "--resume", str(plan_in(tmp_path).folder), "--engine", "local"]) == 0
    assert noted(run.folder) == [0, 1, 1, 2]


def test_nothing_trains_on_when_the_search_is_killed_and_another_engine_goes_on(
    at_root: None, local_grid: list[Any], tmp_path: Path
) -> None:
    held = tmp_path / "held"
    held.touch()
    process = subprocess.Popen(
        [sys.executable, "-m", "lightning_anneal.cli", *searched(tmp_path, "--engine", "ray", **GRID)],
        cwd=ROOT,
        env={**os.environ, HELD: str(held)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: process.poll() is not None or len(list(tmp_path.glob("runs/*/last.ckpt"))) == 2)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    begun = [run for run in plan_in(tmp_path).runs if run.epochs]
    assert [run.state for run in begun] == ["running"] * 2
    for run in begun:
        # Whatever trains has it.
        with locked(run.folder / "lock", wait_s=60):
            assert sorted(run.epochs) == [0]
    held.unlink()
    assert main(["search", "--resume", str(plan_in(tmp_path).folder), "--engine", "local"]) == 0
    assert results(tmp_path) == local_grid
    for run in plan_in(tmp_path).runs:
        epochs = list(range(len(run.epochs)))
        assert noted(run.folder) == ([0, 1, *epochs[1:]] if run in begun else epochs)


def refused(folder: Path, address: str, patience_s: float) -> list[str]:
    """What a search says to an address without a cluster."""
    (folder / "given.yaml").write_text("lr: [1, 2]")
    words = [
        "search",
        "-c",
        str(folder / "given.yaml"),
        "--root-dir",
        str(folder / "runs"),
        "--command",
        "true {config}",
    ]
    called = subprocess.run(
        [sys.executable, "-m", "lightning_anneal.cli", *words, "--engine", "ray", "--ray-address", address],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=patience_s,
    )
    assert called.returncode == 2
    lines = called.stderr.splitlines()
    assert "Traceback (most recent call last):" not in lines
    return [line for line in lines if line.startswith("error: ")]


def test_an_address_that_is_none_is_one_line(tmp_path: Path) -> None:
    [line] = refused(tmp_path, "nonsense", 120)
    assert line.startswith("error: search.ray_address: there is no cluster at 'nonsense'")


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:1",
        "ray://127.0.0.1:1",
    ],
)
def test_an_address_where_nobody_answers_is_one_line(address: str, tmp_path: Path) -> None:
    [line] = refused(tmp_path, address, 90)
    assert line.startswith(f"error: search.ray_address: there is no cluster at '{address}'")


@pytest.mark.slow
def test_a_population_comes_to_the_same_on_both_engines(cluster: None, tmp_path: Path) -> None:
    rates = {"log_uniform": [0.001, 0.02]}
    section = {
        "algo": "pbt",
        "n_runs": 3,
        "workers": 2,
        "cpus_per_run": 1,
        "pbt": {"interval": 1, "annealing_params": {"optimizer.param_groups.*.lr": rates}},
    }
    known = []
    for engine in ("local", "ray"):
        words = searched(tmp_path / engine, "--engine", engine)
        config = yaml.safe_load((tmp_path / engine / "given.yaml").read_text())
        (tmp_path / engine / "given.yaml").write_text(yaml.safe_dump({**config, "search": section}))
        assert main(words) == 0
        known.append((read_json(plan_in(tmp_path / engine).folder / "population.json"), results(tmp_path / engine)))
    assert known[0] == known[1]
    assert [len(one["exchanges"]) for one in known[0][0]["history"]] == [1, 1]
