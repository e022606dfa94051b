"""What only TensorBoard can show. Other loggers get numbers through ``log_metrics`` and no call from here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_anneal.lightnings import Trainer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Layout = dict[str, dict[str, list[Any]]]
"""Charts by title, by category: ``{category: {title: ["Multiline", [regular expressions of tags]]}}``."""


def loggers_of(trainer: Trainer) -> list[Any]:
    """The Trainer's TensorBoard loggers."""
    # By name, because a run of the other Lightning package has a class of its own.
    return [x for x in trainer.loggers if any(cls.__name__ == "TensorBoardLogger" for cls in type(x).__mro__)]


def log_together(trainer: Trainer, chart: str, values: Mapping[str, float], step: int) -> None:
    """Draw several values as the lines of one chart."""
    for logger in loggers_of(trainer):
        # On ranks other than 0 the experiment is a dummy that takes any call.
        logger.experiment.add_scalars(chart, dict(values), global_step=step)


def add_layout(trainer: Trainer, layout: Layout) -> None:
    """Arrange charts under Custom Scalars. A run has one layout: a second one would take its place."""
    for logger in loggers_of(trainer):
        logger.experiment.add_custom_scalars(layout)


def add_picture(trainer: Trainer, tag: str, figure: Figure, step: int) -> None:
    """Put a picture under Images."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from lightning_anneal.drawing.figure import quiet

    canvas: Any = FigureCanvasAgg(figure)
    with quiet():
        canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    for logger in loggers_of(trainer):
        logger.experiment.add_image(tag, pixels, global_step=step, dataformats="HWC")


def add_hyperparameters(trainer: Trainer, values: Mapping[str, Any], metrics: Sequence[str]) -> None:
    """Put hyperparameters under HParams, beside the metrics of these names as they are going to be logged.

    Of several calls in a run TensorBoard shows the first: this one has to come before Lightning's own. A logger whose
    ``default_hp_metric`` is off is left alone, because its owner logs them with the metrics of the run's end.

    Args:
        trainer: The trainer.
        values: The hyperparameters, as numbers, booleans or strings.
        metrics: Tags of scalars.
    """
    from torch.utils.tensorboard import summary

    hparams: Any = summary.hparams
    for logger in loggers_of(trainer):
        if _has_hp_metric(logger) and values:
            # The values of the metrics are those that stand under their tags.
            for part in hparams(dict(values), dict.fromkeys(metrics or ["hp_metric"], 0.0)):
                logger.experiment._get_file_writer().add_summary(part)


def _has_hp_metric(logger: Any) -> bool:
    """Whether Lightning would log hyperparameters by itself. There is no public way to this."""
    return bool(getattr(logger, "_default_hp_metric", True))


def flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one of numbers, booleans and strings, keys joined by slashes as Lightning does.

    Example:
        >>> flat({"beta": {"strategy": "linear", "end_value": 1.0}, "layers": [64, 32]})
        {'beta/strategy': 'linear', 'beta/end_value': 1.0, 'layers': '[64, 32]'}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found.update(flat(value, f"{name}/"))
        else:
            found[name] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
