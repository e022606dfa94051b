"""Controllers in several processes: all have the values that follow from the mean over the processes, at every step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.controllers import series
from tests.controllers.series import SERIES

ROOT = Path(__file__).parents[2]
STEPS, EPOCHS = 6, 3
NAMES = ("step", "mean", "logged", "epoch", "validated", "plateau", "follow")
REFUSED = [f"{key}_refused_on_{rank}" for key in ("step", "mean", "epoch") for rank in (0, 1)]

Written = dict[str, Any]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Written]]:
    """What each of two ranks has written down, by scenario. One launch: it takes seconds, and a fit a tenth of one."""
    folder = tmp_path_factory.mktemp("ddp")
    names = ["values", "nan_on_0", "nan_on_1", "nowhere", *REFUSED]
    with (folder / "log").open("w") as out:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "tests" / "ddp" / "controllers_script.py"), str(folder), "2", *names],
            cwd=ROOT, stdout=out, stderr=out, start_new_session=True, env={**os.environ, "PL_GLOBAL_SEED": "0"},
        )  # fmt: skip
        try:
            process.wait(timeout=200)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    written: dict[str, list[Written]] = {}
    for name in names:
        paths = [folder / f"{name}.{rank}.json" for rank in (0, 1)]
        assert all(path.exists() for path in paths), f"{name}\n{(folder / 'log').read_text()[-3000:]}"
        written[name] = [json.loads(path.read_text()) for path in paths]
        # Else a rank has waited for the other one until the process group gave up.
        assert [rank.get("ended") for rank in written[name]] == [None, None], name
    return written


def same(written: list[Written], key: str) -> Any:
    assert written[1][key] == written[0][key]
    return written[0][key]


# What the two ranks have at each step: multiples of 1/1024, whose sums are exact.
EACH = [(SERIES[at], SERIES[100 + at]) for at in range(STEPS * EPOCHS + 1)]
MEAN = [(a + b) / 2 for a, b in EACH]


def pi(metrics: list[float]) -> list[float]:
    """The values at first, and after each metric."""
    return [-7.75, *series.pi_control(metrics, lambda t: 20.0, 0.5, 0.01, -8.0, 8.0)]


def geco(metrics: list[float]) -> list[float]:
    return [1.0, *series.geco(metrics, lambda t: 20.0, 0.125, 0.5, 1e-6, 1e6, 1.0)]


def means(values: list[float], every: int) -> list[float]:
    return [sum(values[i : i + every]) / every for i in range(0, len(values) - every + 1, every)]


def held(values: list[float], every: int) -> list[float]:
    return [value for value in values for _ in range(every)][: STEPS * EPOCHS]


def expected() -> dict[str, list[float]]:
    steps = MEAN[: STEPS * EPOCHS]
    validated = [MEAN[STEPS * (epoch + 1)] for epoch in range(EPOCHS)]
    # Halved where a validation is no better than the best before.
    worse = [later >= min(validated[: i + 1]) for i, (_, later) in enumerate(pairwise(validated))]
    return {
        "step": pi(steps)[: STEPS * EPOCHS],
        "mean": held(pi(means(steps, 4)), 4),
        "logged": held(pi(means([2 * value for value in steps], 2)), 2),
        "epoch": held(geco(means(steps, STEPS)), STEPS),
        "validated": held(pi(validated), STEPS),
        "plateau": held([1.0, 1.0, 0.5 ** worse[0]], STEPS),
        "follow": [2 * value for value in pi(steps)[: STEPS * EPOCHS]],
    }


def by_name(seen: list[Any]) -> dict[str, list[float]]:
    assert [(epoch, batch) for epoch, batch, _ in seen] == [divmod(at, STEPS) for at in range(STEPS * EPOCHS)][
        -len(seen) :
    ]
    return {name: [values[i] for *_, values in seen] for i, name in enumerate(NAMES)}


def test_every_rank_has_the_values_of_the_mean(ranks: dict[str, list[Written]]) -> None:
    assert by_name(same(ranks["values"], "seen")) == expected()
    assert same(ranks["values"], "warned") == []


def test_one_broadcast_for_each_look(ranks: dict[str, list[Written]]) -> None:
    # One where the controllers by step have their turn, of however many there are; one between epochs.
    batch, epoch = "on_train_batch_start", "on_train_epoch_start"
    first, later = [batch] * (STEPS - 1), [epoch, *[batch] * STEPS]
    assert same(ranks["values"], "broadcasts") == ["on_fit_start", *first, *later * (EPOCHS - 1)]


@pytest.mark.parametrize("at", [3, 7, 14])
def test_resumed_in_the_midst_of_an_interval(ranks: dict[str, list[Written]], at: int) -> None:
    resumed = [rank["resumed"][str(at)] for rank in ranks["values"]]
    assert same(resumed, "seen") == ranks["values"][0]["seen"][at:]
    assert same(resumed, "steered") == ranks["values"][0]["steered"]


@pytest.mark.parametrize("rank", [0, 1])
def test_what_is_not_finite_on_one_rank_is_left_out(ranks: dict[str, list[Written]], rank: int) -> None:
    counted = [each[1 - rank] if at % 2 else MEAN[at] for at, each in enumerate(EACH)]
    written = ranks[f"nan_on_{rank}"]
    seen = by_name(same(written, "seen"))
    assert seen["step"] == pi(counted)[: STEPS * EPOCHS]
    # By epoch each value counts as much as any other: half of one rank's, and all of the other's.
    own = [[EACH[at][r] for at in range(STEPS * EPOCHS) if r != rank or not at % 2] for r in (0, 1)]
    whole, half = own[1 - rank], own[rank]
    sums = [sum(whole[6 * e : 6 * e + 6]) + sum(half[3 * e : 3 * e + 3]) for e in range(EPOCHS)]
    assert seen["epoch"] == held(geco([total / 9 for total in sums]), STEPS)
    assert same(written, "warned") == []


def test_what_is_not_finite_on_any_is_told_of_once(ranks: dict[str, list[Written]]) -> None:
    written = ranks["nowhere"]
    assert set(by_name(same(written, "seen"))["step"]) == {-7.75}
    # By one of them.
    assert [rank["warned"] for rank in written] == [["step: kl is inf, so the value is kept"], []]
    assert same(written, "steered")["step"]["missed"] == STEPS * EPOCHS - 1


@pytest.mark.parametrize("scenario", REFUSED)
def test_what_is_no_number_on_one_rank_is_the_same_line_on_both(ranks: dict[str, list[Written]], scenario: str) -> None:
    key = scenario.split("_")[0]
    line = f"{key}.monitor: kl must be one number a batch, got a tensor of shape (32,)"
    assert same(ranks[scenario], "error") == line
    # At the next turn: after this step, in which it was, or of more steps, or the epoch.
    assert len(same(ranks[scenario], "seen")) == {"step": 3, "mean": 4, "epoch": 6}[key]
