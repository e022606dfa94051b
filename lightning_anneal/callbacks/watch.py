"""Lets triggers and controllers look at a Trainer's run: rank 0 says what there is to be seen, by one broadcast."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn

from lightning_anneal.callbacks.measures import Measures
from lightning_anneal.callbacks.poll import Poll
from lightning_anneal.engine import Engine
from lightning_anneal.lightnings import Trainer
from lightning_anneal.steering import Means
from lightning_anneal.sync import agree
from lightning_anneal.triggers.signals import Reading


class Watch:
    """What an engine's triggers and controllers see of a run.

    Args:
        engine: The engine.

    Attributes:
        poll: What triggers look at.
        measures: What controllers go by.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.poll = Poll(engine.rules, engine.plan.watchers)
        self.measures = Measures(engine.steering)

    def __bool__(self) -> bool:
        return bool(self.poll) or bool(self.measures)

    def forget(self) -> None:
        """Drop everything a run has left behind."""
        self.poll.forget()
        self.measures.forget()

    def begin(self, trainer: Trainer) -> None:
        """A training loop begins."""
        if self:
            self.poll.begin(trainer, self._engine.reactions)

    def begin_steps(self, trainer: Trainer, device: torch.device) -> None:
        """A training loop begins, and the values of its first step are in force."""
        if self.measures:
            self.measures.begin(trainer, device, self._engine.step_in_force)

    def note_epoch_end(self) -> None:
        """An epoch is over, after which there is something to look at."""
        self.poll.pending = bool(self)

    def look(self, trainer: Trainer, last_step: int, *, epoch_ended: bool) -> None:
        """Let the triggers look, and the controllers that don't count steps.

        Args:
            trainer: The trainer.
            last_step: The last step before what is to be seen.
            epoch_ended: Whether this is the start of an epoch.
        """
        own: dict[str, Reading] = {}
        # Resumed behind an epoch's last batch, Lightning leaves out what comes after it: no metric of that is missing.
        whole = self.poll.pending

        def see() -> tuple[dict[str, Reading], dict[str, Means], list[str]]:
            engine = self._engine
            own.update(self.poll.read(trainer, engine.reactions, epoch_ended=epoch_ended, waiting=engine.waiting))
            means = self.measures.read_epoch(trainer, ended=epoch_ended, whole=whole) if self.measures else {}
            return own, means, self.measures.known(trainer, means.values())

        readings, means, known = agree(trainer.strategy, see)
        self.poll.warn_of_other_ranks(own, readings)
        for told in self._engine.poll(readings):
            rank_zero_warn(told)
        # A resume may have begun the epoch already; what was measured was measured in the one before.
        self._feed(means, known, last_step, max(trainer.current_epoch - epoch_ended, 0))

    def steer(self, trainer: Trainer, step: int) -> None:
        """Let the controllers have their turn that have it at this step, before the step's values are put in force."""

        def see() -> tuple[dict[str, Means], list[str]]:
            means = self.measures.read_step(trainer, step)
            return means, self.measures.known(trainer, means.values())

        self._feed(*agree(trainer.strategy, see), self._engine.step_in_force, trainer.current_epoch)
        self.measures.plan(step)

    def _feed(self, means: Mapping[str, Means], known: Iterable[str], step: int, epoch: int) -> None:
        """Let controllers have what was measured until a step, or in an epoch."""
        engine = self._engine
        for key, seen in means.items():
            by_step = engine.steering.rules[key][0].interval == "step"
            for told in engine.steering.feed(key, seen, step if by_step else epoch, known):
                rank_zero_warn(told)

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self, trainer: Trainer | None) -> dict[str, Any]:
        """What the next look needs, should the run be resumed before."""
        state: dict[str, Any] = {"poll": self.poll.state(trainer)} if self else {}
        return {**state, "measures": self.measures.state(trainer)} if self.measures else state

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run stood."""
        if self:
            self.poll.load(state.get("poll", {}))
            self.measures.load(state.get("measures", {}))

    def release(self, trainer: Trainer | None) -> None:
        """Let go of the run's objects, but keep what is still to be looked at: another fit may follow.

        Args:
            trainer: The trainer; ``None`` where not all processes are here, which computing a metric may take.
        """
        self.poll.release(trainer)
        self.measures.release(trainer)
