"""What a search tells on the terminal while it works."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection

from tqdm import tqdm

from lightning_anneal.search.plan import Plan
from lightning_anneal.search.runs import FAILED, FINISHED, LOG, Best, Run


class Progress:
    """A line for every run that ended and, on a terminal, a bar: done, running, failed, the best so far and time left.

    Args:
        plan: The search.
        total: How many pieces of work there are.
        done: How many of them are done.
        quiet: Whether to say nothing.
    """

    def __init__(self, plan: Plan, total: int, done: int, *, quiet: bool = False) -> None:
        self._settings = plan.settings
        self._total = total
        self._began: dict[int, float] = {}
        self._done = done
        self._failed = 0
        self._best: Best | None = None
        for run in plan.runs:
            self._look(run)
        self._quiet = quiet
        # Without a terminal it shows nothing; the lines are written all the same.
        self._bar = tqdm(
            total=total,
            initial=done,
            file=sys.stderr,
            disable=True if quiet else None,
            leave=False,
            bar_format="{bar:20} {desc}, {elapsed} gone, {remaining} left",
        )

    def started(self, run: Run) -> None:
        """A run begins, or goes on."""
        self._began[run.index] = time.monotonic()

    def ended(self, run: Run) -> None:
        """A run has ended for good."""
        state = run.state
        self._look(run)
        if state in FINISHED:
            self._done += 1
        else:
            self._failed += 1
        best = run.best(self._settings.monitor, self._settings.mode or "min")
        reached = "" if best is None else f", best {self._settings.monitor} {best.value:.6g} in epoch {best.epoch}"
        ended = self._done + self._failed
        self.say(f"[{ended}/{self._total}] {run.name} {state} in {self._seconds(run)}{reached}")
        if state == FAILED:
            for line in run.log_tail():
                self.say(f"    {line}")
            self.say(f"    (all of it in {run.folder / LOG})")
        self._bar.update()

    def retried(self, run: Run) -> None:
        """A run failed and is taken up again."""
        last = run.epochs
        where = f"after epoch {max(last)}" if last else "from the beginning"
        self.say(f"{run.name} ended with status {run.status.get('exit_status', 'killed')}; it goes on {where}")

    def show(self, running: Collection[Run]) -> None:
        """Bring the bar up to date."""
        for run in running:
            self._look(run)
        best = "none yet" if self._best is None else f"{self._best.value:.6g}"
        counts = f"{self._done} of {self._total} done, {len(running)} running, {self._failed} failed"
        self._bar.set_description_str(f"{counts}, best {self._settings.monitor} {best}")

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        if not self._quiet:
            self._bar.write(line, file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()

    def _look(self, run: Run) -> None:
        best = run.best(self._settings.monitor, self._settings.mode or "min")
        if best is None:
            return
        sign = 1 if self._settings.mode == "min" else -1
        if self._best is None or sign * best.value < sign * self._best.value:
            self._best = best

    def _seconds(self, run: Run) -> str:
        seconds = time.monotonic() - self._began.get(run.index, time.monotonic())
        return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
