"""No orphan trains on: the processes of a run end when the search that started them is gone, however it went."""

from __future__ import annotations

import os
import signal
import stat
import threading

_VARIABLE = "LIGHTNING_ANNEAL_DRIVER"


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


def end_with_the_driver() -> int | None:
    """Kill this process and all of its group once the writing end of the pipe is closed, as a killed search's is.

    Not by watching stdin, which is at its end from the beginning where there is none.

    Returns:
        The pipe, for a process that this one starts; ``None`` if there is none.
    """
    descriptor = watched_descriptor()
    if descriptor is None:
        return None

    def watch() -> None:
        while os.read(descriptor, 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    return descriptor


def watch_no_further() -> None:
    """Let the processes that this one starts know nothing of the pipe: they end with its group."""
    os.environ.pop(_VARIABLE, None)
