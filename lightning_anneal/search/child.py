"""The process of one run: ``python -m lightning_anneal.search.child FOLDER``.

It runs the package's own ``fit``, or the user's command, keeps the run's status, and ends with all its children when
the search that started it is gone.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path

from lightning_anneal.search.attached import RUN_FOLDER
from lightning_anneal.search.files import read_json, write_json

DRIVER = "LIGHTNING_ANNEAL_DRIVER"
"""The environment variable with the descriptor of a pipe whose other end the search holds open."""

STATUS = "status.json"
RUN = "run.json"
CONFIG = "config.yaml"


def main(folder: Path) -> int:
    """Run one run, and return the exit status of what it ran.

    Args:
        folder: The run's folder, with its config and what to run.
    """
    _end_with_the_driver()
    os.environ[RUN_FOLDER] = str(folder)
    attempts = (read_json(folder / STATUS) or {}).get("attempts", 0) + 1
    write_json(folder / STATUS, {"state": "running", "attempts": attempts, "pid": os.getpid()})
    command = read_json(folder / RUN)["command"]
    status = _own_fit(folder) if command is None else _call(folder, command)
    state = "done" if status == 0 else "failed"
    write_json(folder / STATUS, {"state": state, "attempts": attempts, "exit_status": status})
    return status


def _own_fit(folder: Path) -> int:
    from lightning_anneal.cli import main as command

    try:
        return command(["fit", "--config", str(folder / CONFIG)])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception:
        traceback.print_exc()
        return 1


def _call(folder: Path, command: str) -> int:
    words = [word.replace("{config}", str(folder / CONFIG)) for word in shlex.split(command)]
    status = subprocess.run(words, check=False).returncode
    return status if status >= 0 else 128 - status  # killed by a signal, as a shell says it


def _end_with_the_driver() -> None:
    """Kill this process and its children once the other end of the pipe is closed, as a killed driver's is.

    Not by watching stdin, which is at its end from the beginning where there is none.
    """
    descriptor = os.environ.pop(DRIVER, None)
    if descriptor is None:
        return

    def watch() -> None:
        while os.read(int(descriptor), 1):
            pass
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
