"""``--set PATH=VALUE``: overrides that reach anything in a YAML config, callbacks and lists too.

LightningCLI's own options stop at lists and replace a free-form mapping as a whole. So the overrides are worked into
the config, and the outcome is handed to LightningCLI in place of the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from omegaconf import OmegaConf

from lightning_anneal.errors import AnnealError, quote, suggestion

_SEGMENT = re.compile(r"\.?([^.\[\]=]+)|\[([^\]]+)\]")


def apply_overrides(arguments: Sequence[str]) -> list[str]:
    """Work the ``--set`` options into the configs they go with.

    Args:
        arguments: A command line, such as ``["fit", "--config", "a.yaml", "--set", "trainer.max_epochs=3"]``.

    Returns:
        The command line without ``--set``, and with the changed config as text in place of its path.

    Raises:
        AnnealError: If a path is in none of the configs, or can't be read.
    """
    rest, overrides = _split(arguments)
    if not overrides:
        return rest
    places = [i + 1 for i, word in enumerate(rest[:-1]) if word in ("--config", "-c")]
    if not places:
        raise AnnealError("--set", "changes a config; give one with --config")
    configs = {i: _load(rest[i]) for i in places}
    for override in overrides:
        path, value = _parse(override)
        _override(path, value, list(configs.values()), override)
    for i, config in configs.items():
        rest[i] = json.dumps(config)
    return rest


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
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
        elif word.startswith("--config="):
            rest += ["--config", word.removeprefix("--config=")]
        else:
            rest.append(word)
    return rest, overrides


def _load(path: str) -> Any:
    try:
        # Interpolations stay as they are: what they stand for is none of a saved config's business.
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except OSError:
        raise AnnealError("--config", f"no such file {quote(path)}") from None
    except Exception as error:
        raise AnnealError("--config", f"{quote(path)} can't be read: {' '.join(str(error).split())[:120]}") from None


def _parse(override: str) -> tuple[list[str], Any]:
    """Path and value; a key with dots in it stands in brackets."""
    path: list[str] = []
    at = 0
    while at < len(override) and override[at] != "=":
        match = _SEGMENT.match(override, at)
        if match is None:
            raise AnnealError("--set", f"can't read the path in {quote(override)}; write a.b[0][key.with.dots].c=value")
        path.append(match[1] or match[2])
        at = match.end()
    if not path or at == len(override):
        raise AnnealError("--set", f"write --set PATH=VALUE, got {quote(override)}")
    value = override[at + 1 :]
    try:
        read = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={value}"]), resolve=False)
    except Exception as error:
        raise AnnealError(
            "--set", f"can't read the value {quote(value)}: {' '.join(str(error).split())[:80]}"
        ) from None
    assert isinstance(read, dict)
    return path, read["value"]


def _override(path: list[str], value: Any, configs: list[Any], override: str) -> None:
    """Change the last config that has the place; a new key is made only in a mapping that is there."""
    error: AnnealError | None = None
    for config in reversed(configs):
        try:
            home = config
            for segment in path[:-1]:
                home = _inside(home, segment, override)
            if isinstance(home, list):
                home[_index(home, path[-1], override)] = value
            elif isinstance(home, dict):
                home[_key(home, path[-1])] = value
            else:
                raise AnnealError("--set", f"'{path[-2]}' in {quote(override)} is a plain value; it has no keys")
            return
        except AnnealError as failure:
            error = error or failure
    raise error or AnnealError("--set", "no config")


def _inside(home: Any, segment: str, override: str) -> Any:
    if isinstance(home, list):
        return home[_index(home, segment, override)]
    if not isinstance(home, dict):
        raise AnnealError("--set", f"there is nothing inside a plain value for '{segment}' in {quote(override)}")
    key = _key(home, segment)
    if key not in home:
        raise AnnealError("--set", f"the config has no '{segment}'{suggestion(segment, home)}")
    return home[key]


def _key(home: dict[Any, Any], segment: str) -> Any:
    """The key as it is in the mapping: YAML reads ``10:`` as a number."""
    return next((k for k in home if str(k) == segment), segment)


def _index(home: list[Any], segment: str, override: str) -> int:
    if not segment.isdigit() or int(segment) >= len(home):
        raise AnnealError("--set", f"no element '{segment}' in {quote(override)}; take 0 to {len(home) - 1}")
    return int(segment)
