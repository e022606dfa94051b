"""The start of a fit: all is found and checked, on every rank and for every callback, before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from lightning_anneal.callbacks.loaders import check_loaders, check_scaling
from lightning_anneal.callbacks.poll import Poll
from lightning_anneal.callbacks.run import roots_of
from lightning_anneal.engine import Engine
from lightning_anneal.errors import AnnealError
from lightning_anneal.lightnings import LightningModule, Trainer
from lightning_anneal.run_length import horizon_of
from lightning_anneal.sync import agree, all_well
from lightning_anneal.targets.resolve import Roots


def bind(
    trainer: Trainer,
    module: LightningModule,
    engine: Engine,
    poll: Poll,
    policy: str,
    others: Mapping[str, Engine],
    later: Collection[str],
) -> str:
    """Bind a callback's rules to the run, with the start values and lengths of rank 0. Writes nothing.

    Args:
        trainer: The trainer.
        module: The module.
        engine: The callback's rules.
        poll: What its triggers look at.
        policy: What becomes of lengths in per cent if the run's length has changed.
        others: The engines of the Trainer's other annealing callbacks, by the callback's state key.
        later: The keys of those that have their turn after this one.

    Returns:
        What to warn of, if anything.

    Raises:
        AnnealError: On every rank, if anything is wrong on any.
    """
    horizon, roots = horizon_of(trainer), roots_of(trainer, module)

    def find() -> None:
        for key, other in others.items():
            if engine.plan and other.plan:
                # They would be logged under one name.
                raise AnnealError("phases", f"{key} has phases, too; put all of them into one callback")
        engine.findings.find_targets(roots)
        poll.bind(trainer, engine.findings.names)
        for _ in _trials(trainer, roots, engine, others):
            pass

    def decide() -> Any:
        told = engine.findings.follow_horizon(horizon, policy)
        engine.findings.find_starts(horizon)
        engine.build(horizon)
        check_scaling(trainer, engine)
        check_loaders(trainer, engine)
        for key, trial in _trials(trainer, roots, engine, others):
            if key in later:
                _check_order(engine, key, trial)
            trial.findings.find_starts(horizon)
            trial.build(horizon)
        return engine.findings.kept, told

    all_well(trainer.strategy, find)
    if trainer.world_size > 1:
        # Loading takes all ranks: where one has raised an error before it, the others would wait for it for ever.
        trainer.fit_loop.setup_data()
    kept, told = all_well(trainer.strategy, lambda: agree(trainer.strategy, decide))
    engine.findings.take(kept)
    engine.build(horizon)
    return str(told)


def _check_order(engine: Engine, key: str, later: Engine) -> None:
    """Refuse to follow what has not had its turn yet."""
    places = {target.slot.identity for target in later.findings.targets}
    for line in engine.following:
        if line.other.slot.identity in places:
            what = f"{line.follow.other} is annealed by {key}, whose turn comes after this one's"
            raise AnnealError(f"{line.rule.name}.other", f"{what}; put that callback in front, or both into one")


def _trials(
    trainer: Trainer, roots: Roots, engine: Engine, others: Mapping[str, Engine]
) -> Iterator[tuple[str, Engine]]:
    """An engine for each of the other callbacks, to see whether it could begin."""
    own = {target.slot.identity: target.name for target in engine.findings.targets}
    for key, other in others.items():
        trial = Engine(other.rules, other.plan)
        trial.findings.take(other.findings.kept)
        trial.findings.find_targets(roots)
        Poll(trial.rules, trial.plan.watchers).bind(trainer, trial.findings.names)
        for target in trial.findings.targets:
            if target.slot.identity in own:
                raise AnnealError(own[target.slot.identity], f"{key} anneals it too; keep one of them")
        yield key, trial
