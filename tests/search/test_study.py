"""What Optuna suggests and ends: from the folders of the runs alone, and in a real search."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

pytest.importorskip("optuna")

from lightning_anneal.cli import main
from lightning_anneal.search.files import read_json, write_json
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.runs import Run
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.space import Axis, find_space
from lightning_anneal.search.study import Study
from tests.search.test_child import ROOT, child, finished, noted, prepared
from tests.search.test_population import kill_the_search
from tests.tiny import QUIET, Tiny

CONFIG = {"lr": {"log_uniform": [1e-4, 1e-1]}, "depth": {"uniform": [1, 6]}, "sizes": {"grid": [[8], [8, 16], None]}}


def planned(root: Path, config: Any = None, **options: Any) -> Plan:
    """A search by TPE without any run yet."""
    return Plan.make(root, Settings(**{"algo": "tpe", "n_runs": 30, **options}), find_space(config or CONFIG), ())


def queued(root: Path, count: int, **options: Any) -> Plan:
    """A grid of so many runs."""
    space = find_space({"lr": list(range(count))})
    return Plan.make(root, Settings(**options), space, [{"lr": lr} for lr in range(count)])


def ended(run: Run, *metrics: float | None, state: str = "done") -> Run:
    """A run with these metrics, epoch by epoch."""
    at = {str(epoch): {"val_loss": value, "other": 1.0} for epoch, value in enumerate(metrics)}
    write_json(run.folder / "result.json", {"epochs": at})
    write_json(run.folder / "status.json", {"state": state, "attempts": 1})
    return run


def taken(study: Study) -> Run:
    run = study.take()
    assert run is not None
    return run


def suggested(study: Study, count: int) -> list[dict[str, Any]]:
    """So many runs, each of which ends with its lr as its metric."""
    values = []
    for _ in range(count):
        run = taken(study)
        study.heard(ended(run, run.values["lr"]))
        values.append(dict(run.values))
    return values


def test_there_are_no_more_runs_than_asked_for(tmp_path: Path) -> None:
    plan = planned(tmp_path, n_runs=3)
    study = Study(plan)
    runs = [taken(study) for _ in range(3)]
    assert study.take() is None
    assert [run.index for run in runs] == [0, 1, 2]
    # Failed ones are runs, too.
    for run, state in zip(runs, ("done", "failed", "pruned"), strict=True):
        study.heard(ended(run, 1.0, state=state))
    assert study.take() is None
    again = Study(Plan.load(plan.folder))
    assert taken(again) == runs[1]
    assert again.take() is None
    assert len(Plan.load(plan.folder).runs) == 3


def test_every_value_is_within_its_axis_and_in_the_config_of_its_run(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    study = Study(plan)
    suggested(study, 30)
    assert study.take() is None
    for run in Plan.load(plan.folder).runs:
        assert 1e-4 <= run.values["lr"] <= 1e-1
        assert isinstance(run.values["lr"], float)
        assert run.values["depth"] in (1, 2, 3, 4, 5, 6)
        assert isinstance(run.values["depth"], int)
        assert run.values["sizes"] in ([8], [8, 16], None)
        assert yaml.safe_load((run.folder / "config.yaml").read_text()) == run.values
        # No longer than what tells something.
        assert len(repr(run.values["lr"])) <= 9
    assert {repr(run.values["sizes"]) for run in plan.runs} == {"[8]", "[8, 16]", "None"}


def test_ranges_of_every_kind_keep_their_ends(tmp_path: Path) -> None:
    config = {
        "a": {"uniform": [-2, -1]},
        "b": {"log_uniform": [1, 2]},
        "c": {"uniform": [0.123456, 0.123457]},
        "d": {"uniform": [1, 2.5]},
        "e": {"log_uniform": [1e-9, 1.0000001e-9]},
        "lr": [1, 2],
    }
    plan = planned(tmp_path, config, n_runs=15)
    for values in suggested(Study(plan), 15):
        assert values["a"] in (-2, -1)
        assert values["b"] in (1, 2)
        assert 0.123456 <= values["c"] <= 0.123457
        assert 1 <= values["d"] <= 2.5
        assert 1e-9 <= values["e"] <= 1.0000001e-9
    assert Study(Plan.load(plan.folder)).take() is None


def test_values_that_equal_each_other_stay_apart(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"x": {"grid": [1, True, 1.0, "1", None, "None"]}}, n_runs=25)
    study = Study(plan)
    for _ in range(20):
        study.heard(ended(taken(study), 1.0))
    assert {repr(run.values["x"]) for run in plan.runs} == {"1", "True", "1.0", "'1'", "None", "'None'"}
    loaded = Plan.load(plan.folder)
    assert [repr(run.values["x"]) for run in loaded.runs] == [repr(run.values["x"]) for run in plan.runs]
    assert taken(Study(loaded)).index == 20


def test_it_learns(tmp_path: Path) -> None:
    for mode, better in (("min", lambda found: found < 20), ("max", lambda found: found > 80)):
        plan = planned(tmp_path, {"lr": {"uniform": [0.0, 100.0]}}, n_runs=60, mode=mode)
        found = [each["lr"] for each in suggested(Study(plan), 60)]
        # At random it would be one in five.
        assert sum(map(better, found[30:])) > 15, mode


def test_it_learns_from_folders(tmp_path: Path) -> None:
    plan = planned(tmp_path, {"lr": {"uniform": [0.0, 100.0]}}, n_runs=60)
    suggested(Study(plan), 30)
    again = Study(Plan.load(plan.folder))
    assert sum(each["lr"] < 20 for each in suggested(again, 30)) > 15


def test_the_seed_decides(tmp_path: Path) -> None:
    first = suggested(Study(planned(tmp_path)), 5)
    assert suggested(Study(planned(tmp_path)), 5) == first
    assert suggested(Study(planned(tmp_path, sampler_seed=1)), 5) != first


def test_after_a_new_start_it_suggests_other_points(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    first = suggested(Study(plan), 5)
    later = suggested(Study(Plan.load(plan.folder)), 5)
    assert not [each["lr"] for each in later if each["lr"] in [other["lr"] for other in first]]
    assert len(Plan.load(plan.folder).runs) == 10


def test_runs_that_were_left_come_first_and_keep_their_values(tmp_path: Path) -> None:
    plan = planned(tmp_path, n_runs=6)
    study = Study(plan)
    runs = [taken(study) for _ in range(5)]
    for run, state in zip(runs, ("done", "failed", "stopped", "pruned", "running"), strict=True):
        ended(run, 2.0, 1.0, state=state)
    again = Study(Plan.load(plan.folder))
    left = [taken(again) for _ in range(3)]
    assert [(run.index, run.values) for run in left] == [(i, runs[i].values) for i in (1, 2, 4)]
    for run in left:
        again.heard(ended(run, 2.0, 1.0, 0.5))
    assert taken(again).index == 5
    assert again.take() is None


def test_a_failed_run_is_no_result(tmp_path: Path) -> None:
    # The failed ones would be the best ones by far.
    plan = planned(tmp_path, {"lr": {"uniform": [0.0, 100.0]}}, n_runs=60)
    study = Study(plan)
    late = 0
    for i in range(60):
        run = taken(study)
        good = run.values["lr"] < 50
        study.heard(ended(run, -1000.0 if good else run.values["lr"], state="failed" if good else "done"))
        late += i >= 30 and run.values["lr"] > 90
    # What is done says that 50 is best, and 90 to 100 worst.
    assert late <= 3
    assert [trial.state.name for trial in study._study.get_trials()].count("COMPLETE") == sum(
        run.values["lr"] >= 50 for run in plan.runs
    )


@pytest.mark.parametrize("metrics", [(), (None, None), (None,)])
def test_a_run_without_the_metric_harms_nobody(tmp_path: Path, metrics: tuple[None, ...]) -> None:
    plan = planned(tmp_path)
    study = Study(plan)
    for state in ("done", "pruned", "failed"):
        study.heard(ended(taken(study), *metrics, state=state))
    assert taken(study).index == 3
    again = Study(Plan.load(plan.folder))
    # The failed one, and the fourth, which never began.
    assert [taken(again).index for _ in range(3)] == [2, 3, 4]


def test_the_best_epoch_counts(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    study = Study(plan)
    study.heard(ended(taken(study), 3.0, 1.0, None, 2.0))
    assert study._study.best_value == 1.0
    assert Study(Plan.load(plan.folder))._study.best_value == 1.0


# -- pruning -----------------------------------------------------------------------------------------------------------

GOOD, HOPELESS = (1.0, 0.5, 0.4, 0.3), (9.0, 9.0, 9.0, 9.0)


def asked_to_end(run: Run) -> bool:
    return (run.folder / "prune").exists()


def completed(study: Study, *metrics: float, state: str = "done") -> None:
    """A run whose epochs were looked at, and which then ended."""
    run = ended(taken(study), *metrics, state="running")
    study.look([run])
    study.heard(ended(run, *metrics, state=state))


@pytest.mark.parametrize("pruner", ["median", "successive_halving"])
def test_the_epochs_of_a_run_that_nobody_looked_at_count(tmp_path: Path, pruner: str) -> None:
    study = Study(queued(tmp_path, 6, pruner=pruner))
    for _ in range(4):
        study.heard(ended(taken(study), *GOOD))
    told = [trial.intermediate_values for trial in study._study.get_trials()]
    assert told == [dict(enumerate(GOOD))] * 4


@pytest.mark.parametrize("again", [False, True])
def test_a_hopeless_run_is_asked_to_end_and_a_good_one_is_not(tmp_path: Path, again: bool) -> None:
    plan = queued(tmp_path, 7, pruner="median")
    study = Study(plan)
    for _ in range(4):
        completed(study, *GOOD)
    if again:
        plan = Plan.load(plan.folder)
        study = Study(plan)
    hopeless, good, new = (taken(study) for _ in range(3))
    ended(hopeless, *HOPELESS[:2], state="running")
    ended(good, 0.9, 0.4, state="running")
    study.look([hopeless, good, new])
    assert [asked_to_end(run) for run in (hopeless, good, new)] == [True, False, False]
    assert study.take() is None
    # The next epoch of the good one is one where it falls behind.
    ended(good, 0.9, 0.4, 2.0, state="running")
    (hopeless.folder / "prune").unlink()
    study.look([hopeless, good, new])
    # Its best so far counts, and it is better than their median, which is 0.4 in that epoch, or as good.
    assert not asked_to_end(good)
    # Nothing new, nothing asked.
    assert not asked_to_end(hopeless)


@pytest.mark.parametrize(("mode", "asked"), [("min", [True, False]), ("max", [False, True])])
def test_what_is_hopeless_depends_on_the_mode(tmp_path: Path, mode: str, asked: list[bool]) -> None:
    plan = queued(tmp_path, 6, pruner="median", mode=mode)
    study = Study(plan)
    for _ in range(4):
        completed(study, 5.0, 5.0)
    runs = [taken(study), taken(study)]
    ended(runs[0], 9.0, state="running")
    ended(runs[1], 1.0, state="running")
    study.look(runs)
    assert [asked_to_end(run) for run in runs] == asked


def test_few_results_end_nobody(tmp_path: Path) -> None:
    study = Study(queued(tmp_path, 4, pruner="median"))
    for _ in range(3):
        completed(study, *GOOD)
    run = ended(taken(study), *HOPELESS, state="running")
    study.look([run])
    assert not asked_to_end(run)


def test_failed_and_pruned_runs_are_no_measure(tmp_path: Path) -> None:
    study = Study(queued(tmp_path, 7, pruner="median"))
    for state in ("failed", "pruned", "failed", "pruned", "done", "done"):
        completed(study, *GOOD, state=state)
    run = ended(taken(study), *HOPELESS, state="running")
    study.look([run])
    assert not asked_to_end(run)


def test_without_a_pruner_nobody_is_asked_to_end(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    study = Study(plan)
    for _ in range(5):
        completed(study, *GOOD)
    run = ended(taken(study), *HOPELESS, state="running")
    study.look([run])
    assert not asked_to_end(run)


def test_successive_halving_ends_the_worse_ones(tmp_path: Path) -> None:
    study = Study(queued(tmp_path, 9, pruner="successive_halving"))
    completed(study, *GOOD)
    runs = [taken(study) for _ in range(8)]
    for run in runs:
        # Those of a higher number are worse; of up to seven, one goes on.
        study.look([ended(run, 9.0, float(run.index), state="running")])
    assert [asked_to_end(run) for run in runs] == [False] + [True] * 7


def test_a_run_that_is_retried_tells_no_epoch_twice(tmp_path: Path) -> None:
    study = Study(queued(tmp_path, 5, pruner="median"))
    for _ in range(4):
        completed(study, *GOOD)
    run = ended(taken(study), 1.0, 0.5, state="running")
    study.look([run])
    # It was killed, and trains its second epoch again; Optuna would warn, which is an error here.
    study.look([ended(run, 1.0, state="running")])
    study.look([ended(run, 1.0, 0.6, 0.4, state="running")])
    study.heard(ended(run, 1.0, 0.6, 0.4, 0.3))
    assert study._study.trials[-1].value == 0.3


def test_seeds_are_no_axis_of_a_pruned_grid(tmp_path: Path) -> None:
    space = find_space({"seed_everything": 0, "lr": [1, 2]})
    points = [{"lr": lr, "seed_everything": seed} for lr in (1, 2) for seed in (0, 1)]
    plan = Plan.make(tmp_path, Settings(seeds=[0, 1], pruner="median"), space, points)
    study = Study(plan)
    assert [dict(taken(study).values) for _ in range(4)] == points
    ended(plan.runs[0], 1.0)
    assert taken(Study(Plan.load(plan.folder))).values == points[1]
    assert list(space.axes.values()) == [Axis("lr", (1, 2), "a list")]


def test_a_file_that_asks_a_run_to_end(tmp_path: Path) -> None:
    prepared(tmp_path, max_epochs=3)
    write_json(tmp_path / "run.json", {"command": None, "cwd": str(ROOT), "prune": True})
    (tmp_path / "prune").touch()
    assert finished(tmp_path) == 0
    assert read_json(tmp_path / "status.json")["state"] == "pruned"
    assert noted(tmp_path) == ["begin 0"]
    assert list(read_json(tmp_path / "result.json")["epochs"]) == ["0"]
    # It is finished: nothing goes on with it.
    assert Run(0, tmp_path, {}).state == "pruned"


def test_a_run_that_is_asked_to_stop_is_not_done(tmp_path: Path) -> None:
    process = child(prepared(tmp_path, max_epochs=-1), start_new_session=True)
    while not (tmp_path / "result.json").exists():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=60)
    assert read_json(tmp_path / "status.json")["state"] == "stopped"


# -- a real search -----------------------------------------------------------------------------------------------------


class Interrupting(Tiny):
    """Interrupts the search, as Ctrl-C does, in the second epoch of the run that comes there first."""

    def __init__(self, lr: float, once: str) -> None:
        super().__init__()
        self.lr, self.once = lr, once

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        with (Path(self.trainer.default_root_dir) / "seen.txt").open("a") as file:
            file.write(f"{self.current_epoch} {batch_idx}\n")
        if self.current_epoch == 1 and batch_idx == 3 and not os.path.exists(self.once):
            # What the search asks of its runs then shall end this one here and not after the batch.
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            kill_the_search(str(signal.SIGINT.value), self.once)
            while True:
                signal.pause()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


@pytest.mark.processes
@pytest.mark.usefixtures("interruptible")
def test_a_search_that_is_interrupted_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    arguments = {"lr": {"log_uniform": [0.0001, 0.01]}, "once": str(tmp_path / "once")}
    config = {
        "model": {"class_path": "tests.search.test_study.Interrupting", "init_args": arguments},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {"max_epochs": 3, **QUIET},
    }
    (tmp_path / "given.yaml").write_text(yaml.safe_dump(config))
    words = ["search", "-c", str(tmp_path / "given.yaml"), "--root-dir", str(tmp_path / "runs")]
    assert main([*words, "--algo", "tpe", "--n-runs", "4", "--workers", "2"]) == 130
    [folder] = (tmp_path / "runs").glob("*_search")
    assert capsys.readouterr().err.splitlines()[-1].startswith("stopped; go on with: lightning-anneal search --resume ")
    begun = Plan.load(folder).runs
    assert 1 <= len(begun) <= 2
    assert {run.state for run in begun} == {"stopped"}
    assert main(["search", "--resume", str(folder)]) == 0
    plan = Plan.load(folder)
    assert plan.runs[: len(begun)] == begun
    assert [run.state for run in plan.runs] == ["done"] * 4
    assert len({run.values["model.init_args.lr"] for run in plan.runs}) == 4
    for run in plan.runs:
        assert sorted(run.epochs) == [0, 1, 2]
        config = yaml.safe_load((run.folder / "config.yaml").read_text())
        assert config["model"]["init_args"]["lr"] == run.values["model.init_args.lr"]
        # The epoch in which it was stopped begins again, and no other.
        seen = [json.loads(line.split()[0]) for line in (run.folder / "seen.txt").read_text().splitlines()]
        *whole, most = sorted(seen.count(epoch) for epoch in range(3))
        assert whole == [8, 8]
        assert 8 <= most <= 16
    best = min(plan.runs, key=lambda run: min(metrics["val_loss"] or 0 for metrics in run.epochs.values()))
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("best: val_loss ")
    assert last.endswith(f" {best.values['model.init_args.lr']}")
