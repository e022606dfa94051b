"""Which GPUs and how many threads each worker has."""

from __future__ import annotations

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.slots import gpu_slots, threads


@pytest.mark.parametrize(
    ("visible", "settings", "expected"),
    [
        ("", {"workers": 2}, [None, None]),
        ("-1", {"workers": 1}, [None]),
        ("0", {}, ["0"]),
        ("0,1", {"workers": 2}, ["0", "1"]),
        ("2,5,7", {"workers": 2}, ["2", "5"]),
        ("4,6", {"workers": 3}, ["4", "6", "4"]),  # more workers than GPUs
        ("0,1,2,3", {"workers": 2, "gpus_per_run": 2}, ["0,1", "2,3"]),
        ("GPU-a,GPU-b", {"workers": 1, "gpus_per_run": 2}, ["GPU-a,GPU-b"]),
        ("0,1", {"workers": 2, "gpus_per_run": 0}, ["", ""]),
    ],
)
def test_gpus(
    monkeypatch: pytest.MonkeyPatch, visible: str, settings: dict[str, int], expected: list[str | None]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    slots = gpu_slots(Settings.read(settings))
    assert [slot.get("CUDA_VISIBLE_DEVICES") for slot in slots] == expected


def test_more_gpus_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(AnnealError, match="2 workers with 2 GPUs each need 4, and there are 3"):
        gpu_slots(Settings.read({"workers": 2, "gpus_per_run": 2}))


@pytest.mark.parametrize(
    ("cores", "settings", "expected"),
    [(8, {}, "8"), (8, {"workers": 3}, "2"), (2, {"workers": 4}, "1"), (2, {"workers": 2, "cpus_per_run": 3}, "3")],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, cores: int, settings: dict[str, int], expected: str) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    assert threads(Settings.read(settings)) == {"OMP_NUM_THREADS": expected}


def test_the_users_own_number_of_threads_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads(Settings.read({"workers": 2})) == {}
    assert threads(Settings.read({"workers": 2, "cpus_per_run": 1})) == {"OMP_NUM_THREADS": "1"}
