"""Reads annealing settings (a mapping, OmegaConf or a YAML file) into rules. Imports neither torch nor OmegaConf,
unless a file has to be read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from collections.abc import Sequence as AnySequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from lightning_anneal.checks import choice, count, flag, number
from lightning_anneal.clock import Interval
from lightning_anneal.controllers.controller import Steer
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.follow import Follow, in_order
from lightning_anneal.phase_settings import read_phases
from lightning_anneal.phases import Plan
from lightning_anneal.recipes import Ready
from lightning_anneal.rules import Rule
from lightning_anneal.schedule_settings import Settings, as_mapping, known_keys
from lightning_anneal.schedules import Schedule
from lightning_anneal.strategies import read_source
from lightning_anneal.triggers.events import Rise
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.responses import NextGreater

OBJECTS = ("model", "optimizer", "datamodule", "trainer")
"""The objects a config can name."""

_DEEPEST = 20
_TIMING = ("interval", "frequency", "scheduler_configs")
_COMMON = ("strategy", "object", "attr_name", *_TIMING, "round", "eval_value", "as_tensor", "scale_lr")
DEFAULTS = {"reg_param": (0.001, 0.005, 0.01), "contrastive_weight": (0.0, 0.005, 0.01, 0.02, 0.03)}
"""What is annealed where no settings are given, each where the module has it: at half of EarlyStopping's patience it
goes from the value found to the next greater one."""


def read_rules(params: object, where: str = "annealing_params") -> tuple[Rule, ...]:
    """The rules of an ``annealing_params`` mapping, which is read and never changed.

    Args:
        params: ``{name: settings}``; settings are a mapping, or in code a schedule or any callable of ``t``.
        where: What the mapping is called, for errors about the whole of it.

    Raises:
        AnnealError: For the first thing that is wrong with it.

    Example:
        >>> rules = read_rules({"beta": {"strategy": "cosine", "start_value": 0, "end_value": 1}})
        >>> rules[0].name, rules[0].interval
        ('beta', 'epoch')
    """
    if not isinstance(params, Mapping):
        raise AnnealError(where, f"must be a mapping of names to settings, got {quote(params)}")
    if not params:
        raise AnnealError(where, "must name at least one parameter")
    rules = {str(name): _read_rule(name, settings) for name, settings in _resolved(params).items()}
    follows = {name: rule.source.other for name, rule in rules.items() if isinstance(rule.source, Follow)}
    for name in in_order({name: [other] for name, other in follows.items()}):
        if not _has_interval(_resolved(params)[name]):
            # What follows moves when the other one does; a learning rate may move with every step.
            other = rules.get(follows[name])
            interval: Interval = "step" if other is None else other.interval
            rules[name] = replace(rules[name], interval="epoch" if rules[name].sizes_batches else interval)
    return tuple(rules.values())


def read_settings(params: object, phases: object) -> tuple[tuple[Rule, ...], Plan]:
    """The rules of ``annealing_params`` and of ``phases``, and the plan of the latter.

    Args:
        params: As for `read_rules`; ``None`` for none.
        phases: A list of phases; ``None`` for none.

    Raises:
        AnnealError: For the first thing that is wrong with them.

    Example:
        >>> rules, plan = read_settings(None, [{"name": "warm", "until": "10ep", "set": {"beta": 0}}, {"name": "main"}])
        >>> rules[0].name, plan.names
        ('beta', ['warm', 'main'])
    """
    rules = () if params is None else read_rules(params)
    if phases is None:
        return rules, Plan()
    plan, moved = read_phases(_plain_phases(phases), [rule.name for rule in rules], _read_in_phase)
    return (*rules, *moved), plan


def _plain_phases(given: object) -> Any:
    """A copy made of plain dicts and lists, but for the settings of parameters, in which code may give an object."""
    given = _resolved(given)
    if not isinstance(given, AnySequence) or isinstance(given, str | bytes):
        return given
    phases = [_resolved(phase) for phase in given]
    for i, phase in enumerate(phases):
        if isinstance(phase, Mapping):
            anneals = {"anneal": _resolved(phase["anneal"])} if "anneal" in phase else {}
            phases[i] = {**plain(f"phases.{i}", {k: v for k, v in phase.items() if k != "anneal"}), **anneals}
    return phases


def _read_in_phase(where: str, name: str, settings: object) -> Rule:
    """A rule of a phase, whose values come from a schedule."""
    try:
        rule = _read_rule(name, settings)
    except AnnealError as error:
        raise AnnealError(f"{where}.{error.where}", error.what) from None
    if isinstance(rule.source, Reaction | Steer | Follow):
        strategy = as_mapping(name, settings)["strategy"]
        what = f"{str(strategy).lower()} can't be in a phase, only a schedule; keep it in annealing_params"
        raise AnnealError(f"{where}.{name}.strategy", what)
    return rule


def default_rules() -> tuple[Rule, ...]:
    """The rules of `DEFAULTS`."""
    return tuple(
        Rule(name, Reaction("early_stopper_half_patience", Rise(), NextGreater(values)), name, optional=True)
        for name, values in DEFAULTS.items()
    )


def check_objects(params: object) -> None:
    """Refuse settings from a config whose ``object`` isn't named: only code has objects to give.

    Raises:
        AnnealError: For a mapping or a list in its place, whose copy would be annealed.
    """
    for name, settings in params.items() if isinstance(params, Mapping) else ():
        owner = settings.get("object") if isinstance(settings, Mapping) else None
        if owner is not None:
            choice(f"{name}.object", owner, OBJECTS)


def plain(where: str, value: object, depth: int = 0) -> Any:
    """A copy made of plain dicts and lists: OmegaConf's containers are neither, and nobody's input may change.

    Raises:
        AnnealError: If it is nested too deeply to be a config.
    """
    if depth > _DEEPEST:
        raise AnnealError(where, f"nested more than {_DEEPEST} deep")
    value = _resolved(value)
    if isinstance(value, Mapping):
        return {k: plain(where, v, depth + 1) for k, v in value.items()}
    if isinstance(value, AnySequence) and not isinstance(value, str | bytes):
        return [plain(where, v, depth + 1) for v in value]
    return exact(value) if isinstance(value, str) else value


def exact(text: str) -> str:
    """A text as nothing but a ``str``: a checkpoint that holds one of numpy's, or an enum, is not loaded.

    Example:
        >>> class Name(str): ...
        >>> type(exact(Name("beta")))
        <class 'str'>
    """
    # str() would give an enum's name.
    return str.__str__(text)


def as_hyperparameters(params: object) -> dict[str, Any]:
    """The settings as a logger takes them: plain values, schedules and objects as text. Settings that have been read.

    Example:
        >>> from lightning_anneal import Linear
        >>> as_hyperparameters({"beta": Linear(0, 1, 10), "temperature": {"strategy": "linear", "end_value": 0.1}})
        {'beta': 'Linear(start=0.0, end=1.0, duration=10.0)', 'temperature': {'strategy': 'linear', 'end_value': 0.1}}
    """
    if not isinstance(params, Mapping):
        return {}

    def shown(value: Any) -> Any:
        if isinstance(value, Mapping):
            # An object given in code is none of a logger's business.
            return {str(k): shown(v) for k, v in value.items() if k != "object" or isinstance(v, str)}
        return value if value is None or isinstance(value, bool | int | float | str | list) else quote(value)

    return {str(name): shown(_resolved(settings)) for name, settings in _resolved(params).items()}


def phases_as_hyperparameters(phases: object) -> dict[str, Any]:
    """The phases as a logger takes them, by name. Phases that have been read.

    Example:
        >>> phases_as_hyperparameters([{"name": "warm", "until": "10ep", "set": {"beta": 0.0}}, {"name": "main"}])
        {'phases': {'warm': {'until': '10ep', 'set': {'beta': 0.0}}, 'main': {}}}
    """
    if phases is None:
        return {}
    by_name = {phase["name"]: {k: v for k, v in phase.items() if k != "name"} for phase in _plain_phases(phases)}
    return {"phases": as_hyperparameters(by_name)}


def read_file(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Raises:
        AnnealError: If there is no such file, or no mapping in it.
    """
    # OmegaConf reads 1e-7 as a number, where PyYAML gives a string, and refuses duplicate keys.
    from omegaconf import OmegaConf

    from lightning_anneal.config_files import parse, reason

    path = Path(path)
    try:
        found = path.is_file()
    except OSError:  # a text much too long for a path
        found = False
    if not found:
        raise AnnealError(quote(str(path)), "no such file")
    try:
        content = OmegaConf.to_container(parse(path.read_text(encoding="utf-8")), resolve=True)
    except Exception as error:
        raise AnnealError(quote(str(path)), f"can't be read: {reason(error)}") from None
    if not isinstance(content, dict):
        raise AnnealError(quote(str(path)), "must hold a mapping")
    return cast("dict[str, Any]", content)


def read_timing(where: str, settings: Mapping[str, Any]) -> tuple[Interval, int]:
    """Interval and frequency, given directly or inside ``scheduler_configs`` as for LR schedulers."""
    nested = settings.get("scheduler_configs")
    nested = {} if nested is None else as_mapping(f"{where}.scheduler_configs", nested)
    known_keys(f"{where}.scheduler_configs", nested, ("interval", "frequency", "monitor"))
    found: Settings = {}
    for key, default in (("interval", "epoch"), ("frequency", 1)):
        given = [source[key] for source in (settings, nested) if source.get(key) is not None]
        if len(given) == 2 and given[0] != given[1]:
            raise AnnealError(
                f"{where}.{key}", f"{quote(given[0])} here and {quote(given[1])} in scheduler_configs; keep one"
            )
        found[key] = given[0] if given else default
    interval = choice(f"{where}.interval", found["interval"], ("epoch", "step"))
    return cast("Interval", interval), count(f"{where}.frequency", found["frequency"])


def _resolved(value: Any) -> Any:
    """OmegaConf's containers as plain ones: interpolations and missing values show only on access."""
    omegaconf = sys.modules.get("omegaconf")
    if omegaconf is None or not omegaconf.OmegaConf.is_config(value):
        return value
    try:
        return omegaconf.OmegaConf.to_container(value, resolve=True, throw_on_missing=True)
    except omegaconf.errors.OmegaConfBaseException as error:
        raise AnnealError("config", " ".join(str(error).split())[:160]) from None


def _has_interval(settings: Mapping[str, Any]) -> bool:
    nested = settings.get("scheduler_configs")
    return settings.get("interval") is not None or (isinstance(nested, Mapping) and nested.get("interval") is not None)


def _read_rule(name: object, given: object) -> Rule:
    if not isinstance(name, str) or not name:
        raise AnnealError("annealing_params", f"a parameter's name must be a string, got {quote(name)}")
    name, given = exact(name), _resolved(given)
    if isinstance(given, type):
        raise AnnealError(name, f"{given.__name__} is a class; make a schedule of it, such as Linear(0, 1, 10)")
    if isinstance(given, Schedule) or callable(given):
        return Rule(name, Ready(cast("Callable[[float], float]", given)), name)
    if not isinstance(given, Mapping):
        what = "must be a mapping of settings, a schedule or a callable of t"
        raise AnnealError(name, f"{what}, got {quote(given)}")
    owner = given.get("object")
    if isinstance(owner, str | int | float):
        owner = choice(f"{name}.object", owner, OBJECTS)
    settings = {k: v if k == "object" else plain(f"{name}.{k}", v) for k, v in given.items()}
    interval, frequency = read_timing(name, settings)
    path = settings.get("attr_name")
    if path is not None and (not isinstance(path, str) or not path):
        raise AnnealError(f"{name}.attr_name", f"must be a dotted path, got {quote(path)}")
    eval_value, scale_lr = settings.get("eval_value"), settings.get("scale_lr")
    source = read_source(name, settings, _COMMON)
    if isinstance(source, Reaction) and (interval, frequency) != ("epoch", 1):
        key = "frequency" if interval == "epoch" else "interval"
        raise AnnealError(f"{name}.{key}", "a trigger acts when its event has come; leave it out")
    return Rule(
        name=name,
        source=source,
        path=name if path is None else path,
        object=owner,
        interval=interval,
        frequency=frequency,
        round=flag(f"{name}.round", settings.get("round", False)),
        eval_value=None if eval_value is None else number(f"{name}.eval_value", eval_value),
        as_tensor=flag(f"{name}.as_tensor", settings.get("as_tensor", False)),
        scale_lr=None if scale_lr is None else choice(f"{name}.scale_lr", scale_lr, ("linear", "sqrt")),
    )
