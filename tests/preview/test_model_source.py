"""Start values from the source of a model's class: what is plain to see there, and nothing else; nothing runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lightning_anneal.preview.model_source import ModelSource, read_source


def source_of(
    folder: Path, text: str, arguments: dict[str, Any] | None = None, path: str = "mine.Model"
) -> ModelSource | None:
    (folder / "mine.py").write_text(text)
    return read_source(path, arguments or {}, [str(folder)])


def model(init: str, head: str = "self", base: str = "LightningModule") -> str:
    lines = "\n".join(f"        {line}" for line in init.splitlines())
    return f"class Model({base}):\n    def __init__({head}):\n{lines}\n"


@pytest.mark.parametrize(
    ("init", "head", "numbers"),
    [
        ("self.beta = 2.5", "self", {"beta": 2.5}),
        ("self.beta = -1e-3", "self", {"beta": -0.001}),
        ("self.beta = +4", "self", {"beta": 4.0}),
        ("self.beta: float = 3", "self", {"beta": 3.0}),
        ("self.a = self.b = 1", "self", {"a": 1.0, "b": 1.0}),
        ("self.beta = True", "self", {}),
        ("self.beta = '3'", "self", {}),
        ("self.beta = None", "self", {}),
        ("self.beta = 2 * 3", "self", {}),
        ("self.beta = compute()", "self", {}),
        ("self.beta = beta", "self, beta=4", {"beta": 4.0}),
        ("self.weight = beta", "self, beta=4", {"beta": 4.0, "weight": 4.0}),
        ("self.weight = beta", "self, beta", {}),
        ("self.weight = beta", "self, *, beta=-2.0", {"beta": -2.0, "weight": -2.0}),
        ("self.weight = beta", "self, width, /, depth, beta=0.5, *, gamma=0.25", {"beta": 0.5, "gamma": 0.25, "weight": 0.5}),
        ("self.save_hyperparameters()", "self, beta=4", {"beta": 4.0}),
        ("other.beta = 3", "self", {}),
        ("beta = 3", "self", {}),
        ("self.loss.beta = 3", "self", {}),
        ("self.beta = 1.0\nself.beta = 2.0", "self", {"beta": 2.0}),
    ],
)  # fmt: skip
def test_what_is_plain_to_see(tmp_path: Path, init: str, head: str, numbers: dict[str, float]) -> None:
    source = source_of(tmp_path, model(init, head))
    assert source is not None
    assert source.numbers == numbers


@pytest.mark.parametrize(
    ("init", "head", "beta"),
    [
        pytest.param("self.beta = 2 * beta", "self, beta=4", None),
        pytest.param("self.beta = beta if beta else 1.0", "self, beta=4", None),
        pytest.param("self.beta = 1.0\nself.beta = compute()", "self", None),
        pytest.param("self.beta = 1.0\nself.beta *= 2", "self", None),
        pytest.param("beta = beta / 2\nself.beta = beta", "self, beta=4", None),
        pytest.param("if flag:\n    self.beta = 2.0\nelse:\n    self.beta = 3.0", "self, flag", None),
        pytest.param("if flag:\n    self.beta = 2.0\nself.beta = 1.0", "self, flag", 1.0),
        ("self.beta = compute()\nself.beta = 1.0", "self", 1.0),
    ],
)
def test_no_value_is_guessed(tmp_path: Path, init: str, head: str, beta: float | None) -> None:
    source = source_of(tmp_path, model(init, head))
    assert source is not None
    assert source.numbers.get("beta") == beta


@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ({}, {"beta": 4.0, "weight": 4.0}),
        ({"beta": 2}, {"beta": 2.0, "weight": 2.0}),
        ({"beta": None}, {}),
        ({"beta": [1, 2]}, {}),
        ({"beta": True}, {}),
        ({"other": 7}, {"beta": 4.0, "weight": 4.0}),
    ],
)
def test_init_args(tmp_path: Path, arguments: dict[str, Any], numbers: dict[str, float]) -> None:
    source = source_of(tmp_path, model("self.weight = beta", "self, beta=4"), arguments)
    assert source is not None
    assert source.numbers == numbers


def test_attributes(tmp_path: Path) -> None:
    text = model(
        "self.a = thing()\nself.register_buffer('t', torch.tensor(2.0))\nself.register_buffer(name, x)\nself.register_buffer()",
        "self, b, *, c=1",
    )
    text += "    def on_fit_start(self):\n        self.d = 5\n"
    source = source_of(tmp_path, text)
    assert source is not None
    assert source.attributes == {"a", "b", "c", "d", "t"}
    assert source.numbers == {"c": 1.0}


@pytest.mark.parametrize(
    ("base", "whole"),
    [
        ("LightningModule", True),
        ("pl.LightningModule", True),
        ("nn.Module", True),
        ("MyBase", False),
        ("LightningModule, Mixin", False),
        ("base()", False),
    ],
)
def test_bases(tmp_path: Path, base: str, whole: bool) -> None:
    source = source_of(tmp_path, model("self.beta = 2", base=base))
    assert source == ModelSource("Model", frozenset({"beta"}), {"beta": 2.0}, whole)


def test_a_class_without_init(tmp_path: Path) -> None:
    source = source_of(tmp_path, "class Model(Base):\n    beta = 3\n    def f(self):\n        self.x = 1\n")
    assert source == ModelSource("Model", frozenset({"x"}), {}, whole=False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "class Other: pass",
        "class Model(:",
        "Model = 3",
        "def Model(): pass",
        "\x00",
        "class Model:\n\tdef f(self):\n        pass",
        "(" * 500,
    ],
)
def test_no_such_class(tmp_path: Path, text: str) -> None:
    assert source_of(tmp_path, text) is None


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_bytes(b"\xff\xfeclass Model: pass")
    assert read_source("mine.Model", {}, [str(tmp_path)]) is None


@pytest.mark.parametrize(
    "path",
    [
        "",
        "Model",
        ".",
        "mine.",
        ".Model",
        "..Model",
        "no.such.Model",
        "mine-.Model",
        "../mine.Model",
        "mine.sub.Model",
        "a b.C",
        "x" * 90 + ".Model",
    ],
)
def test_paths_that_lead_nowhere(tmp_path: Path, path: str) -> None:
    assert source_of(tmp_path, model("self.beta = 1"), path=path) is None


def test_a_very_long_name(tmp_path: Path) -> None:
    assert source_of(tmp_path, model("self.beta = 1"), path="x" * 300 + ".Model") is None


def test_in_a_package(tmp_path: Path) -> None:
    (tmp_path / "pack" / "inner").mkdir(parents=True)
    (tmp_path / "pack" / "__init__.py").write_text(model("self.beta = 1") + f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "pack" / "inner" / "deep.py").write_text(
        model("self.beta = 2") + f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    )
    found = [read_source(path, {}, [str(tmp_path)]) for path in ("pack.Model", "pack.inner.deep.Model")]
    assert [source.numbers for source in found if source is not None] == [{"beta": 1.0}, {"beta": 2.0}]
    assert not (tmp_path / "ran").exists()
    assert "pack" not in sys.modules


def test_the_first_folder_counts(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "mine.py").write_text(model(f"self.beta = {number}"))
    source = read_source("mine.Model", {}, [str(tmp_path / "0"), str(tmp_path / "2"), str(tmp_path / "1")])
    assert source is not None
    assert source.numbers == {"beta": 2.0}


def test_where_python_looks_by_default() -> None:
    source = read_source("tests.tiny.WithHparams", {})
    assert source is not None
    assert (source.numbers, source.whole) == ({"beta": 4.0}, False)


# A limit in seconds of the processor, which no other work on the machine can use up.
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
from lightning_anneal.preview.model_source import read_source
found = read_source("mine.Model", {}, [sys.argv[1]])
print(None if found is None else len(found.numbers))
"""


def limited(folder: Path, text: str) -> str:
    (folder / "mine.py").write_text(text)
    run = subprocess.run([sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True)
    return run.stdout.strip() or f"{run.returncode} {run.stderr[-100:]}"


def test_a_file_that_is_nested_too_deeply(tmp_path: Path) -> None:
    assert limited(tmp_path, "x = " + "-" * 100_000 + "1\n" + model("self.beta = 1")) == "None"


@pytest.mark.slow
def test_a_huge_file(tmp_path: Path) -> None:
    assert limited(tmp_path, model("\n".join(f"self.a{i} = {i}" for i in range(5000)))) == "5000"
