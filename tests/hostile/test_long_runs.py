"""Runs of a million steps, and of ten thousand parameters: the values, the memory, and how the work grows."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from mpmath import mp
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import HyperparamAnnealingCallback
from lightning_anneal.clock import Horizon
from lightning_anneal.config import read_rules
from lightning_anneal.engine import Engine
from lightning_anneal.targets.resolve import Roots
from tests.tiny import trainer_for

STEPS = 1_000_000
N = 900_000
"""The length of the ramps: the last tenth of the run stands still."""

_RAMP = {"start_value": 0.25, "end_value": 4.0, "total_steps": N}
_CYCLE = {"cycle_length": 70_001, "min_value": -1.0, "max_value": 3.0}

SETTINGS: dict[str, dict[str, Any]] = {
    **{name: {"strategy": name, **_RAMP} for name in ("linear", "cosine", "exponential", "saturating", "sigmoid")},
    "polynomial": {"strategy": "polynomial", **_RAMP, "power": 2.5},
    "competence": {"strategy": "competence", **_RAMP, "power": 3},
    "constant": {"strategy": "constant", "value": 0.125},
    "milestones": {"strategy": "milestones", "schedule": {0: 1.0, 123_457: 0.5, 654_321: 0.25, 999_999: 0.0}},
    "cosine_wave": {"strategy": "cyclical", **_CYCLE},
    "triangle_wave": {"strategy": "cyclical", **_CYCLE, "wave_type": "triangle"},
    "restarts": {
        "strategy": "warm_restart", "restart_interval": 1_000, "restart_multiplier": 1.0,
        "base": {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 800},
    },
    "sequence": {
        "strategy": "sequence",
        "parts": [
            {"strategy": "linear", "start_value": 0.0, "end_value": 2.0, "total_steps": 300_000, "duration": 400_000},
            {"strategy": "constant", "value": 5.0, "duration": 100_000},
            {"strategy": "linear", "start_value": 1.0, "end_value": 0.0, "total_steps": 100_000},
        ],
    },
}  # fmt: skip


def _share(t: int) -> Any:
    return min(mp.mpf(t) / N, 1)


def _logistic(u: Any) -> Any:
    return 1 / (1 + mp.exp(-12 * (u - mp.mpf("0.5"))))


def _in_wave(t: int) -> Any:
    return mp.mpf(t % 70_001) / 70_001


def _in_turn(t: int) -> Any:
    if t < 400_000:
        return min(mp.mpf(t) / 150_000, 2)
    return 5 if t < 500_000 else max(1 - mp.mpf(t - 500_000) / 100_000, 0)


# The formulas of the papers and textbooks, in fifty digits.
CLOSED: dict[str, Callable[[int], Any]] = {
    "linear": lambda t: mp.mpf("0.25") + mp.mpf("3.75") * _share(t),
    "cosine": lambda t: mp.mpf("0.25") + mp.mpf("3.75") * mp.sin(mp.pi * _share(t) / 2) ** 2,
    "exponential": lambda t: mp.power(2, -2 + 4 * _share(t)),
    "saturating": lambda t: mp.mpf("0.25") + mp.mpf("3.75") * (1 - mp.exp(-5 * _share(t))) / (1 - mp.exp(-5)),
    "sigmoid": lambda t: (
        mp.mpf("0.25") + mp.mpf("3.75") * (_logistic(_share(t)) - _logistic(0)) / (_logistic(1) - _logistic(0))
    ),
    "polynomial": lambda t: mp.mpf("0.25") + mp.mpf("3.75") * mp.sqrt(_share(t) ** 5),
    "competence": lambda t: mp.cbrt(mp.mpf("0.25") ** 3 + (64 - mp.mpf("0.25") ** 3) * _share(t)),
    "constant": lambda t: mp.mpf("0.125"),
    "milestones": lambda t: 1 if t < 123_457 else 0.5 if t < 654_321 else 0.25 if t < 999_999 else 0,
    "cosine_wave": lambda t: -1 + 4 * mp.sin(mp.pi * _in_wave(t)) ** 2,
    "triangle_wave": lambda t: -1 + 4 * (1 - abs(2 * _in_wave(t) - 1)),
    "restarts": lambda t: min(mp.mpf(t % 1_000) / 800, 1),
    "sequence": _in_turn,
}

LOOK = {*range(0, STEPS, 9_973), 123_456, 123_457, 399_999, 400_000, N - 1, N, STEPS - 1}
"""The steps whose values are compared."""


class Holder:
    """Has an attribute for each parameter."""

    def __init__(self, names: Iterable[str]) -> None:
        vars(self).update(dict.fromkeys(names, 0.0))


def running(settings: dict[str, dict[str, Any]], model: Any) -> Engine:
    """An engine as a callback drives it, with every parameter by step."""
    rules = read_rules({name: {**given, "interval": "step"} for name, given in settings.items()})
    engine = Engine(rules)
    # What is told is kept by whoever listens, such as pytest's capture of logs, and is no memory of the engine's.
    engine.on_change = lambda change: None
    engine.findings.find_targets(Roots(model=model))
    horizon = Horizon(max_steps=STEPS)
    engine.findings.find_starts(horizon)
    engine.build(horizon)
    engine.go_to(0, 0, first=True)
    return engine


def wrong(step: int, values: dict[str, float]) -> list[tuple[str, int, float, float]]:
    """The values that are off by more than rounding."""
    with mp.workdps(50):
        exact = {name: float(CLOSED[name](step)) for name in CLOSED}
    return [(k, step, values[k], v) for k, v in exact.items() if values[k] != pytest.approx(v, rel=1e-12, abs=1e-12)]


def test_a_million_steps_of_every_schedule() -> None:
    model = Holder(SETTINGS)
    engine, found, blocks = running(SETTINGS, model), [], {}
    for step in range(STEPS):
        engine.start_step(step)
        if step in LOOK:
            found += wrong(step, vars(model))
        if step in (100_000, STEPS - 1):
            gc.collect()
            blocks[step] = sys.getallocatedblocks()
    assert found == []
    # 900 restarts are remembered meanwhile, and nothing else; an object a step would be 900,000.
    assert blocks[STEPS - 1] - blocks[100_000] < 10_000


class Long(LightningModule):
    """One weight, and an attribute for each schedule, looked at in the step itself."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.found: list[Any] = []
        self.steps = 0
        for name in SETTINGS:
            setattr(self, name, 0.0)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.steps in LOOK:
            self.found += wrong(self.steps, {name: getattr(self, name) for name in SETTINGS})
        self.steps += 1
        return self.weight.sum()

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(10_000, 1)), batch_size=1)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.slow
def test_a_million_steps_of_a_trainer(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback({name: {**given, "interval": "step"} for name, given in SETTINGS.items()})
    module = Long()
    trainer_for(tmp_path, callback, max_steps=STEPS, max_epochs=-1).fit(module)
    assert (module.steps, module.found) == (STEPS, [])


def _lines(run: Callable[[], None]) -> int:
    """How many lines of the package run, each as often as it does."""
    n = 0

    def count(frame: Any, event: str, argument: Any) -> Any:
        nonlocal n
        n += event == "line"
        return count if "lightning_anneal" in frame.f_code.co_filename else None

    before = sys.gettrace()  # that of whoever measures coverage
    sys.settrace(count)
    try:
        run()
    finally:
        sys.settrace(before)
    return n


def many(n: int) -> tuple[dict[str, dict[str, Any]], Holder]:
    """Settings of n ramps, each with other ends, and what has their attributes."""
    names = [f"p{i}" for i in range(n)]
    ramps = [{"strategy": "linear", "start_value": i, "end_value": 2 * i, "total_steps": N} for i in range(n)]
    return dict(zip(names, ramps, strict=True)), Holder(names)


def test_ten_thousand_parameters() -> None:
    stepped = {}
    for n in (100, 10_000):
        settings, model = many(n)
        engine = running(settings, model)
        stepped[n] = _lines(lambda engine=engine: [engine.start_step(step) for step in (1, 2, 3)])
        engine.start_step(N // 2)
        assert list(vars(model).values()) == [1.5 * i for i in range(n)]
    # A hundred times as many parameters are a hundred times the work, and not more.
    assert 0 < stepped[10_000] <= 100 * stepped[100]


def test_finding_the_targets_of_ten_times_as_many_is_ten_times_the_work() -> None:
    begun = {n: _lines(lambda n=n: running(*many(n))) for n in (100, 1_000)}
    assert 0 < begun[1_000] <= 10 * begun[100]
