"""LossBalancingCallback in a real fit: the weights of each method against a plain loop, and where terms come from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf

from lightning_anneal import AnnealError, Linear, LossBalancingCallback
from tests.callbacks.test_annealing_logs import Recorder
from tests.controllers.test_balancing import (
    NAMES,
    dwa_by_the_paper,
    inverse_by_adam,
    recorded,
    relobralo_by_the_paper,
)
from tests.tiny import Tiny, trainer_for

AB = ("a", "b")
Row = Mapping[str, float]


class Weighed(Tiny):
    """Its terms are written down beforehand, batch by batch; `seen` has the weights that each batch was trained with.

    `told` says how the terms are told of: returned beside the loss, or logged with these options.
    """

    def __init__(self, rows: Sequence[Row], batches: int, told: dict[str, Any] | None = None) -> None:
        super().__init__(batches=batches)
        self.rows, self.told = rows, told
        self.names = tuple(rows[0])
        self.loss_weights: Any = dict.fromkeys(self.names, 1.0)
        self.weights_seen: list[list[float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        row = self.rows[self.current_epoch * self.batches + batch_idx]
        self.weights_seen.append([float(weight) for weight in self.in_force()])
        terms = {name: torch.tensor(value, dtype=torch.float64) for name, value in row.items()}
        loss = self.layer(batch[0]).pow(2).mean() * float(sum(self.in_force()))
        if self.told is None:
            return {"loss": loss, **terms}
        for name, term in terms.items():
            self.log(name, term, **self.told)
        return loss

    def in_force(self) -> list[Any]:
        return [self.loss_weights[name] for name in self.names]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass


def fit(
    folder: Path,
    module: Weighed,
    callback: Callback,
    *more: Callback,
    epochs: int = 1,
    ckpt_path: Any = None,
    **options: Any,
) -> list[list[float]]:
    """The weights that each batch was trained with."""
    trainer_for(folder, callback, *more, max_epochs=epochs, **options).fit(module, ckpt_path=ckpt_path)
    return module.weights_seen


def means(rows: Sequence[Row], size: int) -> list[dict[str, float]]:
    """The mean of so many rows, one block after the other."""
    blocks = [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]
    return [{name: math.fsum(row[name] for row in block) / size for name in rows[0]} for block in blocks]


def held(weights: list[Any], times: int) -> list[Any]:
    """What each batch is trained with: first the ones, then what follows from each update, so many times."""
    return [row for row in [[1.0] * len(weights[0]), *weights] for _ in range(times)]


def close(rows: Any) -> Any:
    return [pytest.approx(list(row), rel=1e-12, abs=0) for row in rows]


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

# Means 20 and 2 in epoch 0, 10 and 2 in epoch 1, 10 and 4 in epoch 2.
FEW = [
    {"a": a, "b": b}
    for a, b in [(10, 1), (30, 3), (20, 1), (20, 3), (5, 1), (15, 3), (5, 2), (15, 2), (4, 4), (16, 4), (8, 4), (12, 4)]
]
HALF_IS_THREE_TIMES = 0.5 / math.log(3)
"""The temperature at which a ratio that is larger by 1/2 has three times the weight."""


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
        ({"a": 0.0, "b": 0}, {}, [[1.0, 1.0]] * 4),
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


# -- what there is nothing to go by ---------------------------------------------------------------------------------

NAN, INF = math.nan, math.inf
GOOD = {"a": 3.0, "b": 1.0}  # weights 0.5 and 1.5


@pytest.mark.parametrize(
    ("rows", "expected", "warned"),
    [
        # The batch that has been there last, of 1 each.
        ([GOOD, {"a": NAN, "b": 9.0}, {"a": 1.0, "b": 3.0}, GOOD], [[0.5, 1.5], [0.5, 1.5], [1.5, 0.5]], "a is nan"),
        ([{"a": INF, "b": 1.0}, GOOD, {"a": 1.0, "b": -INF}, GOOD], [[1.0, 1.0], [0.5, 1.5], [0.5, 1.5]], "a is inf"),
        ([GOOD, {"b": 9.0}, {"b": 9.0}, GOOD], [[0.5, 1.5], [0.5, 1.5], [0.5, 1.5]], "no metric 'a' to be seen"),
    ],
)
def test_weights_stay_with_one_warning(tmp_path: Path, rows: Any, expected: Any, warned: str) -> None:
    module = Weighed(rows, batches=4)
    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0)
    with pytest.warns(UserWarning, match="so the value is kept") as caught:
        seen = fit(tmp_path, module, callback)
    assert seen == [[1.0, 1.0], *expected]
    messages = [str(w.message) for w in caught if "kept" in str(w.message)]
    assert len(messages) == 1
    assert messages[0].startswith(f"loss weights: {warned}, so the value is kept")


def test_a_mean_leaves_out_what_is_not_finite(tmp_path: Path) -> None:
    rows = [{"a": 2.0, "b": 1.0}, {"a": NAN, "b": 1.0}, {"a": 4.0, "b": INF}, GOOD]
    seen = fit(tmp_path, Weighed(rows, batches=4), LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=3))
    assert seen == [[1.0, 1.0]] * 3 + [[0.5, 1.5]]


def test_a_misspelled_term(tmp_path: Path) -> None:
    module = Weighed(FEW, batches=4)
    module.loss_weights["bb"] = 1.0
    with pytest.warns(UserWarning, match="no metric 'bb'") as caught:
        seen = fit(tmp_path, module, LossBalancingCallback(["a", "bb"]), epochs=3)
    assert seen == [[1.0, 1.0]] * 12
    [message] = [str(w.message) for w in caught if "bb" in str(w.message)]
    assert message == "loss weights: no metric 'bb' to be seen, so the value is kept; did you mean 'b'?"


def test_a_term_of_many_numbers(tmp_path: Path) -> None:
    class Vector(Weighed):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {**super().training_step(batch, batch_idx), "a": torch.ones(2, 3)}

    with pytest.raises(AnnealError) as error:
        fit(tmp_path, Vector(FEW, batches=4), LossBalancingCallback(AB, "inverse_ema"))
    assert str(error.value) == "loss weights.monitor: a must be one number a batch, got a tensor of shape (2, 3)"


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


# -- where weights stand --------------------------------------------------------------------------------------------


class Elsewhere(Weighed):
    """The weight of one term in a submodule, that of the other in a list."""

    def __init__(self) -> None:
        super().__init__(FEW, batches=4)
        del self.loss_weights

    def in_force(self) -> list[Any]:
        return [self.loss.margin, self.weights["nested"][1]]  # type: ignore[index]


def test_paths_of_ones_own(tmp_path: Path) -> None:
    paths = {"a": "loss.margin", "b": "weights.nested.1"}
    for losses in (paths, OmegaConf.create(paths)):
        seen = fit(tmp_path, Elsewhere(), LossBalancingCallback(losses, "inverse_ema", decay=0.0, frequency=2))
        assert seen == [pytest.approx(row) for row in [[1.0, 1.0]] * 2 + [[2 / 11, 20 / 11]] * 2]


def test_names_that_are_no_keys(tmp_path: Path) -> None:
    rows = [{"train/a": row["a"], "train.b": row["b"]} for row in FEW]
    module = Weighed(rows, batches=4, told={})
    module.weights = {"a": 1.0, "b": 1.0}
    module.in_force = lambda: list(module.weights.values())  # type: ignore[method-assign]
    paths = {"train/a": "weights.a", "train.b": "weights.b"}
    callback = LossBalancingCallback(paths, "inverse_ema", decay=0.0, frequency=2)
    assert fit(tmp_path, module, callback)[2:] == [pytest.approx([2 / 11, 20 / 11])] * 2
    assert callback.values == {"train/a": pytest.approx(2 / 11), "train.b": pytest.approx(20 / 11)}


def test_another_attribute_and_ints(tmp_path: Path) -> None:
    """A weight that was written as an int becomes a float."""
    module = Weighed(FEW, batches=4)
    module.lambdas = {"a": 1, "b": 1}
    module.in_force = lambda: list(module.lambdas.values())  # type: ignore[method-assign]
    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2, attr_name="lambdas")
    assert fit(tmp_path, module, callback)[2:] == [pytest.approx([2 / 11, 20 / 11])] * 2


def test_in_hparams(tmp_path: Path) -> None:
    class InHparams(Weighed):
        def __init__(self, loss_weights: dict[str, float]) -> None:
            super().__init__(FEW, batches=4)
            del self.loss_weights
            self.save_hyperparameters()

        def in_force(self) -> list[Any]:
            return list(self.hparams["loss_weights"].values())

    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2)
    assert fit(tmp_path, InHparams({"a": 1.0, "b": 1.0}), callback)[2:] == [pytest.approx([2 / 11, 20 / 11])] * 2


def test_as_tensor(tmp_path: Path) -> None:
    kinds: set[Any] = set()

    class Tensors(Weighed):
        def in_force(self) -> list[Any]:
            kinds.update((type(weight), id(weight)) for weight in self.loss_weights.values())
            return super().in_force()

    module = Tensors(FEW, batches=4)
    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2, as_tensor=True)
    seen = fit(tmp_path, module, callback)
    single = [float(torch.tensor(weight)) for weight in (2 / 11, 20 / 11)]
    assert seen == [[1.0, 1.0]] * 2 + [single] * 2
    assert len(kinds) == 2
    assert {kind for kind, _ in kinds} == {torch.Tensor}
    # Numbers again in the end, and those that 32 bits had rounded.
    assert module.loss_weights == {"a": pytest.approx(2 / 11, rel=1e-15), "b": pytest.approx(20 / 11, rel=1e-15)}


def test_two_callbacks(tmp_path: Path) -> None:
    rows = [{"a": row["a"], "b": row["b"], "c": 5.0, "d": 5.0 * row["a"]} for row in FEW]

    def go(*more: Callback, **options: Any) -> tuple[list[list[float]], Any, Any]:
        first = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2)
        second = LossBalancingCallback(["c", "d"], "fixed", weights={"c": Linear(1, 3, 2)}, name="second")
        module = Weighed(rows, batches=4)
        return fit(tmp_path, module, first, second, *more, epochs=3, **options), first, second

    seen, first, second = go(ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1), enable_checkpointing=True)
    inverse = [[1.0, 1.0]] * 2 + [[2 / 11, 20 / 11]] * 4 + [[1 / 3, 5 / 3]] * 4 + [[4 / 7, 10 / 7]] * 2
    fixed = [[1.0, 1.0]] * 4 + [[4 / 3, 2 / 3]] * 4 + [[1.5, 0.5]] * 4
    assert seen == [pytest.approx([*a, *b]) for a, b in zip(inverse, fixed, strict=True)]
    assert (set(first.values), set(second.values)) == ({"a", "b"}, {"c", "d"})
    assert go(ckpt_path=tmp_path / "step=4.ckpt")[0] == seen[4:]


def test_two_for_one_weight(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match=r"a: LossBalancingCallback\[name=second\] anneals it too; keep one of them"):
        fit(tmp_path, Weighed(FEW, batches=4), LossBalancingCallback(AB), LossBalancingCallback(AB, name="second"))


# -- what is told ---------------------------------------------------------------------------------------------------


def test_tags(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2, prog_bar=["b"])
    trainer = trainer_for(tmp_path, callback, logger=[logger], log_every_n_steps=2, max_epochs=2)
    trainer.fit(Weighed(FEW, batches=4))
    found: dict[str, list[Any]] = {}
    for step, name, value in logger.calls:
        found.setdefault(name, []).append((step, value))
    # At steps 1, 3, 5 and 7; what the weights follow from, from the first update on.
    assert found == {
        "Loss_Weights/a": [(1, 1.0), (3, pytest.approx(2 / 11)), (5, pytest.approx(2 / 11)), (7, pytest.approx(1 / 3))],
        "Loss_Weights/b": [(1, 1.0), (3, pytest.approx(20 / 11)), (5, pytest.approx(20 / 11)), (7, pytest.approx(5 / 3))],
        "Loss_Weights/a/ema": [(3, 20.0), (5, 20.0), (7, 10.0)],
        "Loss_Weights/b/ema": [(3, 2.0), (5, 2.0), (7, 2.0)],
    }  # fmt: skip
    assert trainer.progress_bar_metrics["b"] == pytest.approx(5 / 3)
    assert float(trainer.callback_metrics["Loss_Weights/a"]) == pytest.approx(1 / 3)


def test_by_epoch_at_its_first_step(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    trainer_for(tmp_path, callback, logger=[logger], log_every_n_steps=1, max_epochs=3).fit(Weighed(FEW, batches=4))
    assert [(step, value) for step, name, value in logger.calls if name == "Loss_Weights/a"] == [
        (0, 1.0), (4, 1.0), (8, pytest.approx(0.5)),
    ]  # fmt: skip


def test_the_audit_and_hyperparameters(tmp_path: Path) -> None:
    callback = LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    logger = CSVLogger(tmp_path, name="", version="run")
    fit(tmp_path, Weighed(FEW, batches=4), callback, epochs=3, logger=logger)
    rows = [(c.epoch, c.step, c.name, c.old, round(float(c.new), 9), c.why) for c in callback.changes]
    assert rows == [(2, 8, "a", 1.0, 0.5, "dwa"), (2, 8, "b", 1.0, 1.5, "dwa")]
    shown = {"method": "dwa", "losses": ["a", "b"], "temperature": HALF_IS_THREE_TIMES}
    assert callback.settings == {"loss_weights": shown}
    assert "method: dwa" in (tmp_path / "run" / "hparams.yaml").read_text()


def test_an_evaluation_has_the_weights_of_its_checkpoint(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    callback = LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    fit(tmp_path, Weighed(FEW, batches=4), callback, saver, epochs=3, enable_checkpointing=True)
    module, again = Weighed(FEW, batches=4), LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    trainer_for(tmp_path, again).validate(module, ckpt_path=tmp_path / "step=12.ckpt", verbose=False)
    assert again.values == callback.values == {"a": pytest.approx(0.5), "b": pytest.approx(1.5)}


# -- mistakes -------------------------------------------------------------------------------------------------------

RAMP = {"strategy": "linear", "start_value": 0, "end_value": 1}
PLACE = "weights.a: must be a number or a schedule, without keys of time and place"
MISSING = "weights: missing; fixed needs them, such as {recon: 1.0, kl: {strategy: linear, ...}}"


@pytest.mark.parametrize(
    ("losses", "arguments", "line"),
    [
        ("ab", {}, "losses: must be a list of at least two names, got 'ab'"),
        (["a"], {}, "losses: must be a list of at least two names, got ['a']"),
        (["a", "a"], {}, "losses: 'a' is there twice"),
        (["a", 3], {}, "losses.1: must be a name, got 3"),
        ({}, {}, "losses: must be a list of at least two names, got []"),
        ({"a": "x.a"}, {}, "losses: must be a list of at least two names, got ['a']"),
        ({"a": "x.a", "b": 3}, {}, "losses.b: must be a dotted path, got 3"),
        (["train/a", "b"], {}, "losses: 'train/a' can't be part of a path; give paths, as in {train/a: loss_weights.my_name, ...}"),
        (["train.a", "b"], {}, "losses: 'train.a' can't be part of a path; give paths, as in {train.a: loss_weights.my_name, ...}"),
        (AB, {"attr_name": 3}, "attr_name: must be a dotted path, got 3"),
        (AB, {"attr_name": ""}, "attr_name: must be a dotted path, got ''"),
        (AB, {"attr_name": "_weights"}, "a: '_weights' is private; names with a leading underscore can't be annealed"),
        (AB, {"method": "dw"}, "method: unknown method 'dw'; did you mean 'dwa'?"),
        (AB, {"method": None}, "method: unknown method None; known: dwa, fixed, inverse_ema, relobralo"),
        (AB, {"temperature": 0}, "temperature: must be positive, got 0"),
        (AB, {"alpha": 0.5}, "alpha: is for relobralo, not for dwa"),
        (AB, {"method": "relobralo", "alpha": 2}, "alpha: must be from 0 to 1, got 2"),
        (AB, {"method": "relobralo", "expected_rho": -1}, "expected_rho: must be from 0 to 1, got -1"),
        (AB, {"method": "relobralo", "seed": 0.5}, "seed: must be a whole number, got 0.5"),
        (AB, {"method": "inverse_ema", "decay": 1}, "decay: must be less than 1, got 1: an average that never moves"),
        (AB, {"method": "inverse_ema", "temperature": 1}, "temperature: is for dwa and relobralo, not for inverse_ema"),
        (AB, {"method": "fixed", "temperature": 2, "weights": {}}, "temperature: is for the other methods, not for fixed, which takes weights"),
        (AB, {"interval": "batch"}, "interval: unknown interval 'batch'; known: epoch, step"),
        (AB, {"frequency": 0}, "frequency: must be positive, got 0"),
        (AB, {"weights": {"a": 1}}, "weights: are for method fixed, not for dwa"),
        (AB, {"normalize": False}, "normalize: is for method fixed, not for dwa, whose weights always add up"),
        (AB, {"normalize": "no"}, "normalize: must be true or false, got 'no'"),
        (AB, {"as_tensor": 1}, "as_tensor: must be true or false, got 1"),
        (AB, {"prog_bar": ["c"]}, "prog_bar: unknown parameter 'c'; known: a, b"),
        (AB, {"method": "fixed"}, MISSING),
        (AB, {"method": "fixed", "weights": [1, 2]}, MISSING),
        (AB, {"method": "fixed", "weights": {"c": 1}}, "weights: unknown loss 'c'; known: a, b"),
        (AB, {"method": "fixed", "weights": {"a": "x"}}, "weights.a.value: must be a number, got 'x'"),
        (AB, {"method": "fixed", "weights": {"a": True}}, "weights.a: must be a mapping of settings, a schedule or a callable of t, got True"),
        (AB, {"method": "fixed", "weights": {"a": -1}}, "weights.a: must not be negative, and goes to -1"),
        (AB, {"method": "fixed", "weights": {"a": {**RAMP, "end_value": -2}}}, "weights.a: must not be negative, and goes to -2"),
        (AB, {"method": "fixed", "weights": {"a": abs}}, "weights.a: is a function, which may be negative; give a schedule, or normalize: false"),
        (AB, {"method": "fixed", "weights": {"a": {"strategy": "linear", "end_value": 1}}}, "weights.a.start_value: missing; weights begin at no value found"),
        (AB, {"method": "fixed", "weights": {"a": {"strategy": "linar"}}}, "weights.a.strategy: unknown strategy 'linar'; did you mean 'linear'?"),
        (AB, {"method": "fixed", "weights": {"a": {**RAMP, "interval": "step"}}}, PLACE),
        (AB, {"method": "fixed", "weights": {"a": {**RAMP, "attr_name": "beta"}}}, PLACE),
        (AB, {"method": "fixed", "weights": {"a": {**RAMP, "eval_value": 0}}}, PLACE),
        (AB, {"method": "fixed", "weights": {"a": {**RAMP, "round": True}}}, PLACE),
        (AB, {"method": "fixed", "weights": {"a": {"strategy": "follow", "other": "b"}}}, PLACE),
        (AB, {"method": "fixed", "weights": {"a": {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": [1]}}}, PLACE),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(losses: Any, arguments: dict[str, Any], line: str) -> None:
    with pytest.raises(AnnealError) as error:
        LossBalancingCallback(losses, **arguments)
    assert str(error.value) == line


HAS_NONE = "loss_weights: Weighed has no such attribute; write self.loss_weights = {'a': 1.0, 'b': 1.0} in __init__"


@pytest.mark.parametrize(
    ("weights", "losses", "arguments", "line"),
    [
        (None, AB, {}, HAS_NONE),
        ({"a": 1.0}, AB, {}, "b: dict has no key 'b'; known: a"),
        ([1.0, 1.0], AB, {}, "a: list of length 2 has no element 'a'; take 0 to 1"),
        (1.0, AB, {}, "a: float has no attribute 'a'"),
        ({"a": 1.0, "b": "high"}, AB, {}, "b: is 'high'; a schedule gives numbers"),
        ({"a": 1.0, "b": 1.0}, {"a": "loss_weights.a", "b": "loss_weights.c"}, {}, "b: dict has no key 'c'; known: a, b"),
        ({"a": 1.0, "b": 1.0}, {"a": "loss_weights.a", "b": "loss_weights.a"}, {}, "b: the same place as 'a'; keep one of them"),
        ({"a": 1.0, "b": 1.0}, AB, {"attr_name": "loss.lambdas"}, "a: Loss has no attribute 'lambdas'"),
    ],
)  # fmt: skip
def test_what_is_found_out_when_fit_starts(
    tmp_path: Path, weights: Any, losses: Any, arguments: Any, line: str
) -> None:
    module = Weighed(FEW, batches=4)
    del module.loss_weights
    if weights is not None:
        module.loss_weights = weights
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, module, LossBalancingCallback(losses, **arguments))
    assert str(error.value).startswith(line)
