"""Optimizers by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

from lightning_anneal.checks import not_negative
from lightning_anneal.errors import AnnealError
from lightning_anneal.optim.registry import Registry, checked_kwargs

Own = TypeVar("Own", bound=Optimizer)

OPTIMIZERS: Registry[Optimizer] = Registry("optimizer", Optimizer, torch.optim)

DEFAULT_RATES = {"Adam": 0.001, "AdamW": 0.001, "SGD": 0.01, "RMSprop": 0.01, "Adagrad": 0.01}
"""The learning rate where none is given; of any other optimizer it is that optimizer's own default."""


def register_optimizer(cls: type[Own], name: str | None = None) -> type[Own]:
    """Make an optimizer known by name; also as a decorator.

    Raises:
        AnnealError: If it is no optimizer, or the name is taken.

    Example:
        >>> @register_optimizer
        ... class SlowSGD(torch.optim.SGD):
        ...     pass
        >>> type(build_optimizer([torch.zeros(1, requires_grad=True)], "slowsgd")).__name__
        'SlowSGD'
    """
    OPTIMIZERS.register(cls, name)
    return cls


def build_optimizer(
    params: Iterable[Any],
    name: str = "Adam",
    *,
    learning_rate: float | None = None,
    optimizer_kwargs: Mapping[str, Any] | None = None,
) -> Optimizer:
    """An optimizer of ``torch.optim``, or a registered one, by its name in any case.

    Args:
        params: Parameters or parameter groups, as torch takes them.
        name: Such as ``"AdamW"`` or ``"sgd"``.
        learning_rate: Without it 0.001 for Adam and AdamW, 0.01 for SGD, RMSprop and Adagrad, else the optimizer's own.
        optimizer_kwargs: Anything else that it takes; the mapping is not changed. Numbers may be strings (``"1e-8"``).

    Raises:
        AnnealError: For an unknown name or argument, or a value that torch refuses.

    Example:
        >>> weight = torch.zeros(1, requires_grad=True)
        >>> build_optimizer([weight], "adamw", optimizer_kwargs={"betas": [0.8, 0.9]}).defaults["betas"]
        (0.8, 0.9)
        >>> build_optimizer([weight], "AdamV")
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: optimizer: unknown optimizer 'AdamV'; did you mean 'Adam'?
    """
    if isinstance(params, torch.nn.Module):
        raise AnnealError("params", f"must be parameters, got a {type(params).__name__}; pass its .parameters()")
    cls = OPTIMIZERS.get(name)
    kwargs = checked_kwargs("optimizer_kwargs", cls, optimizer_kwargs, ("params",))
    if "lr" in kwargs and learning_rate is not None:
        raise AnnealError("optimizer_kwargs.lr", "learning_rate says it too; keep one")
    rate = kwargs.pop("lr", learning_rate)
    if rate is None:
        rate = DEFAULT_RATES.get(cls.__name__)
    if rate is not None:
        kwargs["lr"] = rate if isinstance(rate, torch.Tensor) else not_negative("learning_rate", rate)
    try:
        return cls(params, **kwargs)
    except Exception as error:
        raise AnnealError("optimizer_kwargs", f"{cls.__name__}: {' '.join(str(error).split())}") from None
