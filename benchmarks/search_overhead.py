"""What a search adds: the wall time of a grid of 8 tiny fits over that of the same 8 fits called by hand.

Trials of the engines and of the calls by hand take turns in one run, on one worker. By hand is what a script does:
``lightning-anneal fit --config`` for each config, one after the other. ``command`` is the whole of ``lightning-anneal
search``, whose process has to start, too, and reads the model's types.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from lightning_anneal import HyperParamSearch
from lightning_anneal.search.configs import to_yaml

CONFIG = {
    "seed_everything": 1,
    "model": {"class_path": "examples.digits_vae.DigitsVAE", "init_args": {"learning_rate": [1e-4, 3e-4, 1e-3, 3e-3]}},
    "data": {"class_path": "examples.digits_data.DigitsData", "init_args": {"batch_size": [64, 128]}},
    "trainer": {
        "max_epochs": 2,
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
}
LIMITS = {"local": 1.10}


def by_hand(folder: Path) -> float:
    """Seconds of the 8 fits, one process after the other."""
    plan = HyperParamSearch(CONFIG, root_dir=folder, quiet=True).plan()
    began = time.perf_counter()
    for run in plan.runs:
        command = [sys.executable, "-m", "lightning_anneal.cli", "fit", "--config", str(run.folder / "config.yaml")]
        subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - began


def searched(engine: str) -> Callable[[Path], float]:
    """Seconds of the same by an engine, on one worker."""

    def measure(folder: Path) -> float:
        search = HyperParamSearch(CONFIG, root_dir=folder, quiet=True, engine=engine, workers=1)
        began = time.perf_counter()
        states = {run.state for run in search.run().runs}
        assert states == {"done"}, states
        return time.perf_counter() - began

    return measure


def by_command(folder: Path) -> float:
    """Seconds of the whole command."""
    config = folder / "search.yaml"
    config.write_text(to_yaml(CONFIG))
    command = [sys.executable, "-m", "lightning_anneal.cli", "search", "--config", str(config)]
    began = time.perf_counter()
    subprocess.run([*command, "--root-dir", str(folder)], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> int:
    """Print the table; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3)
    parser.add_argument("--cases", nargs="*", help="some of them, besides those by hand")
    options = parser.parse_args()
    trials = options.trials
    cases = {"by hand": by_hand, "local": searched("local"), "command": by_command}
    if importlib.util.find_spec("ray") is not None:
        cases["ray"] = searched("ray")
    if options.cases:
        cases = {name: case for name, case in cases.items() if name in ("by hand", *options.cases)}
    # What this process has to import is no part of any engine.
    HyperParamSearch(CONFIG, quiet=True).check()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for trial in range(trials):
        # Each begins once, so that a machine that gets slower on the way is unfair to none.
        order = list(cases)[trial % len(cases) :] + list(cases)[: trial % len(cases)]
        for name in order:
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(cases[name](Path(folder)))
    broken = False
    print(f"{'engine':>8}  {'seconds':>8}  {'over by hand':>12}  limit")
    for name, measured in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(measured, seconds["by hand"], strict=True))
        limit = LIMITS.get(name)
        broken |= limit is not None and ratio > limit
        print(f"{name:>8}  {statistics.median(measured):>8.1f}  {ratio:>12.2f}  {limit or ''}")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
