"""``lightning-anneal preview``: what it prints and writes, what it refuses, and what it never loads."""

from __future__ import annotations

import copy
import json
import math
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from lightning_anneal.cli import main
from lightning_anneal.preview import command
from lightning_anneal.preview.metrics import read_metric
from tests.written import ROOT, annealing, on, stopping

LINEAR = {"strategy": "linear", "start_value": 0.0, "end_value": 3.0}


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a config, and gives its path."""

    def written(*callbacks: Any, **trainer: Any) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump({"trainer": {"max_epochs": 4, **trainer, "callbacks": list(callbacks)}}))
        return str(path)

    return written


Capture = pytest.CaptureFixture[str]


def refused(arguments: list[str], capsys: Capture) -> str:
    """The one line that a mistake is."""
    try:
        status = main(["preview", *arguments])
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    captured = capsys.readouterr()
    assert (status, captured.out) == (2, "")
    [line] = captured.err.splitlines()
    assert len(line) <= 200
    return line


# -- what it gives ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ("annealing.yaml", ["beta", "free_bits", "encoder.0.p", "optimizer.param_groups.0.weight_decay", "optimizer.param_groups.0.betas.0", "trainer.gradient_clip_val"]),
        ("cyclical_beta.yaml", ["beta"]),
        ("cyclical_beta_config.json", ["beta"]),
        ("hierarchical.yaml", ["global_kl_weight", "local_kl_weight"]),
        ("hierarchical_config.json", ["global_kl_weight", "local_kl_weight"]),
        ("lr_and_beta.yaml", ["beta", "learning rate"]),
        *((f"lr_{name}.yaml", ["learning rate"]) for name in ("groups", "hf_cosine", "multistep", "one_cycle", "warmup_cosine")),
        ("lr_plateau.yaml", ["learning rate", "val_loss"]),
        ("stepwise_cosine.yaml", ["beta"]),
        ("triggers.yaml", ["reg_param", "datamodule.batch_size", "optimizer.param_groups.0.weight_decay", "learning rate", "val_loss"]),
        ("warm_restart.yaml", ["beta"]),
        ("warm_restart_config.json", ["beta"]),
    ],
)  # fmt: skip
def test_every_config_has_a_panel_for_each_parameter(config: str, names: list[str], capsys: Capture) -> None:
    assert main(["preview", f"configs/{config}", "--width", "80"]) == 0
    captured = capsys.readouterr()
    panels = [
        line.split("  ")[0]
        for line in captured.out.splitlines()
        if line[:1].isalpha() and ("(" in line or line == "val_loss") and ": " not in line
    ]
    assert [name for name in panels if name in names] == names
    assert captured.err == ""


def test_csv_on_the_terminal(write: Callable[..., str], capsys: Capture) -> None:
    assert main(["preview", write(annealing(a=LINEAR)), "--csv"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["epoch,a", "0,0.0", "1,1.0", "2,2.0", "3,3.0"]
    assert captured.err == ""


def test_a_controller_and_what_follows_it(write: Callable[..., str], tmp_path: Path, capsys: Capture) -> None:
    beta = {"strategy": "pi_control", "monitor": "kl", "set_point": 2, "kp": 0, "ki": 0.25, "start_value": 0}
    config = write(annealing(beta=beta, twice={"strategy": "follow", "other": "beta", "scale": 2}), max_epochs=3)
    assert main(["preview", config, "--csv"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "beta: pi_control answers to kl, which only training shows (--metric kl=FILE.csv)",
        "twice: follows beta, which the preview doesn't see",
    ]
    (tmp_path / "kl.csv").write_text("kl\n3\n4\n1\n")
    assert main(["preview", config, "--csv", "--metric", f"kl={tmp_path / 'kl.csv'}"]) == 0
    captured = capsys.readouterr()
    # A quarter of 3 - 2, and then of 4 - 2.
    assert captured.out.splitlines() == ["epoch,beta,twice", "0,0.0,0.0", "1,0.25,0.5", "2,0.75,1.5"]
    assert captured.err == ""


def test_notes_do_not_stand_in_the_csv(write: Callable[..., str], capsys: Capture) -> None:
    config = write(annealing(a={**LINEAR, "interval": "step", "total_steps": "2st"}), max_epochs=1)
    assert main(["preview", config, "--csv"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[:4] == ["epoch,step,a", "0,0,0.0", "0,1,1.5", "0,2,3.0"]
    assert len(captured.out.splitlines()) == 101
    assert captured.err == "steps in an epoch are not known: 100 assumed (--steps-per-epoch)\n"


@pytest.mark.parametrize(
    ("ending", "begins"),
    [("png", b"\x89PNG\r\n\x1a\n"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("csv", b"epoch,a\n0,0.0\n")],
)
def test_files(write: Callable[..., str], tmp_path: Path, ending: str, begins: bytes, capsys: Capture) -> None:
    path = tmp_path / f"preview.{ending}"
    assert main(["preview", write(annealing(a=LINEAR)), "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert path.read_bytes().startswith(begins)


def test_the_file_that_is_told_is_there(write: Callable[..., str], tmp_path: Path, capsys: Capture) -> None:
    assert main(["preview", write(annealing(a=LINEAR)), "-o", str(tmp_path / "preview")]) in (0, 2)
    told = capsys.readouterr().out.strip()
    assert not told or Path(told).is_file()


@pytest.mark.parametrize(
    ("trainer", "options", "epochs", "steps"),
    [
        ({"max_epochs": 3}, [], 3, None),
        ({"max_epochs": 3}, ["--epochs", "5"], 5, None),
        ({"max_epochs": None}, ["--epochs=2"], 2, None),
        ({"max_epochs": -1, "max_steps": 10, "limit_train_batches": 4}, [], 3, 10),
        ({"max_epochs": 3, "max_steps": 10, "limit_train_batches": 2}, [], 3, 6),
        ({"max_epochs": 3, "max_steps": 5, "limit_train_batches": 2}, ["--epochs", "4"], 4, 8),
        ({"max_epochs": 3, "limit_train_batches": 7, "accumulate_grad_batches": 2}, [], 3, 12),
        ({"max_epochs": 3, "limit_train_batches": 7}, ["--steps-per-epoch", "3"], 3, 9),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, ["--steps-per-epoch", "3"], 3, 9),
    ],
)
def test_the_length_of_the_run(
    write: Callable[..., str], trainer: Any, options: list[str], epochs: int, steps: Any, capsys: Capture
) -> None:
    rule = {**LINEAR, "interval": "epoch" if steps is None else "step"}
    assert main(["preview", write(annealing(a=rule), **trainer), "--csv", *options]) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    assert len(rows) == (steps or epochs)
    assert int(rows[-1][0]) == epochs - 1
    assert rows[-1][-1] == "3.0"  # without a length a ramp ends in the last of them


def test_starts(write: Callable[..., str], capsys: Capture) -> None:
    settings = {"strategy": "linear", "end_value": 4.0, "total_steps": 4}
    assert main(["preview", write(annealing(**{"net.p": settings})), "--csv", "--start", "net.p=2"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["0,2.0", "1,2.5", "2,3.0", "3,3.5"]
    assert main(["preview", write(annealing(**{"net.p": settings}))]) == 0
    note = "net.p: begins at the value found in the model, which the preview doesn't see (--start net.p=VALUE)"
    assert capsys.readouterr().out.split() == note.split()  # in lines that are no wider than the terminal


def test_a_start_from_the_model(tmp_path: Path, capsys: Capture) -> None:
    config = {
        "model": {"class_path": "tests.tiny.WithHparams"},
        "trainer": {"max_epochs": 3, "callbacks": [annealing(beta={"strategy": "linear", "end_value": 0.0})]},
    }
    path = tmp_path / "run.yaml"
    for arguments, first in ((None, "4.0"), ({"beta": 8}, "8.0")):
        config["model"]["init_args"] = arguments or {}
        path.write_text(yaml.safe_dump(config))
        assert main(["preview", str(path), "--csv"]) == 0
        assert capsys.readouterr().out.splitlines()[1] == f"0,{first}"


def test_an_argument_is_no_attribute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    (tmp_path / "halved.py").write_text("class Model:\n    def __init__(self, beta=1.0):\n        self.beta = 0.5\n")
    config = {
        "model": {"class_path": "halved.Model", "init_args": {"beta": 8.0}},
        "trainer": {"max_epochs": 3, "callbacks": [annealing(beta={"strategy": "linear", "end_value": 0.0})]},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    assert main(["preview", "run.yaml", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "0,0.5"


def test_a_metric_from_a_file(write: Callable[..., str], tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "loss.csv").write_text("epoch,step,train_loss,val_loss\n0,1,9,\n0,2,,5.0\n1,4,,6.0\n2,6,,6.0\n3,8,,6\n")
    config = write(annealing(a=on("early_stopper_counter")), stopping(patience=5))
    assert main(["preview", config, "--csv", "--metric", f"val_loss={tmp_path / 'loss.csv'}"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == ["epoch,a", "0,0.0", "1,0.0", "2,1.0", "3,2.0"]
    assert captured.err == ""


@pytest.mark.parametrize(
    ("content", "values"),
    [
        # A file of one column is that metric under any name, and under none.
        ("loss\n5\n6.5\n", [5.0, 6.5]),
        ("5\n6.5\n", [5.0, 6.5]),
        ("m\n5\n6.5\n", [5.0, 6.5]),
    ],
)
def test_a_metric_from_a_file_of_one_column(tmp_path: Path, content: str, values: list[float]) -> None:
    (tmp_path / "m.csv").write_text(content)
    assert read_metric("m", tmp_path / "m.csv") == values


def test_a_metric_that_is_made_up(write: Callable[..., str], capsys: Capture) -> None:
    config = write(annealing(a=on("metric_below", monitor="val_loss", threshold=2.0)), max_epochs=9)
    assert main(["preview", config, "--csv"]) == 0
    captured = capsys.readouterr()
    # From 3 to 1 within three epochs: it is below 2 in epoch 2, which is seen at the start of epoch 3.
    assert [line.split(",")[1] for line in captured.out.splitlines()[1:]] == ["0.0"] * 3 + ["1.0"] * 6
    assert captured.err.startswith("val_loss is made up: ")


def test_more_epochs_than_can_be_played_through(write: Callable[..., str], capsys: Capture) -> None:
    config = write(annealing(a=on("metric_below", monitor="val_loss", threshold=2.0)), max_epochs=1_000_001)
    line = refused([config], capsys)
    assert line == "error: preview: 1,000,001 epochs are too many to play through; give fewer epochs"


def test_set(write: Callable[..., str], capsys: Capture) -> None:
    config = write(annealing(a=LINEAR))
    assert (
        main(
            [
                "preview",
                config,
                "--csv",
                "--set",
                "trainer.max_epochs=2",
                "--set=trainer.callbacks[0].init_args.annealing_params.a.end_value=7",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines() == ["epoch,a", "0,0.0", "1,7.0"]


def test_annealing_params_alone(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"annealing_params": {"a": LINEAR}}))
    assert main(["preview", str(path), "--epochs", "4", "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3,3.0"


@pytest.mark.parametrize(
    "path", ["lightning_anneal.callbacks.annealing.HyperparamAnnealingCallback", "HyperparamAnnealingCallback"]
)
def test_other_class_paths(write: Callable[..., str], path: str, capsys: Capture) -> None:
    assert main(["preview", write({**annealing(a=LINEAR), "class_path": path}), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3,3.0"


def test_a_training_config_that_names_a_file(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "weights.json").write_text(
        json.dumps(
            {
                "global_scheduler": {"type": "constant", "max_beta": 1},
                "local_scheduler": {"type": "constant", "max_beta": 2},
            }
        )
    )
    training = {"num_epochs": 2, "beta_scheduler_type": "hierarchical", "hierarchical_beta_config": "weights.json"}
    (tmp_path / "run.json").write_text(json.dumps({"training": training}))
    assert main(["preview", str(tmp_path / "run.json"), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1,1.0,2.0"


def test_help(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["preview", "--help"])
    assert stop.value.code == 0
    assert "--steps-per-epoch" in capsys.readouterr().out


# -- what it refuses ----------------------------------------------------------------------------------------------

NO_STEPS = ["--steps-per-epoch", "0"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--epochs", "0"], "error: --epochs: must be positive, got '0'"),
        (["--epochs", "-3"], "error: --epochs: must be positive, got '-3'"),
        (["--epochs", "ten"], "error: --epochs: must be a number, got 'ten'"),
        (["--epochs", "10ep"], "error: --epochs: must be a number, got '10ep'; units are for lengths"),
        (["--epochs", "nan"], "error: --epochs: must be a finite number, got nan"),
        (["--epochs", "1e999"], "error: --epochs: must be a finite number, got inf"),
        (NO_STEPS, "error: --steps-per-epoch: must be positive, got '0'"),
        (["--steps-per-epoch", "x"], "error: --steps-per-epoch: must be a number, got 'x'"),
        (["--metric", "val_loss"], "error: --metric: write --metric NAME=FILE.csv, got 'val_loss'"),
        (["--metric", "=a.csv"], "error: --metric: write --metric NAME=FILE.csv, got '=a.csv'"),
        (["--metric", "m=no.csv"], "error: --metric m: 'no.csv' can't be read: FileNotFoundError"),
        (["--metric", "m=."], "error: --metric m: '.' can't be read: IsADirectoryError"),
        (["--start", "a"], "error: --start: write --start NAME=VALUE, got 'a'"),
        (["--start", "aa=1"], "error: --start: unknown parameter 'aa'; did you mean 'a'?"),
        (["--start", "a=x"], "error: --start a: must be a number, got 'x'"),
        (["--width", "wide"], "error: argument --width: invalid int value: 'wide' (--help tells the options)"),
        (["--wdith", "3"], "error: unrecognized arguments: --wdith 3 (--help tells the options)"),
        (["--epochs"], "error: argument --epochs: expected one argument (--help tells the options)"),
        (["--set"], "error: --set: write --set PATH=VALUE"),
        (["--set", "trainer.max_epoch=1", "--set=no.a=1"], "error: --set: the config has no 'no'; known: trainer"),
    ],
)
def test_mistakes_on_the_command_line(
    write: Callable[..., str], options: list[str], line: str, capsys: Capture
) -> None:
    assert refused([write(annealing(a=LINEAR)), *options], capsys) == line


@pytest.mark.parametrize(
    "output",
    [
        "preview.xyz",
        "no/such/folder/preview.png",
        "no/such/folder/preview.csv",
        "/proc/preview.png",
        *(pytest.param(output) for output in ("", "folder", "folder/")),
    ],
)
def test_files_that_cannot_be_written(
    write: Callable[..., str], output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    line = refused([write(annealing(a=LINEAR)), "-o", output], capsys)
    assert "can't be written" in line or "needs an ending that says what it is" in line


def test_a_config_that_cannot_be_read(tmp_path: Path, capsys: Capture) -> None:
    assert refused(["no.yaml"], capsys) == "error: CONFIG: no such file 'no.yaml'"
    assert refused([], capsys) == "error: the following arguments are required: CONFIG (--help tells the options)"
    path = tmp_path / "broken.yaml"
    for content in (b"a: [1", b"a: b: c", b"\xff\xfe\x00", b"a: *b", b"\t- x", b"? : ?\n: :", b"{" * 300):
        path.write_bytes(content)
        assert "can't be read" in refused([str(path)], capsys)
    for content in (b"", b"- 1", b"3", b"word", b"null"):
        path.write_bytes(content)
        refused([str(path)], capsys)
    refused([str(tmp_path)], capsys)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({}, "error: config: anneals nothing: no callback of lightning_anneal in trainer.callbacks"),
        ({"trainer": {"callbacks": "EarlyStopping"}}, "error: EarlyStopping.monitor: missing"),
        ({"trainer": {"callbacks": 3}}, "error: config: anneals nothing: no callback of lightning_anneal in trainer.callbacks"),
        ({"trainer": [1]}, "error: config: anneals nothing: no callback of lightning_anneal in trainer.callbacks"),
        ({"search": {}, "trainer": {}}, "error: search: is for `lightning-anneal search`, where a value may be a list; take the config.yaml of one of its runs"),
        ({"trainer": {"callbacks": [annealing(a={"strategy": "cosin"})]}}, "error: a.strategy: unknown strategy 'cosin'; did you mean 'cosine'?"),
        ({"trainer": {"callbacks": [annealing(a=LINEAR)]}}, "error: trainer.max_epochs: not in the config; give --epochs"),
        ({"trainer": {"max_epochs": "x", "callbacks": [annealing(a=LINEAR)]}}, "error: trainer.max_epochs: must be a number, got 'x'"),
        ({"trainer": {"max_epochs": 0, "callbacks": [annealing(a=LINEAR)]}}, "error: trainer.max_epochs: must be positive, got 0"),
        ({"trainer": {"callbacks": [{"class_path": "lightning_anneal.BetaScheduleCallback"}]}}, "error: BetaScheduleCallback: 'beta_scheduler_type' is missing"),
        ({"trainer": {"callbacks": [annealing(a=3)]}}, "error: a: must be a mapping of settings, a schedule or a callable of t, got 3"),
        ({"trainer": {"callbacks": [{**annealing(), "init_args": {"annealing_parms": {}}}]}}, "error: HyperparamAnnealingCallback: unknown argument 'annealing_parms'; did you mean 'annealing_params'?"),
        ({"training": {"beta_scheduler_typ": "linear"}}, "error: training: unknown key 'beta_scheduler_typ'; did you mean 'beta_scheduler_type'?"),
        ({"training": {"beta_scheduler_type": "constant", "beta_scheduler_params": {"max_beta": 1}}}, "error: trainer.max_epochs: not in the config; give --epochs"),
    ],
)  # fmt: skip
def test_mistakes_in_the_config(tmp_path: Path, config: Any, line: str, capsys: Capture) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    assert refused([str(path)], capsys) == line


def test_a_single_callback_needs_no_list(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump({"trainer": {"max_epochs": 4, "callbacks": annealing(a=LINEAR)}}))
    assert main(["preview", str(path), "--csv"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "3,3.0"


def test_several_mistakes(write: Callable[..., str], capsys: Capture) -> None:
    line = refused([write(annealing(a={"strategy": "cosin"}, b=3, c={"strategy": "linear"}))], capsys)
    assert line.startswith("error: a.strategy: unknown strategy 'cosin'; did you mean 'cosine'? (2 more")


def test_the_command_that_is_named_is_there(write: Callable[..., str], capsys: Capture) -> None:
    line = refused([write(annealing(a={"strategy": "cosin"}, b=3))], capsys)
    main(["--help"])
    named = line.split("lightning-anneal ")[-1].split(")")[0] if "lightning-anneal" in line else "preview"
    assert f"\n{named}" in capsys.readouterr().out


def test_a_misspelled_callback(write: Callable[..., str], capsys: Capture) -> None:
    wrong = {"class_path": "lightning_anneal.BetaScheduleCalback", "init_args": {}}
    assert "did you mean 'BetaScheduleCallback'" in refused([write(annealing(a=LINEAR), wrong)], capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("epoch,loss\n0,1\n", "has no column 'm'; known: epoch, loss"),
        ("epoch,m\n0,x\n", "'x' in row 1 is no number"),
        ("epoch,m\nx,1\n", "in row 1 is no number"),
        ("epoch,m\n0,\n", "has no value of it"),
        ("m\n", "has no value of it"),
        ("epoch,m\n-1,1\n", "epochs must lie between 0 and 1,000,000"),
        ("epoch,m\n1000001,1\n", "epochs must lie between 0 and 1,000,000"),
    ],
)
def test_metrics_that_cannot_be(
    write: Callable[..., str], tmp_path: Path, content: str, message: str, capsys: Capture
) -> None:
    (tmp_path / "m.csv").write_text(content)
    line = refused([write(annealing(a=LINEAR)), "--metric", f"m={tmp_path / 'm.csv'}"], capsys)
    assert line.startswith("error: --metric m: ")
    assert line.endswith(message)


# -- weird configs ------------------------------------------------------------------------------------------------

# How long a run is has tests of its own: below.
JUNK: list[Any] = [
    None, True, False, 0, -1, 3, 2.5, -0.5, 1e4, math.nan, math.inf,  "", "x", "30%", "-5ep", "1e400", "\u03b2",
    "a" * 500, [], [1], [[]], ["a", None], {}, {"a": 1}, {1: 2}, {"class_path": "lightning_anneal.BetaScheduleCallback"},
]  # fmt: skip
PLAIN = [path for path in sorted((ROOT / "configs").iterdir()) if not path.name.startswith("search")]


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all leaves and branches."""
    if path:
        yield path
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in entries:
        yield from places(value, (*path, key))


def mutated(config: Any, draw: random.Random) -> Any:
    """A config with junk in some places."""
    config = copy.deepcopy(config)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        *path, last = draw.choice(list(places(config)))
        home = config
        for key in path:
            home = home[key]
        home[last] = copy.deepcopy(draw.choice(JUNK))
    return config


def names_timing_wrongly(config: Any) -> bool:
    """Whether scheduler_configs is no mapping: a known failure, which has a test of its own below."""
    for key in ("model", "init_args", "optim", "scheduler_configs"):
        config = config.get(key) if isinstance(config, dict) else None
    return bool(config) and not isinstance(config, dict)


def survives(config: Any, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(command, "read_overridden", lambda source, overrides: copy.deepcopy(config))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch says of a learning rate's settings, as it does in a run
        try:
            status = main(["preview", "run.yaml", "--width", "60"])
        except Exception as error:
            pytest.fail(f"{error!r} of {config}")
    captured = capsys.readouterr()
    assert status in (0, 2), config
    assert len(captured.err.splitlines()) == (1 if status else 0), config
    assert all(len(line) <= 200 for line in captured.err.splitlines()), config


@pytest.mark.parametrize("path", PLAIN, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "seeds", [range(12), pytest.param(range(12, 200), marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_junk_anywhere(path: Path, seeds: range, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    config = OmegaConf.to_container(OmegaConf.load(path))
    for seed in seeds:
        weird = mutated(config, random.Random(f"{path.name} {seed}"))
        if not names_timing_wrongly(weird):
            survives(weird, monkeypatch, capsys)


def with_key(where: str, value: Any) -> Any:
    """A config with a value in a place that the shipped ones don't have."""
    optim = {
        "optimizer": "SGD",
        "learning_rate": 0.1,
        "scheduler": "ReduceLROnPlateau",
        "optimizer_kwargs": {},
        "scheduler_kwargs": {},
        "scheduler_configs": {},
    }
    config: Any = {
        "model": {"class_path": "tests.tiny.Tiny", "init_args": {"optim": optim}},
        "trainer": {"max_epochs": 4, "callbacks": [annealing(a=on("early_stopper_counter"), s={**LINEAR, "interval": "step"}), stopping()]},
    }  # fmt: skip
    *path, last = where.split(".")
    home = config
    for key in path:
        home = home[int(key)] if isinstance(home, list) else home[key]
    home[last] = value
    return config


MISREAD = {
    "trainer.min_epochs": "int() of what isn't a number",
    "trainer.check_val_every_n_epoch": "int() of what isn't a number, and a remainder by less than 1",
    "trainer.limit_train_batches": "a count below 0 or above all floats",
    "model.init_args.optim.scheduler_configs": "dict() of what is no mapping",
    "trainer.callbacks.1.init_args.stopping_threshold": "it is compared with a number",
    "trainer.callbacks.1.init_args.divergence_threshold": "it is compared with a number",
}
FINE = [
    *("trainer.accumulate_grad_batches", "model.init_args.optim.optimizer_kwargs", "model.init_args.optim.scheduler_kwargs"),
    *("trainer.max_epochs", "trainer.max_steps", "trainer.callbacks.1.init_args.monitor", "trainer.callbacks.1.init_args.patience"),
    *("trainer.callbacks.1.init_args.check_finite", "trainer.callbacks.1.init_args.min_delta", "trainer.callbacks.1.init_args.mode"),
    *("model.init_args.optim.scheduler", "model.init_args.optim.optimizer", "model.init_args.optim.learning_rate"),
    *("model.class_path", "model.init_args.learning_rate", "model.init_args.optim.lr_parameter_groups", "model.init_args.a"),
]  # fmt: skip


@pytest.mark.parametrize(
    "where",
    [
        *FINE,
        *(pytest.param(where) for where, reason in MISREAD.items()),
    ],
)
def test_junk_in_this_place(where: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    for value in JUNK:
        survives(with_key(where, value), monkeypatch, capsys)


# -- huge runs ----------------------------------------------------------------------------------------------------

LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
resource.setrlimit(resource.RLIMIT_DATA, (1 << 29, 1 << 29))
from lightning_anneal.cli import main
sys.exit(main(sys.argv[1:]))
"""


def limited(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The command with 3 seconds of the processor, which no other work on the machine can use up."""
    return subprocess.run([sys.executable, "-c", LIMITED, "preview", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("trainer", "rule"),
    [
        ({"max_epochs": 10**9}, LINEAR),
        ({"max_epochs": -1, "max_steps": 10**12}, LINEAR),
        ({"max_epochs": 10**9}, {**LINEAR, "interval": "step"}),
        ({"max_epochs": -1, "max_steps": 10**12}, {**LINEAR, "interval": "step"}),
        ({"max_epochs": -1, "max_steps": 10**6}, {**LINEAR, "interval": "step"}),
        ({"max_epochs": 2, "limit_train_batches": 10**12}, {**LINEAR, "interval": "step"}),
        pytest.param(
            {"max_epochs": 10**9},
            {"strategy": "warm_restart", "base": LINEAR, "restart_interval": 5},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            {"max_epochs": 10**9}, on("metric_below", monitor="val_loss", threshold=1), marks=pytest.mark.slow
        ),
    ],
)
def test_huge_runs(write: Callable[..., str], trainer: Any, rule: Any) -> None:
    run = limited([write(annealing(a=rule), **trainer)])
    assert run.returncode in (0, 2)
    assert (run.returncode == 0) == (run.stderr == "")
    if run.returncode:
        [line] = run.stderr.splitlines()
        assert line.startswith("error: ")


@pytest.mark.slow
def test_a_metric_of_a_huge_epoch(write: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("epoch,m\n0,1\n1000000000000,2\n")
    run = limited([write(annealing(a=LINEAR)), "--metric", f"m={tmp_path / 'm.csv'}"])
    assert run.returncode in (0, 2)
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    "epochs",
    [
        pytest.param(
            value,
        )
        for value in ("1e-320",)
    ]
    + ["1e-10", "0.001", "0.5", "1"],
)
def test_tiny_runs(write: Callable[..., str], epochs: str, capsys: Capture) -> None:
    try:
        assert main(["preview", write(annealing(a=LINEAR)), "--epochs", epochs]) in (0, 2)
    except Exception as error:
        pytest.fail(repr(error))
    assert len(capsys.readouterr().err.splitlines()) <= 1


# -- what it loads ------------------------------------------------------------------------------------------------

LOADED = """
import sys
from lightning_anneal.cli import main
status = main(sys.argv[1:])
heavy = [name for name in ("torch", "lightning", "numpy", "matplotlib", "pandas", "jsonargparse", "examples") if name in sys.modules]
print(status, heavy, file=sys.stderr)
"""
SCHEDULES_ONLY = [
    *("annealing.yaml", "cyclical_beta.yaml", "hierarchical.yaml", "stepwise_cosine.yaml", "warm_restart.yaml"),
    *("cyclical_beta_config.json", "warm_restart_config.json", "hierarchical_config.json"),
]


def loaded(arguments: list[str], folder: Path = ROOT) -> str:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    run = subprocess.run(
        [sys.executable, "-c", LOADED, "preview", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    return run.stderr.splitlines()[-1]


@pytest.mark.parametrize("config", SCHEDULES_ONLY)
@pytest.mark.parametrize("options", [[], pytest.param(["--csv"], marks=pytest.mark.slow)])
def test_schedules_load_nothing_heavy(config: str, options: list[str]) -> None:
    assert loaded([f"configs/{config}", *options]) == "0 []"


def test_triggers_of_stoppers_and_metrics_load_nothing_heavy(write: Callable[..., str]) -> None:
    rules = {"a": on("early_stopper_half_patience"), "b": on("metric_plateau", monitor="val_loss", patience=2)}
    rules["c"] = {"strategy": "on_plateau", "monitor": "val_loss", "factor": 0.5}
    rules["d"] = {"strategy": "follow", "other": "a"}
    assert loaded([write(annealing(**rules), stopping())]) == "0 []"


def test_a_mistake_loads_nothing_heavy(write: Callable[..., str]) -> None:
    assert loaded([write(annealing(a={"strategy": "cosin"}))]) == "2 []"


@pytest.mark.parametrize("name", ["trap.Model", "trap.inner.Model"])
def test_nothing_of_the_model_is_imported(tmp_path: Path, name: str) -> None:
    source = f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Model:\n    def __init__(self, beta=0.5):\n        self.beta = beta\n"
    (tmp_path / "trap").mkdir()
    for file in ("__init__.py", "inner.py"):
        (tmp_path / "trap" / file).write_text(source)
    config = {
        "model": {"class_path": name},
        "data": {"class_path": "trap.Model"},
        "trainer": {
            "max_epochs": 3,
            "callbacks": [annealing(beta={"strategy": "linear", "end_value": 1.0}), {"class_path": "trap.Model"}],
        },
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "values.csv"
    assert loaded(["run.yaml", "-o", str(out)], tmp_path) == "0 []"
    assert out.read_text() == "epoch,beta\n0,0.5\n1,0.75\n2,1.0\n"
    assert not (tmp_path / "ran").exists()
    assert not list(tmp_path.rglob("__pycache__"))


# -- as a process -------------------------------------------------------------------------------------------------


def piped(arguments: list[str], **environment: str) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-m", "lightning_anneal.cli", "preview", *arguments]
    return subprocess.run(words, capture_output=True, cwd=ROOT, env={**os.environ, **environment})


@pytest.mark.parametrize("config", ["annealing.yaml", "hierarchical.yaml"])
def test_a_terminal_of_plain_ascii(config: str) -> None:
    run = piped([f"configs/{config}"], PYTHONIOENCODING="ascii", COLUMNS="60")
    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.isascii()
    assert b"|" in run.stdout


def test_a_terminal_of_utf8() -> None:
    run = piped(["configs/cyclical_beta.yaml"], PYTHONIOENCODING="utf-8", COLUMNS="60")
    assert "\u2502" in run.stdout.decode()
    assert piped(["configs/cyclical_beta.yaml", "--ascii"], PYTHONIOENCODING="utf-8", COLUMNS="60").stdout.isascii()


@pytest.mark.parametrize("options", [[], ["--csv"]])
def test_names_that_ascii_lacks(write: Callable[..., str], options: list[str]) -> None:
    run = piped([write(annealing(β=LINEAR)), *options], PYTHONIOENCODING="ascii")
    assert b"Traceback" not in run.stderr
    assert run.returncode == 0


def test_a_reader_that_has_seen_enough(write: Callable[..., str]) -> None:
    config = write(annealing(a={**LINEAR, "interval": "step"}), max_epochs=300)
    words = f"{sys.executable} -m lightning_anneal.cli preview {config} --csv | head -n 1"
    run = subprocess.run(["bash", "-c", words], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.splitlines() == ["epoch,step,a"]
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("prevew", "error: unknown command 'prevew'; did you mean 'preview'?"),
        ("fti", "error: unknown command 'fti'; did you mean 'fit'?"),
        ("xyz", "error: unknown command 'xyz'; known: check, fit, plot, predict, preview, search, test, validate"),
    ],
)
def test_a_command_that_is_none(word: str, error: str, capsys: Capture) -> None:
    assert main([word, "--config", "c.yaml"]) == 2
    assert capsys.readouterr().err.rstrip() == error
