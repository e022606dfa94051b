"""Values as a config can hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from lightning_anneal.errors import AnnealError, quote

_PLAIN = (type(None), bool, int, float, str)


def plain_value(where: str, value: Any) -> Any:
    """A value made of what YAML knows: numpy's numbers become Python's, tuples become lists, paths become text.

    Args:
        where: What the error stands under.
        value: Any value.

    Raises:
        AnnealError: For what no config can hold.

    Example:
        >>> plain_value("lr", (1, {"p": 0.5}))
        [1, {'p': 0.5}]
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {plain_value(where, key): plain_value(where, each) for key, each in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain_value(where, each) for each in value]
    if hasattr(value, "tolist"):  # numpy's and torch's, numbers and arrays
        return value.tolist()
    if isinstance(value, str):
        return str.__str__(value)  # str() of an enum's member is its name
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    raise AnnealError(where, f"can't stand in a config: {quote(value)}; write a number, a text, a list or a mapping")
