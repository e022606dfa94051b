"""``--set PATH=VALUE``: overrides that reach anything in a YAML config, callbacks and lists too.

LightningCLI's own options stop at lists and replace a free-form mapping as a whole. So the overrides are worked into
the config, and the outcome is handed to LightningCLI in place of the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from lightning_anneal.errors import AnnealError, quote, suggestion

_INDEX = re.compile(r"[0-9]{1,9}")
_SEGMENT = re.compile(r"\.?([^.\[\]=]+)|\[([^\]]+)\]")


def take_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line without its ``--set`` options, and those options.

    Example:
        >>> take_overrides(["fit", "--set", "trainer.max_epochs=3", "--config", "a.yaml"])
        (['fit', '--config', 'a.yaml'], ['trainer.max_epochs=3'])
    """
    rest: list[str] = []
    overrides: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--set":
            override = next(words, None)
            if override is None:
                raise AnnealError("--set", "write --set PATH=VALUE")
            overrides.append(override)
        elif word.startswith("--set="):
            overrides.append(word.removeprefix("--set="))
        else:
            rest.append(word)
    return rest, overrides


def apply_override(configs: Sequence[Any], override: str) -> None:
    """Change the last of the configs that has the place; a new key is made only in a mapping that is there.

    Args:
        configs: Plain configs, in the order in which they are merged.
        override: ``PATH=VALUE``; indices and keys with dots stand in brackets.

    Raises:
        AnnealError: If the place is in none of them, or the override can't be read.

    Example:
        >>> config = {"trainer": {"callbacks": [{"init_args": {"annealing_params": {"a.b": {}}}}]}}
        >>> apply_override([config], "trainer.callbacks[0].init_args.annealing_params[a.b].end_value=1e-4")
        >>> config["trainer"]["callbacks"][0]["init_args"]["annealing_params"]
        {'a.b': {'end_value': 0.0001}}
    """
    path, value = _parse(override)
    error: AnnealError | None = None
    for config in reversed(configs):
        try:
            home = config
            for segment in path[:-1]:
                home = _inside(home, segment, override)
            home[_place(home, path[-1], override)] = value
            return
        except AnnealError as failure:
            error = error or failure
    raise error or AnnealError("--set", "changes a config; give one with --config")


def read_path(text: str, where: str) -> list[str]:
    """The keys of a path such as ``a.b[0][key.with.dots].c``.

    Args:
        text: The path.
        where: What the error stands under.

    Raises:
        AnnealError: If it can't be read.

    Example:
        >>> read_path("trainer.callbacks[0].init_args", "--set")
        ['trainer', 'callbacks', '0', 'init_args']
    """
    keys, _ = _path_up_to(text, where, "")
    return keys


def write_path(keys: Sequence[str]) -> str:
    """The path that `read_path` reads so; keys with dots in them stand in brackets.

    Example:
        >>> write_path(["callbacks", "0", "optimizer.lr"])
        'callbacks.0[optimizer.lr]'
    """
    text = ""
    for key in keys:
        text += f"[{key}]" if set(key) & set(".[]=") else f".{key}" if text else key
    return text


def read_value(text: str, where: str) -> Any:
    """A value as YAML has it, with OmegaConf's idea of numbers.

    Raises:
        AnnealError: If it can't be read.
    """
    try:
        read = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={text}"]), resolve=False)
    except Exception as error:
        reason = " ".join(str(error).split())[:80]
        raise AnnealError(where, f"can't read the value {quote(text)}: {reason}") from None
    return dict(read)["value"]  # type: ignore[arg-type]


def _path_up_to(text: str, where: str, end: str) -> tuple[list[str], int]:
    """The keys before a letter, and where that stands."""
    keys: list[str] = []
    at = 0
    while at < len(text) and text[at] != end:
        match = _SEGMENT.match(text, at)
        if match is None:
            raise AnnealError(where, f"can't read the path in {quote(text)}; write a.b[0][key.with.dots].c=value")
        keys.append(match[1] or match[2])
        at = match.end()
    return keys, at


def _parse(override: str) -> tuple[list[str], Any]:
    """Path and value."""
    path, at = _path_up_to(override, "--set", "=")
    if not path or at == len(override):
        raise AnnealError("--set", f"write --set PATH=VALUE, got {quote(override)}")
    return path, read_value(override[at + 1 :], "--set")


def _inside(home: Any, segment: str, override: str) -> Any:
    place = _place(home, segment, override)
    if segment == "init_args" and isinstance(home, dict) and "class_path" in home:
        home.setdefault("init_args", {})
    if isinstance(home, dict) and place not in home:
        raise AnnealError("--set", f"the config has no {quote(segment)}{suggestion(segment, home)}")
    return home[place]


def _place(home: Any, segment: str, override: str) -> Any:
    """The key or index as it is in the config: YAML reads ``10:`` as a number."""
    if isinstance(home, list):
        if not _INDEX.fullmatch(segment) or int(segment) >= len(home):
            raise AnnealError("--set", f"no element {quote(segment)} in {quote(override)}; take 0 to {len(home) - 1}")
        return int(segment)
    if not isinstance(home, dict):
        raise AnnealError("--set", f"{quote(home)} is a plain value and has no {quote(segment)} in it")
    return next((key for key in home if str(key) == segment), segment)
