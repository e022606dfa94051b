"""The values as rows and as CSV: each is what the schedule gives, at the right epoch and step."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

import lightning_anneal
from lightning_anneal import Cosine, Cyclical, Exponential, Sigmoid
from lightning_anneal.preview.planned_run import PlannedRun
from lightning_anneal.preview.simulate import simulate
from tests.written import on

CURVES: dict[str, Any] = {
    "cosine": Cosine(0.1, 1e-7, 7),
    "exponential": Exponential(1e-150, 1e150, 9),
    "wave": Cyclical(3.3, -1, 1 / 3),
    "sigmoid": Sigmoid(0, 1, 5),
}


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def by_step(curve: Any) -> dict[str, Any]:
    """A schedule by step, in settings."""
    return {
        "strategy": "linear",
        "start_value": curve[0],
        "end_value": curve[1],
        "total_steps": curve[2],
        "interval": "step",
    }


def test_by_epoch() -> None:
    rows = read(lightning_anneal.HyperparamAnnealingCallback(CURVES).preview(9).to_csv())
    assert list(rows[0]) == ["epoch", *CURVES]
    assert [row["epoch"] for row in rows] == [str(epoch) for epoch in range(9)]
    for name, curve in CURVES.items():
        assert [float(row[name]) for row in rows] == [curve(epoch) for epoch in range(9)]


def test_epochs_and_steps() -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({**CURVES, "s": by_step((0.1, 0.7, 9))}).preview(4, 3)
    rows = read(preview.to_csv())
    assert list(rows[0]) == ["epoch", "step", *CURVES, "s"]
    assert [int(row["step"]) for row in rows] == list(range(12))
    assert [int(row["epoch"]) for row in rows] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for name, curve in CURVES.items():
        assert [float(row[name]) for row in rows] == [curve(epoch) for epoch in (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3)]
    assert [float(row["s"]) for row in rows] == preview["s"]


@pytest.mark.parametrize(
    ("max_steps", "per_epoch", "epochs"),
    [
        (10, 4.0, [0] * 4 + [1] * 4 + [2] * 2),
        (7, 3.0, [0] * 3 + [1] * 3 + [2]),
        (1, 5.0, [0]),
        (6, 3.0, [0] * 3 + [1] * 3),
        (29, 29.0, [0] * 29),
    ],
)
def test_a_run_that_ends_inside_an_epoch(max_steps: int, per_epoch: float, epochs: list[int]) -> None:
    rules = lightning_anneal.HyperparamAnnealingCallback(
        {"e": Cosine(0, 1, 2), "s": by_step((0.0, 5.0, 5))}
    )._engine.rules
    preview = simulate(PlannedRun(rules, max_steps=max_steps, steps_per_epoch=per_epoch))
    rows = read(preview.to_csv())
    assert [int(row["epoch"]) for row in rows] == epochs
    assert [int(row["step"]) for row in rows] == list(range(max_steps))
    assert [float(row["s"]) for row in rows] == [float(min(step, 5)) for step in range(max_steps)]
    assert preview["e"] == [Cosine(0, 1, 2)(epoch) for epoch in range(epochs[-1] + 1)]


@pytest.mark.parametrize("per_epoch", [3, 7, 11, 49, 93, 107, 1000])
def test_no_step_is_lost_to_rounding(per_epoch: int) -> None:
    rules = lightning_anneal.HyperparamAnnealingCallback({"s": by_step((0.0, 5.0, 5))})._engine.rules
    for max_steps in range(1, 3 * per_epoch, max(1, per_epoch // 40)):
        preview = simulate(PlannedRun(rules, max_steps=max_steps, steps_per_epoch=per_epoch))
        assert preview.parameters[0].count == max_steps


def test_words_and_booleans() -> None:
    rules = {
        "word": on("early_stopper_counter", values=["slow, or", 'fa"st']),
        "flag": on("early_stopper_counter", values=[True, False]),
    }
    preview = lightning_anneal.HyperparamAnnealingCallback(rules).preview(
        3, metrics={"v": [1.0, 2.0, 3.0]}, early_stopping={"monitor": "v", "patience": 5}
    )
    rows = read(preview.to_csv())
    assert [row["word"] for row in rows] == ["slow, or", "slow, or", 'fa"st']
    assert [row["flag"] for row in rows] == ["True", "True", "False"]


def test_into_a_file(tmp_path: Path) -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback(CURVES).preview(3)
    path = tmp_path / "values.csv"
    text = preview.to_csv(path)
    assert path.read_bytes() == text.encode()
    assert preview.save(tmp_path / "again.CSV") == tmp_path / "again.CSV"
    assert (tmp_path / "again.CSV").read_bytes() == text.encode()


def test_nowhere(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"can't be written: No such file or directory$"):
        lightning_anneal.HyperparamAnnealingCallback(CURVES).preview(3).to_csv(tmp_path / "no" / "values.csv")


def test_nothing_to_write() -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": {"strategy": "linear", "end_value": 1}}).preview(3)
    assert preview.to_csv() == ""
    assert list(preview.rows()) == []


def test_an_early_end_shortens_all() -> None:
    rules = {"a": on("early_stopper_counter"), "b": Cosine(0, 1, 8), "s": by_step((0.0, 5.0, 5))}
    preview = lightning_anneal.HyperparamAnnealingCallback(rules).preview(
        9, 2, metrics={"v": [1.0] * 9}, early_stopping={"monitor": "v", "patience": 2}
    )
    assert [(row["epoch"], row["step"], row["a"], row["s"]) for row in preview.rows()] == [
        (0, 0, 0, 0), (0, 1, 0, 1), (1, 2, 0, 2), (1, 3, 0, 3), (2, 4, 1, 4), (2, 5, 1, 5),
    ]  # fmt: skip
