"""What stands in configs. It needs no torch, as little as what reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def on(source: str, **settings: Any) -> dict[str, Any]:
    """The settings of a parameter that goes through 0, 1, 2, ... at the events of a source."""
    answer = {} if "multiply" in settings else {"values": [float(n) for n in range(20)]}
    return {"strategy": "TRIGGER_BASED", "trigger_source": source, **answer, **settings}


def annealing(**params: Any) -> dict[str, Any]:
    """The callback in a config."""
    return {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": {"annealing_params": params}}


def stopping(**options: Any) -> dict[str, Any]:
    """An EarlyStopping in a config."""
    path = "lightning.pytorch.callbacks.EarlyStopping"
    return {"class_path": path, "init_args": {"monitor": "val_loss", "patience": 6, **options}}
