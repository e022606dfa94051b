"""Do values that steer themselves keep what they promise? Three seeds each: ``python -m examples.control_study``.

The VAE of the digits with its KL held at set points, and with its reconstruction held within a limit; and two tasks
whose losses differ by a thousand, weighed against each other in seven ways. Each part is a search or two.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from examples import control_report
from examples.study import BETA, TASKS
from examples.study_report import Curves
from examples.study_runs import options_of, publish, train_choices

_BY_STEP = {"interval": "step", "eval_value": 1.0}
_PI = {"strategy": "pi_control", "monitor": "kl_loss", "kp": 0.01, "ki": 0.001, "max_value": 10.0, **_BY_STEP}
_RISING = {"strategy": "linear", "start_value": 2.0, "end_value": 15.0, "total_steps": "70%"}
SET_POINTS: dict[str, dict[str, Any]] = {
    "5": {**_PI, "set_point": 5.0},
    "10": {**_PI, "set_point": 10.0},
    "15": {**_PI, "set_point": 15.0},
    "2 to 15": {**_PI, "set_point": _RISING},
}
"""The settings of beta that hold the KL of the VAE, by set point."""

_WITHIN = {
    "strategy": "constraint",
    "monitor": "reconstruction_loss",
    "limit": 18.0,
    "effect": "raises",
    "start_value": 1.0,
    "min_value": 0.01,
    "max_value": 10.0,
    **_BY_STEP,
}
LIMITS: dict[str, dict[str, Any]] = {
    "geco": {**_WITHIN, "rate": 0.02, "momentum": 0.9},
    "pi": {**_WITHIN, "method": "pi", "ki": 0.002, "kp": 0.01},
}
"""The settings of beta that hold the reconstruction of the VAE within 18 nats, by method."""

_LOSSES = {"losses": ["label", "ink"]}
WEIGHTS: dict[str, dict[str, Any]] = {
    "equal": {**_LOSSES, "method": "fixed", "weights": {"label": 1.0, "ink": 1.0}},
    "by hand": {**_LOSSES, "method": "fixed", "weights": {"label": 1.0, "ink": 0.0005}},
    "dwa": {**_LOSSES, "method": "dwa"},
    "relobralo": {**_LOSSES, "method": "relobralo"},
    "inverse_ema": {**_LOSSES, "method": "inverse_ema"},
}
"""The arguments of LossBalancingCallback, by method."""
LEARNED: dict[str, dict[str, Any]] = {
    "learned": {"learned_weights": True},
    "learned, rate 0.2": {"learned_weights": True, "weights_learning_rate": 0.2},
}
"""The arguments of the model that has `UncertaintyWeights`; without a rate of their own they have that of the rest."""

Runs = dict[str, list[Curves]]
Train = Callable[..., Runs]


@dataclass(frozen=True)
class Part:
    """A part of the study.

    Args:
        title: Over its picture.
        train: Trains what isn't trained yet: given a folder, `seeds`, `workers`, and perhaps `epochs` and `trainer`.
        table: Makes its table of the runs.
        draw: Makes its picture: given a path, the title and the runs.
        page: Where both go.
    """

    title: str
    train: Train
    table: Callable[[Mapping[str, Sequence[Curves]]], str]
    draw: Callable[[Path, str, Mapping[str, Sequence[Curves]]], None]
    page: str


def train_vae(
    choices: Mapping[str, Mapping[str, Any]],
    folder: Path,
    *,
    epochs: int = TASKS["digits"].epochs,
    trainer: Mapping[str, Any] | None = None,
    **options: Any,
) -> Runs:
    """Train the VAE of the digits with beta under each of these settings; for the rest see `train_choices`.

    Args:
        choices: The settings of beta, by name.
        folder: Of the runs.
        epochs: How long it is trained.
        trainer: Other arguments of the Trainer.
        options: Others of `train_choices`.
    """
    config = replace(TASKS["digits"], epochs=epochs).config(trainer or {})
    return train_choices(config, BETA, choices, folder, **options)


def train_tasks(folder: Path, *, epochs: int = 40, trainer: Mapping[str, Any] | None = None, **options: Any) -> Runs:
    """Train both tasks with their losses weighed in each way; for the rest see `train_choices`."""
    task = replace(TASKS["digits"], model="examples.digits_two_tasks.DigitsTwoTasks", epochs=epochs)
    config = task.config({"gradient_clip_val": None, **(trainer or {})})
    weigh = {"class_path": "lightning_anneal.LossBalancingCallback", "init_args": WEIGHTS["equal"]}
    balanced = {**config, "trainer": {**config["trainer"], "callbacks": [weigh]}}
    runs = train_choices(balanced, "trainer.callbacks.0.init_args", WEIGHTS, folder / "callback", **options)
    learned = {**config, "trainer": {**config["trainer"], "callbacks": []}}
    learned["model"] = {**config["model"], "init_args": LEARNED["learned"]}
    return runs | train_choices(learned, "model.init_args", LEARNED, folder / "learned", **options)


PARTS = {
    "pi_control": Part(
        "VAE of digits: KL held at set points",
        lambda folder, **options: train_vae(SET_POINTS, folder, **options),
        lambda runs: control_report.set_point_table(runs, SET_POINTS),
        lambda path, title, runs: control_report.draw_set_points(path, title, runs, SET_POINTS),
        "docs/howto/pi-control.md",
    ),
    "constraint": Part(
        "VAE of digits: reconstruction held within 18 nats",
        lambda folder, **options: train_vae(LIMITS, folder, **options),
        lambda runs: control_report.limit_table(runs, _WITHIN["limit"]),
        lambda path, title, runs: control_report.draw_limits(path, title, runs, _WITHIN["limit"]),
        "docs/howto/constraint.md",
    ),
    "losses": Part(
        "Two tasks on the digits: seven ways to weigh their losses",
        train_tasks,
        control_report.weights_table,
        control_report.draw_weights,
        "docs/howto/loss-balancing.md",
    ),
}
"""What is trained, by its name on the command line."""


def report(name: str, runs: Mapping[str, Sequence[Curves]], folder: Path) -> str:
    """Write ``study_NAME.png`` and ``study_NAME.md`` into a folder, and return the table."""
    part = PARTS[name]
    part.draw(folder / f"study_{name}.png", part.title, runs)
    text = part.table(runs)
    (folder / f"study_{name}.md").write_text(text)
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = options_of(arguments, __doc__, PARTS)
    for name in options.tasks:
        if options.fresh:
            shutil.rmtree(options.folder / name, ignore_errors=True)
        runs = PARTS[name].train(options.folder / name, workers=options.workers)
        print(f"\n{PARTS[name].title}\n\n{report(name, runs, options.folder)}")
        if options.publish:
            publish(f"study_{name}", options.folder, PARTS[name].page, f"study:{name}")
    print(f"Pictures: {options.folder}/study_*.png")


if __name__ == "__main__":
    main()
