"""What is wrong in a config: all of it, each in a line of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from lightning_anneal.checks import choice
from lightning_anneal.engine import Engine
from lightning_anneal.errors import AnnealError, nearest, quote, suggestion
from lightning_anneal.follow import Follow
from lightning_anneal.horizons import HORIZON_POLICIES
from lightning_anneal.optim.configure import configure_optimizers
from lightning_anneal.optim.groups import check_groups
from lightning_anneal.optim.optimizers import build_optimizer
from lightning_anneal.optim.registry import checked_mapping
from lightning_anneal.optim.scheduler_configs import read_scheduler_config
from lightning_anneal.optim.specs import read_spec
from lightning_anneal.preview.followers import leader_of, rule_of_place
from lightning_anneal.preview.model_source import ModelSource
from lightning_anneal.preview.planned_run import PlannedRun
from lightning_anneal.preview.rates import Rates
from lightning_anneal.preview.run_config import AnnealingCallback, RunConfig, place_of
from lightning_anneal.rules import Rule
from lightning_anneal.targets.path import parse_path
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.responses import NextOf

PREFIXES = ("optimizer", "optimizers", "datamodule", "trainer", "hparams")
"""What a path can begin with that is no attribute of the module."""


def find_problems(
    run: RunConfig, planned: PlannedRun, rates: Rates | None, source: ModelSource | None
) -> list[AnnealError]:
    """Every mistake that a fit would stop at, as far as the config alone shows it, beside those found in reading it.

    Args:
        run: The config.
        planned: The run that it plans.
        rates: Its optimizer, if that could be built.
        source: The source of its model, if that was found.
    """
    found: list[AnnealError] = []
    for callback in run.callbacks:
        found += _in_callback(callback)
    found += _twice(run)
    for rule in planned.rules:
        found += _tried(lambda rule=rule: Engine([rule]))  # type: ignore[misc]
        found += _in_model(rule, source)
        if rule.sizes_batches and rule.interval == "step":
            found.append(AnnealError(f"{rule.name}.interval", "must be 'epoch': a batch size changes between epochs"))
        if isinstance(rule.source, Reaction):
            found += _in_trigger(rule, rule.source, run, rates)
    for index, callback in enumerate(run.callbacks):
        for rule in callback.rules:
            if isinstance(rule.source, Follow):
                found += _in_follow(rule, rule.source, callback, source)
                found += _too_late(rule, rule.source, run.callbacks[index + 1 :])
    return found


def optimizer_problems(settings: Mapping[str, Any]) -> list[AnnealError]:
    """Mistakes in the keys of `configure_optimizers` and in its groups."""
    known = [name for name in inspect.signature(configure_optimizers).parameters if name not in ("module", "unknown")]
    found = [
        AnnealError("optim", f"unknown key {quote(key)}{suggestion(key, known)}")
        for key in settings
        if key not in known
    ]
    kwargs = settings.get("scheduler_kwargs")
    parameter = [nn.Parameter(torch.zeros(1))]
    return [
        *found,
        *_tried(lambda: check_groups(settings)),
        # Each by itself, so that a mistake in one hides none in another.
        *_tried(lambda: build_optimizer(parameter, str(settings.get("optimizer") or "Adam"))),
        *_tried(lambda: _read_configs(settings)),
        *_tried(lambda: read_spec("scheduler", settings.get("scheduler") or "StepLR", "scheduler_kwargs", kwargs)),
    ]


def _read_configs(settings: Mapping[str, Any]) -> None:
    """Without a scheduler a fit only warns of them."""
    if settings.get("scheduler") is not None:
        read_scheduler_config(checked_mapping("scheduler_configs", settings.get("scheduler_configs")))


def _in_model(rule: Rule, source: ModelSource | None) -> list[AnnealError]:
    """A name that the model doesn't have, where its source shows all that it has."""
    home, key = place_of(rule)
    if source is None or not source.whole or home != "model" or rule.path != key or rule.optional:
        return []
    if key in source.attributes:
        return []
    return [
        AnnealError(rule.name, f"the source of {source.name} sets no {quote(key)}{nearest(key, source.attributes)}")
    ]


def _in_callback(callback: AnnealingCallback) -> list[AnnealError]:
    found: list[AnnealError] = []
    names = [rule.name for rule in callback.rules]
    shown = callback.arguments.get("prog_bar") or []
    if not isinstance(shown, str | list):
        found.append(AnnealError(f"{callback.kind}.prog_bar", f"must be a list of names, got {quote(shown)}"))
        shown = []
    for name in [shown] if isinstance(shown, str) else shown:
        if name not in names and names:
            found.append(
                AnnealError(f"{callback.kind}.prog_bar", f"unknown parameter {quote(name)}{suggestion(name, names)}")
            )
    name = callback.arguments.get("name")
    if name is not None and (not isinstance(name, str) or not name):
        found.append(AnnealError(f"{callback.kind}.name", f"must be a string, got {quote(name)}"))
    policy = callback.arguments.get("on_horizon_change", "keep")
    return found + _tried(lambda: choice(f"{callback.kind}.on_horizon_change", policy, HORIZON_POLICIES))


def _twice(run: RunConfig) -> list[AnnealError]:
    """Two callbacks of one name, and two rules of one place."""
    found: list[AnnealError] = []
    keys: set[tuple[str, str]] = set()
    places: dict[str, str] = {}
    for callback in run.callbacks:
        key = (callback.kind, repr(callback.arguments.get("name")))
        if key in keys:
            what = "a second callback of this class needs a name of its own"
            found.append(AnnealError(f"{callback.kind}.name", what))
        keys.add(key)
        for rule in callback.rules:
            place = f"{rule.object}.{rule.path}" if isinstance(rule.object, str) else rule.path
            place = place.removeprefix("model.")
            if place in places:
                found.append(AnnealError(rule.name, f"the same place as '{places[place]}'; keep one of them"))
            places.setdefault(place, rule.name)
    return found


def _in_trigger(rule: Rule, reaction: Reaction, run: RunConfig, rates: Rates | None) -> list[AnnealError]:
    """What a trigger watches and isn't there."""
    if rule.optional:
        return []
    if reaction.watches == "stopper":
        monitors = [stopper.monitor for stopper in run.stoppers]
        if not monitors:
            what = f"{reaction.source} needs an EarlyStopping callback, and trainer.callbacks has none"
            return [AnnealError(f"{rule.name}.trigger_source", what)]
        if reaction.monitor is None and len(monitors) > 1:
            what = f"missing; there are several EarlyStopping callbacks ({', '.join(monitors)}), say which is meant"
            return [AnnealError(f"{rule.name}.monitor", what)]
        if reaction.monitor is not None and reaction.monitor not in monitors:
            known = suggestion(reaction.monitor, monitors)
            return [AnnealError(f"{rule.name}.monitor", f"no EarlyStopping watches {quote(reaction.monitor)}{known}")]
    if reaction.watches == "lr" and rates is not None and rates.monitor is None:
        what = "lr_scheduler_triggered needs a ReduceLROnPlateau, and optim gives none"
        return [AnnealError(f"{rule.name}.trigger_source", what)]
    return []


def _in_follow(
    rule: Rule, follow: Follow, callback: AnnealingCallback, source: ModelSource | None
) -> list[AnnealError]:
    """What is followed and isn't there, or is no number."""
    where = f"{rule.name}.other"
    leader = leader_of(rule, callback.rules)
    if leader is not None:
        response = leader.source.response if isinstance(leader.source, Reaction) else None
        if isinstance(response, NextOf) and response.kind is not float:
            return [AnnealError(where, f"{follow.other} holds {quote(response.values[0])}, which is no number")]
        return []
    given = callback.arguments.get("annealing_params")
    names = list(map(str, given)) if isinstance(given, Mapping) else []
    # What is wrong with one of them is told there.
    if follow.other in names or (wrong := _tried(lambda: parse_path(where, follow.other))):
        return [] if follow.other in names else wrong
    first = follow.other.split(".")[0]
    if source is None or not source.whole or first in (*PREFIXES, *source.attributes):
        return []
    what = f"{quote(follow.other)} is no annealed parameter, and the source of {source.name} sets no {quote(first)}"
    known = PREFIXES if "." in follow.other else names
    return [AnnealError(where, what + nearest(first, [*known, *source.attributes]))]


def _too_late(rule: Rule, follow: Follow, later: Sequence[AnnealingCallback]) -> list[AnnealError]:
    """What is followed is annealed by a callback that has its turn later."""
    for callback in later:
        if rule_of_place(follow.other, callback.rules) is not None:
            what = f"{follow.other} is annealed by a {callback.kind} whose turn comes after this one's"
            return [AnnealError(f"{rule.name}.other", f"{what}; put that callback in front, or both into one")]
    return []


def _tried(look: Callable[[], object]) -> list[AnnealError]:
    try:
        look()
    except AnnealError as error:
        return [error]
    return []
