"""Counts optimizer steps: a step is a batch after which an optimizer has stepped.

Right under accumulation and with several optimizers, where ``trainer.global_step`` counts another thing, and in manual
optimization. Counted when the next batch starts, because a second hook per batch costs more than all the rest.
"""

from __future__ import annotations

from lightning_anneal import report
from lightning_anneal.lightnings import Trainer


class StepCount:
    """The optimizer steps of a run.

    Args:
        done: Steps done before.
    """

    def __init__(self, done: int = 0) -> None:
        self.done = done
        """Steps done when the last batch started; while training the number of the step in force."""
        self.counting = False
        """Whether a training loop is running."""
        self.automatic = True
        self._mark = -1
        self._before = 0

    def begin(self, trainer: Trainer, *, automatic: bool) -> None:
        """A training loop begins; `automatic` says whether Lightning steps the optimizers."""
        self.counting, self.automatic = True, automatic
        self._before = trainer.global_step - self.done
        self.step_back()

    def step_back(self) -> None:
        """One step back, and a mark that no run has: the next batch counts itself."""
        self.done -= 1
        self._mark = -1

    def moved(self, trainer: Trainer) -> bool:
        """Whether a step has been made since the last batch started; called at the start of each batch."""
        # In automatic optimization the x of the logs moves with global_step, and takes an eighth of the time to read.
        mark = report.batch_step(trainer) if self.automatic else trainer.global_step
        if mark == self._mark:
            return False
        self._mark = mark
        self.done += 1
        return True

    def count(self, trainer: Trainer | None) -> int:
        """Steps done by now, with the one that the next batch would count."""
        if not self.counting or trainer is None:
            return self.done
        if self.automatic:
            return trainer.global_step - self._before
        return self.done + (trainer.global_step != self._mark)

    def settle(self, trainer: Trainer) -> None:
        """The training loop ends."""
        self.done = self.count(trainer)
        self.counting = False
