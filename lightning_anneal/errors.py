"""The package's one error, and the help it gives with names that were nearly right."""

from __future__ import annotations

from collections.abc import Collection, Iterable
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
        where, what = _printable(self.where), _printable(self.what)
        room = max(_LONGEST - len(what) - 2, 40)
        # Of a place that is too long the middle goes: its start is the parameter, its end the key.
        if len(where) > room:
            where = f"{where[: room // 2 - 3]}...{where[-(room - room // 2) :]}"
        return _cut(f"{where}: {what}", _LONGEST)


def quote(value: object) -> str:
    """``repr`` of a value on one line, cut where it is too long for an error message.

    Example:
        >>> quote("cosine")
        "'cosine'"
    """
    try:
        text = repr(value[: _LONGEST_QUOTE * 2] if isinstance(value, str) else value)
    except Exception:  # nested too deeply, a number of too many digits, or a repr of somebody's own that fails
        text = f"a {type(value).__name__}"
    return _cut(_printable(text), _LONGEST_QUOTE)


def _printable(text: str) -> str:
    """On one line, and with what a terminal would act upon, such as escapes, written out."""
    line = " ".join(text.splitlines())
    return line if line.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."


def nearest(name: object, known: Iterable[object]) -> str:
    """The tail of an error about an unknown name: the nearest known one; nothing if none is near.

    Example:
        >>> nearest("cosin", ["linear", "cosine"]), nearest("xyz", ["linear", "cosine"])
        ("; did you mean 'cosine'?", '')
    """
    if not isinstance(name, str):
        return ""
    folded = {str(k).lower(): str(k) for k in sorted({str(k) for k in known})}
    word = name[:_LONGEST_QUOTE].lower()
    # One wrong letter in a name of two or three weighs more.
    near = get_close_matches(word, folded, n=1, cutoff=0.6 if len(word) > 3 else 0.5)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def misspelling(name: str, given: Iterable[object], known: Collection[object]) -> str | None:
    """The given name that seems to stand for a missing one: none of the known ones, and near it.

    Example:
        >>> misspelling("strategy", ["stratgy", "end_value"], {"strategy", "end_value"})
        'stratgy'
    """
    strange = [key for key in given if isinstance(key, str) and key not in known]
    return next((key for key in strange if nearest(key, known) == f"; did you mean {name!r}?"), None)


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
