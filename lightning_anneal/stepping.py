"""The loop that runs in every optimizer step: as little as can be, and nothing for what has settled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from lightning_anneal.lines import Line


class StepLoop:
    """Writes the values of rules by step.

    Args:
        lines: The lines that move by step.
        tell: Called with a line, the value before and the new one, at milestones, restarts and ends.
        step: The step in force.
    """

    def __init__(self, lines: Iterable[Line] = (), tell: Callable[[Line, Any, Any], None] | None = None, step: int = 0):
        self._tell = tell
        self._running = list(lines)
        self._plan(step)

    def start(self, step: int) -> None:
        """Put in force what holds during the step after the last one."""
        for store, key, curve in self._fast:
            store[key] = curve(step)
        for line in self._slow:
            if step % line.rule.frequency == 0:
                line.target.write(line.curve(step))
        if step >= self._next_event:
            self._events(step)

    def _plan(self, step: int) -> None:
        """Sort the lines into what the loop does; those that have settled by now are left out."""
        self._running = [line for line in self._running if line.settled > step]
        self._fast: list[tuple[Any, Any, Callable[[float], float]]] = []
        self._slow: list[Line] = []
        for line in self._running:
            shortcut = line.target.shortcut
            if shortcut is None or line.rule.frequency > 1 or not line.bounded:
                self._slow.append(line)
            else:
                # The bound method, because calling through the instance costs half as much again.
                self._fast.append((*shortcut, line.curve.__call__))
        self.busy = bool(self._running)
        """Whether there is anything to do in the steps to come."""
        self._next_event = min((line.next_event for line in self._running), default=math.inf)

    def _events(self, step: int) -> None:
        """Tell of each milestone, restart and end that this step has reached."""
        for line in self._running:
            if step >= line.next_event:
                old, new = line.target.rounded(line.target.cast(line.value(step - 1))), line.target.read()
                if self._tell is not None and new != old:
                    self._tell(line, old, new)
                line.begin(step, first=False)
        self._plan(step)
