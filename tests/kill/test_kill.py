"""A run that was killed and resumed, again and again, has the values of one that never was, and the same audit."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.followed import BATCHES
from tests.kill import child

ROOT = Path(__file__).parents[2]


class Children:
    """Processes that train and are killed."""

    def __init__(self, errors: Path) -> None:
        self.errors = errors
        with errors.open("w") as file:
            self.server = subprocess.Popen(
                [sys.executable, "-m", "tests.kill.child"],
                cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
            )  # fmt: skip

    def train(self, folder: Path, **job: Any) -> int:
        """Train in a process of its own, and give the signal that ended it, or 0."""
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps({"folder": str(folder), **job}) + "\n")
        self.server.stdin.flush()
        answer = self.server.stdout.readline()
        ended = int(json.loads(answer)) if answer else -1
        assert ended >= 0, self.errors.read_text()
        return ended


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    children = Children(tmp_path_factory.mktemp("children") / "stderr.txt")
    yield children
    children.server.communicate(timeout=30)


def seen(folder: Path) -> list[Any]:
    """Every step of a folder's runs, in the order in which they were done."""
    return [
        json.loads(line) for line in (folder / "seen.jsonl").read_text().splitlines(keepends=True) if line[-1] == "\n"
    ]


def audit(folder: Path) -> list[list[str]]:
    with (folder / "log" / "version_0" / "annealing_changes.csv").open(newline="") as lines:
        return list(csv.reader(lines))


Whole = tuple[Path, list[float]]


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Whole]:
    """An uninterrupted run of each variant: its folder, and its weights at the end."""
    runs = {}
    for variant in child.VARIANTS:
        folder = tmp_path_factory.mktemp(variant)
        runs[variant] = folder, child.train(folder, variant=variant).final
        # Stopped by nothing, and everything has moved: the counts rise after epochs 2, 3, 4, 6 and 7; see LOSSES.
        assert seen(folder)[-1][:2] == [child.EPOCHS - 1, BATCHES - 1]
    return runs


def check(whole: Whole, folder: Path, weights: list[float] | None) -> None:
    """Compare every step of every attempt, the audit, and the weights."""
    expected = {(epoch, batch): values for epoch, batch, values in seen(whole[0])}
    steps = seen(folder)
    differing = [(epoch, batch) for epoch, batch, values in steps if values != expected[epoch, batch]]
    assert differing == []
    assert {(epoch, batch) for epoch, batch, _ in steps} == set(expected)
    assert audit(folder) == audit(whole[0])
    assert weights is None or weights == whole[1]


def test_the_uninterrupted_run(wholes: dict[str, Whole]) -> None:
    whole = wholes["plateau"]
    by_epoch = [values for _, batch, values in seen(whole[0]) if batch == 0]
    # The patience of 2 runs out after epochs 3 and 7, is taken back, and the count begins anew.
    assert [values["counts"] for values in by_epoch] == [[0], [0], [0], [1], [0], [1], [0], [1]]
    assert [values["first"] for values in by_epoch] == [0, 0, 0, 0, 1, 1, 1, 1]
    # Rises: 1 after epoch 2, 2 after 3 (which is 0 again by then), 1 after 4, 1 after 6.
    assert [values["beta"] for values in by_epoch] == [0, 0, 0, 1, 2, 3, 3, 4]
    # Bad losses after epochs 2 and 3.
    assert [values["margin"] for values in by_epoch] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [values["kl"] for values in by_epoch] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [values["fast"] for values in by_epoch] == [0, 0, 0, 1, 1, 1, 2, 2]
    rows = [row for row in audit(whole[0])[1:] if row[2] in ("count", "loss.margin", "weights.nested.0")]
    assert [(row[0], row[1], row[2], row[4]) for row in rows if row[0] != "0"] == [
        ("3", "12", "count", "1.0"),
        ("4", "16", "count", "2.0"),
        ("4", "16", "loss.margin", "1.0"),
        ("4", "16", "weights.nested.0", "1.0"),
        ("5", "20", "count", "3.0"),
        ("7", "28", "count", "4.0"),
    ]


def test_what_moves_by_step_in_the_uninterrupted_run(wholes: dict[str, Whole]) -> None:
    steps = {variant: [values for *_, values in seen(folder)] for variant, (folder, _) in wholes.items()}
    for values in steps.values():
        # Half of the way at step 15.5 of 31; as far above it as below.
        heat = [value["heat"] for value in values]
        assert (heat[0], heat[-1]) == (0.0, 0.5)
        assert [low + high for low, high in zip(heat, reversed(heat), strict=True)] == pytest.approx([0.5] * 32)
        # 30% of 32 steps are 9.6: restarts at 10, 19 and 29. An epoch of 4 steps goes up by 1/8 each.
        cycle = [value["cycle"] for value in values]
        up = [0.0, 0.125, 0.25, 0.375]
        assert [cycle[at : at + 6] for at in (0, 10, 19)] == [[*up, 0.5, 0.5]] * 3
        assert cycle[29:] == up[:3]
    # A warm-up of 8 steps, looked at in every third one: 0, 3/8, 6/8 of the rate of the biases.
    rates = [value["group 0"][0] for value in steps["config"]]
    assert rates[:9] == [0.0] * 3 + [0.0625 * 3 / 8] * 3 + [0.0625 * 6 / 8] * 3


# A hook of each phase, and how often it has been called by then.
SEED = 20240611
_random = random.Random(SEED)
KILLS = [
    (hook, _random.randint(most // 4, most))
    for hook, most in [
        ("on_train_batch_start", child.EPOCHS * BATCHES),
        ("on_before_optimizer_step", child.EPOCHS * BATCHES),
        ("on_validation_end", child.EPOCHS),
        ("on_train_epoch_end", child.EPOCHS),
        ("on_save_checkpoint", 2 * child.EPOCHS),  # the best one and the last
    ]
]


KILLED = [("plateau", *kill) for kill in KILLS] + [("config", *kill) for kill in KILLS[1:3]]


@pytest.mark.parametrize(("variant", "hook", "occurrence"), KILLED)
def test_killed_once(
    children: Children, wholes: dict[str, Whole], tmp_path: Path, variant: str, hook: str, occurrence: int
) -> None:
    whole = wholes[variant]
    assert children.train(tmp_path, variant=variant, hook=hook, occurrence=occurrence) == signal.SIGKILL
    done = len(seen(tmp_path))
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert 0 < saved <= done
    weights = child.train(tmp_path, variant=variant).final
    check(whole, tmp_path, weights)
    # It went on where the checkpoint stood, and nowhere else.
    assert seen(tmp_path)[done:] == seen(whole[0])[saved:]


@pytest.mark.slow
def test_killed_a_hundred_times(children: Children, wholes: dict[str, Whole], tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print("seed", seed)
    chance, kills, saved, runs = random.Random(seed), 0, 0, 0
    while kills < 100 or runs < 2 * len(wholes):
        folder, variant = tmp_path / str(runs), list(wholes)[runs % len(wholes)]
        folder.mkdir()
        # Half of them by the clock, anywhere at all; half at a hook.
        while True:
            if chance.random() < 0.5:
                job: dict[str, Any] = {"after": chance.uniform(0.02, 0.2)}
            else:
                job = {"hook": chance.choice(child.HOOKS), "occurrence": chance.randint(1, 6)}
            if children.train(folder, variant=variant, **job) == 0:
                break
            kills += 1
            saved += (folder / "last.ckpt").exists()
        check(wholes[variant], folder, None)
        runs += 1
    print(f"{kills} kills in {runs} runs, {saved} of them with something saved")
    assert saved > kills / 4
