"""Does annealing beta help? Two VAEs under three schedules, with three seeds each: ``python -m examples.study``.

The eighteen runs are two searches of this package, so a study that was stopped goes on where it was, and runs that are
done stay as they are.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.study_report import Curves, draw, table
from examples.study_runs import options_of, publish, train_choices

_RAMP = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0}
SCHEDULES: dict[str, dict[str, Any]] = {
    "constant": {"strategy": "constant", "value": 1.0},
    # Bowman et al., CoNLL 2016, with a straight line for their sigmoid.
    "monotonic": {**_RAMP, "total_steps": "50%"},
    # Fu et al., NAACL 2019: four cycles, each of them half a ramp and half at 1.
    "cyclical": {"strategy": "warm_restart", "base": {**_RAMP, "total_steps": "12.5%"}, "restart_interval": "25%"},
}
"""The settings of beta. By optimizer step, and 1 in every validation: then ``val_loss`` is the negative ELBO."""

BETA = "trainer.callbacks.0.init_args.annealing_params.beta"
"""Where a config has the settings of beta."""


@dataclass(frozen=True)
class Task:
    """A model and its data.

    Args:
        title: Over its picture.
        unit: What a loss is for.
        model: Import path of the model, which is trained with its defaults.
        data: Import path of the data, likewise.
        epochs: How long it is trained.
        latent_size: Its latents, to read the active units by.
    """

    title: str
    unit: str
    model: str
    data: str
    epochs: int
    latent_size: int

    def config(self, trainer: Mapping[str, Any]) -> dict[str, Any]:
        """What `lightning-anneal fit` takes.

        Args:
            trainer: Other arguments of the Trainer.
        """
        anneal = {"annealing_params": {"beta": settings_of("constant")}}
        return {
            "seed_everything": 0,
            "model": {"class_path": self.model},
            "data": {"class_path": self.data},
            "trainer": {
                "max_epochs": self.epochs,
                "accelerator": "cpu",
                "gradient_clip_val": 5.0,
                "logger": False,
                "enable_checkpointing": False,
                "enable_progress_bar": False,
                "enable_model_summary": False,
                "callbacks": [{"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": anneal}],
                **trainer,
            },
        }


TASKS = {
    "text": Task(
        "LSTM VAE of sentences", "sentence", "examples.text_vae.TextVAE", "examples.text_data.DocstringData", 20, 16
    ),
    "digits": Task(
        "VAE of digits", "image", "examples.digits_elbo.SampledDigitsVAE", "examples.digits_data.DigitsData", 100, 8
    ),
}
"""What is trained, by its name on the command line."""


def settings_of(schedule: str) -> dict[str, Any]:
    """The whole settings of beta under one of the `SCHEDULES`."""
    return {**SCHEDULES[schedule], "interval": "step", "eval_value": 1.0}


def train(
    task: Task,
    folder: Path,
    *,
    schedules: Sequence[str] = tuple(SCHEDULES),
    seeds: Sequence[int] = (0, 1, 2),
    workers: int = 2,
    trainer: Mapping[str, Any] | None = None,
) -> dict[str, list[Curves]]:
    """Train what isn't trained yet, and return the metrics of all runs by schedule, each a seed.

    Args:
        task: What is trained.
        folder: Of its runs.
        schedules: Names of `SCHEDULES`.
        seeds: Of the weights, the order of batches, and what is drawn.
        workers: Runs at once, each on one thread.
        trainer: Other arguments of the Trainer.

    Raises:
        SystemExit: If runs failed, or the folder has those of another study.
    """
    axis = {name: settings_of(name) for name in schedules}
    return train_choices(task.config(trainer or {}), BETA, axis, folder, seeds=seeds, workers=workers)


def report(task: Task, name: str, curves: Mapping[str, Sequence[Curves]], folder: Path) -> str:
    """Write ``study_NAME_vae.png`` and ``study_NAME_vae.md`` into a folder, and return the table."""
    settings = {schedule: settings_of(schedule) for schedule in curves}
    draw(folder / f"study_{name}_vae.png", f"{task.title}: three schedules of beta", task.unit, settings, curves)
    text = table(curves, task.unit, task.latent_size)
    (folder / f"study_{name}_vae.md").write_text(text)
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    options = options_of(arguments, __doc__, TASKS)
    for name in options.tasks:
        if options.fresh:
            shutil.rmtree(options.folder / name, ignore_errors=True)
        curves = train(TASKS[name], options.folder / name, workers=options.workers)
        print(f"\n{TASKS[name].title}\n\n{report(TASKS[name], name, curves, options.folder)}")
        if options.publish:
            publish(f"study_{name}_vae", options.folder, "README.md", f"study:{name}")
    print(f"Pictures: {options.folder}/study_*.png")


if __name__ == "__main__":
    main()
