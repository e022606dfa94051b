"""What the study of values that steer themselves comes to: a table and a picture of each of its parts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.study_report import LOOKS, Curves, betas, draw_band, finite, mean_and_deviation

Runs = Mapping[str, Sequence[Curves]]
"""The runs by choice, each a seed."""

NEAR = 0.05
"""As a share of the set point: so far from it a metric counts as held."""
_PER_EPOCH = 20
"""Points at which a set point that moves is read in an epoch."""


# -- set points -------------------------------------------------------------------------------------------------------


def set_points(settings: Mapping[str, Any], epochs: int) -> list[float]:
    """What the mean of the metric over each epoch was to be.

    Example:
        >>> ramp = {"strategy": "linear", "start_value": 0.0, "end_value": 8.0, "total_steps": "50%"}
        >>> [round(value, 1) for value in set_points({"set_point": ramp}, 4)], set_points({"set_point": 5.0}, 2)
        ([1.9, 5.9, 8.0, 8.0], [5.0, 5.0])
    """
    aim = settings["set_point"]
    if not isinstance(aim, Mapping):
        return [float(aim)] * epochs
    drawn = betas({**aim, "interval": "step"}, epochs, _PER_EPOCH)
    return [statistics.fmean(drawn[e * _PER_EPOCH : (e + 1) * _PER_EPOCH]) for e in range(epochs)]


def deviations(run: Curves, aims: Sequence[float]) -> list[float]:
    """How far the training KL of each epoch was from its set point, as a share of it.

    Example:
        >>> [round(share, 2) for share in deviations([{"train_kl_loss": 9.0}, {"train_kl_loss": 10.5}], [10.0, 10.0])]
        [0.1, 0.05]
    """
    return [abs(finite(epoch["train_kl_loss"]) - aim) / aim for epoch, aim in zip(run, aims, strict=True)]


def held_from(shares: Sequence[float], near: float = NEAR) -> int | None:
    """The epoch from which on no deviation is too large; ``None`` where the last one is.

    Example:
        >>> held_from([0.9, 0.04, 0.06, 0.01, 0.02]), held_from([0.01, 0.2])
        (3, None)
    """
    first = next((e for e in range(len(shares), 0, -1) if shares[e - 1] > near), 0)
    return None if first == len(shares) else first


def set_point_table(runs: Runs, settings: Mapping[str, Mapping[str, Any]]) -> str:
    """In Markdown: how near the KL came to its set points, and what that took.

    Args:
        runs: The runs by set point.
        settings: Of beta, by set point.
    """
    lines = [
        "| set point | training KL, last third | largest deviation there | within 5 % from epoch | beta at the end "
        "| reconstruction | negative ELBO |",
        "|---|---|---|---|---|---|---|",
    ]
    ways = []
    for name, seeds in runs.items():
        epochs = len(seeds[0])
        third = epochs - max(epochs // 3, 1)
        aims = set_points(settings[name], epochs)
        shares = [deviations(run, aims) for run in seeds]
        kl = [statistics.fmean(finite(epoch["train_kl_loss"]) for epoch in run[third:]) for run in seeds]
        cells = [
            mean_and_deviation(kl, 2),
            f"{max(max(each[third:]) for each in shares):.1%}",
            ", ".join(_epoch(held_from(each)) for each in shares),
            mean_and_deviation([finite(run[-1]["Annealing/beta"]) for run in seeds], 3),
            mean_and_deviation([finite(run[-1]["val_reconstruction_loss"]) for run in seeds], 2),
            mean_and_deviation([finite(run[-1]["val_loss"]) for run in seeds], 2),
        ]
        lines.append(f"| {name} | {' | '.join(cells)} |")
        if isinstance(settings[name]["set_point"], Mapping):
            tenth = epochs // 10
            far = max(max(each[tenth:]) for each in shares)
            ways.append(f"On the way from {name} the KL is at most {far:.1%} off from epoch {tenth} on.")
    told = (
        f"Nats per image; mean and standard deviation over {_seeds(runs)} seeds, or one number for each. "
        "Reconstruction and negative ELBO are those of the validation data after the last epoch."
    )
    return "\n".join([*lines, "", " ".join([told, *ways]), ""])


def draw_set_points(path: Path, title: str, runs: Runs, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """KL and its set points over the epochs, and beta: a line for each set point, and a band over its seeds."""
    figure, (above, below) = _figure(2, [3, 2])
    for (name, seeds), look in zip(runs.items(), _looks(), strict=False):
        epochs = len(seeds[0])
        aims = set_points(settings[name], epochs)
        above.plot(range(1, epochs + 1), aims, color="black", linewidth=0.8)
        draw_band(above, seeds, "train_kl_loss", {**look, "label": name})
        draw_band(below, seeds, "Annealing/beta", look)
    above.set_ylim(0, 1.25 * max(max(set_points(settings[name], len(runs[name][0]))) for name in runs))
    above.set_ylabel("training KL\n(nats per image)")
    below.set_ylabel("beta")
    _finish(figure, [above, below], f"{title} (thin)", path)


# -- a limit ----------------------------------------------------------------------------------------------------------


def first_within(run: Curves, limit: float) -> int | None:
    """The first epoch whose training reconstruction is within the limit; ``None`` where there is none.

    Example:
        >>> first_within([{"train_reconstruction_loss": 20.0}, {"train_reconstruction_loss": 18.0}], 18.0)
        1
    """
    return next((e for e, epoch in enumerate(run) if finite(epoch["train_reconstruction_loss"]) <= limit), None)


def limit_table(runs: Runs, limit: float) -> str:
    """In Markdown: when the reconstruction came within its limit, and what became of KL from then on.

    Args:
        runs: The runs by method.
        limit: Of the reconstruction, in nats.
    """
    lines = [
        "| method | limit first met in epoch | KL then | KL at the end | reconstruction, last third "
        "| its largest excess | beta at the end |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, seeds in runs.items():
        third = len(seeds[0]) - max(len(seeds[0]) // 3, 1)
        met = [first_within(run, limit) for run in seeds]
        last = [[finite(epoch["train_reconstruction_loss"]) for epoch in run[third:]] for run in seeds]
        kl_then = [finite(run[e]["train_kl_loss"]) for run, e in zip(seeds, met, strict=True) if e is not None]
        cells = [
            ", ".join(map(_epoch, met)),
            mean_and_deviation(kl_then, 2) if kl_then else "-",
            mean_and_deviation([finite(run[-1]["train_kl_loss"]) for run in seeds], 2),
            mean_and_deviation([statistics.fmean(values) for values in last], 2),
            f"{max(max(values) for values in last) - limit:+.2f}",
            mean_and_deviation([finite(run[-1]["Annealing/beta"]) for run in seeds], 3),
        ]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    told = (
        f"Nats per image of the training data, in which the limit is {limit:g}; mean and standard deviation over "
        f"{_seeds(runs)} seeds, or one number for each. The excess is that of the mean over an epoch."
    )
    return "\n".join([*lines, "", told, ""])


def draw_limits(path: Path, title: str, runs: Runs, limit: float) -> None:
    """Reconstruction and its limit over the epochs, KL and beta: a line for each method, and a band over its seeds."""
    figure, panels = _figure(3, [3, 2, 2])
    above, kl, below = panels
    above.axhline(limit, color="black", linewidth=0.8)
    for (name, seeds), look in zip(runs.items(), _looks(), strict=False):
        draw_band(above, seeds, "train_reconstruction_loss", {**look, "label": name})
        draw_band(kl, seeds, "train_kl_loss", look)
        draw_band(below, seeds, "Annealing/beta", look)
    above.set_ylim(limit - 2, limit + 12)
    above.set_ylabel("reconstruction\n(nats per image)")
    kl.set_ylabel("KL\n(nats per image)")
    below.set_ylabel("beta")
    below.set_yscale("log")
    _finish(figure, panels, title, path)


# -- weights of losses ------------------------------------------------------------------------------------------------

_TASKS = {"val_accuracy": "accuracy of the digit", "val_ink_r2": "R² of the ink"}


def weights_table(runs: Runs) -> str:
    """In Markdown: how well both tasks are learned under each way to weigh their losses."""
    lines = [f"| way | {' | '.join(_TASKS.values())} | weight of ink, of label |", "|---|---|---|---|"]
    for name, seeds in runs.items():
        cells = [mean_and_deviation([finite(run[-1][metric]) for run in seeds], 3) for metric in _TASKS]
        ink, label = (statistics.fmean(finite(run[-1][f"weight_{task}"]) for run in seeds) for task in ("ink", "label"))
        lines.append(f"| {name} | {' | '.join(cells)} | {ink:.4f}, {label:.2f} |")
    told = (
        f"Of the validation data after the last epoch, mean and standard deviation over {_seeds(runs)} seeds. The "
        "weights are their means over the last epoch and the seeds."
    )
    return "\n".join([*lines, "", told, ""])


def draw_weights(path: Path, title: str, runs: Runs) -> None:
    """Both tasks side by side: a row for each way to weigh, a dot for each seed, and a line at their mean."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.9 + 0.42 * len(runs)), layout="constrained")
    for panel, (metric, told) in zip(figure.subplots(1, 2, sharey=True), _TASKS.items(), strict=True):
        for row, seeds in enumerate(runs.values()):
            values = [finite(run[-1][metric]) for run in seeds]
            panel.plot(values, [row] * len(values), "o", color=LOOKS[0][0], alpha=0.7, markersize=7)
            panel.plot([statistics.fmean(values)] * 2, [row - 0.3, row + 0.3], color=LOOKS[1][0], linewidth=2)
        panel.set_xlabel(told)
        panel.set_yticks(range(len(runs)), list(runs))
        panel.set_ylim(len(runs) - 0.5, -0.5)
        panel.grid(alpha=0.3)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _figure(panels: int, heights: Sequence[int]) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1 + sum(heights)), layout="constrained")
    return figure, figure.subplots(panels, 1, sharex=True, height_ratios=heights)


def _finish(figure: Any, panels: Sequence[Any], title: str, path: Path) -> None:
    for panel in panels:
        panel.grid(alpha=0.3)
    panels[-1].set_xlabel("epochs trained")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    figure.legend(loc="outside upper right", ncols=4, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def _looks() -> list[dict[str, Any]]:
    return [{"color": color, "linestyle": dashes, "linewidth": 2} for color, dashes in LOOKS]


def _epoch(epoch: int | None) -> str:
    return "never" if epoch is None else str(epoch)


def _seeds(runs: Runs) -> int:
    return max(len(seeds) for seeds in runs.values())
