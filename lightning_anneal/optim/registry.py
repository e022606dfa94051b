"""Classes by name: those of a torch module, and those that were registered. No string imports anything."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Generic, TypeVar

from lightning_anneal.checks import number
from lightning_anneal.errors import AnnealError, quote, suggestion

T = TypeVar("T")


class Registry(Generic[T]):
    """Classes by name, in any case.

    Args:
        kind: What they are called in errors, such as ``"optimizer"``.
        base: What all of them derive from; the base itself is none of them.
        module: A torch module, whose public classes are known from the start.
    """

    def __init__(self, kind: str, base: type[T], module: ModuleType) -> None:
        self.kind = kind
        self._base = base
        found = {name: value for name, value in vars(module).items() if not name.startswith("_")}
        self._classes: dict[str, type[T]] = {
            name: value
            for name, value in found.items()
            if inspect.isclass(value) and issubclass(value, base) and value is not base and value.__name__ == name
        }

    def register(self, cls: type[T], name: str | None = None) -> type[T]:
        """Make a class known under its own name, or another one.

        Raises:
            AnnealError: If it is no such class, or the name is taken by another one.
        """
        if not inspect.isclass(cls) or not issubclass(cls, self._base):
            raise AnnealError(self.kind, f"must be a subclass of {self._base.__name__}, got {quote(cls)}")
        known = cls.__name__ if name is None else name
        if not isinstance(known, str) or not known:
            raise AnnealError(self.kind, f"a name must be a string, got {quote(known)}")
        taken = {other.lower(): other for other in self._classes}.get(known.lower())
        if taken is not None and self._classes[taken] is not cls:
            raise AnnealError(self.kind, f"'{taken}' is {self._classes[taken].__module__}'s already; give another name")
        self._classes[known] = cls
        return cls

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._classes)

    def get(self, name: object) -> type[T]:
        """The class of this name.

        Raises:
            AnnealError: If there is none, with the nearest one.
        """
        by_lower = {known.lower(): cls for known, cls in self._classes.items()}
        if isinstance(name, str) and name.lower() in by_lower:
            return by_lower[name.lower()]
        raise AnnealError(self.kind, f"unknown {self.kind} {quote(name)}{suggestion(name, self._classes)}")


def checked_kwargs(where: str, cls: type, given: Mapping[str, Any], taken: tuple[str, ...]) -> dict[str, Any]:
    """Keyword arguments for a class, as plain values: lists as tuples, numbers that YAML reads as text as numbers.

    Args:
        where: What the arguments are called, for errors.
        cls: The class.
        given: The arguments.
        taken: Parameters of the class that are given in another way.

    Raises:
        AnnealError: For an argument that the class doesn't take.
    """
    if not isinstance(given, Mapping):
        raise AnnealError(where, f"must be a mapping, got {quote(given)}")
    parameters = inspect.signature(cls).parameters
    known = [name for name in parameters if name not in taken]
    plain = {}
    for key, value in given.items():
        if key not in known:
            raise AnnealError(where, f"{cls.__name__} takes no {quote(key)}{suggestion(key, known)}")
        plain[key] = _plain(f"{where}.{key}", value, parameters[key].default)
    return plain


def _plain(where: str, value: Any, default: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_plain(where, each, 0.0) for each in value)
    numeric = isinstance(default, int | float) and not isinstance(default, bool)
    if numeric and isinstance(value, str):
        return number(where, value)
    return value
