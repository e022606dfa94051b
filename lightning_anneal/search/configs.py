"""The configs of a search: the one it begins with, and the plain one of each run."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lightning_anneal.config_files import read_config
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search import typed
from lightning_anneal.search.space import TRAINER

FOLDERS = ("config", "configs")
SECTION = "search"
SEED = "seed_everything"
DEFAULT_SEED = 0
_INTERPOLATION = "${"


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
    files = sorted(path for path in folder.glob("*.y*ml") if path.suffix in (".yaml", ".yml"))
    return files[0] if files else None


def read_search_config(config: str | Path | Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A config without its ``search`` section, and that section.

    Args:
        config: A YAML file, a folder whose first file by name is taken, or the config itself, which isn't changed.

    Raises:
        AnnealError: If it can't be read, or one of both is no mapping.
    """
    if isinstance(config, Mapping):
        read: Any = OmegaConf.to_container(OmegaConf.create(dict(config)), resolve=False)
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
    return read, section


def is_lightning_cli(config: Mapping[str, Any]) -> bool:
    """Whether a config is one of LightningCLI, as far as its trainer tells."""
    trainer = config.get("trainer")
    return isinstance(trainer, Mapping) and all(typed.knows(TRAINER, str(key)) for key in trainer)


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
    resolved: Any = config
    if _INTERPOLATION in repr(config):
        try:
            resolved = OmegaConf.to_container(OmegaConf.create(config), resolve=True)
        except Exception as error:
            raise AnnealError("config", f"can't be resolved: {' '.join(str(error).split())[:120]}") from None
    if is_lightning_cli(resolved):
        resolved = {**resolved, "trainer": deepcopy(resolved["trainer"])}
        _write_into(resolved["trainer"], folder)
    return dict(resolved)


def to_yaml(config: Mapping[str, Any]) -> str:
    """A config as text, numbers such as 1e-7 as OmegaConf reads them again."""
    return OmegaConf.to_yaml(OmegaConf.create(dict(config)))


def _write_into(trainer: dict[str, Any], folder: Path) -> None:
    """Let all that a Trainer writes go to a folder: elsewhere it would lie beside other runs', or over them."""
    trainer["default_root_dir"] = str(folder)
    for logger in _parts(trainer.get("logger")):
        arguments = logger.setdefault("init_args", {})
        if "save_dir" in arguments or typed.knows(str(logger["class_path"]), "save_dir"):
            arguments["save_dir"] = str(folder)
    for callback in _parts(trainer.get("callbacks")):
        arguments = callback.get("init_args") or {}
        if isinstance(arguments.get("dirpath"), str):
            arguments["dirpath"] = str(folder / Path(arguments["dirpath"]).name)


def _parts(entry: Any) -> list[dict[str, Any]]:
    """The classes that are named, one or several."""
    return [
        part
        for part in (entry if isinstance(entry, list) else [entry])
        if isinstance(part, dict) and "class_path" in part
    ]
