"""A population: who takes over from whom and with what, whatever happens in between, and what its runs really have."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningDataModule

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from lightning_anneal.cli import main
from lightning_anneal.search.files import read_json, write_json
from lightning_anneal.search.lineage import annealing_params, lineage_text, with_lineage
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.population import Population, first_points, population_space
from lightning_anneal.search.progress import Progress
from lightning_anneal.search.runs import Run
from lightning_anneal.search.settings import PbtSettings, Settings
from lightning_anneal.search.space import Axis, Space, find_space
from tests.search.test_child import finished
from tests.tiny import QUIET, Data, Tiny, trainer_for

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


LR = "optimizer.param_groups.*.lr"

# -- the axes of a population ------------------------------------------------------------------------------------------

VALUES = "needs a list of values, {uniform: [low, high]} or {log_uniform: [low, high]}"
EPOCHS = "trainer.max_epochs: pbt needs the length of the run in epochs, got"


@pytest.mark.parametrize(
    ("config", "changed", "message"),
    [
        ({"trainer": {"max_epochs": [5, 10]}}, {"lr": [1, 2]}, "trainer.max_epochs: pbt changes what search.pbt.annealing_params names; give one value here"),
        ({"epochs": 5}, {"lr": [1, 2]}, "search.algo: pbt needs a LightningCLI config, whose trainer gets its callback"),
        ({"trainer": {"epochs": 5}}, {"lr": [1, 2]}, "search.algo: pbt needs a LightningCLI config, whose trainer gets its callback"),
        ({"trainer": {}}, {"lr": [1, 2]}, f"{EPOCHS} None"),
        ({"trainer": {"max_epochs": 0}}, {"lr": [1, 2]}, f"{EPOCHS} 0"),
        ({"trainer": {"max_epochs": -1}}, {"lr": [1, 2]}, f"{EPOCHS} -1"),
        ({"trainer": {"max_epochs": True}}, {"lr": [1, 2]}, f"{EPOCHS} True"),
        ({"trainer": {"max_epochs": 5}}, {"beta": [1, 2], "lr": 0.1}, f"search.pbt.annealing_params.lr: {VALUES}, got 0.1"),
        ({"trainer": {"max_epochs": 5}}, {"lr": [0.1]}, f"search.pbt.annealing_params.lr: {VALUES}, got [0.1]"),
        ({"trainer": {"max_epochs": 5}}, {"lr": []}, f"search.pbt.annealing_params.lr: {VALUES}, got []"),
        ({"trainer": {"max_epochs": 5}}, {"lr": {"normal": [0, 1]}}, f"search.pbt.annealing_params.lr: {VALUES}, got {{'normal': [0, 1]}}"),
        ({"trainer": {"max_epochs": 5}}, {"lr": {"inner": [1, 2]}}, f"search.pbt.annealing_params.lr: {VALUES}, got {{'inner': [1, 2]}}"),
        ({"trainer": {"max_epochs": 5}}, {"lr": None}, f"search.pbt.annealing_params.lr: {VALUES}, got None"),
    ],
)  # fmt: skip
def test_what_can_be_no_population(config: dict[str, Any], changed: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        population_space(find_space(config), PbtSettings(changed))
    assert str(error.value) == message


@pytest.mark.parametrize("wrong", [{"uniform": [2, 1]}, {"log_uniform": [0, 1]}, {"grid": []}, {"grid": [1, 1]}])
def test_a_wrong_range_is_told_with_its_place(wrong: dict[str, Any]) -> None:
    with pytest.raises(AnnealError, match=r"search\.pbt\.annealing_params\.lr"):
        population_space(find_space({"trainer": {"max_epochs": 5}}), PbtSettings({"lr": wrong}))


@pytest.mark.parametrize("wrong", ["lr", [{"interval": 1}], 3])
def test_settings_that_are_no_mapping_are_one_line(
    tmp_path: Path, wrong: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    section = {"algo": "pbt", "n_runs": 2, "pbt": wrong}
    (tmp_path / "given.yaml").write_text(yaml.safe_dump({"trainer": {"max_epochs": 5}, "search": section}))
    assert main(["search", "-c", str(tmp_path / "given.yaml"), "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("error: search.pbt: ")


def test_the_axes_bear_the_names_of_what_is_changed() -> None:
    changed = {LR: {"log_uniform": [0.001, 0.1]}, "beta": [0.5, 1.0], "top_k": {"grid": [3]}}
    space = population_space(find_space({"trainer": {"max_epochs": 5}}), PbtSettings(changed))
    assert list(space.axes.values()) == [
        Axis(LR, (0.001, 0.1), "search.pbt", "log_uniform"),
        Axis("beta", (0.5, 1.0), "search.pbt"),
        Axis("top_k", (3,), "search.pbt"),
    ]
    assert space.config == {"trainer": {"max_epochs": 5}}


def test_the_first_points_depend_on_the_seed_alone() -> None:
    changed = {"lr": {"log_uniform": [0.001, 0.1]}, "size": {"uniform": [1, 9]}, "beta": [0.5, 1.0]}
    space = population_space(find_space({"trainer": {"max_epochs": 5}}), PbtSettings(changed))
    points = first_points(space, 20, 3)
    assert points == first_points(space, 20, 3)
    assert points != first_points(space, 20, 4)
    assert first_points(space, 5, 3) == points[:5]
    assert len({point["lr"] for point in points}) > 10
    for point in points:
        assert 0.001 <= point["lr"] <= 0.1
        assert isinstance(point["size"], int)
        assert 1 <= point["size"] <= 9
        assert point["beta"] in (0.5, 1.0)


# -- how a value moves -------------------------------------------------------------------------------------------------


def moved(axis: Axis, value: Any, **pbt: Any) -> set[Any]:
    """All that a value becomes, in a hundred draws."""
    settings = Settings(algo="pbt", n_runs=2, pbt=PbtSettings({axis.path: [1, 2]}, **{"resample": 0.0, **pbt}))
    space = Space({"trainer": {"max_epochs": 5}}, {axis.path: axis})
    population = Population(Plan(Path("nowhere"), settings, space, datetime.now(), ROOT))
    draw = random.Random(0)
    return {population._perturbed(axis, value, draw) for _ in range(100)}


FLOAT, LOG = Axis("x", (0.1, 10.0), "", "uniform"), Axis("x", (0.1, 10.0), "", "log_uniform")
WHOLE, CHOICE = Axis("x", (1, 9), "", "uniform"), Axis("x", ("a", "b", "c", "d"), "")


@pytest.mark.parametrize(
    ("axis", "value", "pbt", "expected"),
    [
        (FLOAT, 1.0, {}, {0.8, 1.2}),
        (LOG, 1.0, {"factors": [0.5, 2]}, {0.5, 2.0}),
        (FLOAT, 9.0, {}, {7.2, 10.0}),
        (FLOAT, 0.11, {}, {0.1, 0.132}),
        # Four digits, else names grow.
        (FLOAT, 0.1234, {}, {0.1, 0.1481}),
        # A whole number moves by one at least, and stays one.
        (WHOLE, 3, {}, {2, 4}),
        (WHOLE, 2, {}, {1, 3}),
        (WHOLE, 1, {}, {1, 2}),
        (WHOLE, 9, {}, {7, 9}),
        (Axis("x", (0, 9), "", "uniform"), 0, {}, {0, 1}),
        # A choice moves to a neighbour.
        (CHOICE, "b", {}, {"a", "c"}),
        (CHOICE, "a", {}, {"a", "b"}),
        (CHOICE, "d", {}, {"c", "d"}),
        (Axis("x", (3,), ""), 3, {}, {3}),
        # Drawn anew, it may be any.
        (CHOICE, "a", {"resample": 1.0}, {"a", "b", "c", "d"}),
        (WHOLE, 1, {"resample": 1.0}, {1, 2, 3, 4, 5, 6, 7, 8, 9}),
    ],
)
def test_where_a_value_goes(axis: Axis, value: Any, pbt: dict[str, Any], expected: set[Any]) -> None:
    found = moved(axis, value, **pbt)
    assert found == expected
    assert {type(each) for each in found} == {type(value)}


def test_a_factor_of_one_leaves_a_whole_number_as_it_is() -> None:
    assert moved(WHOLE, 5, factors=[1.0, 1.2]) == {5, 6}


@given(
    ends=st.tuples(st.integers(-50, 50), st.integers(1, 40)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    at=st.floats(0, 1),
    whole=st.booleans(),
    low=st.floats(0.1, 1),
    high=st.floats(1, 5),
    resample=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 1000),
)
def test_no_value_leaves_its_range(
    ends: tuple[int, int], at: float, whole: bool, low: float, high: float, resample: float, seed: int
) -> None:
    axis = Axis("x", ends if whole else (float(ends[0]), float(ends[1])), "", "uniform")
    value: Any = ends[0] + at * (ends[1] - ends[0])
    pbt = PbtSettings({"x": [1, 2]}, resample=resample, factors=(low, high))
    space = Space({"trainer": {"max_epochs": 5}}, {"x": axis})
    plan = Plan(Path("nowhere"), Settings(algo="pbt", n_runs=2, pbt=pbt), space, datetime.now(), ROOT)
    found = Population(plan)._perturbed(axis, round(value) if whole else value, random.Random(seed))
    assert ends[0] <= found <= ends[1]
    assert isinstance(found, int if whole else float)


# -- lineages ----------------------------------------------------------------------------------------------------------

LINEAGE = [(0, {LR: 0.1, "top_k": 3}), (2, {LR: 0.1, "top_k": 4}), (4, {LR: 0.12, "top_k": 3})]
PARAMS = {
    LR: {"strategy": "SCHEDULED", "schedule": {0: 0.1, 4: 0.12}},
    "top_k": {"strategy": "SCHEDULED", "schedule": {0: 3, 2: 4, 4: 3}},
}


def test_a_lineage_is_a_schedule() -> None:
    assert annealing_params(LINEAGE) == PARAMS
    assert annealing_params([(0, {"x": 1e-7})]) == {"x": {"strategy": "SCHEDULED", "schedule": {0: 1e-7}}}


def test_a_lineage_is_read_again_as_it_was() -> None:
    text = lineage_text([(0, {"x": 1e-7, "y": 3}), (10, {"x": 5e-7, "y": 3})], ["What it is.", "And more."])
    assert text.startswith("# What it is.\n# And more.\nannealing_params:\n")
    assert yaml.safe_load(text)["annealing_params"]["x"] == {"strategy": "SCHEDULED", "schedule": {0: 1e-7, 10: 5e-7}}
    HyperparamAnnealingCallback(**yaml.safe_load(text))


@pytest.mark.parametrize(
    "there",
    [
        None,
        [],
        {"class_path": "a.B"},
        [{"class_path": "a.B"}, {"class_path": "c.D", "init_args": {"annealing_params": {"beta": {}}}}],
    ],
)
def test_the_callback_of_a_lineage_comes_behind_the_others(there: Any) -> None:
    config = {"trainer": {"max_epochs": 5, "callbacks": there}}
    before = json.dumps(config)
    callbacks = with_lineage(config, LINEAGE)["trainer"]["callbacks"]
    assert json.dumps(config) == before
    assert callbacks[-1] == {
        "class_path": "lightning_anneal.HyperparamAnnealingCallback",
        "init_args": {"name": "pbt", "annealing_params": PARAMS},
    }
    assert callbacks[:-1] == ([there] if isinstance(there, dict) else there or [])


def test_another_callback_may_not_anneal_the_same() -> None:
    other = {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": {"annealing_params": {LR: {}}}}
    for callbacks in (other, [other]):
        with pytest.raises(AnnealError, match=r"annealing_params\.optimizer\.param_groups\.\*\.lr: is annealed by"):
            with_lineage({"trainer": {"callbacks": callbacks}}, LINEAGE)


# -- who takes over from whom, by runs that train in a moment ----------------------------------------------------------

Metric = Callable[[int, int, float], float | None]
"""The metric of a member at the end of an epoch, with what value."""


class Moment:
    """An engine whose runs are a list of (member, value) by epoch, which is their checkpoint, and a hand-made metric.

    Members `fails` at an epoch end there, before their checkpoint.
    """

    def __init__(self, metric: Metric, fails: Collection[tuple[int, int]] = ()) -> None:
        self.metric, self.fails = metric, fails
        self.running: list[Run] = []
        self.free = True
        self.began_with: list[tuple[int, Any]] = []
        self.ended_with: list[tuple[int, Any]] = []

    def start(self, run: Run) -> None:
        self.running.append(run)
        self.began_with.append((run.index, read_json(run.folder / "last.ckpt")))

    def ended(self, wait_s: float) -> list[Run]:
        gone, self.running = self.running, []
        for run in gone:
            self._train(run)
            self.ended_with.append((run.index, read_json(run.folder / "last.ckpt")))
        return gone

    def _train(self, run: Run) -> None:
        config = yaml.safe_load((run.folder / "config.yaml").read_text())
        until = read_json(run.folder / "run.json").get("until_epoch", config["trainer"]["max_epochs"])
        schedule = config["trainer"]["callbacks"][-1]["init_args"]["annealing_params"]["x"]["schedule"]
        trained = read_json(run.folder / "last.ckpt") or []
        epochs = (read_json(run.folder / "result.json") or {"epochs": {}})["epochs"]
        for epoch in range(len(trained), until):
            value = [schedule[start] for start in schedule if start <= epoch][-1]
            if (run.index, epoch) in self.fails:
                self._write(run, "status.json", {"state": "failed", "attempts": 1, "exit_status": 1})
                return
            trained.append([run.index, value])
            epochs[str(epoch)] = {"val_loss": self.metric(run.index, epoch, value)}
            self._write(run, "result.json", {"epochs": epochs})
            self._write(run, "last.ckpt", trained)
        self._write(run, "status.json", {"state": "done", "attempts": 1, "exit_status": 0})

    def _write(self, run: Run, name: str, content: Any) -> None:
        (run.folder / name).write_text(json.dumps(content))

    def stop(self, *, at_once: bool) -> None:
        self.running = []

    def close(self) -> None:
        pass


def planned(root: Path, size: int, *, epochs: int = 6, values: Any = (1, 2, 4, 8), **options: Any) -> Plan:
    """A population that changes x, every two epochs."""
    given: dict[str, Any] = {"interval": 2, "resample": 0.0, **options.pop("pbt", {})}
    pbt = PbtSettings({"x": list(values) if isinstance(values, tuple) else values}, **given)
    settings = Settings(**{"algo": "pbt", "n_runs": size, "pbt": pbt, "retries": 0, **options})
    space = population_space(find_space({"trainer": {"max_epochs": epochs}}), pbt)
    return Plan.make(root, settings, space, first_points(space, size, settings.sampler_seed))


def trained(plan: Plan, engine: Moment) -> dict[str, Any]:
    """What is written down when a population has trained from wherever it is."""
    population = Population(plan)
    population.train(engine, Progress(plan, population.pieces, population.done, quiet=True))
    written = read_json(plan.folder / "population.json")
    return {"generation": 0, "history": []} if written is None else dict(written)


def by_table(*metrics: float | None) -> Moment:
    """Runs with these metrics, in every epoch."""
    return Moment(lambda member, epoch, value: metrics[member])


@pytest.mark.parametrize(
    ("metrics", "options", "takers", "givers"),
    [
        ([5, 3, 8, 1, 7, 2, 6, 4], {}, {2, 4}, {3, 5}),
        ([5, 3, 8, 1, 7, 2, 6, 4], {"mode": "max"}, {3, 5}, {2, 4}),
        ([-5, 3, -8, 1, 0, 2, 6, 4], {}, {6, 7}, {0, 2}),
        ([5, 3, 8, 1, 7, 2, 6, 4], {"pbt": {"quantile": 0.5}}, {0, 2, 4, 6}, {1, 3, 5, 7}),
        ([5, 3, 8, 1, 7, 2, 6, 4], {"pbt": {"quantile": 0}}, set(), set()),
        # At least one, and never one from itself.
        ([2, 1], {}, {0}, {1}),
        ([2, 1, 3], {"pbt": {"quantile": 0.5}}, {2}, {1}),
        ([2, 1, 3, 5, 4], {"pbt": {"quantile": 0.5}}, {3, 4}, {0, 1}),
        # The number decides between equals, and 0 is a metric.
        ([1, 1, 1, 1], {}, {3}, {0}),
        ([1, 0, 2], {}, {2}, {1}),
        ([-1, 0, -2], {"mode": "max"}, {2}, {1}),
        # No metric is worse than any, whatever is better.
        ([None, 2, 3, None], {"pbt": {"quantile": 0.5}}, {0, 3}, {1, 2}),
        ([None, -2, -3, 1], {"mode": "max"}, {0}, {3}),
        ([None, None, None, 4], {"pbt": {"quantile": 0.5}}, {1, 2}, {3}),
        ([None, None, None, None], {}, set(), set()),
    ],
)
def test_the_worst_take_over_from_the_best(
    tmp_path: Path, metrics: list[float | None], options: dict[str, Any], takers: set[int], givers: set[int]
) -> None:
    plan = planned(tmp_path, len(metrics), epochs=4, **options)
    [generation] = trained(plan, by_table(*metrics))["history"]
    assert generation["epoch"] == 2
    assert generation["metrics"] == metrics
    assert Counter(each["receiver"] for each in generation["exchanges"]) == Counter(takers)
    assert {each["donor"] for each in generation["exchanges"]} <= givers
    assert bool(generation["exchanges"]) == bool(givers)


def test_every_one_of_the_best_gives(tmp_path: Path) -> None:
    donors = set()
    for seed in range(10):
        written = trained(
            planned(tmp_path, 4, epochs=4, sampler_seed=seed, pbt={"quantile": 0.5}), by_table(1, 2, 3, 4)
        )
        donors |= {each["donor"] for each in written["history"][0]["exchanges"]}
    assert donors == {0, 1}


def test_one_that_failed_takes_over_however_good_it_was(tmp_path: Path) -> None:
    engine = Moment(lambda member, epoch, value: [0.1, 3, 2, 4][member], fails={(0, 1)})
    history = trained(planned(tmp_path, 4, epochs=4), engine)["history"]
    assert history[0]["metrics"] == [None, 3, 2, 4]
    assert [(each["receiver"], each["donor"]) for each in history[0]["exchanges"]] == [(0, 2)]


def test_one_that_failed_and_takes_over_from_none_goes_on_by_itself(tmp_path: Path) -> None:
    engine = Moment(lambda member, epoch, value: [2, 1, 3, 4][member], fails={(0, 1), (3, 1)})
    plan = planned(tmp_path, 4, epochs=4)
    engine_again = Moment(engine.metric)
    trained(plan, engine)
    # Member 0 failed again, because it begins where it was: in epoch 1.
    assert read_json(plan.runs[0].folder / "last.ckpt") == [[0, plan.runs[0].values["x"]]]
    trained(Plan.load(plan.folder), engine_again)
    assert engine_again.began_with == [(0, [[0, plan.runs[0].values["x"]]])]
    assert [len(read_json(run.folder / "last.ckpt")) for run in plan.runs] == [4, 4, 4, 4]


def test_when_all_have_failed_there_is_no_next_generation(tmp_path: Path) -> None:
    engine = Moment(lambda member, epoch, value: 1.0, fails={(0, 0), (1, 1)})
    trained(planned(tmp_path, 2), engine)
    assert [member for member, _ in engine.began_with] == [0, 1]


def test_fail_fast_ends_the_search(tmp_path: Path) -> None:
    engine = Moment(lambda member, epoch, value: member, fails={(1, 1)})
    trained(planned(tmp_path, 3, fail_fast=True), engine)
    assert [member for member, _ in engine.began_with] == [0, 1, 2]


def test_a_lineage_by_hand(tmp_path: Path) -> None:
    # Member 2 is the worst, then member 0, then nobody any more: six epochs are three generations.
    table = {0: [1, 1, 9, 9, 5, 5], 1: [2, 2, 2, 2, 2, 2], 2: [3, 3, 1, 1, 1, 1]}
    plan = planned(tmp_path, 3)
    begin = [run.values["x"] for run in plan.runs]
    engine = Moment(lambda member, epoch, value: table[member][epoch])
    written = trained(plan, engine)
    pairs = [[(each["receiver"], each["donor"]) for each in one["exchanges"]] for one in written["history"]]
    assert pairs == [[(2, 0)], [(0, 2)]]
    first, second = (one["exchanges"][0]["values"]["x"] for one in written["history"])
    neighbours = {1: {1, 2}, 2: {1, 4}, 4: {2, 8}, 8: {4, 8}}
    assert first in neighbours[begin[0]]
    assert second in neighbours[first]
    assert written["lineages"] == [
        [[0, {"x": begin[0]}], [2, {"x": first}], [4, {"x": second}]],
        [[0, {"x": begin[1]}]],
        [[0, {"x": begin[0]}], [2, {"x": first}]],
    ]
    # Who trained each epoch, and with which value.
    assert [read_json(run.folder / "last.ckpt") for run in plan.runs] == [
        [[0, begin[0]], [0, begin[0]], [2, first], [2, first], [0, second], [0, second]],
        [[1, begin[1]]] * 6,
        [[0, begin[0]], [0, begin[0]], [2, first], [2, first], [2, first], [2, first]],
    ]
    again = Plan.load(plan.folder)
    assert [run.values["x"] for run in again.runs] == [second, begin[1], first]
    # A finished one trains no more.
    quiet = Moment(engine.metric)
    assert trained(again, quiet) == written
    assert quiet.began_with == []


def test_a_giver_keeps_what_it_has(tmp_path: Path) -> None:
    plan = planned(tmp_path, 2, epochs=4)
    engine = by_table(1, 2)
    trained(plan, engine)
    first = dict(engine.ended_with[:2])
    assert len(first[0]) == len(first[1]) == 2
    assert engine.began_with[2:] == [(0, first[0]), (1, first[0])]


def test_a_last_generation_may_be_shorter(tmp_path: Path) -> None:
    plan = planned(tmp_path, 2, epochs=5)
    written = trained(plan, by_table(1, 2))
    assert [one["epoch"] for one in written["history"]] == [2, 4]
    assert [len(read_json(run.folder / "last.ckpt")) for run in plan.runs] == [5, 5]
    assert [read_json(run.folder / "run.json").get("until_epoch") for run in plan.runs] == [None, None]


def test_the_seed_decides(tmp_path: Path) -> None:
    def outcome(seed: int) -> dict[str, Any]:
        values = {"uniform": [1, 1000]}
        engine = Moment(lambda member, epoch, value: value % 7)
        return trained(planned(tmp_path, 4, values=values, sampler_seed=seed, pbt={"resample": 0.5}), engine)

    assert outcome(5) == outcome(5)
    assert outcome(5) != outcome(6)


# -- a crash at any moment ---------------------------------------------------------------------------------------------


class Crash(BaseException):
    """The search is gone."""


class Writes:
    """The writes of a search; the one of number `fatal` is not, or half, done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.fatal = -1
        replace, copy = os.replace, shutil.copyfile

        def replacing(source: Any, target: Any) -> None:
            self._write(Path(target).name)
            replace(source, target)

        def copying(source: Any, target: Any) -> None:
            text = Path(source).read_text()
            Path(target).write_text(text[: len(text) // 2])
            self._write(f"{Path(source).name} copied")
            copy(source, target)

        monkeypatch.setattr(os, "replace", replacing)
        monkeypatch.setattr(shutil, "copyfile", copying)

    def _write(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) - 1 == self.fatal:
            raise Crash


def outcome_of(plan: Plan) -> dict[str, Any]:
    plan = Plan.load(plan.folder)
    names = ("last.ckpt", "result.json", "status.json")
    return {
        "population": read_json(plan.folder / "population.json"),
        "values": [run.values for run in plan.runs],
        "runs": [{name: read_json(run.folder / name) for name in names} for run in plan.runs],
        "configs": [
            yaml.safe_load((run.folder / "config.yaml").read_text())["trainer"]["callbacks"] for run in plan.runs
        ],
    }


def test_a_crash_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = {0: [1, 1, 9, 9], 1: [2, 2, 2, 2], 2: [3, 3, 1, 1], 3: [8, 8, 8, 8]}

    def engine() -> Moment:
        return Moment(lambda member, epoch, value: table[member][epoch])

    def plan(name: str) -> Plan:
        return planned(tmp_path / name, 4, epochs=4, pbt={"quantile": 0.5})

    whole, writes = plan("whole"), Writes(monkeypatch)
    trained(whole, engine())
    expected, known = outcome_of(whole), list(writes.names)
    # A decision, two takers of which each gets two files, the plan and the next generation; and orders for four.
    taken = ["last.ckpt copied", "last.ckpt", "result.json copied", "result.json"]
    orders = ["status.json", "config.yaml", "run.json"] * 4
    exchange = ["population.json", *taken, *taken, "plan.json", "population.json"]
    assert known == [*orders, *exchange, *orders]
    # From the last orders before the decision to the first ones after it.
    for fatal in range(9, 27):
        crashed = plan(str(fatal))
        writes.names, writes.fatal = [], fatal
        with pytest.raises(Crash):
            trained(crashed, engine())
        writes.fatal = -1
        # What comes first on the way back in: how much is done.
        assert 0 <= Population(Plan.load(crashed.folder)).done <= 8
        trained(Plan.load(crashed.folder), engine())
        assert outcome_of(crashed) == expected, f"after a crash at write {fatal}, of {known[fatal]}"


def test_two_crashes_change_nothing_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(name: str) -> Plan:
        return planned(tmp_path / name, 2, epochs=4)

    whole, writes = plan("whole"), Writes(monkeypatch)
    trained(whole, by_table(1, 2))
    expected = outcome_of(whole)
    # In the copies (7 to 10), at the plan and at the next generation; and again on the way back.
    assert writes.names[6:13:6] == ["population.json", "population.json"]
    for first in (8, 10, 11, 12):
        for second in (1, 3, 5):
            crashed = plan(f"{first}_{second}")
            for fatal in (first, second):
                writes.names, writes.fatal = [], fatal
                try:
                    trained(Plan.load(crashed.folder), by_table(1, 2))
                except Crash:
                    continue
            writes.fatal = -1
            trained(Plan.load(crashed.folder), by_table(1, 2))
            assert outcome_of(crashed) == expected, (first, second)


# -- what a search by something else has not ---------------------------------------------------------------------------


def test_only_a_population_has_a_schedule(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = Plan.make(tmp_path, Settings(), find_space({"lr": [1, 2]}), [{"lr": 1}, {"lr": 2}])
    assert main(["search", "export-schedule", str(plan.folder), "-o", str(tmp_path / "out.yaml")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[0].startswith("error: ")
    assert told.err.endswith("was a search by grid; only pbt changes values on the way\n")
    assert len(told.err.splitlines()) == 1
    assert not (tmp_path / "out.yaml").exists()


def test_a_search_by_something_else_is_no_population(tmp_path: Path) -> None:
    plan = Plan.make(tmp_path, Settings(), find_space({"lr": [1, 2]}), [{"lr": 1}, {"lr": 2}])
    with pytest.raises(AnnealError) as error:
        Population(plan)
    assert str(error.value) == "search.pbt: is missing"


def test_a_member_can_not_be_run_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(tmp_path, 2)
    assert main(["search", "run-one", str(plan.folder), "--index", "0"]) == 2
    told = "run-one: the runs of pbt depend on each other; take search --resume DIR"
    assert capsys.readouterr().err == f"error: {told}\n"
    assert [run.state for run in plan.runs] == ["waiting", "waiting"]


def test_a_population_without_results_has_no_schedule_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(tmp_path, 2)
    assert main(["search", "export-schedule", str(plan.folder)]) == 2
    assert capsys.readouterr().err == f"error: {plan.folder}: no run has finished an epoch with Lightning yet\n"


def test_a_schedule_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = planned(tmp_path, 2, epochs=2)
    trained(plan, by_table(1, 2))
    assert main(["search", "export-schedule", str(plan.folder), "-o", str(tmp_path / "nowhere" / "out.yaml")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_the_winner_is_who_was_best_and_its_schedule_how_it_got_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = planned(tmp_path, 2, epochs=4, values={"uniform": [100.0, 101.0]}, pbt={"factors": [0.999, 1.001]})
    begin = [run.values["x"] for run in plan.runs]
    # The second takes over after two epochs, and comes to be the better one.
    engine = Moment(lambda member, epoch, value: [[3, 3, 3, 3], [4, 4, 1, 2]][member][epoch])
    written = trained(plan, engine)
    assert main(["search", "export-schedule", str(plan.folder)]) == 0
    text = capsys.readouterr().out
    assert text.splitlines()[:2] == [f"# What {plan.runs[1].name} went through under pbt", "# (val_loss 1 in epoch 2)."]
    schedule = {0: begin[0], 2: written["history"][0]["exchanges"][0]["values"]["x"]}
    assert schedule[0] != schedule[2]
    assert yaml.safe_load(text) == {"annealing_params": {"x": {"strategy": "SCHEDULED", "schedule": schedule}}}


# -- what runs really have ---------------------------------------------------------------------------------------------

KILLS = "KILLS_THE_SEARCH"


class Written(Tiny):
    """Writes down the learning rates of its optimizer and a weight before every step.

    In an epoch that the environment names, it kills the search with a signal, the first time.
    """

    def configure_optimizers(self) -> Any:
        weight, bias = self.layer.parameters()
        return torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.4}], lr=0.5, momentum=0.5)

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> dict[str, torch.Tensor]:
        rates = [group["lr"] for group in self.trainer.optimizers[0].param_groups]
        seen = [self.current_epoch, batch_idx, rates, self.layer.weight.sum().item()]
        with (Path(self.trainer.default_root_dir) / "seen.txt").open("a") as file:
            file.write(json.dumps(seen) + "\n")
        if os.environ.get(KILLS, "").startswith(f"{self.current_epoch} ") and batch_idx == 3:
            kill_the_search(*os.environ[KILLS].split(" ")[1:])
        return super().training_step(batch, batch_idx)


def kill_the_search(number: str, once: str) -> None:
    """Kill the search of the run that this process is, unless another run has."""
    try:
        Path(once).touch(exist_ok=False)
    except FileExistsError:
        return
    status = Path(f"/proc/{os.getppid()}/status").read_text()
    os.kill(int(status.split("PPid:")[1].split()[0]), int(number))
    if int(number) == signal.SIGKILL:
        while True:  # until this process is killed, too
            signal.pause()


def given_config(folder: Path) -> Path:
    changed = {LR: {"log_uniform": [0.001, 0.02]}}
    content = {
        "seed_everything": 1,
        "search": {
            "algo": "pbt",
            "n_runs": 3,
            "workers": 2,
            "cpus_per_run": 1,
            "pbt": {"interval": 2, "annealing_params": changed},
        },
        "model": {"class_path": "tests.search.test_population.Written"},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {"max_epochs": 6, **QUIET},
    }
    path = folder / "given.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def search_folder(root: Path) -> Path:
    [folder] = root.glob("*_search")
    return folder


@pytest.fixture(scope="module")
def searched(at_root: None, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A population of three that has trained for six epochs."""
    folder = tmp_path_factory.mktemp("population")
    assert main(["search", "-c", str(given_config(folder)), "--root-dir", str(folder / "runs")]) == 0
    return Plan.load(search_folder(folder / "runs"))


def rates_by_hand(plan: Plan) -> list[list[float]]:
    """The learning rate of each member in each epoch that it trained itself: the first one, and those it was given."""
    written = read_json(plan.folder / "population.json")
    space = population_space(
        find_space({"trainer": {"max_epochs": 6}}), PbtSettings({LR: {"log_uniform": [0.001, 0.02]}})
    )
    rates = [[point[LR]] * 6 for point in first_points(space, 3, 0)]
    for generation in written["history"]:
        for each in generation["exchanges"]:
            rates[each["receiver"]][each["epoch"] :] = [each["values"][LR]] * (6 - each["epoch"])
    return rates


def seen(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "seen.txt").read_text().splitlines()]


def rates_seen(folder: Path) -> dict[int, set[float]]:
    """Every learning rate, of any group and step, by epoch."""
    found: dict[int, set[float]] = {}
    for epoch, _, rates, _ in seen(folder):
        found.setdefault(epoch, set()).update(rates)
    return found


@pytest.mark.processes
def test_the_optimizer_really_has_the_rates_of_the_population(searched: Plan) -> None:
    for run, expected in zip(searched.runs, rates_by_hand(searched), strict=True):
        assert rates_seen(run.folder) == {epoch: {rate} for epoch, rate in enumerate(expected)}, run.name
        # Eight steps in each of six epochs, none of them twice.
        assert [each[:2] for each in seen(run.folder)] == [[epoch, step] for epoch in range(6) for step in range(8)]


@pytest.mark.processes
def test_the_lineage_ends_with_the_rate_in_force(searched: Plan) -> None:
    lineages = read_json(searched.folder / "population.json")["lineages"]
    for run, lineage in zip(searched.runs, lineages, strict=True):
        assert {lineage[-1][1][LR]} == rates_seen(run.folder)[5]
        assert run.values[LR] == lineage[-1][1][LR]
        assert [int(epoch) for epoch in read_json(run.folder / "result.json")["epochs"]] == [0, 1, 2, 3, 4, 5]


@pytest.mark.processes
def test_the_weights_went_along(searched: Plan) -> None:
    history = read_json(searched.folder / "population.json")["history"]
    assert [one["epoch"] for one in history] == [2, 4]
    for one in history:
        for each in one["exchanges"]:
            donor, receiver = (
                next(
                    weight for epoch, step, _, weight in seen(searched.runs[each[who]].folder) if epoch == one["epoch"]
                )
                for who in ("donor", "receiver")
            )
            assert donor == receiver
            results = [
                read_json(searched.runs[each[who]].folder / "result.json")["epochs"] for who in ("donor", "receiver")
            ]
            if one["epoch"] == 4:
                assert [results[0][str(epoch)] for epoch in range(4)] == [results[1][str(epoch)] for epoch in range(4)]


@pytest.mark.processes
def test_who_took_over_was_the_worst_and_who_gave_the_best(searched: Plan) -> None:
    for one in read_json(searched.folder / "population.json")["history"]:
        [each] = one["exchanges"]
        assert one["metrics"][each["donor"]] == min(one["metrics"])
        assert one["metrics"][each["receiver"]] == max(one["metrics"])
        assert min(one["metrics"]) < max(one["metrics"])


@pytest.mark.processes
def test_anyone_can_follow_the_winner(searched: Plan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "schedule.yaml"
    assert main(["search", "export-schedule", str(searched.folder), "-o", str(target)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    reached = [min(each["val_loss"] for each in run.epochs.values() if each["val_loss"]) for run in searched.runs]
    winner = reached.index(min(reached))
    lineage = read_json(searched.folder / "population.json")["lineages"][winner]
    expected = {epoch: {next(v[LR] for start, v in reversed(lineage) if start <= epoch)} for epoch in range(6)}
    callback = HyperparamAnnealingCallback(**yaml.safe_load(target.read_text()))
    data: LightningDataModule = Data()
    trainer_for(tmp_path, callback, max_epochs=6).fit(Written(), data)
    assert rates_seen(tmp_path) == expected
    # What the winner trained itself is part of it.
    own = rates_seen(searched.runs[winner].folder)
    assert {epoch: own[epoch] for epoch in (4, 5)} == {epoch: expected[epoch] for epoch in (4, 5)}


def outcome(plan: Plan) -> dict[str, Any]:
    return {
        "population": read_json(plan.folder / "population.json"),
        "values": [run.values for run in plan.runs],
        "epochs": [run.epochs for run in plan.runs],
        "states": [run.state for run in plan.runs],
    }


@pytest.mark.slow
@pytest.mark.processes
def test_the_same_search_again_is_the_same(searched: Plan, tmp_path: Path) -> None:
    assert main(["search", "-c", str(given_config(tmp_path)), "--root-dir", str(tmp_path / "runs")]) == 0
    assert outcome(Plan.load(search_folder(tmp_path / "runs"))) == outcome(searched)


@pytest.mark.processes
def test_a_search_that_is_killed_within_a_generation_comes_to_the_same(searched: Plan, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "lightning_anneal.cli", "search", "-c", str(given_config(tmp_path))]
    process = subprocess.Popen(
        [*words, "--root-dir", str(tmp_path / "runs")],
        cwd=ROOT,
        env={**os.environ, KILLS: f"3 {signal.SIGKILL.value} {tmp_path / 'once'}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert process.wait(timeout=180) == -signal.SIGKILL
    folder = search_folder(tmp_path / "runs")
    assert read_json(folder / "population.json")["generation"] == 1
    assert "running" in [run.state for run in Plan.load(folder).runs]
    assert main(["search", "--resume", str(folder)]) == 0
    resumed = Plan.load(folder)
    assert outcome(resumed) == outcome(searched)
    # In the epochs that were begun again, too.
    for run, expected in zip(resumed.runs, rates_by_hand(resumed), strict=True):
        assert rates_seen(run.folder) == {epoch: {rate} for epoch, rate in enumerate(expected)}


def test_a_member_that_was_killed_behind_its_last_epoch_trains_no_more(tmp_path: Path) -> None:
    trainer: Mapping[str, Any] = {"max_epochs": 6, **QUIET, "default_root_dir": str(tmp_path)}
    config = {
        "seed_everything": 1,
        "model": {"class_path": "tests.search.test_population.Written"},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": dict(trainer),
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    write_json(tmp_path / "run.json", {"command": None, "cwd": str(ROOT), "generation": 0, "until_epoch": 2})
    assert finished(tmp_path) == 0
    assert list(read_json(tmp_path / "result.json")["epochs"]) == ["0", "1"]
    # As it is when the search is killed after the last checkpoint, while the process of the run ends.
    write_json(tmp_path / "status.json", {"state": "running", "attempts": 1, "pid": 1})
    assert finished(tmp_path) == 0
    assert list(read_json(tmp_path / "result.json")["epochs"]) == ["0", "1"]
