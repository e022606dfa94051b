"""The engine that needs nothing else: a process for each run on this machine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass

from lightning_anneal.search.processes import ask_to_end, end, start_child
from lightning_anneal.search.runs import Run
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.slots import gpu_slots, threads

_POLL_S = 0.02


@dataclass
class _Worker:
    run: Run
    process: subprocess.Popen[bytes]
    slot: int


class LocalEngine:
    """Runs processes on this machine, each in a group of its own that ends with this process.

    Args:
        settings: How many at once, and what each has of the machine.
    """

    def __init__(self, settings: Settings) -> None:
        self._threads = threads(settings)
        self._slots = gpu_slots(settings)
        self._workers: list[_Worker] = []
        # Nobody writes into it. When this process is gone, whatever the way, the other end is at its end.
        self._watched, self._held = os.pipe()

    @property
    def running(self) -> Collection[Run]:
        """The runs whose processes run."""
        return [worker.run for worker in self._workers]

    @property
    def free(self) -> bool:
        """Whether another run can be started."""
        return len(self._workers) < len(self._slots)

    def start(self, run: Run) -> None:
        """Start a run; what it prints goes to its log."""
        taken = {worker.slot for worker in self._workers}
        slot = next(i for i in range(len(self._slots)) if i not in taken)
        process = start_child(run.folder, {**self._threads, **self._slots[slot]}, self._watched)
        self._workers.append(_Worker(run, process, slot))

    def ended(self, wait_s: float) -> list[Run]:
        """The runs that have ended since the last call; waits for one if there is none."""
        patience = time.monotonic() + wait_s
        while True:
            gone = [worker for worker in self._workers if worker.process.poll() is not None]
            if gone or not self._workers or time.monotonic() >= patience:
                break
            time.sleep(_POLL_S)
        for worker in gone:
            if worker.process.returncode != 0:
                # It may have been killed alone.
                end(worker.process, worker.run.folder)
            self._workers.remove(worker)
        return [worker.run for worker in gone]

    def stop(self, *, at_once: bool) -> None:
        """Ask the runs to end after their batch, or end them."""
        for worker in self._workers:
            if at_once:
                end(worker.process, worker.run.folder)
            else:
                ask_to_end(worker.process)

    def close(self) -> None:
        """End what still runs."""
        self.stop(at_once=True)
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()
        os.close(self._watched)
        os.close(self._held)
