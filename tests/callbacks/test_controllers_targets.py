"""Where the values of each strategy go in a fit, and what is told of them."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from lightning_anneal.audit import read_changes
from tests.controllers import series
from tests.marks import puts_finders_back
from tests.steered import Steered
from tests.tiny import trainer_for

BATCHES, EPOCHS = 4, 4

# The integral alone: from 0.5 up by 1/8 of what the metric is above 1.
PI = {
    "strategy": "pi_control",
    "monitor": "kl",
    "set_point": 1.0,
    "kp": 0,
    "ki": 0.125,
    "max_value": 9,
    "start_value": 0.5,
}
LINE = {"strategy": "linear", "start_value": 0.5, "end_value": 8.5, "total_steps": 8}
STRATEGIES: dict[str, dict[str, Any]] = {
    "pi_control": PI,
    # Up by 1/8 of what the metric is above 1, too.
    "constraint": {"strategy": "constraint", "method": "pi", "monitor": "kl", "limit": 1, "ki": 0.125, "kp": 0},
    "on_plateau": {"strategy": "on_plateau", "monitor": "kl", "step": 0.25, "patience": 0},
    "gated": {"strategy": "gated", "schedule": LINE, "advance_when": {"monitor": "kl", "above": 1.5}},
    "follow": {"strategy": "follow", "other": "net_scale", "scale": 2.0, "interval": "epoch"},
}
# By validation: the value in each epoch.
METRICS = [3.0, 4.0, 2.0, 5.0]
VALUES: dict[str, list[float]] = {
    "pi_control": [0.5, 0.75, 1.125, 1.25],
    "constraint": [0.5, 0.75, 1.125, 1.25],
    # 4 is no better than 3.
    "on_plateau": [0.5, 0.5, 0.75, 0.75],
    "gated": [0.5, 1.5, 2.5, 3.5],
    "follow": [0.5, 1.0, 1.5, 2.0],
}
# What `follow` follows: twice of it is 0.5, 1, 1.5, 2.
OTHER = {"strategy": "linear", "start_value": 0.25, "end_value": 1.0, "total_steps": 3}


class Validated(Steered):
    def __init__(self, metrics: list[float] | None = None, **options: Any) -> None:
        super().__init__(METRICS if metrics is None else metrics, "validated", **options)
        self.net_scale = 7.0
        self.whole = 0
        self.seen_in_validation: list[float] = []
        self.kinds: set[type] = set()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.kinds.add(type(self.beta))
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen_in_validation.append(float(self.beta))
        super().validation_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        groups = [{"params": [self.layer.weight]}, {"params": [self.layer.bias]}]
        return torch.optim.SGD(groups, lr=0.125, weight_decay=0.5)


def params(strategy: str, name: str = "beta", **changes: Any) -> dict[str, Any]:
    other = {"net_scale": OTHER} if strategy == "follow" else {}
    return {name: {**STRATEGIES[strategy], **changes}, **other}


def fit(
    folder: Path, given: dict[str, Any], *callbacks: Callback, module: Any = None, ckpt_path: Any = None, **options: Any
) -> tuple[HyperparamAnnealingCallback, Any]:
    module = Validated() if module is None else module
    anneals = {key: options.pop(key) for key in ("prog_bar",) if key in options}
    callback = HyperparamAnnealingCallback(given, **anneals)
    trainer_for(folder, callback, *callbacks, **{"max_epochs": EPOCHS, **options}).fit(module, ckpt_path=ckpt_path)
    return callback, module


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_plain_number(tmp_path: Path, strategy: str) -> None:
    _, module = fit(tmp_path, params(strategy))
    assert module.by_epoch == VALUES[strategy]
    assert module.kinds == {float}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_as_tensor(tmp_path: Path, strategy: str) -> None:
    _, module = fit(tmp_path, params(strategy, as_tensor=True))
    # Sums of eighths, which float32 has.
    assert module.by_epoch == VALUES[strategy]
    assert module.kinds == {torch.Tensor}
    # A number again.
    assert type(module.beta) is float
    assert module.beta == VALUES[strategy][-1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_buffer(tmp_path: Path, strategy: str) -> None:
    module = Validated()
    module.register_buffer("temperature", torch.tensor(0.5))
    buffer = module.temperature
    callback, _ = fit(tmp_path, params(strategy, "temperature"), module=module)
    assert module.temperature is buffer
    assert callback.values["temperature"] == float(buffer) == VALUES[strategy][-1]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_eval_value(tmp_path: Path, strategy: str) -> None:
    _, module = fit(tmp_path, params(strategy, eval_value=4.0))
    assert module.by_epoch == VALUES[strategy]
    assert set(module.seen_in_validation) == {4.0}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_round(tmp_path: Path, strategy: str) -> None:
    module = Validated()
    module.top_k = 1
    start = {"pi_control": {"start_value": 1.0}, "on_plateau": {"step": 0.5}}.get(strategy, {})
    seen: list[Any] = []
    module.look = lambda: seen.append(module.top_k) or 0.0  # type: ignore[method-assign, func-returns-value]
    fit(tmp_path, params(strategy, "top_k", round=True, **start), module=module)
    # Half up: 1.25, 1.625, 1.75; 1, 1.5; 1.5, 2.5, 3.5.
    values = {
        "pi_control": [1, 1, 2, 2],
        "constraint": [1, 1, 2, 2],
        "on_plateau": [1, 1, 2, 2],
        "gated": [1, 2, 3, 4],
        "follow": [1, 1, 2, 2],
    }
    assert seen[::BATCHES] == values[strategy]
    assert {type(value) for value in seen} == {int}


GROUPS = "optimizer.param_groups.*.weight_decay"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_several_groups(tmp_path: Path, strategy: str) -> None:
    module = Validated()
    seen: list[Any] = []
    module.look = lambda: seen.append([g["weight_decay"] for g in module.trainer.optimizers[0].param_groups]) or 0.0  # type: ignore[method-assign, func-returns-value]
    callback, _ = fit(tmp_path, params(strategy, GROUPS), module=module)
    assert seen[::BATCHES] == [[value, value] for value in VALUES[strategy]]
    assert [callback.values[GROUPS.replace("*", i)] for i in "01"] == [VALUES[strategy][-1]] * 2


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_audit_and_the_logs(tmp_path: Path, strategy: str) -> None:
    logger = CSVLogger(tmp_path, name="log", version=0)
    callback, _ = fit(tmp_path, params(strategy), logger=logger, log_every_n_steps=1)
    told = [change for change in callback.changes if change.name == "beta"]
    held = [0.5, *VALUES[strategy]]
    assert [(c.epoch, c.step, c.old, c.new) for c in told] == [
        (epoch, epoch * BATCHES, old, new) for epoch, (old, new) in enumerate(pairwise(held)) if old != new
    ]
    first = {
        "pi_control": "pi_control (metric 3, set_point 1)",
        "constraint": "constraint (metric 3, limit 1)",
        "on_plateau": "on_plateau kl no better than 3 for 1 poll",
        "gated": "gated (clock 1, open 1)",
        "follow": "follow (net_scale 0.5)",
    }
    assert told[0].why == first[strategy]
    assert [change for change in read_changes(tmp_path / "log" / "version_0") if change.name == "beta"] == told
    rows = (tmp_path / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    at = rows[0].split(",").index("Annealing/beta")
    assert [float(row.split(",")[at]) for row in rows[1:] if row.split(",")[at]] == VALUES[strategy]


def test_the_audit_of_a_controller_by_step(tmp_path: Path) -> None:
    # By step of the first change, and of those where a bound is reached or left.
    metrics = [2.0, 2.0, 2.0, 2.0, 17.0, 9.0, 3.0, -40.0, -3.0, 1.0, 2.0, 2.0]
    settings = {**PI, "interval": "step", "max_value": 2.0}
    callback, module = fit(tmp_path, {"beta": settings}, module=Steered(metrics), max_epochs=3)
    assert module.values == [0.5, 0.625, 0.75, 0.875, 1.0, 2.0, 2.0, 2.0, 0, 0, 0, 0.125]
    told = [(change.epoch, change.step, change.old, change.new) for change in callback.changes]
    assert told == [(0, 1, 0.5, 0.625), (1, 5, 1.0, 2.0), (2, 8, 2.0, 0.0), (2, 11, 0.0, 0.125)]


def test_the_progress_bar(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**PI, "interval": "step"}
    module = Steered([3.0] * 12)
    fit(tmp_path, {"beta": settings}, TQDMProgressBar(leave=True), module=module, prog_bar=["beta"], enable_progress_bar=True, logger=CSVLogger(tmp_path), log_every_n_steps=1, max_epochs=3)  # fmt: skip
    out, err = capsys.readouterr()
    # Up by 1/4 with each step: at the last step of an epoch.
    lines = (out + err).replace("\r", "\n").splitlines()
    ends = {line.split(":")[0]: line.split("beta=")[1][:5] for line in lines if re.match(r"Epoch \d: 100%", line)}
    assert list(ends.values()) == ["1.250", "2.250", "3.250"]


# -- gated by step --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wait", [None, 3])
def test_gated_by_step(tmp_path: Path, wait: int | None) -> None:
    """A validation after every second step; the clock moves with each step that begins after it has opened the gate."""
    metrics = [1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 1.0, 2.0]
    settings = {**STRATEGIES["gated"], "interval": "step", "schedule": {**LINE, "total_steps": 32}}
    settings |= {} if wait is None else {"max_wait": wait}
    _, module = fit(tmp_path, {"beta": settings}, module=Validated(metrics), val_check_interval=2)
    # As if there were a metric at every step: none before the first validation, and then always the last one.
    each = [0.0, *(metrics[i // 2] for i in range(14))]
    curve = series.ramp(0.5, 8.5, 32)
    expected = list(series.gated([*each, 0.0], lambda t: curve(int(t)), 1.5, above=True, max_wait=wait))
    assert module.values == expected
    assert len(set(expected)) > 6


def test_gated_by_epoch_within_an_epoch(tmp_path: Path) -> None:
    """Two validations an epoch: the last one counts."""
    metrics = [2.0, 1.0, 1.0, 2.0, 2.0, 2.0, 1.0, 1.0]
    _, module = fit(tmp_path, {"beta": STRATEGIES["gated"]}, module=Validated(metrics), val_check_interval=2)
    assert module.values == [value for value in (0.5, 0.5, 1.5, 2.5) for _ in range(BATCHES)]


# -- out of reach ---------------------------------------------------------------------------------------------------


class ClosedLoop(Steered):
    """A metric that falls as beta rises."""

    def __init__(self, answer: Callable[[float, int], float], batches: int) -> None:
        super().__init__([], batches=batches)
        self.answer = answer

    def metric(self, at: int) -> Any:
        return torch.tensor(self.answer(float(self.beta), at))


def told(folder: Path, settings: dict[str, Any], answer: Callable[[float, int], float], batches: int = 55) -> list[str]:
    """What 22 epochs of so many batches are told."""
    module = ClosedLoop(answer, batches)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(folder, {"beta": settings}, module=module, max_epochs=22, limit_val_batches=0)
    return [str(w.message) for w in caught if "beta" in str(w.message)]


CLOSED = {"strategy": "pi_control", "monitor": "kl", "set_point": 3.0, "kp": 0.0, "ki": 0.5, "max_value": 1}
CLOSED_BY_STEP = {**CLOSED, "interval": "step"}


@pytest.mark.parametrize(("settings", "batches"), [(CLOSED_BY_STEP, 55), (CLOSED, 2)], ids=["step", "epoch"])
def test_a_set_point_out_of_reach_is_told_of_once(tmp_path: Path, settings: dict[str, Any], batches: int) -> None:
    # From 6 at beta 0 to 5 at beta 1.
    lines = told(tmp_path, settings, lambda beta, at: 6 - beta, batches)
    assert lines == ["beta: the set point 3 is out of reach: kl is 5 with the value at its max_value 1"]


def test_a_set_point_that_is_reached_is_not_told_of(tmp_path: Path) -> None:
    # With a noise that is as large as the way that is left.
    gentle = {**CLOSED_BY_STEP, "ki": 0.1}
    assert told(tmp_path, gentle, lambda beta, at: 6 - 4 * beta + (-1) ** at) == []


def test_a_set_point_that_comes_nearer_slowly_is_not_told_of(tmp_path: Path) -> None:
    # At the bound from the start; 1/400 a step.
    slowly = {**CLOSED_BY_STEP, "start_value": 1.0}
    assert told(tmp_path, slowly, lambda beta, at: 7 - at / 400 + 0.5 * (-1) ** (at // 2)) == []


# -- other runs -----------------------------------------------------------------------------------------------------


def test_another_controller_under_the_same_name(tmp_path: Path) -> None:
    settings = {**PI, "interval": "step"}
    module = Steered([3.0] * 16)
    callback = HyperparamAnnealingCallback({"beta": settings})
    trainer = trainer_for(tmp_path, callback, max_epochs=2)
    trainer.fit(module)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    geco = {"strategy": "constraint", "monitor": "kl", "limit": 3.0, "start_value": 0.25, "interval": "step"}
    with pytest.warns(UserWarning, match=r"^beta: the checkpoint is that of another controller \(PIControl of kl\)"):
        _, again = fit(tmp_path, {"beta": geco}, module=Steered([3.0] * 16), ckpt_path=tmp_path / "last.ckpt")
    assert again.values == [0.25] * 8


def test_a_trainer_that_fits_on(tmp_path: Path) -> None:
    metrics = [2.0, 3.0, 1.5, 4.0] * 4
    settings = {"beta": {**PI, "interval": "step", "frequency": 3}}
    whole = Steered(metrics)
    fit(tmp_path, settings, module=whole)
    module, callback = Steered(metrics), HyperparamAnnealingCallback(settings)
    trainer = trainer_for(tmp_path, callback, max_epochs=2)
    trainer.fit(module)
    trainer.validate(module, verbose=False)
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module)
    assert module.values == whole.values


def test_the_same_callback_in_another_trainer_begins_anew(tmp_path: Path) -> None:
    metrics = [2.0, 3.0, 1.5, 4.0] * 4
    callback, seen = HyperparamAnnealingCallback({"beta": {**PI, "interval": "step", "frequency": 3}}), []
    for _ in range(2):
        module = Steered(metrics)
        trainer_for(tmp_path, callback, max_epochs=4).fit(module)
        seen.append(module.values)
    assert seen[0] == seen[1]


class WithBatchSize(Steered):
    """For a tuner; the loaders of a fit are those of the first size."""

    def __init__(self, metrics: list[float]) -> None:
        super().__init__(metrics)
        self.net_scale, self.lr, self.batch_size = 0.0, 0.125, 1
        self.both: list[tuple[float, float]] = []

    def look(self) -> float:
        self.both.append((self.beta, self.net_scale))
        return 0.0


TUNERS: dict[str, Callable[[], Callback]] = {
    "rate": lambda: LearningRateFinder(num_training_steps=6, early_stop_threshold=None, update_attr=False),
    "size": lambda: BatchSizeFinder(max_trials=2, steps_per_trial=3, init_val=1),
}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("tuner", [pytest.param("rate", marks=puts_finders_back), "size"])
def test_what_a_tuner_has_tried_is_no_part_of_the_run(tmp_path: Path, tuner: str, first: bool) -> None:
    metrics = [2.0, 3.0, 1.5, 4.0] * 30
    settings = {
        "beta": {**PI, "interval": "step", "frequency": 3},
        "net_scale": {"strategy": "follow", "other": "beta", "frequency": 5},
        "loss.margin": {**PI, "monitor": "val_loss"},
        "weights.kl": {"strategy": "on_plateau", "monitor": "kl", "step": 0.25, "patience": 0},
    }
    seen = []
    for tunes in (False, True):
        module, callback = WithBatchSize(metrics), HyperparamAnnealingCallback(settings)
        more = [TUNERS[tuner]()] if tunes else []
        both = [*more, callback] if first else [callback, *more]
        trainer = trainer_for(tmp_path, *both, max_epochs=4)
        trainer.fit(module)
        assert len(module.both) > 16 or not tunes
        state = callback.state_dict()
        seen.append((module.both[-16:], state["steered"], state["triggers"]))
    assert seen[0] == seen[1]


def test_a_checkpoint_shows_its_values_when_it_is_validated(tmp_path: Path) -> None:
    """Also those of a controller, and of what follows a value of the optimizer, of which there is none then."""
    settings = {
        "beta": PI,
        # A name that is also the module's, but that of a place in the optimizer here.
        "net_scale": {"strategy": "linear", "start_value": 0.5, "end_value": 0, "attr_name": "optimizer.param_groups.0.momentum", "total_steps": 8, "interval": "step"},
        "whole": {"strategy": "follow", "other": "net_scale"},
        "loss.margin": {"strategy": "follow", "other": "optimizer.param_groups.1.lr", "scale": 2},
    }  # fmt: skip
    module = Validated()
    module.whole = 0.0
    trainer = trainer_for(tmp_path, HyperparamAnnealingCallback(settings), max_epochs=2)
    trainer.fit(module)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    held = (module.beta, module.whole, module.loss.margin)
    assert held == (0.75, 0.0625, 0.25)
    fresh, seen = Validated(), []
    fresh.whole = 0.0
    fresh.validation_step = lambda batch, batch_idx: seen.append((fresh.beta, fresh.whole, fresh.loss.margin))  # type: ignore[method-assign]
    other = trainer_for(tmp_path, HyperparamAnnealingCallback(settings), max_epochs=2)
    other.validate(fresh, ckpt_path=tmp_path / "last.ckpt", verbose=False)
    assert set(seen) == {held}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_string_is_refused_when_the_fit_begins(tmp_path: Path, strategy: str) -> None:
    module = Validated()
    module.beta = "low"
    with pytest.raises(AnnealError, match=r"^beta: (is|holds) "):
        fit(tmp_path, params(strategy), module=module)
    assert module.seen == []
