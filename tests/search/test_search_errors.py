"""A mistake on the command line or in a config is told in one line, and nothing is made."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_anneal.cli import main
from lightning_anneal.search import command
from lightning_anneal.search.files import locked
from lightning_anneal.search.hyper_param_search import HyperParamSearch
from lightning_anneal.search.plan import Plan

ROOT = Path(__file__).parents[2]
M = "model.init_args.momentum"
RANGE = {"log_uniform": [0.1, 0.9]}
PBT = {"algo": "pbt", "n_runs": 2, "pbt": {"annealing_params": {"beta": [0.1, 0.2]}}}


def config(search: Any = None, callbacks: Any = None, trainer: Any = None, **arguments: Any) -> dict[str, Any]:
    """A LightningCLI config with an axis of two values."""
    return {
        "model": {"class_path": "tests.tiny.Tiny", "init_args": arguments},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {"max_epochs": [1, 2], **({"callbacks": callbacks} if callbacks else {}), **(trainer or {})},
        **({"search": search} if search else {}),
    }


def beta(**params: Any) -> list[dict[str, Any]]:
    arguments = {"beta_scheduler_type": "cyclical", "beta_scheduler_params": {"max_beta": 1.0, **params}}
    return [{"class_path": "lightning_anneal.BetaScheduleCallback", "init_args": arguments}]


def never(plan: Plan) -> None:
    raise AssertionError(f"{plan.folder} was to be run")


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Give the command words, and get the line that it ends with; nothing may have been made."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.setattr(command, "execute_plan", never)

    def run(words: str, given: dict[str, Any] | str | None = None) -> str:
        if given is not None:
            Path("a.yaml").write_text(given if isinstance(given, str) else yaml.safe_dump(given))
            words = f"--config a.yaml {words}"
        before = sorted(tmp_path.rglob("*"))
        assert main(["search", *shlex.split(words)]) == 2
        out, err = capsys.readouterr()
        assert sorted(tmp_path.rglob("*")) == before
        assert out == ""
        assert "Traceback" not in err
        assert "usage" not in err
        line: str = err.splitlines()[-1]
        assert line.startswith("error: ")
        assert len(line) <= 200
        return line.removeprefix("error: ")

    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--worker 2", "search: unknown option '--worker'; did you mean '--workers'?"),
        ("--monitr=acc", "search: unknown option '--monitr=acc'; did you mean '--monitor'?"),
        ("--zzzz", "search: unknown option '--zzzz'"),
        ("statsu runs/x", "search: unknown action 'statsu'; did you mean 'status'?"),
        ("runs/x", "search: unknown action 'runs/x'; known: --resume DIR, best, export-schedule, plot, run-one, status, table"),
        ("status", "search: the following arguments are required: DIR"),
        ("best", "search: the following arguments are required: DIR"),
        ("status runs/x runs/y", "search: 'runs/y' is one word too many"),
        ("run-one runs/x", "search: the following arguments are required: --index"),
        ("run-one runs/x --index one", "search: argument --index: invalid int value: 'one'"),
        ("run-one runs/x --index 1", "runs/x: is no folder of a search, which has a plan.json"),
        ("status runs/x", "runs/x: is no folder of a search, which has a plan.json"),
        ("table runs/x", "runs/x: is no folder of a search, which has a plan.json"),
        ("plot runs/x", "runs/x: is no folder of a search, which has a plan.json"),
        ("export-schedule runs/x", "runs/x: is no folder of a search, which has a plan.json"),
        ("", "--config: there is no YAML file in config/ or configs/ here; name a config"),
        ("--config", "search: argument --config/-c: expected one argument"),
        ("--config a.yaml", "--config: no such file 'a.yaml'"),
        ("--resume runs/x", "runs/x: is no folder of a search, which has a plan.json"),
        ("--resume runs/x --config a.yaml", "--resume: goes on with the config and the axes that the search began with; leave them out"),
        ("--resume runs/x --param-variations a=1", "--resume: goes on with the config and the axes that the search began with; leave them out"),
        ("--resume runs/x --algo random", "search.algo: belongs to a new search; one that is resumed goes on as it was planned"),
        ("--resume runs/x --n-runs 3", "search.n_runs: belongs to a new search; one that is resumed goes on as it was planned"),
    ],
)  # fmt: skip
def test_words(refused: Callable[..., str], words: str, message: str) -> None:
    assert refused(words) == message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--engine dask", "search.engine: unknown engine 'dask'; known: local, ray"),
        ("--algo gird", "search.algo: unknown algo 'gird'; did you mean 'grid'?"),
        ("--mode up", "search.mode: unknown mode 'up'; known: max, min"),
        ("--pruner best", "search.pruner: unknown pruner 'best'; known: median, none, successive_halving"),
        ("--n-runs many", "search: argument --n-runs: invalid int value: 'many'"),
        ("--workers 0", "search.workers: must be positive, got 0"),
        ("--retries -1", "search.retries: must not be negative, got -1"),
        ("--seeds a,b", "--seeds: write whole numbers as in 0,1,2, got 'a,b'"),
        ("--seeds 1,", "--seeds: write whole numbers as in 0,1,2, got '1,'"),
        ("--seeds=-1", "search.seeds: must not be negative, got -1"),
        ("--n-runs 3", "search.n_runs: a grid has all its runs; take --algo random for some of them"),
        ("--algo random", "search.n_runs: a search by random needs a number of runs: --n-runs 20"),
        ("--algo tpe --n-runs 3 --seeds 1", "search.seeds: tpe goes with one seed, the config's seed_everything"),
        ("--algo pbt --n-runs 3", "search.pbt: is missing: say what pbt changes under search.pbt.annealing_params"),
        ("--max-runs 1", "search.max_runs: these would be 2 runs, over 1; raise it, or try less"),
        ("--monitor val_acc", "search.mode: say what is best for 'val_acc': --mode min or --mode max"),
        ("--command 'python train.py'", "search.command: must have {config} in it, got 'python train.py'"),
        ("--gpus-per-run 99 --workers 3", "search.gpus_per_run: 3 workers with 99 GPUs each need 297, and there are 2; take fewer workers"),
        ("--param-variations trainer.max_epochs", "--param-variations: write path=value1,value2, got 'trainer.max_epochs'"),
        ("--param-variations trainer.max_epochs=", "--param-variations: write path=value1,value2, got 'trainer.max_epochs='"),
        ("--param-variations trainer.max_epochs=1,1", "trainer.max_epochs: the value 1 is there twice; the same run twice tells nothing"),
        ("--param-variations trainer.max_epochs=1,soon", "trainer.max_epochs: Trainer doesn't take 'soon' there"),
        ("--param-variations trainer.max_epochs=1 trainer.max_epochs=2", "--param-variations: 'trainer.max_epochs' is there twice; give its values once"),
        ("--seeds 0,1 --param-variations seed_everything=1,2", "search.seeds: seed_everything is varied, too; take one of both"),
        (f"--param-variations {M}=0.1,fast", f"{M}: Tiny doesn't take 'fast' there"),
        ("--param-variations trainer.max_epoch=1,2", "trainer.max_epoch: the config has no 'max_epoch'; did you mean 'max_epochs'?"),
        ("--param-variations modle.x=1,2", "modle.x: the config has no 'modle'; did you mean 'model'?"),
        ("--param-variations model.class_path.x=1,2", "model.class_path.x: 'model.class_path' is 'tests.tiny.Tiny', with no 'x' in it"),
        ("--param-variations a..b=1,2", "a..b: can't read the path in 'a..b'; write a.b[0][key.with.dots].c=value"),
        (f"--param-variations {M}=[1,2", "--param-variations: can't read the value '[1,2': "),
    ],
)  # fmt: skip
def test_options(monkeypatch: pytest.MonkeyPatch, refused: Callable[..., str], words: str, message: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    line = refused(words, config())
    if message.endswith((": ", "(choose from ")):  # what follows is told by Python or YAML
        assert line.startswith(message)
    else:
        assert line == message


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (config(momentum={"grid": []}), f"{M}: an axis needs at least one value: {{grid: [...]}}, got []"),
        (config(momentum={"grid": [0.1, 0.1]}), f"{M}: the value 0.1 is there twice; the same run twice tells nothing"),
        (config(momentum={"grid": [0.1, "fast"]}), f"{M}: Tiny doesn't take 'fast' there"),
        (config(momentum=RANGE), f"{M}: a range can't be a grid; list values, or take --algo random or tpe"),
        (config(momentum={"uniform": [2, 1]}), f"{M}: a range is {{uniform: [low, high]}} with low < high, got [2, 1]"),
        (config(momentum={"log_uniform": [0, 1]}), f"{M}: a range is {{log_uniform: [low, high]}} with 0 < low < high, got [0, 1]"),
        (config(momentum={"uniform": [1]}), f"{M}: a range is {{uniform: [low, high]}}, got [1]"),
        (config(momentum={"choice": [0.1, 0.2]}), f"{M}: unknown mark 'choice'; known: grid, fixed, uniform, log_uniform (whole ends: whole numbers); a value that looks so is {{fixed: ...}}"),
        ({"lr": [1, 2], "search": {"seeds": [0, 1], "command": "true {config}"}}, "search.seeds: the config has no seed_everything to put them into; add it"),
        (config(callbacks=[{"class_path": "lightning.pytorch.callbacks.EarlyStopping", "init_args": {"monitr": "x"}}]), "trainer.callbacks.0.init_args: EarlyStopping has no 'monitr'; did you mean 'monitor'?"),
        (config(momentum="fast"), "model.init_args.momentum: Tiny doesn't take 'fast' there"),
        (config(momentum=["a", "b"]), "model.init_args.momentum: Tiny doesn't take ['a', 'b'] there"),
        (config(momentum="${a.b}"), "config: can't be resolved: Interpolation key 'a.b' not found full_key: model.init_args.momentum object_type=dict"),
        (config(momentun=0.5), "model.init_args: Tiny has no 'momentun'; did you mean 'momentum'?"),
        (config(callbacks=beta(cycle_length=[10, -1])), "beta.cycle_length: must be positive, got -1"),
        (config(callbacks=beta(cycle_lenth=[10, 20])), "beta: unknown parameter 'cycle_lenth'; did you mean 'cycle_length'?"),
        (config(callbacks=[{"class_path": "lightning_anneal.BetaCallback"}]), "class_path: lightning_anneal has no callback 'BetaCallback'; did you mean 'BetaScheduleCallback'?"),
        (config({"worker": 2}), "search: unknown setting 'worker'; did you mean 'workers'?"),
        (config([2]), "search: must be a mapping of settings, got [2]"),
        (config(PBT), "trainer.max_epochs: pbt changes what search.pbt.annealing_params names; give one value here"),
        (config({"algo": "pbt", "n_runs": 2}), "search.pbt: is missing: say what pbt changes under search.pbt.annealing_params"),
        ("", "--config: a config is a mapping, got {}"),
        ("- 1\n", "--config: a config is a mapping, got [1]"),
        ("a: [1, 2\nb: {", "--config: 'a.yaml' can't be read: "),
        ("a: 1\na: 2\n", "--config: 'a.yaml' can't be read: "),
        (f"{'a' * 300}: {{grid: [1, 1]}}", "a" * 50 + ": the value 1 is there twice; the same run twice tells nothing"),
    ],
)  # fmt: skip
def test_configs(refused: Callable[..., str], given: dict[str, Any] | str, message: str) -> None:
    line = refused("", given)
    if message.endswith(": "):
        assert line.startswith(message)
    elif message.startswith("aaa"):
        assert line.endswith(message)
    else:
        assert line == message


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (config({**PBT, "pbt": 3}, trainer={"max_epochs": 3}), "search.pbt: "),
        (config(trainer={"max_epoch": 3}), "'max_epoch'"),
        ({"lr": [0.1, 0.2]}, "command"),
        (config(momentun=0.5), "did you mean 'momentum'?"),
        (config(momentum="fast"), "model.init_args.momentum"),
    ],
)  # fmt: skip
def test_what_lightning_tells_without_a_place(refused: Callable[..., str], given: dict[str, Any], part: str) -> None:
    assert part in refused("--no-execute", given)


def test_a_class_that_is_not_there(refused: Callable[..., str]) -> None:
    line = refused("--no-execute", {**config(), "model": {"class_path": "tests.tiny.Tny"}})
    assert line == "model.class_path: there is no 'Tny' in tests.tiny; did you mean 'Tiny'?"


@pytest.mark.parametrize(
    "words",
    [
        "--seeds 1,1",
        "--param-variations model.class_path=tests.tiny.Tiny,tests.tiny.Nope",
        "--command 'python \"train.py {config}'",
        "--root-dir a.yaml",
    ],
)  # fmt: skip
def test_mistakes_that_would_cost_every_run(refused: Callable[..., str], words: str) -> None:
    refused(f"{words} --no-execute", config())


def test_the_model_knows_what_may_have_been_meant(refused: Callable[..., str]) -> None:
    line = refused("--param-variations model.init_args.momentun=1,2", config())
    assert line.endswith("did you mean 'momentum'?")


def test_folders_without_configs(refused: Callable[..., str]) -> None:
    Path("config").mkdir()
    Path("config/readme.md").touch()
    assert refused("") == "--config: there is no YAML file in config/ or configs/ here; name a config"
    assert refused("--config config") == "--config: there is no YAML file in 'config'"


def test_long_paths_are_told_whole(refused: Callable[..., str]) -> None:
    path = "/a/folder/of/no/very/great/depth/but/with/some/names/experiment.yaml"
    assert path in refused(f"--config {path}")


def planned(**settings: Any) -> Plan:
    return HyperParamSearch({"lr": [0.1, 0.2]}, quiet=True, command="true {config}", **settings).plan()


def test_folders_of_a_search(refused: Callable[..., str]) -> None:
    plan = planned()
    folder, run = plan.folder, plan.runs[0].folder
    assert refused(f"status {run}") == f"{run}: is no folder of a search, which has a plan.json; there is {folder.name}"
    assert refused(f"run-one {folder} --index 2") == "--index: there is no run 2; take 0 to 1"
    assert refused(f"run-one {folder} --index -1") == "--index: there is no run -1; take 0 to 1"
    assert refused(f"best {folder}") == f"{folder}: no run has finished an epoch with Lightning yet"
    assert refused(f"plot {folder}") == f"{folder}: no run has finished an epoch with Lightning yet"
    assert refused(f"export-schedule {folder}") == (
        f"{folder}: was a search by grid; only pbt changes values on the way"
    )
    assert refused(f"--resume {folder} --workers 0") == "search.workers: must be positive, got 0"
    assert refused(f"--resume {folder} --seeds 1") == (
        "search.seeds: belongs to a new search; one that is resumed goes on as it was planned"
    )


@pytest.mark.parametrize("option", ["--dry-run", "--no-execute"])
def test_nothing_is_run_where_that_was_asked(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    del refused
    ran: list[Plan] = []
    monkeypatch.setattr(command, "_execute", ran.append)
    main(["search", "--resume", str(planned().folder), option])
    assert ran == []


def test_variations_may_be_given_one_by_one(refused: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    del refused
    Path("a.yaml").write_text(yaml.safe_dump({"a": 1, "b": 1, "search": {"command": "true {config}"}}))
    words = "--dry-run --config a.yaml --param-variations a=1,2 --param-variations b=3,4,5"
    assert main(["search", *words.split()]) == 0
    assert capsys.readouterr().out.startswith("6 runs")


# The other entry point.


def test_hyper_main(tmp_path: Path) -> None:
    """The four flags of the original script."""
    (tmp_path / "a.yaml").write_text("lr: [0.1, 0.2]\nnet:\n  - p: 0.5\nsearch:\n  command: python train.py {config}\n")
    words = "--config a.yaml --param-variations net.0.p=0.1,0.2 lr=1e-7 --run-prefix mine --no-execute"
    ended = subprocess.run(
        [sys.executable, str(ROOT / "hyper_main.py"), *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False)
    folders = [Path(line) for line in ended.stdout.splitlines()]
    assert [folder.name.partition("_lr_")[2] for folder in folders] == ["1e-07_p_0.1", "1e-07_p_0.2"]
    assert {folder.name.split("_")[0] for folder in folders} == {"mine"}
    configs = [yaml.safe_load((tmp_path / folder / "config.yaml").read_text()) for folder in folders]
    assert configs == [{"lr": 1e-7, "net": [{"p": p}]} for p in (0.1, 0.2)]
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_a_run_that_is_trained_is_not_begun_again(refused: Callable[..., str]) -> None:
    plan = HyperParamSearch({"lr": [0.1, 0.2]}, quiet=True, command="true {config}").plan()
    with locked(plan.runs[1].folder / "lock"):
        message = refused(f"run-one {plan.folder} --index 1")
    assert message == f"{plan.runs[1].name}: another process trains it; wait for it, or end it"
