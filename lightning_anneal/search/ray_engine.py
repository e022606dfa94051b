"""The engine beyond one machine: every run is a task of a Ray cluster, and in it the local engine's process."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search.processes import ask_to_end, end, start_child
from lightning_anneal.search.runs import Run
from lightning_anneal.search.settings import Settings

_LOOK_S = 0.1
_CONNECT_S = 5.0
_MOST = 256
"""Runs that are handed over at once, if the settings don't tell: enough for a cluster that grows with its work."""


def run_in_task(folder: str, environment: dict[str, str], paths: list[str]) -> None:
    """Run one run, on whatever node; its folder tells what became of it.

    Args:
        folder: The run's folder, which every node sees.
        environment: What its process has besides the node's environment.
        paths: Where the search finds its modules; the node's process does, too.
    """
    # When Ray ends this process, or its node is gone, the pipe is closed.
    watched, held = os.pipe()
    found = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]).strip(os.pathsep)
    process = start_child(Path(folder), {**environment, "PYTHONPATH": found}, watched)
    try:
        # A task that is cancelled is interrupted between two looks, not within a wait.
        while process.poll() is None:
            time.sleep(_LOOK_S)
    except BaseException:  # a cancelled task is interrupted
        ask_to_end(process)
        process.wait()
        raise
    finally:
        if process.returncode != 0:
            end(process, Path(folder))
        os.close(watched)
        os.close(held)


def look_for_cluster(address: str | None) -> None:
    """Look whether somebody listens at a cluster's address: Ray itself would try for minutes.

    Raises:
        AnnealError: If nobody does.
    """
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_S).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, error) from None


def _no_cluster(address: str | None, error: Exception) -> AnnealError:
    what = " ".join(str(error).split())[:80]
    return AnnealError("search.ray_address", f"there is no cluster at {quote(address)}: {what}")


class RayEngine:
    """Runs as tasks of a Ray cluster. Ray takes up again what is lost with a node.

    Args:
        settings: The cluster's address, and what each run needs of it.

    Raises:
        AnnealError: If the cluster can't be reached.
    """

    def __init__(self, settings: Settings) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray

        self._ray: Any = ray
        self._own = not ray.is_initialized()
        if self._own:
            try:
                ray.init(
                    address=settings.ray_address,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise _no_cluster(settings.ray_address, error) from None
        cpus = settings.cpus_per_run or 1
        gpus = settings.gpus_per_run
        if gpus is None:
            gpus = int(self._ray.cluster_resources().get("GPU", 0) > 0)
        self._environment = {"OMP_NUM_THREADS": str(cpus)}
        self._task = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=settings.retries)(run_in_task)
        self._most = settings.workers or _MOST
        self._runs: dict[Any, Run] = {}

    @property
    def running(self) -> Collection[Run]:
        """The runs that the cluster has, at work or waiting for room."""
        return list(self._runs.values())

    @property
    def free(self) -> bool:
        """Whether another run can be handed over."""
        return len(self._runs) < self._most

    def start(self, run: Run) -> None:
        """Hand a run over to the cluster."""
        paths = [os.path.abspath(path) for path in sys.path]
        self._runs[self._task.remote(str(run.folder.resolve()), self._environment, paths)] = run

    def ended(self, wait_s: float) -> list[Run]:
        """The runs that have ended since the last call; waits for one if there is none."""
        if not self._runs:
            return []
        ready, _ = self._ray.wait(list(self._runs), num_returns=1, timeout=wait_s)
        # What became of a run stands in its folder; whether its task was lost is the same as a killed process.
        return [self._runs.pop(task) for task in ready]

    def stop(self, *, at_once: bool) -> None:
        """Ask the runs to end after their batch, or end them."""
        for task in self._runs:
            self._ray.cancel(task, force=at_once)

    def close(self) -> None:
        """End what still runs, and the cluster if this search started it."""
        self.stop(at_once=True)
        self._runs.clear()
        if self._own:
            self._ray.shutdown()
