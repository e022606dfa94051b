"""Phases and loss weights in a config: fitted, overridden, searched, and never a class that is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from lightning_anneal import HyperparamAnnealingCallback, LossBalancingCallback
from lightning_anneal.cli import main
from lightning_anneal.search.space import find_space
from tests.phased import linear, phase
from tests.test_cli import ROOT, config
from tests.tiny import Tiny

BELOW = {"trigger": "metric_below", "monitor": "val_loss", "threshold": -1.0, "at_most": "50%"}
PHASES = [
    phase("warm", "1ep", set={"beta": 0.0, "top_k": 5}),
    phase("main", BELOW, anneal={"beta": linear(1.0, total_steps=1)}),
    phase("finish", set={"optimizer.param_groups.0.weight_decay": 1e-7}),
]


def anneals(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": arguments}


def weighs(losses: Any, **arguments: Any) -> dict[str, Any]:
    return {"class_path": "lightning_anneal.LossBalancingCallback", "init_args": {"losses": losses, **arguments}}


@pytest.fixture(autouse=True)
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The trainers that have fitted."""
    from lightning.pytorch import Trainer

    trainers: list[Any] = []
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda self, *a, **k: trainers.append(self) or fit(self, *a, **k))
    return trainers


class Weighed(Tiny):
    """Two terms, and the places of their weights."""

    def __init__(self) -> None:
        super().__init__()
        self.loss_weights = {"recon": 1.0, "kl": 1.0}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        terms = {"recon": torch.tensor(30.0), "kl": torch.tensor(10.0)}
        return {"loss": self.layer(batch[0]).pow(2).mean(), **terms}


def turns(callback: HyperparamAnnealingCallback) -> list[tuple[int, Any]]:
    return [(change.epoch, change.new) for change in callback.changes if change.name == "phase"]


def test_phases(tmp_path: Path, fitted: list[Any]) -> None:
    path = config(tmp_path, anneals(phases=PHASES), max_epochs=6)
    assert main(["fit", "--config", path]) == 0
    callback = fitted[0].callbacks[0]
    assert turns(callback) == [(1, "main"), (4, "finish")]
    assert callback.values == {"beta": 1.0, "top_k": 5, "optimizer.param_groups.0.weight_decay": 1e-7}


def test_beside_annealing_params(tmp_path: Path, fitted: list[Any]) -> None:
    both = anneals(annealing_params={"loss.margin": linear(1.0)}, phases=PHASES, prog_bar=["beta"])
    assert main(["fit", "--config", config(tmp_path, both, max_epochs=6)]) == 0
    assert fitted[0].callbacks[0].values["loss.margin"] == 1.0


def test_overrides(tmp_path: Path, fitted: list[Any]) -> None:
    path = config(tmp_path, anneals(phases=PHASES), max_epochs=6)
    key = "trainer.callbacks[0].init_args.phases"
    sets = [
        f"{key}[0].until=2",
        f"{key}[1].until.at_most=1ep",
        f"{key}[1].anneal.beta.end_value=3",
        f"{key}[0].set.top_k=9",
    ]
    assert main(["fit", "--config", path, *(f"--set={override}" for override in sets)]) == 0
    callback = fitted[0].callbacks[0]
    assert turns(callback) == [(2, "main"), (3, "finish")]
    # Of a ramp of one epoch the phase has had the beginning.
    assert (callback.values["beta"], callback.values["top_k"]) == (0.0, 9)


@pytest.mark.parametrize(
    ("losses", "arguments", "values"),
    [
        (["recon", "kl"], {"method": "inverse_ema", "frequency": 4}, {"recon": 0.5, "kl": 1.5}),
        ({"recon": "loss_weights.recon", "kl": "beta"}, {"method": "inverse_ema"}, {"recon": 0.5, "kl": 1.5}),
        (["recon", "kl"], {"method": "fixed", "weights": {"kl": {"strategy": "linear", "start_value": 0, "end_value": 3}}}, {"recon": 0.5, "kl": 1.5}),
        (["recon", "kl"], {"temperature": "1e-1", "name": "weights", "as_tensor": True}, {"recon": 1.0, "kl": 1.0}),
    ],
)  # fmt: skip
def test_loss_weights(tmp_path: Path, fitted: list[Any], losses: Any, arguments: Any, values: Any) -> None:
    path = config(tmp_path, weighs(losses, **arguments), max_epochs=2)
    assert main(["fit", "--config", path, "--model=tests.test_cli_phases.Weighed"]) == 0
    callback = fitted[0].callbacks[0]
    assert isinstance(callback, LossBalancingCallback)
    assert callback.values == {name: pytest.approx(value) for name, value in values.items()}


UNKNOWN = "LossBalancingCallback: unknown argument 'metod'; did you mean 'method'?"


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (anneals(phases=[phase("a", "2 epochs"), phase("b")]), "phases.a.until: must be a number, '10ep', '500st' or '30%', got '2 epochs'"),
        (anneals(phases=[phase("a", set={"betta": 1.0})]), "betta: Tiny has no attribute 'betta'; did you mean 'beta'?"),
        (anneals(phases={"a": {"until": 2}}), "phases: must be a list of at least one phase such as {name: warm}, got {'a': {'until': 2}}"),
        (anneals(phase=PHASES), "HyperparamAnnealingCallback: unknown argument 'phase'; did you mean 'phases'?"),
        (anneals(phases=[phase("a", anneal={"beta": linear(1.0, object={"x": 1})})]),
         "beta.object: unknown object {'x': 1}; known: datamodule, model, optimizer, trainer"),
        (weighs(["recon", "kl"], metod="dwa"), UNKNOWN),
        ({"class_path": "lightning_anneal.LossBalancingCallback"}, "LossBalancingCallback: 'losses' is missing"),
        (weighs("recon"), "losses: must be a list of at least two names, got 'recon'"),
        (weighs(["recon", "kl"]), "loss_weights: Tiny has no such attribute; write self.loss_weights = {'recon': 1.0, 'kl': 1.0} in __init__"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_last_line(
    tmp_path: Path, callback: Any, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fit", "--config", config(tmp_path, callback)]) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1] == f"error: {message}"
    assert "Traceback" not in error


class Own(HyperparamAnnealingCallback):
    """A class of the user's own that takes phases."""


def attacks(touched: Path) -> dict[str, Any]:
    attack = {
        "class_path": "os.system",
        "init_args": {"command": f"touch {touched}"},
        "dict_kwargs": {"command": f"touch {touched}"},
    }
    ramp = linear(1.0)
    return {
        "all phases": anneals(phases=attack),
        "a phase": anneals(phases=[attack, phase("b")]),
        "a phase's key": anneals(phases=[{**phase("a"), **attack}]),
        "an end": anneals(phases=[phase("a", attack), phase("b")]),
        "an end's key": anneals(phases=[phase("a", {**BELOW, "threshold": attack}), phase("b")]),
        "set": anneals(phases=[phase("a", set=attack)]),
        "a value": anneals(phases=[phase("a", set={"beta": attack})]),
        "anneal": anneals(phases=[phase("a", anneal=attack)]),
        "settings": anneals(phases=[phase("a", anneal={"beta": attack})]),
        "a setting": anneals(phases=[phase("a", anneal={"beta": {**ramp, "total_steps": attack}})]),
        "an object": anneals(phases=[phase("a", anneal={"beta": {**ramp, "object": attack}})]),
        "of one's own": {"class_path": "tests.test_cli_phases.Own", "init_args": {"phases": [phase("a", set={"beta": attack})]}},
        "losses": weighs(attack),
        "a loss": weighs(["recon", attack]),
        "a path": weighs({"recon": "loss_weights.recon", "kl": attack}),
        "weights": weighs(["recon", "kl"], method="fixed", weights=attack),
        "a weight": weighs(["recon", "kl"], method="fixed", weights={"kl": attack}),
        "a method": weighs(["recon", "kl"], method=attack),
        "a temperature": weighs(["recon", "kl"], temperature=attack),
    }  # fmt: skip


def code_of(path: str) -> Any:
    """The exit status of a fit: this package refuses the config, or Lightning's parser does."""
    try:
        return main(["fit", "--config", path])
    except SystemExit as stop:
        return stop.code


@pytest.mark.parametrize("place", attacks(Path()))
def test_nothing_inside_is_ever_called(tmp_path: Path, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    touched = tmp_path / "touched"
    path = config(tmp_path, attacks(touched)[place])
    assert code_of(path) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: ")
    assert not touched.exists()


@pytest.mark.parametrize(
    "place",
    ["all phases", "a phase", "an end", "set", "a value", "settings", "losses", "a loss", "weights", "a method"],
)
def test_nor_past_this_packages_own_look(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As LightningCLI would meet it in a user's own script: what is annotated as a bare list or dict is not parsed."""
    for look in ("check_callbacks", "refuse_classes"):
        monkeypatch.setattr(f"lightning_anneal.lightning_cli.{look}", lambda config: None)
    touched = tmp_path / "touched"
    assert code_of(config(tmp_path, attacks(touched)[place])) == 2
    assert not touched.exists()


# -- search ---------------------------------------------------------------------------------------------------------


def searched(tmp_path: Path, *callbacks: Any) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(Path(config(tmp_path, callbacks[0])).read_text())
    content["trainer"]["callbacks"] = list(callbacks)
    return content


def test_phases_and_losses_are_no_axes(tmp_path: Path) -> None:
    several = [
        phase("a", 2, set={"beta": 0.0}),
        phase("b", BELOW, anneal={"beta": {"strategy": "sequence", "parts": [{**linear(1.0), "duration": 1}, linear(0.0)]}}),
        phase("c", anneal={"loss.margin": {"strategy": "milestones", "schedule": {0: 1, 2: 2}}}),
    ]  # fmt: skip
    content = searched(tmp_path, anneals(phases=several), weighs(["recon", "kl"], method="fixed", weights={"kl": 2}))
    space = find_space(content)
    assert (space.axes, space.hints) == ({}, [])
    assert space.config == content


def test_an_axis_within_phases_is_marked(tmp_path: Path) -> None:
    marked = [
        phase("a", {"grid": [2, "4ep"]}, set={"beta": {"grid": [0.0, 0.5]}}),
        phase("b", anneal={"beta": linear({"uniform": [1.0, 2.0]})}),  # type: ignore[arg-type]
    ]
    content = searched(tmp_path, anneals(phases=marked), weighs(["recon", "kl"], temperature=[1.0, 2.0]))
    space = find_space(content)
    callbacks = "trainer.callbacks"
    assert {path: axis.values for path, axis in space.axes.items()} == {
        f"{callbacks}.0.init_args.phases.0.until": (2, "4ep"),
        f"{callbacks}.0.init_args.phases.0.set.beta": (0.0, 0.5),
        f"{callbacks}.0.init_args.phases.1.anneal.beta.end_value": (1.0, 2.0),
        f"{callbacks}.1.init_args.temperature": (1.0, 2.0),
    }
    one = space.at({f"{callbacks}.0.init_args.phases.0.until": "4ep"})
    assert one["trainer"]["callbacks"][0]["init_args"]["phases"][0]["until"] == "4ep"
