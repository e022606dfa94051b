"""HyperparamAnnealingCallback in real fits: what is in force when, where it goes, and what is refused."""

from __future__ import annotations

import copy
import csv
import logging
import math
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback, LearningRateFinder, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader, IterableDataset

from lightning_anneal import AnnealError, Cosine, HyperparamAnnealingCallback, Linear, Milestones, Sequence
from tests.tiny import BATCHES, Data, Tiny, trainer_for

Fit = Callable[..., Tiny]

# Many a ramp here is cut short on purpose; one test looks at the warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


def ramp(end: float = 3.0, **settings: Any) -> dict[str, Any]:
    return {"strategy": "linear", "start_value": 0.0, "end_value": end, **settings}


def anneal(**settings: Any) -> HyperparamAnnealingCallback:
    return HyperparamAnnealingCallback({"beta": ramp(**settings)})


def test_by_epoch(fit: Fit) -> None:
    module = fit(anneal(total_steps=3), max_epochs=5)
    assert module.by_epoch == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert len(module.values) == 5 * BATCHES
    assert all(value == module.by_epoch[epoch] for epoch, _, value in module.seen)


def test_by_step(fit: Fit) -> None:
    module = fit(anneal(end=16.0, total_steps=16, interval="step"), max_epochs=3)
    assert module.values == [*map(float, range(16)), *[16.0] * 8]


def test_without_a_length_the_last_epoch_or_step_trains_at_the_end(fit: Fit) -> None:
    assert fit(anneal(), max_epochs=4).by_epoch == [0.0, 1.0, 2.0, 3.0]
    assert fit(anneal(end=31.0, interval="step"), max_epochs=4).values == [*map(float, range(32))]


@pytest.mark.parametrize(
    ("length", "options", "expected"),
    [
        ("100%", {"max_epochs": 3}, 24),
        ("2ep", {"max_epochs": 3}, 16),
        ("5st", {"max_epochs": 3}, 5),
        ("50%", {"max_steps": 20, "max_epochs": -1}, 10),
        ("1ep", {"max_epochs": 3, "accumulate_grad_batches": 3}, 3),
        ("1ep", {"max_epochs": 3, "limit_train_batches": 5}, 5),
    ],
)
def test_units_of_a_run(fit: Fit, length: str, options: dict[str, Any], expected: int) -> None:
    callback = anneal(end=float(expected), total_steps=length, interval="step")
    values = fit(callback, **options).values
    steps = sorted(set(values))
    assert steps[: expected + 1] == [float(s) for s in range(len(steps))][: expected + 1]
    assert max(values) == min(expected, max(steps))


def test_percent_of_max_steps_in_an_epoch_rule(fit: Fit) -> None:
    # 20 steps are 2.5 epochs of 8: half of that is 1.25 epochs.
    module = fit(anneal(end=1.25, total_steps="50%"), max_steps=20, max_epochs=-1)
    assert module.by_epoch == [0.0, 1.0, 1.25]


def test_frequency(fit: Fit) -> None:
    assert fit(anneal(total_steps=3, frequency=2), max_epochs=6).by_epoch == [0.0, 0.0, 2.0, 2.0, 3.0, 3.0]
    module = fit(anneal(end=16.0, total_steps=16, interval="step", frequency=5), max_epochs=3)
    assert module.values == [0.0] * 5 + [5.0] * 5 + [10.0] * 5 + [15.0] * 5 + [16.0] * 4


def test_accumulated_batches_are_one_step(fit: Fit) -> None:
    module = fit(anneal(end=9.0, total_steps=9, interval="step"), max_epochs=2, accumulate_grad_batches=3)
    # An epoch of 8 batches has 3 steps: Lightning steps with its last batch, too.
    assert module.values == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5]


class TwoOptimizers(Tiny):
    """Manual optimization: both optimizers step at every second batch."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append((self.current_epoch, batch_idx, self.look()))
        if batch_idx % 2:
            for optimizer in self.optimizers():
                optimizer.step()

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD(self.layer.parameters(), lr=0.1), torch.optim.SGD(self.net.parameters(), lr=0.1)]


def test_manual_optimization_with_two_optimizers(fit: Fit) -> None:
    module = fit(anneal(end=9.0, total_steps=9, interval="step"), module=TwoOptimizers(), max_epochs=2)
    assert module.values == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    assert module.trainer.global_step == 16


def test_each_optimizer_by_its_number(fit: Fit) -> None:
    callback = HyperparamAnnealingCallback({"optimizers.1.param_groups.0.lr": ramp(0.5, total_steps=2)})
    module = fit(callback, module=TwoOptimizers(), max_epochs=2)
    assert [o.param_groups[0]["lr"] for o in module.trainer.optimizers] == [0.1, 0.25]


def test_optimizer_groups(fit: Fit) -> None:
    module = fit(HyperparamAnnealingCallback({"optimizer.param_groups.0.lr": ramp()}), module=Tiny(watch="lr"))
    assert module.by_epoch == [0.0, 1.0, 2.0, 3.0]


class TwoGroups(Tiny):
    def configure_optimizers(self) -> Any:
        groups = [
            {"params": self.layer.parameters(), "weight_decay": 0.0},
            {"params": self.net.parameters(), "weight_decay": 0.4},
        ]
        return torch.optim.SGD(groups, lr=0.1)


def test_each_group_keeps_its_own_start_value(fit: Fit) -> None:
    path = "optimizer.param_groups.*.weight_decay"
    callback = HyperparamAnnealingCallback({path: {"strategy": "linear", "end_value": 0.8, "total_steps": 4}})
    fit(callback, module=TwoGroups(), max_epochs=3)
    assert callback.values == pytest.approx(
        {"optimizer.param_groups.0.weight_decay": 0.4, "optimizer.param_groups.1.weight_decay": 0.6}
    )


def test_everything_at_once(fit: Fit, tmp_path: Path) -> None:
    data = Data()
    callback = HyperparamAnnealingCallback(
        {
            "beta": Cosine(0, 1, 2),
            "loss.margin": lambda t: 0.1 * t,
            "net.1.p": Linear(0.5, 0.0, 2),
            "weights.nested.1": Milestones({2: 7.0}),
            "temperature": ramp(2.0, total_steps=4),
            "top_k": {"strategy": "linear", "start_value": 3, "end_value": 1, "total_steps": 4, "round": True},
            "noise": {"strategy": "constant", "value": 0.25, "object": "datamodule"},
            "trainer.gradient_clip_val": ramp(1.0, total_steps=4),
        }
    )
    module = Tiny()
    trainer = trainer_for(tmp_path, callback, gradient_clip_val=5, max_epochs=4)
    trainer.fit(module, datamodule=data)
    expected = {
        "beta": 1.0,
        "loss.margin": 0.1 * 3,
        "net.1.p": 0.0,
        "weights.nested.1": 7.0,
        "temperature": 1.5,
        "top_k": 2,
        "noise": 0.25,
        "trainer.gradient_clip_val": 0.75,
    }
    assert callback.values == expected
    assert (module.loss.margin, module.net[1].p, module.weights["nested"]) == (0.1 * 3, 0.0, [0.1, 7.0])  # type: ignore[index]
    assert (float(module.temperature), module.top_k, data.noise, trainer.gradient_clip_val) == (1.5, 2, 0.25, 0.75)


def test_milestones_leave_the_value_alone_before_the_first(fit: Fit) -> None:
    callback = HyperparamAnnealingCallback({"beta": {"strategy": "SCHEDULED", "schedule": {2: 0.5, 3: 0.25}}})
    assert fit(callback, max_epochs=5).by_epoch == [1.0, 1.0, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("options", [{}, {"val_check_interval": 0.5}, {"check_val_every_n_epoch": 2}])
def test_eval_value_is_in_force_in_validation_only(fit: Fit, options: dict[str, Any]) -> None:
    module = fit(anneal(total_steps=3, eval_value=9.0), max_epochs=3, num_sanity_val_steps=2, **options)
    assert module.by_epoch == [0.0, 1.0, 2.0]
    assert set(module.values) == {0.0, 1.0, 2.0}
    assert {value for _, value in module.validated} == {9.0}
    assert len(module.validated) > 2
    assert module.beta == 2.0


def test_without_eval_value_validation_sees_the_training_value(fit: Fit) -> None:
    module = fit(anneal(total_steps=3), max_epochs=3)
    assert module.validated == [(0, 0.0)] * 2 + [(e, float(e)) for e in (0, 1, 2) for _ in range(2)]


def test_eval_value_is_put_back_after_an_exception(tmp_path: Path) -> None:
    class Breaks(Tiny):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            if self.current_epoch == 2:
                raise RuntimeError("out of order")

    module, callback = Breaks(), anneal(total_steps=3, eval_value=9.0)
    with pytest.raises(RuntimeError, match="out of order"):
        trainer_for(tmp_path, callback).fit(module)
    assert module.beta == 2.0
    assert callback.values == {"beta": 2.0}


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_other_stages(tmp_path: Path, stage: str) -> None:
    module, callback = Tiny(), anneal(total_steps=3, eval_value=9.0)
    run = getattr(trainer_for(tmp_path, callback), stage)
    run(module, **({} if stage == "predict" else {"verbose": False}))
    assert {value for _, value in module.validated} == {9.0}
    assert module.beta == 1.0


def test_a_tensor_is_kept_and_filled(fit: Fit) -> None:
    kept: list[Any] = []

    class Keeps(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            kept.append(pl_module.beta)

    callback = anneal(total_steps=3, as_tensor=True)
    module = fit(callback, Keeps(), max_epochs=3)
    assert module.by_epoch == [0.0, 1.0, 2.0]
    assert {(id(t), t.dtype, t.shape) for t in kept} == {(id(kept[0]), torch.float32, torch.Size([]))}
    assert (module.beta, type(module.beta)) == (2.0, float)


def test_a_tensor_turns_into_the_exact_float_again(fit: Fit) -> None:
    assert fit(anneal(end=0.1, total_steps=1, as_tensor=True), max_epochs=2).beta == 0.1


@pytest.mark.parametrize("order", [0, 1])
def test_learning_rate_monitor_anywhere_logs_the_value_of_its_step(tmp_path: Path, order: int) -> None:
    callbacks: list[Callback] = [
        HyperparamAnnealingCallback(
            {"optimizer.param_groups.0.weight_decay": ramp(8.0, total_steps=8, interval="step")}
        )
    ]
    callbacks.insert(order, LearningRateMonitor("step", log_weight_decay=True))
    logger = CSVLogger(tmp_path, name="", version="run")
    trainer_for(tmp_path, *callbacks, logger=logger, max_epochs=1, log_every_n_steps=1).fit(WithScheduler())
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["lr-SGD-weight_decay"]]
    assert [(int(row["step"]), float(row["lr-SGD-weight_decay"])) for row in rows] == [(s, float(s)) for s in range(8)]


class WithScheduler(Tiny):
    """LearningRateMonitor wants one."""

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, weight_decay=1.0)
        return [optimizer], [torch.optim.lr_scheduler.ConstantLR(optimizer)]


class Recorder(CSVLogger):
    """A logger that remembers the calls."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.calls: list[tuple[int | None, str, float]] = []

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.calls += [(step, name, value) for name, value in metrics.items() if "/" in name]


def test_what_is_logged_at_which_x(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = HyperparamAnnealingCallback(
        {"beta": ramp(), "loss.margin": ramp(16.0, total_steps=16, interval="step")}, prog_bar=["beta"]
    )
    trainer = trainer_for(tmp_path, callback, logger=[logger], log_every_n_steps=3, max_epochs=2)
    trainer.fit(Tiny())
    assert [c for c in logger.calls if c[1] == "Annealing/beta"] == [
        (0, "Annealing/beta", 0.0),
        (8, "Annealing/beta", 3.0),
    ]
    steps = [2, 5, 8, 11, 14]
    assert [c for c in logger.calls if "margin" in c[1]] == [(s, "Annealing/loss.margin", float(s)) for s in steps]
    assert trainer.progress_bar_metrics["beta"] == 3.0


def test_accumulation_logs_each_step_once(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = anneal(end=8.0, total_steps=8, interval="step")
    trainer_for(tmp_path, callback, logger=logger, log_every_n_steps=1, accumulate_grad_batches=2, max_epochs=2).fit(
        Tiny()
    )
    assert logger.calls == [(s, "Annealing/beta", float(s)) for s in range(8)]


def test_manual_optimization_logs_at_lightnings_x(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = anneal(end=8.0, total_steps=8, interval="step")
    trainer_for(tmp_path, callback, logger=logger, log_every_n_steps=2, max_epochs=1).fit(TwoOptimizers())
    # Lightning counts every batch there, and the optimizers step at every second one.
    assert logger.calls == [(1, "Annealing/beta", 0.0), (3, "Annealing/beta", 1.0), (5, "Annealing/beta", 2.0),
                            (7, "Annealing/beta", 3.0)]  # fmt: skip


def test_callback_metrics(tmp_path: Path) -> None:
    seen: dict[str, list[float]] = {"validation": [], "epoch end": [], "batch": []}

    class Reads(Callback):
        def note(self, trainer: Any, when: str) -> None:
            if "Annealing/beta" in trainer.callback_metrics:
                seen[when].append(float(trainer.callback_metrics["Annealing/beta"]))

        def on_validation_start(self, trainer: Any, *args: Any) -> None:
            self.note(trainer, "validation")

        def on_train_epoch_end(self, trainer: Any, *args: Any) -> None:
            self.note(trainer, "epoch end")

        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            self.note(trainer, "batch")

    callback = anneal(end=16.0, total_steps=16, interval="step", eval_value=1.0)
    trainer_for(tmp_path, callback, Reads(), max_epochs=2, val_check_interval=0.5).fit(Tiny())
    assert seen["validation"] == [3.0, 7.0, 11.0, 15.0]
    assert seen["epoch end"] == [7.0, 15.0]
    # Not per step: between the hooks it stays.
    assert seen["batch"] == [3.0] * 4 + [7.0] * 4 + [11.0] * 4


def test_what_is_said(fit: Fit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lightning_anneal"):
        callback = HyperparamAnnealingCallback(
            {
                "beta": ramp(total_steps=3),
                "loss.margin": ramp(12.0, total_steps=12, interval="step"),
                "weights.kl": {"strategy": "milestones", "schedule": {5: 1, 10: 2}, "interval": "step"},
                "weights.nested.0": {
                    "strategy": "warm_restart",
                    "base": ramp(4.0, total_steps=4),
                    "restart_interval": 9,
                    "interval": "step",
                },
            }
        )
        fit(callback, max_epochs=2)
    assert [r.getMessage() for r in caplog.records if r.name == "lightning_anneal"] == [
        "beta: 1 -> 0 (epoch 0)",
        "loss.margin: 0.2 -> 0 (step 0)",
        "weights.nested.0: 0.1 -> 0 (step 0)",
        "weights.kl: 0.5 -> 1 (step 5)",
        "beta: 0 -> 1 (epoch 1)",
        "weights.kl: 1 -> 2 (step 10)",
        "loss.margin: 0 -> 12 (step 12)",
    ]


def test_fit_twice_goes_on(tmp_path: Path) -> None:
    module, callback = Tiny(), anneal(end=32.0, total_steps=32, interval="step")
    trainer = trainer_for(tmp_path, callback, max_epochs=2)
    trainer.fit(module)
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module)
    assert module.values == [float(s) for s in range(32)]


def test_a_new_trainer_begins_anew(tmp_path: Path) -> None:
    callback = anneal(end=16.0, total_steps=16, interval="step")
    runs = []
    for _ in range(2):
        module = Tiny()
        trainer_for(tmp_path, callback, max_epochs=1).fit(module)
        runs.append(module.values)
    assert runs[0] == runs[1] == [float(s) for s in range(8)]


@pytest.mark.parametrize(
    "options", [{"fast_dev_run": 2}, {"barebones": True}, {"max_steps": 5}, {"limit_val_batches": 0}]
)
def test_other_ways_to_run(tmp_path: Path, options: dict[str, Any]) -> None:
    module = Tiny()
    defaults: dict[str, Any] = {"max_epochs": 1}
    if "barebones" in options:
        for name in ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"):
            defaults[name] = None
        module.validation_step = module.test_step  # type: ignore[method-assign]  # it logs, and barebones can't
    trainer_for(tmp_path, anneal(end=8.0, total_steps=8, interval="step"), **{**defaults, **options}).fit(module)
    assert module.values == [float(s) for s in range(len(module.values))]
    assert len(module.values) == {"fast_dev_run": 2, "max_steps": 5}.get(next(iter(options)), 8)


def test_a_new_trainer_finds_start_values_and_lengths_anew(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({"beta": {"strategy": "linear", "end_value": 9.0}})
    for start, epochs, expected in ((1.0, 3, [1.0, 5.0, 9.0]), (3.0, 4, [3.0, 5.0, 7.0, 9.0])):
        module = Tiny()
        module.beta = start
        trainer_for(tmp_path, callback, max_epochs=epochs).fit(module)
        assert module.by_epoch == expected


def test_deepcopy_and_pickle() -> None:
    callback = anneal(total_steps=3)
    for twin in (copy.deepcopy(callback), pickle.loads(pickle.dumps(callback))):
        assert twin.state_key == callback.state_key == "HyperparamAnnealingCallback"


def test_after_a_fit_the_last_values_can_be_read_and_the_callback_pickled(fit: Fit) -> None:
    callback = anneal(total_steps=3)
    fit(callback, max_epochs=3)
    assert callback.values == pickle.loads(pickle.dumps(callback)).values == {"beta": 2.0}


class Endless(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Any:
        return iter([torch.ones(4)] * 3)


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ({"betta": ramp()}, {}, "betta: Tiny has no attribute 'betta'; did you mean 'beta'?"),
        ({"top_k": ramp(1.0, total_steps=4)}, {},
         "top_k: holds an int and its schedule gives 0.25; write 3.0 in the module, or set round: true"),
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
        ({"optimizer.param_groups.0.lr": ramp(0.1, as_tensor=True)}, {},
         "optimizer.param_groups.0.lr.as_tensor: only a float attribute of a module can become a tensor"),
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"total_steps": 9}, "beta: 9 epochs is longer than the run (4 epochs); it will end on 1"),
        (
            {"total_steps": 90, "interval": "step"},
            "beta: 90 steps is longer than the run (32 steps); it will end on 1.03333",
        ),
    ],
)
def test_a_length_longer_than_the_run_is_told(fit: Fit, settings: dict[str, Any], message: str) -> None:
    with pytest.warns(UserWarning, match="longer than the run") as warned:
        fit(anneal(**settings))
    assert [str(w.message) for w in warned if "longer" in str(w.message)] == [message]


def test_a_refused_callback_leaves_the_others_unapplied(tmp_path: Path) -> None:
    module = Tiny()
    callbacks = [
        HyperparamAnnealingCallback({"beta": ramp()}, name="first"),
        HyperparamAnnealingCallback({"betta": ramp()}, name="second"),
    ]
    with pytest.raises(AnnealError, match="no attribute 'betta'"):
        trainer_for(tmp_path, *callbacks).fit(module)
    assert module.beta == 1.0


@pytest.mark.parametrize(
    "tune", [lambda t, m: Tuner(t).lr_find(m, num_training=5), lambda t, m: Tuner(t).scale_batch_size(m, max_trials=2)]
)
def test_a_tuner_before_the_fit(tmp_path: Path, tune: Any) -> None:
    class Tunable(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.1
            self.batch_size = 1

    module, callback = Tunable(), anneal(end=16.0, total_steps=16, interval="step")
    trainer = trainer_for(tmp_path, callback, max_epochs=2)
    tune(trainer, module)
    module.seen.clear()
    trainer.fit(module)
    assert module.values == [float(s) for s in range(len(module.values))]
    assert len(module.values) == 16


class SearchLate(LearningRateFinder):
    """Searches again in the middle of a fit, as Lightning's documentation shows it."""

    def on_fit_start(self, *args: Any) -> None: ...

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == 1:
            self.lr_find(trainer, pl_module)


def test_a_tuner_in_the_middle_of_a_fit(tmp_path: Path) -> None:
    class Tunable(Tiny):
        def __init__(self) -> None:
            super().__init__()
            self.lr = 0.1

    module, callback = Tunable(), anneal(end=24.0, total_steps=24, interval="step")
    trainer_for(tmp_path, callback, SearchLate(num_training_steps=4, update_attr=False), max_epochs=3).fit(module)
    assert module.values[:8] == [float(s) for s in range(8)]
    assert module.values[-16:] == [float(s) for s in range(8, 24)]


def test_a_parameter_group_that_is_added_meanwhile(tmp_path: Path) -> None:
    class Unfreezes(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == 1:
                trainer.optimizers[0].add_param_group({"params": pl_module.net.parameters(), "weight_decay": 0.8})

    class Part(Tiny):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.layer.parameters(), lr=0.1, weight_decay=0.0)

    path = "optimizer.param_groups.*.weight_decay"
    callback = HyperparamAnnealingCallback({path: {"strategy": "linear", "end_value": 0.4, "total_steps": 4}})
    trainer_for(tmp_path, Unfreezes(), callback, max_epochs=3).fit(Part())
    assert callback.values == pytest.approx(
        {"optimizer.param_groups.0.weight_decay": 0.2, "optimizer.param_groups.1.weight_decay": 0.6}
    )


def test_values_are_kept_through_an_evaluation(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({"beta": ramp(), "optimizer.param_groups.0.lr": ramp(0.3)})
    trainer = trainer_for(tmp_path, callback)
    trainer.fit(Tiny())
    values = callback.values
    trainer.validate(Tiny(), verbose=False)
    assert values == callback.values == {"beta": 3.0, "optimizer.param_groups.0.lr": 0.3}


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


class WithHparams(Tiny):
    def __init__(self, beta: float = 4.0) -> None:
        super().__init__()
        self.save_hyperparameters()


def test_a_name_in_the_module_and_in_its_hparams(fit: Fit) -> None:
    with pytest.warns(UserWarning, match=r"beta: the module and its hparams both have it.*write hparams\.beta"):
        module: Any = fit(anneal(total_steps=3), module=WithHparams())
    assert (module.beta, module.hparams.beta) == (3.0, 4.0)


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
        (lambda: HyperparamAnnealingCallback(), "annealing_params: missing; give {name: settings}"),
        (lambda: HyperparamAnnealingCallback({"b": ramp()}, prog_bar=["c"]), "prog_bar: unknown parameter 'c'; known: b"),
        (lambda: HyperparamAnnealingCallback({"b": ramp()}, prog_bar=5), "prog_bar: must be a list of names, got 5"),  # type: ignore[arg-type]
        (lambda: HyperparamAnnealingCallback({"b": Linear}), "b: Linear is a class; make a schedule of it, such as Linear(0, 1, 10)"),
        (lambda: HyperparamAnnealingCallback({"b": ramp()}, name=""), "name: must be a string, got ''"),
        (
            lambda: HyperparamAnnealingCallback({"b": ramp()}, on_horizon_change="stretch"),
            "on_horizon_change: must be 'keep', got 'stretch'",
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
