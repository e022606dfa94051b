"""The start of a fit with loggers, hyperparameters and schedules that nobody has thought of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from omegaconf import OmegaConf

from lightning_anneal import BetaScheduleCallback, HyperparamAnnealingCallback, Milestones
from tests.callbacks.test_introduce import Numbers, StopEarly, hyperparameters_of, layout_of, read, tensorboard
from tests.tiny import Tiny

BETA: dict[str, Any] = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 3}


class WithHparams(Tiny):
    def __init__(self, **hparams: Any) -> None:
        super().__init__()
        self.save_hyperparameters(hparams)


class NoHyperparameters(Numbers):
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError


class OnlyMetrics(Numbers):
    log_hyperparams = None  # type: ignore[assignment]


class Strict(Numbers):
    """Names of few letters, and no parameter twice with another value, as some servers have it."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Any] = {}

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        for key, value in params["annealing"].items():
            if not all(letter.isalnum() or letter in "_-. /:" for letter in key):
                raise ValueError(f"invalid name {key}")
            if self.known.setdefault(key, value) != value:
                raise ValueError(f"{key} has another value already")


class Own(TensorBoardLogger):
    """Logs hyperparameters in a way of its own."""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        pass


@pytest.mark.parametrize("kind", [NoHyperparameters, OnlyMetrics])
def test_a_logger_that_takes_no_hyperparameters(kind: Any, fit: Any) -> None:
    assert fit(HyperparamAnnealingCallback({"beta": BETA}), logger=kind()).seen


def test_a_logger_with_an_idea_of_names(fit: Any) -> None:
    with pytest.warns(UserWarning, match="Strict can't show what is annealed"):
        assert fit(HyperparamAnnealingCallback({"optimizer.param_groups.*.weight_decay": BETA}), logger=Strict()).seen


def test_a_second_fit_with_other_settings_on_a_strict_logger(fit: Any) -> None:
    logger = Strict()
    assert fit(HyperparamAnnealingCallback({"beta": {**BETA, "end_value": 1.0}}), logger=logger).seen
    with pytest.warns(UserWarning, match="beta/end_value has another value already"):
        assert fit(HyperparamAnnealingCallback({"beta": {**BETA, "end_value": 2.0}}), logger=logger).seen


@pytest.mark.xfail(
    strict=True, reason="its log_hyperparams is passed by, and what it would have coped with ends the fit"
)
def test_a_tensorboard_logger_with_a_way_of_its_own(tmp_path: Path, fit: Any) -> None:
    logger = Own(tmp_path, name="", version="run")
    module = WithHparams(model=OmegaConf.create({"size": "???"}))
    assert fit(HyperparamAnnealingCallback({"beta": BETA}), module=module, logger=logger).seen


def _ends(t: float) -> float:
    if t >= 5:
        raise IndexError(f"no value at {t}")
    return float(t)


def test_a_callable_that_ends_behind_the_last_epoch_that_is_trained(tmp_path: Path, fit: Any) -> None:
    module = fit(HyperparamAnnealingCallback({"beta": _ends}), StopEarly(), logger=tensorboard(tmp_path), max_epochs=50)
    assert module.by_epoch == [0.0, 1.0]


def test_a_callable_with_a_memory_gives_the_same_with_and_without_tensorboard(tmp_path: Path, fit: Any) -> None:
    values = []
    for logger in (False, tensorboard(tmp_path)):
        calls: list[float] = []

        def counted(t: float, calls: list[float] = calls) -> float:
            calls.append(t)
            return float(len(calls))

        values.append(fit(HyperparamAnnealingCallback({"beta": counted}), logger=logger).by_epoch)
    assert values[0] == values[1]


@pytest.mark.filterwarnings("ignore:overflow encountered")
def test_values_that_can_not_be_drawn(tmp_path: Path, fit: Any) -> None:
    curve = Milestones({0: -1.7e308, 2: 1.7e308})
    with pytest.warns(UserWarning, match="TensorBoard can't show what is annealed"):
        assert fit(HyperparamAnnealingCallback({"beta": curve}), logger=tensorboard(tmp_path)).seen


def test_a_name_in_letters_that_the_font_lacks(tmp_path: Path, fit: Any) -> None:
    settings = {"\u6f22": {**BETA, "attr_name": "beta"}}
    assert fit(HyperparamAnnealingCallback(settings), logger=tensorboard(tmp_path)).seen


def test_settings_of_the_same_name_in_two_callbacks(tmp_path: Path, fit: Any) -> None:
    callbacks = [HyperparamAnnealingCallback({"beta": {**BETA, "attr_name": "loss.margin"}}),
                 BetaScheduleCallback("constant", {"max_beta": 1.0})]  # fmt: skip
    fit(*callbacks, logger=tensorboard(tmp_path))
    values, _ = hyperparameters_of(read(tmp_path))
    assert {1.0, "linear", "constant"} <= set(values.values())


@pytest.mark.xfail(
    strict=True, reason="CSVLogger keeps one of two hyperparameters called 'annealing', here the module's"
)
def test_a_hyperparameter_of_the_module_called_annealing(tmp_path: Path, fit: Any) -> None:
    logger = CSVLogger(tmp_path, name="", version="run")
    fit(HyperparamAnnealingCallback({"beta": BETA}), module=WithHparams(annealing="x"), logger=logger)
    assert "strategy" in (tmp_path / "run" / "hparams.yaml").read_text()


@pytest.mark.parametrize("value", [None, [1, {"a": 2}], {"a": {"b": None}}, "x" * 10_000, float("nan"), {1: 2}])
def test_odd_hyperparameters(tmp_path: Path, fit: Any, value: Any) -> None:
    module = WithHparams(odd=value)
    fit(HyperparamAnnealingCallback({"beta": BETA}), module=module, logger=tensorboard(tmp_path), max_epochs=3)
    values, _ = hyperparameters_of(read(tmp_path))
    assert values["annealing/beta/end_value"] == 1.0


@pytest.mark.parametrize("name", ["a/b", "$\\frac{", "a\\$b", "%s{0}", "<img>", "schedule", "_x", "a" * 2000])
def test_odd_names(tmp_path: Path, fit: Any, name: str) -> None:
    settings = {name: {**BETA, "attr_name": "beta"}}
    fit(HyperparamAnnealingCallback(settings), logger=tensorboard(tmp_path), max_epochs=3)
    assert list(layout_of(read(tmp_path))["Annealing"]) == [name]
