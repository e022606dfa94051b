"""Reads configs as plain dicts and lists, with OmegaConf's idea of numbers (PyYAML takes ``1e-7`` for a string)."""

from __future__ import annotations

from typing import Any

from omegaconf import OmegaConf

from lightning_anneal.errors import AnnealError, quote


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
        loaded = OmegaConf.create(source) if source.lstrip().startswith("{") else OmegaConf.load(source)
        return OmegaConf.to_container(loaded, resolve=False)
    except OSError:
        raise AnnealError(where, f"no such file '{source}'") from None
    except Exception as error:
        reason = " ".join(str(error).replace(f'in "{source}", ', "").split())[:120]
        raise AnnealError(where, f"{quote(source)} can't be read: {reason}") from None
