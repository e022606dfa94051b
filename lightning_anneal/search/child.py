"""The process of one run: ``python -m lightning_anneal.search.child FOLDER``.

It runs the package's own ``fit``, or the user's command, keeps the run's status, and ends with all its children when
the search that started it is gone. It loads nothing heavy: what it runs does.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError
from lightning_anneal.search.driver_watch import RUN_FOLDER, die_with_the_parent, end_with_the_driver
from lightning_anneal.search.files import locked, read_json, write_json
from lightning_anneal.search.runs import (
    CONFIG,
    DONE,
    FAILED,
    FINISHED,
    LOCK,
    PRUNED,
    RESULT,
    RUN,
    RUNNING,
    STATUS,
    STOPPED,
    read_status,
)
from lightning_anneal.terminal import say_error

USAGE_ERROR = 2
_ENVIRONMENT = re.compile(r"\$\{oc\.env:\s*(\w+)\s*\}")
_PATIENCE_S = 60.0
"""How long to wait for the processes of an earlier attempt to be gone."""


def main(folder: Path) -> int:
    """Run one run, and return the exit status of what it ran.

    Args:
        folder: The run's folder, with its config and what to run.
    """
    folder = folder.resolve()
    pipe = end_with_the_driver(folder)
    try:
        order = read_json(folder / RUN)
        if order is None:
            say_error(f"{folder}: is no folder of a run, which has a {RUN}")
            return USAGE_ERROR
        with locked(folder / LOCK, wait_s=_PATIENCE_S) as held:
            if read_status(folder)["state"] in FINISHED:  # by somebody else in the meantime
                return 0
            return _run(folder, order, [held] if pipe is None else [held, pipe])
    except AnnealError as error:
        say_error(str(error))
        return 1


def _run(folder: Path, order: dict[str, Any], inherited: list[int]) -> int:
    attempts = read_status(folder).get("attempts", 0) + 1
    write_json(folder / STATUS, {"state": RUNNING, "attempts": attempts, "pid": os.getpid()})
    asked_to_stop: list[bool] = []
    # They go to the whole group; this process lives on to tell how it ended. By a function, because what it runs would
    # inherit SIG_IGN.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked_to_stop.append(True))
    # The lock goes along: it is free when all that trains is gone, even if this process is killed before.
    try:
        words = _words(folder, order["command"])
        called = subprocess.run(
            words,
            check=False,
            cwd=order["cwd"],
            env={**os.environ, RUN_FOLDER: str(folder)},
            pass_fds=inherited,
            preexec_fn=die_with_the_parent,
        ).returncode
    except AnnealError as error:
        say_error(str(error))
        called = USAGE_ERROR
    except OSError as error:
        say_error(f"{words[0]}: {error.strerror}")
        called = USAGE_ERROR
    status = called if called >= 0 else 128 - called  # as a shell tells of a signal
    if status == 0:
        pruned = (read_json(folder / RESULT) or {}).get("pruned", False)
        state = PRUNED if pruned else DONE
    else:
        state = STOPPED if asked_to_stop else FAILED
    write_json(folder / STATUS, {"state": state, "attempts": attempts, "exit_status": status})
    return status


def _words(folder: Path, command: str | None) -> list[str]:
    if command is None:
        return [sys.executable, "-m", "lightning_anneal.cli", "fit", "--config", str(folder / CONFIG)]
    # What is put into a word stays in it, whatever quotes that has in the command.
    words = shlex.split(_ENVIRONMENT.sub(r"${oc.env:\1}", command))
    # Not in the plan's files, which may be read by others than this process.
    words = [_ENVIRONMENT.sub(_of_environment, word) for word in words]
    places = {"{config}": str(folder / CONFIG), "{run_dir}": str(folder)}
    for name, path in places.items():
        words = [word.replace(name, path) for word in words]
    return words


def _of_environment(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise AnnealError("search.command", f"the environment has no '{match[1]}'")
    return os.environ[match[1]]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
