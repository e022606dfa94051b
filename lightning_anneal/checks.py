"""Reads numbers, whole numbers and choices out of user input, or says in one line why it can't."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection

from lightning_anneal.errors import AnnealError, quote, suggestion

Value = float | int | bool | str
"""What a hyperparameter can hold."""

_UNITS = ("ep", "st", "%")


def number(where: str, value: object) -> float:
    """A finite float from a number or from a string that spells one.

    YAML readers disagree on ``1e-7``: PyYAML hands it over as a string, so strings count as numbers.

    Raises:
        AnnealError: For booleans, NaN, infinities and anything that is no number.

    Example:
        >>> number("beta", "1e-7")
        1e-07
    """
    if isinstance(value, str) and len(value) <= 40:
        try:
            value = float(value)
        except ValueError:
            is_length = str(value).strip()[:1].isdigit() and str(value).rstrip().endswith(_UNITS)
            hint = "; units are for lengths" if is_length else ""
            raise AnnealError(where, f"must be a number, got {quote(value)}{hint}") from None
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise AnnealError(where, f"must be a number, got {quote(value)}")
    try:
        result = float(value)
    except OverflowError:
        raise AnnealError(where, "must be a finite number, got one too large for a float") from None
    if not math.isfinite(result):
        raise AnnealError(where, f"must be a finite number, got {result}")
    return result


def positive(where: str, value: object) -> float:
    """A finite float above zero.

    Example:
        >>> positive("duration", 0)
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: duration: must be positive, got 0
    """
    result = number(where, value)
    if result <= 0:
        raise AnnealError(where, f"must be positive, got {quote(value)}")
    return result


def not_negative(where: str, value: object) -> float:
    """A finite float of at least zero.

    Example:
        >>> not_negative("learning_rate", -1)
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: learning_rate: must not be negative, got -1
    """
    result = number(where, value)
    if result < 0:
        raise AnnealError(where, f"must not be negative, got {quote(value)}")
    return result


def count(where: str, value: object, least: int = 1) -> int:
    """A whole number of at least 1, or at least 0."""
    result = positive(where, value) if least else not_negative(where, value)
    if result != int(result):
        raise AnnealError(where, f"must be a whole number, got {quote(value)}")
    return int(result)


def flag(where: str, value: object) -> bool:
    """A real boolean: ``"no"`` is a string and would count as true."""
    if not isinstance(value, bool):
        raise AnnealError(where, f"must be true or false, got {quote(value)}")
    return value


def choice(where: str, value: object, known: Collection[str]) -> str:
    """One of the known words, in any case.

    Example:
        >>> choice("wave", "Cosine", ["cosine", "triangle"])
        'cosine'
    """
    if isinstance(value, str) and value.lower() in known:
        return value.lower()
    raise AnnealError(where, f"unknown {where.rsplit('.', 1)[-1]} {quote(value)}{suggestion(value, known)}")


def several_names(where: str, value: object) -> tuple[str, ...]:
    """Two names or more from a list, no two alike.

    Example:
        >>> several_names("losses", ["kl", "kl"])
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: losses: 'kl' is there twice
    """
    if not isinstance(value, list | tuple) or len(value) < 2:
        raise AnnealError(where, f"must be a list of at least two names, got {quote(value)}")
    for i, name in enumerate(value):
        if not isinstance(name, str) or not name.strip():
            raise AnnealError(f"{where}.{i}", f"must be a name, got {quote(name)}")
        if name in value[:i]:
            raise AnnealError(where, f"{quote(name)} is there twice")
    # A text of numpy's, or an enum's, becomes a plain one.
    return tuple(str.__str__(name) for name in value)
