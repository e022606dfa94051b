"""Values named in ``prog_bar`` stand in the bars of tqdm and of rich."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar

from lightning_anneal import BetaScheduleCallback, HyperparamAnnealingCallback

BY_EPOCH = {"strategy": "linear", "start_value": 1.0, "end_value": 4.0, "total_steps": 3}
CALLBACKS = {
    "epoch": lambda: HyperparamAnnealingCallback({"beta": BY_EPOCH, "loss.margin": BY_EPOCH}, prog_bar=["beta"]),
    "beta": lambda: BetaScheduleCallback(
        "linear", {"min_beta": 1.0, "max_beta": 4.0, "warmup_epochs": 3}, prog_bar=["beta"]
    ),
}


@pytest.mark.parametrize("kind", CALLBACKS)
def test_tqdm(kind: str, fit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit(CALLBACKS[kind](), TQDMProgressBar(leave=True), enable_progress_bar=True)
    out, err = capsys.readouterr()
    epochs = [
        line for line in (out + err).replace("\r", "\n").splitlines() if line.startswith("Epoch") and "100%" in line
    ]
    shown = [
        next(value for value in ("1.000", "2.000", "3.000", "4.000") if f"beta={value}" in line) for line in epochs
    ]
    assert sorted(set(shown), key=shown.index) == ["1.000", "2.000", "3.000", "4.000"]
    assert "margin" not in out + err


@pytest.mark.parametrize("kind", CALLBACKS)
def test_rich(kind: str, fit: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fit(CALLBACKS[kind](), RichProgressBar(leave=True), enable_progress_bar=True)
    epochs = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert [line.rsplit("beta: ", 1)[-1].strip() for line in epochs] == ["1.000", "2.000", "3.000", "4.000"]
    assert not any("margin" in line for line in epochs)
