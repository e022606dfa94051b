"""Where a path starts, parameter groups, and what belongs to somebody else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    CosineAnnealingLR,
    LambdaLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lightning_anneal import AnnealError
from lightning_anneal.config import read_rules
from lightning_anneal.targets.resolve import Roots, resolve
from tests.tiny import Data, Tiny, trainer_for


def optimizer(cls: Any = Adam, **options: Any) -> Any:
    groups = [
        {"params": [nn.Parameter(torch.zeros(1))], "name": "decay", "weight_decay": 0.1},
        {"params": [nn.Parameter(torch.zeros(1))], "name": "rest", "weight_decay": 0.2},
    ]
    return cls(groups, lr=0.1, **options)


def found(path: str, roots: Roots, **settings: Any) -> Any:
    [rule] = read_rules({path: {"strategy": "linear", "end_value": 0.5, "total_steps": 3, **settings}})
    return resolve(rule, roots)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("optimizer.param_groups.1.weight_decay", {"optimizer.param_groups.1.weight_decay": 0.2}),
        ("optimizer.param_groups.rest.weight_decay", {"optimizer.param_groups.rest.weight_decay": 0.2}),
        (
            "optimizer.param_groups.*.weight_decay",
            {"optimizer.param_groups.0.weight_decay": 0.1, "optimizer.param_groups.1.weight_decay": 0.2},
        ),
        ("optimizer.param_groups.0.betas.0", {"optimizer.param_groups.0.betas.0": 0.9}),
        ("optimizers.0.param_groups.0.lr", {"optimizers.0.param_groups.0.lr": 0.1}),
    ],
)
def test_groups(path: str, expected: dict[str, float]) -> None:
    targets = found(path, Roots(optimizers=[optimizer()])).targets
    assert {target.name: target.read() for target in targets} == expected


def test_groups_under_a_name_of_their_own() -> None:
    settings = {"object": "optimizer", "attr_name": "param_groups.*.weight_decay"}
    targets = found("decay", Roots(optimizers=[optimizer()]), **settings).targets
    assert [target.name for target in targets] == ["decay/0", "decay/1"]


def test_the_int_0_that_torch_takes_for_weight_decay_is_a_float() -> None:
    adam = Adam([nn.Parameter(torch.zeros(1))])
    assert type(adam.param_groups[0]["weight_decay"]) is int
    [target] = found("optimizer.param_groups.0.weight_decay", Roots(optimizers=[adam])).targets
    target.write(0.25)
    assert adam.param_groups[0]["weight_decay"] == 0.25


def test_betas_are_replaced_as_a_tuple() -> None:
    adam = optimizer()
    found("optimizer.param_groups.0.betas.0", Roots(optimizers=[adam])).targets[0].write(0.5)
    assert [group["betas"] for group in adam.param_groups] == [(0.5, 0.999), (0.9, 0.999)]


def test_a_tensor_lr_is_filled() -> None:
    adam = Adam([nn.Parameter(torch.zeros(1))], lr=torch.tensor(0.1))
    lr = adam.param_groups[0]["lr"]
    found("optimizer.param_groups.0.lr", Roots(optimizers=[adam])).targets[0].write(0.5)
    assert lr is adam.param_groups[0]["lr"]
    assert float(lr) == 0.5


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("optimizer.param_groups.2.lr", "there is no parameter group 2; the optimizer has 2"),
        ("optimizer.param_groups.decoy.lr", "no parameter group is named 'decoy'; did you mean 'decay'?"),
        ("optimizer.param_groups.0.wieght_decay", "dict has no key 'wieght_decay'; did you mean 'weight_decay'?"),
        ("optimizer.param_groups.0.params", "'params' are the model's weights, which the optimizer itself writes"),
        ("optimizer.defaults.lr", "a path into an optimizer reads param_groups.GROUP.KEY, GROUP being a number, a name "
         "or *; got 'defaults.lr'"),
        ("optimizer", "'optimizer' alone is no parameter; name one inside it"),
        ("optimizers.1.param_groups.0.lr", "write optimizers.N with N from 0 to 0"),
        ("model.*.beta", "'*' stands for the parameter groups of an optimizer and nothing else"),
        ("trainer.max_epochs", "the trainer's 'max_epochs' can't be changed while it trains; known: "
         "accumulate_grad_batches, gradient_clip_val, log_every_n_steps"),
        ("trainer.gradient_clip_vl", "the trainer's 'gradient_clip_vl' can't be changed while it trains; did you mean "
         "'gradient_clip_val'?"),
        ("trainer.callbacks.0.x", "the trainer's 'callbacks.0.x' can't be changed while it trains; known: "
         "accumulate_grad_batches, gradient_clip_val, log_every_n_steps"),
        ("datamodule.nois", "Data has no attribute 'nois'; did you mean 'noise'?"),
        ("self.beta", "paths start inside the module; write 'beta'"),
        ("betta", "Tiny has no attribute 'betta'; did you mean 'beta'?"),
    ],
)  # fmt: skip
def test_refused(path: str, what: str, tmp_path: Any) -> None:
    module = Tiny()
    module.model = {"*": {"beta": 1.0}}
    roots = Roots(module, [optimizer()], Data(), trainer_for(tmp_path))
    with pytest.raises(AnnealError) as error:
        found(path, roots)
    assert str(error.value) == f"{path}: {what}"


@pytest.mark.parametrize(
    ("path", "roots", "what"),
    [
        ("optimizer.param_groups.0.lr", Roots(), "there is no optimizer here"),
        (
            "optimizer.param_groups.0.lr",
            Roots(optimizers=[optimizer(), optimizer()]),
            "there are 2 optimizers; write optimizers.N.param_groups.0.lr",
        ),
        ("datamodule.x", Roots(), 'there is no datamodule here; give objects={"datamodule": ...}'),
        ("trainer.gradient_clip_val", Roots(), "there is no trainer here"),
    ],
)
def test_what_is_not_there(path: str, roots: Roots, what: str) -> None:
    with pytest.raises(AnnealError) as error:
        found(path, roots)
    assert str(error.value) == f"{path}: {what}"


@pytest.mark.parametrize(
    ("make", "key", "owner"),
    [
        (lambda o: CosineAnnealingLR(o, 10), "lr", "CosineAnnealingLR"),
        (lambda o: StepLR(o, 10), "lr", "StepLR"),
        (lambda o: LambdaLR(o, lambda t: 1.0), "lr", "LambdaLR"),
        (lambda o: ReduceLROnPlateau(o), "lr", "ReduceLROnPlateau"),
        (lambda o: OneCycleLR(o, 0.1, total_steps=10), "betas.0", "OneCycleLR"),
        (lambda o: ChainedScheduler([StepLR(o, 3)]), "lr", "ChainedScheduler"),
        (
            lambda o: SequentialLR(o, [StepLR(o, 3), OneCycleLR(o, 0.1, total_steps=9)], milestones=[2]),
            "betas.0",
            "SequentialLR",
        ),
    ],
)
def test_a_key_that_an_lr_scheduler_owns(make: Any, key: str, owner: str) -> None:
    adam = optimizer()
    roots = Roots(optimizers=[adam], schedulers=[make(adam)])
    path = f"optimizer.param_groups.0.{key}"
    with pytest.raises(AnnealError) as error:
        found(path, roots)
    assert str(error.value) == f"{path}: owned by {owner}; anneal another key or drop that scheduler"
    assert found("optimizer.param_groups.0.weight_decay", roots).home == "optimizer"


def test_another_optimizers_scheduler_owns_nothing() -> None:
    first, second = optimizer(SGD), optimizer(SGD)
    roots = Roots(optimizers=[first, second], schedulers=[StepLR(second, 3)])
    assert found("optimizers.0.param_groups.0.lr", roots).targets[0].read() == 0.1
    with pytest.raises(AnnealError, match="owned by StepLR"):
        found("optimizers.1.param_groups.0.lr", roots)


class WithHparams(Tiny):
    def __init__(self, beta: float = 4.0, tau: float = 0.5) -> None:
        super().__init__()
        self.save_hyperparameters()


def test_hparams() -> None:
    module = WithHparams()
    in_hparams, both, named = (found(name, Roots(module)) for name in ("tau", "beta", "hparams.beta"))
    assert (in_hparams.targets[0].read(), in_hparams.shadowed) == (0.5, False)
    assert (both.targets[0].read(), both.shadowed) == (1.0, True)
    assert (named.targets[0].read(), named.shadowed) == (4.0, False)
    in_hparams.targets[0].write(0.25)
    assert module.hparams.tau == 0.25
    found("hparams.tau", Roots(module)).targets[0].write(0.75)
    assert module.hparams["tau"] == 0.75


def test_hparams_of_a_datamodule() -> None:
    data = Data()
    data.save_hyperparameters({"tau": 0.5})
    for path, value in (("datamodule.tau", 0.25), ("datamodule.hparams.tau", 0.75)):
        found(path, Roots(datamodule=data)).targets[0].write(value)
        assert data.hparams["tau"] == value


def test_an_object_given_in_code() -> None:
    box = {"rate": [0.1]}
    found("r", Roots(), object=box, attr_name="rate.0").targets[0].write(0.5)
    assert box == {"rate": [0.5]}
    adam = optimizer()
    found("wd", Roots(), object=adam, attr_name="param_groups.rest.weight_decay").targets[0].write(0.5)
    assert [group["weight_decay"] for group in adam.param_groups] == [0.1, 0.5]


def test_named_objects(tmp_path: Any) -> None:
    trainer = trainer_for(tmp_path, gradient_clip_val=1)
    roots = Roots(Tiny(), [optimizer()], Data(), trainer)
    found("noise", roots, object="datamodule").targets[0].write(0.125)
    assert roots.datamodule.noise == 0.125
    found("clip", roots, object="trainer", attr_name="gradient_clip_val").targets[0].write(0.5)
    assert trainer.gradient_clip_val == 0.5
    # Rounding unasked is for what counts things.
    found("trainer.accumulate_grad_batches", roots).targets[0].write(2.5)
    assert trainer.accumulate_grad_batches == 3
