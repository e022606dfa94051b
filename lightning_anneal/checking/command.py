"""``lightning-anneal check CONFIG``: every mistake in a config's annealing and optimizer parts, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_anneal.checking.doubts import find_doubts
from lightning_anneal.checking.parameter_lines import line_of, phases_line
from lightning_anneal.checking.planned_rules import plan
from lightning_anneal.checking.problems import find_problems, optimizer_problems
from lightning_anneal.clock import Horizon
from lightning_anneal.errors import AnnealError
from lightning_anneal.optim.advice import doubts
from lightning_anneal.preview.command import Parser, model_source, planned_run, read_overridden, take_words
from lightning_anneal.preview.planned_run import PlannedRun
from lightning_anneal.preview.rates import Rates
from lightning_anneal.preview.run_config import RunConfig, read_run
from lightning_anneal.terminal import say, say_error, show

_USAGE_ERROR = 2
_LIGHTNINGS_EPOCHS = 1000
"""How long Lightning trains when nobody says."""


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: The words behind ``check``.

    Returns:
        The exit status: 0, or 2 if there are problems.
    """
    try:
        rest, overrides = take_words(arguments)
        options = _options().parse_args(rest)
        run = read_run(read_overridden(options.config, overrides), Path(options.config).parent)
        problems, warnings, lines = check(run, options.epochs, options.steps_per_epoch)
    except AnnealError as error:
        say_error(str(error))
        return _USAGE_ERROR
    for line in lines:
        show(line)
    for warning in warnings:
        say(f"warning: {warning}")
    for problem in problems:
        say_error(str(problem))
    return _USAGE_ERROR if problems else 0


def check(
    run: RunConfig, epochs: object = None, steps_per_epoch: object = None
) -> tuple[list[AnnealError], list[str], list[str]]:
    """Look at a config.

    Args:
        run: The config.
        epochs: The run's length, in place of the config's.
        steps_per_epoch: Optimizer steps in an epoch.

    Returns:
        Every problem, every doubt, and a line for each parameter that is in order.
    """
    problems = list(run.problems)
    try:
        planned = planned_run(run, epochs, steps_per_epoch, default_epochs=_LIGHTNINGS_EPOCHS, endless=True)
    except AnnealError as error:
        return [*problems, error], [], []
    rules = plan(planned, problems)
    rates = _rates(run, planned, problems)
    source = model_source(run)
    problems += find_problems(run, planned, rates, source)
    warnings = find_doubts(run, rules, source, given_epochs=epochs is not None)
    if rates is not None and rates.scheduler is not None:
        warnings += doubts(rates.scheduler, rates.timing)
    lines = [phases_line(run.plan)] if run.plan else []
    lines += [line_of(each) for each in rules] + ([] if rates is None else [_rate_line(rates, run)])
    watched = run.callback_named("OptimizerWatchCallback")
    if not run.callbacks and not watched and rates is None and not problems:
        problems.append(AnnealError("config", "anneals nothing: no callback of lightning_anneal in trainer.callbacks"))
    if not problems and "model" in run.config:
        problems += _as_lightning_sees_it(run)
    return list({str(problem): problem for problem in problems}.values()), warnings, lines


def _rates(run: RunConfig, planned: PlannedRun, problems: list[AnnealError]) -> Rates | None:
    if run.optim is None:
        return None
    problems += optimizer_problems(run.optim)
    per_epoch = planned.steps_per_epoch
    horizon = Horizon(planned.max_epochs, planned.max_steps, lambda: per_epoch or 100)
    try:
        return Rates(run.optim, run.learning_rate, horizon)
    except AnnealError as error:
        problems.append(error)
        return None


def _as_lightning_sees_it(run: RunConfig) -> list[AnnealError]:
    """What LightningCLI has to say of the rest, such as a misspelled argument of the model."""
    # Here, because it takes Lightning.
    from lightning_anneal.lightning_cli import check_config

    try:
        check_config(run.config)
    except AnnealError as error:
        # A model of the other Lightning package is for a LightningCLI of that one.
        return [] if "not correspond to a subclass of Lightning" in error.what else [error]
    return []


def _rate_line(rates: Rates, run: RunConfig) -> str:
    optimizer = type(rates.optimizer).__name__
    base = float(rates.optimizer.defaults["lr"])
    made = [s for s in (rates.scheduler, rates.plateau) if s is not None]
    names = " and ".join(getattr(s, "shown_as", type(getattr(s, "inner", s)).__name__) for s in made)
    scheduler = f", {names} by {rates.timing.interval}" if names else ""
    watched = f" on {rates.monitor}" if rates.monitor else ""
    groups = (run.optim or {}).get("lr_parameter_groups")
    more = f", groups {', '.join(map(str, groups))}" if isinstance(groups, dict) and groups else ""
    return f"learning rate: {optimizer} at {base:g}{scheduler}{watched}{more}"


def _options() -> Parser:
    parser = Parser(
        prog="lightning-anneal check",
        description="Finds every mistake in the annealing and optimizer parts of a config, and what is legal but "
        "surely not meant. Nothing is trained or built. Exit status 2 if there is a mistake.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("config", metavar="CONFIG", help="of LightningCLI, or a training config with beta_* keys, or annealing_params")
    add("--epochs", metavar="N", help="length of the run (default: the config's)")
    add("--steps-per-epoch", metavar="N", help="optimizer steps in an epoch, for what is by step")
    add("--set", metavar="PATH=VALUE", help="change the config first, as for fit")
    return parser
