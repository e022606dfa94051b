"""RuleCallback: drives rules from Lightning's hooks. What it says of them is up to its two subclasses.

When what happens, and why there:

====================  ==============================================================================================
``on_fit_start``      targets, start values and lengths are found; ranks agree; the values are there for sanity check
``on_train_start``    the first moment when a checkpoint is restored in full: found again (a restored optimizer has
                      new group dictionaries), values applied. A mid-epoch resume skips ``on_train_epoch_start``.
``on_train_epoch_start``, ``on_train_batch_start``
                      triggers look at the run (see `poll`), values applied, loaders made anew for another batch size.
                      In start-hooks the place in the list of callbacks makes no difference.
``on_validation_start`` ... ``_end``
                      ``eval_value`` in force
====================  ==============================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities import rank_zero_warn

from lightning_anneal import report
from lightning_anneal.audit import Audit
from lightning_anneal.batch_sizes import first_batch_size, rules_of_batch_size
from lightning_anneal.callbacks.introduce import log_plan, log_settings
from lightning_anneal.callbacks.loaders import (
    begin_with_batch_size,
    count_epoch_as_done,
    scale_rates,
    scaled_names,
    start_epoch,
)
from lightning_anneal.callbacks.optimizer_watch import OptimizerWatchCallback
from lightning_anneal.callbacks.pruning import prune_unused_hooks
from lightning_anneal.callbacks.recompiles import RecompileWatch
from lightning_anneal.callbacks.run import roots_of, swapped_buffers
from lightning_anneal.callbacks.start import bind
from lightning_anneal.callbacks.steps import StepCount
from lightning_anneal.callbacks.stops import StopTaker
from lightning_anneal.callbacks.watch import Watch
from lightning_anneal.changes import Change, say
from lightning_anneal.checks import Value, choice, count
from lightning_anneal.clock import Interval
from lightning_anneal.engine import Engine
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.horizons import HORIZON_POLICIES
from lightning_anneal.lightnings import Callback, EarlyStopping, LearningRateMonitor, LightningModule, Trainer
from lightning_anneal.phases import Plan
from lightning_anneal.rules import Rule
from lightning_anneal.run_length import horizon_of
from lightning_anneal.targets.path import parse_path
from lightning_anneal.targets.resolve import home_of

if TYPE_CHECKING:
    from lightning_anneal.preview.planned import Preview


class RuleCallback(Callback):
    """Drives rules from Lightning's hooks.

    Args:
        rules: The rules.
        name: Tells two callbacks of one class apart, in checkpoints and errors.
        prog_bar: Parameters that stand in the progress bar.
        on_horizon_change: What becomes of lengths in per cent when a run is resumed with another length.
        plan: The phases that some of the rules belong to.
    """

    prune_hooks = True
    """Whether unused per-batch hooks are taken out of Lightning's way; set it to False on a subclass to keep them."""

    draw_schedules = True
    """Whether TensorBoard gets a picture of the schedules and a layout of charts; set it to False on a subclass."""

    def __init__(
        self,
        rules: Iterable[Rule],
        name: str | None,
        prog_bar: Sequence[str],
        on_horizon_change: str = "keep",
        plan: Plan | None = None,
    ) -> None:
        self._engine = Engine(rules, plan)
        self._watch = Watch(self._engine)
        self._stops = StopTaker()
        self._recompiles = RecompileWatch(rank_zero_warn)
        self._audit = Audit()
        self._on_horizon_change = choice("on_horizon_change", on_horizon_change, HORIZON_POLICIES)
        if name is not None and (not isinstance(name, str) or not name):
            raise AnnealError("name", f"must be a string, got {quote(name)}")
        # Lightning asks for the key at every hook: it is made once.
        self._state_key = type(self).__qualname__ + ("" if name is None else f"[name={name}]")
        self._prog_bar = _names("prog_bar", prog_bar, [rule.name for rule in self._engine.rules])
        self._forget()
        if self.prune_hooks:
            prune_unused_hooks(self, () if self._watch.measures else (RuleCallback.on_train_batch_end,))

    def _forget(self) -> None:
        self._engine.forget()
        self._watch.forget()
        self._audit = Audit()
        self._trainer: Trainer | None = None
        self._fits_next: Trainer | None = None
        self._steps = StepCount()
        self._fit_state: dict[str, Any] | None = None
        self._next_due = math.inf
        self._next_turn = math.inf
        self._has_state = False
        self._groups: list[int] = []
        self._step_names: frozenset[str] = frozenset()
        self._watching, self._steers = bool(self._watch), bool(self._watch.measures)

    # -- what a user reads ----------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """The callback's key in a checkpoint."""
        return self._state_key

    @property
    def values(self) -> dict[str, Value]:
        """The values now in force, by parameter; after a fit, the last ones."""
        return self._engine.values

    @property
    def missed(self) -> dict[str, int]:
        """How often the value of each parameter that answers to a metric was kept, because there was none.

        Those are the strategies ``pi_control``, ``constraint``, ``gated`` and ``on_plateau``, and all weights of losses
        together. A metric is none where it has not come, or isn't finite.
        """
        return self._engine.missed

    @property
    def phase(self) -> str | None:
        """The name of the running phase; ``None`` where there are no phases."""
        return self._engine.phasing.running.name if self._engine.plan else None

    @property
    def changes(self) -> list[Change]:
        """Every change so far, with its reason; of a ramp by step the first and the last value.

        Rank 0 writes them to ``annealing_changes.csv`` beside the logger's files as they come.
        """
        return list(self._audit.changes)

    def preview(
        self,
        epochs: float,
        steps_per_epoch: float | None = None,
        *,
        metrics: Mapping[str, Sequence[float]] | None = None,
        early_stopping: Any = None,
        start: Mapping[str, Value] | None = None,
    ) -> Preview:
        """What the values are going to be, without a Trainer and without training.

        Args:
            epochs: The planned number of epochs.
            steps_per_epoch: Optimizer steps in an epoch; 100 where something needs it and it isn't given.
            metrics: By name, the value after each epoch, for triggers, gates and controllers to see; by default for the
                first two a made-up one that gets better for a third of the run and then stands still.
            early_stopping: The EarlyStopping that triggers watch, or its arguments: ``{"monitor": "val_loss",
                "patience": 8}``; a list where there are several.
            start: By parameter, the value found in the model, for those that begin there.

        Returns:
            A `Preview`: printed it is text, in a notebook a picture. It has ``preview["beta"]``, ``rows()``,
            ``to_csv()``, ``figure`` and ``save("beta.png")``.

        Raises:
            AnnealError: If a schedule can't be built.

        Example:
            >>> from lightning_anneal import HyperparamAnnealingCallback
            >>> settings = {"strategy": "linear", "start_value": 0, "end_value": 1}
            >>> HyperparamAnnealingCallback({"beta": settings}).preview(epochs=5)["beta"]
            [0.0, 0.25, 0.5, 0.75, 1.0]
        """
        from lightning_anneal.preview.simulate import preview_of_rules

        return preview_of_rules(
            self._engine.rules,
            epochs,
            steps_per_epoch,
            metrics=metrics or {},
            early_stopping=early_stopping,
            starts=start or {},
            plan=self._engine.plan,
        )

    # -- what a subclass says -------------------------------------------------------------------------------------

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was given, by parameter, for the loggers' hyperparameters."""
        raise NotImplementedError  # pragma: no cover - every subclass says it

    def tag(self, name: str) -> str:
        """The tag that a parameter is logged under."""
        raise NotImplementedError  # pragma: no cover - every subclass says it

    @property
    def engine(self) -> Engine:
        """What drives the rules."""
        return self._engine

    def _at_epoch_start(self, trainer: Trainer, step: int) -> None:
        """Log what belongs to an epoch, at the x of its first step."""
        by_epoch = {k: v for k, v in self.values.items() if k not in self._step_names}
        report.log_values(trainer, {**self._tagged(by_epoch), **self._steered(by_step=False)}, step)

    def _at_due_step(self, trainer: Trainer, step: int) -> None:
        """Log what belongs to a step, every ``log_every_n_steps``."""
        by_step = {k: v for k, v in self.values.items() if k in self._step_names}
        report.log_values(trainer, {**self._tagged(by_step), **self._steered(by_step=True)}, step)

    def _steered(self, *, by_step: bool) -> dict[str, float]:
        """What controllers work against, such as a set point, for the loggers."""
        engine, steering = self._engine, self._engine.steering
        now: dict[Interval, int] = {"epoch": engine.epoch, "step": engine.step_in_force}
        return {
            f"Control/{key}/{what}": value
            for key, shown in steering.shown(now).items()
            if (key in steering.by_step) == by_step
            for what, value in shown.items()
        }

    def _tagged(self, values: dict[str, Value]) -> dict[str, float]:
        return {self.tag(name): float(value) for name, value in values.items() if not isinstance(value, str)}

    # -- hooks ----------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # A run that has not begun: whatever this callback did in another Trainer is over. A state that is to be
        # resumed is loaded later than this.
        if trainer.global_step == 0 and trainer.current_epoch == 0:
            self._forget()
        self._engine.on_change = self._note_aloud if trainer.is_global_zero else self._audit.add
        self._fits_next = trainer if stage == "fit" else None
        if stage != "fit":
            # An evaluation may load another checkpoint; a fit that comes after it goes on where the last one stood.
            self._fit_state = self.state_dict() or None
        # What logs learning rates does it in start-hooks, too, and in front of this callback it would log the value of
        # the step before: it is put behind. A new list, because Lightning is walking through the old one.
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[union-attr]
        before = callbacks[: callbacks.index(self)]
        early = [c for c in before if isinstance(c, LearningRateMonitor | OptimizerWatchCallback)]
        if early:
            rest = [c for c in callbacks if c not in early]
            behind = rest.index(self) + 1
            trainer.callbacks = [*rest[:behind], *early, *rest[behind:]]  # type: ignore[union-attr]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer = trainer
        engine, ours = self._engine, _ours(trainer)
        told = bind(
            trainer,
            pl_module,
            engine,
            self._watch.poll,
            self._on_horizon_change,
            others=self._others(trainer),
            later=[callback.state_key for callback in ours[ours.index(self) + 1 :]],
        )
        if told:
            rank_zero_warn(told)
        for name in engine.findings.shadowed:
            rank_zero_warn(f"{name}: the module and its hparams both have it; the module's is annealed, "
                           f"write hparams.{name} for the other")  # fmt: skip
        for warning in swapped_buffers(trainer, pl_module, engine):
            rank_zero_warn(warning)
        if begin_with_batch_size(trainer, engine):
            for callback in ours:
                if callback._engine.findings.resolved and not callback._has_state:
                    callback._engine.find_lengths_again(horizon_of(trainer))
        self._step_names = frozenset(engine.names("step"))
        engine.make_tensors(pl_module.device)
        self._recompiles.begin(engine.python_numbers)
        engine.go_to(engine.epoch, engine.step_in_force, tell=not self._has_state)
        if self._speaks_for_all(trainer):
            log_settings(trainer, pl_module, _ours(trainer))
        self._stops.wrap(self._watch.poll.stoppers, engine.reactions, self._note_stop)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bind_again(trainer, pl_module)
        steps, engine, first = self._steps, self._engine, not self._has_state
        if trainer.global_step == 0:
            steps.done = 0  # BatchSizeFinder has trained a few steps and put everything else back
        elif first:
            # Resumed from a checkpoint that knows nothing of this callback.
            steps.done = trainer.global_step // max(1, len(trainer.optimizers))
        if trainer.is_global_zero:
            names = [*(target.name for target in engine.findings.targets), *scaled_names(trainer, engine)]
            names += ["phase"] if engine.plan else []
            folder = report.log_folder(trainer)
            anew = (
                first
                and trainer.global_step == 0
                and not any(callback._audit.writes_to(folder) for callback in _ours(trainer))
            )
            self._audit.open(folder, names, steps.done, begins=first, anew=anew)
        self._watch.begin(trainer)
        if not first and trainer.ckpt_path is None:
            # Another fit of this Trainer: its optimizers are new, and know nothing of a batch size that has grown.
            scale_rates(trainer, engine, first_batch_size(engine), steps.done)
        if first:
            # A run may begin in the midst of its phases: with a checkpoint that knows nothing of this callback.
            engine.advance_phases(trainer.current_epoch, steps.done, within=False)
            self._begin_epoch(trainer, steps.done, begins=False)
            engine.go_to_step(steps.done, first=True)
            self._watch.begin_steps(trainer, pl_module.device)
        else:
            # As it was when the checkpoint was written; the next step begins, and is told of, with its batch.
            behind = steps.done > engine.step_in_force
            engine.go_to_step(engine.step_in_force if behind else steps.done, tell=not behind)
            self._watch.begin_steps(trainer, pl_module.device)
            if engine.epoch == trainer.current_epoch:
                self._begin_epoch(trainer, steps.done, begins=False)
            elif trainer.ckpt_path is not None and not self._watch.poll.pending:
                # Behind a checkpoint that was written with an epoch's last batch comes no ``on_train_epoch_start``,
                # and before it came no ``on_train_epoch_end``: what that epoch has brought is looked at now.
                self._enter_epoch(trainer, ended=True)
                if engine.findings.batch_size is not None:
                    count_epoch_as_done(trainer)
        self._next_due = steps.done if self._step_names else math.inf
        self._plan_turns()
        steps.begin(trainer, automatic=pl_module.automatic_optimization)
        if first and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[union-attr]
            engine.warn_if_cut_short(horizon_of(trainer))
        if self._speaks_for_all(trainer) and self.draw_schedules:
            log_plan(trainer, _ours(trainer), report.batch_step(trainer))
        self._has_state = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._find_new_groups(trainer, pl_module)
        self._enter_epoch(trainer, ended=self._watch.poll.pending)
        report.log_values(trainer, self._phase_tagged(), report.batch_step(trainer))
        self._at_epoch_start(trainer, report.batch_step(trainer))
        self._show(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        steps = self._steps
        if batch_idx == 0:
            self._find_new_groups(trainer, pl_module)  # a callback behind this one may have added some
        moved = steps.moved(trainer)
        if steps.done >= self._next_turn or (self._watching and self._watch.poll.due):
            self._start_step(trainer, moved=moved)
        elif moved:
            self._engine.start_step(steps.done)
        if steps.done >= self._next_due and (moved or not steps.automatic):
            self._log_step_if_due(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # Lightning calls it only where a controller wants to see what a batch gives: see `prune_unused_hooks`.
        if self._steers:
            self._watch.measures.note(trainer, outputs)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._watch.note_epoch_end()
        report.publish(trainer, self._tagged(self.values))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._steps.settle(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._trainer is None:
            self._restore_values(trainer, pl_module)
        elif not trainer.sanity_checking:
            report.publish(trainer, self._tagged(self.values))
            if self._watching:
                self._watch.poll.note_validation()
        self._engine.enter_eval()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._engine.leave_eval()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_values(trainer, pl_module)
        self._engine.enter_eval()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._engine.leave_eval()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_values(trainer, pl_module)
        self._engine.enter_eval()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._engine.leave_eval()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # Nothing else is called after an exception: no on_validation_end, no teardown.
        self._let_go(alone=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._let_go()

    def state_dict(self) -> dict[str, Any]:
        if not self._has_state:
            return {}
        state = {**self._engine.state_dict(), "steps_done": self._steps.count(self._trainer)}
        return {**state, **self._watch.state(self._trainer)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._engine.load_state_dict(state_dict)
        self._steps.done = count("checkpoint.steps_done", state_dict.get("steps_done", state_dict["step"]), least=0)
        self._has_state = True
        self._watch.load(state_dict)
        if self._steps.counting:
            self._steps.step_back()  # a tuner has put back a state in the middle of a fit
        elif self._fits_next is not None:
            self._restore_batch_size(self._fits_next)

    # -- helpers --------------------------------------------------------------------------------------------------

    def _speaks_for_all(self, trainer: Trainer) -> bool:
        """Whether it is this callback that tells the loggers what they are told once."""
        return trainer.is_global_zero and bool(trainer.loggers) and _ours(trainer)[0] is self

    def _others(self, trainer: Trainer) -> dict[str, Engine]:
        """What the Trainer's other annealing callbacks drive."""
        return {callback.state_key: callback._engine for callback in _ours(trainer) if callback is not self}

    def _note_stop(self, trainer: Trainer, stopper: EarlyStopping, count: int) -> None:
        """Let every rule that watches a stopper know of a stop that was taken back."""
        for callback in _ours(trainer):
            callback._watch.poll.note_stop(stopper, count, callback._engine.reactions)

    def _note_aloud(self, change: Change) -> None:
        self._audit.add(change)
        say(change)

    def _plan_turns(self) -> None:
        """Find the step at which a controller or a phase has its turn next."""
        self._next_turn = min(self._engine.phasing.next_step, self._watch.measures.next_update)

    def _start_step(self, trainer: Trainer, *, moved: bool) -> None:
        """A batch at whose start something has its turn, or is to be looked at."""
        engine, done, due = self._engine, self._steps.done, self._watching and self._watch.poll.due
        # After a resume in the midst of a step, which has had its turn, it has moved and begins nothing.
        begins = moved and done > engine.step_in_force
        if moved:
            steers = done >= self._watch.measures.next_update
            if steers:
                self._watch.steer(trainer, done)
            # Before the values of this step, which are those of the next phase; a look may have its say first.
            if done >= engine.phasing.next_step and not due:
                self._turn_phase(trainer)
            engine.start_step(done)
            if steers:
                engine.apply_answers(done)
        if due:
            self._look_within_epoch(trainer, begins=begins)
        self._plan_turns()

    def _turn_phase(self, trainer: Trainer) -> None:
        """Within an epoch: let the running phase give way to the next, if it is over."""
        engine, step, epoch, before = self._engine, self._steps.done, trainer.current_epoch, self.values
        if engine.advance_phases(epoch, step, within=True):
            engine.enter_phase(epoch, step, within=True)
            report.log_values(trainer, {**self._phase_tagged(), **self._changed(before)}, report.batch_step(trainer))
            self._show(trainer)

    def _phase_tagged(self) -> dict[str, float]:
        return {self.tag("phase"): float(self._engine.phasing.index)} if self._engine.plan else {}

    def _changed(self, before: Mapping[str, Value]) -> dict[str, float]:
        """What has another value now, for the loggers."""
        return self._tagged({name: value for name, value in self.values.items() if value != before[name]})

    def _look_within_epoch(self, trainer: Trainer, *, begins: bool) -> None:
        # What was seen came before the step that begins here.
        self._watch.look(trainer, self._engine.step_in_force - begins, epoch_ended=False)
        self._turn_phase(trainer)
        before = self.values
        self._engine.apply_answers(self._steps.done)
        report.log_values(trainer, self._changed(before), report.batch_step(trainer))
        self._show(trainer)

    def _enter_epoch(self, trainer: Trainer, *, ended: bool) -> None:
        """Begin an epoch, perhaps in another phase; `ended` says whether the one before is still to be looked at."""
        if ended and self._watching:
            self._watch.look(trainer, self._engine.step_in_force, epoch_ended=True)
        step, engine = self._steps.count(trainer), self._engine
        turned = engine.advance_phases(trainer.current_epoch, step, within=False)
        self._plan_turns()
        self._begin_epoch(trainer, step, begins=True)
        if turned:
            engine.enter_phase(trainer.current_epoch, step, within=False)

    def _begin_epoch(self, trainer: Trainer, step: int, *, begins: bool) -> None:
        """Put in force what holds during an epoch."""
        factor = start_epoch(trainer, self._engine, step, begins=begins)
        if factor != 1:
            for callback in _ours(trainer):
                callback._watch.poll.note_scaling(trainer, callback._engine.reactions, factor)

    def _restore_batch_size(self, trainer: Trainer) -> None:
        """Put the batch size of the checkpoint in force before loaders are made and the run's length is asked for."""
        engine = self._engine
        if names := rules_of_batch_size(engine):
            engine.findings.find_targets(roots_of(trainer, trainer.lightning_module), names=names)
            engine.build(horizon_of(trainer))
            engine.write_batch_size(tell=False)

    def _log_step_if_due(self, trainer: Trainer) -> None:
        due = report.due_step(trainer)
        if due >= 0:
            self._at_due_step(trainer, due)
            self._show(trainer)
        # Lightning's x and the steps move together, but in manual optimization, where every batch has to be looked at.
        if self._steps.automatic:
            self._next_due = self._steps.done + report.steps_until_due(trainer)

    def _bind_again(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the targets once more: optimizers may have got other group dictionaries."""
        self._engine.findings.find_targets(roots_of(trainer, pl_module))
        self._engine.findings.find_starts(horizon_of(trainer))
        self._engine.build(horizon_of(trainer))
        self._engine.make_tensors(pl_module.device)
        self._watch.poll.bind(trainer, self._engine.findings.names)
        self._groups = _group_ids(trainer)

    def _restore_values(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Outside of a fit: put in force what was when the checkpoint was written, if there is one."""
        engine = self._engine
        # There are no optimizers outside of a fit, and nothing of theirs matters there.
        roots = roots_of(trainer, pl_module)
        there = ("model",) if roots.datamodule is None else ("model", "datamodule")
        names = [rule.name for rule in engine.rules if home_of(rule, parse_path(rule.name, rule.path)) in there]
        engine.findings.find_targets(roots, names=names)
        if self._has_state:
            engine.build(horizon_of(trainer))
            engine.make_tensors(pl_module.device)
            engine.go_to(engine.epoch, engine.step_in_force, tell=False)

    def _find_new_groups(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Parameter groups that were added meanwhile get their values, too."""
        if self._groups != _group_ids(trainer):
            self._bind_again(trainer, pl_module)
            self._engine.go_to(self._engine.epoch, self._engine.step_in_force)

    def _show(self, trainer: Trainer) -> None:
        if self._engine.plan:
            report.show(trainer, {"phase": self._engine.phasing.running.name})
        if self._prog_bar:
            report.show(trainer, self._engine.values_of(self._prog_bar))

    def _let_go(self, *, alone: bool = False) -> None:
        if self._trainer is not None:
            self._steps.settle(self._trainer)
        self._stops.release()
        self._recompiles.end()
        if self._trainer is not None and self._watching:
            # Computing a metric may take all processes, and an exception may be one process's own.
            self._watch.release(None if alone and self._trainer.world_size > 1 else self._trainer)
        self._audit.close()
        self._engine.release()
        if self._fit_state is not None:
            self.load_state_dict(self._fit_state)
            self._fit_state = None
        # Lightning has put the module's methods here, and with them the module.
        for name in ("log", "log_dict"):
            vars(self).pop(name, None)
        self._trainer = self._fits_next = None
        self._groups = []


def _ours(trainer: Trainer) -> list[RuleCallback]:
    """The annealing callbacks of a Trainer."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[union-attr]
    return [callback for callback in callbacks if isinstance(callback, RuleCallback)]


def _group_ids(trainer: Trainer) -> list[int]:
    return [id(group) for optimizer in trainer.optimizers for group in optimizer.param_groups]


def _names(where: str, given: Sequence[str], known: list[str]) -> frozenset[str]:
    if not isinstance(given, str | Iterable):
        raise AnnealError(where, f"must be a list of names, got {quote(given)}")
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in known:
            raise AnnealError(where, f"unknown parameter {quote(name)}{suggestion(name, known)}")
    return frozenset(names)
