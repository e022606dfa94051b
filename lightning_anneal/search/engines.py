"""What a search asks of an engine, and the choice of one."""

from __future__ import annotations

import importlib.util
import shlex
import shutil
from collections.abc import Collection
from typing import Protocol

from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search.local_engine import LocalEngine
from lightning_anneal.search.ray_engine import RayEngine, look_for_cluster
from lightning_anneal.search.runs import Run
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.slots import gpu_slots


class Engine(Protocol):
    """Starts the processes of runs, several at once, and tells which have ended.

    Whatever the engine, a run is the same process (`lightning_anneal.search.child`) in the same folder, and what became
    of it is read from there.
    """

    @property
    def running(self) -> Collection[Run]:
        """The runs whose processes run."""

    @property
    def free(self) -> bool:
        """Whether another run can be started."""

    def start(self, run: Run) -> None:
        """Start a run."""

    def ended(self, wait_s: float) -> list[Run]:
        """The runs that have ended since the last call; waits for one if there is none."""

    def stop(self, *, at_once: bool) -> None:
        """Ask the runs to end, or end them."""

    def close(self) -> None:
        """Leave nothing behind."""


def check_needs(settings: Settings) -> None:
    """Look whether what the settings need is there, before anything is made.

    Raises:
        AnnealError: For an extra that isn't installed, or too few GPUs.
    """
    needs = {
        "ray": settings.engine == "ray" and "--engine ray",
        "optuna": (settings.algo == "tpe" and "--algo tpe") or (settings.pruner != "none" and "--pruner"),
    }
    for extra, option in needs.items():
        if option and importlib.util.find_spec(extra) is None:
            raise AnnealError(option, f"needs {extra}: pip install 'lightning_anneal[{extra}]'")
    if settings.command is not None and shutil.which(program := shlex.split(settings.command)[0]) is None:
        raise AnnealError("search.command", f"there is no program {quote(program)} here")
    if settings.engine == "local":
        gpu_slots(settings)
    else:
        look_for_cluster(settings.ray_address)


def make_engine(settings: Settings) -> Engine:
    """The engine that the settings name."""
    # Each loads what it needs, and no more.
    if settings.engine == "ray":
        return RayEngine(settings)

    return LocalEngine(settings)
