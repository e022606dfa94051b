"""Reads which method balances which losses, and by which numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from lightning_anneal.checks import choice
from lightning_anneal.controllers.balancing import (
    Balancing,
    DynamicWeightAverage,
    InverseMagnitude,
    RelativeBalancing,
)
from lightning_anneal.controllers.controller import Controller
from lightning_anneal.errors import AnnealError, quote, suggestion

_METHODS: dict[str, type[Balancing]] = {
    "dwa": DynamicWeightAverage,
    "relobralo": RelativeBalancing,
    "inverse_ema": InverseMagnitude,
}

METHODS = tuple(_METHODS)
"""The methods by name."""


def read_balancing(where: str, losses: object, method: object, params: Mapping[str, Any]) -> Controller:
    """The controller that settings describe. A parameter that is None counts as one that isn't given.

    Raises:
        AnnealError: For losses that are no list of names, an unknown method, and a parameter that is unknown, out of
            range or for another method.

    Example:
        >>> read_balancing("balance", ["reconstruction", "kl"], "dwa", {"temperature": 1})
        DynamicWeightAverage(losses=('reconstruction', 'kl'), temperature=1.0)
    """
    name = choice(f"{where}.method", method, METHODS)
    takes = {kind: _parameters(cls) for kind, cls in _METHODS.items()}
    for key, value in params.items():
        owners = [kind for kind, keys in takes.items() if key in keys]
        if not owners:
            raise AnnealError(where, f"unknown parameter {quote(key)}{suggestion(key, takes[name])}")
        if name not in owners and value is not None:
            raise AnnealError(f"{where}.{key}", f"is for {' and '.join(owners)}, not for {name}")
    try:
        given = {key: value for key, value in params.items() if value is not None}
        return _METHODS[name](losses, **given)  # type: ignore[call-arg]
    except AnnealError as error:
        raise AnnealError(f"{where}.{error.where.split('.', 1)[1]}", error.what) from None


def _parameters(cls: type[Any]) -> list[str]:
    return [field.name for field in fields(cls) if field.default is not MISSING]
