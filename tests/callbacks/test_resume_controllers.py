"""What steers itself goes on after a resume as if nothing had been: every value and weight, with ``==``.

From a checkpoint of every step, of a batch in the midst of one, of every epoch's end and of every validation.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_anneal import HyperparamAnnealingCallback
from tests.controllers.series import SERIES
from tests.followed import Followed
from tests.steered import Steered as Plain
from tests.tiny import trainer_for
from tests.written import on

BATCHES, EPOCHS = 6, 4

RAMP = {"strategy": "linear", "start_value": 4, "end_value": 3}
LINE = {"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 10}
PI = {"strategy": "pi_control", "monitor": "kl", "set_point": 3.5, "kp": 0.5, "ki": 0.04, "max_value": 2}
GECO = {"strategy": "constraint", "monitor": "kl", "limit": 3.5, "rate": 0.02, "momentum": 0.5, "start_value": 0.5}

# Every strategy, by step and by epoch, of metrics that come in every way.
PARAMS: dict[str, dict[str, Any]] = {
    "annealed.pi": {**PI, "interval": "step"},
    "annealed.mean": {**PI, "interval": "step", "frequency": 4, "set_point": RAMP, "start_value": 0.25},
    "annealed.logged": {**PI, "monitor": "logged", "set_point": 1.5, "interval": "step", "frequency": 5},
    "annealed.loss": {**PI, "monitor": "loss", "set_point": 1, "interval": "step"},
    "annealed.epoch": {**PI, "set_point": 4},
    "annealed.epochs": {**PI, "monitor": "logged", "frequency": 2, "set_point": RAMP, "kp": 5},
    "annealed.validated": {**PI, "monitor": "val_loss", "set_point": 3},
    "annealed.by_validation": {**PI, "monitor": "val_loss", "set_point": 3, "interval": "step", "frequency": 2},
    "annealed.geco": {**GECO, "interval": "step", "frequency": 3},
    "annealed.nupi": {**GECO, "rate": ..., "method": "pi", "kp": 0.01, "ki": 0.02, "limit": RAMP},
    "annealed.plateau": {"strategy": "on_plateau", "monitor": "val_loss", "factor": 0.5, "patience": 0, "cooldown": 1},
    "annealed.gate": {"strategy": "gated", "schedule": LINE, "advance_when": {"monitor": "val_loss", "below": 4.2}},
    "annealed.gate_by_step": {
        "strategy": "gated", "schedule": {**LINE, "total_steps": 40}, "interval": "step", "max_wait": 5,
        "advance_when": {"monitor": "val_loss", "above": 4.2},
    },
    "annealed.follow": {"strategy": "follow", "other": "annealed.pi", "scale": 0.5},
    "annealed.follow_now_and_then": {"strategy": "follow", "other": "annealed.pi", "scale": 0.5, "frequency": 4},
    "annealed.follow_by_epoch": {"strategy": "follow", "other": "annealed.pi", "interval": "epoch"},
    "annealed.follow_an_answer": {"strategy": "follow", "other": "annealed.validated", "scale": 2},
    "annealed.follow_a_rate": {"strategy": "follow", "other": "optimizer.param_groups.1.lr", "frequency": 5},
    "beta": on("metric_below", monitor="val_loss", threshold=4.2),
    "optimizer.param_groups.*.weight_decay": {"strategy": "follow", "other": "optimizer.param_groups.*.lr", "scale": 0.1},
    "temperature": {**GECO, "interval": "step"},
}  # fmt: skip
PARAMS = {name: {k: v for k, v in settings.items() if v is not ...} for name, settings in PARAMS.items()}


class Steered(Followed):
    """Metrics of each batch that are written down beforehand; not multiples of anything, so that sums show an order."""

    def __init__(self) -> None:
        super().__init__(validate_every=1)
        self.batches = BATCHES
        self.annealed = {name.removeprefix("annealed."): 0.0 for name in PARAMS if name.startswith("annealed.")}
        self.annealed |= {"geco": 0.5, "nupi": 0.5, "plateau": 1.0}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        at = self.current_epoch * BATCHES + batch_idx
        self.log("logged", torch.tensor(SERIES[100 + at] / 3), on_step=True, on_epoch=False)
        return {"loss": super().training_step(batch, batch_idx), "kl": SERIES[at] / 7}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        done = self.trainer.global_step
        self.log("val_loss", torch.tensor([4.5, 4.0, 4.1, 3.0, 4.3, 4.4, 3.5][done % 7]))

    def configure_optimizers(self) -> Any:
        optimizer = super().configure_optimizers()
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class EveryBatch(Callback):
    """Saves after every batch, also in the midst of a step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        at = trainer.current_epoch * BATCHES + args[-1] + 1
        trainer.save_checkpoint(self.folder / f"batch-{at}.ckpt")


SAVED: dict[str, Any] = {
    "every batch": EveryBatch,
    "end of epoch": lambda folder: ModelCheckpoint(
        folder, filename="end-{step}", save_top_k=-1, save_on_train_epoch_end=True
    ),
    "on validation": lambda folder: ModelCheckpoint(
        folder, filename="validated-{step}", save_top_k=-1, save_on_train_epoch_end=False
    ),
}


@contextmanager
def no_news() -> Iterator[None]:
    """A metric of validations is not there before the first one, which a rule by step is told of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*'val_loss' to be seen")
        yield


def differing(resumed: Steered, whole: Steered, begins: int, but: str = "") -> list[str]:
    """What was in force where it isn't the same, and nothing else: a whole trace is too long to read."""
    names = [name for name in whole.trace[0][2] if name not in (but, "HyperparamAnnealingCallback")]
    return [
        f"{epoch}.{batch} {name}: {mine[name]} {its[name]}"
        for (epoch, batch, mine), (*at, its) in zip(resumed.trace, whole.trace[begins:], strict=True)
        for name in names
        if mine[name] != its[name] or [epoch, batch] != at
    ]


class Run:
    """Fits, all alike."""

    def __init__(self, folder: Path, params: dict[str, Any] | None = None, **options: Any) -> None:
        self.folder, self.options = folder, {"max_epochs": EPOCHS, **options}
        self.params = PARAMS if params is None else params

    def fit(self, *callbacks: Callback, ckpt_path: Path | None = None) -> tuple[Steered, dict[str, Any]]:
        module, annealing = Steered(), HyperparamAnnealingCallback(self.params)
        options = {**self.options, "enable_checkpointing": bool(callbacks)}
        with no_news():
            trainer_for(self.folder, annealing, *callbacks, **options).fit(module, ckpt_path=ckpt_path)
        return module, annealing.state_dict()

    def check(self, saved: str) -> Steered:
        """A run from start to end; and from each of its checkpoints on."""
        whole, end = self.fit(SAVED[saved](self.folder))
        alone, _ = self.fit()
        # Nothing depends on whether checkpoints are written.
        assert differing(alone, whole, 0) == []
        of_a_step = self.options.get("accumulate_grad_batches", 1)
        checkpoints = sorted(self.folder.glob("*.ckpt"))
        assert len(checkpoints) >= 3
        for checkpoint in checkpoints:
            torch.load(checkpoint, weights_only=True)
            # Of batches done, or of optimizer steps.
            number = int(checkpoint.stem.split("-")[1].removeprefix("step="))
            done = number if saved == "every batch" else number * of_a_step
            validates = self.options.get("limit_val_batches", 1) != 0
            if (
                validates
                and saved == "every batch"
                and done % BATCHES % self.options.get("val_check_interval", BATCHES) == 0
            ):
                continue  # Lightning skips the validation of a run that is resumed after the batch before it
            if saved == "every batch" and done == len(whole.trace):
                continue  # It is over: what the last epoch has brought is for the next one, should there be one.
            resumed, state = self.fit(ckpt_path=checkpoint)
            # Lightning doesn't save the gradients of half a step, on which the weights and the loss depend.
            whole_step = done % BATCHES % of_a_step == 0
            assert differing(resumed, whole, done, "" if whole_step else "loss") == [], checkpoint.name
            for key in ("steered", "triggers", "followed"):
                mine, its = (
                    {n: v for n, v in each.get(key, {}).items() if whole_step or "loss" not in n}
                    for each in (state, end)
                )
                assert mine == its, checkpoint.name
            assert not whole_step or resumed.final == whole.final, checkpoint.name
        return whole


@pytest.mark.parametrize("saved", SAVED)
def test_from_every_checkpoint(tmp_path: Path, saved: str) -> None:
    whole = Run(tmp_path).check(saved)
    seen = [in_force["HyperparamAnnealingCallback"] for *_, in_force in whole.trace]
    assert [name for name in seen[0] if len({values[name] for values in seen}) < 2] == []


@pytest.mark.parametrize(
    ("saved", "options"),
    [
        ("every batch", {"accumulate_grad_batches": 2}),
        ("on validation", {"accumulate_grad_batches": 2}),
        ("every batch", {"val_check_interval": 3}),
        ("on validation", {"val_check_interval": 3}),
        # A validation in the midst of a step.
        ("every batch", {"accumulate_grad_batches": 4, "val_check_interval": 3}),
    ],
)
def test_from_every_checkpoint_of_other_runs(tmp_path: Path, saved: str, options: dict[str, Any]) -> None:
    Run(tmp_path, max_epochs=3, **options).check(saved)


def test_from_every_batch_also_the_last_one_where_nothing_is_validated(tmp_path: Path) -> None:
    own = {
        name: settings
        for name, settings in PARAMS.items()
        if "val_loss" not in str(settings) and settings.get("other") != "annealed.validated"
    }
    assert len(own) >= 12
    Run(tmp_path, own, limit_val_batches=0, max_epochs=3).check("every batch")


class At(Callback):
    """Saves after some batches of the run, and once more without a reason."""

    def __init__(self, folder: Path, *batches: int) -> None:
        self.folder, self.batches = folder, batches

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        at = trainer.global_step
        if at in self.batches:
            trainer.save_checkpoint(self.folder / f"{at}.ckpt")


# The second come to nothing in each block that is added up at once.
@pytest.mark.parametrize("metrics", [[value / 7 for value in SERIES[:300]], 2 * ([1.0, -1.0] * 64 + [3.0] * 22)])
def test_a_mean_over_many_batches_is_the_same_sum(tmp_path: Path, metrics: list[float]) -> None:
    """A sum of floats depends on its order: it doesn't on where checkpoints were written, or a run was resumed."""

    def fit(*callbacks: Callback, ckpt_path: Path | None = None) -> dict[str, float]:
        module, annealing = Plain(metrics, batches=150), HyperparamAnnealingCallback({"beta": PI})
        # Of 64 bits: sums of 32 bits have room enough in 64.
        module.metric = lambda at: metrics[at]  # type: ignore[method-assign]
        options: dict[str, Any] = {"max_epochs": 2, "enable_checkpointing": bool(callbacks), "limit_val_batches": 0}
        trainer_for(tmp_path, annealing, *callbacks, **options).fit(module, ckpt_path=ckpt_path)
        memory: dict[str, float] = annealing.state_dict()["steered"]["beta"]["memory"]
        return memory

    whole = fit(At(tmp_path, 40, 64, 65))
    assert whole["metric"] == pytest.approx(sum(metrics[:150]) / 150)
    assert fit() == whole
    for at in (40, 64, 65):
        assert fit(ckpt_path=tmp_path / f"{at}.ckpt") == whole, at
