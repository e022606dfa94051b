"""Classes by name: those of a torch module, and those that were registered. No string imports anything."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, Generic, TypeVar

import torch

from lightning_anneal.checks import choice, flag, number
from lightning_anneal.errors import AnnealError, nearest, quote, suggestion

T = TypeVar("T")

_NUMBER = re.compile(r"\b(int|float)\b")
_LIST = re.compile(r"\b(list|tuple|Sequence|Iterable)\b")


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

    def register(self, cls: type[T], name: str | None = None, taken: Iterable[str] = ()) -> type[T]:
        """Make a class known under its own name, or another one.

        Args:
            cls: The class.
            name: The name, unless it is the class's own.
            taken: Names that mean something else already.

        Raises:
            AnnealError: If it is no such class, or the name is taken by another one.
        """
        if not inspect.isclass(cls) or not issubclass(cls, self._base):
            raise AnnealError(self.kind, f"must be a subclass of {self._base.__name__}, got {quote(cls)}")
        known = cls.__name__ if name is None else name
        if not isinstance(known, str) or not known:
            raise AnnealError(self.kind, f"a name must be a string, got {quote(known)}")
        other = self.find(known)
        if other is not None and other is not cls:
            raise AnnealError(self.kind, f"'{known}' is {other.__module__}'s already; give another name")
        if known.lower() in {each.lower() for each in taken}:
            raise AnnealError(self.kind, f"'{known}' is lightning_anneal's already; give another name")
        self._classes[known] = cls
        return cls

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted(self._classes)

    def find(self, name: object) -> type[T] | None:
        """The class of this name, if there is one."""
        by_lower = {known.lower(): cls for known, cls in self._classes.items()}
        return by_lower.get(name.lower()) if isinstance(name, str) else None

    def get(self, name: object) -> type[T]:
        """The class of this name.

        Raises:
            AnnealError: If there is none, with the nearest one.
        """
        cls = self.find(name)
        if cls is None:
            raise AnnealError(self.kind, f"unknown {self.kind} {quote(name)}{suggestion(name, self._classes)}")
        return cls


def checked_mapping(where: str, given: object) -> Mapping[str, Any]:
    """A mapping, or an error that knows how YAML reads a mapping in which a space is missing.

    Raises:
        AnnealError: If it is none, or a key of it is a key and a value in one.

    Example:
        >>> checked_mapping("optimizer_kwargs", {"momentum:0.9": None})
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: optimizer_kwargs: YAML reads 'momentum:0.9' as text; write 'momentum: 0.9'
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        inside = given.strip("{} ") if isinstance(given, str) else ""
        if ":" in inside:
            raise _missing_space(where, inside)
        raise AnnealError(where, f"must be a mapping, got {quote(given)}")
    for key, value in given.items():
        if isinstance(key, str) and ":" in key and value is None:
            raise _missing_space(where, key)
    return given


def _missing_space(where: str, text: str) -> AnnealError:
    key, _, value = text.partition(":")
    return AnnealError(where, f"YAML reads {quote(text)} as text; write {quote(f'{key}: {value.strip()}')}")


def checked_kwargs(
    where: str, cls: type, given: object, taken: tuple[str, ...], as_written: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Keyword arguments for a class, as plain values: lists as tuples, numbers that YAML reads as text as numbers.

    Args:
        where: What the arguments are called, for errors.
        cls: The class.
        given: The arguments.
        taken: Parameters of the class that are given in another way.
        as_written: Arguments that are left as they are, to be read by others.

    Raises:
        AnnealError: For an argument that the class doesn't take, or a number that is none.
    """
    parameters = inspect.signature(cls).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(checked_mapping(where, given))
    known = [name for name in parameters if name not in taken]
    plain = {}
    for key, value in checked_mapping(where, given).items():
        if key not in known:
            near = nearest(key, known)
            tail = f"{near} {cls.__name__} takes {', '.join(known)}" if near else suggestion(key, known)
            raise AnnealError(where, f"{cls.__name__} takes no {quote(key)}{tail}")
        # null is as good as nothing.
        if value is not None:
            plain[key] = value if key in as_written else _plain(f"{where}.{key}", value, parameters[key])
    return plain


def check_complete(where: str, cls: type, kwargs: Mapping[str, Any], taken: tuple[str, ...]) -> None:
    """Refuse keyword arguments that lack one which the class can't do without.

    Raises:
        AnnealError: If one is missing.
    """
    for name, parameter in inspect.signature(cls).parameters.items():
        optional = parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if not optional and name not in (*taken, *kwargs):
            known = [each for each in inspect.signature(cls).parameters if each not in taken]
            raise AnnealError(f"{where}.{name}", f"missing; {cls.__name__} takes {', '.join(known)}")


def _plain(where: str, value: Any, parameter: inspect.Parameter) -> Any:
    """A value for a parameter, whose default and annotation say what it takes."""
    default, annotation = parameter.default, str(parameter.annotation)
    if isinstance(default, bool) or annotation in ("bool", "bool | None"):
        return flag(where, value)
    if annotation.startswith("Literal["):
        return choice(where, value, re.findall(r"'([^']*)'", annotation))
    if "Callable" in annotation:
        return value
    if isinstance(value, list | tuple) and isinstance(default, tuple) and len(value) != len(default):
        raise AnnealError(where, f"must be {len(default)} numbers such as {list(default)}, got {quote(value)}")
    if isinstance(value, list | tuple) and (isinstance(default, tuple) or _LIST.search(annotation)):
        return tuple(None if each is None else _number(where, each) for each in value)
    if isinstance(default, tuple):
        raise AnnealError(where, f"must be a list such as {list(default)}, got {quote(value)}")
    if isinstance(default, int | float) or _NUMBER.search(annotation):
        if isinstance(value, torch.Tensor) and "Tensor" in annotation:
            return value
        result = _number(where, value)
        if annotation in ("int", "int | None") and result != int(result):
            raise AnnealError(where, f"must be a whole number, got {quote(value)}")
        return result
    return value


def _number(where: str, value: Any) -> int | float:
    """A number as it is, and one that was read as text as a number."""
    checked = number(where, value)
    return value if type(value) is int else checked
