"""The grammar of dotted paths.

::

    path    = segment ("." segment)*
    segment = NAME | INDEX | "*"
    NAME    = a letter, then letters, digits, "_" or "-"    (no leading underscore)
    INDEX   = "0" | a digit from 1 to 9, then digits         (not negative, no leading zero)

``*`` stands for every parameter group of an optimizer and means nothing anywhere else.
"""

from __future__ import annotations

import re

from lightning_anneal.errors import AnnealError, quote

_SEGMENT = re.compile(r"[A-Za-z][A-Za-z0-9_-]*|0|[1-9][0-9]*|\*")
_LONGEST = 500


def parse_path(where: str, path: str) -> tuple[str, ...]:
    """Split a dotted path into its segments.

    Raises:
        AnnealError: If it doesn't follow the grammar.

    Example:
        >>> parse_path("wd", "optimizer.param_groups.0.weight_decay")
        ('optimizer', 'param_groups', '0', 'weight_decay')
        >>> parse_path("x", "model._trainer")
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: x: '_trainer' is private; names with a leading underscore can't be annealed
    """
    if not path or len(path) > _LONGEST:
        raise AnnealError(where[:60], f"a path has 1 to {_LONGEST} characters, got {len(path)}")
    segments = tuple(path.split("."))
    for segment in segments:
        # fullmatch, because "$" would let a trailing newline through.
        if _SEGMENT.fullmatch(segment):
            continue
        if segment.startswith("_"):
            what = f"{quote(segment)} is private; names with a leading underscore can't be annealed"
        elif "[" in segment or "]" in segment:
            what = f"{quote(segment)} has brackets; write indices with dots, as in 'net.0.p'"
        else:
            what = f"{quote(segment)} is no name and no index; write names and indices joined by dots"
        raise AnnealError(where[:60], what)
    return segments
