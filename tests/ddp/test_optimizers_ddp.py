"""Two processes on the CPU: lengths are those of a rank's own steps, and both stop together."""

from __future__ import annotations

import json
from pathlib import Path

from tests.ddp.launch import launch


def test_the_run_is_as_long_as_a_ranks_own_steps(tmp_path: Path) -> None:
    done = launch("optimizer_script.py", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    seen = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    # 8 batches on two ranks are 4 steps an epoch, 8 in all.
    assert seen == [[1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]] * 2


def test_a_nan_on_one_rank_stops_both_with_the_same_line(tmp_path: Path) -> None:
    assert launch("optimizer_script.py", tmp_path, "nan").returncode != 0
    lines = [(tmp_path / f"rank{rank}.err").read_text() for rank in (0, 1)]
    assert lines[0].startswith("loss: NaN in epoch 0, batch 1, with a learning rate of 0.875; try a tenth of it")
    assert lines[1] == lines[0]
