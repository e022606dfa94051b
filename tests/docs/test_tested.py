"""The page that tells of the suites: all of them, with what came out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.suites.__main__ import PAGE, RESULTS, ROOT, table
from tests.suites.listed import SUITES, Suite

RESULTS_NOW = json.loads(RESULTS.read_text())


def test_every_hostile_file_is_in_a_suite() -> None:
    folders = [ROOT / "tests" / name for name in ("hostile", "kill", "compile")]
    files = {str(path.relative_to(ROOT)) for folder in folders for path in folder.glob("test_*.py")}
    assert files | {"tests/schedules/test_properties.py"} == {path for suite in SUITES for path in suite.paths}
    assert all((ROOT / path).is_file() for suite in SUITES for path in suite.paths)


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_suite_has_passed(suite: Suite) -> None:
    forms = ["short", "long"] if suite.long else ["short"]
    assert sorted(RESULTS_NOW[suite.name]) == sorted(forms)
    for told in RESULTS_NOW[suite.name].values():
        passed, rest = re.match(r"(\d+) passed(.*)", told).groups()  # type: ignore[union-attr]
        assert int(passed) > 0
        assert "failed" not in rest


def test_the_page_shows_what_came_out() -> None:
    assert table(RESULTS_NOW) in Path(PAGE).read_text()
    assert set(RESULTS_NOW) == {suite.name for suite in SUITES}
