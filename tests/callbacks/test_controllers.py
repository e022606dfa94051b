"""What controllers go by in a fit: every way that a metric comes, means of what intervals, and what is missing."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.controllers import series
from tests.controllers.series import SERIES
from tests.steered import WAYS, Steered
from tests.tiny import trainer_for

# The integral alone, from 8: beta goes up by 1/8 of what a metric is above 1.
UP = {"strategy": "pi_control", "monitor": "kl", "set_point": 1.0, "kp": 0.0, "ki": 0.125}
UP = {**UP, "max_value": 1e3, "start_value": 8.0}
BY_STEP = {**UP, "interval": "step"}


class Run:
    """A fit, and what was seen of it."""

    def __init__(
        self, folder: Path, module: Steered, *settings: Any, callbacks: Sequence[Callback] = (), **options: Any
    ):
        (given,) = settings
        params = given if "strategy" not in given else {"beta": given}
        self.callback = HyperparamAnnealingCallback(params)
        self.module = module
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.trainer = trainer_for(folder, self.callback, *callbacks, **{"max_epochs": 3, **options})
            self.trainer.fit(module)
        self.warned = [str(w.message) for w in caught if "beta" in str(w.message)]

    @property
    def standing(self) -> dict[str, Any]:
        return self.callback.state_dict()["steered"]["beta"]

    @property
    def values(self) -> list[float]:
        return self.module.values


def rises(metrics: Sequence[float]) -> list[float]:
    """Beta before the first of these metrics and after each but the last."""
    values = [8.0]
    for metric in metrics[:-1]:
        values.append(values[-1] + 0.125 * (metric - 1))
    return values


# -- recorded metrics -----------------------------------------------------------------------------------------------

RECORDED: dict[str, tuple[dict[str, Any], Any]] = {
    "pi_control": (
        {"strategy": "pi_control", "set_point": 8, "kp": 0.5, "ki": 0.004, "min_value": 0.1, "max_value": 1.7},
        series.pi_control(SERIES, lambda t: 8.0, 0.5, 0.004, 0.1, 1.7),
    ),
    "pi_control with a ramp": (
        {
            "strategy": "pi_control", "kp": 0.5, "ki": 0.004, "max_value": 1.7, "start_value": 0.75, "effect": "raises",
            "set_point": {"strategy": "linear", "start_value": 20, "end_value": 2, "total_steps": "80%"},
        },
        series.pi_control(SERIES, series.ramp(20, 2, 400), 0.5, 0.004, 0.0, 1.7, 0.75, raises=True),
    ),
    "geco": (
        {"strategy": "constraint", "limit": 6, "rate": 0.02, "momentum": 0.9, "min_value": 0.01, "max_value": 50},
        series.geco(SERIES, lambda t: 6.0, 0.02, 0.9, 0.01, 50.0, 0.5),
    ),
    "pi with a ramp": (
        {
            "strategy": "constraint", "method": "pi", "ki": 0.05, "kp": 0.3, "momentum": 0.5, "mode": "max",
            "max_value": 50, "limit": {"strategy": "linear", "start_value": 20, "end_value": 2, "total_steps": 400},
        },
        series.nupi(SERIES, series.ramp(20, 2, 400), 0.05, 0.3, 0.5, 0.0, 50.0, 0.5, at_least=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDED)
def test_500_recorded_metrics(tmp_path: Path, name: str) -> None:
    settings, expected = RECORDED[name]
    module = Steered([*SERIES], batches=50)
    run = Run(tmp_path, module, {"monitor": "kl", "interval": "step", **settings}, max_epochs=10, limit_val_batches=0)
    # The last update would come with the step after the end.
    assert run.values[1:] == list(expected)[:-1]
    assert run.standing["updates"] == 499
    assert run.standing["missed"] == 0
    assert [warning for warning in run.warned if "out of reach" not in warning] == []


# -- every way that a metric comes ----------------------------------------------------------------------------------

METRICS = [2.0, 3.0, 1.5, 4.0, 2.5, 1.0, 3.5, 2.0, 5.0, 1.0, 2.0, 2.0]


@pytest.mark.parametrize("way", ["returned", "on_step", "both"])
def test_by_step_from_each_batch(tmp_path: Path, way: str) -> None:
    run = Run(tmp_path, Steered(METRICS, way), BY_STEP)
    assert run.values == rises(METRICS)
    assert run.warned == []


@pytest.mark.parametrize("prog_bar", [False, True])
@pytest.mark.parametrize("name", ["kl_step", "kl"])
def test_by_step_under_the_name_of_the_step(tmp_path: Path, name: str, prog_bar: bool) -> None:
    run = Run(tmp_path, Steered(METRICS, "both", prog_bar=prog_bar), {**BY_STEP, "monitor": name})
    assert run.values == rises(METRICS)


@pytest.mark.parametrize("way", WAYS)
def test_by_epoch_the_mean_of_its_batches(tmp_path: Path, way: str) -> None:
    # Each epoch's mean, or what is validated after it.
    means = [2.625, 2.25, 2.5]
    module = Steered(means if way == "validated" else METRICS, way)
    run = Run(tmp_path, module, UP)
    assert run.values == [value for value in rises(means) for _ in range(4)]
    assert run.warned == []
    assert run.standing["updates"] == 2


@pytest.mark.parametrize("way", ["returned", "on_step", "both", "on_epoch"])
def test_by_epoch_a_validation_within_it_is_no_end_of_it(tmp_path: Path, way: str) -> None:
    run = Run(tmp_path, Steered(METRICS, way), UP, val_check_interval=2)
    assert run.values == [value for value in rises([2.625, 2.25, 2.5]) for _ in range(4)]
    assert run.standing["updates"] == 2


def test_by_epoch_another_controller_by_step_changes_nothing(tmp_path: Path) -> None:
    """Of the same metric, which Lightning averages for the one, and gives to the other as it is."""
    values = []
    for other in ({}, {"loss.margin": BY_STEP}):
        run = Run(tmp_path, Steered(METRICS, "both"), {"beta": UP, **other})
        values.append(run.values)
    assert values[0] == values[1] == [value for value in rises([2.625, 2.25, 2.5]) for _ in range(4)]


def test_a_metric_of_two_validations_an_epoch(tmp_path: Path) -> None:
    metrics = [2.0, 3.0, 1.5, 4.0, 2.5, 1.0]
    run = Run(tmp_path, Steered(metrics, "validated"), UP, val_check_interval=2)
    assert run.values == [value for value in rises(metrics) for _ in range(2)]
    assert run.warned == []


def test_by_step_a_metric_of_a_validation_counts_once(tmp_path: Path) -> None:
    metrics = [2.0, 3.0, 1.5]
    run = Run(tmp_path, Steered(metrics, "validated"), BY_STEP)
    assert run.values == [value for value in rises(metrics) for _ in range(4)]
    # Before the first one there is none, which is told of.
    assert run.warned == ["beta: no metric 'kl' to be seen, so the value is kept; known: loss"]
    # At steps 1 to 11, but for 4 and 8.
    assert (run.standing["updates"], run.standing["missed"]) == (2, 9)


@pytest.mark.parametrize(
    "settings", [UP, {"strategy": "on_plateau", "monitor": "kl", "factor": 0.5}], ids=["pi", "plateau"]
)
def test_the_only_validation_of_an_epoch_is_within_it(tmp_path: Path, settings: dict[str, Any]) -> None:
    module = Steered([2.0, 3.0, 1.5], "validated")
    module.metric = lambda at: torch.tensor(module.series[module.current_epoch])  # type: ignore[method-assign]
    run = Run(tmp_path, module, settings, val_check_interval=3)
    # At the end of an epoch there is none any more, which is none that is missing.
    assert run.warned == []
    if settings is UP:
        values = [*rises([2.0, 3.0, 1.5]), 8.4375]
        assert run.values == [values[(i + 1) // 4] for i in range(12)]


def test_a_validation_every_other_epoch(tmp_path: Path) -> None:
    module = Steered([2.0, 3.0, 1.5], "validated")
    module.metric = lambda at: torch.tensor(module.series[at // 2])  # type: ignore[method-assign]
    run = Run(tmp_path, module, UP, max_epochs=6, check_val_every_n_epoch=2)
    assert run.values == [value for value in rises([2.0, 3.0, 1.5]) for _ in range(8)]
    assert run.warned == []
    assert run.standing["missed"] == 0


# -- means ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["returned", "on_step", "both"])
@pytest.mark.parametrize("every", [2, 3, 5])
def test_the_mean_of_every_n_steps(tmp_path: Path, every: int, way: str) -> None:
    run = Run(tmp_path, Steered(METRICS, way), {**BY_STEP, "frequency": every})
    means = [sum(METRICS[i : i + every]) / every for i in range(0, 12, every)]
    assert run.values == pytest.approx([value for value in rises(means) for _ in range(every)][:12], rel=1e-15)


def test_the_mean_of_every_n_epochs(tmp_path: Path) -> None:
    run = Run(tmp_path, Steered([*METRICS, *METRICS]), {**UP, "frequency": 2}, max_epochs=6)
    # (2.625 + 2.25) / 2, (2.5 + 2.625) / 2
    assert run.values == [value for value in rises([2.4375, 2.5625, 2.375]) for _ in range(8)]


@pytest.mark.parametrize(("way", "name"), [("returned", "kl"), ("on_step", "kl"), ("both", "kl"), ("returned", "loss")])
def test_batches_that_make_one_step(tmp_path: Path, way: str, name: str) -> None:
    module = Steered(METRICS, way)
    if name == "loss":
        module.training_step = lambda batch, batch_idx: loss_of(module, batch_idx)  # type: ignore[method-assign, assignment]
    run = Run(tmp_path, module, {**BY_STEP, "monitor": name}, accumulate_grad_batches=2)
    means = [(a + b) / 2 for a, b in zip(METRICS[::2], METRICS[1::2], strict=True)]
    assert run.values == [value for value in rises(means) for _ in range(2)]


def loss_of(module: Steered, batch_idx: int) -> torch.Tensor:
    """A loss that is the metric, whatever the weights are."""
    module.seen.append((module.current_epoch, batch_idx, module.beta))
    value: torch.Tensor = module.metric(module.current_epoch * module.batches + batch_idx)
    return module.layer.weight.sum() * 0 + value


@pytest.mark.parametrize("automatic", [True, False])
def test_a_loss_that_is_returned_alone(tmp_path: Path, automatic: bool) -> None:
    module = Steered(METRICS)

    def step(batch: Any, batch_idx: int) -> torch.Tensor:
        if not automatic:
            module.optimizers().step()  # type: ignore[union-attr]
        return loss_of(module, batch_idx)

    module.automatic_optimization = automatic
    module.training_step = step  # type: ignore[method-assign, assignment]
    assert Run(tmp_path, module, {**BY_STEP, "monitor": "loss"}).values == rises(METRICS)


def test_a_batch_that_is_skipped(tmp_path: Path) -> None:
    module = Steered(METRICS)

    def step(batch: Any, batch_idx: int) -> Any:
        outputs = Steered.training_step(module, batch, batch_idx)
        return None if batch_idx == 1 else outputs

    module.training_step = step  # type: ignore[method-assign]
    run = Run(tmp_path, module, {**BY_STEP, "frequency": 4})
    means = [(2 + 1.5 + 4) / 3, (2.5 + 3.5 + 2) / 3, 0]
    assert run.values == pytest.approx([value for value in rises(means) for _ in range(4)], rel=1e-15)


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("way", ["returned", "on_step"])
def test_what_is_not_finite_is_left_out_of_a_mean(tmp_path: Path, way: str) -> None:
    metrics = [2.0, NAN, INF, 4.0, 2.5, 1.0, -INF, 2.5, NAN, 1.0, 2.0, 2.0]
    run = Run(tmp_path, Steered(metrics, way), {**BY_STEP, "frequency": 4})
    assert run.values == [value for value in rises([3.0, 2.0, 2.0]) for _ in range(4)]
    assert run.warned == []
    assert run.standing["missed"] == 0


@pytest.mark.parametrize(
    "convert",
    [
        float,
        lambda value: torch.tensor(value, dtype=torch.float64),
        lambda value: torch.tensor([[value]]),
        lambda value: torch.tensor(value, dtype=torch.bfloat16),
        lambda value: torch.tensor(value, dtype=torch.float16),
        lambda value: torch.tensor(value, requires_grad=True) * 1,
        lambda value: torch.tensor(int(value * 2)) / 2,
    ],
    ids=["float", "float64", "a tensor of one", "bfloat16", "float16", "with a graph", "int"],
)
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_kinds_of_numbers(tmp_path: Path, convert: Any, interval: str) -> None:
    module = Steered(METRICS)
    module.metric = lambda at: convert(METRICS[at])  # type: ignore[method-assign]
    run = Run(tmp_path, module, {**UP, "interval": interval})
    means = rises([2.625, 2.25, 2.5])
    assert run.values == (rises(METRICS) if interval == "step" else [value for value in means for _ in range(4)])


def test_whole_numbers_and_digits(tmp_path: Path) -> None:
    # 0.1 of 64 bits, which float32 has not; an int, and a bool.
    module = Steered([0.1, 3, True, 2.0] * 3)
    module.metric = lambda at: module.series[at]  # type: ignore[method-assign]
    assert Run(tmp_path, module, BY_STEP).values == rises([0.1, 3.0, 1.0, 2.0] * 3)


def test_mixed_precision(tmp_path: Path) -> None:
    module = Steered(METRICS)

    def step(batch: Any, batch_idx: int) -> Any:
        outputs = Steered.training_step(module, batch, batch_idx)
        # As a weight has it under autocast.
        outputs["kl"] = torch.nn.functional.linear(torch.ones(1), outputs["kl"].reshape(1, 1))
        assert outputs["kl"].dtype == torch.bfloat16
        return outputs

    module.training_step = step  # type: ignore[method-assign]
    assert Run(tmp_path, module, BY_STEP, precision="bf16-mixed").values == rises(METRICS)


@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_a_tensor_that_the_module_fills_in_place(tmp_path: Path, interval: str) -> None:
    module = Steered(METRICS)
    one = torch.zeros(())
    module.metric = lambda at: one.fill_(METRICS[at])  # type: ignore[method-assign]
    run = Run(tmp_path, module, {**UP, "interval": interval})
    means = [value for value in rises([2.625, 2.25, 2.5]) for _ in range(4)]
    assert run.values == (rises(METRICS) if interval == "step" else means)


def test_more_batches_than_are_kept_one_by_one(tmp_path: Path) -> None:
    metrics = [SERIES[i % 500] for i in range(3 * 150)]
    run = Run(tmp_path, Steered(metrics, batches=150), UP)
    # Multiples of 1/1024: the sums are exact.
    means = [sum(metrics[i : i + 150]) / 150 for i in (0, 150, 300)]
    assert run.module.by_epoch == rises(means)


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (torch.ones(32), "a tensor of shape (32,)"),
        (torch.ones(0), "a tensor of shape (0,)"),
        (torch.ones(2, 3), "a tensor of shape (2, 3)"),
        (torch.tensor(1j), "one of torch.complex64"),
        ("low", "'low'"),
        ([1.0, 2.0], "[1.0, 2.0]"),
        ({"a": 1.0}, "{'a': 1.0}"),
    ],
)
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_what_is_no_number(tmp_path: Path, value: Any, got: str, interval: str) -> None:
    module = Steered([2.0, value, *METRICS])
    with pytest.raises(AnnealError) as error:
        Run(tmp_path, module, {**UP, "interval": interval})
    assert str(error.value) == f"beta.monitor: kl must be one number a batch, got {got}"
    # At the batch that gave it.
    assert len(module.seen) == 2


# -- what is missing ------------------------------------------------------------------------------------------------

KEPT = "so the value is kept"
MISSING: dict[str, tuple[list[float | None], list[float], str, int]] = {
    # By metric of each epoch: what is gone by, what is told, how often.
    "late": ([None, None, 2.0, 3.0, 2.0, 2.0], [1, 1, 2, 3, 2, 2], f"no metric 'kl' to be seen, {KEPT}", 2),
    "gone": ([2.0, 3.0, None, None, None, 2.0], [2, 3, 1, 1, 1, 2], f"no metric 'kl' to be seen, {KEPT}", 3),
    "nan": ([2.0, NAN, 3.0, NAN, 2.0, 2.0], [2, 1, 3, 1, 2, 2], f"kl is nan, {KEPT}", 2),
    "inf": ([INF, 2.0, 2.0, INF, INF, 2.0], [1, 2, 2, 1, 1, 2], f"kl is inf, {KEPT}", 3),
}  # fmt: skip


def every_batch(metrics: list[float | None], batches: int = 4) -> list[float | None]:
    return [metric for metric in metrics for _ in range(batches)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", MISSING)
def test_by_epoch_with_a_metric_missing(tmp_path: Path, name: str, way: str) -> None:
    metrics, counted, told, missed = MISSING[name]
    module = Steered(metrics if way == "validated" else every_batch(metrics), way)
    run = Run(tmp_path, module, UP, max_epochs=6)
    assert run.values == [value for value in rises(counted) for _ in range(4)]
    assert len(run.warned) == 1
    assert run.warned[0].startswith(f"beta: {told}")
    assert run.callback.missed == {"beta": missed}


@pytest.mark.parametrize("way", ["returned", "on_step", "both"])
@pytest.mark.parametrize("name", MISSING)
def test_by_step_with_a_metric_missing(tmp_path: Path, name: str, way: str) -> None:
    metrics, counted, told, missed = MISSING[name]
    run = Run(tmp_path, Steered([*metrics, *METRICS], way), BY_STEP, max_epochs=2)
    assert run.values == rises([*map(float, counted), 2.0, 3.0])
    assert len(run.warned) == 1
    assert run.warned[0].startswith(f"beta: {told}")
    assert run.callback.missed == {"beta": missed}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_misspelled_metric(tmp_path: Path, way: str, interval: str) -> None:
    module = Steered(METRICS, way, name="kl_total")
    run = Run(tmp_path, module, {**UP, "interval": interval, "monitor": "kl_totl"})
    assert set(run.values) == {8.0}
    (told,) = run.warned
    # By step the first turn comes before Lightning has made a value of an epoch, or of a validation.
    known = "; known: loss" if interval == "step" and way in ("on_epoch", "validated") else "; did you mean 'kl_total'?"
    assert told == f"beta: no metric 'kl_totl' to be seen, {KEPT}{known}"
    assert run.standing["missed"] == (11 if interval == "step" else 2)


PLATEAU = {"strategy": "on_plateau", "monitor": "kl", "factor": 0.5, "patience": 0}


@pytest.mark.parametrize("name", MISSING)
@pytest.mark.parametrize("way", ["on_epoch", "validated"])
def test_on_plateau_with_a_metric_missing(tmp_path: Path, name: str, way: str) -> None:
    metrics, _, told, missed = MISSING[name]
    module = Steered(metrics if way == "validated" else every_batch(metrics), way)
    run = Run(tmp_path, module, PLATEAU, max_epochs=6)
    told = {
        "late": f"no metric 'kl' has been logged, {KEPT}",
        "gone": f"no metric 'kl' to be seen any more, {KEPT}",
    }.get(name, told)
    assert len(run.warned) == 1
    assert run.warned[0].startswith(f"beta: {told}")
    assert run.callback.missed == {"beta": missed}
    # Halved after each finite metric that is no better than the best.
    finite = [(i, metric) for i, metric in enumerate(metrics[:-1]) if metric is not None and abs(metric) < INF]
    halved = [i + 1 for i, metric in finite if any(before <= metric for at, before in finite if at < i)]
    assert run.module.by_epoch == [0.5 * 0.5 ** sum(i <= epoch for i in halved) for epoch in range(6)]


@pytest.mark.parametrize("way", ["both", "on_epoch"])
def test_on_plateau_counts_epochs_and_no_batches(tmp_path: Path, way: str) -> None:
    """As ReduceLROnPlateau does in Lightning: a validation within an epoch makes no metric of what batches log."""
    # The last batch before the validation is worse than the epoch, whose mean gets better.
    module = Steered([2.0, 9.0, 2.0, 3.0, 1.0, 9.0, 1.0, 2.0, 1.0, 9.0, 0.0, 0.0], way)
    run = Run(tmp_path, module, PLATEAU, val_check_interval=2)
    assert run.module.by_epoch == [0.5, 0.5, 0.5]
    assert run.callback.state_dict()["triggers"]["beta"]["seen"]["best"] == 3.25


def test_on_plateau_with_a_misspelled_metric(tmp_path: Path) -> None:
    run = Run(tmp_path, Steered(METRICS, "validated"), {**PLATEAU, "monitor": "kll"})
    assert run.warned == [f"beta: no metric 'kll' has been logged; did you mean 'kl'?, {KEPT}"]
    assert run.callback.missed == {"beta": 2}


# -- as it is on a device -------------------------------------------------------------------------------------------


ASKING = ("item", "tolist", "__float__", "__int__", "__bool__", "__index__", "numpy", "cpu")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that this package, or what it calls, has turned a tensor into a Python number."""
    asked: list[str] = []

    def watched(name: str) -> Any:
        own = getattr(torch.Tensor, name)

        def ask(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            frame: Any = sys._getframe(1)
            while frame is not None and "/lightning_anneal/" not in frame.f_code.co_filename:
                frame = frame.f_back
            if frame is not None:
                asked.append(f"{frame.f_code.co_name} {name}")
            return own(self, *args, **kwargs)

        return ask

    for name in ASKING:
        monkeypatch.setattr(torch.Tensor, name, watched(name))
    return asked


class Looks(Callback):
    """Behind the annealing callback: how much has been asked for by the start of each step."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked
        self.by_step = [0]

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.by_step.append(len(self.asked))

    @property
    def steps(self) -> set[int]:
        """Those at whose start, or since the last one, something was asked for."""
        return {step for step, (before, now) in enumerate(pairwise(self.by_step)) if now > before}


@pytest.mark.parametrize("prog_bar", [False, True])
@pytest.mark.parametrize("way", ["returned", "on_step", "both"])
@pytest.mark.parametrize("interval", ["step", "epoch"])
def test_no_number_is_asked_for_on_a_step_without_a_turn(
    tmp_path: Path, way: str, prog_bar: bool, interval: str, asked: list[str]
) -> None:
    """For that a GPU would have to finish its work. Lightning itself does so for what is in the progress bar."""
    looks = Looks(asked)
    every = {"frequency": 5} if interval == "step" else {}
    module = Steered(METRICS, way, prog_bar=prog_bar)
    Run(tmp_path, module, {**UP, "interval": interval, **every}, callbacks=[looks], log_every_n_steps=1)
    # Between epochs everything is looked at.
    assert looks.steps - {0, 4, 8} == ({5, 10} if interval == "step" else set())
    assert looks.steps >= {4, 8} or interval == "step"
