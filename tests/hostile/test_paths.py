"""Paths that try to leave the model: none of them writes anything, there or anywhere else."""

from __future__ import annotations

import functools
import math
import os
import random
import sys
import types
from collections import namedtuple
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from lightning_anneal import AnnealError, AnnealingManager, HyperparamAnnealingCallback
from tests.tiny import Tiny, trainer_for

LIMIT = 1.0
"""A global that a path might want to reach."""

Pair = namedtuple("Pair", ["low", "high"])


def function() -> float:
    return LIMIT


function.bound = 1.0


class Color(Enum):
    RED = 1.0


class Slotted:
    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 1.0


class MakesUp:
    """Has whatever one asks for, as mocks do."""

    def __getattr__(self, name: str) -> float:
        if name.startswith("__"):
            raise AttributeError(name)
        return 1.0


class Counts:
    """Whose property counts how often it is read or written."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @property
    def value(self) -> float:
        self.calls.append("get")
        return 1.0

    @value.setter
    def value(self, value: float) -> None:
        self.calls.append("set")


class Trap(Tiny):
    """Holds everything that a path could leave it by."""

    shared = 1.0
    shared_dict = {"x": 1.0}

    def __init__(self) -> None:
        super().__init__()
        self.function = function
        self.method = self.configure_optimizers
        self.builtin = math.sin
        self.module = os
        self.modules_of_python = sys.modules
        self.cls = Tiny
        self.partial = functools.partial(function)
        self.color = Color.RED
        self.slotted = Slotted()
        self.makes_up = MakesUp()
        self.counts = Counts()
        self.pair = Pair(1.0, 2.0)
        self.frozen = types.MappingProxyType({"x": 1.0})
        self.text = "1.0"
        self.flag = True
        self.nothing = None
        self.big = torch.zeros(3)
        self.generator = (i for i in range(3))
        self.norm = nn.BatchNorm1d(4)


REFUSED = [
    # dunders and underscores
    *("__class__", "__class__.shared", "__dict__.beta", "__dict__", "__init__", "__module__", "__doc__", "_parameters.x"),
    *("__class__.__base__.__subclasses__", "function.__globals__.LIMIT", "function.__code__.co_consts.0", "_modules.layer"),
    *("function.__closure__", "function.__defaults__.0", "layer.__class__.bias", "method.__func__.__globals__.LIMIT"),
    *("_hparams.x", "_trainer.x", "_buffers.temperature", "loss.__dict__.margin", "x.__init_subclass__", "a.__b"),
    *("makes_up.__class__", "partial.__self__", "method.__self__.beta", "layer._parameters.weight", "_", "__"),
    # code: functions, methods, modules, classes
    *("function", "function.bound", "method", "builtin", "configure_optimizers", "training_step", "forward", "function.a"),
    *("module.sep", "module.path.sep", "module.environ.HOME", "cls.shared", "cls", "partial", "partial.func", "partial.args.0"),
    # sys.modules by any route
    *("modules_of_python.tests.hostile.test_paths.LIMIT", "modules_of_python.math.pi", "modules_of_python.sys.maxsize"),
    *("modules_of_python.os.environ.HOME", "modules_of_python.builtins.print", "sys.modules", "modules_of_python.math"),
    # what belongs to the class, not to the object
    *("shared", "shared_dict.x", "color.value", "color.name", "slotted.value", "makes_up.anything", "counts.value"),
    *("trainer.x", "hparams", "hparams.beta", "device", "dtype", "global_step", "current_epoch", "logger.x", "example_input_array"),
    # what takes no number
    *("text", "flag", "nothing", "big", "big.0", "layer", "layer.weight", "layer.bias", "net", "net.0", "net.1", "generator"),
    *("frozen.x", "pair", "weights", "weights.nested", "norm.running_mean", "norm.weight", "generator.x", "text.0", "temperature.x"),
    # indices
    *("weights.nested.-1", "weights.nested.2", "weights.nested.00", "weights.nested.01", "net.-1.p", "net.1_0.p", "net.+1.p"),
    *("weights.nested.1e0", "weights.nested.0x1", "net.01.p", "net.9.p", "weights.nested.9999999999999999999999999999"),
    *("weights.nested.0.0", "pair.5", "pair.lowest", "weights.nested.٣", "weights.nested.²", "net.１.p"),  # noqa: RUF001
    # brackets, calls, spaces
    *("weights['kl']", "weights[kl]", "net[1].p", "weights.nested[0]", "loss()", "loss().margin", "getattr(loss,'margin')"),
    *(" beta", "beta ", "be ta", "loss. margin", "loss .margin", "beta\t", "loss..margin", ".beta", "beta.", ".", "..", ""),
    # look-alikes and what can't be seen
    *("bеta", "ｂeta", "beta\u200b", "\u202ebeta", "be\u0301ta", "beta\x00", "\ufeffbeta", "βeta", "loss．margin", "loss。margin"),  # noqa: RUF001
    # newlines and lengths
    *("beta\n", "\nbeta", "loss\n.margin", "beta\r", "beta\u2028", "b" * 10_000, "loss." * 2_000 + "margin", "a." * 5_000),
    *("*", "**", "*.beta", "loss.*", "beta.*", "weights.*", "self.beta", "model.beta", "lightningmodule.beta", "beta;x=1"),
    # roots of other kinds
    *("trainer", "trainer.fit_loop.max_epochs", "trainer.max_epochs", "trainer.strategy.x", "trainer.callbacks.0.x"),
    *("optimizer", "optimizer.lr", "optimizer.param_groups", "optimizer.param_groups.0", "optimizer.param_groups.0.params"),
    *("optimizer.param_groups.0.params.0", "optimizer.param_groups.0.nope", "optimizer.param_groups.1.lr", "optimizer.state.x"),
    *("optimizer.defaults.lr", "optimizer.param_groups.-1.lr", "optimizer.__class__.x", "optimizers.1.param_groups.0.lr"),
    *("optimizers", "optimizers.0", "optimizers.x.param_groups.0.lr", "datamodule.x", "datamodule.batch_size", "batch_size"),
]  # fmt: skip

WRITABLE = {
    *("beta", "top_k", "loss.margin", "weights.kl", "weights.nested.0", "weights.nested.1", "temperature", "batches"),
    *("momentum", "net.1.p", "pair.0", "pair.1", "pair.low", "pair.high", "net.0.in_features", "net.0.out_features"),
    *("layer.in_features", "layer.out_features", "norm.eps", "norm.momentum", "norm.num_features", "norm.num_batches_tracked"),
}  # fmt: skip
"""Every number that the model itself holds."""


def outside() -> dict[Any, Any]:
    """What stands in modules and classes: which object under which name, and what is in their lists and mappings."""
    found: dict[Any, Any] = {}
    ours = ("lightning_anneal", "torch.nn.modules", "torch.optim", "lightning.pytorch", "tests.tiny", "tests.hostile")
    modules = [
        m for name, m in sys.modules.items() if name.startswith(ours) or name in ("builtins", "sys", "os", "math")
    ]
    classes = {c for m in modules for c in vars(m).values() if isinstance(c, type)} | {Trap, LightningModule, nn.Module}
    for holder in [*modules, *classes]:
        for name, value in vars(holder).items():
            # The interpreter's own notes, which change by themselves.
            if name in ("__warningregistry__", "last_exc", "last_value", "last_type", "last_traceback", "modules"):
                continue
            inner = [*map(id, value.values())] if isinstance(value, dict) else None
            inner = [*map(id, value)] if isinstance(value, list) else inner
            found[holder, name] = (id(value), value if isinstance(value, int | float | str) else None, inner)
    return found


def inside(model: Trap) -> list[Any]:
    """Every number of the model, and what stands in its dictionaries."""
    # Lightning leaves marks of its own under private names.
    own = [(k, id(v)) for k, v in vars(model).items() if k[0] != "_"] + list(model._modules.items())
    numbers = [
        model.loss.margin,
        dict(model.weights),
        list(model.weights["nested"]),
        float(model.temperature),
        model.pair,
    ]
    layers = [(type(m), [(k, v) for k, v in vars(m).items() if isinstance(v, int | float)]) for m in model.net]
    weights = [p.tolist() for p in model.parameters()]
    return [
        own,
        numbers,
        layers,
        weights,
        model.slotted.value,
        model.counts.calls,
        function.bound,
        Color.RED.value,
        os.sep,
    ]


def settings(path: str, chance: random.Random | None = None) -> dict[str, Any]:
    """Settings of a parameter by this path, of one kind or another."""
    ramp = {"strategy": "linear", "start_value": 5.0, "end_value": 9.0, "total_steps": 4}
    trigger = {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": [5.0, 9.0]}
    kinds = [{"x": {**ramp, "attr_name": path}}, {"x": {**trigger, "attr_name": path}}]
    return {path: ramp} if chance is None else chance.choice(kinds)


def test_the_list_is_as_long_as_promised() -> None:
    assert len(set(REFUSED)) == len(REFUSED) >= 50


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything that a first fit imports and remembers."""
    callback = HyperparamAnnealingCallback(settings("beta"))
    trainer_for(tmp_path_factory.mktemp("warm"), callback, max_epochs=4).fit(Trap())


@pytest.mark.usefixtures("warm")
def test_no_listed_path_writes(tmp_path: Path) -> None:
    model, wrong = Trap(), []
    before, whole = outside(), inside(model)
    for path in REFUSED:
        for config in (settings(path), {"x": {**settings(path)[path], "attr_name": path, "object": "model"}}):
            try:
                trainer_for(tmp_path, HyperparamAnnealingCallback(config), max_epochs=1).fit(model)
            except AnnealError as error:
                if len(str(error)) > 200 or not str(error).isprintable():
                    wrong.append((path, str(error)))
            else:
                wrong.append((path, "accepted"))
            if inside(model) != whole:
                wrong.append((path, "written"))
    assert wrong == []
    assert model.seen == []
    assert outside() == before


_WORDS = [
    *(
        "beta",
        "loss",
        "margin",
        "weights",
        "kl",
        "nested",
        "net",
        "layer",
        "norm",
        "eps",
        "p",
        "pair",
        "low",
        "temperature",
    ),
    *(
        "function",
        "method",
        "module",
        "modules_of_python",
        "cls",
        "partial",
        "color",
        "slotted",
        "makes_up",
        "counts",
        "value",
    ),
    *(
        "__class__",
        "__dict__",
        "__globals__",
        "__init__",
        "_modules",
        "_parameters",
        "_hparams",
        "self",
        "model",
        "shared",
    ),
    *(
        "0",
        "1",
        "2",
        "01",
        "-1",
        "[0]",
        "()",
        "",
        "os",
        "math",
        "pi",
        "sys",
        "environ",
        "in_features",
        "momentum",
        "top_k",
    ),
]


def some_path(chance: random.Random) -> str:
    """Any characters, or names that are there joined in any way."""
    if chance.random() < 0.1:
        return chance.choice(sorted(WRITABLE))
    if chance.random() < 0.4:
        return "".join(
            chance.choice("abcdefghijklmnopqrstuvwxyz_.0123456789[]()") for _ in range(chance.randint(1, 30))
        )
    return chance.choice([".", ".", ".", "", "..", "]."]).join(chance.choices(_WORDS, k=chance.randint(1, 4)))


@pytest.mark.usefixtures("warm")
@pytest.mark.parametrize("size", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_random_path_writes_but_to_a_number_of_the_model(size: int, record_property: Any) -> None:
    chance, wrong, written = random.Random(20260102), [], set()
    before = outside()
    for _ in range(size):
        path, model = some_path(chance), Trap()
        whole = inside(model)
        try:
            manager = AnnealingManager(settings(path, chance), objects={"model": model}, epochs=10)
            manager.step(1)
        except AnnealError as error:
            # An int takes no fraction: that, too, is found before anything is written.
            if inside(model) != whole or len(str(error)) > 200:
                wrong.append((path, str(error)))
        else:
            written.add(path)
    record_property("written", f"{len(written)} of {len(WRITABLE)} numbers")
    assert wrong == []
    assert written <= WRITABLE
    assert {"beta", "loss.margin", "pair.0"} <= written
    assert outside() == before
