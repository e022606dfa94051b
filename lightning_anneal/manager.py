"""AnnealingManager: annealing in a training loop of one's own, without Lightning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from lightning_anneal.checks import Value, choice, number, positive
from lightning_anneal.clock import Horizon
from lightning_anneal.config import default_rules, read_file, read_settings
from lightning_anneal.engine import Engine
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.horizons import HORIZON_POLICIES
from lightning_anneal.steering import Means
from lightning_anneal.targets.resolve import Roots
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.settings import SOURCES
from lightning_anneal.triggers.signals import Reading, as_reading


class AnnealingManager:
    """Drives annealing rules by hand, without Lightning.

    Args:
        config: Anything with ``annealing_params``: an object, a mapping, a DictConfig, a YAML file's path; or the
            ``annealing_params`` themselves.
        objects: What paths start from: ``{"model": ..., "optimizer": ...}``. Without a model, paths start from
            `config`.
        epochs: Length of the planned run, for ``"30%"`` and for lengths that were left out.
        steps_per_epoch: Optimizer steps in an epoch, for rules by step.
        on_horizon_change: What becomes of lengths in per cent when a state is loaded that was saved with other
            `epochs`: ``"keep"`` (the default) those that were found at first, ``"stretch"`` them, or ``"error"``.

    The value that a trigger starts from, ``values[current_index]``, is in force as soon as the manager is made; that of
    a schedule with the first `step`.

    Raises:
        AnnealError: For anything wrong with the config or its paths; nothing is changed then.

    Example:
        >>> class Config:
        ...     def __init__(self):
        ...         self.temperature = 5.0
        ...         self.annealing_params = {"temperature": {"strategy": "linear", "end_value": 1.0, "total_steps": 4}}
        >>> config = Config()
        >>> manager = AnnealingManager(config)
        >>> [manager.step(epoch) for epoch in range(3)]
        [{}, {'temperature': 4.0}, {'temperature': 3.0}]
        >>> config.temperature
        3.0
    """

    def __init__(
        self,
        config: Any,
        *,
        objects: Mapping[str, Any] | None = None,
        epochs: float | None = None,
        steps_per_epoch: float | None = None,
        on_horizon_change: str = "keep",
    ) -> None:
        params, phases, owner = _annealing_params(config)
        rules, plan = read_settings(params, phases)
        rules = default_rules() if params is None and phases is None else rules
        for rule in rules:
            if rule.as_tensor:
                what = "is for a Lightning fit; put a 0-d tensor in that place yourself, and it is filled in place"
                raise AnnealError(f"{rule.name}.as_tensor", what)
            if isinstance(rule.source, Reaction) and rule.source.extend_training:
                raise AnnealError(f"{rule.name}.extend_training", "is for a Lightning fit, whose stop it takes back")
        per_epoch = None if steps_per_epoch is None else positive("steps_per_epoch", steps_per_epoch)
        self._horizon = Horizon(None if epochs is None else positive("epochs", epochs), None, lambda: per_epoch)
        self._policy = choice("on_horizon_change", on_horizon_change, HORIZON_POLICIES)
        self._next_epoch = 0
        self._engine = Engine(rules, plan)
        self._engine.findings.find_targets(_roots({} if objects is None else objects, owner))
        self._engine.findings.find_starts(self._horizon)
        self._engine.build(self._horizon)
        # A loop may call `step` after its first epoch only: what triggers start from is in force before it.
        self._engine.apply_answers()

    @property
    def values(self) -> dict[str, Value]:
        """The values now in force."""
        return self._engine.values

    @property
    def missed(self) -> dict[str, int]:
        """How often the value of each parameter that answers to a metric was kept, because there was none.

        Those are the strategies ``pi_control``, ``constraint``, ``gated`` and ``on_plateau``. A metric is none
        where it has not come, or isn't finite.
        """
        return self._engine.missed

    @property
    def phase(self) -> str | None:
        """The name of the running phase; ``None`` where there are no phases."""
        return self._engine.phasing.running.name if self._engine.plan else None

    def step(
        self, epoch: int | None = None, metrics: Mapping[str, Any] | None = None, *, step: int | None = None
    ) -> dict[str, Value]:
        """Apply what holds for an epoch, at its start.

        Args:
            epoch: The epoch about to begin, from 0; without it, the one after the last. What a schedule gives is
                ``schedule(epoch)``.
            metrics: What has been seen since the last call: the trigger sources by name, as counts and booleans, and
                any metric. A trigger whose metric isn't in it doesn't look this time.
            step: The optimizer step about to begin, from 0, for rules by step; alone, it leaves the epoch as it is.

        Returns:
            ``{name: new value}`` of what changed.

        Raises:
            AnnealError: For a misspelled source, or a metric that is no number; nothing has moved then.

        Example:
            >>> settings = {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": [0, 1]}
            >>> model = {"beta": 0.0}
            >>> manager = AnnealingManager({"beta": settings}, objects={"model": model})
            >>> manager.step(epoch=2, metrics={"early_stopper_counter": 1})
            {'beta': 1.0}
        """
        begins = epoch is not None or step is None
        readings = {} if metrics is None else self._readings(metrics, begins=begins)
        means = self._means({} if metrics is None else metrics)
        before = self.values
        if epoch is None and step is None:
            epoch = self._next_epoch
        epoch = None if epoch is None else _moment("epoch", epoch)
        step = None if step is None else _moment("step", step)
        engine = self._engine
        stood = dict(engine.reactions.progress), dict(engine.steering.standing)
        place = engine.step_in_force, list(engine.phasing.began)
        told = engine.poll(readings)
        for key, seen in means.items():
            told += self._feed(key, seen, epoch, step, given=bool(metrics))
        now = (engine.epoch if epoch is None else epoch, engine.step_in_force if step is None else step)
        turned = engine.advance_phases(*now, within=epoch is None)
        engine.step_in_force = now[1]
        try:
            if epoch is not None:
                engine.begin_epoch(epoch)
                engine.start_epoch(epoch, begins=True)
                self._next_epoch = epoch + 1
            if turned:
                engine.enter_phase(*now, within=epoch is None)
            if epoch is None:
                engine.apply_answers(step)
        except AnnealError:
            engine.reactions.load(stood[0])
            engine.steering.standing = stood[1]
            engine.step_in_force, engine.phasing.began = place
            raise
        for warning in told:
            warnings.warn(warning, stacklevel=2)
        if step is not None:
            self._engine.go_to_step(step)
        return {name: value for name, value in self.values.items() if value != before[name]}

    def _feed(self, key: str, means: Means, epoch: int | None, step: int | None, *, given: bool) -> list[str]:
        """Let a controller have what was seen: one by step if a step begins, one by epoch if an epoch does."""
        steering, engine = self._engine.steering, self._engine
        by_step = steering.rules[key][0].interval == "step"
        if (step if by_step else epoch) is None:
            return []
        turn = None if step is None or key not in steering.by_step else step % steering.by_step[key] == 0
        # Without any metrics nothing has been seen, and nothing was to be.
        if not means and not given and not (turn and steering.standing[key].seen):
            return []
        return list(steering.feed(key, means, engine.step_in_force if by_step else engine.epoch, turn=turn))

    def enter_eval(self) -> None:
        """Put the ``eval_value`` of each parameter that has one in force, until `leave_eval`."""
        self._engine.enter_eval()

    def leave_eval(self) -> None:
        """Put back what `enter_eval` found."""
        self._engine.leave_eval()

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands and what was found at its start, as plain values; no value that a rule gives."""
        state = self._engine.state_dict()
        if self._next_epoch != self._engine.epoch + 1:
            # No epoch has begun, or none without a step of its own.
            state["next_epoch"] = self._next_epoch
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run stood: its values are put in force.

        Raises:
            AnnealError: If it is no such state, or that of a newer version.
        """
        engine = self._engine
        engine.load_state_dict(state)
        self._next_epoch = _moment("checkpoint.next_epoch", state.get("next_epoch", engine.epoch + 1))
        if told := engine.findings.follow_horizon(self._horizon, self._policy):
            warnings.warn(told, stacklevel=2)
        engine.findings.find_starts(self._horizon)
        engine.build(self._horizon)
        engine.go_to(engine.epoch, engine.step_in_force, tell=False)

    def _means(self, metrics: Mapping[str, Any]) -> dict[str, Means]:
        """What the controllers of a loop of one's own see; nothing of one whose metrics are not all there."""
        steering = self._engine.steering
        return {
            key: {name: as_reading(f"metrics.{name}", metrics[name]).value for name in steering.monitors(key)}
            if all(metrics.get(name) is not None for name in steering.monitors(key))
            else {}
            for key in steering.rules
        }

    def _readings(self, metrics: Mapping[str, Any], *, begins: bool) -> dict[str, Reading]:
        """What the triggers of a loop of one's own see; `begins` says whether an epoch does."""
        if not isinstance(metrics, Mapping):
            raise AnnealError("metrics", f"must be a mapping of names to numbers, got {quote(metrics)}")
        reactions = {n: r for n, r in self._engine.reactions.by_name.items() if r.watches != "phases"}
        monitors: list[str | None] = [reaction.monitor for reaction in reactions.values()]
        monitors += [name for key in self._engine.steering.rules for name in self._engine.steering.monitors(key)]
        for key in metrics:
            meant = suggestion(key, SOURCES) if str(key).startswith(("early_", "lr_sched")) else ""
            if key not in SOURCES and key not in monitors and "did you mean" in meant:
                raise AnnealError("metrics", f"unknown source {quote(key)}{meant}")
        for monitor in filter(None, monitors):
            near = get_close_matches(monitor, map(str, metrics), n=1, cutoff=0.85)
            if monitor not in metrics and near:
                raise AnnealError("metrics", f"no {quote(monitor)}, which is watched, but {quote(near[0])}")
        keys = {n: r.monitor if r.watches == "metric" else r.source for n, r in reactions.items()}
        absent = {
            name: Reading(note=f"no metric {quote(reaction.monitor)} to be seen", absent=True)
            for name, reaction in reactions.items()
            if begins and metrics and reaction.patient and metrics.get(reaction.monitor or "") is None
        }
        return absent | {
            name: replace(as_reading(f"metrics.{key}", metrics[key]), note=reactions[name].monitor or "")
            for name, key in keys.items()
            if key is not None and metrics.get(key) is not None
        }


def _moment(where: str, value: object) -> int:
    moment = number(where, value)
    if moment < 0 or moment != int(moment):
        raise AnnealError(where, f"must be a whole number from 0, got {quote(value)}")
    return int(moment)


def _annealing_params(config: Any) -> tuple[Any, Any, Any]:
    """The parameters' settings, the phases, and the object that paths start from by default."""
    if isinstance(config, str | Path):
        config = read_file(config)
    if isinstance(config, Mapping):
        # A parameter may be called so, too; its settings are no list.
        phases = config.get("phases")
        phases = phases if isinstance(phases, Sequence) else None
        if "annealing_params" in config or phases is not None:
            return config.get("annealing_params"), phases, config
        return config, None, None
    phases = getattr(config, "phases", None)
    phases = phases if isinstance(phases, Sequence) else None
    if not hasattr(config, "annealing_params") and phases is None:
        what = f"{type(config).__name__} has no annealing_params; give an object or a mapping that has"
        raise AnnealError("config", what)
    return getattr(config, "annealing_params", None), phases, config


def _roots(objects: Mapping[str, Any], owner: Any) -> Roots:
    known = ("model", "optimizer", "optimizers", "datamodule")
    if not isinstance(objects, Mapping):
        raise AnnealError("objects", f'must be a mapping such as {{"model": ...}}, got {quote(objects)}')
    for name in objects:
        if name not in known:
            raise AnnealError("objects", f"unknown name {quote(name)}{suggestion(name, known)}")
    optimizers = [objects["optimizer"]] if "optimizer" in objects else objects.get("optimizers", ())
    if not isinstance(optimizers, Sequence) or not all(isinstance(o, Optimizer) for o in optimizers):
        raise AnnealError("objects", "'optimizer' must be a torch optimizer, and 'optimizers' a list of them")
    return Roots(objects.get("model", owner), tuple(optimizers), objects.get("datamodule"))
