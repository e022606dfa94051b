"""What a preview shows of values that answer to events is what a real run with the same metrics does."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning
import pytest
from lightning.pytorch.callbacks import EarlyStopping
from packaging.version import Version

from lightning_anneal import HyperparamAnnealingCallback
from tests.preview.runs import Optimized, Watched, fitted, previewed
from tests.scripted import LOSSES
from tests.written import annealing, on, stopping

HALF, THIRD = "early_stopper_half_patience", "early_stopper_third_patience"
NAN = math.nan

RULES: dict[str, dict[str, Any]] = {
    "counter": on("early_stopper_counter"),
    "half": on(HALF),
    "third": on(THIRD),
    "triggered": on("early_stopper_triggered"),
    "rested": on("early_stopper_counter", cooldown=2),
    "long_rested": on(THIRD, cooldown=5),
    "held": on("early_stopper_counter", values=[1.0, 2.0, 4.0]),
    "cycled": on("early_stopper_counter", values=[1.0, 2.0, 4.0], at_end="cycle"),
    "later": on("early_stopper_counter", values=[1.0, 2.0, 4.0], current_index=1),
    "multiplied": on("early_stopper_counter", multiply=0.5, min_value=0.1),
    "grown": on(HALF, multiply=3, max_value=2.0),
    "words": on("early_stopper_counter", values=["slow", "fast", "faster"]),
    "flags": on(HALF, values=[True, False], at_end="cycle"),
    "whole": on("early_stopper_counter", values=[1, 2.4, 3.6], round=True),
    "below": on("metric_below", monitor="val_loss", threshold=3),
    "above": on("metric_above", monitor="val_loss", threshold=2.5),
    "stalled": on("metric_plateau", monitor="val_loss", patience=2),
    "stalled_of_max": on("metric_plateau", monitor="val_loss", patience=3, mode="max", cooldown=1),
    "stalled_with_delta": on("metric_plateau", monitor="val_loss", patience=2, min_delta=1.0),
}
STARTS: dict[str, Any] = {**dict.fromkeys(RULES, 0.5), "words": "slow", "flags": True, "whole": 1}

SERIES: dict[str, list[float]] = {
    "steps": [float(loss) for loss in LOSSES],
    "up_and_down": [3.0, 2.0, 4.0, 2.0, 4.0, 2.0, 1.0, 4.0, 1.5, 4.0, 1.0, 1.0, 1.0, 0.5],
    "with_nan": [3.0, 2.0, NAN, 2.0, 4.0, NAN, 1.0, 4.0, 1.5, NAN, NAN, 1.0, 1.0, 0.5],
    "better": [3.0 - i / 8 for i in range(8)],
}
# An EarlyStopping that checks for NaN would end the second but last; the other settings end runs early.
STOPPERS: dict[str, dict[str, Any]] = {
    "patient": {"patience": 8, "check_finite": False},
    "ends": {"patience": 3, "check_finite": False},
    "finite": {"patience": 4},
    "max": {"patience": 4, "mode": "max", "min_delta": 0.5},
    "threshold": {"patience": 5, "stopping_threshold": 1.2},
    "divergence": {"patience": 5, "divergence_threshold": 3.5},
    "none": {"patience": 0},
}


def fast(values: list[tuple[Any, ...]], *quick: tuple[Any, ...]) -> list[Any]:
    """All of them as parameters; those that are not quick are for the long form."""
    marks = [() if value in quick else (pytest.mark.slow,) for value in values]
    return [pytest.param(*value, marks=mark) for value, mark in zip(values, marks, strict=True)]


PAIRS = [(series, stopper) for series in SERIES for stopper in STOPPERS]
QUICK = [*(("up_and_down", stopper) for stopper in STOPPERS), ("steps", "patient"), ("with_nan", "finite"), ("with_nan", "patient"), ("better", "ends")]  # fmt: skip


@pytest.fixture(
    scope="module",
    params=[pytest.param(pair, marks=() if pair in QUICK else pytest.mark.slow, id="-".join(pair)) for pair in PAIRS],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A fit under all of them at once, and its preview."""
    losses, stopper = SERIES[request.param[0]], STOPPERS[request.param[1]]
    callbacks = [HyperparamAnnealingCallback(RULES), EarlyStopping("val_loss", **stopper)]
    module = Watched(STARTS, losses, batches=1)
    fitted(tmp_path_factory.mktemp("run"), module, *callbacks, max_epochs=len(losses))
    preview = HyperparamAnnealingCallback(RULES).preview(
        len(losses), metrics={"val_loss": losses}, early_stopping={"monitor": "val_loss", **stopper}, start=STARTS
    )
    return module, preview


def test_every_rule(run: Any) -> None:
    module, preview = run
    shown = {name: preview[name] for name in RULES}
    assert shown == {name: module.epochs(name) for name in RULES}
    for name in RULES:
        assert {type(v) for v in preview[name]} == {type(v) for v in module.epochs(name)}


def test_the_marks_are_the_changes(run: Any) -> None:
    module, preview = run
    for parameter in preview.parameters:
        seen = module.epochs(parameter.name)
        changed = [epoch for epoch in range(1, len(seen)) if seen[epoch] != seen[epoch - 1]]
        assert [mark.x for mark in parameter.marks] == changed


def test_the_run_ends_where_it_ends(run: Any) -> None:
    module, preview = run
    assert preview.epochs == module.trace[-1][0] + 1
    assert bool(preview.ends) == (preview.epochs < len(module.losses))


def test_by_hand() -> None:
    #         counts  0    1    2    3    0    1    2
    losses = [2.0, 3.0, 3.0, 3.0, 1.0, 1.0, 1.0, 1.0]
    rules = {"half": on(HALF), "third": on(THIRD), "count": on("early_stopper_counter")}
    preview = HyperparamAnnealingCallback(rules).preview(
        8, metrics={"val_loss": losses}, early_stopping={"monitor": "val_loss", "patience": 4}
    )
    assert preview["half"] == [0, 0, 0, 1, 1, 1, 1, 2]
    assert preview["third"] == [0, 0, 0, 1, 1, 1, 1, 2]
    assert preview["count"] == [0, 0, 1, 2, 3, 3, 4, 5]
    assert [mark.text for mark in preview.parameters[0].marks] == [f"{HALF} (2 of 4)", f"{HALF} (2 of 4)"]


EXTENDED: dict[str, dict[str, dict[str, Any]]] = {
    "holds": {"a": on("early_stopper_triggered", values=[0.0, 1.0, 2.0], extend_training=True)},
    "cycles": {"a": on("early_stopper_triggered", values=[0.0, 1.0], at_end="cycle", extend_training=True)},
    "two": {
        "a": on("early_stopper_triggered", values=[0.0, 1.0], extend_training=True),
        "b": on("early_stopper_triggered", values=[0.0, 1.0, 2.0, 3.0], extend_training=True),
    },
    "beside": {
        "a": on("early_stopper_triggered", values=[0.0, 1.0, 2.0], extend_training=True),
        "b": on("early_stopper_counter"),
        "c": on(HALF),
        "d": on("early_stopper_triggered"),
        "e": on("metric_plateau", monitor="val_loss", patience=2),
    },
    "multiplied": {"a": on("early_stopper_triggered", multiply=0.5, min_value=0.1, extend_training=True)},
    "used_up": {"a": on("early_stopper_triggered", values=[0.0, 1.0], current_index=1, extend_training=True)},
}


@pytest.mark.parametrize(
    ("name", "patience", "series"),
    fast(
        [
            (name, patience, series)
            for name in EXTENDED
            for patience in (1, 2, 3)
            for series in ("steps", "up_and_down")
        ],
        *((name, 2, "up_and_down") for name in EXTENDED),
        ("beside", 1, "up_and_down"),
        ("beside", 3, "steps"),
    ),
)
def test_training_that_is_extended(tmp_path: Path, name: str, patience: int, series: str) -> None:
    rules, losses = EXTENDED[name], SERIES[series]
    starts = dict.fromkeys(rules, 1.0)
    module = Watched(starts, losses, batches=1)
    stopper = EarlyStopping("val_loss", patience=patience)
    fitted(tmp_path, module, HyperparamAnnealingCallback(rules), stopper, max_epochs=len(losses))
    # An EarlyStopping itself does as well as its arguments.
    preview = HyperparamAnnealingCallback(rules).preview(
        len(losses),
        metrics={"val_loss": losses},
        early_stopping=EarlyStopping("val_loss", patience=patience),
        start=starts,
    )
    assert {each: preview[each] for each in rules} == {each: module.epochs(each) for each in rules}
    assert preview.epochs == module.trace[-1][0] + 1


@pytest.mark.parametrize("stopper", [{"stopping_threshold": 1.5}, {"divergence_threshold": 3.5}, {}])
def test_a_stop_for_another_reason_is_not_taken_back(tmp_path: Path, stopper: dict[str, Any]) -> None:
    rules = {"a": on("early_stopper_triggered", extend_training=True)}
    losses = [3.0, 2.0, 2.0, 2.0, 1.0, 4.0, NAN, 1.0]
    module = Watched({"a": 0.0}, losses, batches=1)
    options: dict[str, Any] = {"monitor": "val_loss", "patience": 2, **stopper}
    fitted(tmp_path, module, HyperparamAnnealingCallback(rules), EarlyStopping(**options), max_epochs=8)
    preview = HyperparamAnnealingCallback(rules).preview(8, metrics={"val_loss": losses}, early_stopping=options)
    assert preview["a"] == module.epochs("a")
    assert 4 < preview.epochs == module.trace[-1][0] + 1 < 8


def held(folder: Path, rules: dict[str, Any], losses: list[float], optim: dict[str, Any] | None = None, *, starts: dict[str, Any] | None = None,
         stopper: dict[str, Any] | None = None, **trainer: Any) -> tuple[Any, Any]:  # fmt: skip
    """A run and the preview of its config."""
    starts = starts or dict.fromkeys(rules, 0.5)
    trainer = {"max_epochs": len(losses), "limit_train_batches": 1, **trainer}
    made = [HyperparamAnnealingCallback(rules)] if rules else []
    entries = [annealing(**rules)] if rules else []
    stoppers = [] if stopper is None else [EarlyStopping("val_loss", **stopper)]
    entries += [] if stopper is None else [stopping(**stopper)]
    optim = {"optimizer": "SGD", "learning_rate": 0.5, **(optim or {})}
    module = fitted(folder, Optimized(optim, starts, losses=losses), *made, *stoppers, **trainer)
    model = {"class_path": "nowhere.Model", "init_args": {"optim": optim, **starts}}
    return module, previewed({"model": model, "trainer": {**trainer, "callbacks": entries}}, folder, losses)


PLATEAU: dict[str, Any] = {"scheduler": "ReduceLROnPlateau", "scheduler_kwargs": {"factor": 0.5, "patience": 1}}
RULES_OF_RATES = {
    "drop": on("lr_scheduler_triggered"),
    "rested": on("lr_scheduler_triggered", cooldown=4),
    "multiplied": on("lr_scheduler_triggered", multiply=0.5, min_value=0.1),
    "count": on("early_stopper_counter"),
}


KWARGS: list[dict[str, Any]] = [
    {},
    {"patience": 0},
    {"mode": "max"},
    {"cooldown": 2, "min_lr": 0.2},
    {"threshold": 0.5, "threshold_mode": "abs"},
]


@pytest.mark.parametrize(
    ("series", "kwargs"),
    fast(
        [(series, kwargs) for series in SERIES for kwargs in KWARGS],
        *(("up_and_down", kwargs) for kwargs in KWARGS),
        ("with_nan", {}),
    ),
)
def test_a_rate_that_falls(tmp_path: Path, series: str, kwargs: dict[str, Any]) -> None:
    optim = {**PLATEAU, "scheduler_kwargs": {**PLATEAU["scheduler_kwargs"], **kwargs}}
    stopper: dict[str, Any] = {"patience": 7, "check_finite": False}
    module, preview = held(tmp_path, RULES_OF_RATES, SERIES[series], optim, stopper=stopper)
    assert preview["learning rate"] == module.epochs("lr")
    for name in RULES_OF_RATES:
        assert preview[name] == module.epochs(name)


@pytest.mark.parametrize(("every", "series"), [(2, "steps"), (3, "up_and_down")])
def test_validations_of_some_epochs(tmp_path: Path, every: int, series: str) -> None:
    losses = SERIES[series][:8]
    options = {"check_val_every_n_epoch": every, "max_epochs": every * len(losses) + 1}
    module, preview = held(tmp_path, RULES, losses, starts=STARTS, stopper={"patience": 5}, **options)
    assert {name: preview[name] for name in RULES} == {name: module.epochs(name) for name in RULES}
    assert preview.epochs == module.trace[-1][0] + 1


@pytest.mark.parametrize("every", [2, 3])
def test_a_rate_that_falls_at_validations_of_some_epochs(tmp_path: Path, every: int) -> None:
    losses = SERIES["steps"][:8]
    options = {"check_val_every_n_epoch": every, "max_epochs": every * len(losses) + 1}
    module, preview = held(tmp_path, RULES_OF_RATES, losses, PLATEAU, stopper={"patience": 8}, **options)
    assert preview["learning rate"] == module.epochs("lr")
    assert {name: preview[name] for name in RULES_OF_RATES} == {name: module.epochs(name) for name in RULES_OF_RATES}


TELLS_WHY = pytest.mark.skipif(
    Version(lightning.__version__) < Version("2.6"), reason="EarlyStopping tells since 2.6 that it stops for a NaN"
)


@pytest.mark.parametrize(
    ("min_epochs", "series"),
    [
        (5, "up_and_down"),
        (8, "up_and_down"),
        pytest.param(30, "up_and_down"),
        pytest.param(5, "with_nan", marks=TELLS_WHY),
        pytest.param(30, "with_nan", marks=TELLS_WHY),
        (8, "steps"),
        pytest.param(30, "steps"),
    ],
)
def test_epochs_that_no_stop_cuts_off(tmp_path: Path, min_epochs: int, series: str) -> None:
    module, preview = held(
        tmp_path, RULES, SERIES[series], starts=STARTS, stopper={"patience": 2}, min_epochs=min_epochs
    )
    assert {name: preview[name] for name in RULES} == {name: module.epochs(name) for name in RULES}
    assert preview.epochs == module.trace[-1][0] + 1


def test_schedules_end_with_the_run(tmp_path: Path) -> None:
    rules = {
        "a": {"strategy": "linear", "end_value": 2.0},
        "b": {"strategy": "linear", "end_value": 2.0, "interval": "step"},
        "c": on("early_stopper_counter"),
    }
    module, preview = held(tmp_path, rules, SERIES["steps"], stopper={"patience": 3}, limit_train_batches=3)
    assert preview["a"] == module.epochs("a")
    assert preview["b"] == module.steps("b")
    assert len(preview["a"]) == 5  # of 24, which its length is found from
    assert preview.ends == "EarlyStopping(val_loss) ends the run"


def test_several_stoppers(tmp_path: Path) -> None:
    rules = {"a": on("early_stopper_counter", monitor="val_loss"), "b": on(HALF, monitor="train_loss")}
    losses = SERIES["steps"]
    stoppers = [{"monitor": "train_loss", "patience": 6, "mode": "max"}, {"monitor": "val_loss", "patience": 6}]
    preview = HyperparamAnnealingCallback(rules).preview(
        10, metrics={"val_loss": losses, "train_loss": [2.0, 1, 1, 1, 3, 3, 3, 3, 3, 3]}, early_stopping=stoppers
    )
    assert preview["a"] == [0, 0, 0, 1, 2, 3, 3, 4, 5, 5]
    assert preview["b"] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_which_stopper_is_meant_has_to_be_said() -> None:
    stoppers = [{"monitor": "val_loss"}, {"monitor": "train_loss"}]
    with pytest.raises(ValueError, match="there are several EarlyStopping callbacks"):
        HyperparamAnnealingCallback({"a": on(HALF)}).preview(4, early_stopping=stoppers)


def test_a_config_is_previewed_twice(tmp_path: Path) -> None:
    from lightning_anneal.preview.command import preview_of
    from lightning_anneal.preview.run_config import read_run

    run = read_run({"trainer": {"max_epochs": 12, "callbacks": [annealing(a=on("early_stopper_counter")), stopping()]}})
    first = preview_of(run)["a"]
    assert first == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]
    assert preview_of(run)["a"] == first


def test_what_never_moves_is_told() -> None:
    rules = {"a": on(HALF), "b": on("lr_scheduler_triggered")}
    preview = HyperparamAnnealingCallback(rules).preview(3)
    assert preview["a"] == preview["b"] == [0.0, 0.0, 0.0]
    assert [note.split(":")[0] for note in preview.notes] == ["a", "b"]


@pytest.mark.parametrize(
    ("stopper", "message"),
    [
        (3, r"^early_stopping: must be an EarlyStopping or its arguments, got 3$"),
        ({}, r"^EarlyStopping.monitor: missing$"),
        ({"monitor": "a", "patience": -1}, r"^EarlyStopping.patience: must not be negative, got -1$"),
        ({"monitor": "a", "mode": "mx"}, r"^EarlyStopping.mode: unknown mode 'mx'; did you mean 'max'\?$"),
        ({"monitor": "a", "min_delta": "x"}, r"^EarlyStopping.min_delta: must be a number, got 'x'$"),
        pytest.param(
            {"monitor": "a", "stopping_threshold": "x"},
            r"^EarlyStopping.stopping_threshold: must be a number",
        ),
        pytest.param(
            {"monitor": "a", "divergence_threshold": []},
            r"^EarlyStopping.divergence_threshold: must be a number",
        ),
        pytest.param(
            {"monitor": "a", "check_finite": "no"},
            r"^EarlyStopping.check_finite: must be true or false",
        ),
        pytest.param(
            {"monitor": "a", "patienc": 3},
            r"^EarlyStopping: unknown argument 'patienc'; did you mean 'patience'\?$",
        ),
    ],
)
def test_stoppers_that_cannot_be(stopper: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HyperparamAnnealingCallback({"a": on(HALF)}).preview(4, early_stopping=stopper)


def test_a_stopper_counts_validations_and_not_epochs() -> None:
    from lightning_anneal.config import read_rules
    from lightning_anneal.preview.planned_run import PlannedRun
    from lightning_anneal.preview.simulate import simulate
    from lightning_anneal.preview.stopping import Stopper

    settings = {"strategy": "TRIGGER_BASED", "trigger_source": "early_stopper_counter", "values": [0, 1, 2, 3]}
    run = PlannedRun(
        read_rules({"a": settings}),
        max_epochs=8,
        metrics={"val_loss": [1.0] * 8},
        stoppers=[Stopper("val_loss", patience=9)],
        validates_every=2,
    )
    # The first one, after epoch 1, is the best; those after 3, 5 and 7 are no better.
    assert simulate(run)["a"] == [0, 0, 0, 0, 1, 1, 2, 2]
