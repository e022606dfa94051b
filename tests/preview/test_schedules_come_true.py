"""What a preview shows of schedules is what a real run has in force, value for value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_anneal import (
    BetaScheduleCallback,
    Competence,
    Constant,
    Cosine,
    Cyclical,
    Exponential,
    HyperparamAnnealingCallback,
    Linear,
    Milestones,
    Polynomial,
    Saturating,
    Sequence,
    Sigmoid,
    WarmRestart,
)
from lightning_anneal.preview.moments import moments
from tests.preview.runs import BATCHES, BySize, Watched, fitted

EPOCHS = 7

pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")

# Every strategy of the README, and what its keys can do. A parameter begins at 0.5 where nothing else is said.
SETTINGS: dict[str, Any] = {
    "constant": {"strategy": "constant", "value": 0.7},
    "pace": {"strategy": "CONSTANT_PACE", "end_value": 2.0},
    "linear": {"strategy": "linear", "start_value": 0.1, "end_value": 0.7, "total_steps": 3},
    "cosine": {"strategy": "cosine", "start_value": 0.1, "end_value": 0.7, "total_steps": "50%"},
    "exponential": {"strategy": "exponential", "start_value": 1e-3, "end_value": 1e-6},
    "saturating": {"strategy": "saturating", "end_value": 3.0, "rate": 2.0, "total_steps": "5ep"},
    "polynomial": {"strategy": "polynomial", "end_value": 3.0, "power": 3, "total_steps": "10st"},
    "sigmoid": {"strategy": "sigmoid", "start_value": 1.0, "end_value": 0.0, "steepness": 6},
    "competence": {"strategy": "competence", "start_value": 0.01, "total_steps": "70%"},
    "competence_by_step": {"strategy": "Competence", "end_value": 3.0, "power": 3, "interval": "step"},
    "scheduled": {"strategy": "SCHEDULED", "schedule": {0: 1.0, "3": 0.3, "75%": 0.1}},
    "late": {"strategy": "milestones", "schedule": {2: 1.5}},
    "cyclical": {"strategy": "cyclical", "cycle_length": 3, "min_value": 0.1, "max_value": 0.9},
    "triangle": {"strategy": "cyclical", "cycle_length": "50%", "min_value": 0.1, "max_value": 0.9, "wave_type": "triangle"},
    "restarts": {"strategy": "warm_restart", "base": {"strategy": "linear", "end_value": 1.1}, "restart_interval": 2, "restart_multiplier": 1.5},
    "parts": {"strategy": "sequence", "parts": [
        {"strategy": "constant", "value": 0.2, "duration": 1},
        {"strategy": "cosine", "end_value": 1.0, "duration": "30%"},
        {"strategy": "warm_restart", "base": {"strategy": "linear", "end_value": 0.0, "start_value": 2.0}, "restart_interval": 2},
    ]},
    "every_second": {"strategy": "linear", "end_value": 2.0, "frequency": 2},
    "whole": {"strategy": "linear", "start_value": 1, "end_value": 9, "total_steps": 5, "round": True},
    "by_step": {"strategy": "linear", "end_value": 2.0, "interval": "step"},
    "half_by_step": {"strategy": "cosine", "start_value": 0, "end_value": 2.0, "total_steps": "50%", "interval": "step"},
    "epochs_by_step": {"strategy": "exponential", "end_value": 2.0, "total_steps": "2ep", "interval": "step"},
    "fifth_step": {"strategy": "linear", "end_value": 2.0, "scheduler_configs": {"interval": "step", "frequency": 5}},
    "steps_of_milestones": {"strategy": "milestones", "schedule": {"0": 3.0, "6st": 2.0, "4ep": 1.0}, "interval": "step"},
    "restarts_by_step": {"strategy": "warm_restart", "base": {"strategy": "sigmoid", "start_value": 0, "end_value": 1.1}, "restart_interval": "1ep", "restart_multiplier": 1.2, "interval": "step"},
    "parts_by_step": {"strategy": "sequence", "interval": "step", "frequency": 3, "parts": [
        {"strategy": "linear", "end_value": 1.0, "duration": "7st"},
        {"strategy": "polynomial", "power": 2, "end_value": 0.0, "duration": "2ep"},
        {"strategy": "cyclical", "cycle_length": 5, "min_value": 0, "max_value": 1},
    ]},
    "a_callable": lambda t: 1.0 / (t + 1),
    "Constant": Constant(3),
    "Linear": Linear(0, 1, 4),
    "Cosine": Cosine(0, 1, 5),
    "Exponential": Exponential(1, 8, 3),
    "Saturating": Saturating(0, 1, 5),
    "Polynomial": Polynomial(0, 1, 5, 2.5),
    "Sigmoid": Sigmoid(0, 1, 5),
    "Competence": Competence(0, 1, 5),
    "Milestones": Milestones({3: 4.0}),
    "Cyclical": Cyclical(4, 1, 2, "triangle"),
    "WarmRestart": WarmRestart(Linear(0, 1, 4), 2, 0.5),
    "Sequence": Sequence([(Constant(0), 2), (Linear(0, 1, 4), 4)]),
}  # fmt: skip
BY_STEP = [name for name in SETTINGS if "step" in name]
BY_EPOCH = [name for name in SETTINGS if name not in BY_STEP]
STARTS: dict[str, Any] = {**dict.fromkeys(SETTINGS, 0.5), "whole": 1}
LENGTHS: dict[str, dict[str, Any]] = {
    "whole": {"max_epochs": EPOCHS},
    "accumulated": {"max_epochs": EPOCHS, "accumulate_grad_batches": 2},
    "uneven": {"max_epochs": EPOCHS, "accumulate_grad_batches": 3},
}
STEPS = {"whole": 4, "accumulated": 2, "uneven": 2}


@pytest.fixture(scope="module", params=LENGTHS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fit under all of them at once, and its preview."""
    callback = HyperparamAnnealingCallback(SETTINGS)
    module = fitted(tmp_path_factory.mktemp("run"), Watched(STARTS), callback, **LENGTHS[request.param])
    preview = HyperparamAnnealingCallback(SETTINGS).preview(EPOCHS, STEPS[request.param], start=STARTS)
    return module, preview, STEPS[request.param]


@pytest.mark.parametrize("name", BY_EPOCH)
def test_by_epoch(run: Any, name: str) -> None:
    module, preview, _ = run
    assert preview[name] == module.epochs(name)
    assert len(preview[name]) == EPOCHS


@pytest.mark.parametrize("name", BY_STEP)
def test_by_step(run: Any, name: str) -> None:
    module, preview, steps = run
    assert preview[name] == module.steps(name)
    assert len(preview[name]) == EPOCHS * steps


def test_the_rows_are_the_course_of_the_run(run: Any) -> None:
    module, preview, steps = run
    first = {step: (epoch, seen) for epoch, _, step, seen in reversed(module.trace)}
    rows = list(preview.rows())
    assert [row["step"] for row in rows] == list(range(EPOCHS * steps))
    for row in rows:
        epoch, seen = first[row["step"]]
        assert row["epoch"] == epoch
        assert {name: row[name] for name in SETTINGS} == {name: seen[name] for name in SETTINGS}


def test_whole_numbers_are_ints() -> None:
    preview = HyperparamAnnealingCallback({"k": SETTINGS["whole"]}).preview(6)
    assert preview["k"] == [1, 3, 4, 6, 7, 9]
    assert {type(value) for value in preview["k"]} == {int}


@pytest.mark.parametrize(
    ("kind", "params"),
    [
        ("constant", {"max_beta": 2.5}),
        ("linear", {"max_beta": 1.0, "warmup_epochs": "30%"}),
        ("cosine", {"max_beta": 1.0, "warmup_epochs": 4, "min_beta": 0.1}),
        ("exponential", {"max_beta": 1.0, "warmup_epochs": "3ep", "rate": 2}),
        ("cyclical", {"cycle_length": 3, "max_beta": 4.0, "wave_type": "triangle"}),
        ("warm_restart", {"base_scheduler_type": "linear", "base_scheduler_kwargs": {"max_beta": 1.0, "warmup_epochs": 3}, "restart_interval": 2, "restart_multiplier": 1.5}),
        ("hierarchical", {"global_scheduler": {"type": "linear", "max_beta": 1.0, "warmup_epochs": "50%"}, "local_scheduler": {"type": "cyclical", "cycle_length": 4}}),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "timing",
    [
        {},
        {"interval": "step"},
        pytest.param({"scheduler_configs": {"interval": "step", "frequency": 3}}, marks=pytest.mark.slow),
        pytest.param({"frequency": 2}, marks=pytest.mark.slow),
    ],
)
def test_beta(tmp_path: Path, kind: str, params: dict[str, Any], timing: dict[str, Any]) -> None:
    names = ["global_kl_weight", "local_kl_weight"] if kind == "hierarchical" else ["beta"]
    arguments: dict[str, Any] = {
        "beta_scheduler_type": kind,
        "beta_scheduler_params": params,
        "eval_beta": 1.0,
        **timing,
    }
    module = fitted(tmp_path, Watched(dict.fromkeys(names, 0.0)), BetaScheduleCallback(**arguments), max_epochs=5)
    preview = BetaScheduleCallback(**arguments).preview(epochs=5, steps_per_epoch=BATCHES)
    by_step = "step" in str(timing)
    for name in names:
        assert preview[name] == (module.steps(name) if by_step else module.epochs(name))
        assert len(preview[name]) == (20 if by_step else 5)


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "linear", "start_value": 2, "end_value": 9, "total_steps": 4},
        {"strategy": "milestones", "schedule": {0: 2, 2: 2.5, 3: 12}},
    ],
)
def test_a_batch_size_is_rounded(tmp_path: Path, settings: dict[str, Any]) -> None:
    callback = HyperparamAnnealingCallback({"batch_size": settings})
    module = fitted(tmp_path, BySize(), callback, max_epochs=5, reload_dataloaders_every_n_epochs=1)
    preview = HyperparamAnnealingCallback({"batch_size": settings}).preview(epochs=5)
    assert preview["batch_size"] == module.epochs("batch_size")
    assert {type(value) for value in preview["batch_size"]} == {int}


def test_that_steps_move_with_the_batch_size_is_told() -> None:
    steps = {**SETTINGS["linear"], "interval": "step"}
    preview = HyperparamAnnealingCallback({"datamodule.batch_size": Milestones({0: 4, 1: 8}), "a": steps}).preview(4, 8)
    assert preview.notes == ("datamodule.batch_size: other batch sizes make other numbers of steps, which isn't drawn",)


def test_a_function_in_a_sequence_has_no_moments_of_its_own() -> None:
    restarts = WarmRestart(Linear(0.0, 1.0, 2), 3)
    assert moments(Sequence([(lambda t: 0.5, 4), (restarts, 6), (lambda t: 1.0, 2)]), 12) == [
        (4.0, "part"),
        (7.0, "restart"),
        (10.0, "part"),
    ]


def test_places_outside_of_the_module(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "optimizer.param_groups.0.weight_decay": {"strategy": "linear", "end_value": 0.5, "interval": "step"},
        "optimizer.param_groups.*.lr": {"strategy": "cosine", "end_value": 0.0625},
        "trainer.gradient_clip_val": {"strategy": "linear", "end_value": 1.0, "total_steps": "50%"},
    }
    options: dict[str, Any] = {"max_epochs": 5, "gradient_clip_val": 4.0}
    module = fitted(tmp_path, Watched({}), HyperparamAnnealingCallback(settings), **options)
    starts = dict(zip(settings, [0.01, 0.125, 4.0], strict=True))
    preview = HyperparamAnnealingCallback(settings).preview(5, BATCHES, start=starts)
    assert [preview[name] for name in settings] == [module.steps("wd"), module.epochs("lr"), module.epochs("clip")]


def test_a_start_that_is_not_known_is_told_and_nothing_is_made_up() -> None:
    preview = HyperparamAnnealingCallback({"a": SETTINGS["pace"], "b": SETTINGS["linear"]}).preview(4)
    assert [parameter.name for parameter in preview.parameters] == ["b"]
    [note] = preview.notes
    assert note.startswith("a: begins at the value found in the model")


def test_an_end_of_a_run_inside_an_epoch() -> None:
    preview = HyperparamAnnealingCallback({"e": Linear(0, 1, 4), "s": SETTINGS["steps_of_milestones"]}).preview(2.5, 4)
    assert preview["e"] == [0.0, 0.25, 0.5]
    assert preview["s"] == [3.0] * 6 + [2.0] * 4


@pytest.mark.parametrize("epochs", [0, -1, "abc", True, None, float("nan"), float("inf")])
def test_epochs_that_cannot_be(epochs: Any) -> None:
    with pytest.raises(ValueError, match=r"^epochs: must be"):
        HyperparamAnnealingCallback({"a": Linear(0, 1, 4)}).preview(epochs)


@pytest.mark.parametrize("steps", [0, -1, "abc", True])
def test_steps_that_cannot_be(steps: Any) -> None:
    with pytest.raises(ValueError, match=r"^steps_per_epoch: must be"):
        HyperparamAnnealingCallback({"a": Linear(0, 1, 4)}).preview(4, steps)


def test_an_unknown_name() -> None:
    preview = HyperparamAnnealingCallback({"a": Linear(0, 1, 4)}).preview(4)
    with pytest.raises(ValueError, match=r"^b: isn't in the preview, which has a$"):
        preview["b"]
    with pytest.raises(ValueError, match=r"^start: unknown parameter 'aa'; did you mean 'a'\?$"):
        HyperparamAnnealingCallback({"a": Linear(0, 1, 4)}).preview(4, start={"aa": 1.0})
