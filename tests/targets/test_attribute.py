"""Finding places: where a path leads, and where it must not."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lightning_anneal import AnnealError
from lightning_anneal.targets.attribute import find
from lightning_anneal.targets.path import parse_path
from lightning_anneal.targets.target import Target
from tests.tiny import Tiny

Pair = namedtuple("Pair", "low high")


class Plain:
    """An object with a bit of everything."""

    shared = 1.0

    def __init__(self) -> None:
        self.rate = 0.1
        self.pair = Pair(1.0, 2.0)
        self.betas = (0.9, (0.1, 0.2))
        self.values = [1.0, 2.0]
        self.by_number = {3: 0.5}
        self.frozen = MappingProxyType({"a": 1.0})
        self.module = torch
        self.flag = True
        self.word = "text"
        self.nothing = None
        self._secret = 1.0

    @property
    def double(self) -> float:
        return self.rate * 2

    def method(self) -> float:
        return self.rate


class Checked:
    """An object that looks at what it is given."""

    def __init__(self) -> None:
        self.writes: list[str] = []
        self.rate = 0.1

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)
        self.writes.append(name)


@dataclass(frozen=True)
class Frozen:
    rate: float = 0.1


class Slotted:
    """No instance dictionary."""

    __slots__ = ("rate",)

    def __init__(self) -> None:
        self.rate = 0.1


def target(root: Any, path: str) -> Target:
    return Target("x", find("x", root, parse_path("x", path)))


@pytest.mark.parametrize(
    ("root", "path", "before"),
    [
        (Tiny(), "beta", 1.0),
        (Tiny(), "loss.margin", 0.2),
        (Tiny(), "net.1.p", 0.5),
        (Tiny(), "weights.kl", 0.5),
        (Tiny(), "weights.nested.1", 0.2),
        (Tiny(), "temperature", 2.0),
        (nn.ModuleList([nn.Dropout(0.3)]), "0.p", 0.3),
        (nn.ModuleDict({"drop": nn.Dropout(0.3)}), "drop.p", 0.3),
        (Plain(), "rate", 0.1),
        (Plain(), "pair.high", 2.0),
        (Plain(), "pair.0", 1.0),
        (Plain(), "betas.0", 0.9),
        (Plain(), "betas.1.1", 0.2),
        (Plain(), "values.1", 2.0),
        (Plain(), "by_number.3", 0.5),
        (Checked(), "rate", 0.1),
        ({"a": {"b": [0.5]}}, "a.b.0", 0.5),
        (OmegaConf.create({"a": {"b": [0.5]}}), "a.b.0", 0.5),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, str | float) else str(v),
)
def test_read_write_read(root: Any, path: str, before: float) -> None:
    place = target(root, path)
    assert place.read() == before
    place.write(0.25)
    assert target(root, path).read() == 0.25


def test_a_tuple_is_replaced_and_keeps_its_type() -> None:
    plain = Plain()
    old = plain.betas
    target(plain, "betas.1.1").write(0.25)
    target(plain, "pair.high").write(7)
    assert (plain.betas, old) == ((0.9, (0.1, 0.25)), (0.9, (0.1, 0.2)))
    assert plain.pair == Pair(1.0, 7.0)
    assert type(plain.pair) is Pair


def test_a_buffer_is_filled_in_place() -> None:
    module = Tiny()
    buffer = module.temperature
    target(module, "temperature").write(0.5)
    assert buffer is module.temperature
    assert float(buffer) == 0.5


def test_an_own_setattr_is_called() -> None:
    checked = Checked()
    checked.writes.clear()
    place = target(checked, "rate")
    place.write(0.5)
    assert checked.writes == ["rate"]
    assert place.shortcut is None


def test_a_compiled_module_is_looked_through() -> None:
    module = nn.Sequential(nn.Dropout(0.5))
    compiled = nn.Sequential(torch.compile(module))
    target(compiled, "0.0.p").write(0.25)
    assert module[0].p == 0.25
    target(torch.compile(Tiny()), "beta").write(0.5)


READONLY = OmegaConf.create({"rate": 0.1})
OmegaConf.set_readonly(READONLY, True)

REFUSED = [
    (Tiny(), "betta", "Tiny has no attribute 'betta'; did you mean 'beta'?"),
    (Tiny(), "loss.marg", "Loss has no attribute 'marg'; did you mean 'margin'?"),
    (Tiny(), "net.7.p", "Sequential has no attribute '7'; known: 0, 1, training"),
    (Tiny(), "layer.weight", "'weight' is a learnable Parameter, which the optimizer writes"),
    (Tiny(), "layer", "is a module (Linear); name one of its numbers"),
    (Tiny(), "forward", "'forward' is a method of Tiny"),
    (Tiny(), "global_step", "'global_step' is a property of Tiny; name the attribute behind it"),
    (Tiny(), "training", "is True; a schedule gives numbers"),
    (Tiny(), "weights", "holds a dict; a schedule gives numbers"),
    (Tiny(), "weights.k1", "dict has no key 'k1'; did you mean 'kl'?"),
    (Tiny(), "weights.nested.2", "list of length 2 has no element '2'; take 0 to 1"),
    (Tiny(), "weights.nested.x", "list of length 2 has no element 'x'; take 0 to 1"),
    (Tiny(), "beta.real", "'real' of float is no entry of its __dict__, and only those can be annealed"),
    (Plain(), "shared", "'shared' is a class attribute of Plain; set self.shared in __init__"),
    (Plain(), "double", "'double' is a property of Plain; name the attribute behind it"),
    (Plain(), "method", "'method' is a method of Plain"),
    (Plain(), "module.pi", "can't look for 'pi' in code (torch)"),
    (Plain(), "flag", "is True; a schedule gives numbers"),
    (Plain(), "word", "is 'text'; a schedule gives numbers"),
    (Plain(), "nothing", "is None; give it a number to start from"),
    (Plain(), "frozen.a", "this mappingproxy can't be written to"),
    (Frozen(), "rate", "Frozen is a frozen dataclass"),
    (READONLY, "rate", "this DictConfig can't be written to"),
    (Plain(), "pair.mid", "Pair of length 2 has no element 'mid'; take 0 to 1"),
    (Slotted(), "rate", "'rate' of Slotted is no entry of its __dict__, and only those can be annealed"),
    ((1.0, 2.0), "0", "a tuple can't be changed; start the path at what holds it"),
    ([], "0", "list of length 0 has no element '0'"),
    ({"a": torch.zeros(3)}, "a", "is a tensor of shape (3,); only 0-d tensors take a value"),
    ({"a": torch.tensor(True)}, "a", "is a tensor of torch.bool; a schedule gives numbers"),
    ({"a": nn.Parameter(torch.tensor(1.0))}, "a", "is a learnable Parameter, which the optimizer writes; keep it in a "
     "buffer"),
]  # fmt: skip


@pytest.mark.parametrize(("root", "path", "what"), REFUSED, ids=[path for _, path, _ in REFUSED])
def test_refused(root: Any, path: str, what: str) -> None:
    with pytest.raises(AnnealError) as error:
        target(root, path)
    assert str(error.value) == f"x: {what}"


@pytest.mark.parametrize(
    ("before", "value", "options", "after"),
    [
        (1.0, 2, {}, 2.0),
        (3, 4.0, {}, 4),
        (3, 4.5, {"round": True}, 5),
        (3, 4.49, {"round": True}, 4),
        (3, 4.5, {"as_float": True}, 4.5),
        (torch.tensor(3), 4.0, {}, 4),
        (torch.tensor(3, dtype=torch.int32), 2.5, {"round": True}, 3),
    ],
)
def test_the_kind_of_value_stays(before: Any, value: float, options: dict[str, bool], after: float) -> None:
    home = {"a": before}
    place = Target("x", find("x", home, ("a",)), **options)
    place.write(value)
    assert place.read() == after
    assert type(place.read()) is type(after)


@pytest.mark.parametrize(
    ("before", "value", "what"),
    [
        (3, 4.5, "holds an int and would get 4.5; write 3.0 in the module, or set round: true"),
        (1.0, float("nan"), "must be a finite number, got nan"),
        (1.0, float("inf"), "must be a finite number, got inf"),
        (torch.tensor(3), 0.5, "holds an int and would get 0.5; write 3.0 in the module, or set round: true"),
    ],
)
def test_no_such_value(before: Any, value: float, what: str) -> None:
    home = {"a": before}
    with pytest.raises(AnnealError) as error:
        target(home, "a").write(value)
    assert str(error.value) == f"x: {what}"
    assert home == {"a": before}
