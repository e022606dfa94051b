"""The engine that needs nothing else: a process for each run on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass

from lightning_anneal.search.driver_watch import let_watch
from lightning_anneal.search.runs import LOG, Run
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
        with (run.folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "lightning_anneal.search.child", str(run.folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._threads, **self._slots[slot], **let_watch(self._watched)},
                pass_fds=[self._watched],
                # Ctrl-C on the terminal is for the search, which tells its runs.
                start_new_session=True,
            )
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
            # It may have been killed alone.
            self._signal(worker, signal.SIGKILL)
            self._workers.remove(worker)
        return [worker.run for worker in gone]

    def stop(self, *, at_once: bool) -> None:
        """Ask the runs to end after their batch, or end them."""
        for worker in self._workers:
            self._signal(worker, signal.SIGKILL if at_once else signal.SIGTERM)

    def close(self) -> None:
        """End what still runs."""
        self.stop(at_once=True)
        for worker in self._workers:
            worker.process.wait()
        self._workers.clear()
        os.close(self._watched)
        os.close(self._held)

    @staticmethod
    def _signal(worker: _Worker, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker.process.pid, number)
