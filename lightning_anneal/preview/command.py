"""``lightning-anneal preview CONFIG``: what the annealed values of a run are going to be."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from lightning_anneal.checks import count, number, positive
from lightning_anneal.clock import Horizon
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.preview.followers import follows_rate
from lightning_anneal.preview.metrics import read_metric
from lightning_anneal.preview.model_source import ModelSource, read_source
from lightning_anneal.preview.planned import Preview
from lightning_anneal.preview.planned_run import PlannedRun
from lightning_anneal.preview.run_config import RunConfig, place_of, read_run
from lightning_anneal.preview.simulate import simulate
from lightning_anneal.terminal import say, say_error, show

_USAGE_ERROR = 2
_MANY: dict[str, Any] = {"action": "append", "default": []}


class Parser(argparse.ArgumentParser):
    """Ends with one line, and no usage."""

    def error(self, message: str) -> NoReturn:
        say_error(f"{message} (--help tells the options)")
        sys.exit(_USAGE_ERROR)


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: The words behind ``preview``.

    Returns:
        The exit status: 0, or 2 for a mistake in the config or on the command line.
    """
    try:
        words, overrides = take_words(arguments)
        options = _options().parse_args(words)
        preview = preview_of(
            read_run(read_overridden(options.config, overrides), Path(options.config).parent),
            epochs=options.epochs,
            steps_per_epoch=options.steps_per_epoch,
            metrics=dict(_pair("--metric", each) for each in options.metric),
            starts=dict(_pair("--start", each) for each in options.start),
        )
        if options.csv:
            show(preview.to_csv().rstrip())
        if options.output is not None:
            show(str(preview.save(options.output)))
        if not options.csv and options.output is None:
            show(preview.text(options.width, ascii_only=True if options.ascii else None))
        else:
            for note in preview.notes:
                say(note)
    except AnnealError as error:
        say_error(str(error))
        return _USAGE_ERROR
    return 0


def preview_of(
    run: RunConfig,
    *,
    epochs: object = None,
    steps_per_epoch: object = None,
    metrics: dict[str, str] | None = None,
    starts: dict[str, str] | None = None,
) -> Preview:
    """The preview of a config.

    Args:
        run: The config.
        epochs: The run's length, in place of the config's.
        steps_per_epoch: Optimizer steps in an epoch, in place of what the config shows.
        metrics: By name, the CSV file of a metric.
        starts: By parameter, the value found.

    Raises:
        AnnealError: For the first mistake in the config, or a run whose length is not known.
    """
    if run.problems:
        more = f" ({len(run.problems) - 1} more: lightning-anneal check)" if len(run.problems) > 1 else ""
        raise AnnealError(run.problems[0].where, run.problems[0].what + more)
    if not run.rules and run.optim is None:
        raise AnnealError("config", "anneals nothing: no callback of lightning_anneal in trainer.callbacks")
    names = [rule.name for rule in run.rules]
    for name in starts or {}:
        if name not in names:
            raise AnnealError("--start", f"unknown parameter {quote(name)}{suggestion(name, names)}")
    planned = planned_run(run, epochs, steps_per_epoch)
    planned.metrics = {name: read_metric(name, path) for name, path in (metrics or {}).items()}
    planned.starts = {**planned.starts, **{n: number(f"--start {n}", v) for n, v in (starts or {}).items()}}
    return simulate(planned)


def planned_run(
    run: RunConfig,
    epochs: object = None,
    steps_per_epoch: object = None,
    default_epochs: float | None = None,
    *,
    endless: bool = False,
) -> PlannedRun:
    """The run of a config, as far as the config and the source of its model show it.

    Args:
        run: The config.
        epochs: Its length, in place of the config's.
        steps_per_epoch: Optimizer steps in an epoch, in place of what the config shows.
        default_epochs: Its length where the config says nothing.
        endless: Whether a run without a length will do.

    Raises:
        AnnealError: If its length is not known.
    """
    max_epochs = run.max_epochs if epochs is None else positive("--epochs", epochs)
    max_steps = run.max_steps if epochs is None else None
    if max_epochs is None and max_steps is None and run.trainer.get("max_epochs") is None:
        max_epochs = default_epochs
    if max_epochs is None and max_steps is None and not endless:
        what = "not in the config" if run.trainer.get("max_epochs") is None else "-1 is no length"
        raise AnnealError("trainer.max_epochs", f"{what}; give --epochs")
    source = model_source(run)
    starts = {}
    for rule in run.rules:
        home, key = place_of(rule)
        # An argument may have the name of an attribute, and the attribute another value.
        in_source = source is not None and home == "model" and key in source.attributes
        start = source.numbers.get(key) if source is not None and in_source else run.start_of(rule)
        if start is not None:
            starts[rule.name] = start

    def rates(horizon: Horizon) -> Any:
        # Here, because it takes torch.
        from lightning_anneal.preview.rates import Rates

        return Rates(run.optim or {}, run.learning_rate, horizon)

    optim = run.optim or {}
    shows_rate = optim.get("scheduler") is not None or any(map(follows_rate, run.rules))
    return PlannedRun(
        rules=run.rules,
        max_epochs=max_epochs,
        max_steps=max_steps,
        steps_per_epoch=(
            run.steps_per_epoch if steps_per_epoch is None else positive("--steps-per-epoch", steps_per_epoch)
        ),
        min_epochs=count("trainer.min_epochs", run.trainer.get("min_epochs") or 0, least=0),
        starts=starts,
        stoppers=run.stoppers,
        rates=rates if run.optim is not None and shows_rate else None,
        one_rate=all(optim.get(key) is None for key in ("lr_parameter_groups", "recurrent_learning_rate_multiplier")),
        validates_every=count("trainer.check_val_every_n_epoch", run.trainer.get("check_val_every_n_epoch") or 1),
        by_command=True,
        plan=run.plan,
    )


def model_source(run: RunConfig) -> ModelSource | None:
    """The source of the config's model, if it is to be found."""
    model = run.config.get("model")
    path = model.get("class_path") if isinstance(model, dict) else model
    # A project's own modules lie in the folder that the command is run from.
    return read_source(path, run.model_arguments, [os.getcwd(), *sys.path]) if isinstance(path, str) else None


def read_overridden(source: str, overrides: Sequence[str]) -> Any:
    """A config with ``--set PATH=VALUE`` worked into it.

    Raises:
        AnnealError: If it can't be read, or an override has no place in it.
    """
    # OmegaConf takes a third of the time that this command does.
    from lightning_anneal.config_files import read_config
    from lightning_anneal.overrides import apply_override

    config = read_config(source, "CONFIG")
    for override in overrides:
        apply_override([config], override)
    return config


def take_words(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A command line without its ``--set`` options, and those."""
    from lightning_anneal.overrides import take_overrides

    return take_overrides(arguments)


def _pair(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise AnnealError(
            option, f"write {option} NAME={'FILE.csv' if option == '--metric' else 'VALUE'}, got '{text}'"
        )
    return name, value


def _options() -> Parser:
    parser = Parser(
        prog="lightning-anneal preview",
        description="Draws every annealed parameter of a config over the planned run. Nothing is trained or built.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="of LightningCLI, or a training config with beta_* keys, or annealing_params")
    add("-o", "--output", metavar="FILE", help="write a picture (.png, .svg, .pdf) or the values (.csv)")
    add("--csv", action="store_true", help="print the values as CSV")
    add("--epochs", metavar="N", help="length of the run (default: the config's)")
    add("--steps-per-epoch", metavar="N", help="optimizer steps in an epoch (default: what limit_train_batches says)")
    add(
        "--metric",
        **_MANY,
        metavar="NAME=FILE.csv",
        help="a metric to answer to (triggers, gates: else a made-up one)",
    )
    add("--start", **_MANY, metavar="NAME=VALUE", help="a value that only the built model would show")
    add("--width", type=int, metavar="N", help="characters in a line (default: the terminal's)")
    add("--ascii", action="store_true", help="do without Braille dots")
    add("--set", metavar="PATH=VALUE", help="change the config first, as for fit")
    return parser
