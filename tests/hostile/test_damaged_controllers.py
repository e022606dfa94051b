"""A state of controllers that is damaged anywhere: one line that says so, or values that can be; never anything else."""

from __future__ import annotations

import copy
import json
import math
import warnings
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_anneal import AnnealError, AnnealingManager, HyperparamAnnealingCallback
from tests.steered import Steered
from tests.tiny import trainer_for

RAMP = {"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 10}
PARAMS = {
    "a": {"strategy": "pi_control", "monitor": "kl", "set_point": 3, "interval": "step", "frequency": 3},
    "b": {"strategy": "constraint", "monitor": "kl", "limit": 3, "frequency": 2},
    "c": {"strategy": "gated", "schedule": RAMP, "advance_when": {"monitor": "kl", "below": 5}, "max_wait": 2},
    "d": {"strategy": "on_plateau", "monitor": "kl", "factor": 0.5, "patience": 0, "cooldown": 2},
    "e": {"strategy": "follow", "other": "b", "interval": "step"},
}
GONE = object()
ODD = [GONE, None, "x", "", -1, 0.5, True, [], {}, [1], {"a": 1}, math.nan, math.inf, 10**400, 1e308]


def managed() -> tuple[AnnealingManager, Any]:
    model = SimpleNamespace(**dict.fromkeys("abcde", 1.0))
    return AnnealingManager(PARAMS, objects={"model": model}), model


@pytest.fixture(scope="module")
def state() -> Any:
    manager, _ = managed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, kl in enumerate((2.0, 4.0, 4.0, float("nan"), 4.0)):
            manager.step(epoch=i, step=i, metrics={"kl": kl})
    return json.loads(json.dumps(manager.state_dict()))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a state, from the outside in."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def damaged(state: Any, path: tuple[Any, ...], odd: Any) -> Any:
    state = copy.deepcopy(state)
    home = state
    for key in path[:-1]:
        home = home[key]
    if odd is GONE:
        del home[path[-1]]
    else:
        home[path[-1]] = odd
    return state


def refusal(load: Callable[[Any], object], state: Any) -> str:
    """The line that a state is refused with; nothing if it isn't."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            load(state)
        except AnnealError as error:
            return str(error)
    return ""


def told(line: str) -> bool:
    return line.startswith("checkpoint: the annealing state is damaged (") and "\n" not in line


def goes_on(state: Any) -> bool:
    """Whether it is refused in one line, or the values that follow are numbers."""
    manager, model = managed()
    if line := refusal(manager.load_state_dict, state):
        return told(line)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        manager.step(epoch=5, step=5, metrics={"kl": 4.0})
        manager.step(epoch=6, step=6, metrics={"kl": 4.0})
    json.dumps(manager.state_dict(), allow_nan=False)
    return all(math.isfinite(getattr(model, name)) for name in "abcde")


@pytest.mark.parametrize("part", ["steered", "triggers", "followed"])
def test_any_damage(state: Any, part: str) -> None:
    paths = [(part,), *((part, *path) for path in places(state[part]))]
    assert len(paths) > 3
    for path in paths:
        for odd in ODD:
            assert goes_on(damaged(state, path, odd)), (path, odd)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """In the midst of an interval, so that there is something of every kind."""
    callback = HyperparamAnnealingCallback({"beta": {**PARAMS["a"], "frequency": 99}, "loss.margin": PARAMS["d"]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer_for(tmp_path_factory.mktemp("saved"), callback, max_epochs=1).fit(Steered([2.0, 3.0, 4.0, 5.0]))
    return callback.state_dict()


def test_any_damage_to_what_was_measured(saved: Any) -> None:
    paths = [path for part in ("measures", "poll") for path in [(part,), *((part, *p) for p in places(saved[part]))]]
    assert len([path for path in paths if "kept" in path]) == 5
    trainer: Any = SimpleNamespace(world_size=1, global_rank=0, is_global_zero=True, callback_metrics={})
    for path in paths:
        for odd in ODD:
            params = {"beta": {**PARAMS["a"], "frequency": 99}, "loss.margin": PARAMS["d"]}
            callback = HyperparamAnnealingCallback(params)
            line = refusal(callback.load_state_dict, damaged(saved, path, odd))
            if not line:
                callback._watch.measures.begin(trainer, torch.device("cpu"), 0)
            assert not line or told(line), (path, odd, line)
