"""One run: its folder, which is the truth about it, and what can be read there."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from lightning_anneal.errors import AnnealError
from lightning_anneal.search.files import is_held, read_json

CONFIG = "config.yaml"
RUN = "run.json"
STATUS = "status.json"
RESULT = "result.json"
CHECKPOINT = "last.ckpt"
LOG = "log.txt"
LOCK = "lock"
PRUNE = "prune"
"""A file that asks a run to end after its epoch."""

WAITING, RUNNING, DONE, PRUNED, FAILED, STOPPED = "waiting", "running", "done", "pruned", "failed", "stopped"
DAMAGED = "damaged"
STATES = (WAITING, RUNNING, DONE, PRUNED, FAILED, STOPPED)
FINISHED = (DONE, PRUNED)

Epochs = dict[int, dict[str, float | None]]
"""The metrics at the end of each epoch; ``None`` where one was not finite."""


class Best(NamedTuple):
    """The best value of a metric, and the epoch it was reached in."""

    value: float
    epoch: int


def best_of(epochs: Epochs, monitor: str, mode: str) -> Best | None:
    """The best value of a metric over the epochs; the first one where several are equal.

    Example:
        >>> best_of({0: {"val_loss": 2.0}, 1: {"val_loss": 1.0}, 2: {"val_loss": None}}, "val_loss", "min")
        Best(value=1.0, epoch=1)
    """
    known = [(value, epoch) for epoch, found in sorted(epochs.items()) if (value := found.get(monitor)) is not None]
    if not known:
        return None
    return Best(*(min if mode == "min" else max)(known, key=lambda each: each[0]))


def read_epochs(folder: Path) -> Epochs:
    """The metrics of the run in a folder, epoch by epoch."""
    known = read_json(folder / RESULT) or {"epochs": {}}
    return {int(epoch): metrics for epoch, metrics in known["epochs"].items()}


def read_status(folder: Path) -> dict[str, Any]:
    """How far the run in a folder is, as its process told last; one that can't be read counts as not finished."""
    try:
        status = read_json(folder / STATUS) or {"state": WAITING}
        return status if status["state"] in STATES else {"state": DAMAGED}
    except (AnnealError, KeyError, TypeError):
        return {"state": DAMAGED}


@dataclass(frozen=True)
class Run:
    """One run of a search.

    Args:
        index: Its number, from 0.
        folder: Where everything of it is.
        values: Its values, by the paths of the axes.
    """

    index: int
    folder: Path
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Its folder's name."""
        return self.folder.name

    @property
    def status(self) -> dict[str, Any]:
        """What the process of the run wrote about it last."""
        return read_status(self.folder)

    @property
    def state(self) -> str:
        """How far it is, as its process told last: a killed one is still ``running`` there."""
        return str(self.status["state"])

    @property
    def cut_off(self) -> bool:
        """Whether its process was killed: it could not tell that it runs no more."""
        return self.state == RUNNING and not is_held(self.folder / LOCK)

    @property
    def epochs(self) -> Epochs:
        """Its metrics, epoch by epoch."""
        return read_epochs(self.folder)

    def best(self, monitor: str, mode: str) -> Best | None:
        """The best value of a metric over its epochs."""
        return best_of(self.epochs, monitor, mode)

    def log_tail(self, lines: int = 5) -> list[str]:
        """The last lines that the run printed."""
        try:
            with (self.folder / LOG).open(errors="replace") as file:
                return list(deque((line.rstrip() for line in file if line.strip()), maxlen=lines))
        except FileNotFoundError:
            return []
