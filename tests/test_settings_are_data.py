"""Where in a config a class is refused, and where it is the user's own business."""

from __future__ import annotations

from typing import Any

import pytest

from lightning_anneal import AnnealError, OptimConfig
from lightning_anneal.settings_are_data import refuse_classes
from tests.tiny import Tiny

MISTAKE = "'class_path' is none of its keys; settings are data, and nothing is made of them"
A_CLASS = {"class_path": "torch.nn.ReLU"}


class Model(Tiny):
    """Takes a class and settings."""

    def __init__(self, layer: Any = None, optim: OptimConfig = OptimConfig(), optimizer: Any = None) -> None:  # noqa: B008
        super().__init__()


def of(class_path: str, **arguments: Any) -> dict[str, Any]:
    return {"model": {"class_path": class_path, "init_args": arguments}}


MODEL = "tests.test_settings_are_data.Model"


@pytest.mark.parametrize(
    "config",
    [
        of(MODEL, layer=A_CLASS),
        of(MODEL, layer=[{"inner": A_CLASS}]),
        # Of that name, and not of that type.
        of(MODEL, optimizer=A_CLASS),
        {"model": {**A_CLASS, "init_args": None}, "data": A_CLASS},
        # Which of them is wrong, LightningCLI tells better.
        of("nowhere.Model", optim=A_CLASS),
        of("tests.test_settings_are_data.Modle", optim=A_CLASS),
        of("Model", optim=A_CLASS),
    ],
)
def test_what_is_no_setting_may_be_a_class(config: dict[str, Any]) -> None:
    refuse_classes(config)


@pytest.mark.parametrize(
    ("config", "place"),
    [
        (of(MODEL, layer=A_CLASS, optim=A_CLASS), "optim"),
        (of(MODEL, optim={"scheduler_kwargs": {"schedulers": [{}, A_CLASS]}}), "optim.scheduler_kwargs.schedulers.1"),
        # Whatever type the model's argument has.
        (of("nowhere.Model", optimization={"optimizer_kwargs": A_CLASS}), "optimization.optimizer_kwargs"),
        (of("a.Callback", annealing_params={"beta": A_CLASS}), "annealing_params.beta"),
        (of("lightning_anneal.BetaScheduleCallback", name=A_CLASS), "name"),
        # In a class within a class.
        (of(MODEL, layer=[of(MODEL, optim=A_CLASS)]), "optim"),
    ],
)
def test_a_class_in_settings_is_refused(config: dict[str, Any], place: str) -> None:
    with pytest.raises(AnnealError) as error:
        refuse_classes(config)
    assert str(error.value) == f"{place}: {MISTAKE}"
