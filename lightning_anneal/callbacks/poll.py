"""What triggers see of a Trainer's run, and when they look.

They look in start-hooks only, when a validation or an epoch has ended since the last look (or a plateau scheduler has
stepped by step): by then EarlyStopping, the plateau schedulers and ModelCheckpoint have all done their work, whatever
the order of the callbacks. Whether to look follows from the course of the run, which is the same on every rank; what
is seen there is decided by rank 0.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_anneal.callbacks.metrics import LoggedMetrics, logged_in_step, metrics_of
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.lightnings import EarlyStopping, LearningRateMonitor, Trainer
from lightning_anneal.reactions import Reactions
from lightning_anneal.rules import Rule
from lightning_anneal.state import DAMAGE, damaged
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.signals import Reading


class Poll:
    """Sees stoppers, learning rates and metrics of a Trainer.

    Args:
        rules: The rules; those with a schedule are left out.
        watchers: By name: triggers that no value follows from.
    """

    def __init__(self, rules: Iterable[Rule], watchers: Mapping[str, Reaction] | None = None) -> None:
        rules = tuple(rules)
        self._reactions = {rule.name: rule.source for rule in rules if isinstance(rule.source, Reaction)}
        self._reactions = {n: r for n, r in self._reactions.items() if r.watches != "phases"} | dict(watchers or {})
        self._watchers = tuple(watchers or ())
        self._defaults = [rule.name for rule in rules if rule.optional]
        self._metrics = {name: r.monitor for name, r in self._reactions.items() if r.watches == "metric" and r.monitor}
        self.forget()

    def forget(self) -> None:
        """Drop everything a run has left behind."""
        self.pending = False
        """Whether a validation or an epoch has ended since the last look."""
        self.stoppers: dict[str, EarlyStopping] = {}
        """By rule: the EarlyStopping it watches."""
        self._bound: list[str] = []
        self._plateaus: dict[str, list[Any]] = {}
        self._by_step: list[Any] = []
        self._plateau_steps = 0
        self._recorded = 0
        self._validated = False
        self._logged = LoggedMetrics()
        self._warned = False
        self._silent: dict[str, int] = {}
        self._of_batches: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._reactions)

    def release(self, trainer: Trainer | None) -> None:
        """Let go of the run's objects, but keep what a trainer has still to be looked at: another fit may follow."""
        self.load(self.state(trainer))
        self.stoppers, self._plateaus, self._by_step, self._bound = {}, {}, [], []
        self._logged.release()

    # -- binding to a run -----------------------------------------------------------------------------------------

    def bind(self, trainer: Trainer, names: Iterable[str]) -> None:
        """Find the stoppers and plateau schedulers that the rules of these names watch.

        Raises:
            AnnealError: If there is none, or several and no word on which.
        """
        try:
            self._bind(trainer, [*names, *self._watchers])
        except AnnealError as error:
            name, _, key = error.where.rpartition(".")
            # Which has another name in a phase.
            if name in self._watchers and key == "trigger_source":
                raise AnnealError(f"{name}.trigger", error.what) from None
            raise

    def _bind(self, trainer: Trainer, names: Iterable[str]) -> None:
        reactions = {name: self._reactions[name] for name in names if name in self._reactions}
        self._bound = list(reactions)
        self.stoppers = {n: self._stopper(trainer, n, r) for n, r in reactions.items() if r.watches == "stopper"}
        configs = {n: _plateaus(trainer, n, r) for n, r in reactions.items() if r.watches == "lr"}
        self._plateaus = {name: [config.scheduler for config in found] for name, found in configs.items()}
        by_hand = not trainer.lightning_module.automatic_optimization
        watched = {id(config): config for found in configs.values() for config in found}.values()
        self._by_step = [config.scheduler for config in watched if by_hand or config.interval == "step"]
        for scheduler in self._by_step:
            if not hasattr(scheduler, "last_epoch"):
                kind, name = type(scheduler).__name__, next(iter(self._plateaus))
                what = f"{kind} doesn't count its steps in last_epoch; give it interval 'epoch'"
                raise AnnealError(f"{name}.trigger_source", what)

    def _stopper(self, trainer: Trainer, name: str, reaction: Reaction) -> EarlyStopping:
        try:
            return _stopper(trainer, name, reaction)
        except AnnealError as error:
            if name not in self._defaults:
                raise
            what = f"none given, and by default {name} waits for EarlyStopping: {error.what}"
            raise AnnealError("annealing_params", what) from None

    def begin(self, trainer: Trainer, reactions: Reactions) -> None:
        """Take what stands when training starts for the past of every rule that has none."""
        standing = [*self.stoppers, *self._plateaus]
        seen = {name: self._look(trainer, name, reactions) for name in standing}
        reactions.settle({name: reading for name, reading in seen.items() if reading is not None})
        self._plateau_steps = self._steps()
        self._recorded = 0
        self._validated = False

    def note_scaling(self, trainer: Trainer, reactions: Reactions, factor: float) -> None:
        """Take the rates of the last look times a factor, which an annealing callback has just put on all of them."""
        for name in self._plateaus:
            reactions.rescale(name, factor)
        self._recorded = _records(trainer)

    def note_stop(self, stopper: EarlyStopping, count: int, reactions: Reactions) -> None:
        """A stop that was asked for at this count is taken back, which the rules of that stopper are still to see."""
        for name, watched in self.stoppers.items():
            if watched is stopper:
                reactions.note_stop(name, count)

    # -- when -----------------------------------------------------------------------------------------------------

    def note_validation(self) -> None:
        """A validation begins, after which there is something to look at."""
        self.pending, self._validated = True, True

    @property
    def due(self) -> bool:
        """Whether it is time to look, in the course of an epoch."""
        return self.pending or (bool(self._by_step) and self._steps() != self._plateau_steps)

    # -- what -----------------------------------------------------------------------------------------------------

    def read(
        self, trainer: Trainer, reactions: Reactions, *, epoch_ended: bool, waiting: Collection[str] = ()
    ) -> dict[str, Reading]:
        """What is seen now, by rule. A rule whose metric is the one of the last look sees nothing.

        Args:
            trainer: The trainer.
            reactions: How far the rules have come.
            epoch_ended: Whether this is the start of an epoch.
            waiting: Watchers that wait for their turn, and may wait for a metric that is logged only then.

        Raises:
            AnnealError: On rank 0, if a metric isn't logged at all.
        """
        pending, self.pending = self.pending, False
        self._plateau_steps = self._steps()
        readings = {}
        self._note_batches(trainer)
        for name in self._bound:
            # What each batch logs is looked at when an epoch has ended, as ReduceLROnPlateau does.
            waits = not epoch_ended and self._reactions[name].patient and self._metrics.get(name) in self._of_batches
            # A step of a plateau scheduler is no time to count a cooldown of the others.
            if name in self._plateaus or (pending and not waits):
                reading = self._look(trainer, name, reactions)
                if reading is not None:
                    readings[name] = reading
        self._recorded = _records(trainer)
        # A patient rule whose metric has come in the midst of an epoch misses none at its end.
        self._silent |= {name: 0 if epoch_ended else -1 for name in readings if name in self._metrics}
        ended = pending and epoch_ended
        if ended and trainer.is_global_zero and (self._validated or not trainer.enable_validation):
            readings |= self._absent(trainer, set(self._bound) - set(readings), waiting)
        self._logged.looked()
        return readings

    def _note_batches(self, trainer: Trainer) -> None:
        """Find out which of the metrics each batch logs."""
        watched = set(self._metrics.values()) - self._of_batches
        if watched:
            self._of_batches |= {name for name, *_ in logged_in_step(trainer, watched)}

    def _absent(self, trainer: Trainer, names: set[str], waiting: Collection[str]) -> dict[str, Reading]:
        """What a patient rule, or a watcher that waits, sees of a metric that isn't there, or is there no more.

        Raises:
            AnnealError: For a rule that isn't.
        """
        readings = {}
        for name, metric in self._metrics.items():
            if name not in names:
                continue
            patient = self._reactions[name].patient
            if metric not in trainer.callback_metrics:
                what = f"no metric {quote(metric)} has been logged{suggestion(metric, metrics_of(trainer))}"
                if not patient and name not in waiting:
                    raise AnnealError(f"{name}.monitor", what)
                readings[name] = Reading(note=what, absent=True)
            elif patient:
                # What was logged last stays there. A validation comes every so many epochs.
                self._silent[name] = self._silent.get(name, 0) + 1
                if self._silent[name] >= (trainer.check_val_every_n_epoch or 1):
                    readings[name] = Reading(note=f"no metric {quote(metric)} to be seen any more", absent=True)
        return readings

    def warn_of_other_ranks(self, own: Mapping[str, Reading], agreed: Mapping[str, Reading]) -> None:
        """Say once that this rank has seen something else than rank 0."""
        for name, reading in agreed.items():
            reaction, here = self._reactions[name], own.get(name)
            same = here is not None and (here.value == reading.value or math.isnan(reading.value))
            if not same and not self._warned and reaction.watches != "lr":
                metric = self.stoppers[name].monitor if name in self.stoppers else reaction.monitor
                self._warned = True
                warnings.warn(
                    f"{name}: the processes see different values of {quote(metric)}, and rank 0 decides; "
                    f"log it with sync_dist=True",
                    stacklevel=2,
                )

    def _look(self, trainer: Trainer, name: str, reactions: Reactions) -> Reading | None:
        if name in self.stoppers:
            stopper, peak = self.stoppers[name], reactions.progress[name].peak
            asked = asks_to_stop(trainer, stopper)
            return self._reactions[name].read_stopper(stopper.wait_count, stopper.patience, asked=asked, peak=peak)
        if name in self._plateaus:
            return self._rates(trainer, name)
        return self._metric(trainer, name)

    def _rates(self, trainer: Trainer, name: str) -> Reading:
        # StochasticWeightAveraging puts another scheduler in the place of a plateau scheduler.
        there = [config.scheduler for config in trainer.lr_scheduler_configs]
        schedulers = [scheduler for scheduler in self._plateaus[name] if scheduler in there]
        groups = [group for scheduler in schedulers for group in scheduler.optimizer.param_groups]
        return Reading(rates=tuple(float(group["lr"]) for group in groups), recorded=self._record(trainer, groups))

    def _record(self, trainer: Trainer, groups: list[Any]) -> tuple[float, ...]:
        """What LearningRateMonitor has recorded of these groups since the last look."""
        monitor = _monitor_of(trainer)
        if monitor is None or _records(trainer) <= self._recorded:
            return ()
        # Its record is in the order of the schedulers' optimizers, one list for each group.
        optimizers = list(dict.fromkeys(config.scheduler.optimizer for config in trainer.lr_scheduler_configs))
        every = [id(group) for optimizer in optimizers for group in optimizer.param_groups]
        last = [float(rates[-1]) if rates else math.nan for rates in list(monitor.lrs.values())[: len(every)]]
        by_group = dict(zip(every, last, strict=False))
        found = tuple(by_group.get(id(group), math.nan) for group in groups)
        return () if any(map(math.isnan, found)) else found

    def _steps(self) -> int:
        return sum(scheduler.last_epoch for scheduler in self._by_step)

    def _metric(self, trainer: Trainer, name: str) -> Reading | None:
        metric = self._metrics[name]
        value = self._logged.look(trainer, name, metric)
        return None if value is None else Reading(value, note=metric)

    # -- state ----------------------------------------------------------------------------------------------------

    def state(self, trainer: Trainer | None) -> dict[str, Any]:
        """What the next look needs, should the run be resumed before: Lightning saves no metrics."""
        metrics = self._logged.unseen(trainer, self._metrics.items()) if self.pending else {}
        if trainer is not None:
            self._note_batches(trainer)
        silent = {name: times for name, times in self._silent.items() if times}
        more = {"silent": silent, "of_batches": sorted(self._of_batches)}
        return {"pending": self.pending, "metrics": metrics, **{key: value for key, value in more.items() if value}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run stood."""
        try:
            self.pending = bool(state.get("pending", False))
            self._logged.load(state.get("metrics", {}))
            self._of_batches = {str(name) for name in state.get("of_batches", ())}
            self._silent = {str(name): int(times) for name, times in state.get("silent", {}).items()}
        except DAMAGE as error:
            raise damaged(error) from None


def _stopper(trainer: Trainer, name: str, reaction: Reaction) -> EarlyStopping:
    stoppers: list[Any] = trainer.early_stopping_callbacks
    if not stoppers:
        what = f"{reaction.source} needs an EarlyStopping callback, and the Trainer has none"
        raise AnnealError(f"{name}.trigger_source", what)
    monitors = [stopper.monitor for stopper in stoppers]
    if reaction.monitor is None and len(stoppers) > 1:
        what = f"missing; there are several EarlyStopping callbacks ({', '.join(monitors)}), say which is meant"
        raise AnnealError(f"{name}.monitor", what)
    if reaction.monitor is not None and reaction.monitor not in monitors:
        known = suggestion(reaction.monitor, monitors)
        raise AnnealError(f"{name}.monitor", f"no EarlyStopping watches {quote(reaction.monitor)}{known}")
    found: EarlyStopping = stoppers[0 if reaction.monitor is None else monitors.index(reaction.monitor)]
    return found


def _plateaus(trainer: Trainer, name: str, reaction: Reaction) -> list[Any]:
    plateaus = [
        config
        for config in trainer.lr_scheduler_configs
        if config.reduce_on_plateau or isinstance(config.scheduler, ReduceLROnPlateau)
    ]
    if not plateaus:
        what = "lr_scheduler_triggered needs a ReduceLROnPlateau, and configure_optimizers gives none"
        raise AnnealError(f"{name}.trigger_source", what)
    if reaction.monitor is None:
        return plateaus
    # In manual optimization Lightning keeps no monitor, but a name.
    meant = [config for config in plateaus if reaction.monitor in (config.monitor, config.name)]
    if not meant:
        known = suggestion(reaction.monitor, filter(None, (config.monitor or config.name for config in plateaus)))
        raise AnnealError(f"{name}.monitor", f"no plateau scheduler watches {quote(reaction.monitor)}{known}")
    return meant


def asks_to_stop(trainer: Trainer, stopper: EarlyStopping) -> bool:
    """Whether a stopper asks for a stop: its patience has run out, or it has seen NaN or a threshold."""
    if stopper.wait_count > 0 and stopper.wait_count >= stopper.patience:
        return True
    reason = getattr(getattr(stopper, "stopping_reason", None), "name", "NOT_STOPPED")
    return bool(trainer.should_stop) and reason not in ("NOT_STOPPED", "PATIENCE_EXHAUSTED")


def _monitor_of(trainer: Trainer) -> LearningRateMonitor | None:
    callbacks: list[Any] = trainer.callbacks  # type: ignore[union-attr]
    return next((c for c in callbacks if isinstance(c, LearningRateMonitor)), None)


def _records(trainer: Trainer) -> int:
    monitor = _monitor_of(trainer)
    return 0 if monitor is None else sum(map(len, monitor.lrs.values()))
