"""What a search asks of an engine, and the choice of one."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from lightning_anneal.search.plan import Plan
from lightning_anneal.search.runs import Run


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


def make_engine(plan: Plan) -> Engine:
    """The engine of a plan's settings."""
    # Each loads what it needs, and no more.
    if plan.settings.engine == "ray":
        from lightning_anneal.search.ray_engine import RayEngine

        return RayEngine(plan.settings)
    from lightning_anneal.search.local_engine import LocalEngine

    return LocalEngine(plan.settings)
