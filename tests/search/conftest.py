"""Fixtures of the tests of the search."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.ddp.launch import ROOT


@pytest.fixture(scope="module")
def at_root() -> Iterator[None]:
    """In the folder from which runs find the modules of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield
