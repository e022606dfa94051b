"""What a study comes to: a table of the last epochs, and a picture of all of them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from lightning_anneal import AnnealingManager

Curves = Sequence[Mapping[str, float | None]]
"""The metrics of a run, epoch by epoch."""

_COLUMNS = {
    "val_loss": "negative ELBO",
    "val_reconstruction_loss": "reconstruction",
    "val_kl_loss": "KL",
    "val_active_units": "active units",
}
LOOKS = [("#0b3c5d", "-"), ("#c2456b", "--"), ("#e0a030", "-."), ("#6b6b6b", ":")]
"""Colors and dashes, far apart in lightness, too: they can be told from each other in grey."""
_PER_EPOCH = 40
"""Points at which beta is drawn in an epoch."""


def table(curves: Mapping[str, Sequence[Curves]], unit: str, latent_size: int) -> str:
    """The metrics of the last epoch in Markdown: mean and standard deviation over the seeds.

    Args:
        curves: The runs by schedule, each a seed.
        unit: What the losses are for.
        latent_size: How many units could be active.

    Example:
        >>> last = {"val_reconstruction_loss": 3.0, "val_kl_loss": 1.0, "val_active_units": 2.0}
        >>> print(table({"linear": [[{"val_loss": 4.0, **last}], [{"val_loss": 5.0, **last}]]}, "image", 8))
        | beta | negative ELBO | reconstruction | KL | active units (of 8) |
        |---|---|---|---|---|
        | linear | 4.50 ± 0.71 | 3.00 ± 0.00 | 1.00 ± 0.00 | 2.0 ± 0.0 |
        <BLANKLINE>
        Nats per image of the validation data after the last epoch, mean and standard deviation over 2 seeds.
        <BLANKLINE>
    """
    heads = [*_COLUMNS.values()]
    heads[-1] += f" (of {latent_size})"
    lines = [f"| beta | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for schedule, runs in curves.items():
        cells = []
        for metric in _COLUMNS:
            values = [finite(run[-1][metric]) for run in runs]
            cells.append(mean_and_deviation(values, 1 if metric == "val_active_units" else 2))
        lines.append(f"| {schedule} | {' | '.join(cells)} |")
    seeds = max(len(runs) for runs in curves.values())
    told = (
        f"Nats per {unit} of the validation data after the last epoch, mean and standard deviation over {seeds} seeds."
    )
    return "\n".join([*lines, "", told, ""])


def mean_and_deviation(values: Sequence[float], digits: int) -> str:
    """The mean of some values and their standard deviation, which is 0 for a single one.

    Example:
        >>> mean_and_deviation([1.0, 2.0, 3.0], 1)
        '2.0 ± 1.0'
    """
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):.{digits}f} ± {spread:.{digits}f}"


def finite(value: float | None) -> float:
    """The value; a run that has none there is one that diverged.

    Raises:
        ValueError: If it has none.
    """
    if value is None:
        raise ValueError("a run has diverged: its loss is no number")
    return value


def betas(settings: Mapping[str, Any], epochs: int, points: int = _PER_EPOCH) -> list[float]:
    """The beta of a schedule at so many points in each epoch, by the rules that the callback goes by.

    Example:
        >>> ramp = {"strategy": "linear", "end_value": 1.0, "start_value": 0.0, "total_steps": "50%"}
        >>> betas({**ramp, "interval": "step"}, epochs=4, points=2)
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 1.0]
    """
    model = SimpleNamespace(beta=1.0)
    manager = AnnealingManager(
        {"beta": dict(settings)}, objects={"model": model}, epochs=epochs, steps_per_epoch=points
    )
    drawn = []
    for step in range(epochs * points):
        manager.step(step // points, step=step)
        drawn.append(float(model.beta))
    return drawn


def draw(
    path: Path,
    title: str,
    unit: str,
    settings: Mapping[str, Mapping[str, Any]],
    curves: Mapping[str, Sequence[Curves]],
) -> None:
    """Beta, KL and negative ELBO over the epochs: a line for each schedule, and a band over its seeds.

    Args:
        path: Where the picture goes.
        title: Over it.
        unit: What the losses are for.
        settings: Of beta, by schedule.
        curves: The runs, by schedule.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 8), layout="constrained")
    above, *panels = figure.subplots(3, 1, sharex=True, height_ratios=[1, 2, 2])
    for (schedule, runs), (color, dashes) in zip(curves.items(), LOOKS, strict=False):
        look = {"color": color, "linestyle": dashes, "linewidth": 2}
        epochs = len(runs[0])
        drawn = betas(settings[schedule], epochs)
        above.plot([point / _PER_EPOCH for point in range(len(drawn))], drawn, **look, label=schedule)
        for panel, metric in zip(panels, ("val_kl_loss", "val_loss"), strict=True):
            draw_band(panel, runs, metric, look)
    above.set_ylabel("beta")
    panels[0].set_ylabel(f"KL (nats per {unit})")
    panels[1].set_ylabel(f"negative ELBO\n(nats per {unit})")
    panels[1].set_xlabel("epochs trained")
    panels[1].xaxis.get_major_locator().set_params(integer=True)
    panels[1].set_ylim(*_limits(curves))
    for panel in (above, *panels):
        panel.grid(alpha=0.3)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    figure.legend(loc="outside upper right", ncols=len(curves), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def draw_band(panel: Any, runs: Sequence[Curves], metric: str, look: Mapping[str, Any]) -> None:
    """The mean of a metric over the epochs, and a band over its seeds.

    Args:
        panel: Axes of matplotlib.
        runs: Each a seed.
        metric: Its name.
        look: How the line looks.
    """
    # A validation is at the end of its epoch: the first one when one epoch is over.
    ends = range(1, len(runs[0]) + 1)
    by_epoch = [[finite(run[e - 1][metric]) for run in runs] for e in ends]
    panel.plot(ends, [statistics.fmean(values) for values in by_epoch], **look)
    band = {"color": look["color"], "alpha": 0.2, "linewidth": 0}
    panel.fill_between(ends, [*map(min, by_epoch)], [*map(max, by_epoch)], **band)


def _limits(curves: Mapping[str, Sequence[Curves]]) -> tuple[float, float]:
    """Both ends of the panel of the losses: the first epochs are far above, and would press all others flat."""
    losses = [finite(epoch["val_loss"]) for runs in curves.values() for run in runs for epoch in run]
    low = min(losses)
    span = max(4 * (statistics.median(losses) - low), 1.0)
    return low - 0.05 * span, low + span


def put_between(text: str, name: str, content: str) -> str:
    r"""A text with other content between its markers ``<!-- NAME -->`` and ``<!-- /NAME -->``.

    Raises:
        ValueError: If it doesn't have both, once each.

    Example:
        >>> put_between("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new\n")
        'a\n<!-- x -->\nnew\n<!-- /x -->\nb'
    """
    first, last = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    if text.count(first) != 1 or text.count(last) != 1 or text.index(first) > text.index(last):
        raise ValueError(f"there have to be the markers {first.strip()} and {last}, once each")
    before, rest = text.split(first)
    return f"{before}{first}{content}{last}{rest.split(last)[1]}"
