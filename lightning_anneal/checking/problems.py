"""What is wrong in a config: all of it, each in a line of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from lightning_anneal.checks import choice
from lightning_anneal.engine import Engine
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.horizons import HORIZON_POLICIES
from lightning_anneal.optim.configure import configure_optimizers
from lightning_anneal.optim.groups import check_groups
from lightning_anneal.preview.planned_run import PlannedRun
from lightning_anneal.preview.rates import Rates
from lightning_anneal.preview.run_config import AnnealingCallback, RunConfig
from lightning_anneal.rules import Rule
from lightning_anneal.triggers.reaction import Reaction


def find_problems(run: RunConfig, planned: PlannedRun, rates: Rates | None) -> list[AnnealError]:
    """Every mistake that a fit would stop at, as far as the config alone shows it, beside those found in reading it.

    Args:
        run: The config.
        planned: The run that it plans.
        rates: Its optimizer, if that could be built.
    """
    found: list[AnnealError] = []
    for callback in run.callbacks:
        found += _in_callback(callback)
    found += _twice(run)
    for rule in planned.rules:
        found += _tried(lambda rule=rule: Engine([rule]))  # type: ignore[misc]
        if isinstance(rule.source, Reaction):
            found += _in_trigger(rule, rule.source, run, rates)
    return found


def optimizer_problems(settings: Mapping[str, object]) -> list[AnnealError]:
    """Mistakes in the keys of `configure_optimizers` and in its groups."""
    known = [name for name in inspect.signature(configure_optimizers).parameters if name not in ("module", "unknown")]
    found = [
        AnnealError("optim", f"unknown key {quote(key)}{suggestion(key, known)}")
        for key in settings
        if key not in known
    ]
    return found + _tried(lambda: check_groups(settings))


def _in_callback(callback: AnnealingCallback) -> list[AnnealError]:
    found = []
    names = [rule.name for rule in callback.rules]
    shown = callback.arguments.get("prog_bar") or []
    for name in [shown] if isinstance(shown, str) else shown:
        if name not in names and names:
            found.append(
                AnnealError(f"{callback.kind}.prog_bar", f"unknown parameter {quote(name)}{suggestion(name, names)}")
            )
    policy = callback.arguments.get("on_horizon_change", "keep")
    return found + _tried(lambda: choice(f"{callback.kind}.on_horizon_change", policy, HORIZON_POLICIES))


def _twice(run: RunConfig) -> list[AnnealError]:
    """Two callbacks of one name, and two rules of one place."""
    found: list[AnnealError] = []
    keys: set[tuple[str, object]] = set()
    places: dict[str, str] = {}
    for callback in run.callbacks:
        key = (callback.kind, callback.arguments.get("name"))
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


def _tried(look: Callable[[], object]) -> list[AnnealError]:
    try:
        look()
    except AnnealError as error:
        return [error]
    return []
