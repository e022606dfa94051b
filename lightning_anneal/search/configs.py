"""The configs of a search: the one it begins with, and the plain one of each run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from lightning_anneal.config_files import read_config
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search import typed
from lightning_anneal.search.space import TRAINER
from lightning_anneal.search.values import plain_value

FOLDERS = ("config", "configs")
SECTION = "search"
SEED = "seed_everything"
DEFAULT_SEED = 0
_TO_RESOLVE = ("${", "???")
"""OmegaConf's interpolations, and its mark of a value that has yet to be given."""
_ENVIRONMENT = re.compile(r"\$\{oc\.(?:decode:\s*\$\{oc\.env:[^{}]*\}|env:[^{}]*)\}")
_STANDS_IN = re.compile(r"environment_([0-9]+)_stands_in")


def find_config(folder: Path) -> Path:
    """The first YAML file by name in ``config/`` or ``configs/`` of a folder.

    Raises:
        AnnealError: If there is none.
    """
    for name in FOLDERS:
        found = first_config(folder / name)
        if found is not None:
            return found
    raise AnnealError("--config", "there is no YAML file in config/ or configs/ here; name a config")


def first_config(folder: Path) -> Path | None:
    """The first YAML file of a folder by name."""
    files = sorted(path for path in folder.glob("[!.]*.y*ml") if path.suffix in (".yaml", ".yml"))
    return files[0] if files else None


def read_search_config(config: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A config without its ``search`` section, and that section.

    Args:
        config: A YAML file, a folder whose first file by name is taken, or the config itself, which isn't changed.

    Raises:
        AnnealError: If it can't be read, or one of both is no mapping.
    """
    if isinstance(config, DictConfig):
        read: Any = OmegaConf.to_container(config, resolve=False)
    elif isinstance(config, Mapping):
        read = plain_value("config", config)
    else:
        path = Path(config)
        if path.is_dir():
            found = first_config(path)
            if found is None:
                raise AnnealError("--config", f"there is no YAML file in {quote(str(path))}")
            path = found
        read = read_config(str(path))
    if not isinstance(read, dict) or not read:
        raise AnnealError("--config", f"a config is a mapping, got {quote(read)}")
    section = read.pop(SECTION, None) or {}
    if not isinstance(section, dict):
        raise AnnealError(SECTION, f"must be a mapping of settings, got {quote(section)}")
    # It may refer to the rest of the config.
    return read, resolve({**read, SECTION: section})[SECTION] if section else {}


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with its interpolations resolved, but for those of the environment.

    What an environment holds may be a secret, and the outcome is written to files. So ``${oc.env:NAME}`` stays as it
    is, for the program that reads the file.

    Raises:
        AnnealError: If one leads nowhere.
    """
    if not any(sign in repr(config) for sign in _TO_RESOLVE):
        return dict(config)
    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"environment_{len(kept) - 1}_stands_in"

    try:
        hidden = OmegaConf.create(_in_texts(dict(config), lambda text: _ENVIRONMENT.sub(keep, text)))
        resolved: Any = OmegaConf.to_container(hidden, resolve=True, throw_on_missing=True)
    except Exception as error:
        raise AnnealError("config", f"can't be resolved: {' '.join(str(error).split())[:120]}") from None
    return dict(_in_texts(resolved, lambda text: _STANDS_IN.sub(lambda match: kept[int(match[1])], text)))


def _in_texts(value: Any, change: Callable[[str], str]) -> Any:
    """A value whose texts are changed."""
    if isinstance(value, Mapping):
        return {key: _in_texts(part, change) for key, part in value.items()}
    if isinstance(value, list):
        return [_in_texts(part, change) for part in value]
    return change(value) if isinstance(value, str) else value


def is_lightning_cli(config: Mapping[str, Any]) -> bool:
    """Whether a config is one of LightningCLI: its trainer has arguments of a Trainer, or it names a model's class."""
    trainer = config.get("trainer") or {}
    if not names_classes(config) or not isinstance(trainer, Mapping):
        return False
    return all(typed.knows(TRAINER, str(key)) for key in trainer)


def names_classes(config: Mapping[str, Any]) -> bool:
    """Whether a config was at least meant for LightningCLI: it has a trainer, or names its model's class."""
    model = config.get("model")
    return isinstance(config.get("trainer"), Mapping) or (isinstance(model, Mapping) and "class_path" in model)


def with_seed(config: dict[str, Any]) -> dict[str, Any]:
    """With a seed, the same for every run: LightningCLI would draw another one each time."""
    # `seed_everything: true` draws one, too; `false` is a wish.
    if is_lightning_cli(config) and config.get(SEED, True) is True:
        return {SEED: DEFAULT_SEED, **{key: value for key, value in config.items() if key != SEED}}
    return config


def plain_config(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A run's config: interpolations resolved, and what it writes, in its folder.

    Args:
        config: With the run's values in place.
        folder: The run's folder.

    Raises:
        AnnealError: For an interpolation that leads nowhere.
    """
    resolved = resolve(config)
    if not is_lightning_cli(resolved):
        return resolved
    return {**resolved, "trainer": _writing_into(resolved.get("trainer") or {}, folder)}


def to_yaml(config: Mapping[str, Any]) -> str:
    """A config as text, numbers such as 1e-7 as OmegaConf reads them again."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def _writing_into(trainer: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A Trainer's arguments, all that it writes in a folder: elsewhere it would lie beside other runs' or over them."""
    told = {**deepcopy(dict(trainer)), "default_root_dir": str(folder)}
    if "logger" in told:
        told["logger"] = _each(told["logger"], lambda logger: _logging_into(logger, folder))
    if "callbacks" in told:
        told["callbacks"] = _each(told["callbacks"], lambda callback: _saving_into(callback, folder))
    return told


def _each(entry: Any, change: Callable[[Any], Any]) -> Any:
    """One or several classes, each changed."""
    return [change(part) for part in entry] if isinstance(entry, list) else change(entry)


def _logging_into(logger: Any, folder: Path) -> Any:
    """A logger that writes into a folder, if it can be told where to."""
    name = logger.get("class_path") if isinstance(logger, Mapping) else logger
    if not isinstance(name, str):
        return logger
    arguments = (logger.get("init_args") if isinstance(logger, Mapping) else None) or {}
    # LightningCLI knows Lightning's loggers by their names alone.
    known = any(typed.knows(path, "save_dir") for path in (name, f"lightning.pytorch.loggers.{name}"))
    if not known and "save_dir" not in arguments:
        return logger
    rest = logger if isinstance(logger, Mapping) else {}
    return {**rest, "class_path": name, "init_args": {**arguments, "save_dir": str(folder)}}


def _saving_into(callback: Any, folder: Path) -> Any:
    """A callback whose ``dirpath`` is in a folder."""
    arguments = callback.get("init_args") if isinstance(callback, Mapping) else None
    if not isinstance(arguments, Mapping) or not isinstance(arguments.get("dirpath"), str):
        return callback
    given = Path(arguments["dirpath"])
    inside = given if not given.is_absolute() and ".." not in given.parts else Path(given.name.replace("..", ""))
    return {**callback, "init_args": {**arguments, "dirpath": str(folder / inside)}}
