"""Starts the process of a run and signals all that belongs to it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from lightning_anneal.search.driver_watch import kill_run, let_watch
from lightning_anneal.search.runs import LOG


def start_child(folder: Path, environment: Mapping[str, str], watched: int) -> subprocess.Popen[bytes]:
    """Start the process of the run in a folder; what it prints goes to its log.

    Args:
        folder: The run's folder.
        environment: What it has besides this process's environment.
        watched: The reading end of a pipe: when it is closed at the other end, the run ends.
    """
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "lightning_anneal.search.child", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment, **let_watch(watched)},
            pass_fds=[watched],
            # Ctrl-C on the terminal is for the search, which tells its runs.
            start_new_session=True,
        )


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """Ask a run's processes to end after their batch."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """End a run's processes, all that there are."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    kill_run(folder.resolve())
