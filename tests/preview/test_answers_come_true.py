"""What a preview shows of values that answer to metrics, and of those that follow, is what a real run does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from lightning_anneal.preview.command import preview_of
from lightning_anneal.preview.planned import Preview
from lightning_anneal.preview.run_config import read_run
from tests.preview.runs import Optimized, Watched, fitted, previewed
from tests.written import annealing, stopping

pytestmark = pytest.mark.filterwarnings("ignore:.*so the value is kept", "ignore:.*is longer than the run")

NAN = math.nan
BATCHES = 3
CLOCK = {"strategy": "linear", "start_value": 0, "end_value": 64, "total_steps": 64}


def plateau(**more: Any) -> dict[str, Any]:
    return {"strategy": "on_plateau", "monitor": "val_loss", **more}


def gated(**more: Any) -> dict[str, Any]:
    return {"strategy": "gated", "schedule": CLOCK, "advance_when": {"monitor": "val_loss", "below": 2.5}, **more}


def held(**more: Any) -> dict[str, Any]:
    return {"strategy": "pi_control", "monitor": "kl", "set_point": 2, "kp": 0.5, "ki": 0.125, **more}


def limited(**more: Any) -> dict[str, Any]:
    return {"strategy": "constraint", "monitor": "kl", "limit": 2, "rate": 0.25, "momentum": 0.5, **more}


def follow(other: str, **more: Any) -> dict[str, Any]:
    return {"strategy": "follow", "other": other, **more}


RULES: dict[str, Any] = {
    "halved": plateau(factor=0.5, patience=1),
    "rested": plateau(factor=0.5, patience=0, cooldown=2, min_value=0.125),
    "stepped": plateau(step=0.25, patience=1, mode="max", threshold=0.5, threshold_mode="abs", max_value=1.0),
    "whole": plateau(step=2.5, patience=0, round=True),
    "gate": gated(),
    "gate_above": gated(advance_when={"monitor": "val_loss", "above": 2.5}),
    "gate_found": gated(schedule={"strategy": "cosine", "end_value": 4.0, "total_steps": "50%"}),
    "gate_waits": gated(max_wait=2),
    "gate_third": gated(frequency=3),
    "gate_step": gated(interval="step"),
    "gate_step_waits": gated(interval="step", max_wait="1ep"),
    "gate_step_second": gated(interval="step", frequency=2),
    "held": held(),
    "held_third": held(frequency=3, effect="raises", start_value=0.5),
    "held_val": held(monitor="val_loss", set_point={"strategy": "linear", "start_value": 1, "end_value": 4}),
    "held_step": held(interval="step", min_value=0.125, max_value=0.75),
    "held_step_second": held(interval="step", frequency=2, set_point={"strategy": "linear", "start_value": 1, "end_value": 4}),
    "limited": limited(),
    "limited_second": limited(frequency=2, mode="max", start_value=1.0, max_value=2.0),
    "limited_pi_step": limited(method="pi", ki=0.25, kp=0.5, rate=None, interval="step", max_value=1.5),
    "follows_gate": follow("gate", scale=2, offset=1),
    "follows_third": follow("held", power=2, frequency=3),
    "follows_step": follow("held_step", power=-1),
    "follows_step_second": follow("gate_step", frequency=2),
    "follows_epoch_by_step": follow("limited", interval="step"),
    "follows_by_epoch_a_step": follow("gate_step", interval="epoch"),
    "follows_chain": follow("follows_by_epoch_a_step", scale=3),
    "follows_chain_by_step": follow("follows_chain", interval="step", frequency=4),
    "follows_whole": follow("whole", scale=0.5, round=True),
    "elsewhere": plateau(factor=2, patience=0, attr_name="place"),
    "follows_place": follow("place", interval="epoch"),
}  # fmt: skip
STARTS: dict[str, Any] = {**dict.fromkeys(RULES, 0.5), "whole": 1, "follows_whole": 3}
PLACES = {"elsewhere": "place"}
BY_STEP = [name for name, settings in RULES.items() if settings.get("interval") == "step"]
BY_STEP += ["follows_step", "follows_step_second"]
BY_EPOCH = [name for name in RULES if name not in BY_STEP]

# By run: val_loss and kl of each epoch.
SERIES: dict[str, tuple[list[float], list[float]]] = {
    "up and down": (
        [3.0, 2.0, 4.0, 2.0, 4.0, 2.0, 1.0, 4.0, 1.5, 4.0, 1.0, 1.0, 1.0, 0.5],
        [4.0, 3.0, 3.5, 2.5, 1.0, 0.5, 1.0, 1.5, 2.0, 2.0, 3.0, 8.0, 8.0, 0.0],
    ),
    "closed": ([3.0] * 6, [1.0] * 6),
    "with nan": ([3.0, NAN, 2.0, 2.0, NAN, NAN, 2.0], [1.0, NAN, 3.0, 3.0, NAN, 0.5, 0.5]),
}


class Measured(Optimized):
    """Each of its batches has the kl of its epoch."""

    def __init__(self, kls: list[float], **options: Any) -> None:
        super().__init__(batches=BATCHES, **options)
        self.kls = kls

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {**super().training_step(batch, batch_idx), "kl": torch.tensor(self.kls[self.current_epoch])}


@pytest.fixture(scope="module", params=SERIES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Watched, Preview]:
    """A fit under all of them at once, and its preview."""
    losses, kls = SERIES[request.param]
    starts = {**STARTS, "place": 0.5}
    module = Measured(kls, optim={"optimizer": "SGD", "learning_rate": 0.5}, starts=starts, losses=losses)
    fitted(tmp_path_factory.mktemp("run"), module, HyperparamAnnealingCallback(RULES), max_epochs=len(losses))
    preview = HyperparamAnnealingCallback(RULES).preview(
        len(losses), BATCHES, metrics={"val_loss": losses, "kl": kls}, start=STARTS
    )
    return module, preview


@pytest.mark.parametrize("name", BY_EPOCH)
def test_by_epoch(run: tuple[Watched, Preview], name: str) -> None:
    module, preview = run
    assert preview[name] == module.epochs(PLACES.get(name, name))


@pytest.mark.parametrize("name", BY_STEP)
def test_by_step(run: tuple[Watched, Preview], name: str) -> None:
    module, preview = run
    assert preview[name] == module.steps(name)


def test_by_hand() -> None:
    losses = [3.0, 2.0, 4.0, 2.0, 2.0, 2.0]
    rules = {
        "halved": plateau(factor=0.5, patience=0, cooldown=1),
        "gate": gated(),
        "held": held(monitor="val_loss", set_point=0, kp=0, ki=0.0625, start_value=0),
        "twice": follow("gate", scale=2),
    }
    preview = HyperparamAnnealingCallback(rules).preview(6, metrics={"val_loss": losses}, start={"halved": 8.0})
    # After epochs 2 and 4 it was no better than 2; the one behind a firing counts for nothing.
    assert preview["halved"] == [8.0, 8.0, 8.0, 4.0, 4.0, 2.0]
    # Open after epochs 1, 3 and 4.
    assert preview["gate"] == [0, 0, 1, 1, 2, 3]
    # A sixteenth of each loss, up to 1.
    assert preview["held"] == [0, 3 / 16, 5 / 16, 9 / 16, 11 / 16, 13 / 16]
    assert preview["twice"] == [0, 0, 2, 2, 4, 6]
    assert [mark.text for mark in preview.parameters[0].marks] == [
        "on_plateau val_loss no better than 2 for 1 poll"
    ] * 2
    sources = ["on_plateau", "gated linear", "pi_control", "follows gate"]
    assert [parameter.source for parameter in preview.parameters] == sources
    assert preview.notes == ()


def test_a_metric_that_is_made_up_gets_through_the_gate(tmp_path: Path) -> None:
    rules = {"gate": gated(), "by_step": gated(interval="step"), "halved": plateau(factor=0.5, patience=2)}
    starts = dict.fromkeys(rules, 1.0)
    preview = HyperparamAnnealingCallback(rules).preview(9, BATCHES, start=starts)
    made_up = preview.metrics["val_loss"]
    # From 2.5 + 1.25 to 2.5 - 1.25 in three epochs.
    assert made_up == pytest.approx([3.75, 2.916667, 2.083333, *[1.25] * 6], abs=1e-6)
    assert preview["gate"] == [0, 0, 0, 1, 2, 3, 4, 5, 6]
    module = fitted(
        tmp_path, Watched(starts, made_up, batches=BATCHES), HyperparamAnnealingCallback(rules), max_epochs=9
    )
    assert [preview["gate"], preview["halved"]] == [module.epochs("gate"), module.epochs("halved")]
    assert preview["by_step"] == module.steps("by_step")
    upwards = {
        "gate": gated(advance_when={"monitor": "acc", "above": 0.5}),
        "up": plateau(monitor="acc", step=1, patience=0, mode="max"),
    }
    preview = HyperparamAnnealingCallback(upwards).preview(4, start={"up": 1.0})
    # Better after epoch 1, and no better after epoch 2.
    assert (preview["gate"], preview["up"]) == ([0, 0, 1, 2], [1.0, 1.0, 1.0, 2.0])


def test_what_only_training_shows_is_told_and_left_out() -> None:
    rules = {"beta": held(), "lam": limited(monitor="recon"), "f": follow("beta"), "ramp": CLOCK}
    preview = HyperparamAnnealingCallback(rules).preview(3)
    assert [parameter.name for parameter in preview.parameters] == ["ramp"]
    assert preview.notes == (
        "beta: pi_control answers to kl, which only training shows (metrics={'kl': [...]})",
        "lam: constraint answers to recon, which only training shows (metrics={'recon': [...]})",
        "f: follows beta, which the preview doesn't see",
    )
    # A constraint begins at the value found.
    preview = HyperparamAnnealingCallback({"lam": limited()}).preview(2, metrics={"kl": [2.0, 2.0]})
    assert preview.parameters == ()
    assert preview.notes == (
        "lam: begins at the value found in the model, which the preview doesn't see (start={'lam': ...})",
    )


def test_what_a_controller_has_to_say_is_a_note() -> None:
    rules = {"beta": held(max_value=0.5), "by_step": held(interval="step")}
    preview = HyperparamAnnealingCallback(rules).preview(30, 1, metrics={"kl": [9.0] * 10 + [NAN] + [9.0] * 12})
    assert preview.notes == (
        "by_step: each step of an epoch is taken to have the kl of the epoch",
        "beta: kl is nan, so the value is kept",
        "by_step: kl is nan, so the value is kept",
        "beta: the set point 2 is out of reach: kl is 9 with the value at its max_value 0.5",
        "kl ends after 23 epochs; nothing answers to it then",
    )


# -- configs ----------------------------------------------------------------------------------------------------------


def configured(folder: Path, rules: dict[str, Any], losses: list[float], optim: dict[str, Any] | None = None, *, kls: list[float] | None = None,
               stopper: dict[str, Any] | None = None, **trainer: Any) -> tuple[Watched, Preview]:  # fmt: skip
    """A run and the preview of its config."""
    trainer = {"max_epochs": len(losses), "limit_train_batches": BATCHES, **trainer}
    optim = {"optimizer": "SGD", "learning_rate": 0.5, **(optim or {})}
    starts = dict.fromkeys(rules, 0.5)
    module = Measured(kls or [1.0] * 40, optim=optim, starts=starts, losses=losses)
    stoppers = [] if stopper is None else [EarlyStopping("val_loss", **stopper)]
    fitted(folder, module, HyperparamAnnealingCallback(rules), *stoppers, **trainer)
    entries = [annealing(**rules)] + ([] if stopper is None else [stopping(**stopper)])
    model = {"class_path": "nowhere.Model", "init_args": {"optim": optim, **starts}}
    return module, previewed({"model": model, "trainer": {**trainer, "callbacks": entries}}, folder, losses)


RATE = "optimizer.param_groups.0.lr"
EXPONENTIAL = {"scheduler": "ExponentialLR", "scheduler_kwargs": {"gamma": 0.5}}
OPTIMS: dict[str, dict[str, Any]] = {
    "constant": {},
    "by epoch": EXPONENTIAL,
    "by step": {**EXPONENTIAL, "scheduler_configs": {"interval": "step"}},
    "plateau": {"scheduler": "ReduceLROnPlateau", "scheduler_kwargs": {"patience": 0}},
    "warm-up": {"scheduler": "LinearLR", "scheduler_kwargs": {"start_factor": 0.25, "total_iters": 3}},
}


@pytest.mark.parametrize("optim", OPTIMS)
def test_what_follows_the_learning_rate(tmp_path: Path, optim: str) -> None:
    rules = {
        "by_default": follow(RATE, scale=2),
        "each_epoch": follow(RATE, interval="epoch", power=-1),
        "each_second": follow("optimizers.0.param_groups.0.lr", frequency=2),
        "chain": follow("each_epoch", offset=1),
    }
    losses = [3.0, 2.0, 4.0, 2.0, 1.0]
    module, preview = configured(tmp_path, rules, losses, OPTIMS[optim])
    for name in ("each_epoch", "chain"):
        assert preview[name] == module.epochs(name)
    for name in ("by_default", "each_second"):
        assert preview[name] == module.steps(name)
    assert preview["by_default"][0] == 2 * module.steps("lr")[0]
    assert (len(set(preview["each_epoch"])) > 1) == (optim != "constant")


def test_what_follows_a_rate_that_is_annealed(tmp_path: Path) -> None:
    rules = {
        "optimizer.param_groups.*.lr": {"strategy": "linear", "start_value": 0.5, "end_value": 0.125, "total_steps": 3},
        "by_path": follow(RATE, scale=2),
        "by_name": follow("optimizer.param_groups.*.lr", scale=2),
    }
    module, preview = configured(tmp_path, rules, [1.0] * 4)
    assert preview["by_path"] == module.steps("by_path")
    assert preview["by_name"] == module.epochs("by_name") == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    "optim",
    [{"lr_parameter_groups": {"head": {"prefix": "layer", "lr_factor": 0.5}}}, {"recurrent_learning_rate_multiplier": 0.1}],
)  # fmt: skip
def test_a_rate_of_several_groups_is_not_known(tmp_path: Path, optim: dict[str, Any]) -> None:
    model = {"class_path": "nowhere.Model", "init_args": {"optim": {**EXPONENTIAL, **optim}}}
    config = {"model": model, "trainer": {"max_epochs": 2, "callbacks": [annealing(f=follow(RATE))]}}
    preview = previewed(config, tmp_path)
    assert [parameter.name for parameter in preview.parameters] == ["learning rate"]
    assert preview.notes[0] == f"f: follows {RATE}, which the preview doesn't see"


@pytest.mark.parametrize("options", [{"check_val_every_n_epoch": 2, "max_epochs": 10}, {"accumulate_grad_batches": 2}])
def test_other_runs(tmp_path: Path, options: dict[str, Any]) -> None:
    rules = {
        "halved": plateau(factor=0.5, patience=0),
        "gate": gated(),
        "by_step": gated(interval="step"),
        "f": follow("by_step", interval="epoch"),
    }
    module, preview = configured(tmp_path, rules, [3.0, 2.0, 2.0, 4.0, 2.0], **options)
    for name in ("halved", "gate", "f"):
        assert preview[name] == module.epochs(name)
    assert preview["by_step"] == module.steps("by_step")


def test_training_metrics_are_there_without_a_validation(tmp_path: Path) -> None:
    kls = [4.0, 1.0, 3.0, 2.5, 0.5, 2.0]
    rules = {"held": held(), "limited": limited(start_value=1), "follows": follow("held")}
    every_second = {"check_val_every_n_epoch": 2, "max_epochs": 6}
    module, _ = configured(tmp_path, rules, [1.0] * 3, kls=kls, **every_second)
    (tmp_path / "kl.csv").write_text("kl\n" + "".join(f"{kl}\n" for kl in kls))
    run = read_run({"trainer": {**every_second, "callbacks": [annealing(**rules)]}})
    preview = preview_of(run, metrics={"kl": str(tmp_path / "kl.csv")})
    for name in rules:
        assert preview[name] == module.epochs(name)
        assert len(set(preview[name])) > 3


def test_a_run_that_ends_early(tmp_path: Path) -> None:
    rules = {"gate": gated(), "by_step": gated(interval="step"), "f": follow("by_step", scale=2), "g": follow("gate")}
    losses = [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    module, preview = configured(tmp_path, rules, losses, stopper={"patience": 2})
    assert preview["gate"] == preview["g"] == module.epochs("gate") == [0, 0, 1, 2]
    assert preview["by_step"] == module.steps("by_step") == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert preview["f"] == module.steps("f")


# -- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"a": {"strategy": "trigger_based", "trigger_source": "metric_below", "monitor": "m", "threshold": 1, "values": ["x", "y"]},
          "f": follow("a")}, "f.other: a holds 'x', which is no number"),
        ({"a": CLOCK, "f": follow("a", power=-1)}, "f: has no value where a is 0: it is to the power -1"),
        ({"a": follow("place", attr_name="home"), "b": follow("home", attr_name="place")},
         "a.other: goes round in a circle: a -> b -> a"),
        ({"g": gated(max_wait="1st")}, "g.max_wait: must be at least one epoch, got 0.01"),
    ],
)  # fmt: skip
def test_what_a_fit_would_stop_at(rules: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        HyperparamAnnealingCallback(rules).preview(4)
    assert str(error.value) == message
