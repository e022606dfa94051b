"""What each of the runs at work has of the machine: its GPUs and its threads."""

from __future__ import annotations

import os

from lightning_anneal.errors import AnnealError
from lightning_anneal.search.settings import Settings

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"


def threads(settings: Settings) -> dict[str, str]:
    """The environment that keeps runs at the same time from taking each other's cores: each has its share of them."""
    if settings.cpus_per_run is None and _THREADS in os.environ:
        return {}
    return {_THREADS: str(settings.cpus_per_run or max(1, (os.cpu_count() or 1) // (settings.workers or 1)))}


def gpu_slots(settings: Settings) -> list[dict[str, str]]:
    """The environment of each worker: which GPUs it may see.

    Raises:
        AnnealError: If there are too few for what was asked for.
    """
    devices, workers = _gpus(), settings.workers or 1
    each = settings.gpus_per_run
    if each is None:
        # One for each, and the same ones again where there are more workers.
        return [{_VISIBLE: devices[i % len(devices)]} if devices else {} for i in range(workers)]
    if each * workers > len(devices):
        needed = f"{workers} workers with {each} GPUs each need {each * workers}"
        raise AnnealError("search.gpus_per_run", f"{needed}, and there are {len(devices)}; take fewer workers")
    return [{_VISIBLE: ",".join(devices[i * each : (i + 1) * each])} for i in range(workers)]


def _gpus() -> list[str]:
    """The GPUs that this process may use, as the environment names them."""
    visible = os.environ.get(_VISIBLE)
    if visible is not None:
        return [device for device in visible.split(",") if device.strip() not in ("", "-1")]
    import torch

    return [str(i) for i in range(torch.cuda.device_count())]
