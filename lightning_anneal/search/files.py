"""Files that are there as a whole or not at all and a lock that dies with its process."""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place and move it there."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone. The system lets go of it when the process ends, however it ends.

    Raises:
        AnnealError: If another process holds it.
    """
    path = folder / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise AnnealError(str(folder), f"another search works on it (process {holder}); wait for it") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
