"""One server for the suites that run the command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.forked import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.close()
