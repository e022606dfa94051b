"""``lightning-anneal fit|validate|test|predict``: a LightningCLI for any model and data.

Overrides reach everywhere, and mistakes are told in one line.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lightning_anneal.callback_configs import check_callbacks
from lightning_anneal.config_files import read_config
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.optim.registry import checked_mapping
from lightning_anneal.overrides import apply_override, take_overrides
from lightning_anneal.settings_are_data import refuse_classes
from lightning_anneal.terminal import say_error

_USAGE_ERROR = 2
_GIVEN = re.compile(r"\s*Given value type:.*", re.DOTALL)
_GIVEN_MAPPING = re.compile(r'Parser key "([\w.]+)".*Given value: (\{[^\n]*?\w:[^ \n][^\n]*?\})', re.DOTALL)


class _Parser(LightningArgumentParser):
    """Ends with the error in one last line, and no usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and exit with status 2."""
        cause = _anneal_error(ex)
        # What was given stands at the end of a long story; what was expected is the better end.
        say_error(str(cause or _missing_space(message) or _GIVEN.sub("", message)))
        sys.exit(_USAGE_ERROR)

    def add_instantiator(self, instantiator: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Have a class made by a function, and keep what that raises."""
        super().add_instantiator(_keeping(instantiator), *arguments, **options)


class AnnealCLI(LightningCLI):
    """LightningCLI in which an `AnnealError` stays one, whatever was raised around it."""

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Make the parser, or one of a subcommand."""
        parser = super().init_parser(**kwargs)
        # Lightning 2.5.0 can't be told which class to make; ours has the same state.
        parser.__class__ = _Parser
        return parser

    def instantiate_classes(self) -> None:
        """Build model, data and trainer."""
        # After Lightning's own, for all classes that those aren't for.
        self.parser.add_instantiator(_make, object)
        _RAISED.clear()
        try:
            super().instantiate_classes()
        except Exception as error:
            cause = _anneal_error(error) or next(filter(None, map(_anneal_error, _RAISED)), None)
            if cause is None:
                raise
            raise cause from None
        finally:
            _RAISED.clear()


_RAISED: list[Exception] = []
"""What constructors raised. jsonargparse 4.50 and older tell a union's errors as text, and not what they come from."""


def _keeping(make: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with what it raises in `_RAISED`; its signature is what jsonargparse goes by."""

    @functools.wraps(make)
    def made(*arguments: Any, **options: Any) -> Any:
        try:
            return make(*arguments, **options)
        except Exception as error:
            _RAISED.append(error)
            raise

    return made


def _make(class_type: type[Any], *arguments: Any, **options: Any) -> Any:
    """What jsonargparse does by default."""
    return class_type(*arguments, **options)


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
            save_config_kwargs={"overwrite": True, "config_filename": _full_name(sys.argv)},
        )
    except (AnnealError, MisconfigurationException) as error:
        # Lightning's own error for what a config says, such as a monitor that is not logged.
        say_error(str(error))
        return _USAGE_ERROR
    finally:
        sys.argv = command_line
    return 0


def check_config(config: Mapping[str, Any]) -> None:
    """Read a config as ``fit`` would, without building anything.

    Args:
        config: A LightningCLI config as plain dicts and lists.

    Raises:
        AnnealError: With what ``fit`` would say of it.
    """
    check_callbacks(config)
    said, printed = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
            status = main(["fit", "--config", json.dumps(config, ensure_ascii=False), "--print_config"])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    if status:
        raise AnnealError("config", said.getvalue().splitlines()[-1].removeprefix("error: "))


def _prepared(arguments: Sequence[str]) -> list[str]:
    """The command line with its overrides worked into its configs, whose callbacks have been looked at."""
    words, overrides = take_overrides(arguments)
    configs: dict[int, Any] = {}
    for i, word in enumerate(words):
        if word in ("--config", "-c") and i + 1 < len(words):
            configs[i + 1] = read_config(words[i + 1])
        elif word.startswith("--config="):
            configs[i] = read_config(word.removeprefix("--config="))
    for override in overrides:
        apply_override(list(configs.values()), override)
    for i, config in configs.items():
        if not isinstance(config, dict) or not config:
            raise AnnealError("--config", f"a config is a mapping, got {quote(config)}")
        if "search" in config:
            raise AnnealError("search", "is a section for `lightning-anneal search`; run that, or leave it out")
        refuse_classes(config)
        check_callbacks(config)
        if overrides:
            # The parser takes a config's text as well as its path.
            words[i] = ("--config=" if words[i].startswith("--config=") else "") + json.dumps(config)
    return words


def _full_name(words: Sequence[str]) -> str:
    """What LightningCLI's dump of the config is called: not as one that was given, which may lie where it goes."""
    given = any(word.removeprefix("--config=").endswith("config.yaml") for word in words)
    return "full_config.yaml" if given else "config.yaml"


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
