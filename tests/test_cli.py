"""The command: overrides, and mistakes as one last line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_anneal import AnnealError, get_beta_scheduler
from lightning_anneal.callback_configs import check_callbacks
from lightning_anneal.cli import main
from lightning_anneal.overrides import apply_override, take_overrides
from tests.tiny import QUIET, Tiny

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


def config(folder: Path, callback: Any = None, **trainer: Any) -> str:
    """A config that trains a few batches under one annealing callback."""
    content = {
        "seed_everything": 1,
        "model": {"class_path": "tests.tiny.Tiny"},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {
            "max_epochs": 2,
            **QUIET,
            "default_root_dir": str(folder),
            "callbacks": [callback or annealing(beta={"strategy": "linear", "end_value": 3.0})],
            **trainer,
        },
    }
    path = folder / "given.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


def annealing(**params: Any) -> dict[str, Any]:
    return {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": {"annealing_params": params}}


def beta(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "lightning_anneal.BetaScheduleCallback", "init_args": arguments}


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


LINEAR = {"beta_scheduler_type": "linear", "beta_scheduler_params": {"max_beta": 1.0, "warmup_epochs": 2}}
ATTRIBUTE = "betta: Tiny has no attribute 'betta'; did you mean 'beta'?"
UNKNOWN = "BetaScheduleCallback: unknown argument 'eval_bta'; did you mean 'eval_beta'?"


@pytest.mark.parametrize(
    ("callback", "overrides", "message"),
    [
        (annealing(betta={"strategy": "linear", "end_value": 1}), [], ATTRIBUTE),
        (annealing(beta={"strategy": "cosin"}), [], "beta.strategy: unknown strategy 'cosin'; did you mean 'cosine'?"),
        (annealing(beta=3), [], "beta: must be a mapping of settings, a schedule or a callable of t, got 3"),
        ({"class_path": "lightning_anneal.HyperparamAnnealingCallback"}, [], "annealing_params: none given, and Tiny has neither 'reg_param' nor 'contrastive_weight'"),
        ("lightning_anneal.HyperparamAnnealingCallback", [], "annealing_params: none given, and Tiny has neither 'reg_param' nor 'contrastive_weight'"),
        (beta(**LINEAR, eval_bta=1.0), [], UNKNOWN),
        (beta(), [], "BetaScheduleCallback: 'beta_scheduler_type' is missing"),
        (beta(**LINEAR, eval_beta="abc"), [], "eval_beta: must be a number, got 'abc'"),
        ({"class_path": "lightning_anneal.BetaCallback"}, [], "class_path: lightning_anneal has no callback 'BetaCallback'; "
         "did you mean 'BetaScheduleCallback'?"),
        ({"class_path": "lightning_anneal.BetaScheduleCallback", "init_args": [1]}, [],
         "BetaScheduleCallback.init_args: must be a mapping, got [1]"),
        (None, ["trainer.calbacks[0].x=1"], "--set: the config has no 'calbacks'; did you mean 'callbacks'?"),
        (None, ["trainer.callbacks[7].x=1"], "--set: no element '7' in 'trainer.callbacks[7].x=1'; take 0 to 0"),
        (None, ["trainer.callbacks[²]=1"], "--set: no element '²' in 'trainer.callbacks[²]=1'; take 0 to 0"),
        (None, ["trainer.max_epochs.x=1"], "--set: 2 is a plain value and has no 'x' in it"),
        (None, ["trainer.max_epochs"], "--set: write --set PATH=VALUE, got 'trainer.max_epochs'"),
        (None, ["trainer[=1"], "--set: can't read the path in 'trainer[=1'; write a.b[0][key.with.dots].c=value"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_last_line(
    tmp_path: Path, callback: Any, overrides: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(sys.argv)
    assert main(["fit", "--config", config(tmp_path, callback), *(f"--set={o}" for o in overrides)]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1] == f"error: {message}"
    assert "usage" not in error
    assert "Traceback" not in error
    assert sys.argv == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--config", "no.yaml"], "--config: no such file 'no.yaml'"),
        (["fit", "--set", "a=1"], "--set: changes a config; give one with --config"),
        (["fit", "--set"], "--set: write --set PATH=VALUE"),
    ],
)
def test_a_mistake_on_the_command_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {message}"


def test_a_config_behind_an_equals_sign(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = annealing(betta={"strategy": "linear", "end_value": 3.0})
    assert main(["fit", f"--config={config(tmp_path, wrong)}", "--set", "trainer.max_epochs=1"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {ATTRIBUTE}"


def test_the_config_of_a_search_is_not_fitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(config(tmp_path))
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "search": {"trials": 2}}))
    assert main(["fit", "--config", str(path)]) == 2
    what = "is a section for `lightning-anneal search`; run that, or leave it out"
    assert capsys.readouterr().err == f"error: search: {what}\n"


class Broken(Tiny):
    """A mistake of the user's own."""

    def __init__(self) -> None:
        super().__init__()
        raise ZeroDivisionError("mine")


def test_an_error_of_the_users_own_is_no_mistake_in_a_config(tmp_path: Path) -> None:
    # jsonargparse makes a ValueError of it.
    with pytest.raises(ValueError, match="mine"):
        main(["fit", "--config", config(tmp_path), "--model=tests.test_cli.Broken"])


def test_the_path_of_a_module_is_left_to_lightnings_parser(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = beta(**LINEAR, eval_bta=1.0)
    wrong["class_path"] = "lightning_anneal.callbacks.beta.BetaScheduleCallback"
    check_callbacks({"trainer": {"callbacks": [wrong]}})
    with pytest.raises(SystemExit):
        main(["fit", "--config", config(tmp_path, wrong)])
    assert "eval_bta" in capsys.readouterr().err.splitlines()[-1]


def test_what_lightning_refuses_is_one_line_without_usage_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", config(tmp_path, max_epoch=3)])
    error = capsys.readouterr().err
    assert stop.value.code == 2
    assert "usage" not in error
    assert "max_epoch" in error.splitlines()[-1]


def test_as_a_process(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightning_anneal.cli", "fit", "--config"]
    path = config(tmp_path, annealing(betta={"strategy": "linear", "end_value": 1}))
    run = subprocess.run([*command, path], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1] == f"error: {ATTRIBUTE}"
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("place", ["parameter", "inside settings", "beta params", "whole", "scheduler_configs"])
def test_nothing_inside_the_settings_is_ever_called(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    touched = tmp_path / "touched"
    attack = {
        "class_path": "os.system",
        "init_args": {"command": f"touch {touched}"},
        "dict_kwargs": {"command": f"touch {touched}"},
    }
    callback = {
        "parameter": annealing(beta=attack),
        "inside settings": annealing(beta={"strategy": "linear", "end_value": attack}),
        "beta params": beta(beta_scheduler_type="linear", beta_scheduler_params=attack),
        "whole": {
            "class_path": "lightning_anneal.HyperparamAnnealingCallback",
            "init_args": {"annealing_params": attack},
        },
        "scheduler_configs": beta(**LINEAR, scheduler_configs=attack),
    }[place]
    # Also past this package's own look at the config: as LightningCLI would meet it in a user's own script.
    assert main(["fit", "--config", config(tmp_path, callback)]) == 2
    script = (
        "import lightning_anneal.lightning_cli as c; c.check_callbacks = lambda config: None; "
        f"raise SystemExit(c.main(['fit', '--config', {config(tmp_path, callback)!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert run.returncode == 2
    assert run.stderr.splitlines()[-1].startswith("error: ")
    assert not touched.exists()


class Misbuilt(Tiny):
    """Asks its constructor for what isn't there."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = get_beta_scheduler("linear")


def test_a_mistake_that_a_constructor_finds_is_one_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Lightning's parser takes a model or None, and tells what neither was as a text of many lines.
    path = tmp_path / "config.yaml"
    data = {"class_path": "tests.tiny.Data"}
    model = {"class_path": "tests.test_cli.Misbuilt"}
    path.write_text(yaml.safe_dump({"seed_everything": 1, "model": model, "data": data}))
    assert main(["fit", "--config", str(path), "--trainer.accelerator=cpu", "--trainer.logger=false"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: linear.max_beta: missing"


def test_overrides_reach_into_callbacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = config(
        tmp_path, annealing(**{"optimizer.param_groups.0.weight_decay": {"strategy": "linear", "end_value": 1.0}})
    )
    before = Path(path).read_text()
    fitted: list[Any] = []
    from lightning.pytorch import Trainer

    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, *a, **k: fitted.append(self) or fit(self, *a, **k))
    key = "trainer.callbacks[0].init_args.annealing_params[optimizer.param_groups.0.weight_decay]"
    assert main(["fit", "--config", path, "--set", f"{key}.end_value=1e-4", f"--set={key}.total_steps=50%"]) == 0
    [trainer] = fitted
    assert trainer.callbacks[0].values == {"optimizer.param_groups.0.weight_decay": 1e-4}
    assert Path(path).read_text() == before


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=3", {"a": {"b": 3, "l": [{"x.y": 1}], 10: 5}}),
        ("a.l[0][x.y]=1e-7", {"a": {"b": 1, "l": [{"x.y": 1e-7}], 10: 5}}),
        ("a.l[0].new=[1, 2]", {"a": {"b": 1, "l": [{"x.y": 1, "new": [1, 2]}], 10: 5}}),
        ("a.10=null", {"a": {"b": 1, "l": [{"x.y": 1}], 10: None}}),
        ("a.l[0]={c: 30%}", {"a": {"b": 1, "l": [{"c": "30%"}], 10: 5}}),
        ("a.b=${oc.env:HOME}", {"a": {"b": "${oc.env:HOME}", "l": [{"x.y": 1}], 10: 5}}),
    ],
)
def test_override(override: str, expected: dict[str, Any]) -> None:
    content = {"a": {"b": 1, "l": [{"x.y": 1}], 10: 5}}
    apply_override([content], override)
    assert content == expected


def test_init_args_are_made_where_there_are_none() -> None:
    content: dict[str, Any] = {"model": {"class_path": "a.B"}}
    apply_override([content], "model.init_args.size=2")
    assert content == {"model": {"class_path": "a.B", "init_args": {"size": 2}}}


def test_the_last_config_that_has_the_place_is_changed() -> None:
    first, second = {"a": {"b": 1}, "c": {"d": 1}}, {"a": {"b": 2}}
    apply_override([first, second], "a.b=3")
    apply_override([first, second], "c.d=3")
    assert (first, second) == ({"a": {"b": 1}, "c": {"d": 3}}, {"a": {"b": 3}})
    with pytest.raises(AnnealError, match="the config has no 'e'"):
        apply_override([first, second], "e.f=3")


def test_words_without_overrides_stay() -> None:
    assert take_overrides(["fit", "--config=a", "-x"]) == (["fit", "--config=a", "-x"], [])


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_the_other_commands(tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = config(tmp_path)
    # Tiny brings its own loaders; of the datamodule's there are none for these stages.
    assert main([command, "--config", path, "--set=data={class_path: examples.digits_data.DigitsData}",
                 "--set=model={class_path: examples.digits_vae.DigitsVAE}"]) == 0  # fmt: skip


def test_a_config_that_is_fitted_is_not_written_over(tmp_path: Path) -> None:
    """The config of a run of a search lies in the very folder that its fit writes to."""
    given = Path(config(tmp_path)).rename(tmp_path / "config.yaml")
    before = given.read_text()
    assert main(["fit", "--config", str(given)]) == 0
    assert given.read_text() == before
    assert "max_epochs: 2" in (tmp_path / "full_config.yaml").read_text()
