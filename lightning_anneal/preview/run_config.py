"""What a LightningCLI config says of annealing: rules, the run's length, stoppers, the optimizer. Builds nothing."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import lightning_anneal
from lightning_anneal.balance_rules import balance_rules
from lightning_anneal.beta_rules import beta_rules, read_training_config
from lightning_anneal.checks import Value, number, positive
from lightning_anneal.config import check_objects, default_rules, read_rules, read_settings
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.follow import Follow
from lightning_anneal.phases import Plan
from lightning_anneal.preview.stopping import Stopper
from lightning_anneal.rules import Rule

_PACKAGE = "lightning_anneal."
T = TypeVar("T")

_CALLBACKS = [name for name in lightning_anneal.__all__ if name.endswith("Callback")]
_COMMON = ("name", "prog_bar", "on_horizon_change")


@dataclass(frozen=True)
class AnnealingCallback:
    """A callback of this package in a config.

    Args:
        kind: Its class.
        arguments: Its ``init_args``.
        rules: What it anneals.
        plan: The phases that some of the rules belong to.
    """

    kind: str
    arguments: Mapping[str, Any]
    rules: tuple[Rule, ...]
    plan: Plan = Plan()


@dataclass
class RunConfig:
    """A run as its config has it; `problems` is what is wrong with it.

    Args:
        config: The config.
        callbacks: This package's callbacks.
        stoppers: Its EarlyStoppings.
        problems: Every mistake found.
        is_lightning: Whether it is a LightningCLI config, and not one of the shorter forms.
    """

    config: Mapping[str, Any]
    callbacks: list[AnnealingCallback] = field(default_factory=list)
    stoppers: list[Stopper] = field(default_factory=list)
    problems: list[AnnealError] = field(default_factory=list)
    is_lightning: bool = True

    @property
    def rules(self) -> list[Rule]:
        """All that is annealed."""
        return [rule for callback in self.callbacks for rule in callback.rules]

    @property
    def plan(self) -> Plan:
        """The phases of the run; of several callbacks that have some, those of the first."""
        return next((callback.plan for callback in self.callbacks if callback.plan), Plan())

    @property
    def trainer(self) -> Mapping[str, Any]:
        """The Trainer's arguments."""
        return _mapping(self.config.get("trainer"))

    @property
    def model_arguments(self) -> Mapping[str, Any]:
        """The model's ``init_args``."""
        return _mapping(_mapping(self.config.get("model")).get("init_args"))

    @property
    def optim(self) -> Mapping[str, Any] | None:
        """The settings of `configure_optimizers`, where the model takes them as ``optim``."""
        found = self.model_arguments.get("optim")
        return found if isinstance(found, Mapping) else None

    @property
    def learning_rate(self) -> float | None:
        """The learning rate outside of ``optim``."""
        given = self.model_arguments.get("learning_rate", self.model_arguments.get("lr"))
        return None if given is None else number("learning_rate", given)

    @property
    def max_epochs(self) -> float | None:
        """The planned number of epochs, if there is one."""
        return self._limit("max_epochs")

    @property
    def max_steps(self) -> float | None:
        """The planned number of optimizer steps, if there is one."""
        return self._limit("max_steps")

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps in an epoch, where ``limit_train_batches`` says so."""
        batches: Any = self.trainer.get("limit_train_batches")
        accumulated: Any = self.trainer.get("accumulate_grad_batches") or 1
        if not all(type(number) is int and number > 0 for number in (batches, accumulated)):
            return None
        return float(math.ceil(batches / accumulated))

    def callback_named(self, kind: str) -> list[Mapping[str, Any]]:
        """The ``init_args`` of every callback of a class."""
        return [arguments for path, arguments in _callbacks(self.trainer) if path.rsplit(".", 1)[-1] == kind]

    def start_of(self, rule: Rule) -> Value | None:
        """The value that a parameter has before it is annealed, if the config shows it."""
        home, key = place_of(rule)
        found: Any = None
        if home == "model":
            found = self.model_arguments.get(key)
        elif home == "datamodule":
            found = _mapping(_mapping(self.config.get("data")).get("init_args")).get(key)
        elif home == "trainer":
            found = self.trainer.get(key, 1 if key == "accumulate_grad_batches" else None)
        elif home == "optimizer":
            found = self._in_group(rule, key)
        try:
            return found if isinstance(found, bool) or found is None else number(rule.name, found)
        except AnnealError:
            return None

    def _in_group(self, rule: Rule, key: str) -> Any:
        """What ``optim`` gives a parameter group; ``None`` where only the built model shows which group is meant."""
        optim = self.optim or {}
        options = {"lr": optim.get("learning_rate", self.learning_rate), **_mapping(optim.get("optimizer_kwargs"))}
        groups = optim.get("lr_parameter_groups")
        split = [optim.get(name) for name in ("recurrent_learning_rate_multiplier", "no_decay")]
        if not groups and split == [None, None]:
            return options.get(key)
        name = rule.path.split(".")[-2] if "." in rule.path else ""
        group = _mapping(_mapping(groups).get(name))
        if not group and name != "default":
            return None
        # A factor needs the learning rate, which may be the optimizer's own.
        return None if key == "lr" and "lr_factor" in group else group.get(key, options.get(key))

    def _limit(self, key: str) -> float | None:
        given = self.trainer.get(key)
        if given is None or given == -1:
            return None
        return positive(f"trainer.{key}", given)


def read_run(config: object, folder: Path = Path()) -> RunConfig:
    """Read a config: that of a LightningCLI, a training config with ``beta_*`` keys, or ``annealing_params`` alone.

    Args:
        config: As plain dicts and lists.
        folder: Where a file that it names lies.

    Raises:
        AnnealError: If it is none of them. What is wrong within it stands in ``problems``.

    Example:
        >>> params = {"beta": {"strategy": "linear", "end_value": 1}, "reg": {"strategy": "cosin"}}
        >>> callback = {"class_path": "lightning_anneal.HyperparamAnnealingCallback"}
        >>> callback["init_args"] = {"annealing_params": params}
        >>> run = read_run({"trainer": {"callbacks": [callback]}})
        >>> [rule.name for rule in run.rules], [str(problem) for problem in run.problems]
        (['beta'], ["reg.strategy: unknown strategy 'cosin'; did you mean 'cosine'?"])
    """
    if not isinstance(config, Mapping):
        raise AnnealError("config", "must hold a mapping")
    if "search" in config:
        what = "is for `lightning-anneal search`, where a value may be a list; take the config.yaml of one of its runs"
        raise AnnealError("search", what)
    if isinstance(config.get("training"), Mapping):
        return _training(config, folder)
    is_lightning = True
    if "annealing_params" in config:
        # What `search export-schedule` writes.
        callback = {"class_path": f"{_PACKAGE}HyperparamAnnealingCallback", "init_args": dict(config)}
        config = {"trainer": {"callbacks": [callback]}}
        is_lightning = False
    run = RunConfig(config, is_lightning=is_lightning)
    for path, arguments in _callbacks(run.trainer):
        if path.rsplit(".", 1)[-1] == "EarlyStopping":
            stopper = _tried(run, Stopper.of, arguments)
            run.stoppers += [] if stopper is None else [stopper]
        # By its whole path, by its public name, or by its name alone, which LightningCLI knows as well.
        kind = path.rsplit(".", 1)[-1]
        if path.startswith(_PACKAGE) and "." not in path.removeprefix(_PACKAGE) and kind not in _CALLBACKS:
            what = f"lightning_anneal has no callback {quote(kind)}{suggestion(kind, _CALLBACKS)}"
            run.problems.append(AnnealError("class_path", what))
        if path.startswith((_PACKAGE, kind)) and kind in _READERS:
            reader, read = _READERS[kind]
            known = [*(k for k in inspect.signature(reader).parameters), *_COMMON]
            for key in arguments:
                if key not in known:
                    run.problems.append(AnnealError(kind, f"unknown argument {quote(key)}{suggestion(key, known)}"))
            given = {key: value for key, value in arguments.items() if key in known}
            own = {key: value for key, value in given.items() if key not in _COMMON}
            rules = tuple(read(run, own))
            moved, plan = _phases(run, given, rules) if kind == "HyperparamAnnealingCallback" else ((), Plan())
            run.callbacks.append(AnnealingCallback(kind, given, (*rules, *moved), plan))
    return run


def place_of(rule: Rule) -> tuple[str, str]:
    """Whose attribute a rule writes (``"model"``, ``"datamodule"``, ``"trainer"``, ``"optimizer"``, or ``""`` for what
    lies deeper), and its name.

    Example:
        >>> place_of(Rule("wd", None, "optimizer.param_groups.0.weight_decay"))  # type: ignore[arg-type]
        ('optimizer', 'weight_decay')
        >>> place_of(Rule("p", None, "encoder.0.p"))  # type: ignore[arg-type]
        ('', 'p')
    """
    *homes, key = rule.path.split(".")
    if isinstance(rule.object, str):
        homes.insert(0, rule.object)
    first = homes[0] if homes else "model"
    if first in ("optimizer", "optimizers"):
        return "optimizer", key
    known = {"model": "model", "hparams": "model", "datamodule": "datamodule", "trainer": "trainer"}
    return (known.get(first, "") if len(homes) < 2 else ""), key


def _training(config: Mapping[str, Any], folder: Path) -> RunConfig:
    """A training config such as `BetaScheduleCallback.from_config` takes."""
    arguments = read_training_config(config, folder)
    epochs = config["training"].get("num_epochs")
    run = RunConfig({"trainer": {} if epochs is None else {"max_epochs": epochs}}, is_lightning=False)
    run.callbacks.append(AnnealingCallback("BetaScheduleCallback", arguments, tuple(_beta(run, arguments))))
    return run


def _callbacks(trainer: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Class path and arguments of every callback."""
    given = trainer.get("callbacks")
    for entry in given if isinstance(given, list) else [given]:
        path = entry.get("class_path") if isinstance(entry, Mapping) else entry
        if isinstance(path, str):
            yield path, _mapping(entry.get("init_args")) if isinstance(entry, Mapping) else {}


def _annealing(run: RunConfig, arguments: Mapping[str, Any]) -> Iterator[Rule]:
    params = arguments.get("annealing_params")
    if params is None:
        yield from default_rules() if arguments.get("phases") is None else ()
    elif not isinstance(params, Mapping) or not params:
        _tried(run, read_rules, params)
    else:
        # One by one, so that a mistake in one hides no other; then together, because some follow others.
        alone = {name: _read_one(run, name, settings) for name, settings in params.items()}
        sound = {name: settings for name, settings in params.items() if alone[name]}
        together = _tried(run, read_rules, sound) if sound else ()
        if together is None:
            together = tuple(rule for rules in alone.values() for rule in rules if not isinstance(rule.source, Follow))
        yield from together


def _phases(run: RunConfig, arguments: Mapping[str, Any], rules: tuple[Rule, ...]) -> tuple[tuple[Rule, ...], Plan]:
    """The rules of the phases, and their plan."""
    phases = arguments.get("phases")
    read = _tried(run, read_settings, None, phases)
    if read is None:
        return (), Plan()
    for phase in phases if isinstance(phases, list) else ():
        _tried(run, check_objects, _mapping(phase).get("anneal"))
    own = [rule.name for rule in rules]
    for rule in read[0]:
        if rule.name in own:
            run.problems.append(AnnealError(rule.name, "stands in annealing_params and in phases; keep one of them"))
    return tuple(rule for rule in read[0] if rule.name not in own), read[1]


def _balancing(run: RunConfig, arguments: Mapping[str, Any]) -> Iterator[Rule]:
    if "losses" not in arguments:
        run.problems.append(AnnealError("LossBalancingCallback", "'losses' is missing"))
    else:
        yield from _tried(run, balance_rules, **arguments) or ()


def _read_one(run: RunConfig, name: Any, settings: Any) -> tuple[Rule, ...]:
    """The rule of a parameter; or each of its mistakes, found by reading on with 1 for what was wrong."""
    left = dict(settings) if isinstance(settings, Mapping) else settings
    wrong = False
    tried: set[str] = set()
    while True:
        try:
            check_objects({name: left})
            read = read_rules({name: left})
            return () if wrong else read
        except AnnealError as error:
            missing = error.what.startswith("missing")
            # What is missing behind another mistake may be what was misspelled there, and a 1 is nobody's mistake.
            key = error.where.removeprefix(f"{name}.") if missing else _key_of(error, str(name), left)
            if not (wrong and missing) and key not in tried:
                run.problems.append(error)
            wrong = True
            if key is None or key == "strategy" or "." in key or (missing and key in tried):
                return ()
            if key in tried or error.what.startswith("unknown key"):
                del left[key]
            else:
                left[key] = 1
            tried.add(key)


def _key_of(error: AnnealError, name: str, settings: Any) -> str | None:
    """Which of the settings an error is about, if it is one of them."""
    if not isinstance(settings, Mapping):
        return None
    inside = error.where.removeprefix(f"{name}.")
    known = [key for key in settings if inside == key or inside.startswith(f"{key}.")] if inside != error.where else []
    unknown = [key for key in settings if error.what.startswith(f"unknown key {quote(key)}") and error.where == name]
    return next(iter([*known, *unknown]), None)


def _beta(run: RunConfig, arguments: Mapping[str, Any]) -> Iterator[Rule]:
    if "beta_scheduler_type" not in arguments:
        run.problems.append(AnnealError("BetaScheduleCallback", "'beta_scheduler_type' is missing"))
    else:
        yield from _tried(run, beta_rules, **arguments) or ()


def _tried(run: RunConfig, read: Callable[..., T], *arguments: Any, **named: Any) -> T | None:
    """What a function reads; a mistake goes to the others."""
    try:
        return read(*arguments, **named)
    except AnnealError as error:
        run.problems.append(error)
        return None


def _annealing_arguments(annealing_params: Any = None, phases: Any = None) -> None:
    """What HyperparamAnnealingCallback takes besides the common ones."""


_Reader = Callable[[RunConfig, Mapping[str, Any]], Iterator[Rule]]
_READERS: dict[str, tuple[Callable[..., Any], _Reader]] = {
    "HyperparamAnnealingCallback": (_annealing_arguments, _annealing),
    "BetaScheduleCallback": (beta_rules, _beta),
    "LossBalancingCallback": (balance_rules, _balancing),
}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
