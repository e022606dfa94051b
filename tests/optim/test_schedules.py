"""LR schedulers in closed form, value by value, and through a checkpoint."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from lightning_anneal import AnnealError, Cyclical, Linear, WarmRestart
from lightning_anneal.optim.schedules import LinearWarmupCosineAnnealingLR, ScheduleLR


def optimizer(*rates: float, cls: Any = SGD, **options: Any) -> Any:
    return cls([{"params": [nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates], **options)


def run(scheduler: Any, steps: int) -> list[tuple[float, ...]]:
    rates = []
    for _ in range(steps):
        rates.append(tuple(float(group["lr"]) for group in scheduler.optimizer.param_groups))
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def test_warmup_and_cosine() -> None:
    scheduler = LinearWarmupCosineAnnealingLR(optimizer(1.0, 0.5), 4, 8, warmup_start_lr=0.2, eta_min=0.1)
    rates = run(scheduler, 11)
    assert [round(first, 12) for first, _ in rates] == [
        *(0.2, 0.4, 0.6, 0.8, 1.0),  # each value once
        *(round(0.1 + 0.9 * x, 12) for x in (0.8535533905932737, 0.5, 0.1464466094067263)),
        *(0.1, 0.1, 0.1),
    ]
    assert [round(second, 12) for _, second in rates[:5]] == [0.2, 0.275, 0.35, 0.425, 0.5]
    assert rates[8:] == [(0.1, 0.1)] * 3


def test_without_a_warmup_it_is_torchs_cosine() -> None:
    ours = run(LinearWarmupCosineAnnealingLR(optimizer(0.3), 0, 10, eta_min=0.01), 11)
    torchs = run(CosineAnnealingLR(optimizer(0.3), 10, eta_min=0.01), 11)
    assert ours[0] == (0.3,)
    assert [a for (a,) in ours] == pytest.approx([a for (a,) in torchs], rel=1e-12)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        (Linear(1.0, 0.0, 2), [0.5, 0.25, 0.0, 0.0]),
        (Cyclical(2, 0.0, 1.0, "triangle"), [0.0, 0.5, 0.0, 0.5]),
        (WarmRestart(Linear(1.0, 0.5, 1), 2), [0.5, 0.25, 0.5, 0.25]),
        (lambda t: 1.0 if t < 2 else 0.5, [0.5, 0.5, 0.25, 0.25]),
    ],
)
def test_any_schedule_is_a_factor(schedule: Any, rates: list[float]) -> None:
    assert [a for (a,) in run(ScheduleLR(optimizer(0.5), schedule), 4)] == rates


MAKERS = [
    lambda optimizer: LinearWarmupCosineAnnealingLR(optimizer, 3, 9, eta_min=1e-3),
    lambda optimizer: ScheduleLR(optimizer, Cyclical(5, 0.1, 1.0)),
]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("after", [0, 1, 4, 10])
def test_a_resume_is_exact(make: Any, after: int, tmp_path: Any) -> None:
    whole = run(make(optimizer(0.3, 0.1)), 14)
    first = make(optimizer(0.3, 0.1))
    run(first, after)
    torch.save({"scheduler": first.state_dict(), "optimizer": first.optimizer.state_dict()}, tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)
    second = make(optimizer(0.3, 0.1))
    second.optimizer.load_state_dict(state["optimizer"])
    second.load_state_dict(state["scheduler"])
    assert run(second, 14 - after) == whole[after:]


@pytest.mark.parametrize("options", [{}, {"foreach": True}, {"fused": True}])
@pytest.mark.parametrize("cls", [SGD, AdamW])
def test_kinds_of_optimizers(cls: Any, options: dict[str, Any]) -> None:
    scheduler = LinearWarmupCosineAnnealingLR(optimizer(0.5, cls=cls, **options), 1, 3)
    assert run(scheduler, 5) == [(0.0,), (0.5,), (0.25,), (0.0,), (0.0,)]


def test_a_rate_in_a_tensor_is_filled() -> None:
    adam = AdamW([nn.Parameter(torch.ones(1))], lr=torch.tensor(0.5), capturable=False, foreach=False)
    rate = adam.param_groups[0]["lr"]
    scheduler = LinearWarmupCosineAnnealingLR(adam, 1, 3)
    assert run(scheduler, 3) == [(0.0,), (0.5,), (0.25,)]
    assert adam.param_groups[0]["lr"] is rate


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 5), "warmup_epochs: must be below max_epochs (5), got 5"),
        ((-1, 5), "warmup_epochs: must not be negative, got -1"),
        ((1, 0), "max_epochs: must be positive, got 0"),
        ((1, 5, -0.1), "warmup_start_lr: must not be negative, got -0.1"),
        ((1, 5, 0.0, "low"), "eta_min: must be a number, got 'low'"),
    ],
)
def test_refused(arguments: tuple[Any, ...], message: str) -> None:
    sgd = optimizer(0.5)
    with pytest.raises(AnnealError) as error:
        LinearWarmupCosineAnnealingLR(sgd, *arguments)
    assert str(error.value) == message
    assert sgd.param_groups[0]["lr"] == 0.5


def test_what_is_no_schedule() -> None:
    with pytest.raises(AnnealError, match="must be a schedule or a callable of t, got 3"):
        ScheduleLR(optimizer(0.5), 3)
