"""Start values as the source of the model's class shows them: read, never imported, for nothing may run here."""

from __future__ import annotations

import ast
import contextlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ModelSource:
    """What the source of a class shows.

    Args:
        name: The class.
        attributes: Names that it sets on ``self``, or on itself.
        numbers: The number that each begins with, where it is plain to see.
        whole: Whether these are sure to be all: it has no base of the user's own, and sets none in a roundabout way.
    """

    name: str
    attributes: frozenset[str] = frozenset()
    numbers: Mapping[str, float] = field(default_factory=dict)
    whole: bool = False


_ROUNDABOUT = {"setattr", "__dict__", "vars", "__getattr__", "__setattr__", "add_module", "register_parameter"}
"""Where one of these occurs, attributes may come that no assignment shows."""
_FRAMEWORK = ("LightningModule", "Module", "LightningDataModule")


def read_source(class_path: str, arguments: Mapping[str, Any], folders: list[str] | None = None) -> ModelSource | None:
    """Find the source of a class and read it; ``None`` if there is none to be found.

    Args:
        class_path: ``package.module.Class``.
        arguments: The ``init_args`` it is going to get.
        folders: Where packages lie; by default where Python looks for them.
    """
    module, _, name = class_path.rpartition(".")
    file = _file_of(module, sys.path if folders is None else folders)
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    found = next((node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name), None)
    return None if found is None else _read_class(found, arguments)


def _file_of(module: str, folders: list[str]) -> Path | None:
    """Where a module lies. Not by importlib, which would run the package around it."""
    parts = module.split(".") if module else []
    if not all(part.isidentifier() for part in parts) or not parts:
        return None
    for folder in folders:
        base = Path(folder or ".").joinpath(*parts)
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            with contextlib.suppress(OSError):  # a name that is longer than a file's may be
                if file.is_file():
                    return file
    return None


def _read_class(node: ast.ClassDef, arguments: Mapping[str, Any]) -> ModelSource:
    methods = {f.name: f for f in node.body if isinstance(f, ast.FunctionDef)}
    begin = methods.get("__init__")
    known: dict[str, Any] = {} if begin is None else _defaults(begin)
    known = {**known, **{key: value for key, value in arguments.items() if key in known}}
    body = [] if begin is None else begin.body
    within = [] if begin is None else list(ast.walk(begin))
    # Where the code goes on to change an argument, the source doesn't show its value.
    changed = {name.id for name in within if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
    known = {name: None if name in changed else value for name, value in known.items()}
    attributes = {name for statement in ast.walk(node) for name, _ in _assigned(statement)}
    numbers: dict[str, Any] = {name: value for name, value in known.items() if name not in attributes}
    # The last assignment counts, if it is sure to be come to, and none of a method that fit calls later.
    last: dict[str, ast.AST] = {}
    for statement in sorted(within, key=lambda each: getattr(each, "lineno", 0)):
        last.update({name: statement for name, _ in _assigned(statement)})
    later = [each for name in ("setup", "configure_model") if name in methods for each in ast.walk(methods[name])]
    unsure = {name for statement in later for name, _ in _assigned(statement)}
    for statement in body:
        expression = statement.value if isinstance(statement, ast.Expr) else statement
        for name, value in _assigned(expression):
            if last[name] is expression and name not in unsure and value is not None:
                numbers[name] = known.get(value.id) if isinstance(value, ast.Name) else _number(value)
    plain = {k: float(v) for k, v in numbers.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    bases = [base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases]
    names = {getattr(each, "id", getattr(each, "attr", "")) for each in ast.walk(node)}
    whole = all(base in _FRAMEWORK for base in bases) and not names & _ROUNDABOUT
    return ModelSource(node.name, frozenset([*known, *attributes]), plain, whole)


def _defaults(function: ast.FunctionDef) -> dict[str, Any]:
    """Every argument, with its default where that is a number."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    first = len(positional) - len(arguments.defaults)
    pairs: list[tuple[str, ast.expr | None]] = [
        (argument.arg, arguments.defaults[i - first] if i >= first else None) for i, argument in enumerate(positional)
    ]
    pairs += [(a.arg, default) for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]
    return {name: None if default is None else _number(default) for name, default in pairs if name != "self"}


def _assigned(statement: ast.AST) -> list[tuple[str, ast.expr | None]]:
    """What a statement sets on ``self``, by name: ``self.NAME = value`` and ``self.register_buffer("NAME", value)``.

    ``None`` stands for a value that can't be read, as in ``self.NAME *= 2`` and ``self.a, self.b = 1, 2``.
    """
    if isinstance(statement, ast.Call):
        name = statement.args[0] if statement.args else None
        method = statement.func.attr if isinstance(statement.func, ast.Attribute) else ""
        if method == "register_buffer" and isinstance(name, ast.Constant) and isinstance(name.value, str):
            return [(name.value, statement.args[1] if len(statement.args) > 1 else None)]
        return []
    if isinstance(statement, ast.Assign):
        pairs: list[tuple[ast.expr, ast.expr | None]] = [(target, statement.value) for target in statement.targets]
    elif isinstance(statement, ast.AnnAssign):
        pairs = [(statement.target, statement.value)]
    elif isinstance(statement, ast.AugAssign):
        pairs = [(statement.target, None)]
    else:
        return []
    found: list[tuple[str, ast.expr | None]] = []
    for target, value in pairs:
        many = isinstance(target, ast.Tuple | ast.List)
        for each in target.elts if isinstance(target, ast.Tuple | ast.List) else [target]:
            if isinstance(each, ast.Attribute) and _is_self(each.value):
                found.append((each.attr, None if many else value))
    return found


def _is_self(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _number(node: ast.expr) -> float | None:
    """A number that stands there as one, ``-1e-3`` too."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
