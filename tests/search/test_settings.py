"""What a search may be told, who has the last word, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.search.settings import PbtSettings, Settings

PARAMS = {"annealing_params": {"beta": [0.1, 0.2]}}
PBT: dict[str, Any] = {"algo": "pbt", "n_runs": 4, "pbt": PARAMS}


def pbt(**changes: Any) -> dict[str, Any]:
    return {**PBT, "pbt": {**PARAMS, **changes}}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"run_prefix": " "}, "search.run_prefix: must be a name, got ' '"),
        ({"run_prefix": 3}, "search.run_prefix: must be a name, got 3"),
        ({"monitor": ""}, "search.monitor: must be a name, got ''"),
        ({"monitor": ["val_loss"]}, "search.monitor: must be a name, got ['val_loss']"),
        ({"algo": "gird"}, "search.algo: unknown algo 'gird'; did you mean 'grid'?"),
        ({"algo": 3}, "search.algo: unknown algo 3; known: grid, pbt, random, tpe"),
        ({"engine": "dask"}, "search.engine: unknown engine 'dask'; known: local, ray"),
        ({"pruner": "hyperband"}, "search.pruner: unknown pruner 'hyperband'; known: median, none, successive_halving"),
        ({"mode": "up"}, "search.mode: unknown mode 'up'; known: max, min"),
        ({"workers": 0}, "search.workers: must be positive, got 0"),
        ({"workers": True}, "search.workers: must be a number, got True"),
        ({"workers": [2]}, "search.workers: must be a number, got [2]"),
        ({"cpus_per_run": 0}, "search.cpus_per_run: must be positive, got 0"),
        ({"gpus_per_run": -1}, "search.gpus_per_run: must not be negative, got -1"),
        ({"retries": -1}, "search.retries: must not be negative, got -1"),
        ({"retries": 0.5}, "search.retries: must be a whole number, got 0.5"),
        ({"max_runs": 0}, "search.max_runs: must be positive, got 0"),
        ({"sampler_seed": "a"}, "search.sampler_seed: must be a number, got 'a'"),
        ({"sampler_seed": float("inf")}, "search.sampler_seed: must be a finite number, got inf"),
        ({"algo": "random", "n_runs": 0}, "search.n_runs: must be positive, got 0"),
        ({"algo": "random", "n_runs": 1.5}, "search.n_runs: must be a whole number, got 1.5"),
        ({"algo": "random", "n_runs": "x"}, "search.n_runs: must be a number, got 'x'"),
        ({"fail_fast": "no"}, "search.fail_fast: must be true or false, got 'no'"),
        ({"seeds": 3}, "search.seeds: must be a list of whole numbers, got 3"),
        ({"seeds": "0,1"}, "search.seeds: must be a list of whole numbers, got '0,1'"),
        ({"seeds": [1.5]}, "search.seeds: must be a whole number, got 1.5"),
        ({"seeds": [-1]}, "search.seeds: must not be negative, got -1"),
        ({"command": "python train.py"}, "search.command: must have {config} in it, got 'python train.py'"),
        ({"command": 3}, "search.command: must have {config} in it, got 3"),
        # What belongs together.
        ({"n_runs": 3}, "search.n_runs: a grid has all its runs; take --algo random for some of them"),
        ({"algo": "random"}, "search.n_runs: a search by random needs a number of runs: --n-runs 20"),
        ({"algo": "tpe"}, "search.n_runs: a search by tpe needs a number of runs: --n-runs 20"),
        ({"algo": "tpe", "n_runs": 2, "seeds": [1]}, "search.seeds: tpe goes with one seed, the config's seed_everything"),
        ({"algo": "pbt"}, "search.n_runs: the population of pbt needs a number of runs: --n-runs 20"),
        ({"algo": "pbt", "n_runs": 4}, "search.pbt: is missing: say what pbt changes under search.pbt.annealing_params"),
        ({**PBT, "n_runs": 1}, "search.n_runs: a population has at least 2, got 1"),
        ({**PBT, "seeds": [1]}, "search.seeds: pbt goes with one seed, the config's seed_everything"),
        ({**PBT, "pruner": "median"}, "search.pruner: pbt prunes by itself; leave the pruner out"),
        # Of pbt.
        ({"pbt": {}}, "search.pbt.annealing_params: name at least one parameter with its values"),
        (pbt(annealing_params=[0.1]), "search.pbt.annealing_params: name at least one parameter with its values"),
        (pbt(interval=0), "search.pbt.interval: must be positive, got 0"),
        (pbt(quantile=0.6), "search.pbt.quantile: must be from 0 to 0.5, got 0.6"),
        (pbt(quantile="half"), "search.pbt.quantile: must be a number, got 'half'"),
        (pbt(resample=-0.1), "search.pbt.resample: must be from 0 to 1.0, got -0.1"),
        (pbt(factors=[1]), "search.pbt.factors: must be two numbers, got [1]"),
        (pbt(factors=1.2), "search.pbt.factors: must be two numbers, got 1.2"),
        (pbt(factors=[1, 0]), "search.pbt.factors: must be positive, got 0"),
        (pbt(quantil=0.2), "search.pbt: unknown setting 'quantil'; did you mean 'quantile'?"),
        # Unknown names.
        ({"worker": 3}, "search: unknown setting 'worker'; did you mean 'workers'?"),
        ({"zzz": 3}, "search: unknown setting 'zzz'; known: algo, command, cpus_per_run, engine, fail_fast, gpus_per_run, max_runs, mode, monitor, n_runs, pbt, pruner, ..."),
        ({3: 4}, "search: unknown setting 3; known: algo, command, cpus_per_run, engine, fail_fast, gpus_per_run, max_runs, mode, monitor, n_runs, pbt, pruner, ..."),
    ],
)  # fmt: skip
def test_refused_settings(given: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        Settings.read(given)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({**PBT, "pbt": 3}, "search.pbt"),
        ({**PBT, "pbt": []}, "search.pbt"),
        ({"seeds": [1, 1]}, "search.seeds"),
        ({"ray_address": 3}, "search.ray_address"),
        ({"command": "python 'a.py {config}"}, "search.command"),
    ],
)
def test_refused_settings_that_are_taken_yet(given: dict[str, Any], where: str) -> None:
    with pytest.raises(AnnealError) as error:
        Settings.read(given)
    assert error.value.where == where


def test_without_any_settings_it_is_a_grid_of_one_run_after_the_other() -> None:
    assert Settings.read() == Settings(
        run_prefix="run",
        algo="grid",
        n_runs=None,
        seeds=(),
        monitor="val_loss",
        mode="min",
        engine="local",
        workers=None,
        gpus_per_run=None,
        cpus_per_run=None,
        retries=1,
        fail_fast=False,
        max_runs=10_000,
        command=None,
        pruner="none",
        sampler_seed=0,
        ray_address=None,
        pbt=None,
    )


def test_of_pbt_only_the_parameters_have_to_be_given() -> None:
    known = Settings.read(PBT).pbt
    assert known == PbtSettings(
        annealing_params={"beta": [0.1, 0.2]}, interval=1, quantile=0.25, resample=0.25, factors=(0.8, 1.2)
    )


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ({"algo": "GRID"}, "algo", "grid"),
        ({"mode": "Max"}, "mode", "max"),
        ({"workers": "2"}, "workers", 2),
        ({"workers": 2.0}, "workers", 2),
        ({"gpus_per_run": 0}, "gpus_per_run", 0),
        ({"seeds": ["0", 1.0]}, "seeds", (0, 1)),
        ({"seeds": []}, "seeds", ()),
    ],
)
def test_what_is_meant_is_taken(given: dict[str, Any], name: str, expected: Any) -> None:
    found = getattr(Settings.read(given), name)
    assert (found, type(found)) == (expected, type(expected))


def test_numbers_of_pbt_that_are_spelled_become_numbers() -> None:
    known = Settings.read(pbt(interval="2", quantile="0.25", resample="0.5")).pbt
    assert known is not None
    assert (known.interval, known.quantile, known.resample) == (2, 0.25, 0.5)


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ([{"workers": 2}, {"workers": 3}], 3),
        ([{"workers": 2}, {"workers": None}], 2),
        ([{"workers": 2}, {}], 2),
        ([{}, {"workers": 3}, {"workers": 4}], 4),
        ([{"workers": None}], None),
    ],
)
def test_the_last_source_that_says_something_wins(sources: list[dict[str, Any]], expected: int | None) -> None:
    assert Settings.read(*sources).workers == expected


def test_false_and_nothing_in_a_list_are_something_said() -> None:
    known = Settings.read(
        {"fail_fast": True, "seeds": [1], "retries": 2}, {"fail_fast": False, "seeds": [], "retries": 0}
    )
    assert (known.fail_fast, known.seeds, known.retries) == (False, (), 0)


@pytest.mark.parametrize("monitor", ["val_loss", "LOSS", "val/nll", "word_error_rate", "perplexity", "test_err"])
def test_less_of_a_loss_or_an_error_is_better(monitor: str) -> None:
    assert Settings.read({"monitor": monitor}).mode == "min"


def test_the_command_line_may_make_a_grid_of_a_search_that_had_so_many_runs() -> None:
    section = {"algo": "random", "n_runs": 5}
    assert Settings.read(section, {"algo": "grid"}).n_runs is None
    assert Settings.read(section, {"n_runs": 6}).n_runs == 6
    with pytest.raises(AnnealError, match="a grid has all its runs"):
        Settings.read(section, {"algo": "grid", "n_runs": 6})


@pytest.mark.parametrize("monitor", ["val_acc", "f1", "reward", "elbo"])
def test_of_any_other_metric_it_has_to_be_said(monitor: str) -> None:
    with pytest.raises(AnnealError) as error:
        Settings.read({"monitor": monitor})
    assert str(error.value) == f"search.mode: say what is best for '{monitor}': --mode min or --mode max"
    assert Settings.read({"monitor": monitor, "mode": "max"}).mode == "max"


def test_a_mode_that_is_said_holds_for_a_loss_too() -> None:
    assert Settings.read({"monitor": "val_loss", "mode": "max"}).mode == "max"


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"seeds": [0, 1], "monitor": "val_acc", "mode": "max", "workers": 2, "fail_fast": True},
        {"algo": "random", "n_runs": 3, "command": "python train.py {config}", "max_runs": 5},
        pbt(interval=3, factors=[0.5, 2], annealing_params={"optimizer.lr": {"log_uniform": [1e-7, 1e-2]}}),
    ],
)
def test_written_as_json_and_read_again_they_are_the_same(given: dict[str, Any]) -> None:
    known = Settings.read(given)
    assert Settings.read(json.loads(json.dumps(known.as_dict()))) == known


def test_changed_settings_are_looked_at_again() -> None:
    known = Settings.read({"workers": 2})
    assert known.changed(workers=3).workers == 3
    assert known.workers == 2
    with pytest.raises(AnnealError, match=r"^search\.workers: must be positive, got 0$"):
        known.changed(workers=0)
