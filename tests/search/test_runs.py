"""What can be read in the folder of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from lightning_anneal.search.runs import Run


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ('{"state": "done"}', "done"),
        ("{}", "waiting"),
        # Whatever it is, it isn't finished.
        ("{", "damaged"),
        ('{"attempts": 1}', "damaged"),
        ("[1]", "damaged"),
        ('"done"', "damaged"),
        ('{"state": "dnoe"}', "damaged"),
    ],
)
def test_the_state_of_a_run(tmp_path: Path, text: str, state: str) -> None:
    assert Run(0, tmp_path, {}).state == "waiting"
    (tmp_path / "status.json").write_text(text)
    assert Run(0, tmp_path, {}).state == state
