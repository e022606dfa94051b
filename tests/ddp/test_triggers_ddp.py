"""Triggers and batch sizes in several processes: rank 0 decides, and every rank has its values at every step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.utils.data import DistributedSampler

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tests" / "ddp" / "triggers_script.py"

# A launch takes seconds and a fit a tenth of one: these go together, and what has hung once goes by itself. The first
# fit of a launch waits for the other processes to start, so that none of those whose time counts comes first.
VALUES = ["schedules", "twice_an_epoch", "extended", "unsynced", "unsynced_extended", "resumed_triggers"]
BATCHES = ["scheduled_up", "scheduled_down", "triggered_up", "triggered_down", "resumed_sizes"]
PHASES = ["phased", "weights_by_step", "weights_by_epoch"]
ERRORS = [f"{what}_on_{rank}" for what in ("attribute_missing", "stopper_missing", "logged_but") for rank in (0, 1)]
GROUPS = [
    [*VALUES, *PHASES, *BATCHES, "misspelled", *ERRORS],
    ["schedules", "bad_start_on_0", "bad_start_on_1"],
    ["own_sizes_differ"],
]

STEPS = 4
SAMPLES = 48
"""Divisible by all numbers of ranks; otherwise a DistributedSampler pads with samples that are seen twice."""

Written = dict[str, Any]
Run = Callable[[str], list[Written]]


def launch(folder: Path, ranks: int, scenarios: list[str]) -> None:
    """Run scenarios on so many ranks. What went wrong shows in what they have written down, and in the log."""
    arguments = [sys.executable, str(SCRIPT), str(folder), str(ranks), *scenarios]
    log = folder / "log"
    with log.open("w") as out:
        process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, "PL_GLOBAL_SEED": "0"},
        )
        try:
            process.wait(timeout=150)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(
    scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow), pytest.param(4, marks=pytest.mark.slow)]
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What each rank has written down of a scenario."""
    folders: dict[int, Path] = {}

    def read(scenario: str) -> list[Written]:
        group = next(i for i, scenarios in enumerate(GROUPS) if scenario in scenarios)
        if group not in folders:
            folders[group] = tmp_path_factory.mktemp("ddp")
            launch(folders[group], request.param, GROUPS[group])
        paths = [folders[group] / f"{scenario}.{rank}.json" for rank in range(request.param)]
        missing = [path.name for path in paths if not path.exists()]
        assert not missing, f"not written: {missing}\n{(folders[group] / 'log').read_text()[-2000:]}"
        written = [json.loads(path.read_text()) for path in paths]
        # Else a rank has waited for another one until the process group gave up.
        assert [rank.get("ended") for rank in written] == [None] * request.param
        return written

    return read


def same_on_all(ranks: list[Written], key: str) -> Any:
    """What all ranks have written down alike."""
    for rank in ranks[1:]:
        assert rank[key] == ranks[0][key]
    return ranks[0][key]


def steps(*columns: list[float], of: int = STEPS, per_epoch: int = 1) -> list[list[Any]]:
    """Every step of a run, from the values of beta, gamma, delta and epsilon in each of its stretches of `of` steps."""
    seen: list[list[Any]] = []
    for stretch in range(len(columns[0])):
        values = [float(column[stretch]) for column in columns] + [0.0] * (4 - len(columns))
        for step in range(of):
            seen.append([stretch // per_epoch, stretch % per_epoch * of + step, values])
    return seen


NEVER = [0.0] * 20

# -- values ---------------------------------------------------------------------------------------------------------


def test_pure_schedules_take_one_broadcast_at_fit_start_and_none_after(run: Run) -> None:
    ranks = run("schedules")
    # beta begins at rank 0's 0.5, though the others have 7.5; gamma ramps over half of the 16 steps.
    by_epoch = [0.5, 1.0, 1.5, 2.0]
    assert same_on_all(ranks, "seen") == [
        [epoch, batch, [by_epoch[epoch], float(min(4 * epoch + batch, 8)), 0.0, 0.0]]
        for epoch in range(4)
        for batch in range(4)
    ]
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start"]
    assert set(same_on_all(ranks, "votes")) == {"on_fit_start"}


def test_one_broadcast_for_each_poll_with_two_validations_an_epoch(run: Run) -> None:
    ranks = run("twice_an_epoch")
    # Mean losses 4 4 4 3 3 3 3 3, two steps between them; each value follows the loss before it.
    counter = [0, 0, 1, 2, 2, 3, 4, 5]  # counts 0 1 2 0 1 2 3
    plateau = [0, 0, 0, 0, 0, 0, 0, 1]  # the third loss in a row that is no better
    rates = [0, 0, 0, 1, 1, 1, 2, 2]  # the second one
    assert same_on_all(ranks, "seen") == steps(counter, plateau, rates, of=2, per_epoch=2)
    batch, epoch = "on_train_batch_start", "on_train_epoch_start"
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start", batch, epoch, batch, epoch, batch, epoch, batch]
    assert set(same_on_all(ranks, "votes")) == {"on_fit_start"}
    assert same_on_all(ranks, "warned") == []


# Mean losses 4 4 4 4 3 3 3 3 3 3 3, patience 3. The stop after epoch 3 is taken back, and that after epoch 7; after
# epoch 10 no values are left. A stop that is taken back sets the count to 0, after the counter has shown its 3.
EXTENDED = [
    [0, 0, 1, 2, 3, 3, 4, 5, 6, 7, 8],  # counts 0 1 2 3 0 1 2 3 1 2
    [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2],  # three losses that are no better: 1-3, 5-7
    [0, 0, 0, 1, 1, 1, 1, 2, 2, 3, 3],  # every second one: 1-2, 5-6, 7-8
    [0, 0, 0, 0, 10, 10, 10, 10, 20, 20, 20],
]
STOPPER_HOOKS = ["on_validation_end", "on_train_epoch_end"]


def test_stops_are_taken_back_on_every_rank_and_cost_a_broadcast_for_each_hook_of_the_stopper(run: Run) -> None:
    ranks = run("extended")
    assert same_on_all(ranks, "seen") == steps(*EXTENDED)
    # Both of the stopper's hooks ask rank 0 in every epoch, also the one in which this stopper doesn't check; the
    # sanity check doesn't. The polls are as ever, one for each epoch but the first.
    per_epoch = ["on_train_epoch_start", *STOPPER_HOOKS]
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start", *STOPPER_HOOKS, *(per_epoch * 10)]
    assert set(same_on_all(ranks, "votes")) == {"on_fit_start"}
    assert same_on_all(ranks, "warned") == []


def test_rank_0_decides_where_the_ranks_log_different_metrics(run: Run) -> None:
    ranks = run("unsynced")
    # Rank 0 has 4 4 4 3 3 3 3; the others' losses fall at every validation, and they would do nothing.
    counter = [0, 0, 1, 2, 2, 3, 4]
    plateau = [0, 0, 0, 1, 1, 2, 2]  # mode max: nothing is ever better than the first loss
    rates = [0, 0, 0, 1, 1, 1, 2]
    assert same_on_all(ranks, "seen") == steps(counter, plateau, rates)
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start"] + ["on_train_epoch_start"] * 6
    warning = "the processes see different values of 'val_loss', and rank 0 decides; log it with sync_dist=True"
    assert [rank["warned"] for rank in ranks] == [[], *[[f"beta: {warning}"]] * (len(ranks) - 1)]


def test_a_stop_is_taken_back_if_rank_0_has_asked_for_it_and_stands_on_all_if_another_one_has(run: Run) -> None:
    ranks = run("unsynced_extended")
    # Patience 2: rank 0 (4 4 4 3 2) asks after epoch 2, the others (4 3 2 2.5 2.5) after epoch 4.
    assert same_on_all(ranks, "seen") == steps(NEVER[:5], NEVER, NEVER, [0, 0, 0, 10, 10])
    per_epoch = ["on_train_epoch_start", *STOPPER_HOOKS]
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start", *STOPPER_HOOKS, *(per_epoch * 4)]


@pytest.mark.parametrize("after", [1, 2, 3, 7])
def test_a_resumed_run_has_the_same_values_at_every_step(run: Run, after: int) -> None:
    ranks = run("resumed_triggers")
    assert same_on_all(ranks, "seen") == steps(*(column[:9] for column in EXTENDED))
    resumed = [rank["resumed"][str(after)] for rank in ranks]
    assert same_on_all(resumed, "seen") == [step for step in ranks[0]["seen"] if step[0] > after]
    assert same_on_all(resumed, "rates") == [rate for rate in ranks[0]["rates"] if rate[0] > after]
    # What the checkpoint's epoch has brought is looked at first of all.
    per_epoch = ["on_train_epoch_start", *STOPPER_HOOKS]
    assert same_on_all(resumed, "broadcasts") == ["on_fit_start", *(per_epoch * (8 - after))]


# -- phases and weights of losses -----------------------------------------------------------------------------------

# a: epochs 0 to 2; b: two steps of epoch 3; c: its other two, and then the count has risen; d: from epoch 4 on.
BETA = [1.0] * 12 + [2.0] * 2 + [3.0] * 2 + [3.0] * 12
GAMMA = [0.0] * 16 + [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.0, 8.0, 8.0]
TURNS = [
    [3, 12, "b", "metric_below val_loss 3 < 3.5"],
    [3, 14, "c", "step 14"],
    [4, 16, "d", "early_stopper_counter 0 -> 1"],
]


def test_all_ranks_turn_together(run: Run) -> None:
    ranks = run("phased")
    assert same_on_all(ranks, "seen") == [
        [step // STEPS, step % STEPS, [BETA[step], GAMMA[step], 0.0, 0.0]] for step in range(28)
    ]
    assert same_on_all(ranks, "turns") == TURNS
    assert same_on_all(ranks, "phase") == "d"
    # One for each look, and none for a turn by steps.
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start"] + ["on_train_epoch_start"] * 6


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_resumed_run_has_the_same_phases(run: Run, after: int) -> None:
    ranks = run("phased")
    resumed = [rank["resumed"][str(after)] for rank in ranks]
    assert same_on_all(resumed, "seen") == [step for step in ranks[0]["seen"] if step[0] > after]
    assert same_on_all(resumed, "turns") == [turn for turn in TURNS if turn[0] > after]


def test_weights_follow_from_the_mean_over_all_ranks(run: Run) -> None:
    ranks = run("weights_by_step")
    n = len(ranks)
    first, then = [1.0, 1.0], [2 / (n + 1), 2 * n / (n + 1)]
    assert same_on_all(ranks, "seen") == [
        [step // STEPS, step % STEPS, first if step < 3 else pytest.approx(then, rel=1e-12)] for step in range(8)
    ]
    # One for each update, at steps 3 and 6, and one for the look at each epoch.
    batch, epoch = "on_train_batch_start", "on_train_epoch_start"
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start", batch, epoch, batch]


def test_by_epoch_also_of_what_each_rank_logs(run: Run) -> None:
    ranks = run("weights_by_epoch")
    # a stands still, b halves: three times the weight for a.
    weights = [[1.0, 1.0], [1.0, 1.0], pytest.approx([1.5, 0.5], rel=1e-12)]
    assert same_on_all(ranks, "seen") == [[step // STEPS, step % STEPS, weights[step // STEPS]] for step in range(12)]


# -- batch sizes ----------------------------------------------------------------------------------------------------

# The size in each epoch. The triggered ones follow counts of 0 1 2 3: the first change comes with epoch 2.
SIZES = {
    "scheduled_up": [4, 6, 6, 12, 12],
    "scheduled_down": [12, 4, 4, 2, 2],
    "triggered_up": [4, 4, 6, 12, 12],
    "triggered_down": [12, 12, 4, 2, 2],
    "resumed_sizes": [4, 4, 6, 12, 12],
    "own_sizes_differ": [4, 6, 6, 12, 12],
}


def batches(ranks: list[Written], rank: int, epoch: int) -> list[list[int]]:
    return [indices for at, indices in ranks[rank]["indices"] if at == epoch]


@pytest.mark.parametrize("scenario", SIZES)
def test_a_batch_size_holds_from_the_epoch_it_is_decided_for(run: Run, scenario: str) -> None:
    ranks = run(scenario)
    share = SAMPLES // len(ranks)
    for epoch, size in enumerate(SIZES[scenario]):
        full, rest = divmod(share, size)
        for rank in range(len(ranks)):
            lengths = [len(indices) for indices in batches(ranks, rank, epoch)]
            assert lengths == [size] * full + [rest] * (rest > 0), (epoch, rank)
    assert same_on_all(ranks, "validated") == [0, 1, 2, 3, 4]
    assert same_on_all(ranks, "error") is None


@pytest.mark.parametrize("scenario", SIZES)
def test_every_sample_is_seen_once_an_epoch_in_an_order_of_that_epoch(run: Run, scenario: str) -> None:
    ranks = run(scenario)
    orders = set()
    for epoch in range(5):
        seen = []
        for rank in range(len(ranks)):
            own = [index for batch in batches(ranks, rank, epoch) for index in batch]
            sampler = DistributedSampler(range(SAMPLES), num_replicas=len(ranks), rank=rank, seed=0)
            sampler.set_epoch(epoch)
            assert own == list(sampler), (epoch, rank)
            seen += own
        assert sorted(seen) == list(range(SAMPLES)), epoch
        orders.add(tuple(seen))
    assert len(orders) == 5


@pytest.mark.parametrize("scenario", ["triggered_up", "resumed_sizes"])
def test_a_learning_rate_follows_on_every_rank(run: Run, scenario: str) -> None:
    rates = [0.125, 0.125, 0.1875, 0.375, 0.375]
    assert all(rate == rates[epoch] for epoch, rate in same_on_all(run(scenario), "rates"))


@pytest.mark.parametrize(
    ("scenario", "polls"), [("scheduled_up", 0), ("scheduled_down", 0), ("triggered_up", 4), ("triggered_down", 4)]
)
def test_a_batch_size_takes_no_broadcast_of_its_own(run: Run, scenario: str, polls: int) -> None:
    assert same_on_all(run(scenario), "broadcasts") == ["on_fit_start"] + ["on_train_epoch_start"] * polls


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_resumed_run_has_the_same_batches(run: Run, after: int) -> None:
    ranks = run("resumed_sizes")
    for whole in ranks:
        resumed = whole["resumed"][str(after)]
        assert resumed["indices"] == [batch for batch in whole["indices"] if batch[0] > after]
        assert resumed["rates"] == [rate for rate in whole["rates"] if rate[0] > after]
        assert resumed["validated"] == list(range(after + 1, 5))


# -- errors ---------------------------------------------------------------------------------------------------------

MISSING = "beta: Module has no attribute 'beta'; did you mean 'delta'?"
NO_STOPPER = "beta.trigger_source: early_stopper_counter needs an EarlyStopping callback, and the Trainer has none"
BAD_START = "beta.start_value: a geometric curve can't start at 0; take Saturating"
AT_FIT_START = {
    "attribute_missing_on_0": MISSING,
    "attribute_missing_on_1": MISSING,
    "stopper_missing_on_0": NO_STOPPER,
    "stopper_missing_on_1": NO_STOPPER,
    "bad_start_on_0": BAD_START,
    "bad_start_on_1": BAD_START,
}


@pytest.mark.parametrize(("scenario", "line"), AT_FIT_START.items(), ids=AT_FIT_START)
def test_what_one_rank_finds_wrong_at_fit_start_is_the_same_line_on_all(run: Run, scenario: str, line: str) -> None:
    ranks = run(scenario)
    assert same_on_all(ranks, "error") == line
    assert same_on_all(ranks, "seen") == []
    # Half of what a hang takes.
    assert all(rank["seconds"] < 30 for rank in ranks)


@pytest.mark.parametrize(
    ("scenario", "line"),
    [
        ("misspelled", "beta.monitor: no metric 'val_ac' has been logged; did you mean 'val_acc'?"),
        ("logged_but_on_0", "beta.monitor: no metric 'val_acc' has been logged; known: val_loss"),
    ],
)
def test_what_rank_0_finds_wrong_at_a_poll_is_the_same_line_on_all(run: Run, scenario: str, line: str) -> None:
    ranks = run(scenario)
    assert same_on_all(ranks, "error") == line
    # At the first poll, that is, after the first epoch; and no broadcast but the one that tells.
    assert same_on_all(ranks, "seen") == steps(NEVER[:1])
    assert same_on_all(ranks, "broadcasts") == ["on_fit_start", "on_train_epoch_start"]
    assert all(rank["seconds"] < 30 for rank in ranks)


def test_a_metric_that_rank_0_has_is_enough(run: Run) -> None:
    ranks = run("logged_but_on_1")
    assert same_on_all(ranks, "error") is None
    # Above 0.5 after epochs 1 and 3.
    assert same_on_all(ranks, "seen") == steps([0, 0, 1, 1, 2])
    warning = "beta: the processes see different values of 'val_acc', and rank 0 decides; log it with sync_dist=True"
    assert [rank["warned"] for rank in ranks] == [[warning] if rank == 1 else [] for rank in range(len(ranks))]
