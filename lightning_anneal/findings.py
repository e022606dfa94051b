"""What rules find in a run: their places, the values there at its start, and the lengths that its length decides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from lightning_anneal.checks import Value
from lightning_anneal.clock import Horizon, Lengths
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.follow import Follow
from lightning_anneal.horizons import follow, planned
from lightning_anneal.phased_lines import tried
from lightning_anneal.phases import Phased
from lightning_anneal.phasing import Phasing
from lightning_anneal.rules import Rule
from lightning_anneal.state import Found
from lightning_anneal.targets.resolve import Resolved, Roots, has_it, resolve
from lightning_anneal.targets.target import Target
from lightning_anneal.triggers.reaction import Reaction

Kept = tuple[Found, dict[str, float | None], dict[str, float]]
"""By rule what was found; how long the run was to be at first; the lengths of phases."""


class Findings:
    """Finds, and keeps what a resumed run has to begin with. Writes nothing.

    Args:
        rules: The rules.
        phasing: Their phases, which have lengths, too.
    """

    def __init__(self, rules: tuple[Rule, ...], phasing: Phasing) -> None:
        self.rules, self.phasing = rules, phasing
        self.found: Found = {}
        """By rule: the start values and lengths."""
        self.run: dict[str, float | None] = {}
        """How long the run was to be at first."""
        self.let_go()

    def let_go(self) -> None:
        """Let go of the run's objects; what was found of numbers stays."""
        self.resolved: dict[str, Resolved] = {}
        """By rule: its places."""
        self.roots, self.partly = Roots(), False

    # -- places ---------------------------------------------------------------------------------------------------

    def find_targets(self, roots: Roots, *, names: Iterable[str] | None = None) -> None:
        """Find every place the rules write to.

        Args:
            roots: What paths start from.
            names: The rules that are meant; without it, all of them.

        Raises:
            AnnealError: If a path leads nowhere, or two lead to the same place.
        """
        wanted = [rule for rule in self.rules if names is None or rule.name in names]
        there = [rule for rule in wanted if not rule.optional or has_it(rule, roots)]
        if wanted and not there:
            neither = " nor ".join(quote(rule.name) for rule in wanted)
            raise AnnealError("annealing_params", f"none given, and {type(roots.model).__name__} has neither {neither}")
        resolved = {rule.name: resolve(rule, roots) for rule in there}
        taken: dict[tuple[int, object], str] = {}
        for target in (t for r in resolved.values() for t in r.targets):
            if (other := taken.setdefault(target.slot.identity, target.name)) != target.name:
                raise AnnealError(target.name, f"the same place as '{other}'; keep one of them")
        self.resolved, self.roots, self.partly = resolved, roots, names is not None

    @property
    def names(self) -> list[str]:
        """The rules that have targets here; an optional one may have none."""
        return list(self.resolved)

    @property
    def targets(self) -> list[Target]:
        """Every place that is written to."""
        return [target for resolved in self.resolved.values() for target in resolved.targets]

    @property
    def places(self) -> list[tuple[Rule, Target]]:
        """Every place that is written to, with its rule."""
        return [(r, t) for r in self.rules if r.name in self.resolved for t in self.resolved[r.name].targets]

    @property
    def shadowed(self) -> list[str]:
        """The rules whose name stands in the module and in its hparams."""
        return [name for name, resolved in self.resolved.items() if resolved.shadowed]

    @property
    def batch_size(self) -> tuple[Rule, Target] | None:
        """The rule and target of the batch size of the training data, if it is annealed."""
        sizes = ((rule, self.resolved.get(rule.name)) for rule in self.rules)
        return next(((rule, found.targets[0]) for rule, found in sizes if found is not None and found.batch_size), None)

    # -- start values and lengths ---------------------------------------------------------------------------------

    @property
    def kept(self) -> Kept:
        """All that stays when the run is let go, for another process to `take`."""
        return dict(self.found), dict(self.run), dict(self.phasing.lengths)

    def take(self, kept: Kept) -> None:
        """Take over what another one has found."""
        self.found, self.run, self.phasing.lengths = kept

    def find_starts(self, horizon: Horizon) -> Found:
        """Find the start values and lengths that no earlier start has found, and return all of them.

        Raises:
            AnnealError: If a length can't be known.
        """
        found = dict(self.found)
        self.run = self.run or planned(horizon)
        counted = self.counted(horizon)
        self.phasing.find_lengths(counted)
        for rule in self.rules:
            if rule.name not in self.resolved:
                continue
            starts = [_start_of(target) for target in self.resolved[rule.name].targets]
            if rule.name in found:
                # A parameter group that was added meanwhile begins at its own value.
                known = found[rule.name]["start"]
                found[rule.name] = {**found[rule.name], "start": [*known, *starts[len(known) :]]}
                starts = found[rule.name]["start"]
            else:
                found[rule.name] = {"start": starts, "lengths": {}}
            if not isinstance(rule.source, Reaction | Follow):
                lengths = Lengths(rule.name, rule.interval, counted, dict(found[rule.name]["lengths"]))
                if isinstance(rule.source, Phased):
                    for _ in tried(rule, lengths, float(starts[0]), self.phasing):
                        pass
                else:
                    rule.source.build(lengths, float(starts[0]) if rule.source.needs_start else None)
                found[rule.name] = {"start": starts, "lengths": lengths.found}
        self.found = found
        return found

    def forget_lengths(self) -> None:
        """Let the lengths be found anew, for a run whose steps have become other ones."""
        self.run.pop("steps_per_epoch", None)
        self.phasing.lengths = {}
        self.found = {name: {**entry, "lengths": {}} for name, entry in self.found.items()}

    def follow_horizon(self, horizon: Horizon, policy: str) -> str:
        """Do as the policy says if the run's length is another than at first, and return what to warn of.

        Raises:
            AnnealError: If it is another, and the policy is ``"error"``.
        """
        found = dict(self.found)
        if self.phasing.lengths:
            found["phases"] = {"lengths": self.phasing.lengths}
        found, self.run, told = follow(found, self.run, horizon, policy)
        self.phasing.lengths = found.pop("phases", {"lengths": {}})["lengths"]
        self.found = found
        return told

    def counted(self, horizon: Horizon) -> Horizon:
        """The length of the run by the steps that an epoch had at first."""
        return replace(horizon, steps_per_epoch=lambda: self._steps_per_epoch(horizon))

    def _steps_per_epoch(self, horizon: Horizon) -> float | None:
        """The steps of an epoch; where the batch size is annealed, with the one that it had at first."""
        # Phases look it up in the middle of a run, when they may have changed what a step is.
        if not self.phasing.plan and not any(rule.sizes_batches for rule in self.rules):
            return horizon.steps_per_epoch()
        if self.run.get("steps_per_epoch") is None:
            self.run["steps_per_epoch"] = horizon.steps_per_epoch()
        return self.run["steps_per_epoch"]


def _start_of(target: Target) -> Value:
    value = target.read()
    return value if isinstance(value, bool | str) else float(value)
