"""Optimizers by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from lightning_anneal import AnnealError
from lightning_anneal.optim.optimizers import OPTIMIZERS, build_optimizer, register_optimizer


def weights() -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(2))]


@pytest.mark.parametrize(
    ("name", "cls", "rate"),
    [
        ("Adam", torch.optim.Adam, 0.001),
        ("adamw", torch.optim.AdamW, 0.001),
        ("SGD", torch.optim.SGD, 0.01),
        ("rmsprop", torch.optim.RMSprop, 0.01),
        ("ADAGRAD", torch.optim.Adagrad, 0.01),
        ("Adamax", torch.optim.Adamax, 0.002),
        ("LBFGS", torch.optim.LBFGS, 1),
    ],
)
def test_names_and_default_rates(name: str, cls: type, rate: float) -> None:
    optimizer = build_optimizer(weights(), name)
    assert type(optimizer) is cls
    assert optimizer.param_groups[0]["lr"] == rate


def test_every_optimizer_of_torch_is_known_and_no_helper() -> None:
    names = OPTIMIZERS.names()
    assert {"ASGD", "Adadelta", "NAdam", "RAdam", "Rprop", "SparseAdam"} <= set(names)
    assert not {"Optimizer", "lr_scheduler", "swa_utils"} & set(names)


@pytest.mark.parametrize(
    ("given", "key", "expected"),
    [
        ({"momentum": "0.9"}, "momentum", 0.9),
        ({"weight_decay": "1e-7"}, "weight_decay", 1e-7),
        ({"nesterov": True, "momentum": 0.5}, "nesterov", True),
        ({"lr": "1e-3"}, "lr", 0.001),
    ],
)
def test_arguments(given: dict[str, Any], key: str, expected: Any) -> None:
    before = dict(given)
    assert build_optimizer(weights(), "SGD", optimizer_kwargs=given).defaults[key] == expected
    assert given == before


def test_a_list_is_the_tuple_that_torch_wants() -> None:
    assert build_optimizer(weights(), optimizer_kwargs={"betas": [0.8, "0.9"]}).defaults["betas"] == (0.8, 0.9)


def test_groups_keep_their_own_rate() -> None:
    groups = [{"params": weights(), "lr": 0.5}, {"params": weights()}]
    optimizer = build_optimizer(groups, "SGD", learning_rate=0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25]


def test_a_registered_one() -> None:
    class Mine(torch.optim.SGD):
        pass

    register_optimizer(Mine, "my-sgd")
    assert type(build_optimizer(weights(), "My-SGD", learning_rate=0.5)) is Mine


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("AdamV", {}, "optimizer: unknown optimizer 'AdamV'; did you mean 'Adam'?"),
        (None, {}, "optimizer: unknown optimizer None; known: ASGD, Adadelta, "),
        ("Optimizer", {}, "optimizer: unknown optimizer 'Optimizer'; known: "),
        ("SGD", {"learning_rate": -1}, "learning_rate: must not be negative, got -1"),
        ("SGD", {"learning_rate": float("nan")}, "learning_rate: must be a finite number, got nan"),
        ("SGD", {"learning_rate": "fast"}, "learning_rate: must be a number, got 'fast'"),
        ("SGD", {"learning_rate": 0.1, "optimizer_kwargs": {"lr": 0.2}}, "optimizer_kwargs.lr: learning_rate says it too; keep one"),
        ("SGD", {"optimizer_kwargs": {"momentm": 0.9}}, "optimizer_kwargs: SGD takes no 'momentm'; did you mean 'momentum'? SGD takes lr, momentum, dampening, weight_decay, nesterov"),
        ("SGD", {"optimizer_kwargs": {"weight_decay": float("nan")}}, "optimizer_kwargs.weight_decay: must be a finite number, got nan"),
        ("SGD", {"optimizer_kwargs": {"momentum": -1}}, "optimizer_kwargs: SGD: Invalid momentum value: -1"),
        ("SGD", {"optimizer_kwargs": {"momentum": "much"}}, "optimizer_kwargs.momentum: must be a number, got 'much'"),
        ("SGD", {"optimizer_kwargs": "{momentum:0.9}"}, "optimizer_kwargs: YAML reads 'momentum:0.9' as text; write 'momentum: 0.9'"),
        ("SGD", {"optimizer_kwargs": {"momentum:0.9": None}}, "optimizer_kwargs: YAML reads 'momentum:0.9' as text; write 'momentum: 0.9'"),
        ("SGD", {"optimizer_kwargs": [0.9]}, "optimizer_kwargs: must be a mapping, got [0.9]"),
        ("Adam", {"optimizer_kwargs": {"betas": 0.9}}, "optimizer_kwargs.betas: must be a list such as [0.9, 0.999], got 0.9"),
        ("Adam", {"optimizer_kwargs": {"betas": [0.9]}}, "optimizer_kwargs.betas: must be 2 numbers such as [0.9, 0.999], got [0.9]"),
    ],
)  # fmt: skip
def test_refused(name: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        build_optimizer(weights(), name, **options)
    assert str(error.value).startswith(message)


def test_a_module_in_the_place_of_its_parameters() -> None:
    with pytest.raises(AnnealError, match=r"^params: must be parameters, got a Linear; pass its \.parameters\(\)$"):
        build_optimizer(nn.Linear(1, 1), "SGD")


def test_a_rate_in_a_tensor_stays_that_tensor() -> None:
    rate = torch.tensor(0.5)
    assert build_optimizer(weights(), "Adam", optimizer_kwargs={"lr": rate}).param_groups[0]["lr"] is rate


def test_an_argument_that_nothing_is_known_of_is_left_as_it_is() -> None:
    class Moody(torch.optim.SGD):
        def __init__(self, params: Any, lr: float = 0.1, mood=None) -> None:
            super().__init__(params, lr)
            self.mood = mood

    register_optimizer(Moody, "moody")
    assert build_optimizer(weights(), "moody", optimizer_kwargs={"mood": "1e-3"}).mood == "1e-3"


def test_what_can_not_be_registered() -> None:
    with pytest.raises(AnnealError, match="must be a subclass of Optimizer"):
        register_optimizer(dict)
    with pytest.raises(AnnealError, match=r"'adam' is torch\.optim\.adam's already; give another name"):
        register_optimizer(torch.optim.SGD, "adam")
