"""Optimizers with several groups, and what an LR scheduler makes of them over a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau

LOSSES = [9.0, 8.0, 8.5, 8.5, 7.0, 7.5, 7.5, 7.5, 6.0, 6.5, 6.5, 6.5, 6.5, 5.0, 5.5, 5.5, 5.5, 5.5, 5.5, 5.5]
"""A validation loss that improves now and then."""

Rates = list[tuple[float, ...]]


def optimizer(*rates: float, cls: Any = SGD, tensor: bool = False, **options: Any) -> Any:
    """One group for each rate, with a gradient, so that every step moves the weights by it."""
    groups = []
    for rate in rates:
        weight = nn.Parameter(torch.ones(3))
        weight.grad = torch.full((3,), 0.5)
        groups.append({"params": [weight], "lr": torch.tensor(rate) if tensor else rate})
    first = torch.tensor(rates[0]) if tensor else rates[0]
    return cls(groups, lr=first, **options)


def run(scheduler: Any, steps: int, begin: int = 0) -> Rates:
    """The rates of the groups in each step."""
    rates = []
    for t in range(begin, begin + steps):
        rates.append(tuple(float(group["lr"]) for group in scheduler.optimizer.param_groups))
        scheduler.optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(LOSSES[t % len(LOSSES)])
        else:
            scheduler.step()
    return rates


def first_rates(scheduler: Any, steps: int) -> list[float]:
    """The rates of the first group."""
    return [rates[0] for rates in run(scheduler, steps)]


def settings(optimizer: Any) -> list[dict[str, Any]]:
    """All that stands in the groups, but for the weights; tensors as numbers."""
    return [
        {key: float(value) if isinstance(value, torch.Tensor) else value for key, value in group.items()}
        for group in ({k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups)
    ]


def saved(path: Path, scheduler: Any) -> dict[str, Any]:
    """The states of a scheduler and its optimizer after a way through a file, as Lightning reads it."""
    torch.save({"scheduler": scheduler.state_dict(), "optimizer": scheduler.optimizer.state_dict()}, path)
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def resumed(
    path: Path, make: Callable[[], Any], after: int, steps: int, again: Callable[[], Any] | None = None
) -> Rates:
    """The rates from step `after` on, which a new scheduler takes over there; `again` makes it, if not `make`."""
    first = make()
    run(first, after)
    state = saved(path, first)
    second = (again or make)()
    second.optimizer.load_state_dict(state["optimizer"])
    second.load_state_dict(state["scheduler"])
    return run(second, steps - after, after)
