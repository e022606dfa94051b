"""LR schedulers that are stepped only some of the time, and a ReduceLROnPlateau behind a warm-up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import ConstantLR, ExponentialLR, LinearLR, LRScheduler, ReduceLROnPlateau

from lightning_anneal import AnnealError, build_lr_scheduler
from lightning_anneal.clock import Horizon
from lightning_anneal.optim.gate import GatedLR, PlateauAfterWarmup
from lightning_anneal.optim.lengths import Timing
from lightning_anneal.optim.schedulers import build_with_plateau
from lightning_anneal.optim.specs import read_spec
from tests.optim.runs import first_rates, optimizer, resumed, run, settings


def halving(every: int = 1, until: int | None = None) -> GatedLR:
    return GatedLR(ExponentialLR(optimizer(1.0, 0.5), gamma=0.5), every, until)


@pytest.mark.parametrize(
    ("every", "until", "rates"),
    [
        (1, None, [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625]),
        (3, None, [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]),
        (1, 2, [1.0, 0.5, 0.25, 0.25, 0.25, 0.25, 0.25]),
        (2, 4, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25]),
        (2, 5, [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.25]),
        (10, None, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_every_n_th_step_until_its_time_is_over(every: int, until: int | None, rates: list[float]) -> None:
    assert run(halving(every, until), 7) == [(rate, rate / 2) for rate in rates]


def test_it_has_what_others_ask_an_lr_scheduler_for() -> None:
    gated = halving(2)
    assert isinstance(gated, LRScheduler)
    assert gated.optimizer is gated.inner.optimizer
    assert gated.get_last_lr() == gated.get_lr() == [1.0, 0.5]
    run(gated, 2)
    assert gated.get_last_lr() == gated.get_lr() == [0.5, 0.25]


def test_building_it_changes_no_rate() -> None:
    made = optimizer(1.0)
    inner = LinearLR(made, 0.25, total_iters=3)
    GatedLR(inner, 3)
    assert made.param_groups[0]["lr"] == 0.25


def test_past_is_when_something_was_trained_since() -> None:
    gated = halving(until=2)
    past = []
    for _ in range(4):
        past.append(gated.past)
        run(gated, 1)
    assert past == [False, False, False, True]
    endless = halving()
    run(endless, 4)
    assert not endless.past


GATED: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 2}),
    ("CosineAnnealingLR", {"T_max": 4}),
    ("OneCycleLR", {"total_steps": 9, "cycle_momentum": False}),
    ("cosine", {"warmup_steps": 2, "num_training_steps": 8}),
    ("Cyclical", {"period": 5, "low": 0.1, "high": 1.0}),
    (
        "SequentialLR",
        {"schedulers": [{"scheduler": "LinearLR"}, {"scheduler": "ExponentialLR", "gamma": 0.9}], "milestones": [3]},
    ),
]


def gated(name: str, kwargs: dict[str, Any], every: int, until: int | None) -> GatedLR:
    return GatedLR(build_lr_scheduler(optimizer(0.4, 0.2), name, scheduler_kwargs=kwargs), every, until)


@pytest.mark.parametrize("after", [0, 1, 5, 6, 14])
@pytest.mark.parametrize(("every", "until"), [(1, None), (3, None), (2, 11)])
@pytest.mark.parametrize(("name", "kwargs"), GATED, ids=[name for name, _ in GATED])
def test_a_resume_is_exact(
    name: str, kwargs: dict[str, Any], every: int, until: int | None, after: int, tmp_path: Path
) -> None:
    steps = 9 if every == 1 else 16
    after = min(after, steps)
    whole = run(gated(name, kwargs, every, until), steps)
    rates = resumed(tmp_path / "state", lambda: gated(name, kwargs, every, until), after, steps)
    assert rates == whole[after:]


def behind_warmup(made: Any = None, **kwargs: Any) -> tuple[GatedLR, PlateauAfterWarmup]:
    made = optimizer(1.0, 0.5) if made is None else made
    warmup = GatedLR(LinearLR(made, 0.25, total_iters=3), until=3)
    return warmup, PlateauAfterWarmup(warmup, factor=0.5, patience=0, **kwargs)


def train(pair: tuple[GatedLR, PlateauAfterWarmup], losses: list[float]) -> list[float]:
    """The rate of the first group in each epoch; each has one step, and then its loss is looked at."""
    warmup, plateau = pair
    rates = []
    for loss in losses:
        rates.append(float(warmup.optimizer.param_groups[0]["lr"]))
        warmup.optimizer.step()
        warmup.step()
        plateau.step(loss)
    return rates


def test_nothing_is_looked_at_before_the_warmup_is_over() -> None:
    # The losses of the first three epochs are the lowest and count for nothing; that of the fourth is the first.
    losses = [0.1, 0.2, 0.3, 5.0, 4.0, 4.5, 4.5, 3.0]
    assert train(behind_warmup(), losses) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.25]


def test_afterwards_it_is_torchs() -> None:
    losses = [3.0, 2.0, 1.0, 9.0, 8.0, 8.5, 8.5, 7.0, 7.5, 7.5, 7.5, 6.0]
    ours = train(behind_warmup(cooldown=1, min_lr=0.01), losses)
    torchs = ReduceLROnPlateau(optimizer(1.0, 0.5), factor=0.5, patience=0, cooldown=1, min_lr=0.01)
    rates = []
    for loss in losses[3:]:
        rates.append(torchs.optimizer.param_groups[0]["lr"])
        torchs.step(loss)
    assert ours[3:] == rates


def test_losses_in_tensors() -> None:
    losses: list[Any] = [torch.tensor(loss) for loss in (1.0, 1.0, 1.0, 4.0, 5.0, 3.0)]
    assert train(behind_warmup(), losses) == [0.25, 0.5, 0.75, 1.0, 1.0, 0.5]


@pytest.mark.parametrize("after", [0, 2, 3, 4, 7])
def test_a_resume_of_both_is_exact(after: int, tmp_path: Path) -> None:
    losses = [3.0, 2.0, 1.0, 9.0, 8.0, 8.5, 8.5, 7.0, 7.5, 7.5]
    whole = train(behind_warmup(cooldown=1), losses)
    assert len(set(whole[3:])) > 1
    first = behind_warmup(cooldown=1)
    train(first, losses[:after])
    states = [first[0].optimizer.state_dict(), *(each.state_dict() for each in first)]
    torch.save(states, tmp_path / "state")
    states = torch.load(tmp_path / "state", weights_only=True)
    second = behind_warmup(cooldown=1)
    for each, state in zip((second[0].optimizer, *second), states, strict=True):
        each.load_state_dict(state)
    assert train(second, losses[after:]) == whole[after:]


def test_the_state_is_torchs_without_the_warmup() -> None:
    _, ours = behind_warmup()
    assert set(ours.state_dict()) == set(ReduceLROnPlateau(optimizer(1.0)).state_dict())


def from_config(made: Any, schedulers: list[Any], milestones: list[Any], **run: Any) -> Any:
    kwargs = {"schedulers": schedulers, "milestones": milestones}
    timing = Timing("epoch", 1, Horizon(**run))
    return build_with_plateau(made, read_spec("scheduler", "SequentialLR", "scheduler_kwargs", kwargs), timing)


PLATEAU = {"scheduler": "reduce_lr_on_plateau", "factor": "0.5", "patience": 0}


def test_a_warmup_and_a_plateau_from_config() -> None:
    warmup = {"scheduler": "LinearLR", "start_factor": 0.25, "total_iters": 3}
    pair = from_config(optimizer(1.0, 0.5), [warmup, PLATEAU], [3])
    losses = [0.1, 0.2, 0.3, 5.0, 4.0, 4.5, 4.5, 3.0]
    assert train(pair, losses) == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.25]


def test_the_warmup_has_the_stretch_up_to_the_plateau() -> None:
    parts = [{"scheduler": "linear", "warmup_ratio": 0.5}, PLATEAU]
    pair = from_config(optimizer(1.0), parts, ["40%"], max_epochs=10)
    assert train(pair, [1.0, 1.0, 1.0, 1.0, 4.0, 5.0, 5.0]) == [0.0, 0.5, 1.0, 0.5, 0.0, 0.0, 0.0]


def test_two_schedulers_before_the_plateau() -> None:
    parts = [
        {"scheduler": "ConstantLR", "factor": 0.5, "total_iters": 9},
        {"scheduler": "ExponentialLR", "gamma": 0.5},
        PLATEAU,
    ]
    pair = from_config(optimizer(1.0), parts, [2, 4])
    assert train(pair, [1.0, 1.0, 1.0, 1.0, 4.0, 3.0, 3.5, 3.5]) == [0.5, 0.5, 1.0, 0.5, 0.25, 0.25, 0.25, 0.125]


@pytest.mark.parametrize(
    ("schedulers", "milestones", "message"),
    [
        ([{"scheduler": "ConstantLR"}, PLATEAU], [3, 5], "scheduler_kwargs.milestones: 2 for 2 schedulers; give 1, where each but the first begins"),
        ([{"scheduler": "StepLR"}, PLATEAU], [3], "scheduler_kwargs.schedulers.0.step_size: missing; StepLR takes step_size, gamma"),
        ([{"scheduler": "ConstantLR"}, {**PLATEAU, "factor": 2}], [3], "scheduler_kwargs.schedulers.1: ReduceLROnPlateau: Factor should be < 1.0."),
        ([{"scheduler": "ConstantLR"}, {**PLATEAU, "patienc": 2}], [3], "scheduler_kwargs.schedulers.1: ReduceLROnPlateau takes no 'patienc'; did you mean 'patience'? ReduceLROnPlateau takes mode, factor, patience, threshold, threshold_mode, cooldown, min_lr, eps"),
        ([{"scheduler": "ConstantLR"}, PLATEAU], ["20%"], "scheduler_kwargs.milestones: '20%' needs the length of the run, which is not known; give a number of epochs"),
    ],
)  # fmt: skip
def test_what_a_plateau_behind_a_warmup_can_not_be(schedulers: list[Any], milestones: list[Any], message: str) -> None:
    made = optimizer(1.0, 0.5)
    before = settings(made)
    with pytest.raises(AnnealError) as error:
        from_config(made, schedulers, milestones)
    assert str(error.value) == message
    assert settings(made) == before


def test_without_lightning_they_are_two() -> None:
    kwargs = {"schedulers": [{"scheduler": "ConstantLR"}, PLATEAU], "milestones": [3]}
    made = optimizer(1.0)
    with pytest.raises(AnnealError) as error:
        build_lr_scheduler(made, "SequentialLR", scheduler_kwargs=kwargs)
    assert str(error.value) == (
        "scheduler: a warm-up and a ReduceLROnPlateau are two schedulers; take configure_optimizers, or build each"
    )
    assert first_rates(ConstantLR(made, 0.5, 1), 2) == [0.5, 1.0]
