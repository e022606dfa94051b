"""Where a run stands among its phases: when each began, and when the running one is over."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import astuple, dataclass
from itertools import pairwise
from typing import Any

from lightning_anneal.checks import count, flag, number
from lightning_anneal.clock import Horizon, Interval, Length, Lengths
from lightning_anneal.errors import AnnealError
from lightning_anneal.phases import Began, Phase, Plan

End = tuple[Interval, float]
"""A point of the run: an epoch or a step, not always a whole one."""


@dataclass(frozen=True)
class Turn:
    """One phase that has given way to the next.

    Args:
        old: The name of the one that is over.
        new: The name of the one that has begun.
        why: What made it end.
    """

    old: str
    new: str
    why: str


class Phasing:
    """The phases of a run, and how far it has come.

    Args:
        plan: The phases.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.began = [Began(0, 0)] if plan else []
        """Where each phase began that has begun."""
        self.lengths: dict[str, float] = {}
        """The ends and durations that depended on the run, as they were found when it began."""
        self._ends: dict[str, End] = {}

    @property
    def index(self) -> int:
        """The number of the running phase."""
        return len(self.began) - 1

    @property
    def running(self) -> Phase:
        """The running phase."""
        return self.plan.phases[self.index]

    def at_its_start(self) -> Phasing:
        """One of the same phases, before any has given way, that has and finds the same lengths."""
        anew = Phasing(self.plan)
        anew.lengths, anew._ends = self.lengths, self._ends
        return anew

    # -- a run --------------------------------------------------------------------------------------------------------

    def find_lengths(self, horizon: Horizon) -> None:
        """Turn the ends and durations of the phases into numbers, those that no earlier start has found.

        Raises:
            AnnealError: If one can't be known.
        """
        for phase in self.plan.phases:
            for key, length in (("until", phase.until), ("duration", phase.duration), ("until.at_most", phase.at_most)):
                if length is not None:
                    interval: Interval = "step" if _in_steps(length, horizon) else "epoch"
                    lengths = Lengths("phases", interval, horizon, self.lengths, prefix=f"{phase.name}.")
                    # Kept under another key, should a run be resumed that was planned in epochs.
                    kept = f"{key} in steps" if interval == "step" and length.unit == "%" else key
                    self._ends[phase.name] = (interval, lengths(kept, length))

    def beyond(self, horizon: Horizon) -> Iterator[str]:
        """What to warn of: phases that no run of this length comes to, as far as time alone tells."""
        began: dict[Interval, float] = {"epoch": 0.0, "step": 0.0}
        for phase, following in pairwise(self.plan.phases):
            known = {} if phase.trigger is not None else dict([self._ends[phase.name]])
            known = {at: n if phase.until else began[at] + n for at, n in known.items() if phase.until or at in began}
            began = known
            for interval, end in known.items():
                if (run := horizon.run(interval)) is not None and end >= run:
                    what = f"ends at {interval} {end:g} of a run of {run:g}, so {following.name!r} never begins"
                    yield f"phases.{phase.name}: {what}"
                    return

    def end(self, index: int) -> End | None:
        """Where a phase ends by time, once it has begun; ``None`` where it doesn't."""
        phase = self.plan.phases[index]
        if phase.name not in self._ends:
            return None
        interval, number_ = self._ends[phase.name]
        began = 0 if phase.until is not None else getattr(self.began[index], interval)
        return interval, began + number_

    @property
    def next_step(self) -> float:
        """The step at which the running phase ends by steps."""
        end = self.end(self.index) if self.plan else None
        return end[1] if end is not None and end[0] == "step" else math.inf

    def advance(self, epoch: int, step: int, *, within: bool, fired: Callable[[Phase], str]) -> Iterator[Turn]:
        """Go on to the next phase where the running one is over, and to the one after that, if it is over at once.

        Args:
            epoch: The epoch.
            step: The optimizer step that is about to begin.
            within: Whether the epoch was running already.
            fired: Says of a phase what its trigger has seen; empty where that hasn't come.

        Yields:
            Each turn.
        """
        while self.index < len(self.plan.phases) - 1:
            why = self._over(epoch, step) or fired(self.running)
            if not why:
                return
            old = self.running.name
            self.began.append(Began(epoch, step, within))
            yield Turn(old, self.running.name, why)

    def _over(self, epoch: int, step: int) -> str:
        end = self.end(self.index)
        if end is None or (epoch if end[0] == "epoch" else step) < end[1]:
            return ""
        return f"{end[0]} {end[1]:g}" + ("" if self.running.at_most is None else f", at most {self.running.at_most}")

    # -- state --------------------------------------------------------------------------------------------------------

    def plain(self) -> dict[str, Any]:
        """As plain values, for a checkpoint."""
        names = self.plan.names[: len(self.began)]
        began = [list(astuple(each)) for each in self.began]
        return {"names": names, "began": began, "lengths": dict(self.lengths)}

    def load_plain(self, state: Mapping[str, Any]) -> list[str]:
        """Go on from the plain values of a checkpoint.

        Returns:
            The names of the phases that had begun.
        """
        names = [str(name) for name in state["names"]]
        began = [
            Began(
                count("checkpoint.phases", epoch, least=0),
                count("checkpoint.phases", step, least=0),
                flag("checkpoint.phases", within),
            )
            for epoch, step, within in state["began"]
        ]
        if len(began) != len(names) or not names:
            raise AnnealError("checkpoint.phases", f"holds {len(began)} beginnings of {len(names)} phases")
        self.began = began
        self.lengths = {str(key): number(f"checkpoint.phases.{key}", value) for key, value in state["lengths"].items()}
        return names

    def check_names(self, begun: list[str]) -> None:
        """Refuse to go on with other phases than those that had begun.

        Raises:
            AnnealError: If there are others now, or they have other names.
        """
        if begun != self.plan.names[: len(begun)]:
            now = ", ".join(self.plan.names)
            what = f"the checkpoint has been through {', '.join(begun)}, and now there are {now}"
            raise AnnealError("phases", f"{what}; keep those that have begun, with their names")


def _in_steps(length: Length, horizon: Horizon) -> bool:
    """Whether an end is counted in steps: a share of the run is one of its steps only where it is planned in them."""
    return length.unit == "st" or (length.unit == "%" and horizon.max_epochs is None and horizon.max_steps is not None)
