"""LR schedulers that are this package's schedules: closed forms of the step count, so that a resume is exact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_anneal.checks import not_negative, positive
from lightning_anneal.clock import Lengths
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.schedules import Cosine, Linear, Sequence


class ScheduleLR(LRScheduler):
    """Each group's base learning rate times a schedule: ``lr = base_lr * schedule(t)``, t being the calls of `step`.

    Args:
        optimizer: The optimizer.
        schedule: Any schedule of this package, or any callable of ``t``.
        last_epoch: Steps done, less one; -1 to begin.

    Raises:
        AnnealError: If the schedule can't be called.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        >>> scheduler, rates = ScheduleLR(optimizer, Linear(1.0, 0.0, 4)), []
        >>> for _ in range(6):
        ...     rates.append(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        ...     scheduler.step()
        >>> rates
        [0.5, 0.375, 0.25, 0.125, 0.0, 0.0]
    """

    def __init__(self, optimizer: Optimizer, schedule: Callable[[float], float], last_epoch: int = -1) -> None:
        if not callable(schedule):
            raise AnnealError("schedule", f"must be a schedule or a callable of t, got {quote(schedule)}")
        self.schedule = schedule
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group now."""
        return [base * self.schedule(self.last_epoch) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """All but the schedule, which is the config's business and no plain value."""
        return {key: value for key, value in super().state_dict().items() if key != "schedule"}


class PlannedLR(ScheduleLR):
    """A schedule that is made once the run's length is known, and made again just so when a run is resumed.

    Args:
        optimizer: The optimizer.
        plan: Makes the schedule; every length it needs goes through the `Lengths`, which keep it.
        lengths: The lengths, in steps or epochs.
        every: How many steps or epochs pass from one call of `step` to the next.
        name: What the user calls it, for errors.

    Raises:
        AnnealError: For a length that can't be known, or a value out of range.

    Example:
        >>> import torch
        >>> from lightning_anneal.clock import Horizon, Lengths
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
        >>> lengths = Lengths("scheduler_kwargs", "step", Horizon(max_steps=10))
        >>> scheduler = PlannedLR(optimizer, lambda lengths: Linear(1.0, 0.0, lengths.run("duration")), lengths)
        >>> scheduler.state_dict()["lengths"]
        {'duration=100%': 10.0}
    """

    def __init__(
        self,
        optimizer: Optimizer,
        plan: Callable[[Lengths], Callable[[float], float]],
        lengths: Lengths,
        every: int = 1,
        name: str | None = None,
    ) -> None:
        self.shown_as = name or type(self).__name__
        self.plan = plan
        self.lengths = lengths
        self.every = every
        super().__init__(optimizer, plan(lengths))

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group now."""
        return [base * self.schedule(self.last_epoch * self.every) for base in self.base_lrs]

    def state_dict(self) -> dict[str, Any]:
        """All but what the config says; the lengths as they were found."""
        state = super().state_dict()
        del state["plan"], state["every"], state["shown_as"]
        return {**state, "lengths": dict(self.lengths.found), "whole": self.lengths.whole}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the lengths that the run began with."""
        state = dict(state_dict)
        found, whole = state.pop("lengths", {}), state.pop("whole", None)
        super().load_state_dict(state)
        self.lengths = replace(self.lengths, found=dict(found), asked={}, whole=whole)
        self.schedule = self.plan(self.lengths)


class LinearWarmupCosineAnnealingLR(LRScheduler):
    """Linear warm-up to each group's base learning rate, then a half cosine to `eta_min`, which holds.

    ``warmup_start_lr + (base_lr - warmup_start_lr) * t / warmup_epochs`` up to `warmup_epochs`, where the base rate
    holds once, then ``eta_min + (base_lr - eta_min) * (1 + cos(pi * (t - warmup) / (max - warmup))) / 2``. The cosine
    is that of Loshchilov & Hutter, SGDR, ICLR 2017.

    Args:
        optimizer: The optimizer.
        warmup_epochs: Length of the warm-up, in calls of `step`; 0 begins at the base rate.
        max_epochs: From here on `eta_min` holds.
        warmup_start_lr: Where the warm-up begins.
        eta_min: Where the cosine ends.
        last_epoch: Steps done, less one; -1 to begin.

    Raises:
        AnnealError: For a negative length or rate, or a warm-up that is not shorter than the whole.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> scheduler, rates = LinearWarmupCosineAnnealingLR(optimizer, warmup_epochs=2, max_epochs=4), []
        >>> for _ in range(6):
        ...     rates.append(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        ...     scheduler.step()
        >>> [round(rate, 12) for rate in rates]
        [0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    """

    def __init__(
        self,
        optimizer: Optimizer,
        warmup_epochs: float,
        max_epochs: float,
        warmup_start_lr: float = 0.0,
        eta_min: float = 0.0,
        last_epoch: int = -1,
    ) -> None:
        self.warmup_epochs = not_negative("warmup_epochs", warmup_epochs)
        self.max_epochs = positive("max_epochs", max_epochs)
        self.warmup_start_lr = not_negative("warmup_start_lr", warmup_start_lr)
        self.eta_min = not_negative("eta_min", eta_min)
        if self.warmup_epochs >= self.max_epochs:
            what = f"must be below max_epochs ({self.max_epochs:g}), got {self.warmup_epochs:g}"
            raise AnnealError("warmup_epochs", what)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group now."""
        return [self._curve(float(base))(self.last_epoch) for base in self.base_lrs]

    def _curve(self, base: float) -> Callable[[float], float]:
        # Made anew each time: kept, it would stand in the checkpoint, which holds plain values only.
        cosine = Cosine(base, self.eta_min, self.max_epochs - self.warmup_epochs)
        if self.warmup_epochs == 0:
            return cosine
        warmup = Linear(self.warmup_start_lr, base, self.warmup_epochs)
        return Sequence([(warmup, self.warmup_epochs), (cosine, self.max_epochs - self.warmup_epochs)])
