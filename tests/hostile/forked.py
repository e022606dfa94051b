"""Runs the command ``lightning-anneal``, each time in a process of its own whose imports, calls and files are noted.

Lightning takes seconds to import, so this is done once: a job is a line of JSON on stdin, each job is a fork, and the
answer on stdout is its exit status.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 60
"""How long a command may take: one that hangs is killed."""
MEMORY = 1 << 30
"""How much more memory a command may take than the server has."""


@dataclass(frozen=True)
class Ended:
    """A command that has ended.

    Args:
        code: Its exit status; that of a signal is negative.
        out: What it printed.
        err: What it printed to stderr.
        events: The audit events that are noted, as name and arguments.
    """

    code: int
    out: str
    err: str
    events: list[tuple[str, list[Any]]]

    @property
    def last(self) -> str:
        """The last line of stderr."""
        return (self.err.splitlines() or [""])[-1]

    def args_of(self, *names: str) -> list[Any]:
        """The first argument of each event of these names."""
        return [args[0] if args else None for name, args in self.events if name in names]


class Server:
    """Forks a process for each command.

    Args:
        folder: Where the output of the commands goes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with (folder / "server.txt").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.hostile.forked"],
                cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
            )  # fmt: skip

    def run(
        self, *words: str, cwd: Path, env: Mapping[str, str] | None = None, largest_file: int | None = None
    ) -> Ended:
        """Run ``lightning-anneal`` with these words.

        Args:
            words: Behind the command's name.
            cwd: The folder it is run in.
            env: Variables of its environment besides those of the tests.
            largest_file: How many bytes fit into a file; more is refused, as by a full disk.
        """
        job = {"words": words, "cwd": str(cwd), "env": dict(env or {}), "largest": largest_file, "to": str(self.folder)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, (self.folder / "server.txt").read_text()
        events = [json.loads(line) for line in (self.folder / "events.jsonl").read_text().splitlines()]
        out, err = ((self.folder / name).read_text() for name in ("out.txt", "err.txt"))
        return Ended(int(answer), out, err, [(name, args) for name, args in events])

    def close(self) -> None:
        """End the server."""
        self.process.communicate(timeout=30)


_CALLS = (
    *("os.system", "os.exec", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pty.spawn", "ctypes.dlopen"),
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "urllib.Request"),
)
_CHANGES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.link", "os.truncate", "os.chmod")


def _noted(event: str, args: tuple[Any, ...]) -> list[Any] | None:
    """What is noted of an audit event, if it is one of those that are."""
    if event == "import":
        return [args[0]]
    if event == "open":
        path, mode, flags = args
        writes = (
            any(letter in mode for letter in "wax+") if isinstance(mode, str) else flags & (os.O_WRONLY | os.O_RDWR)
        )
        return [str(path)] if writes and isinstance(path, str | bytes | os.PathLike) else None
    if event in _CHANGES:
        return [str(arg) for arg in args]
    return [repr(arg) for arg in args] if event in _CALLS else None


def main() -> None:
    """Do the jobs on stdin."""
    import lightning_anneal.checking.command
    import lightning_anneal.search.command  # noqa: F401
    from lightning_anneal.lightning_cli import check_config

    # What a parser has to find out about a class it finds out once.
    for model in ("tests.tiny.Tiny", "examples.digits_classifier.DigitsClassifier"):
        check_config({"model": {"class_path": model}, "data": {"class_path": "tests.tiny.Data"}})
    gc.freeze()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            _do(json.loads(line))
        _, status = os.waitpid(pid, 0)
        print(-os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status), flush=True)


def _do(job: dict[str, Any]) -> None:
    from lightning_anneal.cli import main as command

    code, to = 1, Path(job["to"])
    events: list[str] = []
    try:
        for name, number in (("out.txt", 1), ("err.txt", 2)):
            os.dup2(os.open(to / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        (to / "events.jsonl").write_text("")
        os.chdir(job["cwd"])
        os.environ.update(job["env"])
        # Python has read it when the server began.
        sys.dont_write_bytecode = sys.dont_write_bytecode or "PYTHONDONTWRITEBYTECODE" in job["env"]
        signal.alarm(SECONDS)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        if job["largest"] is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], resource.RLIM_INFINITY))
        noting = False

        def note(event: str, args: tuple[Any, ...]) -> None:
            nonlocal noting
            if noting:
                return
            noting = True
            found = _noted(event, args)
            if found is not None:
                events.append(json.dumps([event, found]) + "\n")
            noting = False

        sys.addaudithook(note)
        sys.argv = ["lightning-anneal", *job["words"]]
        code = command()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (to / "events.jsonl").write_text("".join(events))
        os._exit(code)


if __name__ == "__main__":
    main()
