"""The sets of versions, and the table of what ran on them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.versions import __main__ as command
from tests.versions.runs import Outcome, counted, find_python, kept, run
from tests.versions.sets import ROOT, SETS, VersionSet, lower_bounds, pinned_torch, stated
from tests.versions.table import SHOWN, table

OLDEST, NEWEST, *OTHERS = SETS
PAGE = (ROOT / "docs" / "reference" / "versions.md").read_text()
[TABLE] = re.findall(r"<!-- versions -->\n(.*?)<!-- /versions -->", PAGE, re.DOTALL)

PYPROJECT = """
[project]
dependencies = ["torch>=2.4", "lightning>=2.5,!=2.6.2,<3", "tqdm>=4.60"]
[project.optional-dependencies]
plot = ["matplotlib>=3.8"]
optuna = ["optuna>=4"]
examples = ["matplotlib>=3.8"]
dev = ["pytest>=8", "rich>=13"]
docs = ["sphinx"]
"""


def test_what_is_stated(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text(PYPROJECT)
    names = {"torch": "2.4", "lightning": "2.5", "tqdm": "4.60", "matplotlib": "3.8", "optuna": "4", "rich": "13"}
    assert lower_bounds(stated(path)) == names


@pytest.mark.parametrize("line", ["lightning", "lightning<3", "lightning==2.5", "lightning>=2.5,>=2.6"])
def test_a_dependency_without_a_lower_bound(line: str) -> None:
    with pytest.raises(ValueError, match="states no lower bound, or two"):
        lower_bounds([Requirement(line)])


def test_the_oldest_is_held_to_every_lower_bound() -> None:
    pins = dict(line.split("==") for line in OLDEST.constraints())
    bounds = lower_bounds(stated())
    assert pins == {**bounds, "pytorch-lightning": bounds["lightning"], "torch": pinned_torch()}
    assert NEWEST.constraints() == [f"torch=={pinned_torch()}"]


def test_nothing_brings_another_torch() -> None:
    for chosen in SETS:
        assert f"torch=={pinned_torch()}" in chosen.constraints()
        wanted = {Requirement(line).name for line in chosen.requirements()}
        assert wanted >= {"pytest", "omegaconf", "jsonargparse", "matplotlib"}
        assert ("torch" in wanted) == ("lightning" in wanted) == ("torchmetrics" in wanted) == chosen.torch


@pytest.mark.parametrize("chosen", SETS, ids=lambda chosen: chosen.name)
def test_what_is_left_out_is_there(chosen: VersionSet) -> None:
    left_out = [word.removeprefix("--ignore=") for word in chosen.pytest_arguments() if word.startswith("--ignore=")]
    assert left_out
    for path in left_out:
        assert (ROOT / path).exists()


def test_a_python_that_is_not_there_is_told_and_no_failure(tmp_path: Path) -> None:
    chosen = VersionSet("python2.99", "2.99")
    assert find_python("2.99") is None
    outcome = run(chosen, tmp_path)
    assert outcome.green
    assert table({chosen: outcome}).splitlines()[-1].endswith("| not run: no Python 2.99 there |")
    assert kept(chosen, tmp_path).not_run == "never"


def test_what_became_of_tests(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        "<testsuites><testsuite><testcase/><testcase><failure/></testcase><testcase><error/></testcase><testcase/><testcase/>"
        '<testcase><skipped type="pytest.skip"/></testcase><testcase><skipped type="pytest.xfail"/></testcase>'
        "</testsuite></testsuites>"
    )
    assert counted(report) == {"passed": 3, "failed": 2, "skipped": 1, "xfailed": 1}


def test_a_failure_is_no_table_to_publish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "versions.md"
    page.write_text("<!-- versions -->\nold\n<!-- /versions -->\n")
    monkeypatch.setattr(command, "PAGE", page)
    outcomes = iter(
        [Outcome("3.11.7", counts={"passed": 2, "failed": 1}, failure="pytest ended with 1"), Outcome("3.11.7")]
    )
    monkeypatch.setattr(command, "run", lambda *arguments: next(outcomes))
    words = ["--sets", "oldest", "--folder", str(tmp_path), "--publish"]
    assert command.main(words) == 1
    assert "2 passed, 1 failed; pytest ended with 1" in capsys.readouterr().out
    assert "\nold\n" in page.read_text()
    assert command.main(words) == 0
    assert "| oldest | 3.11.7 |" in page.read_text()
    assert "\nold\n" not in page.read_text()


# -- where there is no torch ------------------------------------------------------------------------------------------

INSIDE = """
def test_asks(): import no_such_torch.nn
def test_asks_behind_an_error():
    try:
        import no_such_torch
    except ImportError:
        raise ValueError("needs it")
def test_other_mistake(): import neither_this
def test_needs_none(): pass
"""
PLUGGED = """
import sys, pytest, tests.versions.without_torch as plugin
plugin.MISSING = ("no_such_torch",)
sys.exit(pytest.main([*sys.argv[1:], "-q", "-p", "no:cacheprovider", "--rootdir", sys.argv[1]], plugins=[plugin]))
"""


def test_only_what_asks_for_torch_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "test_inside.py").write_text(INSIDE)
    (tmp_path / "test_file.py").write_text("import no_such_torch\ndef test_never(): assert False\n")
    words = [sys.executable, "-c", PLUGGED, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "1 failed, 1 passed, 3 skipped" in done.stdout
    assert "test_other_mistake" in done.stdout


def test_with_torch_nothing_is_skipped() -> None:
    words = [sys.executable, "-m", "pytest", "-p", "tests.versions.without_torch", "tests/test_errors.py"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "is for where there is no torch" in done.stderr


# -- the page ---------------------------------------------------------------------------------------------------------


def test_the_page_has_a_row_for_each_set() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines()[2:]]
    assert [row[0] for row in rows] == [chosen.name for chosen in SETS]
    assert {len(row) for row in rows} == {len(SHOWN) + 3}
    oldest = dict(zip(SHOWN, rows[0][2:], strict=False))
    for name, bound in lower_bounds(stated()).items():
        if name in SHOWN and name != "torch":
            assert f"{oldest[name]}.".startswith(f"{bound}.")


def test_the_page_names_the_lower_bounds() -> None:
    told = dict(re.findall(r"`([a-z]+)` (\d+\.\d+)", PAGE.split("<!--")[0]))
    bounds = lower_bounds(stated())
    assert len(told) == 6
    assert told == {name: bounds[name] for name in told}
