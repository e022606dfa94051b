"""``lightning-anneal plot RUN_DIR``: what happened in a run."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lightning_anneal.drawing.figure import draw, save
from lightning_anneal.drawing.text import draw_text
from lightning_anneal.errors import AnnealError
from lightning_anneal.history.folders import find_run
from lightning_anneal.history.panels import Record
from lightning_anneal.history.scalars import by_epoch, read_scalars
from lightning_anneal.preview.command import Parser, planned_run, read_overridden
from lightning_anneal.preview.planned import Preview, shows_braille
from lightning_anneal.preview.run_config import read_run
from lightning_anneal.preview.simulate import simulate
from lightning_anneal.terminal import say, say_error, show

_USAGE_ERROR = 2
PICTURE = "annealing.png"


def main(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: The words behind ``plot``.

    Returns:
        The exit status: 0, or 2 for a mistake.
    """
    try:
        options = _options().parse_args(arguments)
        run = find_run(options.folder)
        record = Record(run, read_scalars(run))
        plan = None if options.against is None else planned(options.against, record)
        panels = record.panels(options.metrics or (), plan)
        label = "epoch" if record.times.known else "step"
        if options.text:
            width = shutil.get_terminal_size((80, 24)).columns
            ascii_only = not shows_braille()
            show(draw_text(panels, until=record.until, width=width, ascii_only=ascii_only, x_label=label))
        if not options.text or options.output is not None:
            per_epoch = record.times.steps_per_epoch if record.times.even else None
            title = "/".join(run.resolve().parts[-2:])
            figure = draw(panels, title=title, x_label=label, steps_per_epoch=per_epoch)
            show(str(save(figure, options.output or run / PICTURE)))
        for note in plan.notes if plan is not None else ():
            say(note)
    except AnnealError as error:
        say_error(str(error))
        return _USAGE_ERROR
    return 0


def planned(config: str, record: Record) -> Preview:
    """What a config plans for this run: with its steps, and for triggers with the metrics that it really had.

    Raises:
        AnnealError: For a mistake in the config.
    """
    run = read_run(read_overridden(config, ()), Path(config).parent)
    for problem in run.problems:
        raise problem
    plan = planned_run(run, steps_per_epoch=record.times.steps_per_epoch, endless=True)
    if plan.max_epochs is None and plan.max_steps is None:
        # How long it was, the run has shown.
        plan.max_epochs = record.times.epochs or None
    # The options that a preview takes are not those of this command.
    plan.by_command = None
    # What a schedule begins with, the run has shown.
    first = {panel.name: panel.traces[0].y[0] for panel in record.parameters() if not panel.words}
    plan.starts = {**first, **plan.starts}
    # Only those that something watches: with any other one a plan with nothing but schedules would end early.
    if plan.answers:
        # What is logged by step and by epoch has a tag for each.
        tags = {name: name if name in record.scalars else f"{name}_epoch" for name in {*plan.watched, "val_loss"}}
        found = {name: record.scalars[tag] for name, tag in sorted(tags.items()) if tag in record.scalars}
        plan.metrics = {name: by_epoch(points, record.times) for name, points in found.items()}
    return simulate(plan)


def _options() -> Parser:
    parser = Parser(
        prog="lightning-anneal plot",
        description="Draws what happened in a run: annealed values with the reasons of their changes, and the losses.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "folder",
        metavar="RUN_DIR",
        help="what TensorBoardLogger or CSVLogger has written, or a folder around it",
    )
    add("--against", metavar="CONFIG", help="draw what the config planned beside it; config.yaml in RUN_DIR is its own")
    add("-o", "--output", metavar="FILE", type=Path, help=f"the picture (default: {PICTURE} in the run's folder)")
    add("--metrics", metavar="NAME", nargs="+", help="metrics to draw (default: the losses)")
    add("--text", action="store_true", help="draw on the terminal")
    return parser
