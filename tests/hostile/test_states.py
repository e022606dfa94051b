"""What a checkpoint holds of every strategy is plain, however the settings were given.

``trainer.fit(ckpt_path=...)`` loads with ``weights_only=True``, and a single float of numpy's in the state is enough for
that to fail; it passes for a float everywhere else. One fit for each way to give settings, with every strategy in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import OmegaConf
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lightning_anneal import BetaScheduleCallback, HyperparamAnnealingCallback
from lightning_anneal.schedules.beta import SINGLE
from lightning_anneal.strategies import _STRATEGIES
from lightning_anneal.triggers.settings import SOURCES
from tests.tiny import Tiny, trainer_for

EPOCHS, BATCHES = 4, 2

# What EarlyStopping (patience 2) counts after each: 0, 1, 2 and a stop that is taken back, 1.
LOSSES = [4.0, 5.0, 6.0, 5.0]


def trigger(source: str, **more: Any) -> dict[str, Any]:
    """A triggered parameter."""
    answer = {} if "values" in more or "multiply" in more else {"values": [0.5, 1, 2.5, 3]}
    return {"strategy": "trigger_based", "trigger_source": source, **answer, **more}


Found = tuple[list[Any], dict[str, float]]

# By strategy: its settings, the start value that is found, and the lengths that are: 4 epochs of 2 steps.
SCHEDULES: dict[str, tuple[dict[str, Any], Found]] = {
    "constant_pace": ({"end_value": 4}, ([0.25], {"total_steps": 3.0})),
    "linear": ({"end_value": 4.0, "total_steps": "50%", "interval": "step"}, ([0.25], {"total_steps=50%": 4.0})),
    "scheduled": ({"schedule": {"1": 1.5, "75%": 2}}, ([0.25], {"schedule.75%=75%": 3.0})),
    "milestones": ({"schedule": {1: 1.5, 3: 2}, "frequency": 2}, ([0.25], {})),
    "cosine": ({"end_value": 4, "interval": "step"}, ([0.25], {"total_steps": 7.0})),
    "exponential": ({"end_value": 4, "total_steps": "5st"}, ([0.25], {"total_steps=5st": 2.5})),
    "saturating": ({"end_value": 4, "rate": 2, "total_steps": 3}, ([0.25], {})),
    "polynomial": ({"end_value": 4, "power": 2, "total_steps": "25%"}, ([0.25], {"total_steps=25%": 1.0})),
    "sigmoid": ({"end_value": 4, "steepness": 6, "total_steps": "2ep", "interval": "step"}, ([0.25], {"total_steps=2ep": 4.0})),
    "competence": ({"total_steps": "75%"}, ([0.25], {"total_steps=75%": 3.0})),
    "constant": ({"value": 3}, ([0.25], {})),
    "cyclical": ({"cycle_length": "50%", "min_value": 0, "max_value": 1.5}, ([0.25], {"cycle_length=50%": 2.0})),
    "warm_restart": (
        {"base": {"strategy": "linear", "end_value": 2}, "restart_interval": "2st", "restart_multiplier": 1.5},
        ([0.25], {"restart_interval=2st": 1.0}),
    ),
    "sequence": (
        {"parts": [{"strategy": "linear", "end_value": 2, "duration": "25%"}, {"strategy": "cosine", "end_value": 0}]},
        # The last part has the rest of the 3 epochs before the last one.
        ([0.25], {"parts.0.duration=25%": 1.0, "duration": 3.0}),
    ),
}  # fmt: skip

# By parameter: settings, start value, firings at the end, what it watches. Triggers look when epochs 1, 2 and 3 begin.
TRIGGERS: dict[str, tuple[dict[str, Any], Any, int, str]] = {
    # The count is 0, 1, and 2 before the stop is taken back.
    "counter": (trigger("early_stopper_counter"), 0.25, 2, "early_stopper_counter"),
    "half": (trigger("early_stopper_half_patience", cooldown=1), 0.25, 1, "early_stopper_half_patience"),
    "third": (trigger("early_stopper_third_patience", multiply=0.5), 0.25, 1, "early_stopper_third_patience"),
    "triggered": (trigger("early_stopper_triggered", extend_training=True), 0.25, 1, "early_stopper_triggered"),
    # Its patience is 0: the rate falls after epochs 1, 2 and 3.
    "lr": (trigger("lr_scheduler_triggered", at_end="cycle"), 0.25, 2, "lr_scheduler_triggered"),
    "below": (trigger("metric_below", monitor="val_loss", threshold=4.5), 0.25, 1, "metric_below val_loss"),
    "above": (trigger("metric_above", monitor="val_loss", threshold=4.5), 0.25, 1, "metric_above val_loss"),
    "plateau": (trigger("metric_plateau", monitor="val_loss", patience=1, min_delta=0.5, mode="min"), 0.25, 2, "metric_plateau val_loss"),
    "on_plateau": ({"strategy": "on_plateau", "monitor": "val_loss", "factor": 0.5, "patience": 0}, 0.25, 2, "on_plateau val_loss"),
    "strings": (trigger("early_stopper_counter", values=["a", "b", "c"]), "z", 2, "early_stopper_counter"),
    "booleans": (trigger("early_stopper_counter", values=[True, False]), False, 2, "early_stopper_counter"),
    "whole": (trigger("early_stopper_counter", values=[3, 2]), 3.0, 2, "early_stopper_counter"),
}  # fmt: skip
# By parameter: settings, the lengths that are found, how often it was updated. By step in the first of them.
BEGINS = {"strategy": "linear", "start_value": 4, "end_value": 1}
STEERED: dict[str, tuple[dict[str, Any], dict[str, float], int]] = {
    "pi_control": ({"monitor": "kl", "set_point": {**BEGINS, "total_steps": "50%"}, "interval": "step"}, {"set_point.total_steps=50%": 4.0}, 7),
    "constraint": ({"monitor": "val_loss", "limit": {**BEGINS, "total_steps": 2}, "rate": 0.5, "momentum": 0}, {}, 3),
    "nupi": ({"strategy": "constraint", "method": "pi", "monitor": "kl", "limit": 3, "frequency": 2}, {}, 1),
    "gated": (
        {"schedule": {"strategy": "linear", "end_value": 4}, "advance_when": {"monitor": "val_loss", "below": 4.5}, "max_wait": "50%"},
        {"schedule.total_steps": 3.0, "max_wait=50%": 2.0},
        3,
    ),
}  # fmt: skip
FOLLOWS = {
    "follow": {"other": "own.constant", "scale": 2, "power": 1.5},
    "follows": {"other": "optimizer.param_groups.0.lr"},
}

AT_FIRST = {"strings": "z", "booleans": False, "whole": 3}

# By type: the parameters of a BetaScheduleCallback, and what is found of each of its parameters.
WARMUP = {"max_beta": 4, "warmup_epochs": "50%"}
BETAS: dict[str, tuple[dict[str, Any], dict[str, Found]]] = {
    "constant": ({"max_beta": 2}, {"beta": ([0.25], {})}),
    "linear": (WARMUP, {"beta": ([0.25], {"warmup_epochs=50%": 2.0})}),
    "cosine": ({**WARMUP, "min_beta": 0.5}, {"beta": ([0.25], {"warmup_epochs=50%": 2.0})}),
    "exponential": ({**WARMUP, "rate": 3}, {"beta": ([0.25], {"warmup_epochs=50%": 2.0})}),
    "cyclical": (
        {"cycle_length": "4st", "min_beta": 0, "max_beta": 1.5, "wave_type": "triangle"},
        {"beta": ([0.25], {"cycle_length=4st": 2.0})},
    ),
    "warm_restart": (
        {
            "base_scheduler_type": "linear",
            "base_scheduler_kwargs": {"max_beta": 1, "warmup_epochs": "25%"},
            "restart_interval": "50%",
            "restart_multiplier": 1.5,
        },
        {"beta": ([0.25], {"restart_interval=50%": 2.0, "base_scheduler_kwargs.warmup_epochs=25%": 1.0})},
    ),
    "hierarchical": (
        {"global_scheduler": {"type": "linear", **WARMUP}, "local_scheduler": {"type": "constant", "max_beta": 3}},
        {"global_kl_weight": ([0.25], {"warmup_epochs=50%": 2.0}), "local_kl_weight": ([0.25], {})},
    ),
}


def as_numpy(value: Any) -> Any:
    """Every number and text as one of numpy's, keys too; a boolean has to be a real one."""
    if isinstance(value, dict):
        return {as_numpy(key): as_numpy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [as_numpy(item) for item in value]
    kinds: dict[type, Callable[[Any], Any]] = {int: np.int64, float: np.float64, str: np.str_, bool: bool}
    return kinds[type(value)](value)


KINDS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "dict": lambda config: config,
    "DictConfig": OmegaConf.create,
    "numpy": as_numpy,
}


class Everything(Tiny):
    """A number for every parameter, and losses that are written down beforehand."""

    def __init__(self, number: Any) -> None:
        super().__init__(batches=BATCHES)
        self.own = {**dict.fromkeys([*SCHEDULES, *TRIGGERS, *STEERED, *FOLLOWS], number), **AT_FIRST}
        self.betas = dict.fromkeys(BETAS, number)
        self.global_kl_weight = self.local_kl_weight = number

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return {"loss": self.layer(batch[0]).pow(2).mean(), "kl": torch.tensor(3.5)}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(LOSSES[self.current_epoch]))

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return {"optimizer": optimizer, "lr_scheduler": ReduceLROnPlateau(optimizer, patience=0), "monitor": "val_loss"}


def callbacks(kind: str) -> Iterator[Callback]:
    """One callback for all strategies, and one for each type of beta."""
    convert = KINDS[kind]
    params = {f"own.{name}": {"strategy": name.upper(), **settings} for name, (settings, _) in SCHEDULES.items()}
    params |= {f"own.{name}": settings for name, (settings, *_) in TRIGGERS.items()}
    params |= {f"own.{name}": {"strategy": name, **settings} for name, (settings, *_) in STEERED.items()}
    params |= {f"own.{name}": {"strategy": "follow", **settings} for name, settings in FOLLOWS.items()}
    yield HyperparamAnnealingCallback(convert(params))
    for name, (settings, _) in BETAS.items():
        path = {} if name == "hierarchical" else {"attr_name": f"betas.{name}"}
        yield BetaScheduleCallback(name, convert(settings), name=name, **path)


@pytest.fixture(scope="module", params=KINDS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Any]]:
    """The states of a callback, by its key, out of the checkpoints of a fit: of each epoch, mid-epoch, and its end."""
    folder = tmp_path_factory.mktemp("states")
    epochs = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=True)
    steps = ModelCheckpoint(folder, filename="mid-{step}", save_top_k=-1, every_n_train_steps=3)
    stopper = EarlyStopping("val_loss", patience=2)
    number = np.float64(0.25) if request.param == "numpy" else 0.25
    every = [*callbacks(request.param), stopper, epochs, steps]
    trainer = trainer_for(folder, *every, enable_checkpointing=True, max_epochs=EPOCHS)
    trainer.fit(Everything(number))
    assert trainer.current_epoch == EPOCHS
    trainer.save_checkpoint(folder / "last.ckpt", weights_only=False)
    files = [*sorted(folder.glob("epoch=*.ckpt")), *sorted(folder.glob("mid-*.ckpt")), folder / "last.ckpt"]
    assert len(files) == EPOCHS + 2 + 1

    @cache
    def load() -> list[Any]:
        return [torch.load(file, weights_only=True)["callbacks"] for file in files]

    return lambda key: [state[key] for state in load()]


def odd(value: object, where: str = "state") -> Iterator[str]:
    """Everything in a state that isn't exactly plain."""
    if type(value) is dict:
        for key, item in value.items():
            yield from odd(item, f"{where}.{key}")
            if type(key) is not str:
                yield f"{where}.{key} is under a {type(key)}"
    elif type(value) is list:
        for i, item in enumerate(value):
            yield from odd(item, f"{where}.{i}")
    elif type(value) not in (str, int, float, bool, type(None)):
        yield f"{where} is a {type(value)}"


@pytest.mark.parametrize(
    "state", [np.float64(1), np.int64(1), np.str_("a"), np.bool_(True), (1.0,), {1: 2.0}, {np.str_("a"): 1.0}, {"a": [np.float64(1)]}, OmegaConf.create({"a": 1}), Path("a"), torch.tensor(1.0)]
)  # fmt: skip
def test_what_is_not_plain_is_seen(state: Any) -> None:
    assert len(list(odd(state))) == 1


KEYS = ["HyperparamAnnealingCallback", *(f"BetaScheduleCallback[name={name}]" for name in BETAS)]


@pytest.mark.parametrize("key", KEYS)
def test_all_of_a_state_is_plain(saved: Callable[[str], list[Any]], key: str) -> None:
    states = saved(key)
    assert [list(odd(state)) for state in states] == [[]] * 7
    # Of epochs 0 to 3 at their end, of steps 3 and 6, and of the end.
    assert [state["steps_done"] for state in states] == [2, 4, 6, 8, 3, 6, 8]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(saved: Callable[[str], list[Any]], name: str) -> None:
    start, lengths = SCHEDULES[name][1]
    for state in saved(KEYS[0]):
        entry = state["found"][f"own.{name}"]
        assert list(odd(entry)) == []
        assert (entry["start"], entry["lengths"]) == (start, lengths)
        assert f"own.{name}" not in state["triggers"]


@pytest.mark.parametrize("name", TRIGGERS)
def test_triggers(saved: Callable[[str], list[Any]], name: str) -> None:
    _, start, firings, watches = TRIGGERS[name]
    state = saved(KEYS[0])[-1]
    entry, progress = state["found"][f"own.{name}"], state["triggers"][f"own.{name}"]
    assert list(odd([entry, progress])) == []
    assert entry["start"] == [start]
    assert type(entry["start"][0]) is type(start)
    assert (progress["firings"], progress["watches"]) == (firings, watches)


@pytest.mark.parametrize("name", STEERED)
def test_controllers(saved: Callable[[str], list[Any]], name: str) -> None:
    _, lengths, updates = STEERED[name]
    states = saved(KEYS[0])
    for state in states:
        entry, standing = state["found"][f"own.{name}"], state["steered"][f"own.{name}"]
        assert list(odd([entry, standing])) == []
        assert (entry["start"], entry["lengths"]) == ([0.25], lengths)
    assert states[-1]["steered"][f"own.{name}"]["updates"] == updates
    assert list(odd(states[-1]["measures"])) == []


@pytest.mark.parametrize("name", FOLLOWS)
def test_followers(saved: Callable[[str], list[Any]], name: str) -> None:
    taken = [state["followed"][f"own.{name}"] for state in saved(KEYS[0])]
    assert list(odd(taken)) == []
    # A rate is followed by step, and another parameter when that one moves.
    assert [each["at"] for each in taken[:4]] == ([1, 3, 5, 7] if name == "follows" else [0, 1, 2, 3])


@pytest.mark.parametrize("name", BETAS)
def test_betas(saved: Callable[[str], list[Any]], name: str) -> None:
    for state in saved(f"BetaScheduleCallback[name={name}]"):
        assert list(odd(state["found"])) == []
        found = {weight: (entry["start"], entry["lengths"]) for weight, entry in state["found"].items()}
        assert found == BETAS[name][1]


def test_every_strategy_is_here() -> None:
    # nupi and follows are others of the same.
    assert {*SCHEDULES, *STEERED, *FOLLOWS, "on_plateau", "trigger_based"} - {"nupi", "follows"} == set(_STRATEGIES)
    assert {settings.get("trigger_source", SOURCES[0]) for settings, *_ in TRIGGERS.values()} == set(SOURCES)
    assert set(BETAS) == {*SINGLE, "hierarchical"}
