"""No orphan trains on: the processes of a run end when the search that started them is gone, however it went."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import stat
import sys
import threading
from pathlib import Path

RUN_FOLDER = "LIGHTNING_ANNEAL_RUN"
"""The environment variable that names the folder of the run a process is part of."""

_VARIABLE = "LIGHTNING_ANNEAL_DRIVER"
_PR_SET_PDEATHSIG = 1
try:
    _LIBC: ctypes.CDLL | None = ctypes.CDLL(None) if sys.platform == "linux" else None
except OSError:
    _LIBC = None


def let_watch(descriptor: int) -> dict[str, str]:
    """The environment of a process that is given the reading end of a pipe, whose writing end the search holds open."""
    # A number alone could be another file in a process that didn't get the pipe.
    return {_VARIABLE: f"{descriptor}:{os.fstat(descriptor).st_ino}"}


def watched_descriptor() -> int | None:
    """The pipe that this process was given; ``None`` if it has none."""
    number, _, inode = os.environ.get(_VARIABLE, "").partition(":")
    try:
        found = os.fstat(int(number))
    except (ValueError, OSError):
        return None
    return int(number) if stat.S_ISFIFO(found.st_mode) and str(found.st_ino) == inode else None


def end_with_the_driver(folder: Path) -> int | None:
    """Kill all processes of a run once the writing end of the pipe is closed, as a killed search's is.

    Not by watching stdin, which is at its end from the beginning where there is none.

    Args:
        folder: The run's folder.

    Returns:
        The pipe, for a process that this one starts; ``None`` if there is none.
    """
    descriptor = watched_descriptor()
    if descriptor is None:
        return None

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        kill_run(folder)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    return descriptor


def kill_run(folder: Path) -> None:
    """Kill the processes of a run, in sessions of their own as torchrun's are, too; on Linux, which lists them."""
    mark = f"{RUN_FOLDER}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(entry.name) != os.getpid() and mark in (entry / "environ").read_bytes().split(b"\0"):
                os.kill(int(entry.name), signal.SIGKILL)


def die_with_the_parent() -> None:
    """Let the system kill this process when its parent is gone; on Linux, where there is such a thing."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def watch_no_further() -> None:
    """Let the processes that this one starts know nothing of the pipe: they end with its group."""
    os.environ.pop(_VARIABLE, None)
