"""What two pages show: ``python -m docs.measure_choosing`` trains, draws, and writes its tables into `choosing.md`;
``python -m docs.measure_choosing collapse`` writes that of `howto/vae.md`.

Every run is one of the digits models of ``examples/``, on real scans, for the same number of epochs. What is measured
is the negative ELBO of the validation images, estimated from `SAMPLES` latents of each, whatever beta is at the time.
"""

from __future__ import annotations

import logging
import re
import sys
import tempfile
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything

from examples.digits_data import DigitsData
from examples.digits_hierarchical_vae import DigitsHierarchicalVAE
from examples.digits_vae import DigitsVAE
from lightning_anneal import BetaScheduleCallback

DOCS = Path(__file__).parent
PICTURE = DOCS / "images" / "choosing.png"
EPOCHS = 41
SEEDS = (0, 1, 2)
SAMPLES = 8
SETTLED = 10
"""The epoch from which on the range of KL is taken: before it every run learns to use its latents at all."""
IN_USE = 0.1
"""A latent is in use where its KL is above so many nats, as a mean over the images."""

_STEPS = {"max_beta": 1.0, "warmup_epochs": 20}
SINGLE: dict[str, tuple[str, dict[str, Any]]] = {
    "constant 1": ("constant", {"max_beta": 1.0}),
    "linear": ("linear", _STEPS),
    "cosine": ("cosine", _STEPS),
    "cyclical, ends high": ("cyclical", {"cycle_length": 16, "max_beta": 1.0}),
    "cyclical, ends low": ("cyclical", {"cycle_length": 10, "max_beta": 1.0}),
    "warm restart": (
        "warm_restart",
        {
            "base_scheduler_type": "cosine",
            "base_scheduler_kwargs": {"max_beta": 1.0, "warmup_epochs": 8},
            "restart_interval": 10,
            "restart_multiplier": 1.5,
        },
    ),
}
_FULL = {"type": "constant", "max_beta": 1.0}
_CYCLES = {"type": "cyclical", "cycle_length": 16, "max_beta": 1.0}
_LINEAR = {"type": "linear", **_STEPS}
HIERARCHICAL: dict[str, tuple[str, dict[str, Any]]] = {
    "both constant 1": ("hierarchical", {"global_scheduler": _FULL, "local_scheduler": _FULL}),
    "both linear": ("hierarchical", {"global_scheduler": _LINEAR, "local_scheduler": _LINEAR}),
    "global linear, local cyclical": ("hierarchical", {"global_scheduler": _LINEAR, "local_scheduler": _CYCLES}),
}

COLLAPSE = ("constant", "linear", "cyclical, ends high", "warm restart", "constant, free bits 0.1")
"""What is tried against a collapse, each up to a beta of 1, 2 and 4."""


class FreeBits(DigitsVAE):
    """The digits VAE in which no latent gains by a KL below 0.1."""

    def __init__(self, learning_rate: float) -> None:
        super().__init__(learning_rate=learning_rate)
        self.free_bits = 0.1


@dataclass
class Curves(Callback):
    """What one run shows, an entry for each epoch.

    Args:
        beta: The weight in force while the epoch was trained.
        train_kl: The KL term of the training images.
        elbo: The negative ELBO of the validation images.
        kl: Their KL term.
        kl_global: Of a hierarchical model, the KL term of the global latent.
        in_use: How many latents are in use; of a hierarchical model, not counted.
    """

    beta: list[float] = field(default_factory=list)
    train_kl: list[float] = field(default_factory=list)
    elbo: list[float] = field(default_factory=list)
    kl: list[float] = field(default_factory=list)
    kl_global: list[float] = field(default_factory=list)
    in_use: list[int] = field(default_factory=list)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.beta.append(float(getattr(pl_module, "beta", 0.0)))

    @torch.no_grad()
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        metrics = trainer.callback_metrics
        hierarchical = isinstance(pl_module, DigitsHierarchicalVAE)
        keys = ["global_kl_loss", "local_kl_loss"] if hierarchical else ["kl_loss"]
        self.train_kl.append(sum(float(metrics[f"train_{key}"]) for key in keys))
        images = torch.stack([image for image, _ in trainer.datamodule.validation])
        # In training mode, in which the model draws latents; without touching the run's own random numbers; and without
        # free bits, which make the KL look greater than it is.
        free_bits, pl_module.free_bits = getattr(pl_module, "free_bits", 0.0), 0.0
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            drawn = [pl_module.losses(images) for _ in range(SAMPLES)]
        pl_module.free_bits = free_bits
        kl = sum(float(drawn[0][key]) for key in keys)
        self.elbo.append(sum(float(each["reconstruction_loss"]) for each in drawn) / SAMPLES + kl)
        self.kl.append(kl)
        if hierarchical:
            self.kl_global.append(float(drawn[0]["global_kl_loss"]))
        else:
            _, mean, log_variance = pl_module(images)
            each = ((mean**2 + log_variance.exp() - 1 - log_variance) / 2).mean(0)
            self.in_use.append(int((each > IN_USE).sum()))


def run(kind: str, params: dict[str, Any], seed: int, model: type[LightningModule]) -> Curves:
    """Train once."""
    seed_everything(seed, verbose=False)
    curves = Curves()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=EPOCHS,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[BetaScheduleCallback(kind, params, eval_beta=1.0), curves],
        )
        module = model() if model is DigitsHierarchicalVAE else model(learning_rate=3e-3)
        trainer.fit(module, datamodule=DigitsData())
    return curves


def settles(elbo: list[float]) -> int:
    """The first epoch from which on the curve stays within 1 nat of its end."""
    far = [epoch for epoch, value in enumerate(elbo) if abs(value - elbo[-1]) > 1]
    return far[-1] + 1 if far else 0


def table(results: dict[str, list[Curves]]) -> str:
    """The figures in Markdown: means over the seeds, the spread being the largest less the smallest."""
    hierarchical = any(curves.kl_global for runs in results.values() for curves in runs)
    head = ["schedule", "final", "spread", "best", "its epoch", "settles", "largest rise", "KL", "its range"]
    head.append("global KL" if hierarchical else "latents in use")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for name, runs in results.items():
        finals = [each.elbo[-1] for each in runs]
        rises = [max(b - a for a, b in zip(each.elbo, each.elbo[1:], strict=False)) for each in runs]
        cells = [
            name,
            f"{_mean(finals):.2f}",
            f"{max(finals) - min(finals):.2f}",
            f"{_mean([min(each.elbo) for each in runs]):.2f}",
            ", ".join(str(each.elbo.index(min(each.elbo))) for each in runs),
            ", ".join(str(settles(each.elbo)) for each in runs),
            f"{_mean(rises):.2f}",
            f"{_mean([each.kl[-1] for each in runs]):.2f}",
            f"{_mean([max(each.train_kl[SETTLED:]) - min(each.train_kl[SETTLED:]) for each in runs]):.2f}",
            f"{_mean([each.kl_global[-1] for each in runs]):.2f}"
            if hierarchical
            else ", ".join(str(each.in_use[-1]) for each in runs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def collapse_table() -> str:
    """By schedule and highest beta: latents in use for each seed, the KL and the negative ELBO at beta 1."""
    betas = (1.0, 2.0, 4.0)
    lines = [f"| schedule | {' | '.join(f'up to beta {beta:g}' for beta in betas)} |", "|---" * 4 + "|"]
    for name in COLLAPSE:
        kind, params = SINGLE[{"constant": "constant 1"}.get(name.split(", free")[0], name)]
        cells = [name]
        for beta in betas:
            model = FreeBits if "free bits" in name else DigitsVAE
            runs = [run(kind, _up_to(params, beta), seed, model) for seed in SEEDS]
            used = ", ".join(str(each.in_use[-1]) for each in runs)
            cells.append(
                f"{used}; {_mean([each.kl[-1] for each in runs]):.2f}; {_mean([e.elbo[-1] for e in runs]):.2f}"
            )
        sys.stderr.write(f"{cells}\n")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _up_to(params: dict[str, Any], beta: float) -> dict[str, Any]:
    """The parameters of a beta scheduler with another highest beta."""
    if "base_scheduler_kwargs" in params:
        return {**params, "base_scheduler_kwargs": _up_to(params["base_scheduler_kwargs"], beta)}
    return {**params, "max_beta": beta}


def draw(results: dict[str, list[Curves]]) -> None:
    """A column for each schedule: beta, the negative ELBO and KL, a line for each seed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"font.size": 12}):
        _fill(Figure(figsize=(12, 6.5), layout="constrained"), results)


def _fill(figure: Any, results: dict[str, list[Curves]]) -> None:
    axes = figure.subplots(3, len(results), sharex=True, sharey="row")
    rows = [("beta", "beta", "#1b1b1b"), ("elbo", "negative ELBO (nats)", "#0b3c5d"), ("kl", "KL (nats)", "#c56a12")]
    for column, (name, runs) in enumerate(results.items()):
        axes[0][column].set_title(name.replace(", ", ",\n"))
        for row, (key, label, color) in enumerate(rows):
            for curves, dashes in zip(runs, ("-", "--", ":"), strict=False):
                axes[row][column].plot(getattr(curves, key), dashes, color=color, linewidth=1.5)
            axes[row][column].grid(alpha=0.3)
            if column == 0:
                axes[row][0].set_ylabel(label)
        axes[-1][column].set_xlabel("epoch")
    lowest = min(min(curves.elbo) for runs in results.values() for curves in runs)
    axes[1][0].set_ylim(lowest - 0.5, lowest + 10)
    figure.savefig(PICTURE, dpi=110)


def write(name: str, text: str, page: Path) -> None:
    """Put a table between its two marks in a page."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    page.write_text(marks.sub(lambda match: f"{match[1]}{text}\n{match[2]}", page.read_text()))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """Measure it all."""
    warnings.filterwarnings("ignore", ".*does not have many workers")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    if sys.argv[1:] == ["collapse"]:
        write("collapse", collapse_table(), DOCS / "howto" / "vae.md")
        return
    for title, cases, model in (("single", SINGLE, DigitsVAE), ("hierarchical", HIERARCHICAL, DigitsHierarchicalVAE)):
        results: dict[str, list[Curves]] = {}
        for name, (kind, params) in cases.items():
            results[name] = [run(kind, params, seed, model) for seed in SEEDS]
            sys.stderr.write(f"{name}: {results[name][0].elbo[-1]:.2f}\n")
        text = table(results)
        sys.stdout.write(f"{text}\n\n")
        write(title, text, DOCS / "choosing.md")
        if title == "single":
            draw(results)


if __name__ == "__main__":
    main()
