"""The command ``lightning-anneal``: a LightningCLI for any model and data, with overrides that reach everywhere."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from omegaconf import OmegaConf

from lightning_anneal.callback_configs import check_callbacks
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.optim.registry import checked_mapping
from lightning_anneal.overrides import apply_override, take_overrides

_USAGE_ERROR = 2
_GIVEN_MAPPING = re.compile(r'Parser key "([\w.]+)".*Given value: (\{.*?\})', re.DOTALL)


class _Parser(LightningArgumentParser):
    """Ends with the error in one last line, and no usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and exit with status 2."""
        cause = _anneal_error(ex)
        _say(str(cause or _missing_space(message) or message))
        sys.exit(_USAGE_ERROR)


class AnnealCLI(LightningCLI):
    """LightningCLI in which an `AnnealError` stays one, whatever was raised around it."""

    def instantiate_classes(self) -> None:
        """Build model, data and trainer."""
        try:
            super().instantiate_classes()
        except Exception as error:
            cause = _anneal_error(error)
            if cause is None:
                raise
            raise cause from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words behind the command's name; those of the process by default.

    Returns:
        The exit status: 0, or 2 for a mistake in a config, as this package or Lightning sees it.
    """
    command_line = sys.argv
    # Models are named by their import path, and a project's own lie in the folder the command is run from.
    sys.path.insert(0, os.getcwd())
    try:
        # LightningCLI reads it from here, and so do the processes that DDP starts.
        sys.argv = [sys.argv[0], *_prepared(sys.argv[1:] if arguments is None else arguments)]
        AnnealCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=_Parser,
            save_config_kwargs={"overwrite": True},
        )
    except (AnnealError, MisconfigurationException) as error:
        # Lightning's own error for what a config says, such as a monitor that is not logged.
        _say(str(error))
        return _USAGE_ERROR
    finally:
        sys.argv = command_line
    return 0


def _prepared(arguments: Sequence[str]) -> list[str]:
    """The command line with its overrides worked into its configs, whose callbacks have been looked at."""
    words, overrides = take_overrides(arguments)
    configs: dict[int, Any] = {}
    for i, word in enumerate(words):
        if word in ("--config", "-c") and i + 1 < len(words):
            configs[i + 1] = _load(words[i + 1])
        elif word.startswith("--config="):
            configs[i] = _load(word.removeprefix("--config="))
    for override in overrides:
        apply_override(list(configs.values()), override)
    for i, config in configs.items():
        check_callbacks(config)
        if overrides:
            # The parser takes a config's text as well as its path.
            words[i] = ("--config=" if words[i].startswith("--config=") else "") + json.dumps(config)
    return words


def _load(path: str) -> Any:
    try:
        if path.lstrip().startswith("{"):  # a config's text, as the processes that DDP starts are given it
            return OmegaConf.to_container(OmegaConf.create(path), resolve=False)
        # Interpolations stay as they are: LightningCLI, which is to read this, has its own mind about them.
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except OSError:
        raise AnnealError("--config", f"no such file {quote(path)}") from None
    except Exception as error:
        raise AnnealError("--config", f"{quote(path)} can't be read: {' '.join(str(error).split())[:120]}") from None


def _say(error: str) -> None:
    """One line of at most 200 characters; where it gives way is the middle, because what to do stands at the end."""
    line = f"error: {' '.join(error.split())}"
    print(line if len(line) <= 200 else f"{line[:70]} ... {line[-125:]}", file=sys.stderr)


def _missing_space(message: str) -> AnnealError | None:
    """What is wrong with ``{momentum:0.9}``, if that is what the parser stumbles over."""
    match = _GIVEN_MAPPING.search(message)
    try:
        checked_mapping(match[1], match[2]) if match and "<class 'dict'>" in message else None
    except AnnealError as error:
        return error
    return None


def _anneal_error(error: BaseException | None) -> AnnealError | None:
    """This package's error among the causes of another."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, AnnealError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


if __name__ == "__main__":
    sys.exit(main())
