"""What a preview shows of phases, and of what follows them, is what a real run does."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from lightning_anneal import HyperparamAnnealingCallback
from lightning_anneal.preview.planned import Preview
from tests.phased import by_step, linear, phase
from tests.preview.runs import BATCHES, Watched, fitted

LOSSES = [4.0, 3.0, 2.0, 1.5, 1.0, 1.0, 1.0, 1.0]
EPOCHS = len(LOSSES)
BELOW = {"trigger": "metric_below", "monitor": "val_loss", "threshold": 2.5}
STALLED = {"trigger": "metric_plateau", "monitor": "val_loss", "patience": 1}
STARTS: dict[str, Any] = {
    "beta": 0.5,
    "temp": 1.0,
    "third": 0.0,
    "width": 2,
    "flag": False,
    "plain": 0.0,
    "twice": 0.0,
    "half": 0.0,
    "stepped": 0.0,
    "slow": 0.0,
    "second": 0.0,
    "behind": 0.0,
    "behind_second": 0.0,
}
PARAMS: dict[str, Any] = {
    "plain": {"strategy": "linear", "start_value": 0.0, "end_value": 7.0},
    "twice": {"strategy": "follow", "other": "beta", "scale": 2.0},
    "half": {"strategy": "follow", "other": "temp", "scale": 0.5},
    "stepped": {"strategy": "follow", "other": "temp", "interval": "epoch", "offset": 1.0},
    "slow": {"strategy": "follow", "other": "beta", "scale": 3.0, "interval": "epoch"},
    "second": {"strategy": "follow", "other": "beta", "interval": "epoch", "frequency": 2},
    "behind": {"strategy": "follow", "other": "slow", "interval": "step"},
    "behind_second": {"strategy": "follow", "other": "second", "interval": "step"},
}
BY_STEP = ["temp", "half", "twice", "behind", "behind_second"]


def moves(first: Any, second: Any, third: Any = None, **lengths: Any) -> list[dict[str, Any]]:
    """Three phases that move all of them."""
    given = lengths.get("total_steps", {})
    return [
        phase("warm", first, set={"beta": 0.0, "flag": True, "temp": 3.0}),
        phase(
            "main",
            second,
            anneal={
                "beta": linear(2.0, **given),
                "temp": by_step(9.0, **given),
                "third": linear(6.0, frequency=3, **given),
            },
            set={"width": 5},
        ),
        phase("finish", third, anneal={"third": linear(1.0, frequency=3)}, set={"flag": False, "beta": 4.0}),
    ]


GIVEN = {"total_steps": {"total_steps": 3}}
PLANS: dict[str, list[dict[str, Any]]] = {
    "by epochs": moves(2, 6),
    "by share": moves("25%", "75%"),
    "by step, at an epoch's end": moves("8st", "24st"),
    "by step, within an epoch": moves("6st", "21st"),
    "by duration": [
        phase("warm", set={"beta": 0.0, "flag": True, "temp": 3.0}, duration="2ep"),
        {**moves(None, None, **GIVEN)[1], "duration": "9st"},
        moves(None, None)[2],
    ],
    "by a trigger": moves(BELOW, STALLED, **GIVEN),
    "by a trigger that comes too late": moves({**BELOW, "threshold": 0.5, "at_most": "5ep"}, 7, **GIVEN),
    "by a stopper": moves({"trigger": "early_stopper_counter"}, {"trigger": "early_stopper_half_patience"}, **GIVEN),
    "beyond the run": moves(5, 20),
    "an end of the last one": moves(2, "14st", "30st"),
}


@pytest.fixture(scope="module", params=PLANS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Watched, Preview]:
    """A fit under a plan, and its preview."""
    module, phases = Watched(STARTS, LOSSES), PLANS[request.param]
    stopping = {"monitor": "val_loss", "patience": 6}
    callbacks = (HyperparamAnnealingCallback(PARAMS, phases=phases), EarlyStopping(**stopping))
    fitted(tmp_path_factory.mktemp("run"), module, *callbacks, max_epochs=EPOCHS)
    preview = HyperparamAnnealingCallback(PARAMS, phases=phases).preview(
        EPOCHS, BATCHES, metrics={"val_loss": LOSSES}, early_stopping=stopping, start=STARTS
    )
    return module, preview


@pytest.mark.parametrize("name", [name for name in STARTS if name not in BY_STEP])
@pytest.mark.filterwarnings("ignore:.*never begins")
def test_by_epoch(run: tuple[Watched, Preview], name: str) -> None:
    module, preview = run
    # An epoch's value is the one that it begins with.
    assert preview[name] == [seen[name] for _, batch, _, seen in module.trace if batch == 0]


@pytest.mark.parametrize("name", BY_STEP)
@pytest.mark.filterwarnings("ignore:.*never begins")
def test_by_step(run: tuple[Watched, Preview], name: str) -> None:
    module, preview = run
    assert preview[name] == module.steps(name)


def test_by_epochs_alone_no_steps_are_counted() -> None:
    phases = [phase("warm", 2, set={"beta": 0.5}), phase("main", anneal={"beta": linear(2.0), "temp": linear(1.0)})]
    preview = HyperparamAnnealingCallback(phases=phases).preview(6)
    assert preview["beta"] == [0.5, 0.5, 0.5, 1.0, 1.5, 2.0]
    assert preview.steps_per_epoch is None
    # What begins at a value of the model, which isn't known, is left out.
    assert [parameter.name for parameter in preview.parameters] == ["beta"]
    assert preview.notes == (
        "temp: begins at the value found in the model, which the preview doesn't see (start={'temp': ...})",
    )
