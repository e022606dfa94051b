"""Lineages: the values that a run of a population had, epoch by epoch, as a schedule that any run can follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search.configs import to_yaml
from lightning_anneal.search.files import read_json

Lineage = list[tuple[int, dict[str, Any]]]
"""The values by name, from an epoch on."""

STATE = "population.json"
CALLBACK = "lightning_anneal.HyperparamAnnealingCallback"
NAME = "pbt"


def annealing_params(lineage: Lineage) -> dict[str, Any]:
    """A lineage as the settings of `HyperparamAnnealingCallback`; an epoch stands there if the value changed.

    Example:
        >>> annealing_params([(0, {"beta": 1.0}), (2, {"beta": 1.0}), (4, {"beta": 1.2})])
        {'beta': {'strategy': 'SCHEDULED', 'schedule': {0: 1.0, 4: 1.2}}}
    """
    schedules: dict[str, dict[int, Any]] = {name: {} for name in lineage[0][1]}
    for epoch, values in lineage:
        for name, value in values.items():
            known = list(schedules[name].values())
            if not known or known[-1] != value:
                schedules[name][epoch] = value
    return {name: {"strategy": "SCHEDULED", "schedule": schedule} for name, schedule in schedules.items()}


def read_lineages(folder: Path) -> list[Lineage]:
    """The lineages of the members of a population, from the search's folder; none before its first exchange."""
    known = read_json(folder / STATE) or {"lineages": []}
    return [[(epoch, values) for epoch, values in each] for each in known["lineages"]]


def values_at(lineage: Lineage, epoch: int) -> dict[str, Any]:
    """The values in force in an epoch.

    Example:
        >>> values_at([(0, {"lr": 0.1}), (2, {"lr": 0.2})], 1)
        {'lr': 0.1}
    """
    return [values for begin, values in lineage if begin <= epoch][-1]


def with_lineage(config: Mapping[str, Any], lineage: Lineage) -> dict[str, Any]:
    """A config whose run follows a lineage, by a callback of its own.

    Not by the model's arguments: Lightning restores an optimizer after it was made from them, and with it the values of
    whoever wrote the checkpoint. A callback applies its own again.

    Raises:
        AnnealError: If another callback of the config anneals one of these.
    """
    followed = deepcopy(dict(config))
    trainer = followed["trainer"]
    known = trainer.get("callbacks") or []
    callbacks = known if isinstance(known, list) else [known]
    for callback in callbacks:
        arguments = callback.get("init_args") if isinstance(callback, Mapping) else None
        for name in (arguments or {}).get("annealing_params") or {}:
            if name in lineage[0][1]:
                raise AnnealError(
                    f"search.pbt.annealing_params.{name}", f"is annealed by {quote(callback['class_path'])}"
                )
    own = {"class_path": CALLBACK, "init_args": {"name": NAME, "annealing_params": annealing_params(lineage)}}
    trainer["callbacks"] = [*callbacks, own]
    return followed


def lineage_text(lineage: Lineage, title: Sequence[str]) -> str:
    """A lineage as YAML, an ``annealing_params`` mapping under lines that tell where it is from."""
    comments = "".join(f"# {line}\n" for line in title)
    return comments + to_yaml({"annealing_params": annealing_params(lineage)})
