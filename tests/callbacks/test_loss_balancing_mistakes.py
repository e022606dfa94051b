"""LossBalancingCallback: what there is nothing to go by, and mistakes, each one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_anneal import AnnealError, LossBalancingCallback
from tests.weighed import AB, FEW, Weighed, fit

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
        (AB, {"method": "fixed", "weights": [1, 2]}, "weights: must be a mapping of losses, got [1, 2], such as {recon: 1.0, kl: {strategy: linear, ...}}"),
        (AB, {"method": "fixed", "weights": {"a": 0.0, "b": 0}}, "weights: all are 0, which can't be normalised; give one that isn't, or normalize: false"),
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
        (AB, {"method": "fixed", "weights": {"a": {"strategy": "follow", "other": "b"}}}, "weights.a: must be a number or a schedule, which follow is not"),
        (AB, {"method": "fixed", "weights": {"a": {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": [1]}}}, "weights.a: must be a number or a schedule, which trigger_based is not"),
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
