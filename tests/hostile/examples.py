"""Every valid config there is in the project, and one of each strategy and trigger source."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]

Settings = dict[str, Any]

_RAMP = {"start_value": 1.0, "end_value": 0.1, "total_steps": "50%"}
_FIRES = {"strategy": "TRIGGER_BASED", "values": [0.0, 0.1, 0.2], "current_index": 1, "at_end": "cycle", "cooldown": 2}

EACH: dict[str, Settings] = {
    **{f"ramp.{name}": {"strategy": name, **_RAMP} for name in ("CONSTANT_PACE", "linear", "cosine", "exponential")},
    "ramp.saturating": {"strategy": "saturating", **_RAMP, "rate": 4.0, "interval": "step", "frequency": 10},
    "ramp.polynomial": {"strategy": "Polynomial", **_RAMP, "power": 2, "round": True, "eval_value": 0.0},
    "ramp.sigmoid": {"strategy": "sigmoid", **_RAMP, "steepness": 8, "as_tensor": True, "object": "model"},
    "ramp.competence": {"strategy": "Competence", "start_value": 0.01, "total_steps": "50%", "power": 3},
    "constant": {"strategy": "constant", "value": 0.5, "attr_name": "loss.temperature"},
    "scheduled": {"strategy": "SCHEDULED", "schedule": {"0": 1.0, "10ep": 0.5, "50%": 0.1}},
    "milestones": {"strategy": "milestones", "schedule": {0: 1, 5: 2}, "scheduler_configs": {"interval": "epoch", "frequency": 2}},
    "cyclical": {"strategy": "cyclical", "cycle_length": 10, "min_value": 0.0, "max_value": 1.0, "wave_type": "triangle"},
    "restarts": {
        "strategy": "warm_restart", "restart_interval": 10, "restart_multiplier": 1.5,
        "base": {"strategy": "cosine", "start_value": 0.0, "end_value": 1.0, "total_steps": 8},
    },
    "sequence": {
        "strategy": "sequence",
        "parts": [
            {"strategy": "constant", "value": 0.0, "duration": 5},
            {"strategy": "warm_restart", "restart_interval": 4, "base": {"strategy": "linear", "end_value": 1.0}, "duration": "20ep"},
            {"strategy": "sigmoid", "end_value": 0.5},
        ],
    },
    "datamodule.batch_size": {"strategy": "linear", "start_value": 8, "end_value": 64, "scale_lr": "sqrt"},
    **{
        f"on.{source}": {**_FIRES, "trigger_source": source}
        for source in ("early_stopper_counter", "early_stopper_half_patience", "early_stopper_third_patience", "lr_scheduler_triggered")
    },
    "on.stop": {"strategy": "TRIGGER_BASED", "trigger_source": "early_stopper_triggered", "extend_training": True, "values": [1, 2], "monitor": "val_loss"},
    "on.below": {"strategy": "TRIGGER_BASED", "trigger_source": "metric_below", "monitor": "val_loss", "threshold": 0.5, "multiply": 0.5, "min_value": 0.01},
    "on.above": {"strategy": "TRIGGER_BASED", "trigger_source": "metric_above", "scheduler_configs": {"monitor": "acc"}, "threshold": 0.9, "multiply": 2, "max_value": 8},
    "on.plateau": {"strategy": "trigger_based", "trigger_source": "metric_plateau", "monitor": "acc", "mode": "max", "patience": 3, "min_delta": 0.01, "values": ["low", "high"]},
}  # fmt: skip

BETAS: list[Settings] = [
    {"beta_scheduler_type": "constant", "beta_scheduler_params": {"max_beta": 4.0}},
    *(
        {"beta_scheduler_type": kind, "beta_scheduler_params": {"max_beta": 1.0, "warmup_epochs": "30%", "min_beta": 0.1}}
        for kind in ("linear", "cosine", "Exponential")
    ),
    {"beta_scheduler_type": "exponential", "beta_scheduler_params": {"max_beta": 1.0, "warmup_epochs": 5, "rate": 3.0}, "interval": "step", "frequency": 5},
    {"beta_scheduler_type": "cyclical", "beta_scheduler_params": {"cycle_length": 10, "min_beta": 0.0, "max_beta": 1.0, "wave_type": "cosine"}, "eval_beta": 1.0},
    {
        "beta_scheduler_type": "warm_restart", "attr_name": "loss.beta",
        "beta_scheduler_params": {
            "base_scheduler_type": "cosine", "base_scheduler_kwargs": {"max_beta": 1.0, "warmup_epochs": 8},
            "restart_interval": 10, "restart_multiplier": 1.2,
        },
    },
]  # fmt: skip


def _blocks() -> list[Any]:
    """What stands in the configs and on the pages; but for searches, which have lists in the place of values."""
    configs = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if not path.name.startswith("search")]
    found = [yaml.safe_load(path.read_text()) for path in configs]
    found += [json.loads(path.read_text()) for path in sorted((ROOT / "configs").glob("*.json"))]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        found += [
            yaml.safe_load(block)
            for block in re.findall(r"^```yaml(?! search)[^\n]*\n(.*?)```", page.read_text(), re.M | re.S)
        ]
    return found


def _within(node: Any, key: str) -> list[Any]:
    """Every value that stands under a key, at any depth."""
    if isinstance(node, dict):
        return ([node[key]] if key in node else []) + [
            found for value in node.values() for found in _within(value, key)
        ]
    return [found for value in node for found in _within(value, key)] if isinstance(node, list) else []


def written_parameters() -> list[Settings]:
    """Each parameter of an ``annealing_params`` in a config or on a page, alone in a mapping."""
    found = []
    for block in _blocks():
        for params in [*_within(block, "annealing_params"), block]:
            if isinstance(params, dict):
                found += [{name: s} for name, s in params.items() if isinstance(s, dict) and "strategy" in s]
    return found


def written_betas() -> list[Settings]:
    """The arguments of each `BetaScheduleCallback` in a config or on a page."""
    callbacks = [
        c for block in _blocks() for cs in _within(block, "callbacks") for c in (cs if isinstance(cs, list) else [cs])
    ]
    return [c["init_args"] for c in callbacks if str(c.get("class_path", "")).endswith("BetaScheduleCallback")]
