"""The schedules that Hugging Face's Trainer has by name; every number here is worked out by hand from its rules."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_anneal import AnnealError, build_lr_scheduler
from tests.optim.runs import first_rates, optimizer, run

# Cosines at a sixteenth, an eighth and so on of half a turn: (1 + cos(pi x)) / 2.
AT_1_16 = 0.9903926402016152
AT_1_4 = 0.8535533905932737
AT_3_4 = 0.1464466094067262
AT_7_8 = 0.03806023374435663

WSD = {"warmup_steps": 4, "num_decay_steps": 8}

# Of a run of 20 steps with a learning rate of 1: {step: rate}; step 25 is beyond the run's end.
CURVES: list[tuple[str, dict[str, Any], dict[int, float]]] = [
    ("linear", {}, {0: 1.0, 5: 0.75, 10: 0.5, 20: 0.0, 25: 0.0}),
    ("linear", {"warmup_steps": 4}, {0: 0.0, 1: 0.25, 2: 0.5, 4: 1.0, 8: 0.75, 12: 0.5, 16: 0.25, 20: 0.0, 25: 0.0}),
    ("linear", {"warmup_steps": 20}, {0: 0.0, 10: 0.5, 19: 0.95, 20: 1.0, 21: 0.0, 25: 0.0}),
    ("linear", {"warmup_steps": 40}, {0: 0.0, 10: 0.25, 20: 0.5, 25: 0.625}),
    ("linear", {"num_training_steps": 10}, {0: 1.0, 5: 0.5, 9: 0.1, 10: 0.0, 20: 0.0}),
    ("cosine", {}, {0: 1.0, 5: AT_1_4, 10: 0.5, 15: AT_3_4, 20: 0.0, 25: 0.0}),
    ("cosine", {"warmup_steps": 4}, {0: 0.0, 2: 0.5, 4: 1.0, 5: AT_1_16, 8: AT_1_4, 12: 0.5, 16: AT_3_4, 20: 0.0, 25: 0.0}),
    ("cosine", {"warmup_steps": 4, "num_cycles": 1}, {3: 0.75, 4: 1.0, 8: 0.5, 12: 0.0, 16: 0.5, 20: 1.0, 25: 1.0}),
    ("cosine", {"warmup_steps": 4, "num_cycles": 0.25}, {4: 1.0, 8: 0.9619397662556434, 12: AT_1_4, 20: 0.5, 25: 0.5}),
    ("cosine_with_restarts", {"warmup_steps": 4}, {0: 0.0, 4: 1.0, 8: AT_1_4, 12: 0.5, 16: AT_3_4, 20: 0.0, 25: 0.0}),
    ("cosine_with_restarts", {"warmup_steps": 4, "num_cycles": 2}, {2: 0.5, 4: 1.0, 8: 0.5, 11: AT_7_8, 12: 1.0, 16: 0.5, 19: AT_7_8, 20: 0.0, 25: 0.0}),
    ("cosine_with_restarts", {"num_cycles": 4}, {0: 1.0, 5: 1.0, 10: 1.0, 15: 1.0, 20: 0.0, 25: 0.0}),
    ("polynomial", {}, {0: 1.0, 10: 0.50000005, 20: 1e-7, 25: 1e-7}),
    ("polynomial", {"warmup_steps": 4, "lr_end": 0}, {0: 0.0, 3: 0.75, 4: 1.0, 8: 0.75, 12: 0.5, 20: 0.0, 25: 0.0}),
    ("polynomial", {"warmup_steps": 4, "lr_end": 0.2, "power": 2}, {2: 0.5, 4: 1.0, 8: 0.65, 12: 0.4, 16: 0.25, 20: 0.2, 25: 0.2}),
    ("polynomial", {"warmup_steps": 4, "lr_end": 0, "power": 0.5}, {4: 1.0, 8: 0.8660254037844386, 16: 0.5, 20: 0.0}),
    ("constant", {}, {0: 1.0, 10: 1.0, 20: 1.0, 25: 1.0}),
    ("constant_with_warmup", {"warmup_steps": 4}, {0: 0.0, 1: 0.25, 3: 0.75, 4: 1.0, 12: 1.0, 20: 1.0, 25: 1.0}),
    ("constant_with_warmup", {}, {0: 1.0, 20: 1.0}),
    ("inverse_sqrt", {"warmup_steps": 4}, {0: 0.0, 2: 0.5, 4: 1.0, 8: 0.7071067811865475, 16: 0.5, 25: 0.4}),
    ("inverse_sqrt", {"warmup_steps": 4, "timescale": 7}, {3: 0.75, 4: 1.0, 25: 0.5}),
    ("inverse_sqrt", {"timescale": 5}, {0: 1.0, 15: 0.5, 20: 0.4472135954999579}),
    ("cosine_with_min_lr", {"warmup_steps": 4, "min_lr": 0.1}, {0: 0.0, 2: 0.5, 4: 1.0, 12: 0.55, 20: 0.1, 25: 0.1}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.5}, {0: 1.0, 5: 0.9267766952966369, 10: 0.75, 20: 0.5, 25: 0.5}),
    ("cosine_with_min_lr", {"min_lr": 0.2, "num_cycles": 1}, {0: 1.0, 5: 0.6, 10: 0.2, 15: 0.6, 20: 1.0, 25: 1.0}),
    ("cosine_warmup_with_min_lr", {"warmup_steps": 4, "min_lr": 0.1}, {0: 0.25, 1: 0.5, 2: 0.75, 3: 1.0, 4: 0.9913533761814537, 11: 0.55, 19: 0.1, 20: 0.1, 25: 0.1}),
    ("cosine_warmup_with_min_lr", {"warmup_steps": 4, "min_lr_rate": 0.1, "warmup_lr_rate": 0.1}, {0: 0.1, 1: 0.4, 2: 0.7, 3: 1.0, 11: 0.55, 19: 0.1, 25: 0.1}),
    ("cosine_warmup_with_min_lr", {"warmup_steps": 4, "min_lr": 0, "num_cycles": 1}, {3: 1.0, 7: 0.5, 11: 0.0, 15: 0.5, 19: 1.0, 25: 1.0}),
    ("cosine_warmup_with_min_lr", {"min_lr": 0}, {4: AT_1_4, 9: 0.5, 14: AT_3_4, 19: 0.0, 20: 0.0}),
    ("warmup_stable_decay", WSD, {0: 0.0, 2: 0.5, 4: 1.0, 8: 1.0, 12: 1.0, 14: AT_1_4, 16: 0.5, 18: AT_3_4, 20: 0.0, 25: 0.0}),
    ("warmup_stable_decay", {**WSD, "min_lr_ratio": 0.2}, {0: 0.2, 2: 0.6, 4: 1.0, 12: 1.0, 16: 0.6, 20: 0.2, 25: 0.2}),
    ("warmup_stable_decay", {**WSD, "warmup_type": "cosine"}, {0: 0.0, 1: AT_3_4, 2: 0.5, 3: AT_1_4, 4: 1.0}),
    ("warmup_stable_decay", {**WSD, "warmup_type": "1-sqrt"}, {0: 0.0, 3: 0.5, 4: 1.0}),
    ("warmup_stable_decay", {**WSD, "decay_type": "linear"}, {12: 1.0, 14: 0.75, 18: 0.25, 20: 0.0}),
    ("warmup_stable_decay", {**WSD, "decay_type": "1-SQRT"}, {12: 1.0, 14: 0.5, 20: 0.0}),
    ("warmup_stable_decay", {**WSD, "num_cycles": 1}, {12: 1.0, 14: 0.5, 16: 0.0, 18: 0.5, 20: 0.0, 25: 0.0}),
    ("warmup_stable_decay", {**WSD, "num_stable_steps": 2}, {4: 1.0, 6: 1.0, 10: 0.5, 14: 0.0, 20: 0.0}),
    ("warmup_stable_decay", {"warmup_steps": 12, "num_decay_steps": 8}, {6: 0.5, 12: 1.0, 16: 0.5, 20: 0.0}),
]  # fmt: skip


def build(name: str, kwargs: dict[str, Any], *rates: float, **options: Any) -> Any:
    return build_lr_scheduler(optimizer(*(rates or (1.0,))), name, scheduler_kwargs=kwargs, **options)


def same(rates: dict[int, float]) -> Any:
    return pytest.approx(rates, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("name", "kwargs", "expected"), CURVES)
def test_curves(name: str, kwargs: dict[str, Any], expected: dict[int, float]) -> None:
    rates = first_rates(build(name, kwargs, max_steps=20), 26)
    assert {t: rates[t] for t in expected} == same(expected)


def test_ten_thousand_is_the_timescale_without_a_warmup() -> None:
    rates = first_rates(build("inverse_sqrt", {}), 405)
    # 1 / sqrt(1.0404), which is 1 / 1.02
    assert {t: rates[t] for t in (0, 404)} == same({0: 1.0, 404: 0.9803921568627451})


@pytest.mark.parametrize("name", ["linear", "cosine", "polynomial", "cosine_with_restarts"])
def test_a_factor_of_each_group_s_rate(name: str) -> None:
    rates = run(build(name, {"warmup_steps": 4}, 0.5, 0.125, max_steps=20), 26)
    assert rates[2] == (0.25, 0.0625)
    assert rates[4] == (0.5, 0.125)
    assert all(second == pytest.approx(first / 4, rel=1e-12) for first, second in rates)


@pytest.mark.parametrize(
    ("name", "kwargs", "halfway", "end"),
    [
        # 0.1 is a fifth of the optimizer's 0.5, and so of each group's rate.
        ("polynomial", {"lr_end": 0.1}, 0.6, 0.2),
        ("cosine_with_min_lr", {"min_lr": 0.1}, 0.6, 0.2),
        ("cosine_with_min_lr", {"min_lr_rate": 0.2}, 0.6, 0.2),
        ("cosine_with_min_lr", {"min_lr": 0.5}, 1.0, 1.0),
    ],
)
def test_absolute_rates_are_shares_of_the_optimizer_s(
    name: str, kwargs: dict[str, Any], halfway: float, end: float
) -> None:
    rates = run(build(name, kwargs, 0.5, 0.25, max_steps=20), 21)
    assert rates[10] == pytest.approx((0.5 * halfway, 0.25 * halfway), rel=1e-12)
    assert rates[20] == pytest.approx((0.5 * end, 0.25 * end), rel=1e-12)


def test_a_learning_rate_of_zero_stays() -> None:
    for name, kwargs in [("polynomial", {"lr_end": 0}), ("cosine_with_min_lr", {"min_lr": 0}), ("linear", {})]:
        assert first_rates(build(name, kwargs, 0.0, max_steps=4), 6) == [0.0] * 6


@pytest.mark.parametrize(
    ("run_steps", "kwargs", "expected"),
    [
        # A ratio is rounded up to whole steps: 15 * 0.1 are 2, 9 * 0.5 are 5, 7 * 0.01 is 1.
        (15, {"warmup_ratio": 0.1}, {0: 0.0, 1: 0.5, 2: 1.0}),
        (9, {"warmup_ratio": 0.5}, {1: 0.2, 4: 0.8, 5: 1.0, 7: 0.5, 9: 0.0}),
        (7, {"warmup_ratio": "0.01"}, {0: 0.0, 1: 1.0, 4: 0.5, 7: 0.0}),
        (20, {"warmup_ratio": 0.2}, {2: 0.5, 4: 1.0, 12: 0.5, 20: 0.0}),
        (20, {"warmup_ratio": 0}, {0: 1.0, 10: 0.5, 20: 0.0}),
        (20, {"warmup_ratio": 1}, {0: 0.0, 10: 0.5, 19: 0.95, 20: 1.0, 21: 0.0}),
        (20, {"warmup_ratio": 0.5, "num_training_steps": 10}, {1: 0.2, 5: 1.0, 7: 0.6, 10: 0.0}),
        (20, {"warmup_ratio": None, "warmup_steps": 4}, {2: 0.5, 4: 1.0, 12: 0.5}),
        (20, {"warmup_ratio": 0.2, "warmup_steps": None, "num_training_steps": None}, {2: 0.5, 4: 1.0, 12: 0.5}),
        # Steps take units.
        (20, {"warmup_steps": "20%"}, {2: 0.5, 4: 1.0, 12: 0.5}),
        (20, {"warmup_steps": "1ep"}, {1: 0.2, 5: 1.0, 20: 0.0}),
        (20, {"warmup_steps": "4st"}, {2: 0.5, 4: 1.0, 12: 0.5}),
        (20, {"warmup_steps": "4"}, {2: 0.5, 4: 1.0, 12: 0.5}),
        (20, {"warmup_steps": 0}, {0: 1.0, 10: 0.5}),
        (20, {"warmup_steps": "0%"}, {0: 1.0, 10: 0.5}),
        (40, {"num_training_steps": "50%"}, {0: 1.0, 10: 0.5, 20: 0.0, 30: 0.0}),
        (40, {"num_training_steps": "4ep"}, {0: 1.0, 10: 0.5, 20: 0.0, 30: 0.0}),
    ],
)
def test_warmups(run_steps: int, kwargs: dict[str, Any], expected: dict[int, float]) -> None:
    rates = first_rates(build("linear", kwargs, max_steps=run_steps, steps_per_epoch=5), 31)
    assert {t: rates[t] for t in expected} == same(expected)


def test_other_lengths_take_units_too() -> None:
    options: dict[str, Any] = {"max_steps": 20, "steps_per_epoch": 4}
    rates = first_rates(build("inverse_sqrt", {"timescale": "25%"}, **options), 16)
    assert rates[15] == pytest.approx(0.5, rel=1e-12)
    kwargs = {"warmup_steps": "1ep", "num_stable_steps": "10%", "num_decay_steps": "2ep"}
    rates = first_rates(build("warmup_stable_decay", kwargs, **options), 16)
    assert {t: rates[t] for t in (2, 4, 6, 10, 14)} == same({2: 0.5, 4: 1.0, 6: 1.0, 10: 0.5, 14: 0.0})


@pytest.mark.parametrize(
    "options",
    [{"max_steps": 20}, {"max_epochs": 4, "steps_per_epoch": 5}, {"interval": "epoch", "max_epochs": 20}],
    ids=["steps", "epochs and steps", "by epoch"],
)
def test_the_run_is_what_is_left_out(options: dict[str, Any]) -> None:
    rates = first_rates(build("linear", {"warmup_ratio": 0.2}, **options), 21)
    assert {t: rates[t] for t in (0, 2, 4, 12, 20)} == same({0: 0.0, 2: 0.5, 4: 1.0, 12: 0.5, 20: 0.0})


def test_what_never_ends_needs_no_run() -> None:
    for name in ("constant", "constant_with_warmup", "inverse_sqrt"):
        kwargs = {} if name == "constant" else {"warmup_steps": 2}
        assert first_rates(build(name, kwargs), 3)[2] == 1.0
    kwargs = {**WSD, "num_stable_steps": 2}
    assert first_rates(build("warmup_stable_decay", kwargs), 11)[10] == pytest.approx(0.5, rel=1e-12)


def test_reduce_lr_on_plateau_is_torchs() -> None:
    made = build("reduce_lr_on_plateau", {"factor": "0.5", "patience": 1})
    # 9, 8 improve; 8.5, 8.5 are one more than the patience; 7 improves; 7.5, 7.5 are too many again.
    assert first_rates(made, 8) == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.25]


RATE = "must be from 0 to 1"
UNITS = "must be a number, '10ep', '500st' or '30%'"


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("linear", {"warmup_steps": 4, "warmup_ratio": 0.1}, "scheduler_kwargs.warmup_ratio: warmup_steps says it too; keep one"),
        ("linear", {"warmup_steps": 0, "warmup_ratio": 0.0}, "scheduler_kwargs.warmup_ratio: warmup_steps says it too; keep one"),
        ("linear", {"warmup_ratio": 1.5}, f"scheduler_kwargs.warmup_ratio: {RATE}, got 1.5"),
        ("linear", {"warmup_ratio": -0.1}, f"scheduler_kwargs.warmup_ratio: {RATE}, got -0.1"),
        ("linear", {"warmup_ratio": float("nan")}, "scheduler_kwargs.warmup_ratio: must be a finite number, got nan"),
        ("linear", {"warmup_ratio": True}, "scheduler_kwargs.warmup_ratio: must be a number, got True"),
        ("linear", {"warmup_ratio": [0.1]}, "scheduler_kwargs.warmup_ratio: must be a number, got [0.1]"),
        ("linear", {"warmup_steps": "soon"}, f"scheduler_kwargs.warmup_steps: {UNITS}, got 'soon'"),
        ("linear", {"warmup_steps": True}, "scheduler_kwargs.warmup_steps: must be a number, got True"),
        ("linear", {"warmup_steps": float("inf")}, "scheduler_kwargs.warmup_steps: must be a finite number, got inf"),
        ("linear", {"num_training_steps": 0}, "scheduler_kwargs.num_training_steps: must be positive, got 0"),
        ("linear", {"num_warmup_steps": 4}, "scheduler_kwargs: linear takes no 'num_warmup_steps'; did you mean 'warmup_steps'?"),
        ("linear", {"end": 0}, "scheduler_kwargs: linear takes no 'end'; it takes warmup_steps, warmup_ratio, num_training_steps"),
        ("linear", {"num_cycles": 1}, "scheduler_kwargs: linear takes no 'num_cycles'; it takes warmup_steps, warmup_ratio, num_training_steps"),
        ("linear", {3: 1}, "scheduler_kwargs: linear takes no 3; it takes warmup_steps, warmup_ratio, num_training_steps"),
        ("constant", {"warmup_steps": 4}, "scheduler_kwargs: constant takes no 'warmup_steps'; it takes nothing"),
        ("constant_with_warmup", {"num_training_steps": 9}, "scheduler_kwargs: constant_with_warmup takes no 'num_training_steps'; it takes warmup_steps, warmup_ratio"),
        ("cosine", {"num_cycles": 0}, "scheduler_kwargs.num_cycles: must be positive, got 0"),
        ("cosine", {"num_cycles": "many"}, "scheduler_kwargs.num_cycles: must be a number, got 'many'"),
        ("cosine", {"min_lr": 0.1}, "scheduler_kwargs: cosine takes no 'min_lr'; it takes warmup_steps, warmup_ratio, num_training_steps, num_cycles"),
        ("cosine_with_restarts", {"num_cycles": -2}, "scheduler_kwargs.num_cycles: must be positive, got -2"),
        ("polynomial", {"power": 0}, "scheduler_kwargs.power: must be positive, got 0"),
        ("polynomial", {"lr_end": -0.1}, "scheduler_kwargs.lr_end: must not be negative, got -0.1"),
        ("polynomial", {"lr_end": 2}, "scheduler_kwargs.lr_end: 2 is above the learning rate, 1"),
        ("inverse_sqrt", {"timescale": 0}, "scheduler_kwargs.timescale: must be positive, got 0"),
        ("inverse_sqrt", {"timescale": "slow"}, f"scheduler_kwargs.timescale: {UNITS}, got 'slow'"),
        ("cosine_with_min_lr", {}, "scheduler_kwargs.min_lr: missing; cosine_with_min_lr needs min_lr or min_lr_rate"),
        ("cosine_with_min_lr", {"min_lr": None}, "scheduler_kwargs.min_lr: missing; cosine_with_min_lr needs min_lr or min_lr_rate"),
        ("cosine_with_min_lr", {"min_lr": 0.1, "min_lr_rate": 0.1}, "scheduler_kwargs.min_lr_rate: min_lr says it too; keep one"),
        ("cosine_with_min_lr", {"min_lr": 1.5}, "scheduler_kwargs.min_lr: 1.5 is above the learning rate, 1"),
        ("cosine_with_min_lr", {"min_lr": -1}, "scheduler_kwargs.min_lr: must not be negative, got -1"),
        ("cosine_with_min_lr", {"min_lr_rate": 2}, f"scheduler_kwargs.min_lr_rate: {RATE}, got 2"),
        ("cosine_warmup_with_min_lr", {}, "scheduler_kwargs.min_lr: missing; cosine_warmup_with_min_lr needs min_lr or min_lr_rate"),
        ("cosine_warmup_with_min_lr", {"min_lr": 0.1, "warmup_lr_rate": 2}, f"scheduler_kwargs.warmup_lr_rate: {RATE}, got 2"),
        ("warmup_stable_decay", {}, "scheduler_kwargs.num_decay_steps: missing; warmup_stable_decay takes warmup_steps, warmup_ratio, num_training_steps, num_decay_steps, num_stable_steps, warmup_type, decay_type, min_lr_ratio, num_cy..."),
        ("warmup_stable_decay", {"num_decay_steps": 0}, "scheduler_kwargs.num_decay_steps: must be positive, got 0"),
        ("warmup_stable_decay", {"warmup_steps": 15, "num_decay_steps": 8}, "scheduler_kwargs.num_decay_steps: warm-up (15) and decay (8) are longer than the whole (20)"),
        ("warmup_stable_decay", {**WSD, "num_stable_steps": 8, "num_training_steps": 20}, "scheduler_kwargs.num_training_steps: num_stable_steps says it too; keep one"),
        ("warmup_stable_decay", {**WSD, "decay_type": "lineer"}, "scheduler_kwargs.decay_type: unknown decay_type 'lineer'; did you mean 'linear'?"),
        ("warmup_stable_decay", {**WSD, "warmup_type": 3}, "scheduler_kwargs.warmup_type: unknown warmup_type 3; known: 1-sqrt, cosine, linear"),
        ("warmup_stable_decay", {**WSD, "min_lr_ratio": -1}, f"scheduler_kwargs.min_lr_ratio: {RATE}, got -1"),
        ("reduce_lr_on_plateau", {"factor": 1}, "scheduler_kwargs: ReduceLROnPlateau: Factor should be < 1.0."),
        ("reduce_lr_on_plateau", {"warmup_steps": 4}, "scheduler_kwargs: ReduceLROnPlateau takes no 'warmup_steps'; known: cooldown, eps, factor, min_lr, mode, patience, threshold, threshold_mode"),
    ],
)  # fmt: skip
def test_refused(name: str, kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        build(name, kwargs, max_steps=20)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "kwargs", "start"),
    [
        ("linear", {"warmup_steps": -1}, "scheduler_kwargs.warmup_steps: must not be negative"),
        # Half a step is no warm-up; Hugging Face itself reads a warmup_steps below 1 as a ratio.
        ("cosine_warmup_with_min_lr", {"min_lr": 0, "warmup_steps": 0.5}, "scheduler_kwargs.warmup_steps: "),
        ("linear", {"warmup_steps": 0.1}, "scheduler_kwargs.warmup_steps: "),
    ],
)
def test_refused_in_whatever_words(name: str, kwargs: dict[str, Any], start: str) -> None:
    with pytest.raises(AnnealError) as error:
        build(name, kwargs, max_steps=20)
    assert str(error.value).startswith(start)


@pytest.mark.parametrize(
    ("name", "kwargs", "key"),
    [
        ("linear", {}, "num_training_steps"),
        ("cosine", {"warmup_ratio": 0.1}, "num_training_steps"),
        ("linear", {"warmup_steps": "10%", "num_training_steps": 20}, "warmup_steps"),
        ("inverse_sqrt", {"timescale": "10%"}, "timescale"),
        ("warmup_stable_decay", {"num_decay_steps": 4}, "num_training_steps"),
    ],
)
def test_an_unknown_run_is_told_with_the_key_to_give(name: str, kwargs: dict[str, Any], key: str) -> None:
    with pytest.raises(AnnealError) as error:
        build(name, kwargs)
    told = str(error.value)
    assert told.startswith(f"scheduler_kwargs.{key}: ")
    assert told.endswith("needs the length of the run, which is not known; give a number of steps")


def test_the_key_to_give_is_one_that_can_be_given() -> None:
    # constant_with_warmup takes no num_training_steps, so the way out is warmup_steps.
    with pytest.raises(AnnealError, match="warmup_steps"):
        build("constant_with_warmup", {"warmup_ratio": 0.1})


@pytest.mark.parametrize("name", ["LINEAR", "Cosine_With_Restarts", "cosine_with_restart", "constant_with_warm_up"])
def test_their_names_are_in_lower_case(name: str) -> None:
    with pytest.raises(AnnealError, match=f"unknown scheduler '{name}'; did you mean '[a-z_]+'"):
        build(name, {}, max_steps=20)
