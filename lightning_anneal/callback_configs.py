"""Checks the callbacks of this package in a LightningCLI config before LightningCLI reads it.

It would tell of a misspelled argument in a paragraph that names neither the callback nor the right spelling.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import lightning_anneal
from lightning_anneal.config import check_objects
from lightning_anneal.errors import AnnealError, quote, suggestion

_PACKAGE = "lightning_anneal."


def check_callbacks(config: Any) -> None:
    """Build every callback of this package that the config names, to find what is wrong with it.

    Args:
        config: A LightningCLI config as plain dicts and lists.

    Raises:
        AnnealError: For the first mistake in one of them.

    Example:
        >>> callback = {"class_path": "lightning_anneal.BetaScheduleCallback", "init_args": {"eval_bta": 1.0}}
        >>> check_callbacks({"trainer": {"callbacks": [callback]}})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: BetaScheduleCallback: unknown argument 'eval_bta'; did you mean ...
    """
    keys: set[str] = set()
    for name, arguments in _named(config):
        callback = getattr(lightning_anneal, name)
        known = [p for p in inspect.signature(callback).parameters if p != "self"]
        for key in arguments:
            if key not in known:
                raise AnnealError(name, f"unknown argument {quote(key)}{suggestion(key, known)}")
        for key, parameter in inspect.signature(callback).parameters.items():
            if parameter.default is parameter.empty and key not in arguments:
                raise AnnealError(name, f"'{key}' is missing")
        check_objects(arguments.get("annealing_params"))
        phases = arguments.get("phases")
        for phase in phases if isinstance(phases, list) else ():
            check_objects(phase.get("anneal") if isinstance(phase, Mapping) else None)
        made = callback(**arguments)
        if made.state_key in keys:
            raise AnnealError(f"{name}.name", "a second callback of this class needs a name of its own")
        keys.add(made.state_key)


def _named(config: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The callbacks of this package: class name and arguments."""
    trainer = config.get("trainer") if isinstance(config, Mapping) else None
    callbacks = trainer.get("callbacks") if isinstance(trainer, Mapping) else None
    known = [name for name in lightning_anneal.__all__ if name.endswith("Callback")]
    for entry in callbacks if isinstance(callbacks, list) else [callbacks]:
        path = entry.get("class_path") if isinstance(entry, Mapping) else entry
        if not isinstance(path, str) or not path.startswith(_PACKAGE):
            continue
        name = path.removeprefix(_PACKAGE)
        if name not in known and "." not in name:
            raise AnnealError("class_path", f"lightning_anneal has no callback {quote(name)}{suggestion(name, known)}")
        arguments = (entry.get("init_args") or {}) if isinstance(entry, Mapping) else {}
        if not isinstance(arguments, Mapping):
            raise AnnealError(f"{name}.init_args", f"must be a mapping, got {quote(arguments)}")
        if name in known:
            yield name, arguments
