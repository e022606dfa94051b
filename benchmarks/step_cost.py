"""What a callback adds to a training step: ``python benchmarks/step_cost.py [STEPS_PER_CASE]``.

One fit of a tiny model, in which every stretch of 25 steps runs under another case: the Trainer's list of callbacks is
exchanged at the start of ``training_step``, and the time until the start of the next one belongs to that case, which
has by then seen each of the six hooks of a step once. The first steps of a stretch, in which a case finds the
processor's caches full of the others, don't count. The cases come in a new order in every round, so whatever else the
machine does meets all of them. The cost of a case is the median over the rounds of what the median step of its stretch
takes more than that of the bare Trainer in the same round; the unit is an empty ``Callback`` with one hook. What
happens once an epoch is not in it.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from logging import WARNING, getLogger
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from lightning_anneal import Cosine, HyperparamAnnealingCallback, OptimizerWatchCallback

LOG_EVERY = 50
STRETCH, COLD = 25, 5
LONG = 10**7


@dataclass
class Case:
    """One line of the table, and the times of its steps: ordinary ones, and those at which loggers are due."""

    label: str
    callbacks: list[Callback] = field(default_factory=list)
    inline: int = 0
    inline_logged: bool = False
    scheduler: bool = False
    with_logging: bool = False
    limit: float | None = None
    stretches: list[list[float]] = field(default_factory=list)
    due: list[float] = field(default_factory=list)

    @property
    def rounds(self) -> list[float]:
        """The median step of each round, in microseconds."""
        return [statistics.median(stretch) * 1e6 for stretch in self.stretches if stretch]

    def added_to(self, bare: Case) -> float:
        """What a step costs more than a bare one, in microseconds."""
        cost = statistics.median(own - other for own, other in zip(self.rounds, bare.rounds, strict=False))
        if self.with_logging:
            logging = statistics.median(self.due) - statistics.median(bare.due)
            cost += (logging * 1e6 - cost) / LOG_EVERY
        return cost


class Tiny(LightningModule):
    """One linear layer, attributes to anneal, and a clock."""

    def __init__(self, cases: list[Case]) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.cases = cases
        self.curves = [Cosine(0.0, 1.0 + i, LONG) for i in range(10)]
        self.order = self._order()
        self.running: Case | None = None
        self.number = 0
        self.began = 0.0
        for i in range(100):
            setattr(self, f"p{i}", 0.0)
            setattr(self, f"q{i}", 0.0)

    def _order(self) -> Iterator[tuple[Case, int]]:
        while True:
            round_ = random.sample(self.cases, len(self.cases))
            for case in round_:
                for number in range(STRETCH):
                    yield case, number

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        now = time.perf_counter()
        step = self.trainer.fit_loop.epoch_loop._batches_that_stepped
        if self.running is not None and self.number >= COLD:
            # A callback logs a step in its on_train_batch_start, which came just now.
            due = (step + 1) % LOG_EVERY == 0
            (self.running.due if due else self.running.stretches[-1]).append(now - self.began)
        if batch_idx % 1000 == 0:
            gc.collect()
        case, self.number = next(self.order)
        self.running = case
        if self.number == 0:
            case.stretches.append([])
        self.trainer.callbacks = case.callbacks  # type: ignore[attr-defined]
        self.trainer.strategy.lr_scheduler_configs = self.schedulers if case.scheduler else []
        self.began = time.perf_counter()
        for i in range(case.inline):
            setattr(self, f"q{i}", self.curves[i](batch_idx))
            if case.inline_logged:
                self.log(f"q{i}", getattr(self, f"q{i}"))
        return self.layer(batch).mean()  # type: ignore[no-any-return]

    def on_train_start(self) -> None:
        self.schedulers = self.trainer.strategy.lr_scheduler_configs
        gc.collect()
        gc.disable()

    def on_train_end(self) -> None:
        gc.enable()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / LONG)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


class Empty(Callback):
    """One hook that does nothing."""

    def on_train_batch_start(self, *args: Any) -> None:
        """Do nothing."""


class Pruned(HyperparamAnnealingCallback):
    """As it comes. A class of its own only lets a benchmark anneal one module from many callbacks."""

    def _others(self, *args: Any) -> dict[str, Any]:
        return {}


class Unpruned(Pruned):
    """With all the hooks that do nothing."""

    prune_hooks = False


def annealing(cls: type[HyperparamAnnealingCallback], name: str, count: int, interval: str, steps: float) -> Callback:
    """A callback with cosines that all differ."""
    curve = {"strategy": "cosine", "start_value": 0.0, "total_steps": steps, "interval": interval}
    return cls({f"p{i}": {**curve, "end_value": 1.0 + i} for i in range(count)}, name=name)


def table() -> list[Case]:
    """All the cases: the bare Trainer, the unit, and the rest."""
    cases = [Case("bare Trainer"), Case("empty Callback with one hook", [Empty()])]
    rows = [
        ("1 parameter by step, not logged", 1, "step", LONG, False, 1.4, 0.7),
        ("10 parameters by step", 10, "step", LONG, False, 1.8, 0.9),
        ("100 parameters by step", 100, "step", LONG, False, 4.0, 2.5),
        ("100 parameters by epoch", 100, "epoch", LONG, False, 1.15, 0.5),
        ("100 parameters by step, schedules ended", 100, "step", 1, False, 1.15, 0.5),
        ("1 parameter by step, logged every 50 steps", 1, "step", LONG, True, 2.0, 1.3),
    ]
    for label, count, interval, steps, logged, plain_limit, pruned_limit in rows:
        for name, cls, limit in ((label, Unpruned, plain_limit), (f"{label}, pruned", Pruned, pruned_limit)):
            callback = annealing(cls, name, count, interval, steps)
            cases.append(Case(name, [callback], with_logging=logged, limit=limit))
    for name, cls, limit in (
        ("10 triggered parameters", Unpruned, 1.4),
        ("10 triggered parameters, pruned", Pruned, 0.5),
    ):
        at = {"strategy": "trigger_based", "trigger_source": "metric_below", "monitor": "val_loss", "threshold": 0.0}
        cases.append(
            Case(name, [cls({f"p{i}": {**at, "values": [0.0, 1.0]} for i in range(10)}, name=name)], limit=limit)
        )
    steered = {"strategy": "pi_control", "monitor": "loss", "set_point": 0.0, "interval": "step", "frequency": 100}
    for name, count in (("1 controller of the loss, every 100 steps", 1), ("10 controllers of the loss", 10)):
        cases.append(Case(name, [Pruned({f"p{i}": steered for i in range(count)}, name=name)]))
    return [
        *cases,
        Case("OptimizerWatchCallback, not logging", [OptimizerWatchCallback(log=False)], limit=1.0),
        Case("1 inline self.beta = ...", inline=1),
        Case("10 inline", inline=10),
        Case("1 inline with self.log", inline=1, inline_logged=True, with_logging=True),
        Case("LambdaLR alone, by step", scheduler=True),
        Case("LambdaLR and LearningRateMonitor", [LearningRateMonitor("step")], scheduler=True, with_logging=True),
    ]


def main(steps_per_case: int) -> None:
    """Run the fit and print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        getLogger(name).setLevel(WARNING)
    cases = table()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_epochs=1,
            accelerator="cpu",
            logger=TensorBoardLogger(folder),
            log_every_n_steps=LOG_EVERY,
            callbacks=[callback for case in cases for callback in case.callbacks],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        batch = torch.randn(1, 4)
        loader: DataLoader[torch.Tensor] = DataLoader([batch] * (steps_per_case * len(cases)), batch_size=None)  # type: ignore[arg-type]
        trainer.fit(Tiny(cases), loader)
    bare = cases[0]
    unit = cases[1].added_to(bare)
    median = statistics.median(bare.rounds)
    print(f"bare step {median:.0f} us; unit: the empty callback's {unit:.1f} us; {steps_per_case} steps a case\n")
    print(f"{'added to a bare step':56s} {'us':>7s} {'ratio':>7s} {'at most':>8s}")
    for case in cases[1:]:
        cost = case.added_to(bare)
        limit = "" if case.limit is None else f"{case.limit:8.2f}{'' if cost / unit <= case.limit else '  OVER'}"
        print(f"{case.label:56s} {cost:7.1f} {cost / unit:7.2f} {limit}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3000)
