"""OptimizerWatchCallback in real fits: what it logs, warns of, stops, and which schedulers it steps."""

from __future__ import annotations

import copy
import math
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback, LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lightning_anneal import (
    AnnealError,
    Constant,
    HyperparamAnnealingCallback,
    LinearWarmupCosineAnnealingLR,
    OptimizerWatchCallback,
    configure_optimizers,
)
from lightning_anneal.optim.schedules import ScheduleLR
from tests.callbacks.watched import FIRST, HALVING, SECOND, STEP, ByHand, Manual, halved
from tests.optim.fitted import Configured, Scripted, saving
from tests.tiny import Tiny, trainer_for

Fit = Callable[..., Any]
Logged = dict[str, list[tuple[int, float]]]

# -- logging ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logged(tmp_path: Path) -> Callable[..., Logged]:
    """Fit a module, and read what TensorBoard reads: (x, value) for every tag."""

    def run(module: LightningModule, *callbacks: Callback, **options: Any) -> Logged:
        logger = TensorBoardLogger(tmp_path, name="logged", version="run")
        trainer_for(tmp_path, *callbacks, **{"logger": logger, "log_every_n_steps": 1, "max_epochs": 2, **options}).fit(
            module
        )
        reader = EventAccumulator(logger.log_dir).Reload()
        return {
            tag: [(e.step, e.value) for e in reader.Scalars(tag)] for tag in reader.Tags()["scalars"] if "lr-" in tag
        }

    return run


def test_every_group_of_a_config(logged: Callable[..., Logged]) -> None:
    module = Configured(
        optimizer="AdamW",
        learning_rate=0.5,
        optimizer_kwargs={"weight_decay": 0.25},
        lr_parameter_groups={"head": {"prefix": "layer", "lr_factor": 0.5, "weight_decay": 0, "betas": [0.75, 0.9]}},
        scheduler="linear",
    )
    found = logged(module, OptimizerWatchCallback())
    head, default = ([rate * (1 - step / 16) for step in range(16)] for rate in (0.25, 0.5))
    assert found == {
        "lr-AdamW/head": list(enumerate(head)),
        "lr-AdamW/head-momentum": [(step, 0.75) for step in range(16)],
        "lr-AdamW/head-weight_decay": [(step, 0.0) for step in range(16)],
        "lr-AdamW/default": list(enumerate(default)),
        "lr-AdamW/default-momentum": [(step, pytest.approx(0.9)) for step in range(16)],
        "lr-AdamW/default-weight_decay": [(step, 0.25) for step in range(16)],
    }


def test_a_scheduler_by_epoch_is_logged_by_epoch(logged: Callable[..., Logged]) -> None:
    found = logged(Configured(**HALVING), OptimizerWatchCallback(), max_epochs=3)
    assert found == {
        "lr-SGD": [(0, 1.0), (8, 0.5), (16, 0.25)],
        "lr-SGD-momentum": [(0, 0.0), (8, 0.0), (16, 0.0)],
        "lr-SGD-weight_decay": [(0, 0.0), (8, 0.0), (16, 0.0)],
    }


def test_the_name_of_the_config(logged: Callable[..., Logged]) -> None:
    found = logged(Configured(**HALVING, scheduler_configs={"name": "lr-mine"}), OptimizerWatchCallback())
    assert set(found) == {"lr-mine", "lr-mine-momentum", "lr-mine-weight_decay"}
    assert found["lr-mine"] == [(0, 1.0), (8, 0.5)]


def test_momentum_that_one_cycle_moves(logged: Callable[..., Logged]) -> None:
    module = Configured(optimizer_kwargs={"momentum": 0.9}, scheduler="OneCycleLR")
    found = logged(module, OptimizerWatchCallback(), max_epochs=1)
    assert [value for _, value in found["lr-SGD-momentum"]] == pytest.approx(module.moments)
    assert len(set(module.moments)) > 4
    assert [value for _, value in found["lr-SGD"]] == pytest.approx(module.first_rates)


@pytest.mark.parametrize("order", [0, 1])
def test_a_monitor_that_is_there_already(logged: Callable[..., Logged], order: int) -> None:
    callbacks: list[Callback] = [OptimizerWatchCallback()]
    callbacks.insert(order, LearningRateMonitor())
    found = logged(Configured(**HALVING), *callbacks, max_epochs=3)
    # Its tags and no other, and nothing twice.
    assert found == {"lr-SGD": [(0, 1.0), (8, 0.5), (16, 0.25)]}


def test_without_logging(logged: Callable[..., Logged]) -> None:
    assert logged(Configured(**HALVING), OptimizerWatchCallback(log=False)) == {}


def test_without_a_logger(fit: Fit) -> None:
    module = fit(OptimizerWatchCallback(), module=Configured(**HALVING))
    assert module.first_rates[::8] == [1.0, 0.5, 0.25, 0.125]


class Sparse(Tiny):
    """For SparseAdam, which takes nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(4, 1, sparse=True)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.embedding(torch.tensor([batch_idx % 4])).mean()

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, optimizer="SparseAdam", learning_rate=0.5, part=self.embedding)


@pytest.mark.parametrize(
    ("module", "tags"),
    [
        (Configured(optimizer="LBFGS", learning_rate=0.5), {"lr-LBFGS"}),
        (Configured(optimizer="Rprop", learning_rate=0.5), {"lr-Rprop"}),
        (Sparse(), {"lr-SparseAdam", "lr-SparseAdam-momentum"}),
        (Configured(optimizer="Adagrad", learning_rate=0.5), {"lr-Adagrad", "lr-Adagrad-weight_decay"}),
    ],
)
def test_an_optimizer_without_weight_decay_or_momentum(
    logged: Callable[..., Logged], module: LightningModule, tags: set[str]
) -> None:
    found = logged(module, OptimizerWatchCallback(), max_epochs=1)
    assert set(found) == tags
    assert {value for _, value in found[min(tags)]} == {0.5}


def test_optimizers_of_several_kinds(logged: Callable[..., Logged]) -> None:
    sgd = {"optimizer": "SGD", "learning_rate": 0.5, "optimizer_kwargs": {"weight_decay": 0.25}}
    module = Manual(sgd, {"optimizer": "Rprop", "learning_rate": 0.25})
    found = logged(module, OptimizerWatchCallback(), max_epochs=1)
    assert {value for _, value in found["lr-SGD"]} == {0.5}
    assert {value for _, value in found["lr-Rprop"]} == {0.25}
    assert {value for _, value in found["lr-SGD-weight_decay"]} == {0.25}
    assert "lr-Rprop-weight_decay" not in found


@pytest.mark.parametrize("before", [True, False])
def test_an_annealed_value_is_logged_where_it_is_in_force(logged: Callable[..., Logged], before: bool) -> None:
    ramp = {"strategy": "linear", "start_value": 0.0, "end_value": 8.0, "total_steps": 16, **STEP}
    annealing = HyperparamAnnealingCallback({"optimizer.param_groups.head.weight_decay": ramp})
    callbacks = [OptimizerWatchCallback(), annealing] if before else [annealing, OptimizerWatchCallback()]
    module = Configured(lr_parameter_groups={"head": {"prefix": "layer"}}, scheduler="linear")
    found = logged(module, *callbacks)
    assert found["lr-SGD/head-weight_decay"] == [(step, step / 2) for step in range(16)]
    assert {value for _, value in found["lr-SGD/default-weight_decay"]} == {0.0}
    assert found["lr-SGD/head"] == [(step, 1 - step / 16) for step in range(16)]


@pytest.mark.parametrize("before", [True, False])
def test_an_annealed_learning_rate_is_logged_where_it_is_in_force(logged: Callable[..., Logged], before: bool) -> None:
    ramp = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 4}
    annealing = HyperparamAnnealingCallback({"optimizer.param_groups.0.lr": ramp})
    callbacks = [OptimizerWatchCallback(), annealing] if before else [annealing, OptimizerWatchCallback()]
    found = logged(Configured(), *callbacks, max_epochs=4)
    assert dict(found["lr-SGD"]) == {step: step // 8 / 4 for step in range(32)}


# -- a learning rate that never changes -------------------------------------------------------------------------------


def never_changed(warned: Any) -> list[str]:
    return [str(w.message) for w in warned if "never changed" in str(w.message)]


def never(rates: str, kind: str, cause: str) -> list[str]:
    return [f"the learning rate ({rates}) never changed in this fit, in spite of {kind}: {cause}"]


def step_lr(optimizer: Any) -> StepLR:
    return StepLR(optimizer, 1)


MANUAL = "Lightning steps none in manual optimization; OptimizerWatchCallback(step_schedulers=True) does"
BATCHES_OF = "counts batches within an epoch, which has 8; configure_optimizers counts across epochs"


@pytest.mark.parametrize(
    ("module", "options", "expected"),
    [
        (Configured(**HALVING), {"max_epochs": 1},
         never("1", "StepLR", "it is stepped every epoch and the run had 1; take interval: step")),
        (Configured(**HALVING, scheduler_configs={"frequency": 3}), {"max_epochs": 2},
         never("1", "StepLR", "it is stepped every 3 epochs and the run had 2; take interval: step")),
        (ByHand(step_lr, interval="step", frequency=10), {"max_epochs": 3},
         never("1", "StepLR", f"frequency 10 {BATCHES_OF}")),
        (ByHand(lambda o: StepLR(o, 5)), {"max_epochs": 4},
         never("1", "StepLR", "it is stepped by epoch; see whether its lengths go with the run")),
        (Configured(scheduler="StepLR", scheduler_kwargs={"step_size": 40}, scheduler_configs=STEP), {"max_epochs": 4},
         never("1", "StepLR", "it is stepped by step; see whether its lengths go with the run")),
        (Configured(**HALVING, scheduler_configs={"interval": "step", "frequency": 10},
                    lr_parameter_groups={"head": {"prefix": "layer", "lr": 0.5}}), {"max_epochs": 1},
         never("0.5, 1", "StepLR", "it is stepped by step; see whether its lengths go with the run")),
    ],
)  # fmt: skip
def test_a_learning_rate_that_never_changed(
    fit: Fit, module: Configured, options: dict[str, Any], expected: list[str]
) -> None:
    with pytest.warns(UserWarning, match="never changed") as warned:
        fit(OptimizerWatchCallback(), module=module, **options)
    assert len(set(module.rates)) == 1
    assert never_changed(warned) == expected


def test_a_frequency_that_accumulation_never_meets(fit: Fit) -> None:
    module = ByHand(step_lr, interval="step", frequency=3)
    with pytest.warns(UserWarning, match="never changed") as warned:
        fit(OptimizerWatchCallback(), module=module, accumulate_grad_batches=4)
    assert len(set(module.rates)) == 1
    # Batches 4 and 8 step the optimizer, 3 and 6 would step the scheduler.
    assert "frequency 3" in never_changed(warned)[0]


def test_in_manual_optimization(fit: Fit) -> None:
    module = Manual({"learning_rate": 0.5, **HALVING}, {"learning_rate": 0.25, **HALVING, "scheduler_configs": STEP})
    with pytest.warns(UserWarning, match="never changed") as warned:
        fit(OptimizerWatchCallback(), module=module, max_epochs=2)
    assert never_changed(warned) == [*never("0.5", "StepLR", MANUAL), *never("0.25", "StepLR", MANUAL)]


def test_in_manual_optimization_with_the_schedulers_stepped(fit: Fit) -> None:
    module = Manual({"learning_rate": 0.5, **HALVING}, {"learning_rate": 0.25})
    with pytest.warns(UserWarning, match="never changed") as warned:
        fit(OptimizerWatchCallback(step_schedulers=True), module=module, max_epochs=1)
    cause = "it is stepped every epoch and the run had 1; take interval: step"
    assert never_changed(warned) == never("0.5", "StepLR", cause)


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (Configured(scheduler="ReduceLROnPlateau"), {}),
        (Configured(scheduler="reduce_lr_on_plateau", scheduler_configs=STEP), {}),
        (Configured(scheduler="Constant", scheduler_kwargs={"value": 1.0}), {}),
        (
            Configured(
                scheduler="Constant",
                scheduler_kwargs={"value": 1.0},
                scheduler_configs={"interval": "step", "frequency": 3},
            ),
            {},
        ),
        (Configured(scheduler="constant"), {}),
        (ByHand(lambda optimizer: ScheduleLR(optimizer, Constant(1.0))), {}),
        (Configured(**HALVING), {"fast_dev_run": 4}),
        (Configured(**HALVING), {"max_steps": 1}),
        (Configured(**HALVING), {"max_epochs": 2}),
        (Configured(**HALVING, scheduler_configs=STEP), {"max_epochs": 1, "limit_train_batches": 2}),
        (Configured(), {}),
    ],
)
def test_no_such_warning(fit: Fit, module: Configured, options: dict[str, Any]) -> None:
    # Any warning is an error here.
    fit(OptimizerWatchCallback(), module=module, **options)
    assert module.rates


def test_no_such_warning_of_the_last_epoch_of_a_run(tmp_path: Path) -> None:
    saver = saving(tmp_path, save_on_train_epoch_end=True)
    trainer_for(tmp_path, OptimizerWatchCallback(), saver, enable_checkpointing=True).fit(Configured(**HALVING))
    [checkpoint] = tmp_path.glob("epoch=2-*.ckpt")
    module = Configured(**HALVING)
    trainer_for(tmp_path, OptimizerWatchCallback()).fit(module, ckpt_path=checkpoint)
    # It has changed three times before.
    assert module.rates == [(0.125,)] * 8


def test_no_such_warning_of_a_run_that_failed(fit: Fit) -> None:
    class Failing(Callback):
        def on_train_epoch_end(self, *args: Any) -> None:
            raise RuntimeError("stop here")

    with pytest.raises(RuntimeError, match="stop here"):
        fit(OptimizerWatchCallback(), Failing(), module=Configured(**HALVING))


def test_one_that_changes_late_is_not_still(fit: Fit) -> None:
    kwargs = {"milestones": [31], "gamma": 0.5}
    module = Configured(scheduler="MultiStepLR", scheduler_kwargs=kwargs, scheduler_configs=STEP)
    assert fit(OptimizerWatchCallback(), module=module).first_rates == [1.0] * 31 + [0.5]


# -- lengths that can't be meant --------------------------------------------------------------------------------------


def texts(warned: Any) -> list[str]:
    """What was warned of, but for what Lightning says when a callback was left out of a resume."""
    told = [str(w.message) for w in warned if w.category is UserWarning]
    return [text for text in told if "ckpt_path" not in text]


def warm(optimizer: Any) -> LinearLR:
    return LinearLR(optimizer, start_factor=0.25, total_iters=5)


DOUBTS: list[tuple[Any, dict[str, Any], dict[str, Any], dict[str, Any], str]] = [
    (lambda o: OneCycleLR(o, 1.0, 100, cycle_momentum=False), STEP,
     {"scheduler": "OneCycleLR", "scheduler_kwargs": {"total_steps": 100, "cycle_momentum": False}}, {},
     "OneCycleLR ends late: total_steps=100, and the run has 32 steps; leave total_steps out"),
    (lambda o: OneCycleLR(o, 1.0, 64, cycle_momentum=False), STEP,
     {"scheduler": "OneCycleLR", "scheduler_kwargs": {"epochs": 4, "steps_per_epoch": 16, "cycle_momentum": False}}, {},
     "OneCycleLR ends late: total_steps=64, and the run has 32 steps; leave total_steps out"),
    (lambda o: OneCycleLR(o, 1.0, 32, cycle_momentum=False), STEP,
     {"scheduler": "OneCycleLR", "scheduler_kwargs": {"total_steps": 32, "cycle_momentum": False}},
     {"accumulate_grad_batches": 4},
     "OneCycleLR ends late: total_steps=32, and the run has 8 steps; leave total_steps out"),
    (warm, {}, {"scheduler": "LinearLR", "scheduler_kwargs": {"start_factor": 0.25, "total_iters": 5}}, {},
     "a warm-up of 5 epochs never ends in a run of 4"),
    (lambda o: LinearWarmupCosineAnnealingLR(o, 40, 50), STEP,
     {"scheduler": "LinearWarmupCosineAnnealingLR", "scheduler_kwargs": {"warmup_epochs": 40, "max_epochs": 50},
      "scheduler_configs": STEP}, {},
     "a warm-up of 40 steps never ends in a run of 32"),
    (None, {}, {"scheduler": "constant_with_warmup", "scheduler_kwargs": {"warmup_steps": 33}}, {},
     "a warm-up of 33 steps never ends in a run of 32"),
    (lambda o: SequentialLR(o, [ConstantLR(o, 0.5, 2), ConstantLR(o, 0.25)], [4]), {},
     {"scheduler": "SequentialLR", "scheduler_kwargs": {"milestones": [4], "schedulers": [
         {"scheduler": "ConstantLR", "factor": 0.5, "total_iters": 2}, {"scheduler": "ConstantLR", "factor": 0.25}]}},
     {},
     "SequentialLR goes on to its second scheduler after 4 epochs, and the run has 4"),
    (lambda o: CosineAnnealingLR(o, 2), {}, {"scheduler": "CosineAnnealingLR", "scheduler_kwargs": {"T_max": 2}}, {},
     "CosineAnnealingLR rises again after T_max=2 of 4 epochs; "
     "leave T_max out (a resumed run keeps the one it began with)"),
    (lambda o: CosineAnnealingLR(o, 4, eta_min=2.0), {},
     {"scheduler": "CosineAnnealingLR", "scheduler_kwargs": {"eta_min": 2.0}}, {},
     "CosineAnnealingLR: eta_min=2 is above the base learning rate 1"),
    (lambda o: LinearWarmupCosineAnnealingLR(o, 1, 4, eta_min=1.5), {},
     {"scheduler": "LinearWarmupCosineAnnealingLR", "scheduler_kwargs": {"warmup_epochs": 1, "eta_min": 1.5}}, {},
     "LinearWarmupCosineAnnealingLR: eta_min=1.5 is above the base learning rate 1"),
    (lambda o: ReduceLROnPlateau(o, min_lr=2.0), {"monitor": "val_loss"},
     {"scheduler": "ReduceLROnPlateau", "scheduler_kwargs": {"min_lr": 2.0}}, {},
     "ReduceLROnPlateau: min_lr=2 is above the base learning rate 1"),
]  # fmt: skip


# Some there are from a config only.
FORMS = [
    (form, *doubt)
    for doubt in DOUBTS
    for form in ("config", "config, watched", "by hand, watched")
    if doubt[0] is not None or form != "by hand, watched"
]


@pytest.mark.parametrize(
    ("form", "make", "config", "optim", "options", "message"), FORMS, ids=[f"{f[0]}-{f[-1][:50]}" for f in FORMS]
)
def test_doubtful_lengths(
    fit: Fit, form: str, make: Any, config: dict[str, Any], optim: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    module = ByHand(make, **config) if form == "by hand, watched" else Configured(**optim)
    with pytest.warns(UserWarning, match=re.escape(message)) as warned:
        fit(*([OptimizerWatchCallback()] if "watched" in form else []), module=module, **options)
    assert texts(warned) == [message]


@pytest.mark.parametrize("form", ["config", "by hand"])
def test_one_cycle_that_ends_early(fit: Fit, form: str) -> None:
    kwargs = {"total_steps": 10, "cycle_momentum": False}
    module = Configured(scheduler="OneCycleLR", scheduler_kwargs=kwargs)
    if form == "by hand":
        module = ByHand(lambda optimizer: OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False), **STEP)
    early = pytest.warns(UserWarning, match="ends early")
    with early as warned, pytest.raises(ValueError, match="Tried to step 11 times"):
        fit(OptimizerWatchCallback(), module=module)
    assert texts(warned) == [
        "OneCycleLR ends early, and torch stops the run there with an error: total_steps=10, and the run has 32 steps; "
        "leave total_steps out"
    ]


def test_a_warmup_before_a_plateau_that_takes_the_whole_run(fit: Fit) -> None:
    parts = [{"scheduler": "LinearLR", "total_iters": 4}, {"scheduler": "ReduceLROnPlateau"}]
    module = Configured(scheduler="SequentialLR", scheduler_kwargs={"schedulers": parts, "milestones": [4]})
    with pytest.warns(UserWarning, match="never begins") as warned:
        fit(OptimizerWatchCallback(), module=module)
    assert texts(warned) == ["the warm-up takes 4 epochs and the run has 4: ReduceLROnPlateau never begins"]


def test_a_floor_above_the_rate_of_one_group(fit: Fit) -> None:
    module = Configured(
        scheduler="CosineAnnealingLR", scheduler_kwargs={"eta_min": 0.5},
        lr_parameter_groups={"a": {"pattern": "bias"}, "slow": {"prefix": "layer", "lr": 0.25}},
    )  # fmt: skip
    with pytest.warns(UserWarning, match="eta_min") as warned:
        fit(OptimizerWatchCallback(), module=module)
    assert texts(warned) == ["CosineAnnealingLR: eta_min=0.5 is above the base learning rate 0.25"]


def test_a_longer_run_than_the_checkpoint_was_made_for(tmp_path: Path) -> None:
    module = Configured(scheduler="CosineAnnealingLR")
    saver = saving(tmp_path, save_on_train_epoch_end=True)
    trainer_for(tmp_path, OptimizerWatchCallback(), saver, max_epochs=2, enable_checkpointing=True).fit(module)
    [checkpoint] = tmp_path.glob("epoch=0-*.ckpt")
    with pytest.warns(UserWarning, match="rises again") as warned:
        trainer_for(tmp_path, OptimizerWatchCallback(), max_epochs=4).fit(
            Configured(scheduler="CosineAnnealingLR"), ckpt_path=checkpoint
        )
    assert texts(warned) == [
        "CosineAnnealingLR rises again after T_max=2 of 4 epochs; leave T_max out "
        "(a resumed run keeps the one it began with)"
    ]


def test_lengths_that_are_meant(fit: Fit) -> None:
    for make in (
        lambda o: LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=50),
        lambda o: CosineAnnealingLR(o, 4, eta_min=1.0 / 3),
        lambda o: SequentialLR(o, [warm(o), ConstantLR(o, 0.5)], [3]),
        lambda o: OneCycleLR(o, 1.0, 4, cycle_momentum=False),
    ):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A `OneCycleLR` scheduler is using 'interval'")
            module = fit(OptimizerWatchCallback(), module=ByHand(make))
        assert len(set(module.rates)) == 4


# -- a NaN loss -------------------------------------------------------------------------------------------------------


class Spoiled(Configured):
    """Its loss is NaN at one training step."""

    def __init__(self, at: tuple[int, int], form: str = "tensor", **more: Any) -> None:
        super().__init__(**more)
        self.at = at
        self.form = form

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.note(batch_idx)
        loss = self.loss_of(batch)
        if (self.current_epoch, batch_idx) == self.at:
            loss = loss * math.nan
        return {"loss": loss, "other": 1} if self.form == "dict" else loss


TIPS = "try a tenth of it, a warm-up, gradient_clip_val: 1.0, or full precision"


@pytest.mark.parametrize(
    ("module", "options", "where", "steps"),
    [
        (Spoiled((0, 0)), {}, "epoch 0, batch 0, with a learning rate of 1", 1),
        (Spoiled((1, 4)), {}, "epoch 1, batch 4, with a learning rate of 1", 13),
        (Spoiled((1, 4), "dict"), {}, "epoch 1, batch 4, with a learning rate of 1", 13),
        # The third batch of four, before the optimizer steps.
        (Spoiled((0, 2)), {"accumulate_grad_batches": 4}, "epoch 0, batch 2, with a learning rate of 1", 3),
        (Spoiled((1, 2), "dict"), {"accumulate_grad_batches": 4}, "epoch 1, batch 2, with a learning rate of 1", 11),
        (Spoiled((2, 0), **HALVING), {}, "epoch 2, batch 0, with a learning rate of 0.25", 17),
        (Spoiled((0, 1), lr_parameter_groups={"a": {"pattern": "bias", "lr": 2}, "b": {"prefix": "layer", "lr": 1e-5}}),
         {}, "epoch 0, batch 1, with a learning rate of 2, 1, 1e-05", 2),
    ],
)  # fmt: skip
def test_a_nan_loss_stops(fit: Fit, module: Spoiled, options: dict[str, Any], where: str, steps: int) -> None:
    with pytest.raises(AnnealError) as error:
        fit(OptimizerWatchCallback(), module=module, log_every_n_steps=50, **options)
    assert str(error.value) == f"loss: NaN in {where}; {TIPS}"
    assert len(module.trace) == steps


def test_a_nan_loss_in_manual_optimization(fit: Fit) -> None:
    class Gone(Manual):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            return torch.tensor(math.nan if batch_idx == 3 else 1.0)

    module = Gone({"learning_rate": 0.5}, {"learning_rate": 0.25})
    with pytest.raises(AnnealError) as error:
        fit(OptimizerWatchCallback(), module=module)
    assert str(error.value) == f"loss: NaN in epoch 0, batch 3, with a learning rate of 0.5, 0.25; {TIPS}"


def test_a_nan_loss_that_may_be(fit: Fit) -> None:
    module = fit(OptimizerWatchCallback(stop_on_nan=False), module=Spoiled((0, 3)), max_epochs=1)
    assert len(module.trace) == 8
    assert torch.isnan(module.layer.weight).all()


@pytest.mark.filterwarnings("ignore:`training_step` returned `None`")
def test_a_step_without_a_loss(fit: Fit) -> None:
    class Skipping(Configured):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step(batch, batch_idx)
            return None if batch_idx % 2 else loss

    assert len(fit(OptimizerWatchCallback(), module=Skipping(), max_epochs=1).trace) == 8


# -- a metric that isn't logged ---------------------------------------------------------------------------------------


def plateau(optimizer: Any) -> ReduceLROnPlateau:
    return ReduceLROnPlateau(optimizer)


@pytest.mark.parametrize(
    "module",
    [
        Configured(scheduler="ReduceLROnPlateau", scheduler_configs={"monitor": "val_acc"}),
        ByHand(plateau, monitor="val_acc"),
    ],
)
def test_a_monitor_that_is_not_logged(fit: Fit, module: Configured) -> None:
    with pytest.raises(AnnealError) as error:
        fit(OptimizerWatchCallback(), module=module)
    assert str(error.value) == "scheduler_configs.monitor: 'val_acc' is not logged; logged: train_loss, val_loss"
    assert len(module.trace) == 8


def test_nothing_is_logged(fit: Fit) -> None:
    class Silent(Configured):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.loss_of(batch)

    module = Silent(scheduler="ReduceLROnPlateau")
    with pytest.raises(AnnealError) as error:
        fit(OptimizerWatchCallback(), module=module, limit_val_batches=0)
    assert str(error.value) == "scheduler_configs.monitor: 'train_loss' is not logged; logged: nothing"


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on metric val_acc which is not available but strict")
def test_a_monitor_that_may_be_missing(fit: Fit) -> None:
    configs = {"monitor": "val_acc", "strict": False}
    module = Configured(scheduler="ReduceLROnPlateau", scheduler_configs=configs)
    assert len(fit(OptimizerWatchCallback(), module=module, max_epochs=1).trace) == 8


def test_a_monitor_that_is_logged_at_the_end_of_the_epoch(fit: Fit) -> None:
    class Late(Configured):
        def on_train_epoch_end(self) -> None:
            self.log("score", 1.0)

    kwargs, configs = {"patience": 0, "factor": 0.5}, {"monitor": "score"}
    module = Late(scheduler="ReduceLROnPlateau", scheduler_kwargs=kwargs, scheduler_configs=configs)
    assert fit(OptimizerWatchCallback(), module=module).first_rates[::8] == [1.0, 1.0, 0.5, 0.25]


def test_a_monitor_that_is_logged_by_epoch(fit: Fit) -> None:
    class Averaging(Configured):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.note(batch_idx)
            self.log("mean", 1.0, on_step=False, on_epoch=True)
            return self.loss_of(batch)

    kwargs, configs = {"patience": 0, "factor": 0.5}, {"monitor": "mean"}
    module = Averaging(scheduler="ReduceLROnPlateau", scheduler_kwargs=kwargs, scheduler_configs=configs)
    assert fit(OptimizerWatchCallback(), module=module).first_rates[::8] == [1.0, 1.0, 0.5, 0.25]


@pytest.mark.parametrize("frequency", [None, 2])
def test_a_monitor_that_is_there_every_other_epoch(fit: Fit, frequency: int | None) -> None:
    configs = {"monitor": "val_loss", "frequency": frequency}
    module = Scripted(
        [1.0] * 6,
        scheduler="ReduceLROnPlateau",
        scheduler_kwargs={"patience": 0, "factor": 0.5},
        scheduler_configs=configs,
    )
    fit(OptimizerWatchCallback(), module=module, max_epochs=6, check_val_every_n_epoch=2)
    assert module.rate_of_epochs == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]


# -- the callback itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [copy.deepcopy, lambda callback: pickle.loads(pickle.dumps(callback))])
@pytest.mark.parametrize("state", ["new", "used", "failed"])
def test_a_copy_does_the_same(fit: Fit, how: Callable[[Any], Any], state: str) -> None:
    callback = OptimizerWatchCallback(step_schedulers=True)
    parts = {**FIRST, **HALVING, "scheduler_configs": STEP}, SECOND
    if state == "used":
        fit(callback, module=Manual(*parts), max_epochs=1)
    if state == "failed":
        with pytest.raises(AnnealError, match="NaN"):
            fit(callback, module=Spoiled((0, 1)))
    copied = how(callback)
    module = Manual(*parts)
    fit(copied, module=module, max_epochs=1)
    assert [rates[0] for rates in module.rates] == halved(1.0, list(range(8)))
    with pytest.raises(AnnealError, match=r"^loss: NaN in epoch 0, batch 1,"):
        fit(copied, module=Spoiled((0, 1)))


def test_the_same_callback_in_two_fits(tmp_path: Path, logged: Callable[..., Logged]) -> None:
    callback = OptimizerWatchCallback(step_schedulers=True)
    manual = Manual({**FIRST, **HALVING, "scheduler_configs": STEP}, SECOND)
    with pytest.warns(UserWarning, match="never changed"):
        trainer_for(tmp_path, callback, max_epochs=1).fit(Configured(**HALVING))
    for _ in range(2):
        manual.trace.clear()
        trainer_for(tmp_path, callback, max_epochs=1).fit(manual)
        assert [rates[0] for rates in manual.rates] == halved(1.0, list(range(8)))
    found = logged(Configured(**HALVING, scheduler_configs={"name": "lr-second"}), callback, max_epochs=3)
    assert found["lr-second"] == [(0, 1.0), (8, 0.5), (16, 0.25)]
    assert not [tag for tag in found if not tag.startswith("lr-second")]


def test_a_fit_after_one_that_failed(fit: Fit) -> None:
    callback = OptimizerWatchCallback(step_schedulers=True)
    parts = {**FIRST, **HALVING, "scheduler_configs": STEP}, SECOND

    class Failing(Manual):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            if batch_idx == 2:
                raise RuntimeError("stop here")

    failing = Failing(*parts)
    with pytest.raises(RuntimeError, match="stop here"):
        fit(callback, module=failing)
    assert [len(optimizer._optimizer_step_post_hooks) for optimizer in failing.trainer.optimizers] == [0, 0]
    module = Manual(*parts)
    fit(callback, module=module, max_epochs=1)
    assert [rates[0] for rates in module.rates] == halved(1.0, list(range(8)))


@pytest.mark.parametrize("argument", ["log", "stop_on_nan", "step_schedulers"])
def test_arguments_that_are_no_booleans(argument: str) -> None:
    with pytest.raises(AnnealError) as error:
        OptimizerWatchCallback(**{argument: "no"})
    assert str(error.value) == f"{argument}: must be true or false, got 'no'"
