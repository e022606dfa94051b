"""Optimizers from a config through the command: overrides, mistakes as one last line, and nothing that is called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_anneal import OptimConfig, configure_optimizers
from lightning_anneal.cli import main
from tests.tiny import QUIET, Tiny

ROOT = Path(__file__).parents[1]
PRINTED: list[Any] = []


class Configured(Tiny):
    """Gets its optimizer from a config, and leaves it for the test to look at."""

    def __init__(self, optim: OptimConfig = OptimConfig()) -> None:  # noqa: B008
        super().__init__()
        self.save_hyperparameters()

    def configure_optimizers(self) -> Any:
        made = configure_optimizers(self, **self.hparams["optim"])
        PRINTED.append(made["optimizer"].defaults | {"scheduler": made.get("lr_scheduler", {}).get("scheduler")})
        return made


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    PRINTED.clear()


def config(folder: Path, **optim: Any) -> str:
    content = {
        "seed_everything": 1,
        "model": {"class_path": "tests.test_cli_optim.Configured", "init_args": {"optim": optim}},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {
            "max_epochs": 2,
            **QUIET,
            "default_root_dir": str(folder),
            "callbacks": [{"class_path": "lightning_anneal.OptimizerWatchCallback"}],
        },
    }
    path = folder / "given.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


SGD = {"optimizer": "SGD", "optimizer_kwargs": {"momentum": 0.5}, "scheduler": "StepLR"}


def test_values_and_overrides(tmp_path: Path) -> None:
    given = config(tmp_path, **SGD, scheduler_kwargs={"step_size": 1})
    arguments = [
        "--model.init_args.optim.learning_rate=1e-2",
        "--model.init_args.optim.optimizer_kwargs.momentum=0.25",
        "--set=model.init_args.optim.scheduler_kwargs.gamma=0.5",
    ]
    assert main(["fit", "--config", given, *arguments]) == 0
    [seen] = PRINTED
    assert (seen["lr"], seen["momentum"]) == (0.01, 0.25)
    assert (seen["scheduler"].step_size, seen["scheduler"].gamma) == (1, 0.5)


PARSERS_OWN = "what jsonargparse says"
SPACE = "error: optimizer_kwargs: YAML reads 'momentum:0.9' as text; write 'momentum: 0.9'"


@pytest.mark.parametrize(
    ("optim", "arguments", "line"),
    [
        ({"optimizer_kwargs": {"momentum:0.9": None}}, [], SPACE),
        ({}, ["--set=model.init_args.optim.optimizer_kwargs={momentum:0.9}"], SPACE),
        ({}, ["--model.init_args.optim.optimizer_kwargs={momentum:0.9}"], SPACE.replace("optimizer_k", "optim.optimizer_k")),
        ({"optimizer": "AdamV"}, [], "error: optimizer: unknown optimizer 'AdamV'; did you mean 'Adam'?"),
        ({"optimiser": "SGD"}, [], PARSERS_OWN),
        ({"learning_rate": -1.0}, [], "error: learning_rate: must not be negative, got -1.0"),
        ({**SGD}, [], "error: scheduler_kwargs.step_size: missing; StepLR takes step_size, gamma"),
        (
            {"scheduler": "ReduceLROnPlateau", "scheduler_configs": {"monitor": "val_los"}},
            [],
            "error: scheduler_configs.monitor: 'val_los' is not logged; did you mean 'val_loss'? Logged: val_loss",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_one_last_line(
    tmp_path: Path, optim: dict[str, Any], arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["fit", "--config", config(tmp_path, **optim), *arguments])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    said = capsys.readouterr().err.splitlines()[-1]
    # The parser's words depend on its version.
    assert said == line or (
        line == PARSERS_OWN and re.fullmatch("error: .*'optim' does not accept .*'optimiser'", said)
    )


def test_lightnings_own_error_of_a_monitor_is_one_line_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = config(tmp_path, scheduler="ReduceLROnPlateau", scheduler_configs={"monitor": "val_los"})
    assert main(["fit", "--config", given, "--trainer.callbacks=null"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ReduceLROnPlateau conditioned on metric val_los which is not available.")
    assert "val_loss" in last


@pytest.mark.parametrize(
    "key", ["optimizer_kwargs", "scheduler_kwargs", "scheduler_configs", "lr_parameter_groups", "scheduler", "no_decay"]
)
def test_nothing_in_there_is_called(tmp_path: Path, key: str) -> None:
    touched = tmp_path / "touched"
    attack = {"class_path": "os.system", "init_args": {"command": f"touch {touched}"}}
    nested = {"schedulers": [attack, {"scheduler": attack}]} if key == "scheduler_kwargs" else {"params": attack}
    for value in (attack, {**attack, **nested}, [attack]):
        given = config(tmp_path, **{"scheduler": "SequentialLR", key: value})
        try:
            status = main(["fit", "--config", given])
        except SystemExit as stop:
            status = int(str(stop.code))
        assert status == 2
    assert not touched.exists()
