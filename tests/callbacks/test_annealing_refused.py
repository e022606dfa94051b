"""What HyperparamAnnealingCallback refuses, in the constructor and at fit start."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader, IterableDataset

from lightning_anneal import AnnealError, BetaScheduleCallback, HyperparamAnnealingCallback, Linear, Sequence
from tests.callbacks.rules import anneal, ramp
from tests.tiny import Tiny, trainer_for

Fit = Callable[..., Tiny]

# Many a ramp here is cut short on purpose; one test looks at the warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Any:
        return iter([torch.ones(4)] * 3)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"betta": ramp()}, {}, "betta: Tiny has no attribute 'betta'; did you mean 'beta'?"),
        ({"top_k": ramp(1.0, total_steps=4)}, {},
         "top_k: holds an int and would get 0.25; write 3.0 in the module, or set round: true"),
        ({"optimizer.param_groups.0.lr": ramp(-1.0, total_steps=4)}, {},
         "optimizer.param_groups.0.lr: lr must be at least 0, and would go to -1"),
        ({"beta": ramp(), "again": ramp(attr_name="beta")}, {}, "again: the same place as 'beta'; keep one of them"),
        ({"beta": lambda t: math.nan}, {}, "beta at 0: must be a finite number, got nan"),
        ({"beta": ramp(total_steps="50%")}, {"max_epochs": -1},
         "beta.total_steps: '50%' needs the length of the run, which is not known; give a number of epochs"),
        ({"beta": ramp()}, {"max_epochs": -1},
         "beta.total_steps: leaving it out needs the length of the run, which is not known; give a number of epochs"),
        ({"beta": {"strategy": "exponential", "end_value": -1}}, {},
         "beta.end_value: must have the sign of the start value; take Linear or Cosine"),
        ({"hparams.x": ramp()}, {}, "hparams.x: AttributeDict has no key 'x'"),
        ({"trainer.gradient_clip_val": ramp(0.1, start_value=1.0, as_tensor=True)}, {"gradient_clip_val": 1.0},
         "trainer.gradient_clip_val.as_tensor: only a number of a module or of a parameter group becomes a tensor"),
        ({"weights.nested.0": ramp(0.1, as_tensor=True)}, {},
         "weights.nested.0.as_tensor: only a number of a module or of a parameter group becomes a tensor"),
    ],
)  # fmt: skip
def test_refused_at_fit_start_and_nothing_changed(
    tmp_path: Path, settings: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    module = Tiny()
    # The first parameter is in order, and must not be changed either.
    callback = HyperparamAnnealingCallback({"loss.margin": Linear(5, 6, 2), **settings})
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, callback, **options).fit(module)
    assert str(error.value).startswith(message)
    assert (module.loss.margin, module.beta, module.top_k) == (0.2, 1.0, 3)
    assert module.seen == []


def test_percent_by_step_of_a_loader_without_length(tmp_path: Path) -> None:
    callback = anneal(total_steps="50%", interval="step")
    with pytest.raises(AnnealError, match="needs the length of the run, which is not known; give a number of steps"):
        trainer_for(tmp_path, callback).fit(Tiny(), DataLoader(Endless()))
    module = Tiny()
    trainer_for(tmp_path, anneal(total_steps="50%"), limit_val_batches=0).fit(module, DataLoader(Endless()))
    assert module.by_epoch == [0.0, 1.5, 3.0, 3.0]


def test_the_same_parameter_in_callbacks_of_two_classes(tmp_path: Path) -> None:
    module = Tiny()
    callbacks = [BetaScheduleCallback("constant", {"max_beta": 2.0}), HyperparamAnnealingCallback({"beta": ramp()})]
    with pytest.raises(AnnealError, match=r"^beta: HyperparamAnnealingCallback anneals it too; keep one of them$"):
        trainer_for(tmp_path, *callbacks).fit(module)
    assert module.beta == 1.0


def test_a_refused_callback_leaves_the_others_unapplied(tmp_path: Path) -> None:
    module = Tiny()
    callbacks = [
        HyperparamAnnealingCallback({"beta": ramp()}, name="first"),
        HyperparamAnnealingCallback({"betta": ramp()}, name="second"),
    ]
    with pytest.raises(AnnealError, match="no attribute 'betta'"):
        trainer_for(tmp_path, *callbacks).fit(module)
    assert module.beta == 1.0


def test_a_datamodule_that_is_not_there_matters_in_a_fit_only(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({"datamodule.noise": ramp()})
    trainer_for(tmp_path, callback).test(Tiny(), verbose=False)
    with pytest.raises(AnnealError, match="there is no datamodule"):
        trainer_for(tmp_path, callback).fit(Tiny())


@pytest.mark.parametrize(
    ("path", "curve", "message"),
    [
        (
            "optimizer.param_groups.0.weight_decay",
            lambda t: -5.0,
            "weight_decay must be at least 0, and would go to -5",
        ),
        (
            "optimizer.param_groups.0.lr",
            Sequence([(lambda t: 0.1 - t, 9)]),
            "lr must be at least 0, and would go to -0.9",
        ),
        ("trainer.gradient_clip_val", lambda t: 1 - 2 * t, "gradient_clip_val must be at least 0, and would go to -1"),
        (
            "trainer.accumulate_grad_batches",
            lambda t: 1 - t,
            "accumulate_grad_batches must be at least 1, and would go to 0",
        ),
    ],
)
def test_out_of_range(tmp_path: Path, path: str, curve: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, HyperparamAnnealingCallback({path: curve}), gradient_clip_val=1.0).fit(Tiny())
    assert str(error.value) == f"{path}: {message}"


def test_two_callbacks_need_two_names(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="more than one stateful callback"):
        trainer_for(tmp_path, anneal(), anneal())
    first = HyperparamAnnealingCallback({"beta": ramp()}, name="first")
    second = HyperparamAnnealingCallback({"loss.margin": ramp()}, name="second")
    assert (first.state_key, second.state_key) == (
        "HyperparamAnnealingCallback[name=first]",
        "HyperparamAnnealingCallback[name=second]",
    )
    module = Tiny()
    trainer_for(tmp_path, first, second).fit(module)
    assert (module.beta, module.loss.margin) == (3.0, 3.0)


def test_the_same_parameter_in_two_callbacks(tmp_path: Path) -> None:
    module = Tiny()
    callbacks = [
        HyperparamAnnealingCallback({"beta": ramp()}, name="first"),
        HyperparamAnnealingCallback({"again": ramp(attr_name="beta")}, name="second"),
    ]
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, *callbacks).fit(module)
    assert str(error.value) == "beta: HyperparamAnnealingCallback[name=second] anneals it too; keep one of them"
    assert module.beta == 1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HyperparamAnnealingCallback({"b": ramp()}, prog_bar=["c"]), "prog_bar: unknown parameter 'c'; known: b"),
        (lambda: HyperparamAnnealingCallback({"b": ramp()}, prog_bar=5), "prog_bar: must be a list of names, got 5"),
        (lambda: HyperparamAnnealingCallback({"b": Linear}), "b: Linear is a class; make a schedule of it, such as Linear(0, 1, 10)"),
        (lambda: HyperparamAnnealingCallback({"b": ramp()}, name=""), "name: must be a string, got ''"),
        (
            lambda: HyperparamAnnealingCallback({"b": ramp()}, on_horizon_change="later"),
            "on_horizon_change: unknown on_horizon_change 'later'; known: error, keep, stretch",
        ),
        (
            lambda: HyperparamAnnealingCallback({"trainer.gradient_clip_val": ramp(eval_value=1.0)}),
            "trainer.gradient_clip_val.eval_value: is for values of the module, not of the trainer",
        ),
        (lambda: HyperparamAnnealingCallback({"_b": ramp()}), "_b: '_b' is private; names with a leading underscore can't "
                                                              "be annealed"),
    ],
)  # fmt: skip
def test_refused_by_the_constructor(make: Callable[[], LightningModule], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        make()
    assert str(error.value) == message
