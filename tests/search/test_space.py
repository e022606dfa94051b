"""Which lists of a config are axes, and the configs of their combinations."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch import LightningModule

from lightning_anneal import AnnealError, OptimConfig
from lightning_anneal.search.space import check_arguments, find_space, read_variation
from lightning_anneal.search.typed import takes


class Model(LightningModule):
    """Arguments of every kind."""

    def __init__(
        self,
        lr: float = 0.1,
        sizes: list[int] = [8],  # noqa: B006
        betas: tuple[float, float] = (0.9, 0.999),
        name: str = "x",
        anything: Any = None,
        optim: OptimConfig = OptimConfig(),  # noqa: B008
    ) -> None:
        super().__init__()


def model(**arguments: Any) -> dict[str, Any]:
    return {"model": {"class_path": "tests.search.test_space.Model", "init_args": arguments}}


def axes(config: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    before = deepcopy(config)
    space = find_space(config)
    assert config == before
    return {path: axis.values for path, axis in space.axes.items()}


I = "model.init_args"  # noqa: E741


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # By type.
        (model(lr=[1e-7, 5e-7, 1e-6]), {f"{I}.lr": (1e-7, 5e-7, 1e-6)}),
        (model(lr=[0.1]), {f"{I}.lr": (0.1,)}),
        (model(betas=[0.9, 0.999]), {}),
        (model(betas=[[0.9, 0.999], [0.8, 0.99]]), {f"{I}.betas": ([0.9, 0.999], [0.8, 0.99])}),
        (model(sizes=[8, 16]), {}),
        (model(sizes=[[8], [8, 16]]), {f"{I}.sizes": ([8], [8, 16])}),
        (model(name=["a", "b"]), {f"{I}.name": ("a", "b")}),
        (model(optim={"learning_rate": [0.1, 0.2], "no_decay": ["bias", "norm"]}), {f"{I}.optim.learning_rate": (0.1, 0.2)}),
        # Within a free mapping by the plain rule.
        (model(optim={"optimizer_kwargs": {"momentum": [0.8, 0.9], "betas": [0.9, 0.99]}}), {f"{I}.optim.optimizer_kwargs.momentum": (0.8, 0.9)}),
        ({"trainer": {"max_epochs": [5, 10], "devices": [0, 1]}}, {"trainer.max_epochs": (5, 10)}),
        # Marks win over types and names.
        (model(sizes={"grid": [[8], [16]]}, lr={"grid": [0.1]}), {f"{I}.sizes": ([8], [16]), f"{I}.lr": (0.1,)}),
        (model(anything={"fixed": [1, 2]}), {}),
        ({"lr": {"fixed": [1, 2]}, "betas": {"grid": [1, 2]}}, {"betas": (1, 2)}),
        # Plain configs.
        ({"lr": [1e-3, 1e-4], "one": [3], "none": [], "text": ["a", "b"]}, {"lr": (1e-3, 1e-4), "text": ("a", "b")}),
        ({"net": {"layers": [8, 8], "blocks": [{"p": [0.1, 0.2]}, {"p": 0.3}]}}, {"net.blocks.0.p": (0.1, 0.2)}),
        ({"mixed": [1, {"a": 2}], "nested": [[1, 2], [3, 4]]}, {"nested.0": (1, 2), "nested.1": (3, 4)}),
        # Any field of an annealing callback.
        (
            {"trainer": {"callbacks": [{
                "class_path": "lightning_anneal.BetaScheduleCallback",
                "init_args": {"beta_scheduler_params": {"cycle_length": [10, 20]}, "prog_bar": ["beta"]},
            }]}},
            {"trainer.callbacks.0.init_args.beta_scheduler_params.cycle_length": (10, 20)},
        ),
        (
            {"trainer": {"callbacks": [{
                "class_path": "lightning_anneal.HyperparamAnnealingCallback",
                "init_args": {"annealing_params": {
                    "optimizer.lr": {"end_value": [0.1, 0.2]},
                    "reg_param": {"strategy": "TRIGGER_BASED", "values": [0.0, 0.1]},
                }},
            }]}},
            {"trainer.callbacks.0.init_args.annealing_params[optimizer.lr].end_value": (0.1, 0.2)},
        ),
    ],
)  # fmt: skip
def test_axes(config: dict[str, Any], expected: dict[str, tuple[Any, ...]]) -> None:
    assert axes(config) == expected


def test_what_could_be_either_is_a_value_with_a_hint() -> None:
    space = find_space(model(anything=[1, 2]))
    assert space.axes == {}
    assert space.config == model(anything=[1, 2])
    assert space.hints == [
        f"{I}.anything: could be one value or several; it is taken as one, and {{grid: [...]}} makes it an axis"
    ]


def test_forty_five_runs() -> None:
    config = {
        "model": {"lr": [1e-1, 1e-2, 1e-3, 1e-4, 1e-5], "architecture": [{}, {}, {"p": [0.0, 0.1, 0.2]}]},
        "data": {"batch_size": [16, 32, 64]},
    }
    space = find_space(config)
    assert list(space.axes) == ["model.lr", "model.architecture.2.p", "data.batch_size"]
    assert space.count == 45
    points = list(space.grid())
    assert len({tuple(point.values()) for point in points}) == 45
    assert points[1] == {"model.lr": 0.1, "model.architecture.2.p": 0.0, "data.batch_size": 32}
    assert space.at(points[44]) == {
        "model": {"lr": 1e-5, "architecture": [{}, {}, {"p": 0.2}]},
        "data": {"batch_size": 64},
    }


def test_given_variations_take_the_place_of_the_configs() -> None:
    space = find_space(model(lr=[0.1, 0.2, 0.3], name=["a", "b"]))
    space.vary(f"{I}.lr", [1.0])
    space.vary(f"{I}.sizes", [[1], [2]])  # an argument that the config leaves out
    space.vary(f"{I}.optim.scheduler", ["cosine", None])
    assert space.count == 1 * 2 * 2 * 2
    last = list(space.grid())[-1]
    assert space.at(last) == model(lr=1.0, name="b", sizes=[2], optim={"scheduler": None})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,2", ("a", [1, 2])),
        ("a.b=1e-7,5e-7", ("a.b", [1e-7, 5e-7])),
        ("betas=[0.9,0.999],[0.8,0.99]", ("betas", [[0.9, 0.999], [0.8, 0.99]])),
        ("a=x, y ,null,true", ("a", ["x", "y", None, True])),
        ("a='x,y',z", ("a", ["x,y", "z"])),
        ("a={b: 1, c: 2},{b: 3}", ("a", [{"b": 1, "c": 2}, {"b": 3}])),
    ],
)
def test_variations_as_text(text: str, expected: tuple[str, list[Any]]) -> None:
    assert read_variation(text) == expected


J = "other.init_args"
BARE = {"class_path": "tests.search.test_space.Model", "init_args": {}}
CONFIG = {**model(lr=0.1, optim={"optimizer_kwargs": {"momentum": 0.9}}), "other": BARE, "blocks": [{"p": 1}, {"p": 2}]}


@pytest.mark.parametrize(
    ("path", "values", "message"),
    [
        (f"{I}.lr", [], f"{I}.lr: an axis needs at least one value"),
        (f"{I}.lt", [1], f"{I}.lt: the config has no 'lt'; did you mean 'lr'?"),
        (f"{I}.optim.lerning_rate", [1], f"{I}.optim.lerning_rate: the config has no 'lerning_rate'"),
        ("modl.init_args.lr", [1], "modl.init_args.lr: the config has no 'modl'; did you mean 'model'?"),
        (f"{I}.lr.x", [1], f"{I}.lr.x: '{I}.lr' is 0.1, with no 'x' in it"),
        (f"{I}.lr", [0.1, "fast"], f"{I}.lr: Model doesn't take 'fast' there"),
        # The mapping on the way, which the config leaves out, is not left behind.
        ("trainer.strategy_", [1], "trainer.strategy_: the config has no 'trainer'"),
        (f"{J}.optim.learning_rate", [0.1, "fast"], f"{J}.optim.learning_rate: Model doesn't take 'fast' there"),
        ("a..b", [1], "a..b: can't read the path in 'a..b'"),
        ("", [1], "'': is no path"),
        ("blocks.2.p", [1], "blocks.2.p: 'blocks' is a list of 2; take 0 to 1, not '2'"),
        ("blocks.x", [1], "blocks.x: 'blocks' is a list of 2; take 0 to 1, not 'x'"),
    ],
)
def test_refused_variations(path: str, values: list[Any], message: str) -> None:
    space = find_space(CONFIG)
    with pytest.raises(AnnealError) as error:
        space.vary(path, values)
    assert str(error.value).startswith(message)
    assert space.axes == {}
    assert space.config == CONFIG


def test_what_is_inside_of_an_axis_is_varied_with_it() -> None:
    space = find_space({"net": {"grid": [{"p": 0.1}, {"p": 0.2}]}})
    with pytest.raises(AnnealError) as error:
        space.vary("net.p", [0.3, 0.4])
    assert str(error.value) == "net.p: is inside of the axis 'net'; vary that one, or mark it {fixed: ...}"
    assert list(space.axes) == ["net"]


@pytest.mark.parametrize(
    ("class_path", "message"),
    [
        ("nowhere.Model", "data.0.class_path: there is no module 'nowhere' here"),
        ("broken_module.Model", "data.0.class_path: broken_module can't be imported: RuntimeError: no such luck"),
    ],
)
def test_modules_that_can_not_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, class_path: str, message: str
) -> None:
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('no\\n  such luck')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AnnealError) as error:
        check_arguments({"loggers": ["csv", {"name": "a"}], "data": [{"class_path": class_path}]})
    assert str(error.value) == message
    # What it would take, LightningCLI may know.
    assert takes(class_path, "lr", "fast") is True


def test_the_fields_of_a_dataclass_are_looked_at() -> None:
    check_arguments(model(optim={"learning_rate": 0.1, "optimizer_kwargs": {"momentum": 0.9}}))
    with pytest.raises(AnnealError) as error:
        check_arguments(model(optim={"learning_rate": "fast"}))
    assert str(error.value) == f"{I}.optim.learning_rate: Model doesn't take 'fast' there"
    with pytest.raises(AnnealError) as error:
        check_arguments(model(optm={"learning_rate": 0.1}))
    assert str(error.value) == f"{I}: Model has no 'optm'; did you mean 'optim'?"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"a": {"grid": []}}, "a: an axis needs at least one value: {grid: [...]}, got []"),
        ({"a": {"grid": 3}}, "a: an axis needs at least one value: {grid: [...]}, got 3"),
        (model(lr={"grid": [0.1, "fast"]}), f"{I}.lr: Model doesn't take 'fast' there"),
    ],
)
def test_refused_configs(config: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        find_space(config)
    assert str(error.value) == message


@pytest.mark.parametrize("text", ["a", "=1", "a=", "a= "])
def test_refused_text(text: str) -> None:
    with pytest.raises(AnnealError, match=r"--param-variations: write path=value1,value2, got"):
        read_variation(text)
