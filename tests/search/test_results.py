"""What came out: ranks, averages over seeds, the table, the CSV file and the picture."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lightning_anneal import AnnealError
from lightning_anneal.cli import main
from lightning_anneal.search import picture
from lightning_anneal.search.files import write_json
from lightning_anneal.search.hyper_param_search import HyperParamSearch
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.results import SearchResult

Reached = float | None | Sequence[float | None]


def epochs_of(values: Reached, metric: str = "val_loss") -> dict[str, Any]:
    listed = values if isinstance(values, list | tuple) else [values]
    return {str(epoch): {metric: value} for epoch, value in enumerate(listed)}


def fill(plan: Plan, index: int, state: str, epochs: Mapping[str, Any] | None) -> None:
    """What the process of a run leaves behind."""
    folder = plan.run(index).folder
    (folder / "status.json").write_text(json.dumps({"state": state, "attempts": 1}))
    if epochs is not None:
        (folder / "result.json").write_text(json.dumps({"epochs": epochs}))


def result(root: Path, config: dict[str, Any], reached: Sequence[Reached], **settings: Any) -> SearchResult:
    """A search whose runs are done, and reached these values of the metric."""
    plan = HyperParamSearch(config, root_dir=root, quiet=True, command="true {config}", **settings).plan()
    for index, values in enumerate(reached):
        fill(plan, index, "done", epochs_of(values, plan.settings.monitor))
    return SearchResult(Plan.load(plan.folder))


def ranked(found: SearchResult) -> list[int]:
    return [run.index for run in found.runs]


FOUR = {"lr": [0.1, 0.2, 0.3, 0.4]}


@pytest.mark.parametrize(
    ("reached", "mode", "expected"),
    [
        ([3.0, 1.0, 4.0, 2.0], "min", [1, 3, 0, 2]),
        ([3.0, 1.0, 4.0, 2.0], "max", [2, 0, 3, 1]),
        # By the best epoch, not the last.
        ([[3.0, 9.0], [4.0, 4.0], [9.0, 2.0], [5.0, 5.0]], "min", [2, 0, 1, 3]),
        ([[3.0, 9.0], [4.0, 4.0], [9.5, 2.0], [5.0, 5.0]], "max", [2, 0, 3, 1]),
        # Equal ones as they were made.
        ([2.0, 1.0, 2.0, 1.0], "min", [1, 3, 0, 2]),
        ([2.0, 1.0, 2.0, 1.0], "max", [0, 2, 1, 3]),
        # null is what was not finite; such an epoch counts for nothing, such a run comes last.
        ([None, [None, 5.0], [7.0, None], 6.0], "min", [1, 3, 2, 0]),
        ([None, [None, 5.0], [7.0, None], 6.0], "max", [2, 3, 1, 0]),
        ([0.0, -1.0, None, 1.0], "min", [1, 0, 3, 2]),
        ([0.0, -1.0, None, -2.0], "max", [0, 1, 3, 2]),
        ([None, 2.0, None, 1.0], "min", [3, 1, 0, 2]),
    ],
)
def test_ranks(tmp_path: Path, reached: list[Reached], mode: str, expected: list[int]) -> None:
    found = result(tmp_path, FOUR, reached, mode=mode)
    assert ranked(found) == expected
    assert found.best.index == expected[0]


def test_whatever_became_of_a_run_it_is_in_the_table(tmp_path: Path) -> None:
    plan = result(tmp_path, {"lr": [1, 2, 3, 4, 5, 6]}, []).plan
    fill(plan, 0, "failed", {})
    fill(plan, 1, "done", {"0": {"val_loss": 2.0, "acc": 0.5}, "1": {"val_loss": 1.0, "acc": 0.25}})
    fill(plan, 2, "pruned", {"0": {"val_loss": 3.0}})
    fill(plan, 3, "failed", {"0": {"val_loss": 1.5}})
    fill(plan, 4, "running", None)
    found = SearchResult(plan)
    assert [[row[name] for name in ("rank", "index", "state", "lr", "val_loss", "best_epoch", "epochs")] for row in found.table] == [
        [1, 1, "done", 2, 1.0, 1, 2],
        [2, 3, "failed", 4, 1.5, 0, 1],
        [3, 2, "pruned", 3, 3.0, 0, 1],
        [None, 0, "failed", 1, None, None, 0],
        [None, 4, "running", 5, None, None, 0],
        [None, 5, "waiting", 6, None, None, 0],
    ]  # fmt: skip
    assert found.table[0]["acc"] == 0.25  # of the best epoch
    assert "acc" not in found.table[1]
    assert [row["run"] for row in found.table] == [run.name for run in found.runs]


@pytest.mark.parametrize(
    ("monitor", "logged", "message"),
    [
        ("val_loss", [], "'val_loss': no run has logged it"),
        ("val_los", ["val_loss", "acc"], "'val_los': no run has logged it; did you mean 'val_loss'?"),
        ("error", ["acc", "f1"], "'error': no run has logged it; known: acc, f1"),
    ],
)
def test_without_the_metric_there_is_no_best(tmp_path: Path, monitor: str, logged: list[str], message: str) -> None:
    plan = result(tmp_path, FOUR, [], monitor=monitor, mode="min").plan
    fill(plan, 0, "done", {"0": dict.fromkeys(logged, 1.0)})
    found = SearchResult(plan)
    for asked in (lambda: found.best, found.plot):
        with pytest.raises(AnnealError) as error:
            asked()
        assert str(error.value) == message
    assert ranked(found) == [0, 1, 2, 3]
    assert found.averages == []


def test_a_metric_that_was_never_finite(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match=r"^'val_loss': "):
        _ = result(tmp_path, FOUR, [None, [None, None]]).best


# Several seeds.

SEEDS = {"seed_everything": 0, "lr": [0.1, 0.2]}


def test_seeds_are_averaged(tmp_path: Path) -> None:
    # 0.1: 1, 2, 6 are 3 on average, with squares 4 + 1 + 9 = 14 over 2; 0.2: 2, 2.5, 3 are 2.5, with 0.5 over 2.
    found = result(tmp_path, SEEDS, [1.0, 2.0, 6.0, 2.0, [9.0, 2.5], 3.0], seeds=[0, 1, 2])
    names = [run.name for run in found.plan.runs]
    first, second = found.averages
    assert first.pop("deviation") == pytest.approx(0.5)
    assert second.pop("deviation") == pytest.approx(math.sqrt(7))
    assert first == {"lr": 0.2, "mean val_loss": 2.5, "seeds": 3, "runs": names[3:]}
    assert second == {"lr": 0.1, "mean val_loss": 3.0, "seeds": 3, "runs": names[:3]}


def test_the_best_run_is_the_best_of_the_best_average(tmp_path: Path) -> None:
    found = result(tmp_path, SEEDS, [1.0, 2.0, 6.0, 3.0, 2.0, 2.5], seeds=[0, 1, 2])
    assert ranked(found)[0] == 0
    assert found.best.values == {"lr": 0.2, "seed_everything": 1}


def test_the_best_average_where_more_is_better(tmp_path: Path) -> None:
    found = result(tmp_path, SEEDS, [9.0, 1.0, 2.0, 5.0, 6.0, 7.0], seeds=[0, 1, 2], monitor="acc", mode="max")
    assert [row["mean acc"] for row in found.averages] == [6.0, 4.0]
    assert found.best.values == {"lr": 0.2, "seed_everything": 2}


def test_a_seed_that_failed_is_not_averaged(tmp_path: Path) -> None:
    found = result(tmp_path, SEEDS, [4.0, None, 2.0, 5.0], seeds=[0, 1])
    assert [(row["lr"], row["mean val_loss"], row["deviation"], row["seeds"]) for row in found.averages] == [
        (0.2, 3.5, pytest.approx(math.sqrt(4.5)), 2),
        (0.1, 4.0, 0.0, 1),
    ]


def test_without_seeds_each_run_is_its_own_average(tmp_path: Path) -> None:
    found = result(tmp_path, FOUR, [3.0, 1.0, 4.0, 2.0])
    assert [(row["lr"], row["mean val_loss"], row["seeds"]) for row in found.averages] == [
        (0.2, 1.0, 1),
        (0.4, 2.0, 1),
        (0.1, 3.0, 1),
        (0.3, 4.0, 1),
    ]


# The table, and its file.


def test_the_csv_file(tmp_path: Path) -> None:
    plan = result(tmp_path, {"lr": [1e-7, 0.1], "name": ['a, "b"', "c"], "betas": {"grid": [[0.9, 0.99]]}}, []).plan
    fill(plan, 0, "done", {"0": {"val_loss": 2.0}, "1": {"val_loss": 1.0 / 3, "acc": 1.0}})
    fill(plan, 3, "pruned", {"0": {"val_loss": 0.25, "train_loss": None}})
    path = SearchResult(plan).to_csv()
    assert path == plan.folder / "results.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = [run.name for run in plan.runs]
    shared = ["rank", "run", "state", "index", "lr", "name", "betas", "val_loss", "best_epoch", "epochs"]
    assert list(rows[0]) == [*shared, "train_loss", "acc"]
    assert [list(row.values()) for row in rows] == [
        ["1", runs[3], "pruned", "3", "0.1", "c", "[0.9, 0.99]", "0.25", "0", "1", "", ""],
        ["2", runs[0], "done", "0", "1e-07", 'a, "b"', "[0.9, 0.99]", "0.3333333333333333", "1", "2", "", "1.0"],
        ["", runs[1], "waiting", "1", "1e-07", "c", "[0.9, 0.99]", "", "", "0", "", ""],
        ["", runs[2], "waiting", "2", "0.1", 'a, "b"', "[0.9, 0.99]", "", "", "0", "", ""],
    ]
    assert SearchResult(plan).to_csv(tmp_path / "mine.csv").read_text() == path.read_text()


@pytest.mark.parametrize(
    ("config", "metric", "column"),
    [
        ({"net": {"acc": [1, 2]}}, "acc", "net.acc"),
        ({"net": {"epochs": [1, 2]}}, "acc", "net.epochs"),
        ({"net": {"val_loss": [1, 2]}}, "acc", "net.val_loss"),
        ({"net": {"rank": [1, 2]}}, "acc", "net.rank"),
        ({"net": {"size": [1, 2]}}, "acc", "size"),
    ],
)
def test_columns_that_clash_have_their_whole_path(tmp_path: Path, config: Any, metric: str, column: str) -> None:
    plan = result(tmp_path, config, []).plan
    fill(plan, 0, "done", {"0": {"val_loss": 0.5, metric: 0.25}})
    row = SearchResult(plan).table[0]
    assert (row[column], row["val_loss"], row["acc"], row["epochs"], row["rank"]) == (1, 0.5, 0.25, 1, 1)


@pytest.mark.parametrize("name", ["epochs", "val_loss", "acc", "run", "index", "best_epoch"])
def test_columns_that_clash_at_the_top(tmp_path: Path, name: str) -> None:
    plan = result(tmp_path, {name: [50, 60]}, []).plan
    fill(plan, 0, "done", {"0": {"val_loss": 0.5, "acc": 0.25}})
    row = SearchResult(plan).table[0]
    assert 50 in row.values()
    known = [row[key] for key in ("val_loss", "acc", "epochs", "index", "best_epoch", "run")]
    assert known == [0.5, 0.25, 1, 0, 0, plan.runs[0].name]


@pytest.mark.parametrize("name", ["seeds", "runs", "deviation"])
def test_columns_of_averages_that_clash(tmp_path: Path, name: str) -> None:
    [row, _] = result(tmp_path, {"net": {name: [50, 60]}}, [1.0, 2.0]).averages
    assert 50 in row.values()


def test_the_leaderboard(tmp_path: Path) -> None:
    plan = result(tmp_path, {"net": {"lr": [1e-7, 0.1]}, "name": ["a", None]}, []).plan
    fill(plan, 0, "done", {"0": {"val_loss": 2.0}, "1": {"val_loss": 1.0 / 3, "acc": 1.0}})
    fill(plan, 1, "failed", None)
    fill(plan, 3, "pruned", {"0": {"val_loss": 0.25}})
    found = SearchResult(plan)
    assert repr(found) == found.leaderboard()
    assert found.leaderboard().splitlines() == [
        "rank  index    state     lr  name  val_loss  best_epoch  epochs",
        "----  -----  -------  -----  ----  --------  ----------  ------",
        "   1      3   pruned    0.1     -      0.25           0       1",
        "   2      0     done  1e-07     a  0.333333           1       2",
        "   -      1   failed  1e-07     -         -           -       0",
        "   -      2  waiting    0.1     a         -           -       0",
    ]
    assert found.leaderboard(most=1).splitlines() == [
        "rank  index   state   lr  name  val_loss  best_epoch  epochs",
        "----  -----  ------  ---  ----  --------  ----------  ------",
        "   1      3  pruned  0.1     -      0.25           0       1",
        "... and 3 more in results.csv",
    ]


def test_the_leaderboard_of_seeds(tmp_path: Path) -> None:
    found = result(tmp_path, SEEDS, [1.0, 2.0, 6.0, 2.0, 2.5, 3.0], seeds=[0, 1, 2])
    assert found.leaderboard(most=2).splitlines() == [
        "rank  index  state   lr  seed_everything  val_loss  best_epoch  epochs",
        "----  -----  -----  ---  ---------------  --------  ----------  ------",
        "   1      0   done  0.1                0         1           0       1",
        "   2      1   done  0.1                1         2           0       1",
        "... and 4 more in results.csv",
        "",
        "over the seeds",
        " lr  mean val_loss  deviation  seeds",
        "---  -------------  ---------  -----",
        "0.2            2.5        0.5      3",
        "0.1              3    2.64575      3",
    ]


def test_before_anything_has_run(tmp_path: Path) -> None:
    found = result(tmp_path, {"lr": [0.1, 0.2]}, [])
    assert found.leaderboard().splitlines()[2] == "   -      0  waiting  0.1         -           -       0"
    found.plan.runs.clear()
    assert SearchResult(found.plan).leaderboard() == "no runs yet"
    assert SearchResult(found.plan).to_csv().read_text() == "\n"


# The commands that show it.


def test_status_table_and_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    plan = result(Path("runs"), {"lr": [0.1, 0.2, 0.3]}, [[3.0, 2.0], 1.5]).plan
    first, second, third = (run.name for run in plan.runs)
    folder = str(plan.folder)
    assert main(["search", "status", folder]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{plan.folder.name}: 2 done, 1 waiting",
        f"     0  done      epoch 1     {first}",
        f"     1  done      epoch 0     {second}",
        f"     2  waiting               {third}",
    ]
    assert main(["search", "table", folder]) == 0
    assert capsys.readouterr().out == SearchResult(plan).leaderboard() + "\n"
    assert (plan.folder / "results.csv").read_text().count("\n") == 4
    assert main(["search", "best", folder]) == 0
    assert capsys.readouterr() == (f"runs/{second}/config.yaml\n", "best: val_loss 1.5 in epoch 0, lr 0.2\n")
    assert main(["search", "plot", folder, "-o", "mine.png"]) == 0
    assert capsys.readouterr() == ("mine.png\n", "")
    assert Path("mine.png").exists()


def test_a_finished_search_without_its_metric_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    plan = result(tmp_path, {"lr": [0.1, 0.2]}, []).plan
    for index in range(2):
        fill(plan, index, "done", {"0": {"acc": 0.5}})
    assert main(["search", "--resume", str(plan.folder)]) == 1
    out, err = capsys.readouterr()
    assert out == SearchResult(plan).leaderboard() + "\n"
    assert err.splitlines()[-1] == "error: 'val_loss': no run has logged it; known: acc"


def test_a_table_that_can_not_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = result(Path("runs"), {"lr": [0.1, 0.2]}, [1.0, 2.0]).plan.folder
    table = folder / "results.csv"
    table.mkdir()
    assert main(["search", "table", str(folder)]) == 1
    assert capsys.readouterr().err == f"error: {table}: {os.strerror(errno.EISDIR)}\n"
    table.rmdir()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = sorted(folder.iterdir())
    monkeypatch.setattr(os, "fsync", full)
    assert main(["search", "table", str(folder)]) == 1
    assert capsys.readouterr().err == f"error: search: {os.strerror(errno.ENOSPC)}\n"
    assert sorted(folder.iterdir()) == before


def test_a_member_is_judged_by_the_values_that_it_had_when_it_was_best(tmp_path: Path) -> None:
    """The second one took over from the first after its second epoch, and was never better than that one was then."""
    plan = result(tmp_path, {"lr": [0.1, 0.2]}, []).plan
    lineages = [[[0, {"lr": 0.1}]], [[0, {"lr": 0.1}], [2, {"lr": 0.3}]]]
    write_json(plan.folder / "population.json", {"lineages": lineages})
    # Before their first epoch they have those of the plan.
    assert [row["lr"] for row in SearchResult(plan).table] == [0.1, 0.2]
    fill(plan, 0, "done", {"0": {"val_loss": 3.0}, "1": {"val_loss": 1.0}, "2": {"val_loss": 2.0}})
    fill(plan, 1, "done", {"0": {"val_loss": 3.0}, "1": {"val_loss": 1.0}, "2": {"val_loss": 1.5}})
    assert [row["lr"] for row in SearchResult(plan).table] == [0.1, 0.1]
    fill(plan, 1, "done", {"0": {"val_loss": 3.0}, "1": {"val_loss": 1.0}, "2": {"val_loss": 0.5}})
    found = SearchResult(plan)
    assert [(row["index"], row["lr"]) for row in found.table] == [(1, 0.3), (0, 0.1)]
    assert found.best.values == {"lr": 0.3}


# The picture.

TYPED: dict[str, Any] = {"grid": [[8], [8, 16], [64, 64, 64]]}
PICTURES: list[tuple[str, dict[str, Any], list[Reached], int]] = [
    ("one", {"lr": [1e-5, 1e-4, 1e-3, 1e-2]}, [0.5, 0.3, 0.2, 0.9], 1),
    ("four", {"lr": [1e-3, 1e-1], "size": [16, 32], "p": [0.0, 0.5], "depth": [1, 2]}, [1 / (i + 1) for i in range(16)], 4),
    ("string", {"net": {"optimizer": ["adamw", "sgd", "rmsprop"]}}, [0.5, None, 0.2], 1),
    ("boolean", {"on": [True, False]}, [0.5, 0.25], 1),
    ("lists", {"sizes": TYPED, "lr": [0.1, 0.2]}, [0.6, 0.5, 0.4, 0.3, 0.2, 0.1], 2),
    ("mixed", {"x": {"grid": [None, 1, "a", 0.5]}}, [0.4, 0.3, 0.2, 0.1], 1),
    ("single", {"lr": {"grid": [0.1]}}, [0.5], 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "config", "reached", "panels"), PICTURES, ids=[each[0] for each in PICTURES])
def test_pictures(tmp_path: Path, name: str, config: dict[str, Any], reached: list[Reached], panels: int) -> None:
    path = result(tmp_path, config, reached).plot(tmp_path / f"{name}.png")
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == {1: (720, 408), 2: (1008, 408), 4: (1008, 816)}[panels]
        assert {0, 255} <= below_the_title(image)


def below_the_title(image: Image.Image) -> set[int]:
    return set(image.crop((0, 60, *image.size)).convert("L").tobytes())


def test_without_an_axis_there_is_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match="_search: has no axis to draw over; its runs differ in nothing but seeds"):
        result(tmp_path, {"lr": 0.1}, [[0.5, 0.4]]).plot()


def test_the_picture_lies_in_the_searchs_folder(tmp_path: Path) -> None:
    found = result(tmp_path, FOUR, [1.0])
    assert found.plot() == found.plan.folder / "results.png"
    assert found.plot(tmp_path / "x.svg").read_text().startswith("<?xml")


def test_values_without_an_order_stay_in_that_of_the_config(tmp_path: Path) -> None:
    path = result(tmp_path, {"sizes": {"grid": [[8], [16], [128]]}}, [1.0, 2.0, 3.0]).plot(tmp_path / "x.svg")
    text = path.read_text()
    assert text.index("<!-- [8] -->") < text.index("<!-- [16] -->") < text.index("<!-- [128] -->")


def test_dollars_in_a_picture(tmp_path: Path) -> None:
    path = result(tmp_path, {"name": ["^a$|b{1$", "c"]}, [0.5, 0.4]).plot()
    assert path.exists()


@pytest.mark.parametrize("path", ["nowhere/x.png", "x.nothing"])
def test_pictures_that_can_not_be_written(tmp_path: Path, path: str) -> None:
    with pytest.raises(AnnealError):
        result(tmp_path, FOUR, [1.0]).plot(tmp_path / path)


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been written."""
    drawn: list[Any] = []
    monkeypatch.setattr(picture, "save", lambda figure, path: drawn.append(figure))
    return drawn


def test_a_panel_without_an_axis_is_not_seen(tmp_path: Path, figures: list[Any]) -> None:
    names = ["a", "b", "c", "d", "e"]
    result(tmp_path, {name: [1, 2] for name in names}, [1.0]).plot()
    panels = figures[0].axes
    assert [panel.get_visible() for panel in panels] == [True] * 5 + [False]
    assert [panel.get_xlabel() for panel in panels] == [*names, ""]


RANDOM = {"algo": "random", "n_runs": 2}


@pytest.mark.parametrize(
    ("values", "settings", "scale"),
    [
        # A range as it is drawn from, however short it is, and whatever was drawn from it.
        ({"log_uniform": [0.1, 0.2]}, RANDOM, "log"),
        ({"uniform": [0.1, 0.2]}, RANDOM, "linear"),
        # Many numbers, if the largest is twenty times the least.
        ([1, 2, 3, 4, 5, 6, 7, 8, 20], {}, "log"),
        ([1, 2, 3, 4, 5, 6, 7, 8, 19], {}, "linear"),
        ([0, 1, 2, 3, 4, 5, 6, 7, 20], {}, "linear"),
        # Few are levels.
        ([1, 20, 400], {}, "linear"),
    ],
)
def test_the_scale_of_an_axis(
    tmp_path: Path, figures: list[Any], values: Any, settings: dict[str, Any], scale: str
) -> None:
    count = len(values) if isinstance(values, list) else 2
    result(tmp_path, {"x": values}, [1.0] * count, **settings).plot()
    assert figures[0].axes[0].get_xscale() == scale
