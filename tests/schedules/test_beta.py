"""The beta schedulers and their factory."""

from __future__ import annotations

import copy
import pickle

import pytest

from lightning_anneal import AnnealError, CyclicalBetaScheduler, HierarchicalBetaScheduler, get_beta_scheduler

RESTARTING = {
    "base_scheduler_type": "linear",
    "base_scheduler_kwargs": {"max_beta": 1.0, "warmup_epochs": 20},
    "restart_interval": 40,
    "restart_multiplier": 1.2,
}


@pytest.mark.parametrize(
    ("kind", "params", "expected"),
    [
        ("constant", {"max_beta": 4}, {0: 4.0, 9: 4.0}),
        ("linear", {"max_beta": 1, "warmup_epochs": 4}, {0: 0.0, 1: 0.25, 4: 1.0, 9: 1.0}),
        ("Linear", {"max_beta": 1, "warmup_epochs": 4, "min_beta": 0.2}, {0: 0.2, 2: 0.6, 4: 1.0}),
        ("cosine", {"max_beta": 1, "warmup_epochs": 3}, {0: 0.0, 1: 0.25, 2: 0.75, 3: 1.0}),
        # e^-2.5 = 0.082085, e^-5 = 0.0067379: 0.917915 / 0.9932621
        ("exponential", {"max_beta": 1, "warmup_epochs": 4}, {0: 0.0, 2: 0.9241418, 4: 1.0}),
        ("cyclical", {"cycle_length": 10, "max_beta": 2}, {0: 0.0, 5: 2.0, 10: 0.0, 15: 2.0}),
        ("cyclical", {"cycle_length": 4, "wave_type": "triangle", "min_beta": 0.5}, {0: 0.5, 1: 0.75, 2: 1.0}),
        ("warm_restart", RESTARTING, {0: 0.0, 10: 0.5, 39: 1.0, 40: 0.0, 50: 0.5, 88: 0.0, 145: 1.0, 146: 0.0}),
    ],
)
def test_values(kind: str, params: dict[str, object], expected: dict[int, float]) -> None:
    schedule = get_beta_scheduler(kind, **params)
    assert {t: schedule(t) for t in expected} == pytest.approx(expected)


def test_hierarchical() -> None:
    betas = get_beta_scheduler(
        "hierarchical",
        global_scheduler={"type": "linear", "max_beta": 1.0, "warmup_epochs": 10},
        local_scheduler={"type": "warm_restart", **RESTARTING},
    )
    assert isinstance(betas, HierarchicalBetaScheduler)
    assert betas(5) == {"global_kl_weight": 0.5, "local_kl_weight": 0.25}
    assert betas.values(2)[1] == {"global_kl_weight": 0.1, "local_kl_weight": 0.05}
    assert betas.get_restart_info(41) == {
        "local": {
            "last_restart_epoch": 40,
            "epochs_since_restart": 1,
            "next_restart_epoch": 88,
            "is_restart_epoch": False,
        }
    }


def test_restart_info_asked_backwards() -> None:
    schedule = get_beta_scheduler("warm_restart", **RESTARTING)
    infos = [schedule.get_restart_info(t) for t in (146, 40, 0)]
    assert [tuple(info.values()) for info in infos] == [(146, 0, 215, True), (40, 0, 88, True), (0, 0, 40, False)]


def test_the_mapping_stays_as_it_was() -> None:
    params = copy.deepcopy(RESTARTING)
    get_beta_scheduler("warm_restart", **params)
    nested = {
        "global_scheduler": {"type": "warm_restart", **params},
        "local_scheduler": {"type": "constant", "max_beta": 1},
    }
    before = copy.deepcopy(nested)
    get_beta_scheduler("hierarchical", **nested)
    assert (params, nested) == (RESTARTING, before)


def test_equality_repr_and_pickle() -> None:
    schedule = CyclicalBetaScheduler(10, max_beta=4)
    assert repr(schedule) == "CyclicalBetaScheduler(cycle_length=10.0, min_beta=0.0, max_beta=4.0, wave_type='cosine')"
    assert schedule == CyclicalBetaScheduler(10.0, 0.0, 4.0)
    for each in (schedule, get_beta_scheduler("warm_restart", **RESTARTING)):
        assert pickle.loads(pickle.dumps(each)) == copy.deepcopy(each) == each


LINEAR = {"max_beta": 1, "warmup_epochs": 4}
KINDS = "constant, cosine, cyclical, exponential"


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("cosin", LINEAR, "beta_scheduler_type: unknown type 'cosin'; did you mean 'cosine'?"),
        (3, LINEAR, f"beta_scheduler_type: unknown type 3; known: {KINDS}, hierarchical, linear, warm_restart"),
        (
            "linear",
            {"max_beta": 1, "warmup_epoch": 4},
            "linear: unknown parameter 'warmup_epoch'; did you mean 'warmup_epochs'?",
        ),
        ("linear", {"max_beta": 1}, "linear.warmup_epochs: missing"),
        ("linear", {**LINEAR, "warmup_epochs": 0}, "LinearBetaScheduler.warmup_epochs: must be positive, got 0"),
        ("linear", {**LINEAR, "max_beta": -1}, "LinearBetaScheduler.max_beta: must not be negative, got -1"),
        ("linear", {**LINEAR, "min_beta": 2}, "LinearBetaScheduler.min_beta: must not be above max_beta (1)"),
        (
            "linear",
            {**LINEAR, "curve": 2},
            "linear: unknown parameter 'curve'; known: max_beta, min_beta, warmup_epochs",
        ),
        ("constant", {"max_beta": "nan"}, "ConstantBetaScheduler.max_beta: must be a finite number, got nan"),
        (
            "cyclical",
            {"cycle_length": 4, "wave_type": "saw"},
            "CyclicalBetaScheduler.wave_type: unknown wave 'saw'; known: cosine, triangle",
        ),
        (
            "warm_restart",
            {**RESTARTING, "restart_interval": 0.5},
            "WarmRestartBetaScheduler.restart_interval: must be at least 1, got 0.5",
        ),
        (
            "warm_restart",
            {**RESTARTING, "base_scheduler_kwargs": 3},
            "WarmRestartBetaScheduler.base_scheduler_kwargs: must be a mapping, got 3",
        ),
        (
            "warm_restart",
            {**RESTARTING, "base_scheduler_type": "hierarchical"},
            "WarmRestartBetaScheduler.base_scheduler_kwargs: hierarchical gives two betas; take a type that gives one",
        ),
        (
            "hierarchical",
            {"global_scheduler": {"type": "constant", "max_beta": 1}},
            "hierarchical.local_scheduler: missing",
        ),
        (
            "hierarchical",
            {"global_scheduler": {"max_beta": 1}, "local_scheduler": {}},
            f"HierarchicalBetaScheduler.global_scheduler.type: missing; known: {KINDS}, linear, warm_restart",
        ),
    ],
)
def test_refused(kind: str, params: dict[str, object], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        get_beta_scheduler(kind, **params)
    assert str(error.value) == message
