"""Two processes on the CPU: the same values on both, from one broadcast."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ddp.launch import launch


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("ddp")
    done = launch("two_ranks.py", folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


def test_both_ranks_see_the_same_values_at_every_step(ranks: list[dict[str, object]]) -> None:
    assert ranks[0]["seen"] == ranks[1]["seen"]
    # 8 batches on two ranks are 4 steps an epoch. Both start where rank 0 started, 0.5; rank 1 had 7.5.
    assert ranks[0]["seen"] == [[e, b, 0.5 + (4 * e + b)] for e in range(3) for b in range(4)]


def test_one_broadcast_at_fit_start_and_none_after(ranks: list[dict[str, object]]) -> None:
    assert [rank["broadcasts"] for rank in ranks] == [["on_fit_start"], ["on_fit_start"]]


def test_an_error_is_the_same_line_on_both_ranks(tmp_path: Path) -> None:
    done = launch("two_ranks.py", tmp_path, "betta")
    assert done.returncode != 0
    lines = [(tmp_path / f"rank{rank}.err").read_text() for rank in (0, 1)]
    assert lines == ["betta: Module has no attribute 'betta'; did you mean 'beta'?"] * 2
