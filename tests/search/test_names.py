"""Names of run folders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from lightning_anneal.search.names import labels, make_folder, run_name

AT = datetime(2026, 3, 4, 5, 6, 7)


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.lr"], ["lr"]),
        (["a.lr", "b.size"], ["lr", "size"]),
        (["encoder.p", "decoder.p"], ["encoder.p", "decoder.p"]),
        (["x.net.p", "y.net.p", "lr"], ["x.net.p", "y.net.p", "lr"]),
        (["lr", "model.lr"], ["lr", "model.lr"]),
        (["callbacks.0.init_args.annealing_params[a.b].end", "lr"], ["end", "lr"]),
    ],
)
def test_labels(paths: list[str], expected: list[str]) -> None:
    assert list(labels(paths).values()) == expected


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        ({"a.learning_rate": 0.001, "b.batch_size": 32}, "run_050607_learning_rate_0.001_batch_size_32"),
        # What %g would make one are two.
        ({"lr": 0.1234567}, "run_050607_lr_0.1234567"),
        ({"lr": 0.1234568}, "run_050607_lr_0.1234568"),
        ({"lr": 1e-7}, "run_050607_lr_1e-07"),
        ({"name": "a/b ../c", "on": True, "none": None}, "run_050607_name_a-b-..-c_on_True_none_None"),
        ({"betas": [0.9, 0.999]}, "run_050607_betas_0.9-0.999"),
        ({"text": "éß"}, "run_050607_text_-"),
        ({}, "run_050607"),
    ],
)
def test_names(point: dict[str, Any], expected: str) -> None:
    assert run_name("run", AT, point) == expected


def test_long_names_are_cut_and_stay_apart() -> None:
    names = [run_name("run", AT, {"text": "x" * 300 + end}) for end in "ab"]
    assert [len(name) for name in names] == [120, 120]
    assert names[0] != names[1]


def test_folders_never_collide(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: make_folder(tmp_path / "runs", "same"), range(40)))
    assert len(set(folders)) == 40
    assert {folder.name for folder in folders} == {"same", *(f"same-{n}" for n in range(2, 41))}
