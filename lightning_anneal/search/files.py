"""Files that are there as a whole or not at all and a lock that dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and move it there."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        with temporary.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put_in_place(made: Path, path: Path) -> None:
    """Move what was made beside it to a place, be it a file or a folder, as sharded checkpoints are."""
    if made.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with made.open("rb") as file:
            os.fsync(file.fileno())
    os.replace(made, path)


def copy_whole(source: Path, path: Path) -> None:
    """Copy a file or a folder beside a place and move it there."""
    made = path.with_name(f".{path.name}")
    if source.is_dir():
        shutil.rmtree(made, ignore_errors=True)
        shutil.copytree(source, made)
    else:
        shutil.copyfile(source, made)
    put_in_place(made, path)


def write_json(path: Path, content: Any) -> None:
    """Write JSON as a whole."""
    write_whole(path, json.dumps(content, indent=1) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds, ``None`` where there is none.

    Raises:
        AnnealError: If it can't be read.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AnnealError(str(path), f"can't be read: {' '.join(str(error).split())[:100]}") from None


@contextmanager
def locked(path: Path, wait_s: float = 0.0) -> Iterator[int]:
    """Hold a file for this process alone, and for those that are given its descriptor.

    The system lets go of it when the last of them ends, however it ends.

    Args:
        path: The file; it is made.
        wait_s: How long to wait for it, in seconds.

    Raises:
        AnnealError: If another process holds it.
    """
    with path.open("a+") as file:
        patience = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= patience:
                    file.seek(0)
                    holder = f"process {file.read().strip()} works on it"
                    raise AnnealError(str(path.parent), f"{holder}; wait for it, or end it") from None
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield file.fileno()


def is_held(path: Path) -> bool:
    """Whether a process holds a file that `locked` locks."""
    try:
        with path.open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
