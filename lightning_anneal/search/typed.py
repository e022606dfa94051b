"""What the arguments of a config's classes take, as LightningCLI would see it."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from lightning_anneal.errors import nearest


def knows(class_path: str, key: str) -> bool:
    """Whether a class has an argument, or a dataclass among its arguments a field (``optim.learning_rate``)."""
    return key in names(class_path)


def missing(class_path: str) -> str:
    """Why a class can't be imported; nothing if it can, or is one that LightningCLI knows by its name alone.

    Example:
        >>> missing("lightning.pytorch.loggers.CSVLoger")
        "there is no 'CSVLoger' in lightning.pytorch.loggers; did you mean 'CSVLogger'?"
    """
    module, _, name = class_path.rpartition(".")
    if not module:
        return ""
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        return f"there is no module {error.name!r} here"
    except Exception as error:
        return f"{module} can't be imported: {type(error).__name__}: {' '.join(str(error).split())[:80]}"
    return "" if hasattr(found, name) else f"there is no {name!r} in {module}{nearest(name, vars(found))}"


def takes(class_path: str, key: str, value: Any) -> bool:
    """Whether an argument takes a value.

    Example:
        >>> [takes("lightning.pytorch.Trainer", "max_epochs", value) for value in (3, [3, 4])]
        [True, False]
    """
    parser = _parser(class_path)
    if parser is None:
        return True
    given: Any = Namespace()  # type: ignore[no-untyped-call]
    given[f"x.{key}"] = value
    try:
        parser.validate(given, skip_required=True)
    except Exception:  # of whatever kind, it is a "no"
        return False
    return True


@cache
def names(class_path: str) -> frozenset[str]:
    """The arguments of a class, and the fields of dataclasses among them; none where there is no such class."""
    parser = _parser(class_path)
    if parser is None:
        return frozenset()
    defaults = parser.get_defaults()
    return frozenset(key.removeprefix("x.") for key in defaults.keys())  # noqa: SIM118 (a Namespace is no mapping)


@cache
def _parser(class_path: str) -> ArgumentParser | None:
    """A parser of the class's arguments; ``None`` where there is no such class, which is for LightningCLI to say."""
    module, _, name = class_path.rpartition(".")
    try:
        cls = getattr(importlib.import_module(module), name)
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(cls, "x", fail_untyped=False)
    except Exception:
        return None
    return parser
