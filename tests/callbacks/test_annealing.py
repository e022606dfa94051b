"""HyperparamAnnealingCallback in real fits: what is in force when, where it goes, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import Callback

from lightning_anneal import Cosine, HyperparamAnnealingCallback, Linear, Milestones
from tests.callbacks.rules import anneal, ramp
from tests.tiny import BATCHES, Data, Tiny, TwoOptimizers, trainer_for

Fit = Callable[..., Tiny]

# Many a ramp here is cut short on purpose; one test looks at the warning.
pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


def test_by_epoch(fit: Fit) -> None:
    module = fit(anneal(total_steps=3), max_epochs=5)
    assert module.by_epoch == [0.0, 1.0, 2.0, 3.0, 3.0]
    assert len(module.values) == 5 * BATCHES
    assert all(value == module.by_epoch[epoch] for epoch, _, value in module.seen)


def test_by_step(fit: Fit) -> None:
    module = fit(anneal(end=16.0, total_steps=16, interval="step"), max_epochs=3)
    assert module.values == [*map(float, range(16)), *[16.0] * 8]


def test_without_a_length_the_last_epoch_or_step_trains_at_the_end(fit: Fit) -> None:
    assert fit(anneal(), max_epochs=4).by_epoch == [0.0, 1.0, 2.0, 3.0]
    assert fit(anneal(end=31.0, interval="step"), max_epochs=4).values == [*map(float, range(32))]


@pytest.mark.parametrize(
    ("length", "options", "expected"),
    [
        ("100%", {"max_epochs": 3}, 24),
        ("2ep", {"max_epochs": 3}, 16),
        ("5st", {"max_epochs": 3}, 5),
        ("50%", {"max_steps": 20, "max_epochs": -1}, 10),
        ("1ep", {"max_epochs": 3, "accumulate_grad_batches": 3}, 3),
        ("1ep", {"max_epochs": 3, "limit_train_batches": 5}, 5),
    ],
)
def test_units_of_a_run(fit: Fit, length: str, options: dict[str, Any], expected: int) -> None:
    callback = anneal(end=float(expected), total_steps=length, interval="step")
    values = fit(callback, **options).values
    steps = sorted(set(values))
    assert steps[: expected + 1] == [float(s) for s in range(len(steps))][: expected + 1]
    assert max(values) == min(expected, max(steps))


def test_percent_of_max_steps_in_an_epoch_rule(fit: Fit) -> None:
    # 20 steps are 2.5 epochs of 8: half of that is 1.25 epochs.
    module = fit(anneal(end=1.25, total_steps="50%"), max_steps=20, max_epochs=-1)
    assert module.by_epoch == [0.0, 1.0, 1.25]


def test_frequency(fit: Fit) -> None:
    assert fit(anneal(total_steps=3, frequency=2), max_epochs=6).by_epoch == [0.0, 0.0, 2.0, 2.0, 3.0, 3.0]
    module = fit(anneal(end=16.0, total_steps=16, interval="step", frequency=5), max_epochs=3)
    assert module.values == [0.0] * 5 + [5.0] * 5 + [10.0] * 5 + [15.0] * 5 + [16.0] * 4


def test_accumulated_batches_are_one_step(fit: Fit) -> None:
    module = fit(anneal(end=9.0, total_steps=9, interval="step"), max_epochs=2, accumulate_grad_batches=3)
    # An epoch of 8 batches has 3 steps: Lightning steps with its last batch, too.
    assert module.values == [0, 0, 0, 1, 1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5]


def test_manual_optimization_with_two_optimizers(fit: Fit) -> None:
    module = fit(anneal(end=9.0, total_steps=9, interval="step"), module=TwoOptimizers(), max_epochs=2)
    assert module.values == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7]
    assert module.trainer.global_step == 16


def test_each_optimizer_by_its_number(fit: Fit) -> None:
    callback = HyperparamAnnealingCallback({"optimizers.1.param_groups.0.lr": ramp(0.5, total_steps=2)})
    module = fit(callback, module=TwoOptimizers(), max_epochs=2)
    assert [o.param_groups[0]["lr"] for o in module.trainer.optimizers] == [0.1, 0.25]


def test_optimizer_groups(fit: Fit) -> None:
    module = fit(HyperparamAnnealingCallback({"optimizer.param_groups.0.lr": ramp()}), module=Tiny(watch="lr"))
    assert module.by_epoch == [0.0, 1.0, 2.0, 3.0]


class TwoGroups(Tiny):
    def configure_optimizers(self) -> Any:
        groups = [
            {"params": self.layer.parameters(), "weight_decay": 0.0},
            {"params": self.net.parameters(), "weight_decay": 0.4},
        ]
        return torch.optim.SGD(groups, lr=0.1)


def test_each_group_keeps_its_own_start_value(fit: Fit) -> None:
    path = "optimizer.param_groups.*.weight_decay"
    callback = HyperparamAnnealingCallback({path: {"strategy": "linear", "end_value": 0.8, "total_steps": 4}})
    fit(callback, module=TwoGroups(), max_epochs=3)
    assert callback.values == pytest.approx(
        {"optimizer.param_groups.0.weight_decay": 0.4, "optimizer.param_groups.1.weight_decay": 0.6}
    )


def test_everything_at_once(fit: Fit, tmp_path: Path) -> None:
    data = Data()
    callback = HyperparamAnnealingCallback(
        {
            "beta": Cosine(0, 1, 2),
            "loss.margin": lambda t: 0.1 * t,
            "net.1.p": Linear(0.5, 0.0, 2),
            "weights.nested.1": Milestones({2: 7.0}),
            "temperature": ramp(2.0, total_steps=4),
            "top_k": {"strategy": "linear", "start_value": 3, "end_value": 1, "total_steps": 4, "round": True},
            "noise": {"strategy": "constant", "value": 0.25, "object": "datamodule"},
            "trainer.gradient_clip_val": ramp(1.0, total_steps=4),
        }
    )
    module = Tiny()
    trainer = trainer_for(tmp_path, callback, gradient_clip_val=5, max_epochs=4)
    trainer.fit(module, datamodule=data)
    expected = {
        "beta": 1.0,
        "loss.margin": 0.1 * 3,
        "net.1.p": 0.0,
        "weights.nested.1": 7.0,
        "temperature": 1.5,
        "top_k": 2,
        "noise": 0.25,
        "trainer.gradient_clip_val": 0.75,
    }
    assert callback.values == expected
    assert (module.loss.margin, module.net[1].p, module.weights["nested"]) == (0.1 * 3, 0.0, [0.1, 7.0])
    assert (float(module.temperature), module.top_k, data.noise, trainer.gradient_clip_val) == (1.5, 2, 0.25, 0.75)


def test_milestones_leave_the_value_alone_before_the_first(fit: Fit) -> None:
    callback = HyperparamAnnealingCallback({"beta": {"strategy": "SCHEDULED", "schedule": {2: 0.5, 3: 0.25}}})
    assert fit(callback, max_epochs=5).by_epoch == [1.0, 1.0, 0.5, 0.25, 0.25]


def test_a_tensor_is_kept_and_filled(fit: Fit) -> None:
    kept: list[Any] = []

    class Keeps(Callback):
        def on_train_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            kept.append(pl_module.beta)

    callback = anneal(total_steps=3, as_tensor=True)
    module = fit(callback, Keeps(), max_epochs=3)
    assert module.by_epoch == [0.0, 1.0, 2.0]
    assert {(id(t), t.dtype, t.shape) for t in kept} == {(id(kept[0]), torch.float32, torch.Size([]))}
    assert (module.beta, type(module.beta)) == (2.0, float)


def test_a_tensor_turns_into_the_exact_float_again(fit: Fit) -> None:
    assert fit(anneal(end=0.1, total_steps=1, as_tensor=True), max_epochs=2).beta == 0.1
