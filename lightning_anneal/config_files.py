"""Reads configs as plain dicts and lists, with OmegaConf's idea of numbers (PyYAML takes ``1e-7`` for a string)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from lightning_anneal.errors import AnnealError, quote

# OmegaConf 2.4 takes no more, and older ones take any number of them.
_MOST_VALUES = 10_000
_DEEPEST = 50
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_config(source: str, where: str = "--config") -> Any:
    """A config from a YAML file, or from its text.

    Interpolations stay as they are: who reads the config next has a mind of its own about them.

    Args:
        source: A path, or a text that begins with a brace, as the processes that DDP starts are given it.
        where: What the error stands under.

    Raises:
        AnnealError: If there is no such file, or it can't be read.

    Example:
        >>> read_config("{lr: 1e-7}")
        {'lr': 1e-07}
    """
    try:
        text = source if source.lstrip().startswith("{") else Path(source).read_text(encoding="utf-8")
        return OmegaConf.to_container(parse(text), resolve=False)
    except OSError:
        raise AnnealError(where, f"no such file '{source}'") from None
    except Exception as error:
        raise AnnealError(where, f"{quote(source)} can't be read: {reason(error)}") from None


def parse(text: str) -> Any:
    """The mapping or list of a YAML text, as OmegaConf has it.

    Raises:
        Exception: Of whatever kind, for `reason` to tell of.
    """
    _check_size(text)
    return OmegaConf.create(text)


def reason(error: Exception) -> str:
    """Why a text can't be read, on one line, with its place in the text."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem is not None:
        mark = error.problem_mark or error.context_mark
        place = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        context, problem = error.context or "", error.problem
        if problem.startswith("but "):  # another document was found, where "expected a single document in the stream"
            problem = f"{context} {problem}"
        elif problem == "second occurrence":  # of "found duplicate anchor; first occurrence"
            problem = context.partition(";")[0]
        return f"{place}{' '.join(problem.split())}"[:120]
    if isinstance(error, yaml.reader.ReaderError):
        return f"a control character, {error.character:#04x}, at character {error.position}"
    if isinstance(error, UnicodeDecodeError):
        return f"no UTF-8 at byte {error.start}"
    # OmegaConf tells on further lines where it stood in its own code.
    return " ".join(str(error).split("full_key:")[0].split())[:120]


def _check_size(text: str) -> None:
    """Refuse what is no mapping or list, or would take more memory than any config, before it is built.

    A few aliases of aliases stand for billions of values, and a few thousand brackets are more than can be called into
    each other. The parser's events come one by one, and an alias is one of them.
    """
    total = 0
    sizes: dict[str, int] = {}
    inside: list[tuple[str | None, int]] = []
    for event in yaml.parse(text, Loader=_Loader):
        anchor = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            inside.append((anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            own, before = inside.pop()
            if own is not None:
                sizes[own] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if any(own == anchor for own, _ in inside):
                raise ValueError(f"'*{anchor}' stands for what it is in")
            # What is not among them is a plain value, because no anchor is given twice.
            total += sizes.get(str(anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            if not inside:
                raise ValueError("it holds no mapping")
            total += 1
        if total > _MOST_VALUES:
            raise ValueError(f"more than {_MOST_VALUES:,} keys and values, each alias counted as what it stands for")
        if len(inside) > _DEEPEST:
            raise ValueError(f"nested more than {_DEEPEST} deep")
