"""What a fit's loggers are told once, at its start: hyperparameters, a layout of charts, a picture of the schedules.

Each is one for all annealing callbacks of a Trainer: TensorBoard takes one layout and one set of hyperparameters a run.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from lightning.pytorch.utilities import rank_zero_warn

from lightning_anneal import tensorboard
from lightning_anneal.beta_rules import WEIGHTS
from lightning_anneal.clock import Horizon
from lightning_anneal.drawing.panels import Mark
from lightning_anneal.engine import Engine
from lightning_anneal.lightnings import LightningModule, Trainer
from lightning_anneal.lines import Line
from lightning_anneal.phases import Phased
from lightning_anneal.preview.moments import has_function, moments, words
from lightning_anneal.preview.planned import Planned, Preview
from lightning_anneal.run_length import horizon_of

_MOST_PANELS = 24
_BETAS = ("beta", "kl_weight", *WEIGHTS)
_LOSSES = {"KL": r"(?i)^(?!.*weight).*kl", "reconstruction": r"(?i).*recon"}
"""The terms of a VAE's loss, as people call them in their tags."""


class Annealing(Protocol):
    """What is told of a callback."""

    @property
    def engine(self) -> Engine:
        """Its rules."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was given, by parameter."""
        ...

    @property
    def state_key(self) -> str:
        """Which of the Trainer's callbacks it is."""
        ...

    def tag(self, name: str) -> str:
        """The tag that a parameter is logged under."""
        ...


def log_settings(trainer: Trainer, module: LightningModule, callbacks: Sequence[Annealing]) -> None:
    """Log the settings as hyperparameters, for TensorBoard together with those of the module and the data.

    Before Lightning logs its own. No run ends because a logger doesn't take them.
    """
    settings: dict[str, Any] = {}
    for callback in callbacks:
        for name, value in callback.settings.items():
            # Two callbacks may have a parameter of the same name.
            settings[name if name not in settings else f"{callback.state_key}.{name}"] = value
    told = tensorboard.loggers_of(trainer)
    for logger in trainer.loggers:
        # A logger need not have a place for them.
        if logger not in told and callable(getattr(logger, "log_hyperparams", None)):
            with _harmless(type(logger).__name__), contextlib.suppress(NotImplementedError):
                logger.log_hyperparams({"annealing": tensorboard.flat(settings)})
    if told:
        with _harmless("TensorBoardLogger"):
            # What Lightning is about to log, if it was told to.
            homes: list[Any] = [module, getattr(trainer, "datamodule", None)]
            own = [home.hparams_initial for home in homes if getattr(home, "_log_hyperparams", False)]
            values = {key: value for hparams in own for key, value in hparams.items() if key != "_class_path"}
            shown = {**tensorboard.flat(values), **tensorboard.flat({"annealing": settings})}
            tensorboard.add_hyperparameters(trainer, shown, sorted(_watched(trainer)))


@contextlib.contextmanager
def _harmless(what: str) -> Iterator[None]:
    """For what is nice to have: where it can't be, say so and go on."""
    try:
        yield
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:120]
        rank_zero_warn(f"{what} can't show what is annealed ({reason}); the run goes on without")


def _watched(trainer: Trainer) -> set[str]:
    """The metrics that callbacks of this run go by; where there are none, what a validation is likely to log."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[union-attr]
    found = (getattr(callback, "monitor", None) for callback in callbacks)
    monitors = {monitor for monitor in found if isinstance(monitor, str)}
    return monitors or ({"val_loss"} if trainer.enable_validation else set())


def log_plan(trainer: Trainer, callbacks: Sequence[Annealing], step: int) -> None:
    """Arrange TensorBoard's charts, and put a picture of the schedules beside them, if matplotlib is there."""
    if not tensorboard.loggers_of(trainer):
        return
    with _harmless("TensorBoard"):
        tensorboard.add_layout(trainer, layout(callbacks))
        if importlib.util.find_spec("matplotlib") is None:
            return
        horizon = horizon_of(trainer)
        for tag, engines in _by_tag(callbacks).items():
            preview = planned(engines, horizon)
            if preview is not None and preview.parameters:
                tensorboard.add_picture(trainer, tag, preview.figure, step)


def layout(callbacks: Sequence[Annealing]) -> tensorboard.Layout:
    """Charts for what is annealed: beta above the two terms of its loss, hierarchical weights in one chart."""
    found: tensorboard.Layout = {}
    for callback in callbacks:
        tags = {name: callback.tag(name) for name in callback.engine.findings.names}
        for name, tag in tags.items():
            category, _, _ = tag.partition("/")
            charts = found.setdefault(category, {})
            if category == "Annealing":
                charts[name] = _chart(tag)
        betas = [tag for name, tag in tags.items() if name.rpartition(".")[2] in _BETAS]
        if betas:
            category = betas[0].partition("/")[0]
            title = "both KL weights" if len(betas) > 1 else "beta"
            found[category][title] = _chart(*betas)
            for term, pattern in _LOSSES.items():
                found[category][term] = ["Multiline", [pattern]]
            both = "beta" if len(betas) == 1 else "weights"
            found[category][f"{both}, KL and reconstruction"] = ["Multiline", [*_chart(*betas)[1], *_LOSSES.values()]]
    return found


def _chart(*tags: str) -> list[Any]:
    return ["Multiline", [f"^{re.escape(tag)}$" for tag in tags]]


def _by_tag(callbacks: Sequence[Annealing]) -> dict[str, list[Engine]]:
    """The pictures: one for the callbacks of a kind."""
    found: dict[str, list[Engine]] = {}
    for callback in callbacks:
        found.setdefault(callback.tag("schedule"), []).append(callback.engine)
    return found


def planned(engines: Sequence[Engine], horizon: Horizon) -> Preview | None:
    """The schedules of some engines over the run; ``None`` if its length is not known."""
    # A function of the user's is called when its value is wanted, and at no other time: it may count its calls.
    # What phases do is known when they begin.
    drawn = (line for engine in engines for line in engine.lines if not isinstance(line.rule.source, Phased))
    lines = [line for line in drawn if not has_function(line.curve)][:_MOST_PANELS]
    epochs = horizon.run("epoch")
    if epochs is None:
        return None
    by_step = any(line.rule.interval == "step" for line in lines)
    per_epoch = horizon.steps_per_epoch() if by_step else None
    if by_step and per_epoch is None:
        return None
    return Preview(tuple(_planned(line, epochs, per_epoch) for line in lines), epochs, per_epoch)


def _planned(line: Line, epochs: float, per_epoch: float | None) -> Planned:
    interval = line.rule.interval
    count = math.ceil(epochs * (1.0 if interval == "epoch" else per_epoch or 1.0) - 1e-9)
    marks = tuple(Mark(at, kind) for at, kind in moments(line.curve, count))
    return Planned(line.target.name, interval, line.value, count, marks, words(line.curve))
