"""Refuses a ``class_path`` where this package has data: LightningCLI's parser imports it, whatever the type there."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lightning_anneal.errors import AnnealError

_PACKAGE = "lightning_anneal."
_OF_CALLBACKS = ("annealing_params", "phases", "beta_scheduler_params")
"""What a class of the user's own that derives from one of this package takes, too."""
_OF_OPTIM = ("optimizer_kwargs", "scheduler_kwargs", "scheduler_configs", "lr_parameter_groups")
_TYPE = "OptimConfig"
_WHAT = "'class_path' is none of its keys; settings are data, and nothing is made of them"


def refuse_classes(config: Any) -> None:
    """Look through this package's free-form settings in a LightningCLI config, before anything parses them.

    Args:
        config: A LightningCLI config as plain dicts and lists.

    Raises:
        AnnealError: For a class in them.

    Example:
        >>> settings = {"beta": {"strategy": "linear", "end_value": {"class_path": "os.system"}}}
        >>> callback = {"class_path": "a.Callback", "init_args": {"annealing_params": settings}}
        >>> refuse_classes({"trainer": {"callbacks": [callback]}})  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: annealing_params.beta.end_value: 'class_path' is none of its keys; ...
    """
    if _is_class(config):
        arguments = config.get("init_args")
        for key, value in arguments.items() if isinstance(arguments, Mapping) else ():
            _look_at(config["class_path"], key, value)
    for _, part in _parts(config):
        refuse_classes(part)


def _look_at(class_path: str, key: Any, value: Any) -> None:
    """Look at an argument of a class."""
    for place in _classes(value, (str(key),)):
        # Many a model has an optimizer's class there; only the model's own type tells.
        ours = class_path.startswith(_PACKAGE) or key in _OF_CALLBACKS or _takes_settings(class_path, key)
        if ours or (place[1:] and place[1] in _OF_OPTIM):
            raise AnnealError(".".join(place), _WHAT)


def _classes(value: Any, where: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Where in a value a class stands."""
    if _is_class(value):
        yield where
    for key, part in _parts(value):
        yield from _classes(part, (*where, str(key)))


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    """What a mapping or a list holds, with keys or indices."""
    return value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()


def _is_class(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("class_path"), str)


def _takes_settings(class_path: str, name: str) -> bool:
    """Whether an argument of the model is an `OptimConfig`. The model is imported: LightningCLI is about to do so."""
    module, _, cls = class_path.rpartition(".")
    try:
        parameters = inspect.signature(getattr(importlib.import_module(module), cls)).parameters
    except Exception:  # of whatever kind, it is for LightningCLI to tell
        return False
    return name in parameters and _TYPE in str(parameters[name].annotation)
