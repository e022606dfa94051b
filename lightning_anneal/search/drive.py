"""The loop of a search: starts runs while there is room, takes up failed ones again, and stops cleanly."""

from __future__ import annotations

import contextlib
import time
from collections import Counter, deque
from collections.abc import Collection, Iterable
from typing import Protocol

from lightning_anneal.search.child import USAGE_ERROR
from lightning_anneal.search.engines import Engine
from lightning_anneal.search.files import write_json
from lightning_anneal.search.progress import Progress
from lightning_anneal.search.runs import FAILED, FINISHED, STATUS, STOPPED, Run
from lightning_anneal.search.settings import Settings

_PATIENCE_S = 30.0
"""How long runs have for the end of their batch when the search stops, in seconds."""
_LOOK_S = 0.5
"""How often to look at the runs that are at work, in seconds."""


class Source(Protocol):
    """Where the runs come from."""

    def take(self) -> Run | None:
        """The next run; ``None`` if there is none, for now."""

    def heard(self, run: Run) -> None:
        """A run has ended for good."""

    def look(self, running: Collection[Run]) -> None:
        """A look at the runs that are at work."""


class Queue:
    """Runs that are known from the beginning.

    Args:
        runs: In the order in which they are started.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._left = deque(runs)

    def take(self) -> Run | None:
        """The next one."""
        return self._left.popleft() if self._left else None

    def heard(self, run: Run) -> None:
        """Nothing follows from it."""

    def look(self, running: Collection[Run]) -> None:
        """Nothing follows from it."""


def drive(source: Source, engine: Engine, settings: Settings, progress: Progress) -> list[Run]:
    """Run all runs of a source.

    Args:
        source: Where they come from.
        engine: What runs them.
        settings: How often a run is taken up again, and whether a failed one ends it all.
        progress: What is told on the way.

    Returns:
        The runs that failed.

    Raises:
        KeyboardInterrupt: After the runs have ended, if it came once; at once, if it came twice.
    """
    tries: Counter[int] = Counter()
    again: deque[Run] = deque()
    failed: list[Run] = []
    try:
        while not (failed and settings.fail_fast):
            while engine.free and (run := again.popleft() if again else source.take()) is not None:
                tries[run.index] += 1
                try:
                    engine.start(run)
                except OSError as error:
                    progress.say(f"{run.name} can't be started: {error}")
                    failed.append(run)
                    continue
                progress.started(run)
            if not engine.running:
                return failed
            progress.show(engine.running)
            for run in engine.ended(_LOOK_S):
                if run.state in FINISHED:
                    progress.ended(run)
                    source.heard(run)
                elif tries[run.index] <= settings.retries and run.status.get("exit_status") != USAGE_ERROR:
                    # A mistake in the config would only be made again.
                    progress.retried(run)
                    again.append(run)
                else:
                    _tell(run, FAILED)
                    failed.append(run)
                    progress.ended(run)
                    source.heard(run)
            source.look(engine.running)
        progress.say(f"{failed[-1].name} failed, so the search ends (fail_fast)")
        _stop(engine)
    except KeyboardInterrupt:
        count = len(engine.running)
        progress.say(f"stopping {count} runs after their batch; Ctrl-C again, or {_PATIENCE_S:.0f} s, end them at once")
        _stop(engine)
        raise
    return failed


def _stop(engine: Engine) -> None:
    engine.stop(at_once=False)
    patience = time.monotonic() + _PATIENCE_S
    while engine.running:
        if time.monotonic() > patience:
            engine.stop(at_once=True)
        for run in engine.ended(_LOOK_S):
            if run.state not in FINISHED:
                _tell(run, STOPPED)


def _tell(run: Run, state: str) -> None:
    """Write down how a run ended: its process, if it was killed, couldn't."""
    with contextlib.suppress(OSError):  # its folder may be gone
        write_json(run.folder / STATUS, {**run.status, "state": state})
