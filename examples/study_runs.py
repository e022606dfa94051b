"""What every study of the examples does: train some choices with some seeds, a search each, and publish what came out.

The runs are a search of this package, so a study that was stopped goes on where it was, and runs that are done stay as
they are.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.study_report import Curves, put_between
from lightning_anneal import HyperParamSearch
from lightning_anneal.search.files import read_json, write_json

ROOT = Path(__file__).parents[1]


def train_choices(
    config: Mapping[str, Any],
    path: str,
    choices: Mapping[str, Any],
    folder: Path,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    workers: int = 2,
) -> dict[str, list[Curves]]:
    """Train what isn't trained yet, and return the metrics of all runs by choice, each a seed.

    Args:
        config: What `lightning-anneal fit` takes.
        path: The place in it where a choice goes.
        choices: What goes there, by name.
        folder: Of the runs.
        seeds: Of the weights, the order of batches, and what is drawn.
        workers: Runs at once, each on one thread.

    Raises:
        SystemExit: If runs failed, or the folder has those of another study.
    """
    plan = {"config": config, "choices": choices, "seeds": list(seeds)}
    if read_json(folder / "study.json") not in (None, plan):
        raise SystemExit(f"{folder} has the runs of another study; --fresh does them anew")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "study.json", plan)
    settings: dict[str, Any] = {"workers": workers, "cpus_per_run": 1}
    if begun := sorted(folder.glob("*_search/plan.json")):
        result = HyperParamSearch.resume(begun[0].parent, **settings)
    else:
        search = HyperParamSearch(dict(config), {path: list(choices.values())}, root_dir=folder, **settings)
        result = search.run(run_prefix="run", seeds=list(seeds), monitor="val_loss")
    runs = sorted(result.runs, key=lambda run: run.index)
    if failed := [run for run in runs if run.state != "done"]:
        raise SystemExit(f"{len(failed)} of {len(runs)} runs failed; the log of one is {failed[0].folder}/log.txt")
    # All epochs, of which the last one counts and not the best: where a run ends is a part of what is studied.
    return {
        name: [
            [epochs[e] for e in sorted(epochs)]
            for run in runs
            if run.values[path] == choices[name]
            for epochs in [run.epochs]
        ]
        for name in choices
    }


def publish(name: str, folder: Path, page: str, marker: str, root: Path = ROOT) -> None:
    """Put the table ``NAME.md`` between its markers in a page, and the picture ``NAME.png`` into the images."""
    shutil.copy(folder / f"{name}.png", root / "docs" / "images")
    path = root / page
    path.write_text(put_between(path.read_text(), marker, (folder / f"{name}.md").read_text()))


def options_of(arguments: Sequence[str] | None, description: str | None, tasks: Iterable[str]) -> argparse.Namespace:
    """What a study's command was asked for.

    Args:
        arguments: Those of the command; ``None`` for the ones that Python was started with.
        description: What its help says.
        tasks: The names of what it trains.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=list(tasks), default=list(tasks), help="some of what is trained")
    parser.add_argument("--folder", type=Path, default=Path("runs/study"), help="where everything goes")
    parser.add_argument("--workers", type=int, default=2, help="runs at once, a thread for each")
    parser.add_argument("--fresh", action="store_true", help="do runs anew that were done before")
    parser.add_argument("--publish", action="store_true", help="put tables and pictures into the pages, too")
    return parser.parse_args(arguments)
