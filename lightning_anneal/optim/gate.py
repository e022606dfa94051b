"""LR schedulers that are stepped, or write, only some of the time."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau


class GatedLR(LRScheduler):
    """Steps another LR scheduler at every n-th of its own steps, and no more once its time is over.

    Lightning's own ``frequency`` counts the batches of an epoch: 10 with 8 batches never steps, nor does 3 where
    gradients accumulate over 4. This counts what it is called for, across epochs and through a checkpoint.

    Args:
        inner: The scheduler.
        every: It is stepped at every n-th call.
        until: Calls after which it is left alone.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        >>> inner = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        >>> scheduler, rates = GatedLR(inner, every=2, until=4), []
        >>> for _ in range(8):
        ...     rates.append(optimizer.param_groups[0]["lr"])
        ...     optimizer.step()
        ...     scheduler.step()
        >>> rates
        [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]
    """

    # Nothing of the base class's __init__: it would step, and the inner scheduler has begun already.
    def __init__(self, inner: LRScheduler, every: int = 1, until: int | None = None) -> None:
        self.inner = inner
        self.every = every
        self.until = until
        self.calls = 0

    @property
    def optimizer(self) -> Optimizer:  # type: ignore[override]
        """The inner scheduler's."""
        return self.inner.optimizer

    @property
    def shown_as(self) -> str:
        """What the user calls it, for errors."""
        return str(getattr(self.inner, "shown_as", type(self.inner).__name__))

    @property
    def past(self) -> bool:
        """Whether something has been trained since its time was over."""
        return self.until is not None and self.calls > self.until

    def step(self, epoch: int | None = None) -> None:
        """One more call."""
        self.calls += 1
        if self.calls % self.every == 0 and (self.until is None or self.calls <= self.until):
            self.inner.step()

    def get_last_lr(self) -> list[float | Tensor]:
        """The rate of each group now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float | Tensor]:
        """The rate of each group now."""
        return self.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The calls, and the inner scheduler's state."""
        return {"calls": self.calls, "until": self.until, "inner": self.inner.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a state was taken."""
        self.calls, self.until = state_dict["calls"], state_dict["until"]
        self.inner.load_state_dict(state_dict["inner"])


class PlateauAfterWarmup(ReduceLROnPlateau):
    """ReduceLROnPlateau that looks at nothing before a warm-up is over, and something was trained since.

    torch's SequentialLR takes no ReduceLROnPlateau; here the two are schedulers beside each other, one for every step
    (or epoch) and one for every validation.

    Args:
        warmup: The warm-up; it has to have an end.
        kwargs: What ReduceLROnPlateau takes.
    """

    def __init__(self, warmup: GatedLR, **kwargs: Any) -> None:
        self.warmup = warmup
        super().__init__(warmup.optimizer, **kwargs)

    def step(self, metrics: Any, epoch: int | None = None) -> None:  # type: ignore[override]
        """Look at the metric, if it is time."""
        if self.warmup.past:
            super().step(metrics)

    def state_dict(self) -> dict[str, Any]:
        """ReduceLROnPlateau's."""
        return {key: value for key, value in super().state_dict().items() if key != "warmup"}
