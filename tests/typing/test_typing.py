"""What a type checker makes of a user's project, and that every public name says what it is."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from types import FunctionType

import pytest

import lightning_anneal

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def found() -> dict[str, list[tuple[int, str]]]:
    """By file, the lines that mypy complains of, and how."""
    pytest.importorskip("mypy")
    # As the project itself is checked: strict.
    words = [
        sys.executable,
        "-m",
        "mypy",
        "--hide-error-codes",
        "--no-pretty",
        str(HERE / "project.py"),
        str(HERE / "mistakes.py"),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    complaints = re.findall(r"^(.*?):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    by_file: dict[str, list[tuple[int, str]]] = {}
    for file, line, text in complaints:
        by_file.setdefault(Path(file).name, []).append((int(line), text))
    return by_file


def test_a_users_project_passes(found: dict[str, list[tuple[int, str]]]) -> None:
    assert set(found) == {"mistakes.py"}, found


def test_every_mistake_is_found_and_nothing_else(found: dict[str, list[tuple[int, str]]]) -> None:
    lines = enumerate((HERE / "mistakes.py").read_text().splitlines(), start=1)
    expected = {number: line.partition("  # ")[2] for number, line in lines if "  # " in line}
    said = dict(found["mistakes.py"])
    assert len(said) == len(found["mistakes.py"])
    assert said.keys() == expected.keys()
    assert {number: text for number, text in expected.items() if text not in said[number]} == {}
    assert len(expected) > 25


RUN = """
import json, sys
from pathlib import Path
from tests.typing import project
folder = Path(sys.argv[1])
done = [project.fit(folder), project.betas(), project.by_hand(), project.search(folder), project.refused()]
print(json.dumps([*done, {name: curve(0) for name, curve in project.CURVES.items()}]))
"""


def test_the_project_runs(tmp_path: Path) -> None:
    """In a process of its own: it makes classes known, which would be known to other tests."""
    words = [sys.executable, "-W", "ignore", "-c", RUN, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    seen, betas, by_hand, search, refused, curves = json.loads(done.stdout.splitlines()[-1])
    # Three epochs of four batches, from 0 to 1.
    assert seen == [0.0] * 4 + [0.5] * 4 + [1.0] * 4
    # Half of a cosine; two restarts of 40 epochs behind it; half of a ramp of two epochs.
    assert betas == [pytest.approx(0.5), 80, 0.5]
    assert by_hand == [True, 0.5, [0.1]]
    assert search == [6, ["lr", "depth"]]
    assert refused == "beta.strategy | unknown strategy 'cosin'; did you mean 'cosine'?"
    at_one = ("constant", "cosine", "exponential", "milestones", "mine")
    assert curves == {name: float(name in at_one) for name in curves}


def test_the_mark_for_type_checkers_is_there() -> None:
    assert (Path(lightning_anneal.__file__).parent / "py.typed").exists()


@pytest.mark.parametrize("name", lightning_anneal.__all__)
def test_every_public_name_says_what_it_is(name: str) -> None:
    thing = getattr(lightning_anneal, name)
    told = inspect.getdoc(thing) or ""
    # A dataclass without words of its own has its signature there.
    assert told
    assert not told.startswith(f"{name}(")
    for attribute, value in vars(thing).items() if inspect.isclass(thing) else ():
        if not attribute.startswith("_") and isinstance(value, FunctionType | property | classmethod):
            assert inspect.getdoc(getattr(thing, attribute)), f"{name}.{attribute}"
