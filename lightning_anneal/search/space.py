"""The space that is searched: which keys of a config have several values, and the configs of their combinations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.overrides import read_path, read_value, write_path
from lightning_anneal.search import typed
from lightning_anneal.search.values import plain_value

LITERAL = (
    *("betas", "losses", "milestones", "devices", "values", "prog_bar", "no_decay", "layers", "hidden_sizes"),
    "kernel_size",
)
"""Lists under these keys are values, where no type says otherwise."""

SCALES = ("uniform", "log_uniform")
"""Marks of ranges, ``{uniform: [low, high]}``."""

_FOREIGN_MARKS = ("choice", "choices", "categorical", "int_uniform", "loguniform", "quniform", "randint", "lograndint")
"""What other searches call their axes."""

TRAINER = "lightning.pytorch.Trainer"

Path = tuple[str, ...]
Point = dict[str, Any]
"""One value for each axis, by path."""


@dataclass(frozen=True)
class Axis:
    """A key with several values.

    Args:
        path: Where it stands in the config.
        values: Its values; of a range, its two ends.
        found: Why it is an axis, for the preview.
        scale: How a range is drawn from, one of `SCALES`; nothing where the values are all there are. A range between
            whole numbers has whole numbers.
    """

    path: str
    values: tuple[Any, ...]
    found: str
    scale: str = ""

    @property
    def whole(self) -> bool:
        """Whether a range has whole numbers only."""
        return all(isinstance(end, int) for end in self.values)


@dataclass
class Space:
    """A config and its axes.

    Args:
        config: The config, without marks.
        axes: Its axes, by path.
        hints: What the user should know of lists that could be meant either way.
    """

    config: dict[str, Any]
    axes: dict[str, Axis] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many combinations there are.

        Raises:
            AnnealError: If there is a range, which no grid can count.
        """
        for axis in self.axes.values():
            if axis.scale:
                raise AnnealError(axis.path, "a range can't be a grid; list values, or take --algo random or tpe")
        return math.prod(len(axis.values) for axis in self.axes.values())

    def grid(self) -> Iterator[Point]:
        """Every combination; the last axis changes fastest."""
        for values in itertools.product(*(axis.values for axis in self.axes.values())):
            yield dict(zip(self.axes, values, strict=True))

    def at(self, point: Mapping[str, Any]) -> dict[str, Any]:
        """The plain config of one combination."""
        config = deepcopy(self.config)
        for path, value in point.items():
            home, key = _find(config, path)
            home[key] = deepcopy(value)
        return config

    def vary(self, path: str, values: Sequence[Any]) -> None:
        """Give an axis its values; it takes the place of one that the config has there, or of all below it.

        Raises:
            AnnealError: If there are none, the config has no such place, or it doesn't take one of them.
        """
        values = plain_value(path, values)
        if not isinstance(values, list) or not values:
            raise AnnealError(path, f"an axis needs at least one value in a list, got {quote(values)}")
        _refuse_twice(path, values)
        keys = read_path(path, path)
        known = write_path(keys)
        for other in self.axes:
            if keys[: len(read_path(other, other))] == read_path(other, other) and other != known:
                what = f"is inside of the axis {quote(other)}; vary that one, or mark it {{fixed: ...}}"
                raise AnnealError(path, what)
        # In a copy, which takes the config's place when nothing can go wrong any more.
        config = deepcopy(self.config)
        home, key = _find(config, path)
        axis = Axis(known, tuple(values), "given")
        _check_values(config, axis)
        # The place has to be there, so that `at` finds it; which of the values it holds is all the same.
        home[key] = deepcopy(values[0])
        below = [other for other in self.axes if read_path(other, other)[: len(keys)] == keys and other != known]
        self.config, self.axes[known] = config, axis
        for other in below:
            del self.axes[other]


def find_space(config: Mapping[str, Any]) -> Space:
    """The axes that a config has by itself.

    ``{grid: [...]}`` is an axis and ``{fixed: [...]}`` a value, always; ``{uniform: [low, high]}`` and
    ``{log_uniform: [low, high]}`` are ranges, for searches that aren't a grid. Among the arguments of a class their
    types decide: a list that the argument doesn't take, but takes each element of, is an axis; one that could be both
    is a value, with a hint. Elsewhere a list of two or more plain values is an axis, unless its key is one of
    `LITERAL`, and lists of mappings are looked into.

    Args:
        config: A config as plain dicts and lists; it is not changed.

    Raises:
        AnnealError: For an axis without values, or with one that its argument doesn't take.

    Example:
        >>> space = find_space({"lr": [1e-3, 1e-4], "betas": [0.9, 0.999], "depth": {"grid": [2, 3, 4]}})
        >>> [(axis.path, axis.values) for axis in space.axes.values()], space.count
        ([('lr', (0.001, 0.0001)), ('depth', (2, 3, 4))], 6)
    """
    space = Space({})
    space.config = _walk(space, deepcopy(dict(config)), (), None)
    for axis in space.axes.values():
        _check_values(space.config, axis)
    return space


def check_arguments(config: Mapping[str, Any]) -> None:
    """Look whether the classes that a config names have the arguments that it gives them, and take them.

    Raises:
        AnnealError: For the first that they don't.

    Example:
        >>> check_arguments({"data": {"class_path": "lightning.pytorch.Trainer", "init_args": {"max_epoch": 3}}})
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: data.init_args: Trainer has no 'max_epoch'; did you mean 'max_epochs'?
    """
    _check_arguments(config, (), None)


def _check_arguments(value: Any, path: Path, home: _Home | None) -> None:
    if isinstance(value, list):
        for i, each in enumerate(value):
            _check_arguments(each, (*path, str(i)), None)
    elif isinstance(value, Mapping):
        problem = typed.missing(str(value.get("class_path", "")))
        if problem:
            raise AnnealError(write_path((*path, "class_path")), problem)
        for key, each in value.items():
            inner = _home_of(value, key, path, home)
            if inner is not None and inner.typed and not _has_mapping(each):
                _check_values({}, Axis(write_path((*path, str(key))), (each,), ""), inner)
            elif inner is not None and not inner.typed and len(inner.inside) == 1 and typed.names(inner.class_path):
                # A dataclass shows by its fields.
                known = {name.partition(".")[0] for name in typed.names(inner.class_path)}
                if str(key) not in known:
                    cls = inner.class_path.rpartition(".")[2]
                    raise AnnealError(write_path(path), f"{cls} has no {quote(key)}{suggestion(key, known)}")
            _check_arguments(each, (*path, str(key)), inner)


def _has_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, list) and any(map(_has_mapping, value)))


def read_variation(text: str) -> tuple[str, list[Any]]:
    """``path=v1,v2`` as a path and its values; commas within brackets and quotes don't part them.

    Raises:
        AnnealError: If it has no path or no value, or one that can't be read.

    Example:
        >>> read_variation("model.betas=[0.9,0.999],[0.8,0.99]")
        ('model.betas', [[0.9, 0.999], [0.8, 0.99]])
    """
    path, equals, values = text.partition("=")
    if not equals or not path or not values.strip():
        raise AnnealError("--param-variations", f"write path=value1,value2, got {quote(text)}")
    pieces = [""]
    closing: list[str] = []
    for letter in values:
        if closing and letter == closing[-1]:
            closing.pop()
        elif letter in "[{(" and (not closing or closing[-1] not in "'\""):
            closing.append({"[": "]", "{": "}", "(": ")"}[letter])
        elif letter in "'\"" and (not closing or closing[-1] not in "'\""):
            closing.append(letter)
        elif letter == "," and not closing:
            pieces.append("")
            continue
        pieces[-1] += letter
    return path, [read_value(piece.strip(), "--param-variations") for piece in pieces]


@dataclass(frozen=True)
class _Home:
    """The class whose argument a place of the config is in, and the place within its arguments."""

    class_path: str
    inside: Path = ()

    def under(self, key: str) -> _Home:
        return _Home(self.class_path, (*self.inside, key))

    @property
    def key(self) -> str:
        return ".".join(self.inside)

    @property
    def typed(self) -> bool:
        return bool(self.inside) and typed.knows(self.class_path, self.key)


def _walk(space: Space, value: Any, path: Path, home: _Home | None) -> Any:
    """A part of the config without marks; its axes go into the space."""
    if isinstance(value, Mapping):
        if set(value) == {"grid"}:
            return _mark(space, value["grid"], path)
        if set(value) == {"fixed"}:
            return value["fixed"]
        if len(value) == 1 and set(value) <= set(SCALES):
            [(scale, ends)] = value.items()
            return _range(space, scale, ends, path)
        for key, each in value.items():
            if len(value) == 1 and key in _FOREIGN_MARKS and isinstance(each, list | tuple):
                what = f"unknown mark {quote(key)}; known: grid, fixed, {', '.join(SCALES)} (whole ends: whole numbers)"
                raise AnnealError(write_path(path), f"{what}; a value that looks so is {{fixed: ...}}")
        return {
            key: _walk(space, each, (*path, str(key)), _home_of(value, key, path, home)) for key, each in value.items()
        }
    if not isinstance(value, list):
        return value
    decision = _decide(space, value, path, home)
    if decision:
        return _axis(space, value, path, decision)
    return [
        _walk(space, each, (*path, str(i)), home if isinstance(each, list) else None) for i, each in enumerate(value)
    ]


def _home_of(mapping: Mapping[Any, Any], key: Any, path: Path, home: _Home | None) -> _Home | None:
    """Whose argument the value under a key of a mapping is."""
    if "class_path" in mapping:
        return _Home(str(mapping["class_path"])) if key == "init_args" else None
    if path == () and key == "trainer":
        return _Home(TRAINER)
    return None if home is None else home.under(str(key))


def _decide(space: Space, value: list[Any], path: Path, home: _Home | None) -> str:
    """Why a list is an axis; nothing if it is a value."""
    plain = all(not isinstance(each, Mapping) for each in value)
    if home is not None and home.typed and value:
        whole = typed.takes(home.class_path, home.key, value)
        each = plain and all(typed.takes(home.class_path, home.key, element) for element in value)
        if whole and each and len(value) > 1:
            what = "could be one value or several; it is taken as one, and {grid: [...]} makes it an axis"
            space.hints.append(f"{write_path(path)}: {what}")
        return "by its type" if each and not whole else ""
    scalars = all(isinstance(element, str | int | float | bool) or element is None for element in value)
    # Nobody lists a value twice to try it twice: [64, 64] are the sizes of two layers.
    several = len(value) > 1 and not _twice(value)
    return "a list" if scalars and several and path and path[-1] not in LITERAL else ""


def _mark(space: Space, values: Any, path: Path) -> Any:
    if not isinstance(values, list) or not values:
        raise AnnealError(write_path(path), f"an axis needs at least one value: {{grid: [...]}}, got {quote(values)}")
    _refuse_twice(write_path(path), values)
    return _axis(space, values, path, "marked {grid: ...}")


def _range(space: Space, scale: str, ends: Any, path: Path) -> Any:
    where = write_path(path)
    if not isinstance(ends, list) or len(ends) != 2:
        raise AnnealError(where, f"a range is {{{scale}: [low, high]}}, got {quote(ends)}")
    low, high = ends
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends)
    if not numbers or low >= high or (scale == "log_uniform" and low <= 0):
        least = "0 < low" if scale == "log_uniform" else "low"
        raise AnnealError(where, f"a range is {{{scale}: [low, high]}} with {least} < high, got {quote(ends)}")
    return _axis(space, ends, path, f"marked {{{scale}: ...}}", scale)


def _axis(space: Space, values: list[Any], path: Path, found: str, scale: str = "") -> Any:
    name = write_path(path)
    space.axes[name] = Axis(name, tuple(values), found, scale)
    return deepcopy(values[0])


def _twice(values: Sequence[Any]) -> list[Any]:
    """The values that stand there more than once; 1 and True are two."""
    known = [repr(value) for value in values]
    return [value for i, value in enumerate(values) if repr(value) in known[:i]]


def _refuse_twice(where: str, values: Sequence[Any]) -> None:
    for value in _twice(values):
        raise AnnealError(where, f"the value {quote(value)} is there twice; the same run twice tells nothing")


def _find(config: dict[str, Any], path: str) -> tuple[Any, Any]:
    """The mapping or list that a path leads into, made if it is left out, and the key or index in it."""
    home: Any = config
    keys = read_path(path, path)
    for i, key in enumerate(keys):
        place = _place(home, key, path, ".".join(keys[:i]))
        last = i == len(keys) - 1
        if isinstance(home, dict) and place not in home:
            # Arguments that the config leaves out are there all the same.
            if not _has_argument(config, keys):
                known = [*home, *_arguments_beside(config, keys[:i])]
                raise AnnealError(path, f"the config has no {quote(key)}{suggestion(key, known)}")
            if not last:
                home[place] = {}
        if last:
            return home, place
        home = home[place]
    raise AnnealError(quote(path), "is no path")


def _place(home: Any, key: str, path: str, above: str) -> Any:
    if isinstance(home, list):
        if not key.isdigit() or int(key) >= len(home):
            raise AnnealError(path, f"'{above}' is a list of {len(home)}; take 0 to {len(home) - 1}, not {quote(key)}")
        return int(key)
    if not isinstance(home, dict):
        raise AnnealError(path, f"'{above}' is {quote(home)}, with no {quote(key)} in it")
    return next((known for known in home if str(known) == key), key)


def _argument(config: dict[str, Any], keys: Sequence[str]) -> _Home | None:
    """The argument of a class that a path leads to, if it does."""
    home: _Home | None = None
    value: Any = config
    for i, key in enumerate(keys):
        if isinstance(value, Mapping):
            home = _home_of(value, key, tuple(keys[:i]), home)
            value = next((each for known, each in value.items() if str(known) == key), None)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            home, value = None, value[int(key)]
        else:
            value = None
            home = None if home is None else home.under(key)
    return home


def _arguments_beside(config: dict[str, Any], keys: Sequence[str]) -> list[str]:
    """The arguments that could stand in a mapping that holds the arguments of a class."""
    home = _argument(config, keys)
    inside = "" if home is None else f"{home.key}." * bool(home.inside)
    if home is None:
        return []
    names = [name.removeprefix(inside) for name in typed.names(home.class_path) if name.startswith(inside)]
    return [name for name in names if "." not in name]


def _has_argument(config: dict[str, Any], keys: Sequence[str]) -> bool:
    home = _argument(config, keys)
    return home is not None and home.typed


def _check_values(config: dict[str, Any], axis: Axis, home: _Home | None = None) -> None:
    """Refuse values that the argument of that place doesn't take, before any run starts."""
    home = home or _argument(config, read_path(axis.path, axis.path))
    if home is None or not home.typed:
        return
    for value in axis.values:
        if not typed.takes(home.class_path, home.key, value):
            name = home.class_path.rpartition(".")[2]
            raise AnnealError(axis.path, f"{name} doesn't take {quote(value)} there")
