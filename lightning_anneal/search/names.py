"""Names of run folders: they tell the values, sort by time, never collide and suit any file system."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError
from lightning_anneal.overrides import read_path

_LONGEST = 120
_ODD = re.compile(r"[^A-Za-z0-9._+-]+")


def labels(paths: Collection[str]) -> dict[str, str]:
    """The shortest end of each path that no other path ends in.

    Example:
        >>> labels(["model.init_args.lr", "data.init_args.batch_size"])
        {'model.init_args.lr': 'lr', 'data.init_args.batch_size': 'batch_size'}
        >>> labels(["encoder.dropout", "decoder.dropout"])
        {'encoder.dropout': 'encoder.dropout', 'decoder.dropout': 'decoder.dropout'}
    """
    keys = {path: read_path(path, path) for path in paths}
    found = {}
    for path, own in keys.items():
        others = [other for name, other in keys.items() if name != path]
        length = next(n for n in range(1, len(own) + 1) if n == len(own) or all(o[-n:] != own[-n:] for o in others))
        found[path] = ".".join(own[-length:])
    return found


def run_name(prefix: str, time: datetime, point: Mapping[str, Any]) -> str:
    """The name of a run's folder.

    Args:
        prefix: In front, such as ``"grid"``.
        time: When the search began.
        point: The run's values, by path.

    Example:
        >>> run_name("grid", datetime(2026, 1, 2, 13, 5, 9), {"model.lr": 1e-3, "data.batch_size": 32})
        'grid_130509_lr_0.001_batch_size_32'
    """
    parts = [prefix, f"{time:%H%M%S}"]
    short = labels(point)
    for path, value in point.items():
        parts += [short[path], value if isinstance(value, str) else repr(value)]
    name = "_".join(_ODD.sub("-", part).strip("-") or "-" for part in parts)
    if len(name) <= _LONGEST:
        return name
    # Names that are cut alike stay apart by what was cut.
    digest = hashlib.sha256(repr(sorted(point.items())).encode()).hexdigest()[:8]
    return f"{name[: _LONGEST - 9]}_{digest}"


def make_folder(parent: Path, name: str) -> Path:
    """A new folder of this name, or with a number behind it if there is one: whoever comes at the same time, too.

    Raises:
        AnnealError: If the parent is no folder, or none to write to.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        return _new_folder(parent, name)
    except OSError as error:
        raise AnnealError(str(parent), f"no folder can be made there: {error.strerror}") from None


def _new_folder(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder
