"""Reads ``phases``: a plan, and a rule for every parameter that some phase moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import replace
from typing import Any, cast

from lightning_anneal.checks import Value
from lightning_anneal.clock import Length
from lightning_anneal.errors import AnnealError, misspelling, quote
from lightning_anneal.phases import InPhases, Phase, Phased, Plan
from lightning_anneal.recipes import Recipe
from lightning_anneal.rules import Rule
from lightning_anneal.schedule_settings import Settings, as_mapping, known_keys
from lightning_anneal.triggers.events import Rise
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.settings import read_trigger, read_value

ReadRule = Callable[[str, str, Any], Rule]
"""Reads the settings of one parameter: where they stand, its name, and the settings."""

_KEYS = ("name", "until", "duration", "set", "anneal")
_PHASE = "phase"
"""What loggers and the audit call the running phase."""


def read_phases(given: object, taken: Iterable[str], read_rule: ReadRule) -> tuple[Plan, tuple[Rule, ...]]:
    """The plan that ``phases`` describe, and the rules of its parameters.

    Args:
        given: A list of mappings, made of plain dicts and lists.
        taken: The parameters that are annealed over the whole run.
        read_rule: Reads the settings of one parameter.

    Raises:
        AnnealError: For the first thing that is wrong with it.
    """
    if not isinstance(given, AnySequence) or isinstance(given, str) or not given:
        raise AnnealError("phases", f"must be a list of at least one phase such as {{name: warm}}, got {quote(given)}")
    phases: list[Phase] = []
    moves: dict[str, list[Any]] = {}
    for i, entry in enumerate(given):
        settings = as_mapping(f"phases.{i}", entry)
        name = _name(f"phases.{i}", settings)
        if name in [phase.name for phase in phases]:
            raise AnnealError(f"phases.{i}.name", f"a second phase is called {quote(name)}")
        known_keys(f"phases.{name}", settings, _KEYS)
        phases.append(_read_phase(name, settings, last=i == len(given) - 1))
        for parameter, move in _moves(f"phases.{name}", settings, read_rule):
            moves.setdefault(parameter, [None] * len(given))[i] = move
    taken = list(taken)
    for name in moves:
        if name in taken:
            raise AnnealError(name, "stands in annealing_params and in phases; keep one of them")
    if _PHASE in (*moves, *taken):
        what = "the running phase is logged under this name; anneal it under another one, with attr_name: phase"
        raise AnnealError(_PHASE, what)
    _check_order(phases)
    return Plan(tuple(phases)), tuple(_rule(name, parts, phases) for name, parts in moves.items())


def _name(where: str, settings: Settings) -> str:
    name = settings.get("name")
    if name is None:
        if (key := misspelling("name", settings, _KEYS)) is not None:
            raise AnnealError(where, f"unknown key {quote(key)}; did you mean 'name'?")
        raise AnnealError(f"{where}.name", "missing; logs and checkpoints call the phase by it")
    if not isinstance(name, str) or not name.strip():
        raise AnnealError(f"{where}.name", f"must be a string, got {quote(name)}")
    return name


def _read_phase(name: str, settings: Settings, *, last: bool) -> Phase:
    where = f"phases.{name}"
    until, duration = settings.get("until"), settings.get("duration")
    if until is not None and duration is not None:
        raise AnnealError(f"{where}.until", "give until or duration, not both")
    if until is None and duration is None:
        if not last:
            raise AnnealError(f"{where}.until", "missing; only the last phase can do without")
        return Phase(name)
    if duration is not None:
        return Phase(name, duration=Length.parse(f"{where}.duration", duration))
    if not isinstance(until, Mapping):
        return Phase(name, until=Length.parse(f"{where}.until", until))
    at_most = until.get("at_most")
    return Phase(
        name,
        trigger=read_trigger(f"{where}.until", until, besides=("at_most",)),
        at_most=None if at_most is None else Length.parse(f"{where}.until.at_most", at_most),
    )


def _moves(where: str, settings: Settings, read_rule: ReadRule) -> Iterable[tuple[str, Rule | Value]]:
    """What a phase does with each parameter that it names."""
    sets, anneals = (
        {} if settings.get(key) is None else as_mapping(f"{where}.{key}", settings[key]) for key in ("set", "anneal")
    )
    for key, names in (("set", sets), ("anneal", anneals)):
        for name in names:
            if not isinstance(name, str) or not name:
                raise AnnealError(f"{where}.{key}", f"a parameter's name must be a string, got {quote(name)}")
    for name, value in sets.items():
        if name in anneals:
            raise AnnealError(f"{where}.set.{name}", "stands under anneal, too; keep one of them")
        if isinstance(value, Mapping):
            raise AnnealError(f"{where}.set.{name}", "must be a value; settings of a schedule stand under anneal")
        yield name, read_value(f"{where}.set.{name}", value)
    for name, inner in anneals.items():
        yield name, read_rule(f"{where}.anneal", name, inner)


def _rule(name: str, parts: list[Any], phases: list[Phase]) -> Rule:
    """One rule of what the phases do with a parameter."""
    rules = {phase.name: part for phase, part in zip(phases, parts, strict=True) if isinstance(part, Rule)}
    if not rules:
        values = [value for value in parts if value is not None]
        if len({type(value) for value in values}) > 1:
            raise AnnealError(name, f"phases set it to values of several kinds: {', '.join(map(str, values))}")
        return Rule(name, Reaction("phases", Rise(), InPhases(tuple(parts))), name)
    first = next(iter(rules.values()))
    for phase, rule in rules.items():
        for key in ("path", "object", "interval", "frequency", "round", "eval_value", "as_tensor", "scale_lr"):
            if getattr(rule, key) != getattr(first, key):
                shown = "attr_name" if key == "path" else key
                what = f"is {quote(getattr(rule, key))}, and {quote(getattr(first, key))} in another phase; keep one"
                raise AnnealError(f"phases.{phase}.anneal.{name}.{shown}", what)
    sources: list[Recipe | float | None] = []
    for each, part in zip(phases, parts, strict=True):
        if isinstance(part, bool | str):
            raise AnnealError(f"phases.{each.name}.set.{name}", f"must be a number, got {quote(part)}")
        sources.append(cast(Recipe, part.source) if isinstance(part, Rule) else part)
    return replace(first, source=Phased(tuple(sources)))


def _check_order(phases: list[Phase]) -> None:
    """Refuse a point of the run that lies before the one at which the phase before ends, where units show it."""
    before: Phase | None = None
    for phase in phases:
        if phase.until is None:
            continue
        if before is not None and before.until is not None:
            one, other = (each.until.unit or "ep" for each in (before, phase) if each.until is not None)
            if one == other and phase.until.amount <= before.until.amount:
                what = f"{phase.until} is not behind the end of {quote(before.name)}, {before.until}; give a duration"
                raise AnnealError(f"phases.{phase.name}.until", what)
        before = phase
