"""What an engine needs, and which one it is."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.search import engines
from lightning_anneal.search.engines import check_needs, make_engine
from lightning_anneal.search.local_engine import LocalEngine
from lightning_anneal.search.settings import Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"engine": "ray"}, "--engine ray: needs ray: pip install 'lightning_anneal[ray]'"),
        ({"algo": "tpe", "n_runs": 3}, "--algo tpe: needs optuna: pip install 'lightning_anneal[optuna]'"),
        ({"pruner": "median"}, "--pruner: needs optuna: pip install 'lightning_anneal[optuna]'"),
        ({"command": "pyhton a.py {config}"}, "search.command: there is no program 'pyhton' here"),
    ],
)
def test_what_is_not_there(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], message: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(AnnealError) as error:
        check_needs(Settings(**given))
    assert str(error.value) == message


def test_of_ray_the_cluster_is_looked_for_and_no_gpu_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str | None] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "ray" or None)
    monkeypatch.setattr(engines, "look_for_cluster", looked.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    check_needs(Settings(engine="ray", ray_address="head:6379", gpus_per_run=1))
    assert looked == ["head:6379"]
    with pytest.raises(AnnealError, match=r"^search\.gpus_per_run: 1 workers with 1 GPUs each need 1, and there are 0"):
        check_needs(Settings(gpus_per_run=1))


def test_the_engine_that_is_named_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "RayEngine", lambda settings: ("ray", settings))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    settings = Settings(engine="ray")
    assert make_engine(settings) == ("ray", settings)
    local = make_engine(Settings())
    local.close()
    assert type(local) is LocalEngine
