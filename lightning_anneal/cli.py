"""The command ``lightning-anneal``: which part of the package does what is asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from lightning_anneal.errors import quote, suggestion
from lightning_anneal.terminal import say_error, show

_USAGE_ERROR = 2
_COMMANDS = ("fit", "validate", "test", "predict", "search", "preview", "check", "plot")

_OVERVIEW = """usage: lightning-anneal COMMAND ...

fit, validate, test, predict   a LightningCLI for any model and data, with --set PATH=VALUE
search                         many runs from one config: a grid, random, tpe or a population
search ACTION DIR              status, table, best, plot, run-one or export-schedule of a search
preview CONFIG                 draws the annealed values of a run, without training
check CONFIG                   finds every mistake in a config's annealing and optimizer parts, without training
plot RUN_DIR                   draws what happened in a run: values, the reasons of their changes, losses

COMMAND --help tells more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The words behind the command's name; those of the process by default.

    Returns:
        The exit status: 0, 2 for a mistake in a config or on the command line, 1 for a search with failed runs.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in ([], ["-h"], ["--help"]):
        show(_OVERVIEW)
        return 0 if words else _USAGE_ERROR
    if words[0] not in _COMMANDS and not words[0].startswith("-"):
        say_error(f"unknown command {quote(words[0])}{suggestion(words[0], _COMMANDS)}")
        return _USAGE_ERROR
    # Each part loads what it needs, and no more.
    if words[:1] == ["search"]:
        from lightning_anneal.search.command import main as search

        return search(words[1:])
    if words[:1] == ["preview"]:
        from lightning_anneal.preview.command import main as preview

        return preview(words[1:])
    if words[:1] == ["check"]:
        from lightning_anneal.checking.command import main as check

        return check(words[1:])
    if words[:1] == ["plot"]:
        from lightning_anneal.history.command import main as plot

        return plot(words[1:])
    from lightning_anneal.lightning_cli import main as lightning

    return lightning(words)


if __name__ == "__main__":
    sys.exit(main())
