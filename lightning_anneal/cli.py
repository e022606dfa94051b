"""The command ``lightning-anneal``: a LightningCLI for any model and data, with overrides that reach everywhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from lightning_anneal.errors import AnnealError
from lightning_anneal.overrides import apply_overrides

_USAGE_ERROR = 2


class _Parser(LightningArgumentParser):
    """Ends with the error in one last line, and no usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print what is wrong and exit with status 2."""
        cause = _anneal_error(ex)
        _fail(str(cause) if cause else _last_words(message))


class AnnealCLI(LightningCLI):
    """LightningCLI for models and data by ``class_path``; a mistake in the annealing part is told in one line."""

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
        The exit status: 0, or 2 for a mistake in a config.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Models are named by their import path, and a project's own lie in the folder the command is run from.
    sys.path.insert(0, os.getcwd())
    try:
        AnnealCLI(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            parser_class=_Parser,
            save_config_kwargs={"overwrite": True},
            args=apply_overrides(given),
        )
    except AnnealError as error:
        print(f"error: {error}", file=sys.stderr)
        return _USAGE_ERROR
    return 0


def _anneal_error(error: BaseException | None) -> AnnealError | None:
    """This package's error among the causes of another."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, AnnealError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def _last_words(message: str) -> str:
    """A message of many lines as one."""
    return " ".join(message.split())


def _fail(line: str) -> NoReturn:
    print(f"error: {line}", file=sys.stderr)
    sys.exit(_USAGE_ERROR)


if __name__ == "__main__":
    sys.exit(main())
