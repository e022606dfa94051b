"""Reads the settings of the strategies that steer themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from lightning_anneal.checks import choice, not_negative, number, positive
from lightning_anneal.clock import Length
from lightning_anneal.controllers.constraint import ConstraintRecipe, Method
from lightning_anneal.controllers.gate import GateRecipe
from lightning_anneal.controllers.pi_control import Effect, PIControlRecipe
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.recipes import Ready, Recipe
from lightning_anneal.schedule_settings import Settings, Strategy, as_mapping, known_keys, read_recipe
from lightning_anneal.schedules import Constant, Schedule
from lightning_anneal.triggers.settings import monitor_of

_BOUNDS = ("min_value", "max_value")
_STEERED = ("monitor", "effect", "start_value", *_BOUNDS)
_GAINS = {"geco": {"rate": 0.01, "momentum": 0.99}, "pi": {"ki": 0.01, "kp": 0.01, "momentum": 0.0}}


def read_monitor(where: str, settings: Settings) -> str:
    """The metric that is watched.

    Raises:
        AnnealError: If it is missing, or given twice.
    """
    if (monitor := monitor_of(where, settings)) is None:
        raise AnnealError(f"{where}.monitor", f"missing; {str(settings['strategy']).lower()} needs it")
    return monitor


def read_aim(where: str, value: object) -> Recipe:
    """What a metric is to be: a number, or a schedule.

    Raises:
        AnnealError: If it is neither, or would begin at the value found: that is none of a metric's.
    """
    recipe = _read_curve(where, value) or Ready(Constant(number(where, value)))
    if recipe.needs_start:
        what = "missing; there is no value of a metric to be found (milestones: give one for 0)"
        raise AnnealError(f"{where}.start_value", what)
    return recipe


def _read_pi_control(where: str, settings: Settings) -> PIControlRecipe:
    low, high = _bounds(where, settings, 0.0, 1.0)
    return PIControlRecipe(
        read_monitor(where, settings),
        read_aim(f"{where}.set_point", settings["set_point"]),
        _gain(where, settings, "kp", 0.01),
        _gain(where, settings, "ki", 0.0001),
        low,
        high,
        _start(where, settings, low, high),
        _effect(where, settings),
    )


def _read_constraint(where: str, settings: Settings) -> ConstraintRecipe:
    method = cast(Method, choice(f"{where}.method", _or(settings, "method", "geco"), tuple(_GAINS)))
    low, high = _bounds(where, settings, 1e-6 if method == "geco" else 0.0, 1e6)
    if method == "geco" and low <= 0:
        raise AnnealError(f"{where}.min_value", f"must be positive, or a factor could never raise it, got {low:g}")
    for key in ("rate", "ki", "kp"):
        if settings.get(key) is not None and key not in _GAINS[method]:
            owner = next(name for name, gains in _GAINS.items() if key in gains)
            raise AnnealError(f"{where}.{key}", f"is for method {owner}, not for {method}")
    gains = {key: _gain(where, settings, key, default) for key, default in _GAINS[method].items()}
    if gains["momentum"] >= 1:
        raise AnnealError(f"{where}.momentum", f"must be below 1, got {quote(settings['momentum'])}")
    return ConstraintRecipe(
        read_monitor(where, settings),
        read_aim(f"{where}.limit", settings["limit"]),
        _start(where, settings, low, high),
        low,
        high,
        choice(f"{where}.mode", _or(settings, "mode", "min"), ("min", "max")) == "max",
        _effect(where, settings),
        method,
        gains,
    )


def _read_gate(where: str, settings: Settings) -> GateRecipe:
    when = as_mapping(f"{where}.advance_when", settings["advance_when"])
    known_keys(f"{where}.advance_when", when, ("monitor", "below", "above"))
    monitor = when.get("monitor")
    if monitor is None:
        raise AnnealError(f"{where}.advance_when.monitor", "missing, as in {monitor: val_loss, below: 0.5}")
    if not isinstance(monitor, str) or not monitor:
        raise AnnealError(f"{where}.advance_when.monitor", f"must be the name of a metric, got {quote(monitor)}")
    given = [key for key in ("below", "above") if when.get(key) is not None]
    if len(given) != 1:
        what = "give below or above, not both" if given else "missing; give below, or above"
        raise AnnealError(f"{where}.advance_when.below", what)
    schedule = _read_curve(f"{where}.schedule", settings["schedule"])
    if schedule is None:
        what = f"must be a schedule, such as {{strategy: linear, end_value: 1}}, got {quote(settings['schedule'])}"
        raise AnnealError(f"{where}.schedule", what)
    wait = None if settings.get("max_wait") is None else Length.parse(f"{where}.max_wait", settings["max_wait"])
    if wait is not None and not wait.unit and wait.amount < 1:
        raise AnnealError(f"{where}.max_wait", f"must be at least 1, got {wait}")
    return GateRecipe(
        schedule,
        monitor,
        number(f"{where}.advance_when.{given[0]}", when[given[0]]),
        given[0] == "above",
        wait,
    )


def _read_curve(where: str, value: object) -> Recipe | None:
    """A schedule, written as settings or made in Python; ``None`` for what is none."""
    if isinstance(value, Mapping):
        return read_recipe(where, dict(value), ("strategy",))
    if isinstance(value, Schedule) or (callable(value) and not isinstance(value, type)):
        return Ready(cast("Callable[[float], float]", value))
    return None


def _bounds(where: str, settings: Settings, low: float, high: float) -> tuple[float, float]:
    least, most = (
        number(f"{where}.{key}", _or(settings, key, default)) for key, default in zip(_BOUNDS, (low, high), strict=True)
    )
    if least >= most:
        raise AnnealError(f"{where}.min_value", f"must be below max_value, got {least:g} and {most:g}")
    return least, most


def _start(where: str, settings: Settings, low: float, high: float) -> float | None:
    if settings.get("start_value") is None:
        return None
    start = number(f"{where}.start_value", settings["start_value"])
    if not low <= start <= high:
        what = f"must be from min_value to max_value, {low:g} to {high:g}, got {start:g}"
        raise AnnealError(f"{where}.start_value", what)
    return start


def _gain(where: str, settings: Settings, key: str, default: float) -> float:
    value = _or(settings, key, default)
    # A gain of 0 turns its part off; without an integral nothing would ever be reached.
    return positive(f"{where}.{key}", value) if key in ("ki", "rate") else not_negative(f"{where}.{key}", value)


def _effect(where: str, settings: Settings) -> Effect:
    return cast(Effect, choice(f"{where}.effect", _or(settings, "effect", "lowers"), ("lowers", "raises")))


def _or(settings: Settings, key: str, default: Any) -> Any:
    return default if settings.get(key) is None else settings[key]


CONTROLLER_STRATEGIES = {
    "pi_control": Strategy(_read_pi_control, (*_STEERED, "set_point", "kp", "ki"), ("set_point",)),
    "constraint": Strategy(
        _read_constraint, (*_STEERED, "limit", "mode", "method", "rate", "ki", "kp", "momentum"), ("limit",)
    ),
    "gated": Strategy(_read_gate, ("schedule", "advance_when", "max_wait"), ("schedule", "advance_when")),
}
"""The strategies that steer themselves."""
