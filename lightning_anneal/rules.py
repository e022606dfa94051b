"""One rule: which value comes from where, goes where, and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lightning_anneal.clock import Interval
from lightning_anneal.controllers.controller import Steer
from lightning_anneal.follow import Follow
from lightning_anneal.phases import Phased
from lightning_anneal.recipes import Recipe
from lightning_anneal.triggers.reaction import Reaction


@dataclass(frozen=True)
class Rule:
    """Joins a source of values to a target.

    Args:
        name: The parameter's name, as in configs, logs and checkpoints.
        source: Where the values come from: a recipe, which builds a schedule when the run is known, a reaction to
            events, what a config says of a controller, which steers by metrics, another parameter to follow,
            or what the phases of a run say.
        path: Where the value goes, a dotted path from `object`.
        object: The object the path starts from, or the name of one (``"model"``, ``"optimizer"``, ``"datamodule"``,
            ``"trainer"``); ``None`` for the default one.
        interval: What the schedule's ``t`` counts, ``"epoch"`` or ``"step"``.
        frequency: Update at every n-th epoch (or step); the value holds in between.
        round: Round to whole numbers, half up, for a target that holds an int.
        eval_value: Value in force while validating, testing and predicting.
        as_tensor: Keep the value in a 0-d tensor that is filled in place.
        as_float: Write floats even where an int was found.
        optional: Leave the rule out where the model has no such parameter.
        scale_lr: How the learning rate follows a batch size, ``"linear"`` or ``"sqrt"``.
    """

    name: str
    source: Recipe | Reaction | Steer | Follow | Phased
    path: str
    object: Any = None
    interval: Interval = "epoch"
    frequency: int = 1
    round: bool = False
    eval_value: float | None = None
    as_tensor: bool = False
    as_float: bool = False
    optional: bool = False
    scale_lr: str | None = None

    @property
    def sizes_batches(self) -> bool:
        """Whether its path names a batch size."""
        return self.path.split(".")[-1] == "batch_size"

    def due(self, t: int) -> int:
        """The epoch (or step) at or before ``t`` at which this rule last had its turn.

        Example:
            >>> Rule("beta", None, "beta", frequency=5).due(13)  # type: ignore[arg-type]
            10
        """
        return t - t % self.frequency
