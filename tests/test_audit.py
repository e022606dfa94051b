"""The audit: the changes in memory, and the file that a killed run keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_anneal.audit import FILE_NAME, Audit
from lightning_anneal.changes import Change

HEADER = "epoch,step,name,old,new,why"
START = Change(0, 0, "beta", 1.0, 0.0, "start")
FIRST = Change(1, 8, "beta", 0.0, 0.5, "early_stopper_counter 0 -> 1")
SECOND = Change(2, 16, "beta", 0.5, 0.75, "early_stopper_counter 1 -> 2")
THIRD = Change(3, 24, "beta", 0.75, 1.0, "early_stopper_counter 2 -> 3")
ROWS = [
    "0,0,beta,1.0,0.0,start",
    "1,8,beta,0.0,0.5,early_stopper_counter 0 -> 1",
    "2,16,beta,0.5,0.75,early_stopper_counter 1 -> 2",
    "3,24,beta,0.75,1.0,early_stopper_counter 2 -> 3",
]


def lines(folder: Path) -> list[str]:
    return (folder / FILE_NAME).read_text().splitlines()


def opened(folder: Path | None, step: int = 0, names: tuple[str, ...] = ("beta",), *, begins: bool = False) -> Audit:
    audit = Audit()
    audit.open(folder, names, step, begins=begins)
    return audit


def ran(folder: Path, *changes: Change) -> None:
    """A run that has begun in a folder, made these changes, and was killed."""
    audit = opened(folder, begins=True)
    for change in changes:
        audit.add(change)


def test_rows_as_they_come(tmp_path: Path) -> None:
    audit = opened(tmp_path, begins=True)
    assert lines(tmp_path) == [HEADER]
    for done, change in enumerate((START, FIRST, SECOND), start=1):
        audit.add(change)
        # Nothing waits for the end: this is what a killed run leaves.
        assert lines(tmp_path) == [HEADER, *ROWS[:done]]
    assert audit.changes == [START, FIRST, SECOND]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_what_came_before_the_file(tmp_path: Path) -> None:
    audit = Audit()
    audit.add(START)
    audit.open(tmp_path, ["beta"], 0, begins=True)
    audit.add(FIRST)
    assert lines(tmp_path) == [HEADER, *ROWS[:2]]
    assert audit.changes == [START, FIRST]


def test_the_folder_is_made(tmp_path: Path) -> None:
    opened(tmp_path / "a" / "b", begins=True)
    assert lines(tmp_path / "a" / "b") == [HEADER]


def test_without_a_folder(tmp_path: Path) -> None:
    audit = opened(None, begins=True)
    audit.add(START)
    assert audit.changes == [START]
    assert list(tmp_path.iterdir()) == []


def test_opened_twice_in_a_folder_is_opened_once(tmp_path: Path) -> None:
    audit = opened(tmp_path, begins=True)
    audit.add(START)
    audit.open(tmp_path, ["beta"], 0, begins=True)
    audit.add(FIRST)
    assert lines(tmp_path) == [HEADER, *ROWS[:2]]
    assert audit.changes == [START, FIRST]


def test_after_close_the_file_rests(tmp_path: Path) -> None:
    audit = opened(tmp_path, begins=True)
    audit.add(START)
    audit.close()
    audit.add(FIRST)
    assert lines(tmp_path) == [HEADER, ROWS[0]]
    assert audit.changes == [START, FIRST]


def test_a_run_that_begins_leaves_an_older_one_out(tmp_path: Path) -> None:
    # That one found another value.
    ran(tmp_path, Change(0, 0, "beta", 2.0, 0.0, "start"), FIRST)
    audit = opened(tmp_path, begins=True)
    audit.add(START)
    assert audit.changes == [START]
    assert lines(tmp_path) == [HEADER, ROWS[0]]


def test_a_resumed_run_goes_on(tmp_path: Path) -> None:
    ran(tmp_path, START, FIRST)
    audit = opened(tmp_path, step=10)
    assert audit.changes == [START, FIRST]
    audit.add(SECOND)
    assert audit.changes == [START, FIRST, SECOND]
    assert lines(tmp_path) == [HEADER, *ROWS[:3]]


def test_what_a_resumed_run_does_again_is_not_doubled(tmp_path: Path) -> None:
    # Killed at step 24 or later; the checkpoint is of step 16, at which a change may stand before or after it.
    ran(tmp_path, START, FIRST, SECOND, THIRD)
    audit = opened(tmp_path, step=16)
    assert audit.changes == [START, FIRST, SECOND]
    assert lines(tmp_path) == [HEADER, *ROWS[:3]]
    audit.add(SECOND)
    audit.add(THIRD)
    assert audit.changes == [START, FIRST, SECOND, THIRD]
    assert lines(tmp_path) == [HEADER, *ROWS]


def test_another_change_at_the_step_of_a_resume_counts(tmp_path: Path) -> None:
    ran(tmp_path, START, FIRST)
    other = Change(1, 8, "beta", 0.5, 0.25, "metric_below")
    audit = opened(tmp_path, step=8)
    audit.add(other)
    assert audit.changes == [START, FIRST, other]
    assert lines(tmp_path) == [HEADER, *ROWS[:2], "1,8,beta,0.5,0.25,metric_below"]


def test_a_second_fit_of_the_same_run_doubles_nothing(tmp_path: Path) -> None:
    audit = opened(tmp_path, begins=True)
    for change in (START, FIRST):
        audit.add(change)
    audit.close()
    audit.open(tmp_path, ["beta"], 10, begins=False)
    audit.add(SECOND)
    assert audit.changes == [START, FIRST, SECOND]
    assert lines(tmp_path) == [HEADER, *ROWS[:3]]


def test_a_resumed_run_in_another_folder(tmp_path: Path) -> None:
    ran(tmp_path / "old", START, FIRST)
    audit = opened(tmp_path / "new", step=10)
    audit.add(SECOND)
    assert audit.changes == [SECOND]
    assert lines(tmp_path / "new") == [HEADER, ROWS[2]]
    assert lines(tmp_path / "old") == [HEADER, *ROWS[:2]]


def test_two_audits_in_one_file(tmp_path: Path) -> None:
    kl = Change(0, 0, "kl", 0.0, 0.1, "start")
    later = Change(4, 32, "kl", 0.1, 0.2, "schedule")
    one = opened(tmp_path, begins=True)
    one.add(START)
    two = opened(tmp_path, names=("kl", "tau"), begins=True)
    two.add(kl)
    one.add(FIRST)
    two.add(later)
    assert (one.changes, two.changes) == ([START, FIRST], [kl, later])
    rows = [HEADER, ROWS[0], "0,0,kl,0.0,0.1,start", ROWS[1], "4,32,kl,0.1,0.2,schedule"]
    assert lines(tmp_path) == rows
    # Each resumes with its own rows, and takes only its own ones back: of `kl` the one of step 32 comes again.
    assert opened(tmp_path, step=16).changes == [START, FIRST]
    assert sorted(lines(tmp_path)) == sorted(rows)
    assert opened(tmp_path, step=16, names=("kl", "tau")).changes == [kl]
    assert sorted(lines(tmp_path)) == sorted(rows[:-1])


@pytest.mark.parametrize(
    "torn", ["2", "2,16", "2,16,be", "2,16,beta,0.5,0.7", "2,16,beta,0.5,0.75,", "2,16,beta,0.5,0.75,early_stopper_cou"]
)
def test_an_unfinished_last_row_is_none(tmp_path: Path, torn: str) -> None:
    ran(tmp_path, START, FIRST)
    with (tmp_path / FILE_NAME).open("a", newline="") as file:
        file.write(torn)
    audit = opened(tmp_path, step=16)
    assert audit.changes == [START, FIRST]
    audit.add(SECOND)
    assert lines(tmp_path) == [HEADER, *ROWS[:3]]


def test_a_file_that_is_empty(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("")
    audit = opened(tmp_path, step=16)
    audit.add(SECOND)
    assert lines(tmp_path) == [HEADER, ROWS[2]]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (1.0, 0.1, "1.0,0.1"),
        (0.1 + 0.2, 1e-07, "0.30000000000000004,1e-07"),
        (1e300, -0.5, "1e+300,-0.5"),
        (64, 128, "64,128"),
        (True, False, "True,False"),
        ("low", "high", "low,high"),
        ("a,b", 'say "c"', '"a,b","say ""c"""'),
        ("", "tri angle", ",tri angle"),
    ],
)
def test_values_come_back_as_they_were(tmp_path: Path, old: Any, new: Any, text: str) -> None:
    why = "lr_scheduler_triggered 0.1 -> 0.05, 0.2 -> 0.1"
    change = Change(1, 8, "optimizer.param_groups.0.lr", old, new, why)
    ran(tmp_path, change)
    assert lines(tmp_path)[1] == f'1,8,optimizer.param_groups.0.lr,{text},"{why}"'
    [read] = opened(tmp_path, step=8, names=("optimizer.param_groups.0.lr",)).changes
    assert read == change
    assert (type(read.old), type(read.new)) == (type(old), type(new))


@pytest.mark.parametrize(("old", "new"), [("True", "False"), ("1_000", "2e3"), ("nan", "007")])
def test_strings_that_look_like_something_else_stay_in_the_file(tmp_path: Path, old: str, new: str) -> None:
    change = Change(1, 8, "mode", old, new, "start")
    ran(tmp_path, change)
    rows = [HEADER, f"1,8,mode,{old},{new},start"]
    # As the row of another callback, and as one's own that is made again.
    opened(tmp_path, step=8)
    assert lines(tmp_path) == rows
    opened(tmp_path, step=8, names=("mode",)).add(change)
    assert lines(tmp_path) == rows
