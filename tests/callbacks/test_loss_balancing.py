"""LossBalancingCallback in a real fit: the weights of each method against a plain loop, and where terms come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint

from lightning_anneal import Linear, LossBalancingCallback
from tests.controllers.test_balancing import (
    NAMES,
    dwa_by_the_paper,
    inverse_by_adam,
    recorded,
    relobralo_by_the_paper,
)
from tests.tiny import Tiny, trainer_for
from tests.weighed import AB, FEW, HALF_IS_THREE_TIMES, Weighed, close, fit, held, means

# -- against plain loops --------------------------------------------------------------------------------------------

ROWS = recorded()  # 500 of them
METHODS: dict[str, tuple[dict[str, Any], Any]] = {
    "dwa": ({"temperature": 0.5}, lambda rows: dwa_by_the_paper(rows, 0.5)),
    "relobralo": ({"alpha": 0.9, "temperature": 0.1, "expected_rho": 0.8, "seed": 3}, lambda rows: relobralo_by_the_paper(rows, 0.9, 0.1, 0.8, 3)),
    "inverse_ema": ({"decay": 0.9}, lambda rows: [weights for weights, _ in inverse_by_adam(rows, 0.9)]),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_500_updates_by_step(tmp_path: Path, method: str) -> None:
    params, reference = METHODS[method]
    module = Weighed([*ROWS, ROWS[0]], batches=501)
    seen = fit(tmp_path, module, LossBalancingCallback(list(NAMES), method, interval="step", **params))
    assert seen == close(held(reference(ROWS), 1))


@pytest.mark.parametrize("method", METHODS)
def test_by_epoch(tmp_path: Path, method: str) -> None:
    """Of the mean over the epoch's batches; every other epoch, of that over two of them."""
    params, reference = METHODS[method]
    for frequency in (1, 2):
        module = Weighed(ROWS, batches=5)
        callback = LossBalancingCallback(list(NAMES), method, interval="epoch", frequency=frequency, **params)
        seen = fit(tmp_path, module, callback, epochs=20, limit_val_batches=0)
        updates = means(ROWS[:100], 5 * frequency)[:-1]
        assert seen == close(held(reference(updates), 5 * frequency))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_frequency(tmp_path: Path, method: str, accumulate: int) -> None:
    """Every fifth step, of the mean over all batches since: also within an epoch, and over its end."""
    params, reference = METHODS[method]
    module = Weighed(ROWS, batches=24)
    callback = LossBalancingCallback(list(NAMES), method, interval="step", frequency=5, **params)
    seen = fit(tmp_path, module, callback, epochs=5, accumulate_grad_batches=accumulate, limit_val_batches=0)
    size = 5 * accumulate
    assert seen == close(held(reference(means(ROWS[:120], size)), size)[:120])


def test_intervals_by_default(tmp_path: Path) -> None:
    changes = {}
    for method in (*METHODS, "fixed"):
        given = {"weights": {"residual": Linear(1, 2, 3)}} if method == "fixed" else METHODS[method][0]
        seen = fit(tmp_path, Weighed(ROWS, batches=4), LossBalancingCallback(list(NAMES), method, **given), epochs=4)
        changes[method] = [i for i in range(1, 16) if seen[i] != seen[i - 1]]
    assert changes == {
        "dwa": [8, 12],
        "relobralo": list(range(2, 16)),
        "inverse_ema": list(range(1, 16)),
        "fixed": [4, 8, 12],
    }


class Trained(Tiny):
    """A line through four points whose two terms depend on the weights of the layer, and those on theirs."""

    def __init__(self) -> None:
        super().__init__(batches=250)
        self.loss_weights = {"fit": 1.0, "size": 1.0}
        self.seen_weights: list[list[float]] = []
        self.layer = torch.nn.Linear(4, 1).double()
        begin(self.layer)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen_weights.append(list(self.loss_weights.values()))
        terms = terms_of(self.layer)
        return {"loss": sum(self.loss_weights[name] * term for name, term in terms.items()), **terms}

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.layer.parameters(), lr=0.001)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def begin(layer: torch.nn.Linear) -> None:
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -1.0, 2.0, 3.0]]))
        layer.bias.fill_(1.0)


def terms_of(layer: torch.nn.Linear) -> dict[str, torch.Tensor]:
    points = torch.arange(16, dtype=torch.float64).reshape(4, 4) / 16
    return {
        "fit": 100 * (layer(points) - points.sum(1, keepdim=True)).pow(2).mean(),
        "size": layer.weight.pow(2).mean(),
    }


def test_500_steps_of_training(tmp_path: Path) -> None:
    module, callback = Trained(), LossBalancingCallback(["fit", "size"], "inverse_ema", decay=0.5)
    trainer_for(tmp_path, callback, max_epochs=2).fit(module)
    layer = torch.nn.Linear(4, 1).double()
    begin(layer)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.001)
    weights, average, seen = [1.0, 1.0], [0.0, 0.0], []
    for step in range(1, 501):
        seen.append(weights)
        terms = list(terms_of(layer).values())
        optimizer.zero_grad()
        (weights[0] * terms[0] + weights[1] * terms[1]).backward()
        optimizer.step()
        average = [0.5 * old + 0.5 * float(term.detach()) for old, term in zip(average, terms, strict=True)]
        corrected = [value / (1 - 0.5**step) for value in average]
        whole = 1 / corrected[0] + 1 / corrected[1]
        weights = [2 / corrected[0] / whole, 2 / corrected[1] / whole]
    assert module.seen_weights == [pytest.approx(row, rel=1e-9) for row in seen]
    assert module.layer.weight.tolist() == [pytest.approx(layer.weight.tolist()[0], rel=1e-9)]
    assert seen[-1] != pytest.approx(seen[1], rel=0.1)


# -- where terms come from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [None, {}, {"on_epoch": True}, {"on_step": False, "on_epoch": True}, {"on_step": True, "prog_bar": True}],
    ids=["returned", "logged", "logged twice", "logged by epoch", "in the bar"],
)
@pytest.mark.parametrize("validations", [1, 2])
def test_by_epoch_from_anywhere(tmp_path: Path, told: Any, validations: int) -> None:
    """The mean over the epoch, whatever was logged when; a validation within it is no update."""
    module = Weighed([*FEW, *FEW[:4]], batches=4, told=told)
    callback = LossBalancingCallback(["a", "b"], temperature=HALF_IS_THREE_TIMES)
    seen = fit(tmp_path, module, callback, epochs=4, val_check_interval=1 / validations)
    # The ratios are 1/2 and 1 after epoch 1, and 1 and 2 after epoch 2: 1 : 3, and 1 : 9.
    expected = [[1.0, 1.0]] * 8 + [[0.5, 1.5]] * 4 + [[0.2, 1.8]] * 4
    assert seen == [pytest.approx(row) for row in expected]


@pytest.mark.parametrize("told", [None, {}, {"on_epoch": True}], ids=["returned", "logged", "logged twice"])
def test_by_step_from_anywhere(tmp_path: Path, told: Any) -> None:
    module = Weighed(FEW, batches=4, told=told)
    seen = fit(tmp_path, module, LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2), epochs=2)
    # The means are 20 and 2, twice, then 10 and 2, 10 and 2: weights 2/11 and 20/11, 1/3 and 5/3.
    expected = [[1.0, 1.0]] * 2 + [[2 / 11, 20 / 11]] * 4 + [[1 / 3, 5 / 3]] * 2
    assert seen == [pytest.approx(row) for row in expected]


def test_in_manual_optimization(tmp_path: Path) -> None:
    class Manual(Weighed):
        def __init__(self) -> None:
            super().__init__(FEW, batches=4, told={})
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            loss = super().training_step(batch, batch_idx)
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()

    seen = fit(tmp_path, Manual(), LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2), epochs=1)
    assert seen == [pytest.approx(row) for row in [[1.0, 1.0]] * 2 + [[2 / 11, 20 / 11]] * 2]


# -- fixed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "options", "expected"),
    [
        ({"a": 1.0, "b": 3.0}, {}, [[0.5, 1.5]] * 4),
        ({"a": "1e-1"}, {}, [[2 / 11, 20 / 11]] * 4),
        ({"a": 2.0, "b": 3.0}, {"normalize": False}, [[2.0, 3.0]] * 4),
        ({"b": -1.0}, {"normalize": False}, [[1.0, -1.0]] * 4),
        ({"a": Linear(2, 0, 2), "b": 0}, {}, [[2.0, 0.0], [2.0, 0.0], [1.0, 1.0], [1.0, 1.0]]),
        ({"a": 0.0, "b": 0}, {"normalize": False}, [[0.0, 0.0]] * 4),
        # 0, 1, 2, 3 beside 1; a length that was left out is the run's.
        ({"a": Linear(0, 3, 3)}, {}, [[0.0, 2.0], [1.0, 1.0], [4 / 3, 2 / 3], [1.5, 0.5]]),
        ({"a": {"strategy": "linear", "start_value": 0, "end_value": 3}}, {"normalize": False}, [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]),
        ({"a": {"strategy": "linear", "start_value": 0, "end_value": 3, "total_steps": "75%"}, "b": Linear(3, 0, 3)}, {},
         [[0.0, 2.0], [2 / 3, 4 / 3], [4 / 3, 2 / 3], [2.0, 0.0]]),
        ({"a": lambda t: -t}, {"normalize": False}, [[0.0, 1.0], [-1.0, 1.0], [-2.0, 1.0], [-3.0, 1.0]]),
        ({"a": Linear(0, 3, 3)}, {"frequency": 2}, [[0.0, 2.0], [0.0, 2.0], [4 / 3, 2 / 3], [4 / 3, 2 / 3]]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_fixed(tmp_path: Path, weights: Any, options: Any, expected: Any, interval: str) -> None:
    """The same by epoch, of two batches each, and by step."""
    batches, epochs = (2, 4) if interval == "epoch" else (2, 2)
    callback = LossBalancingCallback(["a", "b"], "fixed", weights=weights, interval=interval, **options)
    seen = fit(tmp_path, Weighed(FEW, batches=batches), callback, epochs=epochs)
    times = 2 if interval == "epoch" else 1
    assert seen == [pytest.approx(row) for row in expected for _ in range(times)]


@pytest.mark.filterwarnings("ignore:.*is longer than the run")
def test_whether_two_points_are_one_shows_only_in_the_run(tmp_path: Path) -> None:
    weights = {"a": {"strategy": "scheduled", "schedule": {0: 3, "5ep": 2, "5000st": 1}}}
    callback = LossBalancingCallback(AB, "fixed", weights=weights)
    assert fit(tmp_path, Weighed(FEW, batches=2), callback) == [[1.5, 0.5]] * 2


# -- resume ---------------------------------------------------------------------------------------------------------

RUNS: dict[str, dict[str, Any]] = {
    "dwa": {"temperature": 0.5},
    "dwa by 2 epochs": {"method": "dwa", "frequency": 2},
    "relobralo": {"alpha": 0.9, "expected_rho": 0.5, "frequency": 3},
    "inverse_ema": {"decay": 0.9, "frequency": 2},
    "inverse_ema by epoch": {"method": "inverse_ema", "interval": "epoch"},
    "fixed": {
        "weights": {"residual": {"strategy": "linear", "start_value": 0.0, "end_value": 1.0}},
        "interval": "step",
    },
}


def balanced(run: str) -> LossBalancingCallback:
    return LossBalancingCallback(list(NAMES), **{"method": run, **RUNS[run]})


# After steps within an epoch and at its end, and after each of two validations an epoch.
STEPS = [{"every_n_train_steps": 5}, {"save_on_train_epoch_end": True}]
VALIDATIONS = [{"save_on_train_epoch_end": False}]


@pytest.mark.parametrize(
    ("run", "saved", "told"),
    [
        *((run, STEPS, None) for run in RUNS),
        *((run, STEPS, {}) for run in ("dwa", "inverse_ema")),
        *((run, VALIDATIONS, told) for run in ("dwa by 2 epochs", "inverse_ema by epoch") for told in (None, {})),
    ],
)
def test_from_every_checkpoint(tmp_path: Path, run: str, saved: list[dict[str, Any]], told: Any) -> None:
    def go(*more: Callback, **options: Any) -> tuple[Weighed, LossBalancingCallback]:
        module, callback = Weighed(ROWS, batches=4, told=told), balanced(run)
        fit(tmp_path, module, callback, *more, epochs=6, val_check_interval=0.5, **options)
        return module, callback

    savers = [ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **when) for when in saved]
    whole, callback = go(*savers, enable_checkpointing=True)
    assert len({tuple(row) for row in whole.weights_seen}) > 1
    checkpoints = list(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) == (4 + 6 if saved is STEPS else 12)
    for checkpoint in checkpoints:
        torch.load(checkpoint, weights_only=True)
        resumed, again = go(ckpt_path=checkpoint)
        done = int(checkpoint.stem.removeprefix("step=").split("-")[0])
        assert resumed.weights_seen == whole.weights_seen[done:], checkpoint.name
        assert again.values == callback.values, checkpoint.name
