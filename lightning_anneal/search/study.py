"""Runs that Optuna suggests (TPE), and runs that it ends early (pruning).

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011; Golovin et al., "Google Vizier", KDD 2017
(the median rule); Jamieson & Talwalkar, "Non-stochastic Best Arm Identification", AISTATS 2016 (successive halving).
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Collection, Mapping
from typing import Any

from lightning_anneal.search.configs import SEED
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.points import within
from lightning_anneal.search.runs import DONE, FINISHED, PRUNE, PRUNED, Run
from lightning_anneal.search.space import Axis, Point


class Study:
    """A source of runs that learns from those before.

    Optuna's study lives in memory and is made anew from the runs' folders: a database would be a second truth, and two
    workers that make one at the same time break it.

    Args:
        plan: The search, with the runs that it has so far.
    """

    def __init__(self, plan: Plan) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna: Any = optuna
        self._plan = plan
        settings = plan.settings
        self._distributions = {path: self._distribution(axis) for path, axis in plan.space.axes.items()}
        self._left = deque(run for run in plan.runs if run.state not in FINISHED)
        # A seed of its own for each start: the same one would suggest again what it did in the beginning.
        with warnings.catch_warnings():
            # Optuna 4 calls `constant_liar` experimental, which says nothing to who runs a search.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(seed=settings.sampler_seed + len(plan.runs), constant_liar=True)
        direction: Any = "minimize" if settings.mode == "min" else "maximize"
        self._study: Any = optuna.create_study(direction=direction, sampler=sampler, pruner=self._pruner())
        self._trials: dict[int, Any] = {}
        self._reported: dict[int, set[int]] = {}
        for run in plan.runs:
            if run.state in FINISHED:
                self._remember(run)

    def take(self) -> Run | None:
        """The next run: one that was begun before, or a new one that is suggested."""
        settings = self._plan.settings
        if self._left:
            run = self._left.popleft()
            self._study.enqueue_trial(self._encoded(run.values))
            trial = self._study.ask(self._distributions)
        elif settings.algo == "tpe" and len(self._plan.runs) < (settings.n_runs or 0):
            trial = self._study.ask(self._distributions)
            run = self._plan.add(self._decoded(trial.params))
        else:
            return None
        self._trials[run.index] = trial
        return run

    def heard(self, run: Run) -> None:
        """Learn how a run came out."""
        self._report(run)
        state, value = self._outcome(run)
        self._study.tell(self._trials.pop(run.index), value if state.name == "COMPLETE" else None, state)

    def look(self, running: Collection[Run]) -> None:
        """Ask a run to end after its epoch if it promises little."""
        if self._plan.settings.pruner == "none":
            return
        for run in running:
            if self._report(run) and self._trials[run.index].should_prune():
                (run.folder / PRUNE).touch()

    def _report(self, run: Run) -> bool:
        """Tell Optuna of a run's epochs that it doesn't know of; whether there were any."""
        known = self._reported.setdefault(run.index, set())
        new = {epoch: value for epoch, value in self._curve(run).items() if epoch not in known}
        for epoch, value in new.items():
            self._trials[run.index].report(value, epoch)
        known.update(new)
        return bool(new)

    def _pruner(self) -> Any:
        pruners = self._optuna.pruners
        kind = self._plan.settings.pruner
        if kind == "median":
            return pruners.MedianPruner(n_startup_trials=4)
        return pruners.SuccessiveHalvingPruner() if kind == "successive_halving" else pruners.NopPruner()

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if not axis.scale:
            # By their number: Optuna's choices can't be lists.
            return kinds.CategoricalDistribution(range(len(axis.values)))
        kind = kinds.IntDistribution if axis.whole else kinds.FloatDistribution
        return kind(*axis.values, log=axis.scale == "log_uniform")

    def _encoded(self, values: Mapping[str, Any]) -> dict[str, Any]:
        axes = self._plan.space.axes
        return {
            path: value if axes[path].scale else axes[path].values.index(value)
            for path, value in values.items()
            if path != SEED or path in axes
        }

    def _decoded(self, parameters: Mapping[str, Any]) -> Point:
        axes = self._plan.space.axes
        return {
            path: within(axis, parameters[path]) if axis.scale else axis.values[parameters[path]]
            for path, axis in axes.items()
        }

    def _curve(self, run: Run) -> dict[int, float]:
        """The metric, epoch by epoch, where there is one."""
        monitor = self._plan.settings.monitor
        return {epoch: value for epoch, found in run.epochs.items() if (value := found.get(monitor)) is not None}

    def _outcome(self, run: Run) -> tuple[Any, float | None]:
        states = self._optuna.trial.TrialState
        best = run.best(self._plan.settings.monitor, self._plan.settings.mode or "min")
        if best is None or run.state not in FINISHED:
            return states.FAIL, None
        return {DONE: states.COMPLETE, PRUNED: states.PRUNED}[run.state], best.value

    def _remember(self, run: Run) -> None:
        state, value = self._outcome(run)
        self._study.add_trial(
            self._optuna.trial.create_trial(
                state=state,
                value=value,
                params=self._encoded(run.values),
                distributions=self._distributions,
                intermediate_values=self._curve(run),
            )
        )
