"""OptimizerWatchCallback: what the optimizers do, said; schedulers stepped where Lightning steps none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import LearningRateMonitor as LightningsMonitor
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_anneal.callbacks.pruning import prune_unused_hooks
from lightning_anneal.checks import flag
from lightning_anneal.errors import AnnealError, nearest, quote
from lightning_anneal.lightnings import (
    Callback,
    LearningRateMonitor,
    LightningModule,
    LRSchedulerConfig,
    Trainer,
    overrides,
)
from lightning_anneal.optim.advice import advise
from lightning_anneal.optim.gate import GatedLR
from lightning_anneal.optim.lengths import Timing
from lightning_anneal.optim.scheduler_configs import MONITORS
from lightning_anneal.optim.schedules import ScheduleLR
from lightning_anneal.run_length import horizon_of
from lightning_anneal.schedules import Constant


class OptimizerWatchCallback(Callback):
    """Watches optimizers and LR schedulers, however they were configured.

    - Logs the learning rate, momentum and weight decay of every group, by Lightning's LearningRateMonitor and under its
      tags (``lr-AdamW/decoder``, ``lr-AdamW/decoder-weight_decay``), unless there is a monitor already.
    - Warns at the start of lengths that can't be meant: a warm-up longer than the run, a OneCycleLR that ends early or
      late, a least learning rate above the first one; and at the end if a learning rate never changed.
    - Stops with one line when the loss is NaN. On an accelerator, and with several processes, it looks every
      ``log_every_n_steps``, so that no step has to wait.
    - Says in one line which metrics are logged if the ``monitor`` of a ReduceLROnPlateau is not.

    Args:
        log: Whether to log.
        stop_on_nan: Whether a NaN loss ends the run.
        step_schedulers: Whether to step LR schedulers in manual optimization, where Lightning doesn't: those by step
            after each batch in which their optimizer has stepped, those by epoch at the end of an epoch.

    Raises:
        AnnealError: For an argument that is no boolean; in a fit, for a NaN loss or a metric that isn't logged.

    Example:
        >>> callback = OptimizerWatchCallback(stop_on_nan=False)
        >>> OptimizerWatchCallback(step_schedulers="yes")
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: step_schedulers: must be true or false, got 'yes'
    """

    def __init__(self, *, log: bool = True, stop_on_nan: bool = True, step_schedulers: bool = False) -> None:
        self._log = flag("log", log)
        self._stop_on_nan = flag("stop_on_nan", stop_on_nan)
        self._step_schedulers = flag("step_schedulers", step_schedulers)
        self._forget()
        prune_unused_hooks(self)

    def _forget(self) -> None:
        self._monitor: Any = None  # does for either Trainer, and its types say one
        self._still: list[tuple[LRSchedulerConfig, list[float]]] = []
        self._nan: Tensor | None = None
        self._stepped: dict[Optimizer, int] = {}
        self._seen: dict[Optimizer, int] = {}
        self._hooks: list[Any] = []
        self._first_step = 0
        self._waits = False
        self._groups: list[dict[str, Any]] = []
        self._rates: list[Any] = []

    # -- hooks ----------------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._release()
        self._forget()
        self._first_step = trainer.global_step
        # To look at a loss makes a step wait for an accelerator, or for other processes.
        self._waits = trainer.world_size > 1 or trainer.strategy.root_device.type != "cpu"
        self._groups = [group for optimizer in trainer.optimizers for group in optimizer.param_groups]
        if self._log and trainer.loggers and not _monitored(trainer):
            self._monitor = _Monitor()
            self._monitor.on_train_start(trainer)
            # Only now: it would warn of an optimizer that has none.
            self._monitor.log_momentum = self._monitor.log_weight_decay = True
        for config in trainer.lr_scheduler_configs:
            # Once more, because a checkpoint brings the lengths it was written with.
            if not trainer.fast_dev_run:  # type: ignore[union-attr]
                advise(config.scheduler, Timing(config.interval, config.frequency, horizon_of(trainer)))  # type: ignore[arg-type]
            # A run that goes on may have its changes behind it.
            if self._first_step == 0 and not _may_stand_still(config.scheduler):
                self._still.append((config, _rates(config)))
        if self._step_schedulers and not pl_module.automatic_optimization:
            self._count_steps(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._monitor is not None:
            self._monitor.on_train_epoch_start(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._monitor is not None:
            self._monitor.on_train_batch_start(trainer)
        # By the time a loss is looked at, a scheduler may have gone on.
        self._rates = [group["lr"] for group in self._groups]
        if self._still:
            self._still = [(config, rates) for config, rates in self._still if _rates(config) == rates]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._hooks:
            self._step_by_step(trainer, pl_module, batch_idx)
        if self._stop_on_nan:
            self._look_for_nan(trainer, outputs, batch_idx)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._stop_on_nan and self._waits:
            self._stop_if_nan(trainer, trainer.fit_loop.epoch_loop.batch_idx)
        if pl_module.automatic_optimization:
            # What the module logs in its own hook is not there yet; Lightning itself says so if it never comes.
            if not overrides("on_train_epoch_end", pl_module):
                _check_monitors(trainer)
        elif self._hooks:
            self._step_by_epoch(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        steps = trainer.global_step - self._first_step
        if steps > 1 and not trainer.fast_dev_run:  # type: ignore[union-attr]
            for config, rates in self._still:
                kind = getattr(config.scheduler, "shown_as", type(config.scheduler).__name__)
                shown = ", ".join(f"{rate:g}" for rate in rates)
                cause = _cause(trainer, config, stepped=pl_module.automatic_optimization or self._step_schedulers)
                rank_zero_warn(f"the learning rate ({shown}) never changed in this fit, in spite of {kind}: {cause}")
        self._release()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._release()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._release()
        self._forget()

    # -- a NaN loss -----------------------------------------------------------------------------------------------

    def _look_for_nan(self, trainer: Trainer, outputs: Any, batch_idx: int) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if isinstance(loss, Tensor):
            if not self._waits:
                if math.isnan(loss.item()):
                    raise self._nan_error(trainer, batch_idx)
                return
            found = torch.isnan(loss.detach()).any()
            self._nan = found if self._nan is None else self._nan | found
        every: int = trainer.log_every_n_steps  # type: ignore[union-attr]
        if self._waits and every > 0 and (batch_idx + 1) % every == 0:
            self._stop_if_nan(trainer, batch_idx)

    def _stop_if_nan(self, trainer: Trainer, batch_idx: int) -> None:
        found = self._nan is not None and bool(self._nan)
        self._nan = None
        # All ranks stop together: one that went on alone would wait for the others.
        if trainer.strategy.reduce_boolean_decision(found, all=False):
            raise self._nan_error(trainer, batch_idx)

    def _nan_error(self, trainer: Trainer, batch_idx: int) -> AnnealError:
        shown = ", ".join(f"{rate:g}" for rate in sorted({float(rate) for rate in self._rates}, reverse=True))
        where = f"epoch {trainer.current_epoch}, batch {batch_idx}"
        tips = "try a tenth of it, a warm-up, gradient_clip_val: 1.0, or full precision"
        return AnnealError("loss", f"NaN in {where}, with a learning rate of {shown}; {tips}")

    # -- manual optimization --------------------------------------------------------------------------------------

    def _count_steps(self, trainer: Trainer) -> None:
        """Count each optimizer's steps: ``global_step`` is the sum of all."""
        for optimizer in trainer.optimizers:
            self._stepped[optimizer] = self._seen[optimizer] = 0
            self._hooks.append(optimizer.register_step_post_hook(self._note_step))

    def _note_step(self, optimizer: Optimizer, *_: Any) -> None:
        self._stepped[optimizer] += 1

    def _step_by_step(self, trainer: Trainer, module: LightningModule, batch_idx: int) -> None:
        for config in trainer.lr_scheduler_configs:
            optimizer = config.scheduler.optimizer
            moved = self._stepped[optimizer] != self._seen[optimizer]
            due = config.interval == "step" and (batch_idx + 1) % config.frequency == 0
            if moved and due and not _after_validation(trainer, config):
                _step(trainer, module, config)
        self._seen = dict(self._stepped)

    def _step_by_epoch(self, trainer: Trainer, module: LightningModule) -> None:
        for config in trainer.lr_scheduler_configs:
            due = config.interval == "epoch" and (trainer.current_epoch + 1) % config.frequency == 0
            if due or _after_validation(trainer, config):
                _step(trainer, module, config)

    def _release(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = []


def _step(trainer: Trainer, module: LightningModule, config: LRSchedulerConfig) -> None:
    metric = None
    if isinstance(config.scheduler, ReduceLROnPlateau):
        monitor = MONITORS.get(config.scheduler, config.monitor or "val_loss")
        if monitor not in trainer.callback_metrics:
            raise _not_logged(trainer, monitor)
        metric = trainer.callback_metrics[monitor]
    module.lr_scheduler_step(config.scheduler, metric)


def _after_validation(trainer: Trainer, config: LRSchedulerConfig) -> bool:
    """Whether it is by step, but once an epoch, and waits for the metric of the validation behind the last step."""
    once = config.interval == "step" and config.frequency == trainer.num_training_batches
    return once and isinstance(config.scheduler, ReduceLROnPlateau)


def _monitored(trainer: Trainer) -> bool:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[union-attr]
    return any(isinstance(callback, LearningRateMonitor) for callback in callbacks)


class _Monitor(LightningsMonitor):
    """Lightning's, which stumbles over a group without weight decay; there is no public way around that."""

    def _extract_momentum(self, param_group: Any, name: str, use_betas: bool) -> dict[str, float]:
        has = use_betas or "momentum" in param_group
        return super()._extract_momentum(param_group, name, use_betas) if has else {}

    def _extract_weight_decay(self, param_group: dict[str, Any], name: str) -> dict[str, Any]:
        return super()._extract_weight_decay(param_group, name) if "weight_decay" in param_group else {}


def _rates(config: LRSchedulerConfig) -> list[float]:
    return [float(group["lr"]) for group in config.scheduler.optimizer.param_groups]


def _may_stand_still(scheduler: Any) -> bool:
    """Whether a learning rate that never changes is what this scheduler is for, or its good right."""
    if isinstance(scheduler, GatedLR):
        return _may_stand_still(scheduler.inner)
    if isinstance(scheduler, ScheduleLR):
        return isinstance(scheduler.schedule, Constant)
    return isinstance(scheduler, ReduceLROnPlateau)


def _cause(trainer: Trainer, config: LRSchedulerConfig, *, stepped: bool) -> str:
    """Why a scheduler probably did nothing."""
    batches, epochs = trainer.num_training_batches, trainer.current_epoch
    if not stepped:
        return "Lightning steps none in manual optimization; OptimizerWatchCallback(step_schedulers=True) does"
    if config.interval == "step" and config.frequency > 1:
        what = f"frequency {config.frequency} counts batches within an epoch, which has {batches:g}"
        return f"{what}; configure_optimizers counts across epochs"
    if config.interval == "epoch" and epochs <= config.frequency:
        every = "every epoch" if config.frequency == 1 else f"every {config.frequency} epochs"
        return f"it is stepped {every} and the run had {epochs}; take interval: step"
    return f"it is stepped by {config.interval}; see whether its lengths go with the run"


def _check_monitors(trainer: Trainer) -> None:
    for config in trainer.lr_scheduler_configs:
        due = config.interval == "epoch" and (trainer.current_epoch + 1) % config.frequency == 0
        if config.reduce_on_plateau and config.strict and due and config.monitor not in trainer.callback_metrics:
            raise _not_logged(trainer, config.monitor)


def _not_logged(trainer: Trainer, monitor: str | None) -> AnnealError:
    # What LearningRateMonitor puts there is nobody's metric, and would crowd out the others.
    logged = sorted(name for name in trainer.callback_metrics if not name.startswith("lr-"))
    near = nearest(monitor, logged)
    near = f"{near} Logged:" if near else "; logged:"
    what = f"{quote(monitor)} is not logged{near} {', '.join(logged) or 'nothing'}"
    return AnnealError("scheduler_configs.monitor", what)
