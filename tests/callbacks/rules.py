"""Short ways to write settings."""

from __future__ import annotations

from typing import Any

from lightning_anneal import HyperparamAnnealingCallback


def ramp(end: float = 3.0, **settings: Any) -> dict[str, Any]:
    return {"strategy": "linear", "start_value": 0.0, "end_value": end, **settings}


def anneal(**settings: Any) -> HyperparamAnnealingCallback:
    return HyperparamAnnealingCallback({"beta": ramp(**settings)})
