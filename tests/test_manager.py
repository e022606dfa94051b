"""AnnealingManager in a loop of one's own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lightning_anneal import AnnealError, AnnealingManager, Linear, Milestones, Sequence
from lightning_anneal.clock import Horizon
from lightning_anneal.config import read_rules
from lightning_anneal.engine import Engine
from lightning_anneal.targets.resolve import Roots

RAMP = {"strategy": "linear", "start_value": 0.0, "end_value": 4.0, "total_steps": 4}


class Config:
    """What a training script hands around."""

    def __init__(self, **params: Any) -> None:
        self.beta = 1.0
        self.loss = SimpleNamespace(weights={"kl": [0.5, 0.6]})
        self.annealing_params = params


def test_a_config_object() -> None:
    config = Config(beta=RAMP, kl={**RAMP, "attr_name": "loss.weights.kl.1"})
    manager = AnnealingManager(config)
    assert manager.step(epoch=0) == {"beta": 0.0, "kl": 0.0}
    assert manager.step(epoch=2) == {"beta": 2.0, "kl": 2.0}
    assert manager.step(epoch=2) == {}
    assert (config.beta, config.loss.weights) == (2.0, {"kl": [0.5, 2.0]})
    assert manager.values == {"beta": 2.0, "kl": 2.0}


def test_epochs_count_themselves() -> None:
    manager = AnnealingManager(Config(beta=RAMP))
    assert [manager.step().get("beta") for _ in range(6)] == [0.0, 1.0, 2.0, 3.0, 4.0, None]
    manager.step(epoch=2)
    assert manager.step() == {"beta": 3.0}


@pytest.mark.parametrize("make", [dict, OmegaConf.create])
def test_mappings(make: Any) -> None:
    config = make({"beta": 1.0, "annealing_params": {"beta": RAMP}})
    assert AnnealingManager(config).step(epoch=1) == {"beta": 1.0} or config["beta"] == 1.0
    AnnealingManager(config).step(epoch=3)
    assert config["beta"] == 3.0


def test_a_yaml_file(tmp_path: Any) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("annealing_params:\n  beta: {strategy: linear, end_value: 3, total_steps: 2}\n")
    model = SimpleNamespace(beta=1.0)
    AnnealingManager(str(path), objects={"model": model}).step(epoch=1)
    assert model.beta == 2.0


def test_objects_by_name_and_in_settings() -> None:
    model = nn.Sequential(nn.Dropout(0.5))
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    other = {"rate": 1.0}
    manager = AnnealingManager(
        {
            "0.p": {**RAMP, "end_value": 0.4},
            "optimizer.param_groups.0.lr": RAMP,
            "rate": {**RAMP, "object": other},
        },
        objects={"model": model, "optimizer": optimizer},
    )
    manager.step(epoch=1)
    assert (model[0].p, optimizer.param_groups[0]["lr"], other) == (0.1, 1.0, {"rate": 1.0})


def test_steps() -> None:
    config = Config(beta={**RAMP, "interval": "step"})
    manager = AnnealingManager(config)
    assert [manager.step(step=s).get("beta") for s in (0, 1, 3, 2, 9)] == [0.0, 1.0, 3.0, 2.0, 4.0]
    assert manager.step(epoch=5) == {}


def test_lengths_of_a_run() -> None:
    config = Config(beta={"strategy": "linear", "end_value": 5, "total_steps": "50%"})
    AnnealingManager(config, epochs=8).step(epoch=1)
    assert config.beta == 2.0
    stepwise = Config(beta={"strategy": "linear", "end_value": 5, "total_steps": "2ep", "interval": "step"})
    AnnealingManager(stepwise, steps_per_epoch=4).step(step=2)
    assert stepwise.beta == 2.0


def test_state_goes_on_in_a_new_process() -> None:
    settings = {"strategy": "linear", "end_value": 5, "total_steps": 4}
    first = AnnealingManager(Config(beta=settings))
    for _ in range(3):
        first.step()
    state = first.state_dict()
    assert state == {
        "version": 2,
        "epoch": 2,
        "step": 0,
        "found": {"beta": {"start": [1.0], "lengths": {}, "path": "beta", "interval": "epoch"}},
        "run": {"max_epochs": None, "max_steps": None},
    }
    config = Config(beta=settings)
    config.beta = 77.0
    second = AnnealingManager(config)
    second.load_state_dict(state)
    assert config.beta == 3.0
    assert second.step() == {"beta": 4.0}


def test_eval_values_come_and_go() -> None:
    config = Config(beta={**RAMP, "eval_value": 1.0})
    manager = AnnealingManager(config)
    manager.step(epoch=3)
    manager.enter_eval()
    manager.enter_eval()
    assert config.beta == 1.0
    manager.leave_eval()
    assert config.beta == 3.0


def test_what_settles_is_dropped_from_the_loop() -> None:
    config = Config(
        beta={**RAMP, "interval": "step"}, kl={**RAMP, "attr_name": "loss.weights.kl.0", "interval": "step"}
    )
    engine = Engine(read_rules(config.annealing_params))
    engine.findings.find_targets(Roots(config))
    engine.findings.find_starts(Horizon())
    engine.build(Horizon())
    engine.go_to_step(0)
    for step in range(1, 6):
        engine.start_step(step)
    assert engine.values == {"beta": 4.0, "kl": 4.0}
    config.beta = 9.0
    engine.start_step(6)
    assert config.beta == 9.0


@pytest.mark.parametrize(
    ("policy", "told", "value"),
    [
        ("keep", "they stay as they were (on_horizon_change: stretch would let them follow)", 1.0),
        ("stretch", "they are found anew", 0.5),
    ],
)
def test_a_state_of_a_run_of_another_length(policy: str, told: str, value: float) -> None:
    params = {"beta": {**RAMP, "total_steps": "50%"}}
    first = AnnealingManager(Config(**params), epochs=8)
    first.step(epoch=1)
    config = Config(**params)
    again = AnnealingManager(config, epochs=16, on_horizon_change=policy)
    with pytest.warns(UserWarning, match="the run's length has changed") as warned:
        again.load_state_dict(first.state_dict())
    what = "the run's length has changed (max_epochs 8 -> 16), which these depend on: beta.total_steps"
    assert [str(each.message) for each in warned] == [f"{what}; {told}"]
    assert warned[0].filename == __file__
    assert config.beta == value


def test_a_rate_that_was_never_looked_at_is_not_scaled() -> None:
    settings = {"strategy": "trigger_based", "trigger_source": "lr_scheduler_triggered", "values": [0.0, 1.0]}
    reactions = Engine(read_rules({"beta": settings})).reactions
    reactions.rescale("beta", 0.5)
    assert reactions.progress["beta"].seen is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AnnealingManager(3), "config: int has no annealing_params; give an object or a mapping that has"),
        (lambda: AnnealingManager("nowhere.yaml"), "'nowhere.yaml': no such file"),
        (lambda: AnnealingManager({"beta": RAMP}), "beta: there is no model here; give objects={\"model\": ...}, or an "
         "object in the settings"),
        (lambda: AnnealingManager(Config(bet=RAMP)), "bet: Config has no attribute 'bet'; did you mean 'beta'?"),
        (lambda: AnnealingManager(Config(beta=RAMP), objects={"modle": 1}), "objects: unknown name 'modle'; did you mean 'model'?"),
        (lambda: AnnealingManager(Config(beta=RAMP), objects=[1]),
         'objects: must be a mapping such as {"model": ...}, got [1]'),
        (lambda: AnnealingManager(Config(beta=RAMP), objects={"optimizer": "x"}),
         "objects: 'optimizer' must be a torch optimizer, and 'optimizers' a list of them"),
        (lambda: AnnealingManager(Config(beta=RAMP), steps_per_epoch=0), "steps_per_epoch: must be positive, got 0"),
        (lambda: AnnealingManager(Config(beta={**RAMP, "as_tensor": True})),
         "beta.as_tensor: is for a Lightning fit; put a 0-d tensor in that place yourself, and it is filled in place"),
        (lambda: AnnealingManager(Config(beta={"strategy": "trigger_based", "trigger_source": "early_stopper_triggered",
                                               "values": [0.0, 1.0], "extend_training": True})),
         "beta.extend_training: is for a Lightning fit, whose stop it takes back"),
        (lambda: AnnealingManager("a" * 5000), f"'{'a' * 56}...: no such file"),
        (lambda: AnnealingManager(Config(beta=Sequence([(Milestones({3: 1.0}), 5)]))),
         "beta: Milestones.initial: needed: there is no value before t = 3"),
        (lambda: AnnealingManager(Config(beta=RAMP), epochs="many"), "epochs: must be a number, got 'many'"),
        (lambda: AnnealingManager(Config(beta=RAMP)).step(epoch=-1), "epoch: must be a whole number from 0, got -1"),
        (lambda: AnnealingManager(Config(beta=RAMP)).step(step=1.5), "step: must be a whole number from 0, got 1.5"),
        (lambda: AnnealingManager(Config(beta=Linear(0, 1, 3), again={**RAMP, "attr_name": "beta"})),
         "again: the same place as 'beta'; keep one of them"),
    ],
)  # fmt: skip
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        make()
    assert str(error.value) == message
