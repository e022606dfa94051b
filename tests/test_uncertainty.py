"""Learned weights of losses: values and gradients by hand, real fits, state, precision, compiled code."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import AnnealError, UncertaintyWeights
from tests.tiny import trainer_for

LN2 = math.log(2)


def losses(**values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def with_s(balance: UncertaintyWeights, *s: float) -> UncertaintyWeights:
    with torch.no_grad():
        balance.log_variances.copy_(torch.tensor(s))
    return balance


# -- by hand ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "s", "total", "weights", "slopes"),
    [
        # At the start: the plain sum, and twice the classification. A slope is 1 - weight * loss.
        (None, (0, 0), 9.0, (1.0, 1.0), (0.0, -7.0)),
        ({"b": "classification"}, (0, 0), 17.0, (1.0, 2.0), (0.0, -15.0)),
        # 1/2 * 1 + ln 2, and 1/8 * 8 + 3 ln 2.
        (None, (LN2, 3 * LN2), 1.5 + 4 * LN2, (0.5, 0.125), (0.5, 0.0)),
        # 2 * 1 - ln 2, and 2 * 1/4 * 8 + 2 ln 2.
        ({"b": "classification"}, (-LN2, 2 * LN2), 6 + LN2, (2.0, 0.5), (-1.0, -3.0)),
        ({"a": "Classification", "b": "regression"}, (0, 0), 10.0, (2.0, 1.0), (-1.0, -7.0)),
    ],
)
def test_total_weights_and_slopes(
    kinds: dict[str, str] | None, s: Any, total: float, weights: tuple[float, ...], slopes: tuple[float, ...]
) -> None:
    balance = with_s(UncertaintyWeights(["a", "b"], kinds), *s)
    given = {name: value.requires_grad_() for name, value in losses(b=8.0, a=1.0).items()}
    found = balance(given)
    assert found.ndim == 0
    assert found.item() == pytest.approx(total, rel=1e-6)
    assert {name: weight.item() for name, weight in balance.weights.items()} == {
        "a": pytest.approx(weights[0]),
        "b": pytest.approx(weights[1]),
    }
    assert not any(weight.requires_grad for weight in balance.weights.values())
    found.backward()
    assert balance.log_variances.grad.tolist() == pytest.approx(slopes, abs=1e-6)
    # What reaches the model is multiplied by the weight.
    assert [given[name].grad.item() for name in "ab"] == pytest.approx(weights)


@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_it_is_twice_the_papers(kind: str) -> None:
    # With the standard deviations 3 and 1/2: the paper's two forms, one term each.
    total = with_s(UncertaintyWeights(["a", "b"], {"a": kind, "b": kind}), 2 * math.log(3), -2 * LN2)
    share = 2 if kind == "regression" else 1
    papers = 18 / (share * 9) + math.log(3) + 5 / (share * 0.25) + math.log(0.5)
    assert total(losses(a=18.0, b=5.0)).item() == pytest.approx(2 * papers, rel=1e-6)


def test_a_weight_settles_where_the_weighted_loss_is_1() -> None:
    balance = UncertaintyWeights(["far", "near", "labels"], {"labels": "classification"})
    optimizer = torch.optim.Adam(balance.parameters(), lr=0.1)
    given = losses(far=20.0, near=0.2, labels=3.0)
    for _ in range(600):
        optimizer.zero_grad()
        balance(given).backward()
        optimizer.step()
    assert {name: weight.item() for name, weight in balance.weights.items()} == {
        "far": pytest.approx(1 / 20, rel=1e-3),
        "near": pytest.approx(5, rel=1e-3),
        "labels": pytest.approx(1 / 3, rel=1e-3),
    }


# -- in a fit -----------------------------------------------------------------------------------------------------


class TwoTasks(LightningModule):
    """Two lines fitted to data whose variances are about a thousand apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2)
        self.balance = UncertaintyWeights(["large", "small"])
        self.totals: list[Tensor] = []

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        x, large, small = batch
        out = self.layer(x)
        total = self.balance({"large": (out[:, :1] - large).pow(2).mean(), "small": (out[:, 1:] - small).pow(2).mean()})
        self.totals.append(total.detach())
        return total

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.05)

    def train_dataloader(self) -> DataLoader[Any]:
        noise = torch.Generator().manual_seed(0)
        x = torch.linspace(-1, 1, 64).unsqueeze(1)
        large = 2 * x + 3 * torch.randn(64, 1, generator=noise)
        small = 0.1 * x + 0.1 * torch.randn(64, 1, generator=noise)
        return DataLoader(TensorDataset(x, large, small), batch_size=64)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_it_learns_in_a_fit(precision: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = TwoTasks()
    trainer_for(tmp_path, max_epochs=600, precision=precision).fit(module)
    assert all(total.dtype == torch.float32 for total in module.totals)
    assert module.totals[-1] < module.totals[0]
    # The noise has the deviations 3 and 0.1.
    assert module.balance.log_variances.tolist() == pytest.approx([math.log(9), math.log(0.01)], abs=0.3)


def test_state_goes_through_a_checkpoint(tmp_path: Path) -> None:
    module = TwoTasks()
    trainer = trainer_for(tmp_path, max_epochs=3)
    trainer.fit(module)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    again = TwoTasks.load_from_checkpoint(tmp_path / "a.ckpt")
    assert again.balance.weights.keys() == {"large", "small"}
    assert again.balance.log_variances.tolist() == module.balance.log_variances.tolist() != [0.0, 0.0]


def test_state_dict_holds_the_parameter_alone() -> None:
    balance = with_s(UncertaintyWeights(["a", "b"], {"b": "classification"}), 1.0, -2.0)
    assert list(balance.state_dict()) == ["log_variances"]
    again = UncertaintyWeights(["a", "b"], {"b": "classification"})
    again.load_state_dict(balance.state_dict())
    given = losses(a=3.0, b=4.0)
    assert again(given) == balance(given) == copy.deepcopy(balance)(given)


# -- precision and compiled code ----------------------------------------------------------------------------------


def test_autocast_to_bfloat16() -> None:
    layer, balance = nn.Linear(4, 2), UncertaintyWeights(["a", "b"])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = layer(torch.ones(3, 4))
        assert out.dtype == torch.bfloat16
        # One loss in each precision.
        total = balance({"a": out[:, 0].mean(), "b": out[:, 1].float().pow(2).mean()})
    total.backward()
    assert (total.dtype, balance.log_variances.grad.dtype) == (torch.float32, torch.float32)
    assert total.isfinite()
    assert balance.log_variances.grad.isfinite().all()


def test_double_losses_stay_double() -> None:
    found = UncertaintyWeights(["a", "b"])({name: torch.tensor(1e-12, dtype=torch.float64) for name in "ab"})
    assert (found.dtype, found.item()) == (torch.float64, 2e-12)


def test_a_module_in_bfloat16() -> None:
    balance = UncertaintyWeights(["a", "b"]).to(torch.bfloat16)
    assert balance(losses(a=1.0, b=2.0)).item() == 3.0


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_it_is_one_graph(backend: str) -> None:
    torch._dynamo.reset()
    balance = with_s(UncertaintyWeights(["a", "b"], {"b": "classification"}), 0.5, -0.5)
    compiled = torch.compile(balance, fullgraph=True, backend=backend)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for a in (1.0, 2.0, 3.0):
            given = losses(a=a, b=4.0)
            assert compiled(given).item() == pytest.approx(balance(given).item(), rel=1e-6)
    compiled(losses(a=1.0, b=4.0)).backward()
    slopes = balance.log_variances.grad.tolist()
    assert slopes == pytest.approx([1 - math.exp(-0.5), 1 - 8 * math.exp(0.5)], rel=1e-6)
    torch._dynamo.reset()


# -- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "kinds", "message"),
    [
        ("ab", None, "UncertaintyWeights.losses: must be a list of at least two names, got 'ab'"),
        (["a"], None, "UncertaintyWeights.losses: must be a list of at least two names, got ['a']"),
        (["a", "a"], None, "UncertaintyWeights.losses: 'a' is there twice"),
        (["a", ""], None, "UncertaintyWeights.losses.1: must be a name, got ''"),
        (["depth", "labels"], {"label": "classification"}, "UncertaintyWeights.kinds: unknown loss 'label'; did you mean 'labels'?"),
        (["depth", "labels"], {"labels": "clasification"}, "UncertaintyWeights.labels.kind: unknown kind 'clasification'; did you mean 'classification'?"),
        (["a", "b"], {"a": 3}, "UncertaintyWeights.a.kind: unknown kind 3; known: classification, regression"),
        (["a", "b"], ["regression"], "UncertaintyWeights.kinds: must be a mapping, got ['regression']"),
    ],
)  # fmt: skip
def test_arguments_refused(names: Any, kinds: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        UncertaintyWeights(names, kinds)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"depth": 1.0}, "UncertaintyWeights: the loss 'labels' is missing"),
        ({}, "UncertaintyWeights: the loss 'depth' is missing"),
        ({"depth": 1.0, "label": 2.0}, "UncertaintyWeights: unknown loss 'label'; did you mean 'labels'?"),
        ({"depth": 1.0, "labels": 2.0, "kl": 3.0}, "UncertaintyWeights: unknown loss 'kl'; known: depth, labels"),
        ({"depth": [1.0, 2.0], "labels": 2.0}, "UncertaintyWeights.depth: must be a tensor of 0 dimensions, got one of shape (2,); take its mean"),
    ],
)  # fmt: skip
def test_losses_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        UncertaintyWeights(["depth", "labels"])({name: torch.tensor(value) for name, value in given.items()})
    assert str(error.value) == message


def test_a_plain_number_is_refused() -> None:
    with pytest.raises(AnnealError, match=r"^UncertaintyWeights.b: must be a tensor, got 0.5$"):
        UncertaintyWeights(["a", "b"])({"a": torch.tensor(1.0), "b": 0.5})


def test_it_prints_its_losses() -> None:
    assert repr(UncertaintyWeights(["a", "b"])) == "UncertaintyWeights(a, b)"
