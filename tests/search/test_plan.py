"""A search is written down: its folder and those of its runs, each with a config of its own."""

from __future__ import annotations

import itertools
import json
import os
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from lightning_anneal import AnnealError
from lightning_anneal.cli import main
from lightning_anneal.search import plan as plan_module
from lightning_anneal.search.configs import to_yaml
from lightning_anneal.search.hyper_param_search import HyperParamSearch
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.runs import Run

COMMAND = "python train.py {config}"
P = "model.classification_head.architecture.2.p"
RATES, SIZES, DROPS = [1e-3, 1e-4, 1e-5, 5e-6, 1e-7], [16, 32, 64], [0.0, 0.25, 0.5]
CLASSIFIER: dict[str, Any] = {
    "search": {"command": COMMAND, "run_prefix": "grid"},
    "name": "lr_${optimizer.learning_rate}",
    "optimizer": {"learning_rate": RATES, "betas": [0.9, 0.999]},
    "data": {"batch_size": SIZES},
    "model": {
        "classification_head": {
            "architecture": [
                {"type": "Linear", "out": 64},
                {"type": "ReLU"},
                {"type": "Dropout", "p": DROPS},
                {"type": "Linear", "out": 10},
            ]
        }
    },
}
TINY: dict[str, Any] = {
    "seed_everything": 1,
    "model": {"class_path": "tests.tiny.Tiny", "init_args": {"momentum": [0.0, 0.9]}},
    "data": {"class_path": "tests.tiny.Data"},
    "trainer": {"max_epochs": 2, "logger": False},
}


class Clock(datetime):
    """It is always the same time."""

    @classmethod
    def now(cls, tz: Any = None) -> Clock:
        return cls(2026, 3, 4, 5, 6, 7, 89)


@pytest.fixture(autouse=True)
def at_seven_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "datetime", Clock)


def search(config: Any, root: Path, **settings: Any) -> HyperParamSearch:
    return HyperParamSearch(config, root_dir=root, quiet=True, **settings)


def planned(root: Path, config: dict[str, Any], **settings: Any) -> Plan:
    return search(config, root, **{"command": COMMAND, **settings}).plan()


def config_in(folder: Path) -> Any:
    return yaml.safe_load((folder / "config.yaml").read_text())


def names(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


# Forty-five runs.


def test_forty_five_runs(tmp_path: Path) -> None:
    folders = search(CLASSIFIER, tmp_path).run_grid_search(execute=False)
    assert len(set(folders)) == 45
    assert names(tmp_path) == sorted([*(folder.name for folder in folders), "grid_050607_search"])
    assert [folder.name for folder in (folders[0], folders[1], folders[-1])] == [
        "grid_050607_learning_rate_0.001_batch_size_16_p_0.0",
        "grid_050607_learning_rate_0.001_batch_size_16_p_0.25",
        "grid_050607_learning_rate_1e-07_batch_size_64_p_0.5",
    ]
    # The last axis of the config changes fastest.
    expected = list(itertools.product(RATES, SIZES, DROPS))
    found = []
    for folder in folders:
        config = config_in(folder)
        assert OmegaConf.to_container(OmegaConf.load(folder / "config.yaml")) == config
        head = config["model"]["classification_head"]["architecture"]
        rate = config["optimizer"]["learning_rate"]
        found.append((rate, config["data"]["batch_size"], head[2]["p"]))
        assert config == {
            "name": f"lr_{rate}",
            "optimizer": {"learning_rate": rate, "betas": [0.9, 0.999]},
            "data": {"batch_size": config["data"]["batch_size"]},
            "model": {
                "classification_head": {
                    "architecture": [
                        {"type": "Linear", "out": 64},
                        {"type": "ReLU"},
                        {"type": "Dropout", "p": head[2]["p"]},
                        {"type": "Linear", "out": 10},
                    ]
                }
            },
        }
    assert found == expected
    assert {type(value) for point in found for value in point} == {float, int}


def test_variations_and_prefix_of_a_grid_search(tmp_path: Path) -> None:
    made = search(CLASSIFIER, tmp_path)
    variations: dict[str, list[Any]] = {
        "optimizer.learning_rate": [0.5],
        P: [0.1],
        "optimizer.betas": [[0.9, 0.99], [0.8, 0.9]],
    }
    folders = made.run_grid_search(variations, "mine", execute=False)
    assert [folder.name for folder in folders] == [
        f"mine_050607_learning_rate_0.5_batch_size_{size}_p_0.1_betas_{betas}"
        for size in SIZES
        for betas in ("0.9-0.99", "0.8-0.9")
    ]
    assert [config_in(folder)["optimizer"] for folder in folders[:2]] == [
        {"learning_rate": 0.5, "betas": [0.9, 0.99]},
        {"learning_rate": 0.5, "betas": [0.8, 0.9]},
    ]
    # The search itself stays as it was.
    assert made.count() == 45


@pytest.mark.parametrize(
    "path", [P, "model.classification_head.architecture[2].p", "model[classification_head].architecture.2[p]"]
)
def test_given_values_replace_those_of_the_same_path(tmp_path: Path, path: str) -> None:
    made = HyperParamSearch(CLASSIFIER, {path: [0.9]}, root_dir=tmp_path, quiet=True)
    assert {axis.path: axis.values for axis in made.axes()} == {
        "optimizer.learning_rate": tuple(RATES),
        "data.batch_size": tuple(SIZES),
        P: (0.9,),
    }
    assert made.count() == 15


def test_given_values_replace_those_of_what_is_within() -> None:
    made = HyperParamSearch(
        {"net": {"width": [1, 2], "depth": 3}},
        {"net": [{"width": 5, "depth": 1}, {"width": 6, "depth": 2}]},
        command=COMMAND,
    )
    configs = [repr(made._space.at(point)) for point in made._space.grid()]
    assert len(configs) == len(set(configs))


def test_the_search_has_a_folder_of_its_own(tmp_path: Path) -> None:
    made = planned(tmp_path, {"lr": [0.1, 0.2]})
    assert made.folder == tmp_path / "run_050607_search"
    assert names(made.folder) == ["plan.json", "space.yaml"]
    assert made.runs == [
        Run(0, tmp_path / "run_050607_lr_0.1", {"lr": 0.1}),
        Run(1, tmp_path / "run_050607_lr_0.2", {"lr": 0.2}),
    ]
    assert [names(run.folder) for run in made.runs] == [["config.yaml", "run.json"]] * 2
    assert [run.state for run in made.runs] == ["waiting", "waiting"]


def test_what_the_process_of_a_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made = planned(Path("runs"), {"lr": [0.1, 0.2]}, monitor="val_acc", mode="max")
    assert json.loads((made.runs[1].folder / "run.json").read_text()) == {
        "command": COMMAND,
        "cwd": str(tmp_path),
        "values": {"lr": 0.2},
        "monitor": "val_acc",
        "mode": "max",
        "prune": False,
    }


def test_seeds_are_values_like_others(tmp_path: Path) -> None:
    made = planned(tmp_path, {"seed_everything": 7, "lr": [0.1, 0.2]}, seeds=[0, 1])
    assert [config_in(run.folder) for run in made.runs] == [
        {"seed_everything": 0, "lr": 0.1},
        {"seed_everything": 1, "lr": 0.1},
        {"seed_everything": 0, "lr": 0.2},
        {"seed_everything": 1, "lr": 0.2},
    ]
    assert made.runs[1].name == "run_050607_lr_0.1_seed_everything_1"


# A single run.


def test_a_single_run_is_named_after_the_time_only(tmp_path: Path) -> None:
    [folder] = search({"lr": 0.1}, tmp_path, command=COMMAND).run_grid_search(execute=False)
    assert folder == tmp_path / "2026-03-04_050607"
    assert config_in(folder) == {"lr": 0.1}


def test_the_folders_are_in_runs_if_nothing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [folder] = HyperParamSearch({"lr": 0.1}, quiet=True, command=COMMAND).run_grid_search(execute=False)
    assert folder == Path("runs/2026-03-04_050607")


# At the same time.


def test_plans_of_the_same_second_stay_apart(tmp_path: Path) -> None:
    first, second = (planned(tmp_path, {"lr": [0.1, rate]}) for rate in (0.2, 0.3))
    assert (first.folder.name, second.folder.name) == ("run_050607_search", "run_050607_search-2")
    assert [run.name for run in second.runs] == ["run_050607_lr_0.1-2", "run_050607_lr_0.3"]
    for made in (first, second):
        assert Plan.load(made.folder) == made
    assert [config_in(run.folder)["lr"] for run in (*first.runs, *second.runs)] == [0.1, 0.2, 0.1, 0.3]


def test_single_runs_of_the_same_second_stay_apart(tmp_path: Path) -> None:
    made = [planned(tmp_path, {"lr": rate}) for rate in (0.1, 0.2)]
    assert [plan.runs[0].name for plan in made] == ["2026-03-04_050607", "2026-03-04_050607-2"]
    assert [config_in(plan.runs[0].folder) for plan in made] == [{"lr": 0.1}, {"lr": 0.2}]


# What fails leaves nothing.


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_failure_on_the_way_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    kept = planned(tmp_path, {"lr": [0.1, 0.2]})
    before = names(tmp_path)
    calls = iter(range(100))

    def fails_at_the_third(*arguments: Any) -> Any:
        if next(calls) == 2:
            assert len(names(tmp_path)) == len(before) + 3  # the search's folder and those of two runs
            raise kind("the disk is full")
        return to_yaml(*arguments)

    monkeypatch.setattr(plan_module, "to_yaml", fails_at_the_third)
    with pytest.raises(kind):
        planned(tmp_path, {"lr": [0.3, 0.4, 0.5], "b": [1, 2]})
    assert names(tmp_path) == before
    assert Plan.load(kept.folder) == kept


def test_a_value_that_breaks_one_config_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match=r"^config: can't be resolved: Interpolation key 'missing' not found"):
        planned(tmp_path, {"lr": [0.1, "${missing}"]})
    assert names(tmp_path) == []


def test_a_mistake_in_one_of_the_runs_is_found_before_anything_is_made(tmp_path: Path) -> None:
    callback = {
        "class_path": "lightning_anneal.BetaScheduleCallback",
        "init_args": {"beta_scheduler_type": "cyclical", "beta_scheduler_params": {"cycle_length": [10, -1]}},
    }
    with pytest.raises(AnnealError, match=r"cycle_length: must be positive, got -1"):
        search({**TINY, "trainer": {**TINY["trainer"], "callbacks": [callback]}}, tmp_path / "runs").plan()
    assert names(tmp_path) == []


def test_a_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(AnnealError):
        planned(tmp_path / "runs", {"lr": [0.1, 0.2]})


# A config of LightningCLI.


def test_runs_of_lightning(tmp_path: Path) -> None:
    made = search(TINY, tmp_path).plan()
    assert [config_in(run.folder) for run in made.runs] == [
        {
            "seed_everything": 1,
            "model": {"class_path": "tests.tiny.Tiny", "init_args": {"momentum": momentum}},
            "data": {"class_path": "tests.tiny.Data"},
            "trainer": {"max_epochs": 2, "logger": False, "default_root_dir": str(run.folder)},
        }
        for run, momentum in zip(made.runs, (0.0, 0.9), strict=True)
    ]
    order = json.loads((made.runs[0].folder / "run.json").read_text())
    assert order["command"] is None


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(
            {**TINY, "trainer": {"max_epoch": 3}},
        ),
        {**TINY, "model": {"class_path": "tests.tiny.Tiny", "init_args": {"momentun": 0.5}}},
        {**TINY, "lr": 3},
        pytest.param(
            {**TINY, "model": {"class_path": {"grid": ["tests.tiny.Tiny", "tests.tiny.Nope"]}}},
        ),
        pytest.param(
            {**TINY, "model": {"grid": [{"class_path": "tests.tiny.Tiny"}, {"class_path": "tests.tiny.Tiny", "init_args": {"momentun": 1}}]}},
        ),
        {**TINY, "model": {"grid": [{"class_path": "tests.tiny.Nope"}, {"class_path": "tests.tiny.Tiny"}]}},
    ],
)  # fmt: skip
def test_what_fit_would_refuse_is_refused_before(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(AnnealError):
        search(config, tmp_path).plan()
    assert names(tmp_path) == []


def test_an_emoji_in_a_config(tmp_path: Path) -> None:
    model = {"class_path": "tests.tiny.Tiny", "init_args": {"watch": ["🦊", "beta"]}}
    assert search({**TINY, "model": model}, tmp_path).count() == 2
    assert len(search({**TINY, "model": model}, tmp_path).plan().runs) == 2


def test_a_config_without_a_trainer(tmp_path: Path) -> None:
    [run] = search({"model": {"class_path": "tests.tiny.Tiny"}, "data": TINY["data"]}, tmp_path).plan().runs
    config = config_in(run.folder)
    assert config["seed_everything"] == 0
    assert config["trainer"] == {"default_root_dir": str(run.folder)}


# Reading it again.


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        ({"lr": [1e-7, 5e-7], "name": "${lr}", "betas": [0.9, 0.999]}, {}),
        ({"lr": 0.1}, {}),
        ({"lr": {"uniform": [0.1, 0.2]}, "size": {"grid": [[8], [8, 16]]}}, {"algo": "random", "n_runs": 3}),
        ({"seed_everything": 1, "on": [True, False], "x": {"grid": [None, "1e-7", 1e-7, 1]}}, {"seeds": [3, 4], "workers": 2}),
        ({10: {"a": [1, 2]}}, {"monitor": "val_acc", "mode": "max"}),
    ],
)  # fmt: skip
def test_what_is_read_is_what_was_made(tmp_path: Path, config: dict[str, Any], settings: dict[str, Any]) -> None:
    made = planned(tmp_path, config, **settings)
    read = Plan.load(made.folder)
    assert read == made
    for ours, theirs in zip(read.runs, made.runs, strict=True):
        assert repr(ours) == repr(theirs)
        assert read.config_of(ours.values, ours.folder) == config_in(theirs.folder)


@pytest.mark.parametrize("values", [[{0: 1.0}, {0: 1.0, 4: 0.5}], [(0.9, 0.99), (0.8, 0.9)]])
def test_values_are_read_as_they_were_made(tmp_path: Path, values: list[Any]) -> None:
    made = HyperParamSearch({"x": 1}, {"x": values}, root_dir=tmp_path, quiet=True, command=COMMAND).plan()
    assert Plan.load(made.folder).runs == made.runs


@pytest.mark.parametrize("values", [range(1, 4), np.array([1, 2, 3]), list(np.array([1, 2, 3]))])
def test_variations_may_come_from_numpy_and_from_ranges(tmp_path: Path, values: Any) -> None:
    made = HyperParamSearch({"x": 1}, {"x": values}, root_dir=tmp_path, quiet=True, command=COMMAND).plan()
    assert [config_in(run.folder) for run in made.runs] == [{"x": 1}, {"x": 2}, {"x": 3}]


def test_what_is_finished_stays_as_it_is_when_all_of_it_was_moved(tmp_path: Path) -> None:
    made = planned(tmp_path / "before", {"lr": [0.1, 0.2]})
    (made.runs[0].folder / "status.json").write_text('{"state": "done"}')
    for run in made.runs:
        (run.folder / "config.yaml").write_text("lr: 0.3\n")
    (tmp_path / "before").rename(tmp_path / "after")
    moved = Plan.load(tmp_path / "after" / made.folder.name)
    moved.settle()
    assert [config_in(run.folder) for run in moved.runs] == [{"lr": 0.3}, {"lr": 0.2}]
    assert [Plan.load(moved.folder).moved, moved.moved] == [False, False]


def test_a_run_that_is_added_is_written_down(tmp_path: Path) -> None:
    made = planned(tmp_path, {"lr": [0.1, 0.2]})
    added = made.add({"lr": 0.3})
    assert (added.index, added.name) == (2, "run_050607_lr_0.3")
    assert config_in(added.folder) == {"lr": 0.3}
    assert Plan.load(made.folder) == made


@pytest.mark.parametrize("index", [-1, 2, 100])
def test_there_is_no_such_run(tmp_path: Path, index: int) -> None:
    made = planned(tmp_path, {"lr": [0.1, 0.2]})
    assert [made.run(i) for i in (0, 1)] == made.runs
    with pytest.raises(AnnealError) as error:
        made.run(index)
    assert str(error.value) == f"--index: there is no run {index}; take 0 to 1"


def test_a_folder_that_is_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnnealError) as error:
        Plan.load("nowhere")
    assert str(error.value) == "nowhere: is no folder of a search, which has a plan.json"
    run = planned(Path("runs"), {"lr": [0.1, 0.2]}).runs[0]
    with pytest.raises(AnnealError) as error:
        Plan.load(run.folder)
    assert str(error.value) == (
        "runs/run_050607_lr_0.1: is no folder of a search, which has a plan.json; there is run_050607_search"
    )


def test_the_plan_of_a_newer_version(tmp_path: Path) -> None:
    made = planned(tmp_path, {"lr": [0.1, 0.2]})
    path = made.folder / "plan.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(AnnealError) as error:
        Plan.load(made.folder)
    assert error.value.where == str(made.folder)
    assert error.value.what == "was written by a newer version (2); update the package"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan.json", "{"),
        pytest.param("plan.json", "[]"),
        pytest.param("plan.json", "{}"),
        pytest.param("space.yaml", None),
        pytest.param("space.yaml", "{"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, text: str | None) -> None:
    folder = planned(tmp_path, {"lr": [0.1, 0.2]}).folder
    (folder / name).unlink()
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(AnnealError):
        Plan.load(folder)


# Only looking.


def test_a_dry_run_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/a.yaml").write_text("lr: [1e-7, 0.1]\nsearch: {command: 'true {config}'}\nnet:\n  - p: [0, 1]\n")
    assert main(["search", "--dry-run", "--param-variations", "net[0].p=0.1,[1,2],a"]) == 0
    assert names(tmp_path) == ["config"]
    told = [
        "6 runs, by grid",
        "  lr       1e-07, 0.1      (a list)",
        "  net.0.p  0.1, [1, 2], a  (given)",
    ]
    assert capsys.readouterr() == ("\n".join(told) + "\n", "config: config/a.yaml\n")


def test_previews(tmp_path: Path) -> None:
    config = {"seed_everything": 1, "lr": {"log_uniform": [1e-5, 1e-1]}, "p": {"uniform": [0, 5]}, "n": list(range(10))}
    made = search(config, tmp_path, command=COMMAND, algo="random", n_runs=3, seeds=[0, 1])
    assert repr(made) == made.preview()
    assert made.preview().splitlines() == [
        "6 runs, by random",
        "  lr               1e-05 to 0.1 (log)                (marked {log_uniform: ...})",
        "  p                0 to 5                            (marked {uniform: ...})",
        "  n                0, 1, 2, 3, 4, 5, 6, 7, ... (10)  (a list)",
        "  seed_everything  0, 1                              (seeds)",
    ]
    assert search({"lr": 0.1}, tmp_path, command=COMMAND).preview() == "1 run, by grid"
    assert names(tmp_path) == []


def test_files_can_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        made = planned(tmp_path, {"lr": [0.1, 0.2]})
    finally:
        os.umask(before)
    assert {oct((made.runs[0].folder / name).stat().st_mode & 0o777) for name in ("config.yaml", "run.json")} == {
        "0o644"
    }


def test_names_begin_with_the_prefix_whatever_is_in_it(tmp_path: Path) -> None:
    made = planned(tmp_path, {"lr": [0.1, 0.2]}, run_prefix="../a b/c")
    assert all(re.fullmatch(r"\.\.-a-b-c_050607_(search|lr_0\.[12])", name) for name in names(tmp_path))
    assert len(made.runs) == 2
