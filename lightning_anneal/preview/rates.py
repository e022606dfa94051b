"""The learning rate of a config's ``optim``, stepped as in a run: with torch's own schedulers, and no model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from lightning_anneal.clock import Horizon
from lightning_anneal.optim.gate import GatedLR
from lightning_anneal.optim.lengths import Timing
from lightning_anneal.optim.optimizers import build_optimizer
from lightning_anneal.optim.registry import checked_mapping
from lightning_anneal.optim.scheduler_configs import read_scheduler_config
from lightning_anneal.optim.schedulers import build, build_with_plateau
from lightning_anneal.optim.schedules import PlannedLR
from lightning_anneal.optim.specs import read_spec
from lightning_anneal.schedules import WarmRestart


class Rates:
    """An optimizer over one parameter, and its LR scheduler.

    Args:
        settings: The keys of `configure_optimizers`; groups are left out.
        learning_rate: Where they have none, the module's.
        horizon: The planned run.

    Raises:
        AnnealError: For a mistake in them.

    Example:
        >>> rates = Rates({"optimizer": "SGD", "scheduler": "StepLR", "scheduler_kwargs": {"step_size": 2}}, 0.1)
        >>> for _ in range(4):
        ...     rates.train_epoch(8)
        ...     rates.end_epoch({})
        >>> [round(rate, 4) for rate in rates.values]
        [0.1, 0.1, 0.01, 0.01]
    """

    def __init__(
        self, settings: Mapping[str, Any], learning_rate: float | None = None, horizon: Horizon | None = None
    ) -> None:
        given = settings.get("learning_rate")
        self.optimizer = build_optimizer(
            [torch.nn.Parameter(torch.zeros(1))],
            settings.get("optimizer") or "Adam",
            learning_rate=learning_rate if given is None else given,
            optimizer_kwargs=settings.get("optimizer_kwargs"),
        )
        self.config = read_scheduler_config({})
        self.timing = Timing()
        self.scheduler: Any = None
        self.plateau: Any = None
        self.values: list[float] = []
        self._epoch = 0
        name = settings.get("scheduler")
        if name is None or str(name).lower() in ("none", "null"):
            return
        configs = checked_mapping("scheduler_configs", settings.get("scheduler_configs"))
        self.config = read_scheduler_config(configs)
        spec = read_spec("scheduler", name, "scheduler_kwargs", settings.get("scheduler_kwargs"))
        interval = self.config.interval or spec.natural_interval
        frequency = self.config.frequency or 1
        self.timing = Timing(interval, 1 if spec.warms_up_to_plateau else frequency, horizon or Horizon())
        if spec.warms_up_to_plateau:
            self.scheduler, self.plateau = build_with_plateau(self.optimizer, spec, self.timing)
        elif spec.is_plateau:
            self.plateau = build(self.optimizer, spec, self.timing)
        else:
            self.scheduler = build(self.optimizer, spec, self.timing)
            if interval == "step" and frequency > 1:
                self.scheduler = GatedLR(self.scheduler, frequency)

    @property
    def by_step(self) -> bool:
        """Whether the rate moves within an epoch."""
        return self.scheduler is not None and self.timing.interval == "step"

    @property
    def monitor(self) -> str | None:
        """The metric that its ReduceLROnPlateau watches, if it has one."""
        return None if self.plateau is None else self.config.monitor or "val_loss"

    @property
    def now(self) -> float:
        """The rate in force."""
        return float(self.optimizer.param_groups[0]["lr"])

    def restarts(self) -> Iterator[float]:
        """When the scheduler begins again, in epochs or steps; without end, if it goes on for ever."""
        scheduler = getattr(self.scheduler, "inner", self.scheduler)
        if isinstance(scheduler, CosineAnnealingWarmRestarts):
            last, stretch = 0, scheduler.T_0
            while True:
                last += stretch
                stretch *= scheduler.T_mult
                yield float(last * self.timing.every)
        if isinstance(scheduler, PlannedLR) and isinstance(scheduler.schedule, WarmRestart):
            at = scheduler.schedule.next_event(0)
            while True:
                yield at
                at = scheduler.schedule.next_event(at)

    def train_epoch(self, steps: int) -> None:
        """So many optimizer steps, or an epoch's one value where the rate doesn't move within it."""
        if not self.by_step:
            self.values.append(self.now)
            return
        for _ in range(steps):
            self.values.append(self.now)
            self.optimizer.step()
            self.scheduler.step()

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """What is stepped at the end of an epoch.

        Args:
            metrics: Those of the epoch.
        """
        self._epoch += 1
        if self.scheduler is not None and not self.by_step and self._epoch % self.timing.every == 0:
            self.optimizer.step()
            self.scheduler.step()
        frequency = self.config.frequency or 1 if self.config.interval != "step" else 1
        if self.monitor is not None and self.monitor in metrics and self._epoch % frequency == 0:
            self.plateau.step(metrics[self.monitor])
