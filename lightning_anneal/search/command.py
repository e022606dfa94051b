"""``lightning-anneal search``: plans, runs, resumes and shows searches."""

from __future__ import annotations

import argparse
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from lightning_anneal.errors import AnnealError, nearest, quote, suggestion
from lightning_anneal.search.child import main as run_child
from lightning_anneal.search.configs import find_config
from lightning_anneal.search.execute import execute_plan
from lightning_anneal.search.files import is_held, write_whole
from lightning_anneal.search.hyper_param_search import HyperParamSearch, resumed_plan
from lightning_anneal.search.names import labels
from lightning_anneal.search.plan import Plan, relative
from lightning_anneal.search.population import winners_schedule
from lightning_anneal.search.results import SearchResult
from lightning_anneal.search.runs import CONFIG, FINISHED, LOCK
from lightning_anneal.search.settings import ALGORITHMS, ENGINES, MODES, PRUNERS
from lightning_anneal.search.space import read_variation
from lightning_anneal.terminal import say, say_error, show

_FAILED, _USAGE_ERROR, _INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Ends with the error in one line, and no usage."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            word = unknown.split()[0]
            message = f"unknown option {quote(word)}{nearest(word, self._option_string_actions)}"
            if not word.startswith("-"):
                message = f"{quote(word)} is one word too many"
        raise AnnealError("search", message)


def main(arguments: Sequence[str]) -> int:
    """Run ``lightning-anneal search``.

    Args:
        arguments: The words behind ``search``.

    Returns:
        The exit status: 0, 1 if runs failed, 2 for a mistake, 130 after Ctrl-C.
    """
    try:
        action = arguments[0] if arguments else ""
        if action in _ACTIONS:
            return _ACTIONS[action](arguments[1:])
        if action and not action.startswith("-"):
            known = [*_ACTIONS, "--resume DIR"]
            hint = "; did you mean --resume?" if action == "resume" else suggestion(action, known)
            raise AnnealError("search", f"unknown action {quote(action)}{hint}")
        return _search(arguments)
    except AnnealError as error:
        say_error(str(error))
        return _USAGE_ERROR
    except OSError as error:  # a full disk, a folder that may not be written to
        # What was to be in its place, not the file beside it that was to be moved there.
        say_error(f"{error.filename2 or error.filename or 'search'}: {error.strerror}")
        return _FAILED


def _search(arguments: Sequence[str]) -> int:
    options = vars(_options().parse_args(arguments))
    resumed, dry, execute = options.pop("resume"), options.pop("dry_run"), options.pop("execute")
    config, pieces, root = options.pop("config"), options.pop("param_variations"), options.pop("root_dir")
    if options["seeds"] is not None:
        options["seeds"] = _seeds(options["seeds"])
    if resumed is not None:
        if dry or not execute:
            raise AnnealError("--resume", "runs what is left; take search status DIR to look")
        return _resume(resumed, config, pieces, options)
    if config is None:
        config = str(find_config(Path.cwd()))
        say(f"config: {relative(Path(config))}")
    variations: dict[str, list[Any]] = {}
    for path, values in map(read_variation, pieces or ()):
        if path in variations:
            raise AnnealError("--param-variations", f"{quote(path)} is there twice; give its values once")
        variations[path] = values
    search = HyperParamSearch(config, variations, root_dir=root, quiet=dry, **options)
    if dry:
        search.check()
        show(search.preview())
        return 0
    plan = search.plan()
    say(f"search: {relative(plan.folder)}")
    if not execute:
        show("\n".join(relative(run.folder) for run in plan.runs))
        return 0
    return _execute(plan)


def _resume(folder: str, config: str | None, pieces: list[str] | None, options: dict[str, Any]) -> int:
    if config is not None or pieces:
        raise AnnealError("--resume", "goes on with the config and the axes that the search began with; leave them out")
    return _execute(resumed_plan(folder, options))


def _execute(plan: Plan) -> int:
    try:
        result = execute_plan(plan)
    except KeyboardInterrupt:
        say(f"stopped; go on with: lightning-anneal search --resume {shlex.quote(relative(plan.folder))}")
        return _INTERRUPTED
    show(result.leaderboard())
    trained = any(run.epochs for run in result.runs)
    ranked = trained and _tell_best(result)
    failed = [run for run in result.runs if run.state not in FINISHED]
    if failed:
        names = ", ".join(run.name for run in failed[:3]) + (", ..." if len(failed) > 3 else "")
        say(f"{len(failed)} of {len(result.runs)} runs aren't finished: {names}")
        say(f"try them again with: lightning-anneal search --resume {shlex.quote(relative(plan.folder))}")
        return _FAILED
    # A command without Lightning has no metrics. With others than the one that was to rank them, something is wrong.
    return _FAILED if trained and not ranked else 0


def _status(arguments: Sequence[str]) -> int:
    plan = _plan("status", "How far each run is.", arguments)
    states = ["cut off" if run.cut_off else run.state for run in plan.runs]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "no runs yet"
    lines = [f"{plan.folder.name}: {counts}"]
    for run, state in zip(plan.runs, states, strict=True):
        epochs = run.epochs
        lines.append(f"  {run.index:>4}  {state:<8}  {f'epoch {max(epochs)}' if epochs else '':<10}  {run.name}")
    show("\n".join(lines))
    return 0


def _table(arguments: Sequence[str]) -> int:
    result = SearchResult(_plan("table", "The runs by rank; writes results.csv.", arguments))
    show(result.leaderboard(most=len(result.runs)))
    result.to_csv()
    return 0


def _best(arguments: Sequence[str]) -> int:
    result = SearchResult(_plan("best", "The best run and its config.", arguments))
    show(relative(result.best.folder / CONFIG))
    _tell_best(result)
    return 0


def _plot(arguments: Sequence[str]) -> int:
    parser = _parser("plot", "Draws the metric over each axis.")
    parser.add_argument("-o", "--output", help="the picture's file (default: results.png in DIR)")
    options = parser.parse_args(arguments)
    show(relative(SearchResult(Plan.load(options.folder)).plot(options.output)))
    return 0


def _run_one(arguments: Sequence[str]) -> int:
    parser = _parser("run-one", "Runs one run of a search, as an array job of a cluster does.")
    parser.add_argument("--index", type=int, required=True, help="the run's number, from 0")
    options = parser.parse_args(arguments)
    plan = Plan.load(options.folder)
    if plan.settings.algo not in ("grid", "random"):
        raise AnnealError("run-one", f"the runs of {plan.settings.algo} depend on each other; take search --resume DIR")
    run = plan.run(options.index)
    if run.state in FINISHED:
        say(f"{run.name} is {run.state} already")
        return 0
    if is_held(run.folder / LOCK):
        raise AnnealError(run.name, "another process trains it; wait for it, or end it")
    return run_child(run.folder)


def _export_schedule(arguments: Sequence[str]) -> int:
    parser = _parser("export-schedule", "Writes what the winner of pbt went through as annealing_params.")
    parser.add_argument("-o", "--output", help="the YAML file (default: the terminal)")
    options = parser.parse_args(arguments)
    plan = Plan.load(options.folder)
    text = winners_schedule(plan)
    if options.output is None:
        show(text.rstrip())
    else:
        try:
            write_whole(Path(options.output), text)
        except OSError as error:
            raise AnnealError(quote(options.output), f"can't be written: {error.strerror}") from None
        show(options.output)
    return 0


def _tell_best(result: SearchResult) -> bool:
    """Name the best run, or say why there is none."""
    try:
        best = result.best
    except AnnealError as error:
        say_error(str(error))
        return False
    value, epoch = best.best(result.monitor, result.mode) or (math.nan, 0)
    short = labels(best.values)
    values = ", ".join(f"{short[path]} {value}" for path, value in best.values.items())
    say(f"best: {result.monitor} {value:.6g} in epoch {epoch}, {values or best.name}")
    return True


def _plan(action: str, description: str, arguments: Sequence[str]) -> Plan:
    return Plan.load(_parser(action, description).parse_args(arguments).folder)


def _parser(action: str, description: str) -> _Parser:
    parser = _Parser(prog=f"lightning-anneal search {action}", description=description, allow_abbrev=False)
    parser.add_argument("folder", metavar="DIR", help="the search's folder, runs/..._search")
    return parser


def _options() -> _Parser:
    parser = _Parser(
        prog="lightning-anneal search",
        description="A run for each combination of the values that a config lists.",
        epilog="Lists of the config are axes; {grid: [...]} and {fixed: [...]} mark one, {uniform: [low, high]} and "
        "{log_uniform: [low, high]} a range. A section `search` of the config holds any option. Also: lightning-anneal "
        "search " + "|".join(_ACTIONS) + " DIR, where DIR is runs/..._search.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--config", "-c", help="a YAML file (default: the first by name in config/ or configs/)")
    add(
        "--param-variations",
        nargs="+",
        action="extend",
        metavar="PATH=V1,V2",
        help="axes, in place of the config's own at that path",
    )
    add("--run-prefix", help="what the names of the folders begin with (default: run)")
    add("--no-execute", dest="execute", action="store_false", help="make the folders, run nothing")
    add("--dry-run", action="store_true", help="show the axes, make nothing")
    add("--resume", metavar="DIR", help="go on with the search of this folder")
    add("--root-dir", default="runs", help="where the folders go (default: runs)")
    add("--algo", metavar="|".join(ALGORITHMS), help="default: grid")
    add("--n-runs", type=int, help="runs of random and tpe, population of pbt")
    add("--seeds", metavar="0,1,2", help="each combination is run with each seed")
    add("--monitor", help="the metric that ranks the runs (default: val_loss)")
    add("--mode", metavar="|".join(MODES), help="which of it is better")
    add("--workers", type=int, help="runs at once (default: 1)")
    add("--gpus-per-run", type=int, help="GPUs that each run has for itself")
    add("--cpus-per-run", type=int, help="threads of each run")
    add("--engine", metavar="|".join(ENGINES), help="default: local")
    add("--ray-address", help="of a Ray cluster (default: one on this machine)")
    add("--retries", type=int, help="how often a failed run is taken up again (default: 1)")
    add("--fail-fast", action="store_true", default=None, help="end when a run fails")
    add("--pruner", metavar="|".join(PRUNERS), help="ends runs that promise little (default: none)")
    add("--sampler-seed", type=int, help="of what the search draws (default: 0)")
    add("--max-runs", type=int, help="a larger search is refused (default: 10000)")
    add("--command", help="what is run, with {config}, perhaps {run_dir} (default: this package's own fit)")
    return parser


def _seeds(text: str) -> list[int]:
    try:
        return [int(seed) for seed in text.split(",")]
    except ValueError:
        raise AnnealError("--seeds", f"write whole numbers as in 0,1,2, got {quote(text)}") from None


_ACTIONS: dict[str, Callable[[Sequence[str]], int]] = {
    "status": _status,
    "table": _table,
    "best": _best,
    "plot": _plot,
    "run-one": _run_one,
    "export-schedule": _export_schedule,
}
