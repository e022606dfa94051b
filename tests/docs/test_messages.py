"""The lines that the troubleshooting page quotes are the ones that the package says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.provoked import PROVOKE, provoke

PAGE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
QUOTED = dict(re.findall(r"```text (\w+)\n(.*?)\n```", PAGE.read_text(), re.DOTALL))


def test_every_line_is_provoked() -> None:
    assert set(QUOTED) == set(PROVOKE)


@pytest.mark.parametrize("name", PROVOKE)
def test_the_page_quotes_what_is_said(name: str, tmp_path: Path) -> None:
    assert QUOTED[name] in provoke(name, tmp_path)
