"""Runs what is left of a plan, by whatever algorithm and on whatever engine."""

from __future__ import annotations

import time
from typing import Protocol

from lightning_anneal.search.drive import Queue, Source, drive
from lightning_anneal.search.engines import Engine, make_engine
from lightning_anneal.search.files import is_held, locked
from lightning_anneal.search.plan import Plan, relative
from lightning_anneal.search.points import count_points
from lightning_anneal.search.population import Population
from lightning_anneal.search.progress import Progress
from lightning_anneal.search.results import TABLE, SearchResult
from lightning_anneal.search.runs import FINISHED, LOCK, Run
from lightning_anneal.terminal import say

_PATIENCE_S = 5.0


class _Work(Protocol):
    """What an algorithm has to do: so many pieces, of which some are done."""

    @property
    def pieces(self) -> int: ...

    @property
    def done(self) -> int: ...

    def train(self, engine: Engine, progress: Progress) -> None: ...


class _Runs:
    """Runs that train from beginning to end, each a piece."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.pieces = count_points(plan.space, plan.settings)
        self.done = sum(run.state in FINISHED for run in plan.runs)
        self._busy: list[Run] = []
        self._source = self._from(plan)

    def train(self, engine: Engine, progress: Progress) -> None:
        for run in self._busy:
            progress.say(f"{run.name} is trained by another process, and left alone")
        drive(self._source, engine, self._plan.settings, progress)

    def _from(self, plan: Plan) -> Source:
        if plan.settings.algo == "tpe" or plan.settings.pruner != "none":
            from lightning_anneal.search.study import Study

            return Study(plan)
        left = [run for run in plan.runs if run.state not in FINISHED]
        # An array job may be at work on one; what is left of a search that was just killed is gone in a moment.
        patience = time.monotonic() + _PATIENCE_S
        while any(is_held(run.folder / LOCK) for run in left) and time.monotonic() < patience:
            time.sleep(0.1)
        self._busy = [run for run in left if is_held(run.folder / LOCK)]
        return Queue(run for run in left if run not in self._busy)


def execute_plan(plan: Plan, *, quiet: bool = False) -> SearchResult:
    """Run what is left of a plan, and write its results.

    Args:
        plan: The search.
        quiet: Whether to tell nothing.

    Raises:
        AnnealError: If another process works on it, or something that the engine or the algorithm needs is missing.
        KeyboardInterrupt: If it was stopped by Ctrl-C, when its runs have ended.
    """
    with locked(plan.folder / LOCK):
        plan.settle()
        work: _Work = Population(plan) if plan.settings.algo == "pbt" else _Runs(plan)
        engine = make_engine(plan.settings)
        progress = Progress(plan, work.pieces, work.done, quiet=quiet)
        try:
            work.train(engine, progress)
        finally:
            progress.close()
            engine.close()
            _write_table(plan)
    return SearchResult(plan)


def _write_table(plan: Plan) -> None:
    """Write ``results.csv``; where that can't be, say so: the runs are done, and their folders have all of it."""
    try:
        SearchResult(plan).to_csv()
    except OSError as error:
        say(f"warning: {relative(plan.folder / TABLE)} can't be written ({error.strerror}); search table tries again")
