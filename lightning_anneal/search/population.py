"""Population based training: runs exchange weights and values every few epochs, all at the same epoch.

Jaderberg et al., "Population Based Training of Neural Networks", 2017. Synchronous, so that what comes out depends on
the seeds alone and not on which process was faster.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search.configs import is_lightning_cli, to_yaml
from lightning_anneal.search.drive import Queue, drive
from lightning_anneal.search.engines import Engine
from lightning_anneal.search.files import copy_whole, read_json, write_json, write_whole
from lightning_anneal.search.lineage import STATE, Lineage, lineage_text, read_lineages
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.points import draw_value, within
from lightning_anneal.search.progress import Progress
from lightning_anneal.search.results import SearchResult
from lightning_anneal.search.runs import CHECKPOINT, CONFIG, FINISHED, RESULT, RUN, STATUS, WAITING, Run
from lightning_anneal.search.settings import PbtSettings
from lightning_anneal.search.space import Axis, Point, Space, find_space


def population_space(space: Space, pbt: PbtSettings) -> Space:
    """The axes of a population: the parameters that it changes, by name.

    Args:
        space: The config, with the axes that it has by itself.
        pbt: What is changed.

    Raises:
        AnnealError: If the config has axes of its own or no callbacks, or a parameter has no values to choose from.
    """
    for path in space.axes:
        raise AnnealError(path, "pbt changes what search.pbt.annealing_params names; give one value here")
    if not is_lightning_cli(space.config):
        raise AnnealError("search.algo", "pbt needs a LightningCLI config, whose trainer gets its callback")
    _epochs(space.config)
    axes = {}
    for name, values in pbt.annealing_params.items():
        try:
            found = list(find_space({"values_of": values}).axes.values())
        except AnnealError as error:
            raise AnnealError(f"search.pbt.annealing_params.{name}", error.what) from None
        if len(found) != 1 or found[0].path != "values_of":
            what = "needs a list of values, {uniform: [low, high]} or {log_uniform: [low, high]}"
            raise AnnealError(f"search.pbt.annealing_params.{name}", f"{what}, got {quote(values)}")
        axes[name] = replace(found[0], path=name, found="search.pbt")
    return Space(space.config, axes, space.hints)


def first_points(space: Space, size: int, seed: int) -> list[Point]:
    """The values that the members of a population begin with."""
    draw = random.Random(f"{seed} begin")
    return [{name: draw_value(axis, draw) for name, axis in space.axes.items()} for _ in range(size)]


class Population:
    """The members of a population, generation by generation, as its file tells.

    A generation ends in three steps, each of which can be done again after a crash: what is exchanged is decided and
    written down, checkpoints are copied from members that stay to members that go, and the next generation is written
    down.

    Args:
        plan: The search; its runs are the members.
    """

    def __init__(self, plan: Plan) -> None:
        if plan.settings.pbt is None:
            raise AnnealError("search.pbt", "is missing")
        self._plan, self._pbt = plan, plan.settings.pbt
        self._epochs = _epochs(plan.space.config)
        known = read_json(plan.folder / STATE) or {
            "generation": 0,
            "exchanges": None,
            "history": [],
        }
        self._generation: int = known["generation"]
        self._lineages: list[Lineage] = read_lineages(plan.folder) or [[(0, dict(run.values))] for run in plan.runs]
        self._exchanges: list[dict[str, Any]] | None = known["exchanges"]
        self._history: list[dict[str, Any]] = known["history"]

    @property
    def pieces(self) -> int:
        """How often a member trains for a generation."""
        return len(self._plan.runs) * math.ceil(self._epochs / self._pbt.interval)

    @property
    def done(self) -> int:
        """How many of these have been."""
        now = [read_json(run.folder / RUN).get("generation") == self._generation for run in self._plan.runs]
        finished = [run.state in FINISHED for run in self._plan.runs]
        return len(self._plan.runs) * self._generation + sum(map(all, zip(now, finished, strict=True)))

    def lineage(self, run: Run) -> Lineage:
        """The values that a member has had, and those it took over had had before."""
        return self._lineages[run.index]

    def train(self, engine: Engine, progress: Progress) -> None:
        """Train to the end, from wherever the population is."""
        while True:
            if self._exchanges is not None:
                self._exchange(self._exchanges)
            until = min((self._generation + 1) * self._pbt.interval, self._epochs)
            waiting = [run for run in self._plan.runs if self._prepare(run, until)]
            progress.say(f"generation {self._generation + 1}: {len(waiting)} runs to epoch {until}")
            failed = drive(Queue(waiting), engine, self._plan.settings, progress)
            if failed and self._plan.settings.fail_fast:
                return
            if until >= self._epochs or not any(run.state in FINISHED for run in self._plan.runs):
                return
            self._exchanges = self._decide(until, progress)
            self._write()

    def _prepare(self, run: Run, until: int) -> bool:
        """Give a member its orders for this generation, and tell whether it has yet to carry them out."""
        known = read_json(run.folder / RUN)
        if known.get("generation") == self._generation and run.state in FINISHED:
            return False
        # First of all it isn't done any more: then a crash in between does no harm.
        write_json(run.folder / STATUS, {**run.status, "state": WAITING})
        write_whole(run.folder / CONFIG, to_yaml(self._plan.config_of(self.lineage(run), run.folder)))
        order = {**self._plan.order(run), "generation": self._generation}
        write_json(run.folder / RUN, order if until >= self._epochs else {**order, "until_epoch": until})
        return True

    def _decide(self, until: int, progress: Progress) -> list[dict[str, Any]]:
        """Who takes over from whom, and with which values."""
        draw = random.Random(f"{self._plan.settings.sampler_seed} {self._generation}")
        reached = {run.index: self._metric(run) for run in self._plan.runs}
        sign = 1 if self._plan.settings.mode == "min" else -1
        ranked = sorted(reached, key=lambda i: (reached[i] is None, sign * (reached[i] or 0.0), i))
        count = int(self._pbt.quantile * len(ranked)) or (1 if self._pbt.quantile else 0)
        # One that has failed has nothing to give.
        best = [i for i in ranked[:count] if reached[i] is not None]
        exchanges = []
        for receiver in ranked[len(ranked) - count :] if best else []:
            donor = draw.choice(best)
            last = self._lineages[donor][-1][1]
            values = {name: self._perturbed(axis, last[name], draw) for name, axis in self._plan.space.axes.items()}
            exchanges.append({"receiver": receiver, "donor": donor, "epoch": until, "values": values})
            progress.say(
                f"{self._plan.runs[receiver].name} takes over from {self._plan.runs[donor].name} with {values}"
            )
        self._history.append({"epoch": until, "metrics": list(reached.values()), "exchanges": exchanges})
        return exchanges

    def _exchange(self, exchanges: list[dict[str, Any]]) -> None:
        for each in exchanges:
            donor, receiver = (self._plan.runs[each[who]] for who in ("donor", "receiver"))
            for name in (CHECKPOINT, RESULT):
                copy_whole(donor.folder / name, receiver.folder / name)
            self._lineages[receiver.index] = [*self._lineages[donor.index], (each["epoch"], each["values"])]
            self._plan.runs[receiver.index] = replace(receiver, values=each["values"])
        self._plan.write()
        self._exchanges = None
        self._generation += 1
        self._write()

    def _write(self) -> None:
        content = {
            "generation": self._generation,
            "lineages": self._lineages,
            "exchanges": self._exchanges,
            "history": self._history,
        }
        write_json(self._plan.folder / STATE, content)

    def _metric(self, run: Run) -> float | None:
        """Where a member stands: its last epoch, which EarlyStopping may have made an earlier one."""
        epochs = run.epochs
        if run.state not in FINISHED or not epochs:
            return None
        return epochs[max(epochs)].get(self._plan.settings.monitor)

    def _perturbed(self, axis: Axis, value: Any, draw: random.Random) -> Any:
        """A value near another one, or one that is drawn anew."""
        if draw.random() < self._pbt.resample:
            return draw_value(axis, draw)
        if not axis.scale:
            at = axis.values.index(value) + draw.choice((-1, 1))
            return axis.values[min(max(at, 0), len(axis.values) - 1)]
        factor = draw.choice(self._pbt.factors)
        moved = value * factor
        if axis.whole and factor != 1 and round(moved) == value:
            # At least by one, else a small number would stay for ever.
            moved = value + (1 if (factor > 1) == (value >= 0) else -1)
        return within(axis, moved)


def winners_schedule(plan: Plan) -> str:
    """What the best member went through, as ``annealing_params`` that any run can follow, without a search.

    Raises:
        AnnealError: If the search was not by pbt, or no member has the metric.
    """
    if plan.settings.algo != "pbt":
        raise AnnealError(str(plan.folder), f"was a search by {plan.settings.algo}; only pbt changes values on the way")
    result = SearchResult(plan)
    best = result.best
    value, epoch = best.best(result.monitor, result.mode) or (math.nan, 0)
    title = [f"What {best.name} went through under pbt", f"({result.monitor} {value:.6g} in epoch {epoch})."]
    return lineage_text(Population(plan).lineage(best), title)


def _epochs(config: Mapping[str, Any]) -> int:
    """How long the run is."""
    epochs = config["trainer"].get("max_epochs")
    if not isinstance(epochs, int) or isinstance(epochs, bool) or epochs < 1:
        raise AnnealError("trainer.max_epochs", f"pbt needs the length of the run in epochs, got {quote(epochs)}")
    return epochs
