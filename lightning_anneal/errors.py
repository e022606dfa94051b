"""The package's one error, and the help it gives with names that were nearly right."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

_LONGEST = 200
_LONGEST_QUOTE = 60


class AnnealError(ValueError):
    """A mistake in a schedule, a config or its use, told in one line: where, what, what to do.

    Args:
        where: The key or place the mistake is in, such as ``"beta.total_steps"``.
        what: What is wrong there, and how to mend it.

    Example:
        >>> raise AnnealError("beta.total_steps", "must be positive, got 0")
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: beta.total_steps: must be positive, got 0
    """

    def __init__(self, where: str, what: str) -> None:
        # Both stay in ``args``, so that the error survives pickling on its way out of a worker process.
        super().__init__(where, what)
        self.where = where
        self.what = what

    def __str__(self) -> str:
        # One line, whatever was quoted; the place gives way first, because what to do stands at the end.
        where, what = (" ".join(text.splitlines()) for text in (self.where, self.what))
        room = max(_LONGEST - len(what) - 2, 40)
        return _cut(f"{_cut(where, room)}: {what}", _LONGEST)


def quote(value: object) -> str:
    """``repr`` of a value on one line, cut where it is too long for an error message.

    Example:
        >>> quote("cosine")
        "'cosine'"
    """
    text = repr(value[: _LONGEST_QUOTE * 2] if isinstance(value, str) else value)
    return _cut(" ".join(text.splitlines()), _LONGEST_QUOTE)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def nearest(name: object, known: Iterable[object]) -> str:
    """The tail of an error about an unknown name: the nearest known one; nothing if none is near.

    Example:
        >>> nearest("cosin", ["linear", "cosine"]), nearest("xyz", ["linear", "cosine"])
        ("; did you mean 'cosine'?", '')
    """
    folded = {str(k).lower(): str(k) for k in sorted({str(k) for k in known})}
    word = str(name)[:_LONGEST_QUOTE].lower()
    # One wrong letter in a name of two or three weighs more.
    near = get_close_matches(word, folded, n=1, cutoff=0.6 if len(word) > 3 else 0.5) if isinstance(name, str) else []
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def suggestion(name: object, known: Iterable[object]) -> str:
    """The tail of an error about an unknown name: the nearest known one, else the known ones.

    Example:
        >>> suggestion("cosin", ["linear", "cosine"])
        "; did you mean 'cosine'?"
        >>> suggestion("xyz", ["linear", "cosine"])
        '; known: cosine, linear'
    """
    names = sorted({str(k) for k in known})
    listed = ", ".join(names)
    if len(listed) > _LONGEST_QUOTE * 2:
        listed = listed[: _LONGEST_QUOTE * 2 - 3].rsplit(", ", 1)[0] + ", ..."
    return nearest(name, names) or (f"; known: {listed}" if names else "")
