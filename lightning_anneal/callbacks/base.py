"""RuleCallback: drives rules from Lightning's hooks. What it says of them is up to its two subclasses.

When what happens, and why there:

====================  ==============================================================================================
``on_fit_start``      targets, start values and lengths are found; ranks agree; the values are there for sanity check
``on_train_start``    the first moment when a checkpoint is restored in full: found again (a restored optimizer has
                      new group dictionaries), values applied. A mid-epoch resume skips ``on_train_epoch_start``.
``on_train_epoch_start``, ``on_train_batch_start``
                      values applied. In start-hooks the place in the list of callbacks makes no difference.
``on_validation_start`` ... ``_end``
                      ``eval_value`` in force
====================  ==============================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.utilities import rank_zero_warn

from lightning_anneal import report
from lightning_anneal.callbacks.pruning import prune_unused_hooks
from lightning_anneal.callbacks.run import horizon_of, roots_of
from lightning_anneal.changes import Change, say
from lightning_anneal.checks import number
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.manager import AnnealingManager
from lightning_anneal.rules import Rule
from lightning_anneal.sync import agree


class RuleCallback(Callback):
    """Drives rules from Lightning's hooks.

    Args:
        rules: The rules.
        name: Tells two callbacks of one class apart, in checkpoints and errors.
        prog_bar: Parameters that stand in the progress bar.
    """

    prune_hooks = True
    """Whether unused per-batch hooks are taken out of Lightning's way; set it to False on a subclass to keep them."""

    def __init__(self, rules: Iterable[Rule], name: str | None, prog_bar: Sequence[str]) -> None:
        self._manager = AnnealingManager.of_rules(rules)
        if name is not None and (not isinstance(name, str) or not name):
            raise AnnealError("name", f"must be a string, got {quote(name)}")
        # Lightning asks for the key at every hook: it is made once.
        self._state_key = type(self).__qualname__ + ("" if name is None else f"[name={name}]")
        self._prog_bar = _names("prog_bar", prog_bar, [rule.name for rule in self._manager.rules])
        self._forget()
        if self.prune_hooks:
            prune_unused_hooks(self)

    def _forget(self) -> None:
        self._manager.forget()
        self._trainer: Trainer | None = None
        self._steps_done = 0
        self._counting = False
        self._automatic = True
        self._mark = -1
        self._before = 0
        self._fit_state: dict[str, Any] | None = None
        self._next_due = math.inf
        self._has_state = False
        self._groups: list[int] = []
        self._step_names: frozenset[str] = frozenset()

    # -- what a user reads ----------------------------------------------------------------------------------------

    @property
    def state_key(self) -> str:
        """The callback's key in a checkpoint."""
        return self._state_key

    @property
    def values(self) -> dict[str, float]:
        """The values now in force, by parameter; after a fit, the last ones."""
        return self._manager.values

    # -- what a subclass says -------------------------------------------------------------------------------------

    def _tag(self, name: str) -> str:
        """The tag that a parameter is logged under."""
        raise NotImplementedError

    def _at_epoch_start(self, trainer: Trainer, step: int) -> None:
        """Log what belongs to an epoch, at the x of its first step."""
        by_epoch = {k: v for k, v in self.values.items() if k not in self._step_names}
        report.log_values(trainer, self._tagged(by_epoch), step)

    def _at_due_step(self, trainer: Trainer, step: int) -> None:
        """Log what belongs to a step, every ``log_every_n_steps``."""
        by_step = {k: v for k, v in self.values.items() if k in self._step_names}
        report.log_values(trainer, self._tagged(by_step), step)

    def _tagged(self, values: dict[str, float]) -> dict[str, float]:
        return {self._tag(name): value for name, value in values.items()}

    # -- hooks ----------------------------------------------------------------------------------------------------

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # A run that has not begun: whatever this callback did in another Trainer is over. A state that is to be
        # resumed is loaded later than this.
        if trainer.global_step == 0 and trainer.current_epoch == 0:
            self._forget()
        self._manager.on_change = say if trainer.is_global_zero else _silent
        if stage != "fit":
            # An evaluation may load another checkpoint; a fit that comes after it goes on where the last one stood.
            self._fit_state = self.state_dict() or None
        # LearningRateMonitor logs in start-hooks, too, and in front of this callback it would log the value of the
        # step before: it is put behind. A new list, because Lightning is walking through the old one.
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        early = [c for c in callbacks[: callbacks.index(self)] if isinstance(c, LearningRateMonitor)]
        if early:
            rest = [c for c in callbacks if c not in early]
            behind = rest.index(self) + 1
            trainer.callbacks = [*rest[:behind], *early, *rest[behind:]]  # type: ignore[attr-defined]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trainer = trainer
        manager, horizon, roots = self._manager, horizon_of(trainer), roots_of(trainer, pl_module)

        def decide() -> Any:
            manager.find_targets(roots)
            self._try_the_others(trainer, pl_module)
            return manager.find_starts(horizon)

        manager.found = agree(trainer.strategy, decide)
        manager.build(horizon)
        for name in manager.shadowed:
            rank_zero_warn(f"{name}: the module and its hparams both have it; the module's is annealed, "
                           f"write hparams.{name} for the other")  # fmt: skip
        self._step_names = frozenset(manager.names("step"))
        manager.make_tensors(pl_module.device)
        manager.go_to(manager.epoch, manager.step_in_force)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bind_again(trainer, pl_module)
        if trainer.global_step == 0:
            self._steps_done = 0  # BatchSizeFinder has trained a few steps and put everything else back
        elif not self._has_state:
            # Resumed from a checkpoint that knows nothing of this callback.
            self._steps_done = trainer.global_step // max(1, len(trainer.optimizers))
        self._manager.go_to(trainer.current_epoch, self._steps_done)
        self._next_due = self._steps_done if self._step_names else math.inf
        self._counting, self._automatic = True, pl_module.automatic_optimization
        self._before = trainer.global_step - self._steps_done
        self._step_back()
        if not self._has_state and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._manager.warn_if_cut_short(horizon_of(trainer))
        self._has_state = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._groups != _group_ids(trainer):
            self._bind_again(trainer, pl_module)
            self._manager.go_to_step(self._manager.step_in_force)
        self._manager.start_epoch(trainer.current_epoch)
        self._at_epoch_start(trainer, report.batch_step(trainer))
        self._show(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        # Counted here and not in on_train_batch_end, because a second hook costs more than all the rest. A step is
        # a batch after which global_step has moved: right under accumulation and with several optimizers. In automatic
        # optimization the x of the logs moves with it, and takes an eighth of the time to read.
        mark = report.batch_step(trainer) if self._automatic else trainer.global_step
        moved = mark != self._mark
        if moved:
            self._mark = mark
            self._steps_done = done = self._steps_done + 1
            self._manager.start_step(done)
        if self._steps_done >= self._next_due and (moved or not self._automatic):
            self._log_step_if_due(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        report.publish(trainer, self._tagged(self.values))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._settle_count(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._trainer is None:
            self._restore_values(trainer, pl_module)
        elif not trainer.sanity_checking:
            report.publish(trainer, self._tagged(self.values))
        self._manager.enter_eval()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._manager.leave_eval()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_values(trainer, pl_module)
        self._manager.enter_eval()

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._manager.leave_eval()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._restore_values(trainer, pl_module)
        self._manager.enter_eval()

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._manager.leave_eval()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        # Nothing else is called after an exception: no on_validation_end, no teardown.
        self._let_go()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._let_go()

    def state_dict(self) -> dict[str, Any]:
        if not self._has_state:
            return {}
        done = self._steps_done if self._trainer is None else self._count(self._trainer)
        return {**self._manager.state_dict(), "steps_done": done}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._manager.load_state_dict(state_dict)
        self._steps_done = int(number("checkpoint.steps_done", state_dict.get("steps_done", state_dict["step"])))
        self._has_state = True
        if self._counting:
            self._step_back()  # a tuner has put back a state in the middle of a fit

    # -- helpers --------------------------------------------------------------------------------------------------

    def _count(self, trainer: Trainer) -> int:
        """Optimizer steps done, with the one that the next batch would have counted."""
        if not self._counting:
            return self._steps_done
        if self._automatic:
            return trainer.global_step - self._before
        return self._steps_done + (trainer.global_step != self._mark)

    def _step_back(self) -> None:
        """One step back, and a mark that no run has: the next batch counts itself."""
        self._steps_done -= 1
        self._mark = -1

    def _settle_count(self, trainer: Trainer) -> None:
        self._steps_done = self._count(trainer)
        self._counting = False

    def _log_step_if_due(self, trainer: Trainer, pl_module: LightningModule) -> None:
        due = report.due_step(trainer)
        if due >= 0:
            self._at_due_step(trainer, due)
            self._show(trainer)
        # Lightning's x and the steps move together, but in manual optimization, where every batch has to be looked at.
        if self._automatic:
            self._next_due = self._steps_done + report.steps_until_due(trainer)

    def _bind_again(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the targets once more: optimizers may have got other group dictionaries."""
        self._manager.find_targets(roots_of(trainer, pl_module))
        self._manager.find_starts(horizon_of(trainer))
        self._manager.build(horizon_of(trainer))
        self._groups = _group_ids(trainer)

    def _restore_values(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Outside of a fit: put in force what was when the checkpoint was written, if there is one."""
        manager = self._manager
        # There are no optimizers outside of a fit, and nothing of theirs matters there.
        roots = roots_of(trainer, pl_module)
        manager.find_targets(roots, homes=("model",) if roots.datamodule is None else ("model", "datamodule"))
        if self._has_state:
            manager.build(horizon_of(trainer))
            manager.make_tensors(pl_module.device)
            manager.go_to(manager.epoch, manager.step_in_force)

    def _try_the_others(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find what is wrong with the Trainer's other annealing callbacks before this one writes anything."""
        own = {target.slot.identity: target.name for target in self._manager.targets}
        for other in trainer.callbacks:  # type: ignore[attr-defined]
            if not isinstance(other, RuleCallback) or other is self:
                continue
            trial = AnnealingManager.of_rules(other._manager.rules)
            trial.found = dict(other._manager.found)
            trial.find_targets(roots_of(trainer, pl_module))
            for target in trial.targets:
                if target.slot.identity in own:
                    name = own[target.slot.identity]
                    raise AnnealError(name, f"{other.state_key} anneals it too; keep one of them")
            trial.find_starts(horizon_of(trainer))
            trial.build(horizon_of(trainer))

    def _show(self, trainer: Trainer) -> None:
        if self._prog_bar:
            report.show(trainer, self._manager.values_of(self._prog_bar))

    def _let_go(self) -> None:
        if self._trainer is not None:
            self._settle_count(self._trainer)
        self._manager.release()
        if self._fit_state is not None:
            self.load_state_dict(self._fit_state)
            self._fit_state = None
        self._trainer = None
        self._groups = []


def _silent(change: Change) -> None:
    """Ranks other than 0 say nothing."""


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
