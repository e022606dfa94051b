"""Fixtures of the tests of the search."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.ddp.launch import ROOT


@pytest.fixture(scope="module")
def at_root() -> Iterator[None]:
    """In the folder from which runs find the modules of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C reaches this process, also where a shell has begun it in the background and with that signal ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
