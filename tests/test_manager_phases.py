"""Phases in a loop of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from lightning_anneal import AnnealError, AnnealingManager
from tests.phased import by_step, linear, phase

COUNTER = {"trigger": "early_stopper_counter"}


def model(**values: Any) -> Any:
    return SimpleNamespace(**{"beta": 1.0, "flag": False, "mode": "a", **values})


def course(annealing: AnnealingManager, place: Any, epochs: int, metrics: Any = None) -> list[tuple[Any, ...]]:
    """The phase and what is in force in each epoch."""
    held = []
    for epoch in range(epochs):
        annealing.step(epoch, None if metrics is None or epoch == 0 else metrics[epoch - 1])
        held.append((annealing.phase, place.beta, place.flag, place.mode))
    return held


TIMED = [
    phase("a", 2, set={"beta": 0.0}),
    phase("b", duration="2ep", set={"flag": True}, anneal={"beta": linear(1.0)}),
    phase("c", set={"mode": "c"}, anneal={"beta": linear(0.0, total_steps=2)}),
]
BY_TIME = [
    *[("a", 0.0, False, "a")] * 2,
    ("b", 0.0, True, "a"), ("b", 1.0, True, "a"),
    ("c", 1.0, True, "c"), ("c", 0.5, True, "c"), ("c", 0.0, True, "c"),
]  # fmt: skip


def test_by_time() -> None:
    place = model()
    annealing = AnnealingManager({"phases": TIMED}, objects={"model": place}, epochs=7)
    assert annealing.phase == "a"
    assert course(annealing, place, 7) == BY_TIME


def test_what_is_returned() -> None:
    place = model()
    annealing = AnnealingManager({"phases": TIMED}, objects={"model": place}, epochs=7)
    assert [annealing.step() for _ in range(7)] == [
        {"beta": 0.0}, {}, {"flag": True}, {"beta": 1.0}, {"mode": "c"}, {"beta": 0.5}, {"beta": 0.0},
    ]  # fmt: skip
    # What no phase anneals is in force as soon as the manager is made.
    assert AnnealingManager({"phases": [phase("a", set={"beta": 5})]}, objects={"model": place}).values == {"beta": 5.0}


def test_without_phases_there_is_none() -> None:
    assert AnnealingManager({"beta": linear(1.0, total_steps=2)}, objects={"model": model()}).phase is None


@pytest.mark.parametrize(
    ("trigger", "metrics", "turns"),
    [
        (COUNTER, [{"early_stopper_counter": n} for n in (0, 0, 1, 2)], 3),
        ({"trigger": "lr_scheduler_triggered"}, [{"lr_scheduler_triggered": n} for n in (False, True, False, False)], 2),
        ({"trigger": "early_stopper_triggered"}, [{}, {}, {"early_stopper_triggered": True}, {}], 3),
        ({"trigger": "metric_below", "monitor": "loss", "threshold": 0.5}, [{"loss": x} for x in (0.9, torch.tensor(0.4), 1, 1)], 2),
        ({"trigger": "metric_plateau", "monitor": "loss", "patience": 2}, [{"loss": x} for x in (3, 4, 5, 6)], 3),
        ({**COUNTER, "at_most": 2}, [{}, {}, {}, {}], 2),
    ],
)  # fmt: skip
def test_by_event(trigger: Any, metrics: Any, turns: int) -> None:
    place = model()
    annealing = AnnealingManager(
        {"phases": [phase("a", trigger), phase("b", set={"beta": 2.0})]}, objects={"model": place}
    )
    seen = course(annealing, place, 5, metrics)
    assert [name for name, *_ in seen] == ["a"] * turns + ["b"] * (5 - turns)
    assert [beta for _, beta, *_ in seen] == [1.0] * turns + [2.0] * (5 - turns)


def test_an_event_within_an_epoch() -> None:
    place = model()
    phases = [phase("a", COUNTER), phase("b", set={"beta": 2.0}, anneal={"gamma": by_step(4.0, total_steps=4)})]
    place.gamma = 0.0
    annealing = AnnealingManager({"phases": phases}, objects={"model": place})
    annealing.step(epoch=0, step=0)
    assert annealing.step(step=5, metrics={"early_stopper_counter": 1}) == {"beta": 2.0}
    assert [annealing.step(step=step) for step in (6, 7)] == [{"gamma": 1.0}, {"gamma": 2.0}]
    assert annealing.phase == "b"


def test_by_step() -> None:
    place = model()
    phases = [phase("a", "3st", anneal={"beta": by_step(3.0)}), phase("b", "2ep"), phase("c", set={"beta": 9})]
    annealing = AnnealingManager({"phases": phases}, objects={"model": place}, epochs=3, steps_per_epoch=2)
    held = []
    for step in range(6):
        annealing.step(epoch=step // 2 if step % 2 == 0 else None, step=step)
        held.append((annealing.phase, place.beta))
    assert held == [("a", 1.0), ("a", 2.0), ("a", 3.0), ("b", 3.0), ("c", 9.0), ("c", 9.0)]


def test_a_metric_called_phases_is_none_of_theirs() -> None:
    place = model()
    annealing = AnnealingManager({"phases": TIMED}, objects={"model": place}, epochs=7)
    annealing.step(0, {"phases": 3})
    annealing.step(1, {"phases": 4})
    assert place.flag is False


# -- where they stand -----------------------------------------------------------------------------------------------


class Config:
    """An object with settings, which paths start from."""

    def __init__(self, **settings: Any) -> None:
        self.beta, self.flag, self.mode = 1.0, False, "a"
        vars(self).update(settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"phases": TIMED},
        {"phases": tuple(TIMED), "annealing_params": None},
        {"phases": TIMED, "annealing_params": {"gamma": linear(1.0, total_steps=2)}, "gamma": 0.0},
    ],
)
def test_beside_annealing_params(settings: dict[str, Any]) -> None:
    config = Config(**settings)
    annealing = AnnealingManager(config, epochs=7)
    assert course(annealing, config, 7) == BY_TIME
    mapping = {**vars(Config()), **settings}
    annealing = AnnealingManager(mapping, epochs=7)
    assert course(annealing, _Items(mapping), 7) == BY_TIME


class _Items:
    """The items of a mapping as attributes."""

    def __init__(self, mapping: Any) -> None:
        self.mapping = mapping

    def __getattr__(self, name: str) -> Any:
        return self.mapping[name]


def test_from_omegaconf_and_a_file(tmp_path: Path) -> None:
    config = OmegaConf.create({"phases": TIMED})
    for given in (config, tmp_path / "config.yaml"):
        if isinstance(given, Path):
            OmegaConf.save(config, given)
        place = model()
        assert course(AnnealingManager(given, objects={"model": place}, epochs=7), place, 7) == BY_TIME


@pytest.mark.parametrize("unrelated", [3, None, {"warm": 1}])
def test_other_phases_of_a_config(unrelated: Any) -> None:
    """A config's own attribute of that name, or a parameter."""
    config = Config(phases=unrelated, annealing_params={"beta": linear(0.0, total_steps=2)})
    assert AnnealingManager(config).phase is None
    assert AnnealingManager({"phases": linear(0.0, total_steps=2)}, objects={"model": model(phases=1.0)}).phase is None


# -- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phases", "line"),
    [
        ([phase("a", set={"betta": 1})], "betta: SimpleNamespace has no attribute 'betta'; did you mean 'beta'?"),
        ([phase("a", "30%"), phase("b")], "phases.a.until: '30%' needs the length of the run, which is not known; give a number of epochs"),
        ([phase("a", anneal={"beta": linear(1.0)})],
         "phases.a.anneal.beta.total_steps: leaving it out needs the length of the run, which is not known; give a number of epochs"),
        ([phase("a", "9st", anneal={"beta": linear(1.0)}), phase("b")],
         "phases.a.anneal.beta.total_steps: '9st' needs the number of steps in an epoch, which is not known; give a number of epochs"),
        ([phase("a", anneal={"beta": linear(1.0, as_tensor=True)})],
         "beta.as_tensor: is for a Lightning fit; put a 0-d tensor in that place yourself, and it is filled in place"),
        ([phase("a", COUNTER), phase("b", set={"flag": 2})], "flag: holds true or false, and its values are numbers; give booleans"),
    ],
)  # fmt: skip
def test_mistakes(phases: Any, line: str) -> None:
    place = model()
    with pytest.raises(AnnealError) as error:
        AnnealingManager({"phases": phases}, objects={"model": place})
    assert str(error.value) == line
    assert vars(place) == vars(model())


@pytest.mark.parametrize(
    ("metrics", "line"),
    [
        (
            {"early_stoper_counter": 1},
            "metrics: unknown source 'early_stoper_counter'; did you mean 'early_stopper_counter'?",
        ),
        ({"val_los": 1}, "metrics: no 'val_loss', which is watched, but 'val_los'"),
        ({"val_loss": "low"}, "metrics.val_loss: must be a number or a boolean, got 'low'"),
    ],
)
def test_metrics(metrics: Any, line: str) -> None:
    below = {"trigger": "metric_below", "monitor": "val_loss", "threshold": 0.5}
    annealing = AnnealingManager({"phases": [phase("a", 2), phase("b", below), phase("c")]}, objects={"model": model()})
    with pytest.raises(AnnealError) as error:
        annealing.step(metrics=metrics)
    assert str(error.value).startswith(line)


def test_a_step_that_fails_leaves_the_phase() -> None:
    place, value = model(top_k=3), [4.0]
    phases = [
        phase("a", COUNTER, set={"beta": 5.0}),
        phase("b", set={"beta": 2.0}, anneal={"top_k": lambda t: value[0]}),
    ]
    annealing = AnnealingManager({"phases": phases}, objects={"model": place})
    value[0] = 4.5
    for when in ({"epoch": 1}, {"step": 3}):
        with pytest.raises(AnnealError, match=r"holds an int and would get 4\.5"):
            annealing.step(metrics={"early_stopper_counter": 1}, **when)
        assert (annealing.phase, place.beta, place.top_k) == ("a", 5.0, 3)
    value[0] = 4.0
    assert annealing.step(metrics={"early_stopper_counter": 1}) == {"beta": 2.0, "top_k": 4}


# -- state ----------------------------------------------------------------------------------------------------------

EVENTS = [
    phase("a", COUNTER, set={"beta": 4.0}, anneal={"gamma": linear(2.0, total_steps=8)}),
    phase("b", {"trigger": "metric_plateau", "monitor": "loss", "patience": 2}, anneal={"beta": linear(0.0, total_steps=4)}),
    phase("c", {**COUNTER, "at_most": 3}, set={"flag": True}),
    phase("d", set={"mode": "d"}, anneal={"gamma": linear(0.0, total_steps=2)}),
]  # fmt: skip
# Count, loss, phase; beta and gamma.
RUN: list[tuple[int, float, tuple[Any, ...]]] = [
    (0, 5.0, ("a", 4.0, 0.0)),
    (0, 5.0, ("a", 4.0, 0.25)),
    (1, 5.0, ("b", 4.0, 0.25)),
    (2, 4.0, ("b", 3.0, 0.25)),
    (3, 4.0, ("b", 2.0, 0.25)),
    (3, 4.0, ("c", 2.0, 0.25)),
    (3, 4.0, ("c", 2.0, 0.25)),
    (4, 4.0, ("d", 2.0, 0.25)),
    (5, 4.0, ("d", 2.0, 0.125)),
    (5, 4.0, ("d", 2.0, 0.0)),
]


def go(annealing: AnnealingManager, place: Any, polls: list[Any]) -> list[tuple[Any, ...]]:
    held = []
    for count, loss, _ in polls:
        annealing.step(metrics={"early_stopper_counter": count, "loss": loss})
        held.append((annealing.phase, place.beta, place.gamma))
    return held


@pytest.mark.parametrize("cut", range(len(RUN) + 1))
def test_a_run_goes_on_where_its_state_was_taken(cut: int) -> None:
    place, again = model(gamma=0.0), model(gamma=0.0)
    first = AnnealingManager({"phases": EVENTS}, objects={"model": place})
    assert go(first, place, RUN[:cut]) == [held for *_, held in RUN[:cut]]
    state = json.loads(json.dumps(first.state_dict()))
    second = AnnealingManager({"phases": EVENTS}, objects={"model": again})
    second.load_state_dict(state)
    assert second.phase == first.phase
    # Before the first step a schedule has given nothing yet.
    assert vars(again) == vars(place) or not cut
    assert go(second, again, RUN[cut:]) == [held for *_, held in RUN[cut:]]


def test_a_state_takes_a_run_back() -> None:
    place = model(gamma=0.0)
    annealing = AnnealingManager({"phases": EVENTS}, objects={"model": place})
    start = annealing.state_dict()
    first = go(annealing, place, RUN)
    annealing.load_state_dict(start)
    assert (annealing.phase, place.beta, place.flag, place.mode) == ("a", 4.0, False, "a")
    assert go(annealing, place, RUN) == first
