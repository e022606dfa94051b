"""What the commands tell on the terminal: results on stdout, all else on stderr."""

from __future__ import annotations

import os
import sys

_LONGEST = 200


def say_error(error: str) -> None:
    """One line on stderr; where a long one gives way is the middle, because what to do stands at the end."""
    line = f"error: {' '.join(error.split())}"
    say(line if len(line) <= _LONGEST else f"{line[:70]} ... {line[-125:]}")


def say(text: str) -> None:
    """What a command tells besides its results."""
    print(_printable(text, sys.stderr.encoding), file=sys.stderr)


def show(text: str) -> None:
    """What a command was asked for."""
    try:
        print(_printable(text, sys.stdout.encoding), flush=True)
    except BrokenPipeError:
        # A reader such as `head` has seen enough; what is left at the end has to go somewhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _printable(text: str, encoding: str | None) -> str:
    """A text without the letters that a terminal can't show."""
    return text.encode(encoding or "ascii", "replace").decode(encoding or "ascii")
