"""What an annealed key of an optimizer does to the weights, by hand and beside a loop that is written in plain torch.

The module has one weight for each parameter group. Its loss is the weight times `SLOPE`, so that the gradient is the same
at every step. Values are multiples of powers of two where the arithmetic is to be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from torch.optim import lr_scheduler as lrs
from torch.optim.swa_utils import SWALR
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import (
    AnnealError,
    HyperparamAnnealingCallback,
    LinearWarmupCosineAnnealingLR,
    configure_optimizers,
)
from lightning_anneal.optim.gate import GatedLR
from tests.tiny import trainer_for

STEPS = 8
SLOPE = 0.5


class Weights(LightningModule):
    """`configure` gets the weights and gives what ``configure_optimizers`` does; `seen` has them before every step."""

    def __init__(self, configure: Callable[[Any], Any], weights: int = 1, slope: float = SLOPE) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.tensor([1.0])) for _ in range(weights)])
        self.configure = configure
        self.slope = slope
        self.seen: list[list[float]] = []

    @property
    def now(self) -> list[float]:
        return [weight.item() for weight in self.weights]

    def loss(self) -> torch.Tensor:
        return self.slope * torch.stack(list(self.weights)).sum()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen.append(self.now)
        return self.loss()

    def configure_optimizers(self) -> Any:
        return self.configure(list(self.weights))

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(STEPS // 2)), batch_size=1)


class ByHand(Weights):
    """Two optimizers; the second one steps at every other batch."""

    def __init__(self, configure: Callable[[Any], Any]) -> None:
        super().__init__(configure, 2)
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append(self.now)
        first, second = self.optimizers()
        for optimizer in (first, second)[: 1 + batch_idx % 2]:
            optimizer.zero_grad()
        self.manual_backward(self.loss())
        for optimizer in (first, second)[: 1 + batch_idx % 2]:
            optimizer.step()


def ramp(start: float | None, end: float, **settings: Any) -> dict[str, Any]:
    """By step, over all of the 8 steps: the last one has 7/8 of the way behind it."""
    begin = {} if start is None else {"start_value": start}
    return {"strategy": "linear", **begin, "end_value": end, "total_steps": STEPS, "interval": "step", **settings}


def fit(folder: Path, module: Weights, params: dict[str, Any], **options: Any) -> list[list[float]]:
    """The weights before every step, and at the end."""
    options = {"max_epochs": 2, "limit_val_batches": 0, **options}
    trainer_for(folder, HyperparamAnnealingCallback(params), **options).fit(module)
    return [*module.seen, module.now]


def loop(
    optimizer: Optimizer, values: dict[str, list[float]], scheduler: Any = None, slope: float = SLOPE
) -> list[list[float]]:
    """The same in plain torch: `values` are put into the groups, by ``key`` or ``GROUP.key``, before every step."""
    weights = [group["params"][0] for group in optimizer.param_groups]
    seen = []
    for step in range(STEPS):
        for path, by_step in values.items():
            group, _, key = path.rpartition("/")
            settings = optimizer.param_groups[int(group or 0)]
            if key.startswith("betas"):
                betas = list(settings["betas"])
                betas[int(key[-1])] = by_step[step]
                settings["betas"] = tuple(betas)
            else:
                settings[key] = by_step[step]
        seen.append([weight.item() for weight in weights])
        optimizer.zero_grad()
        (slope * torch.stack(weights).sum()).backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
    return [*seen, [weight.item() for weight in weights]]


def weight() -> nn.Parameter:
    return nn.Parameter(torch.tensor([1.0]))


# -- every optimizer, beside a plain loop ------------------------------------------------------------------------------

MODES: dict[str, dict[str, Any]] = {
    "plain": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "default": {},
}
OPTIONS: dict[type, dict[str, Any]] = {
    SGD: {"lr": 0.25, "momentum": 0.5, "weight_decay": 0.125},
    Adam: {"lr": 0.25, "weight_decay": 0.125},
    AdamW: {"lr": 0.25, "weight_decay": 0.125},
}

# By key: the ends of the ramp, and its values in the 8 steps.
RAMPS: dict[str, tuple[float, float, list[float]]] = {
    "lr": (0.5, 0.0, [0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625]),
    "weight_decay": (0.0, 1.0, [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]),
    "momentum": (0.0, 1.0, [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]),
    "betas.0": (1 / 2, 0.0, [0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625]),
    "betas.1": (1 / 2, 0.0, [0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625]),
    "eps": (1.0, 0.0, [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
}
KEYS = {
    SGD: ("lr", "weight_decay", "momentum"),
    Adam: ("lr", "weight_decay", "betas.0", "betas.1", "eps"),
    AdamW: ("lr", "weight_decay", "betas.0", "betas.1", "eps"),
}
EVERY = [(cls, mode, key) for cls, mode in product(OPTIONS, MODES) for key in KEYS[cls]]


@pytest.mark.parametrize(
    ("cls", "mode", "key"), EVERY, ids=[f"{cls.__name__}-{mode}-{key}" for cls, mode, key in EVERY]
)
def test_beside_a_plain_loop(tmp_path: Path, cls: Any, mode: str, key: str) -> None:
    options = {**OPTIONS[cls], **MODES[mode]}
    start, end, values = RAMPS[key]
    path = f"optimizer.param_groups.0.{key}"
    seen = fit(tmp_path, Weights(lambda weights: cls(weights, **options)), {path: ramp(start, end)})
    assert seen == loop(cls([weight()], **options), {key: values})
    # And it does something.
    assert seen != loop(cls([weight()], **options), {})


# -- by hand -----------------------------------------------------------------------------------------------------------

# Options, what is annealed, the gradient, and the weight before each step and at the end.
HAND: dict[str, tuple[Any, dict[str, Any], dict[str, Any], float, list[float]]] = {
    # w -= lr / 2, and the lr falls by 1/16 at every step.
    "SGD lr": (SGD, {"lr": 0.1}, {"lr": ramp(0.5, 0.0)}, SLOPE,
        [1, 0.75, 0.53125, 0.34375, 0.1875, 0.0625, -0.03125, -0.09375, -0.125]),
    # The same by epoch: 1/2 in the first one, 1/4 in the second.
    "SGD lr by epoch": (SGD, {"lr": 0.1}, {"lr": {"strategy": "scheduled", "schedule": {0: 0.5, 1: 0.25}}}, SLOPE,
        [1, 0.75, 0.5, 0.25, 0, -0.125, -0.25, -0.375, -0.5]),
    "SGD lr every fourth step": (SGD, {"lr": 0.1}, {"lr": ramp(0.5, 0.0, frequency=4)}, SLOPE,
        [1, 0.75, 0.5, 0.25, 0, -0.125, -0.25, -0.375, -0.5]),
    # The gradient is 0: w *= 1 - wd / 2, and wd is 0, 0, 0, 0, 1, 1, 1, 1.
    "SGD weight_decay": (SGD, {"lr": 0.5}, {"weight_decay": {"strategy": "scheduled", "schedule": {0: 0, 1: 1}}}, 0.0,
        [1, 1, 1, 1, 1, 0.5, 0.25, 0.125, 0.0625]),
    # v = m * v + 1/2 and w -= v / 4, with m = 0 in the first epoch and 1 in the second: v = 1/2, then 1, 3/2, 2, 5/2.
    "SGD momentum": (SGD, {"lr": 0.25, "momentum": 0.5}, {"momentum": {"strategy": "scheduled", "schedule": {0: 0, 1: 1}}}, SLOPE,
        # With a momentum of 0 torch keeps no v: it is 1/2 again at the first step of the second epoch.
        [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.125, -0.25, -0.75]),
    # Decoupled: w *= 1 - lr * wd, whatever the gradient, which is 0.
    "AdamW weight_decay": (AdamW, {"lr": 0.5}, {"weight_decay": {"strategy": "scheduled", "schedule": {0: 0, 1: 1}}}, 0.0,
        [1, 1, 1, 1, 1, 0.5, 0.25, 0.125, 0.0625]),
    "AdamW lr of the decay": (AdamW, {"lr": 0.1, "weight_decay": 1.0}, {"lr": {"strategy": "scheduled", "schedule": {0: 0, 1: 0.5}}}, 0.0,
        [1, 1, 1, 1, 1, 0.5, 0.25, 0.125, 0.0625]),
    # A constant gradient g is mean and root of the mean square at once: w -= lr * g / (g + eps).
    "Adam lr": (Adam, {"lr": 0.1, "eps": 0.0}, {"lr": ramp(0.5, 0.0)}, SLOPE,
        [1, 0.5, 0.0625, -0.3125, -0.625, -0.875, -1.0625, -1.1875, -1.25]),
    "AdamW lr": (AdamW, {"lr": 0.1, "eps": 0.0, "weight_decay": 0.0}, {"lr": ramp(0.5, 0.0)}, SLOPE,
        [1, 0.5, 0.0625, -0.3125, -0.625, -0.875, -1.0625, -1.1875, -1.25]),
    # eps is 1/2, as g is: a half of the lr, which is 1/4; and then all of it.
    "Adam eps": (Adam, {"lr": 0.25}, {"eps": {"strategy": "scheduled", "schedule": {0: 0.5, 1: 0}}}, SLOPE,
        [1, 0.875, 0.75, 0.625, 0.5, 0.25, 0, -0.25, -0.5]),
}  # fmt: skip
BY_HAND = list(product(HAND, MODES))


@pytest.mark.parametrize(("case", "mode"), BY_HAND)
def test_by_hand(tmp_path: Path, case: str, mode: str) -> None:
    cls, options, annealed, slope, expected = HAND[case]
    params = {f"optimizer.param_groups.0.{key}": settings for key, settings in annealed.items()}
    module = Weights(lambda weights: cls(weights, **options, **MODES[mode]), slope=slope)
    seen = [value for (value,) in fit(tmp_path, module, params)]
    assert seen == (expected if cls is SGD else pytest.approx(expected, abs=1e-5))


@pytest.mark.parametrize("mode", ["plain", "fused"])
@pytest.mark.parametrize("cls", [SGD, Adam])
def test_a_rate_in_a_tensor_is_filled_in_place(tmp_path: Path, cls: Any, mode: str) -> None:
    rate = torch.tensor(0.25)
    module = Weights(lambda weights: cls(weights, lr=rate, **MODES[mode]))
    seen = fit(tmp_path, module, {"optimizer.param_groups.0.lr": ramp(0.5, 0.0)})
    assert seen == loop(cls([weight()], lr=0.25, **MODES[mode]), {"lr": RAMPS["lr"][2]})
    assert module.trainer.optimizers[0].param_groups[0]["lr"] is rate
    assert rate.item() == 0.0625


def test_accumulated_gradients_count_as_one_step(tmp_path: Path) -> None:
    module = Weights(lambda weights: SGD(weights, lr=0.1))
    params = {"optimizer.param_groups.0.lr": {**ramp(0.5, 0.25), "total_steps": 4}}
    fit(tmp_path, module, params, accumulate_grad_batches=2)
    # Of two batches each: 1/2, 7/16, 3/8, 5/16, times 1/2.
    assert [value for (value,) in module.seen[1::2]] == [1, 0.75, 0.53125, 0.34375]
    assert module.now == [0.1875]


# -- two groups --------------------------------------------------------------------------------------------------------


def two_groups(weights: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [{"params": weights[:1], "lr": 0.5}, {"params": weights[1:], "lr": 0.25, "name": "head"}]


DOWN = [0.5, 0.4375, 0.375, 0.3125, 0.25, 0.1875, 0.125, 0.0625]
HALF = [0.25, 0.21875, 0.1875, 0.15625, 0.125, 0.09375, 0.0625, 0.03125]

# What is annealed, and the values that the loop puts into the groups.
GROUPS: dict[str, tuple[dict[str, Any], dict[str, list[float]]]] = {
    "each from its own start": ({"param_groups.*.lr": ramp(None, 0.0)}, {"0/lr": DOWN, "1/lr": HALF}),
    "all from one start": ({"param_groups.*.lr": ramp(0.5, 0.0)}, {"0/lr": DOWN, "1/lr": DOWN}),
    "the second one": ({"param_groups.1.lr": ramp(0.5, 0.0)}, {"1/lr": DOWN}),
    "by name": ({"param_groups.head.weight_decay": ramp(0.5, 0.0)}, {"1/weight_decay": DOWN}),
    "one key in each": (
        {"param_groups.0.weight_decay": ramp(0.5, 0.0), "param_groups.1.momentum": ramp(0.25, 0.0)},
        {"0/weight_decay": DOWN, "1/momentum": HALF},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GROUPS)
def test_two_groups(tmp_path: Path, case: str) -> None:
    annealed, values = GROUPS[case]
    module = Weights(lambda weights: SGD(two_groups(weights), momentum=0.5), 2)
    seen = fit(tmp_path, module, {f"optimizer.{path}": settings for path, settings in annealed.items()})
    assert seen == loop(SGD(two_groups([weight(), weight()]), momentum=0.5), values)


# -- two optimizers in manual optimization -----------------------------------------------------------------------------


def two_optimizers(weights: list[nn.Parameter]) -> list[Optimizer]:
    return [SGD(weights[:1], lr=0.25), SGD(weights[1:], lr=0.25, momentum=0.5)]


# What is annealed, and the two weights before each batch and at the end. The second optimizer makes steps 1, 3, 5, 7.
TWO: dict[str, tuple[dict[str, Any], list[float], list[float]]] = {
    "lr of the first": (
        {"optimizers.0.param_groups.0.lr": ramp(0.5, 0.0)},
        [1, 0.75, 0.53125, 0.34375, 0.1875, 0.0625, -0.03125, -0.09375, -0.125],
        # v = v / 2 + 1/2 and w -= v / 4: 1/2, 3/4, 7/8, 15/16.
        [1, 1, 0.875, 0.875, 0.6875, 0.6875, 0.46875, 0.46875, 0.234375],
    ),
    "lr of the second": (
        {"optimizers.1.param_groups.0.lr": {"strategy": "scheduled", "schedule": {0: 0.25, 1: 0}}},
        [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0],
        [1, 1, 0.875, 0.875, 0.6875, 0.6875, 0.6875, 0.6875, 0.6875],
    ),
    "momentum of the second, by step": (
        {"optimizers.1.param_groups.0.momentum": ramp(0.0, 1.0)},
        [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0],
        # v = m * v + 1/2 with m = 1/8, 3/8, 5/8, 7/8: 1/2, 11/16, 119/128, 1345/1024.
        [1, 1, 0.875, 0.875, 0.703125, 0.703125, 0.470703125, 0.470703125, 0.142333984375],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TWO)
def test_two_optimizers_in_manual_optimization(tmp_path: Path, case: str) -> None:
    annealed, first, second = TWO[case]
    assert fit(tmp_path, ByHand(two_optimizers), annealed) == [list(pair) for pair in zip(first, second, strict=True)]


def test_with_two_optimizers_the_number_is_asked_for(tmp_path: Path) -> None:
    module = ByHand(two_optimizers)
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, module, {"optimizer.param_groups.0.lr": ramp(0.5, 0.0)})
    assert str(error.value) == (
        "optimizer.param_groups.0.lr: there are 2 optimizers; write optimizers.N.param_groups.0.lr"
    )
    assert (module.seen, module.now) == ([], [1.0, 1.0])


# -- LR schedulers -----------------------------------------------------------------------------------------------------


def sgd(weights: list[nn.Parameter], lr: float = 0.25) -> SGD:
    return SGD(weights, lr=lr, momentum=0.5)


def adam(weights: list[nn.Parameter]) -> Adam:
    return Adam(weights, lr=0.25)


def one_cycle(optimizer: Optimizer, **options: Any) -> Any:
    return lrs.OneCycleLR(optimizer, max_lr=0.5, total_steps=20, **options)


def cyclic(optimizer: Optimizer, **options: Any) -> Any:
    return lrs.CyclicLR(optimizer, base_lr=0.1, max_lr=0.5, **options)


def sequential(optimizer: Optimizer, second: Callable[[Any], Any] = lambda o: lrs.ExponentialLR(o, 0.5)) -> Any:
    return lrs.SequentialLR(optimizer, [lrs.ConstantLR(optimizer), second(optimizer)], milestones=[4])


def chained(optimizer: Optimizer, second: Callable[[Any], Any] = lambda o: lrs.ExponentialLR(o, 0.5)) -> Any:
    return lrs.ChainedScheduler([lrs.ConstantLR(optimizer), second(optimizer)], optimizer)


Make = Callable[[Any], Any]

# By scheduler: what makes it, and what it is called.
SCHEDULERS: dict[str, tuple[Make, str]] = {
    "LambdaLR": (lambda o: lrs.LambdaLR(o, lambda t: 0.5**t), "LambdaLR"),
    "MultiplicativeLR": (lambda o: lrs.MultiplicativeLR(o, lambda t: 0.5), "MultiplicativeLR"),
    "StepLR": (lambda o: lrs.StepLR(o, 2), "StepLR"),
    "MultiStepLR": (lambda o: lrs.MultiStepLR(o, [2]), "MultiStepLR"),
    "ConstantLR": (lrs.ConstantLR, "ConstantLR"),
    "LinearLR": (lrs.LinearLR, "LinearLR"),
    "ExponentialLR": (lambda o: lrs.ExponentialLR(o, 0.5), "ExponentialLR"),
    "CosineAnnealingLR": (lambda o: lrs.CosineAnnealingLR(o, 8), "CosineAnnealingLR"),
    "CosineAnnealingWarmRestarts": (lambda o: lrs.CosineAnnealingWarmRestarts(o, 4), "CosineAnnealingWarmRestarts"),
    "PolynomialLR": (lrs.PolynomialLR, "PolynomialLR"),
    "CyclicLR": (cyclic, "CyclicLR"),
    "OneCycleLR": (one_cycle, "OneCycleLR"),
    "OneCycleLR without momentum": (lambda o: one_cycle(o, cycle_momentum=False), "OneCycleLR"),
    "SequentialLR": (sequential, "SequentialLR"),
    "ChainedScheduler": (chained, "ChainedScheduler"),
    "SWALR": (lambda o: SWALR(o, swa_lr=0.1), "SWALR"),
    "LinearWarmupCosineAnnealingLR": (lambda o: LinearWarmupCosineAnnealingLR(o, 2, 8), "LinearWarmupCosineAnnealingLR"),
    # A scheduler that is stepped now and then goes by the name of the one inside.
    "GatedLR": (lambda o: GatedLR(lrs.ExponentialLR(o, 0.5), every=2), "ExponentialLR"),
    "GatedLR of a SequentialLR": (lambda o: GatedLR(sequential(o), every=2), "SequentialLR"),
}  # fmt: skip

# By name: the scheduler of a config, and what it is called.
CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "torch's": ({"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 2}}, "StepLR"),
    "every second step": (
        {"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 2}, "scheduler_configs": {"interval": "step", "frequency": 2}},
        "StepLR",
    ),
    "Hugging Face's": ({"scheduler": "cosine", "scheduler_configs": {"interval": "step"}}, "cosine"),
    "a schedule": ({"scheduler": "Sigmoid", "scheduler_kwargs": {"end": 0.5}}, "Sigmoid"),
    "a warm-up before a plateau": (
        {
            "scheduler": "SequentialLR",
            "scheduler_kwargs": {"schedulers": [{"scheduler": "LinearLR"}, {"scheduler": "ReduceLROnPlateau"}], "milestones": [1]},
            "scheduler_configs": {"monitor": "train_loss"},
        },
        "LinearLR",
    ),
}  # fmt: skip


def with_scheduler(make: Make, of: Callable[[Any], Optimizer] = sgd) -> Callable[[Any], Any]:
    """What ``configure_optimizers`` returns: the scheduler is stepped at every step."""

    def configure(weights: list[nn.Parameter]) -> Any:
        optimizer = of(weights)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": make(optimizer), "interval": "step"}}

    return configure


def refused(folder: Path, module: Weights, path: str, owner: str) -> None:
    """The one line, the weights untouched, and the optimizer as it was made."""
    made: list[Any] = []
    make = module.configure_optimizers

    def noted() -> Any:
        made.append(make())
        return made[-1]

    module.configure_optimizers = noted
    other = {"optimizer.param_groups.0.weight_decay": ramp(0.5, 0.0)}
    with pytest.raises(AnnealError) as error:
        fit(folder, module, {**other, path: ramp(0.5, 0.0)})
    assert str(error.value) == f"{path}: owned by {owner}; anneal another key or drop that scheduler"
    assert (module.seen, set(module.now), len(made)) == ([], {1.0}, 1)
    [group] = module.trainer.optimizers[0].param_groups
    assert group["weight_decay"] == 0


@pytest.mark.parametrize("group", ["0", "*"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_owns_the_rate(tmp_path: Path, name: str, group: str) -> None:
    make, owner = SCHEDULERS[name]
    refused(tmp_path, Weights(with_scheduler(make)), f"optimizer.param_groups.{group}.lr", owner)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_scheduler_from_config_owns_the_rate(tmp_path: Path, name: str) -> None:
    config, owner = CONFIGS[name]

    class Configured(Weights):
        def configure_optimizers(self) -> Any:
            return configure_optimizers(self, optimizer="SGD", learning_rate=0.25, **config)

    refused(tmp_path, Configured(lambda weights: None), "optimizer.param_groups.0.lr", owner)


def test_a_plateau_scheduler_owns_the_rate(tmp_path: Path) -> None:
    def configure(weights: list[nn.Parameter]) -> Any:
        optimizer = sgd(weights)
        return {"optimizer": optimizer, "lr_scheduler": lrs.ReduceLROnPlateau(optimizer), "monitor": "loss"}

    refused(tmp_path, Weights(configure), "optimizer.param_groups.0.lr", "ReduceLROnPlateau")


MOMENTA: dict[str, tuple[Callable[[Any], Optimizer], Make, str, str]] = {
    "OneCycleLR, momentum": (sgd, one_cycle, "momentum", "OneCycleLR"),
    "OneCycleLR, betas.0": (adam, one_cycle, "betas.0", "OneCycleLR"),
    "OneCycleLR, betas.1": (adam, one_cycle, "betas.1", "OneCycleLR"),
    "CyclicLR, momentum": (sgd, cyclic, "momentum", "CyclicLR"),
    "CyclicLR, betas.0": (adam, cyclic, "betas.0", "CyclicLR"),
    "in a SequentialLR": (sgd, lambda o: sequential(o, one_cycle), "momentum", "SequentialLR"),
    "in a ChainedScheduler": (sgd, lambda o: chained(o, cyclic), "momentum", "ChainedScheduler"),
    "in a GatedLR": (adam, lambda o: GatedLR(one_cycle(o), every=2), "betas.0", "OneCycleLR"),
    "in a chain in a GatedLR": (sgd, lambda o: GatedLR(chained(o, cyclic)), "momentum", "ChainedScheduler"),
}  # fmt: skip


@pytest.mark.parametrize("case", MOMENTA)
def test_a_scheduler_owns_the_momentum(tmp_path: Path, case: str) -> None:
    of, make, key, owner = MOMENTA[case]
    refused(tmp_path, Weights(with_scheduler(make, of)), f"optimizer.param_groups.0.{key}", owner)


# What a scheduler doesn't own: optimizer, scheduler, key.
ALONG: dict[str, tuple[Callable[[Any], Optimizer], Make, str]] = {
    "StepLR, weight_decay": (sgd, lambda o: lrs.StepLR(o, 2, 0.5), "weight_decay"),
    "StepLR, momentum": (sgd, lambda o: lrs.StepLR(o, 2, 0.5), "momentum"),
    "LambdaLR, betas.0": (adam, lambda o: lrs.LambdaLR(o, lambda t: 0.5**t), "betas.0"),
    "OneCycleLR, weight_decay": (sgd, one_cycle, "weight_decay"),
    "OneCycleLR without momentum, momentum": (sgd, lambda o: one_cycle(o, cycle_momentum=False), "momentum"),
    "OneCycleLR without momentum, betas.1": (adam, lambda o: one_cycle(o, cycle_momentum=False), "betas.1"),
    "CyclicLR without momentum, momentum": (sgd, lambda o: cyclic(o, cycle_momentum=False), "momentum"),
    "SequentialLR, weight_decay": (sgd, sequential, "weight_decay"),
    "ChainedScheduler, momentum": (sgd, chained, "momentum"),
    "GatedLR, momentum": (sgd, lambda o: GatedLR(lrs.ExponentialLR(o, 0.5), every=2), "momentum"),
    "LinearWarmupCosineAnnealingLR, eps": (adam, lambda o: LinearWarmupCosineAnnealingLR(o, 2, 8), "eps"),
}  # fmt: skip


@pytest.mark.parametrize("case", ALONG)
def test_a_key_that_nobody_owns_anneals_along(tmp_path: Path, case: str) -> None:
    of, make, key = ALONG[case]
    start, end, values = RAMPS[key]
    path = f"optimizer.param_groups.0.{key}"
    seen = fit(tmp_path, Weights(with_scheduler(make, of)), {path: ramp(start, end)})
    optimizer = of([weight()])
    assert seen == loop(optimizer, {key: values}, make(optimizer))
    # The scheduler did something, too.
    assert seen != loop(of([weight()]), {key: values})


def test_the_rate_of_the_other_optimizer_anneals(tmp_path: Path) -> None:
    def configure(weights: list[nn.Parameter]) -> Any:
        first, second = two_optimizers(weights)
        return [first, second], [lrs.StepLR(first, 1)]

    path = "optimizers.1.param_groups.0.lr"
    _, first, second = TWO["lr of the second"]
    seen = fit(tmp_path, ByHand(configure), {path: TWO["lr of the second"][0][path]})
    # In manual optimization nobody steps the scheduler.
    assert seen == [list(pair) for pair in zip(first, second, strict=True)]
    with pytest.raises(AnnealError, match=r"^optimizers\.0\.param_groups\.0\.lr: owned by StepLR; "):
        fit(tmp_path, ByHand(configure), {"optimizers.0.param_groups.0.lr": ramp(0.5, 0.0)})


def every_scheduler_of_torch() -> Iterator[str]:
    for name, cls in vars(lrs).items():
        if isinstance(cls, type) and issubclass(cls, lrs.LRScheduler) and not name.startswith("_"):
            yield name


def test_every_scheduler_of_torch_is_here() -> None:
    assert set(every_scheduler_of_torch()) - {"LRScheduler", "ReduceLROnPlateau"} <= {o for _, o in SCHEDULERS.values()}
