"""From a rule to its targets: which object a path starts from, and every place it leads to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from lightning_anneal.errors import AnnealError, suggestion
from lightning_anneal.rules import Rule
from lightning_anneal.targets.attribute import find, holds, unwrapped
from lightning_anneal.targets.optimizer import check_not_owned, find_in_groups
from lightning_anneal.targets.path import parse_path
from lightning_anneal.targets.target import Slot, Target
from lightning_anneal.triggers.reaction import Reaction

TRAINER_KEYS = ("accumulate_grad_batches", "gradient_clip_val", "log_every_n_steps")
"""What Lightning reads from the trainer anew while it trains."""

_PREFIXES = ("optimizer", "optimizers", "datamodule", "trainer")


@dataclass(frozen=True)
class Roots:
    """The objects that paths can start from.

    Args:
        model: The module; in a loop of one's own, whatever holds the parameters.
        optimizers: The optimizers.
        datamodule: The datamodule.
        trainer: The trainer.
        schedulers: The LR schedulers, whose keys can't be annealed.
        loaders: The datamodule or module that makes the training data loaders; ``None`` if they were given ready made.
        fits: Whether this is a fit, in which a batch size takes effect only by way of new loaders.
    """

    model: Any = None
    optimizers: Sequence[Optimizer] = ()
    datamodule: Any = None
    trainer: Any = None
    schedulers: Sequence[Any] = field(default=())
    loaders: Any = None
    fits: bool = False


@dataclass(frozen=True)
class Resolved:
    """The targets of one rule.

    Args:
        targets: One target, or one for each parameter group under ``*``.
        home: The kind of object the path started from, ``"model"`` for everything that is no other one.
        shadowed: Whether the module's hparams hold the same name, and the module was taken.
        batch_size: Whether it is the batch size of the training data.
    """

    targets: tuple[Target, ...]
    home: str
    shadowed: bool = False
    batch_size: bool = False


def home_of(rule: Rule, segments: tuple[str, ...]) -> str:
    """Which kind of object a rule's path starts from, as far as the rule alone shows."""
    if isinstance(rule.object, str):
        return rule.object
    if rule.object is None and segments[0] in _PREFIXES:
        return segments[0].removesuffix("s")
    return "optimizer" if isinstance(rule.object, Optimizer) else "model"


def resolve(rule: Rule, roots: Roots) -> Resolved:
    """Find the targets of a rule. Nothing is written.

    Raises:
        AnnealError: If the path leads nowhere, or to what can't be annealed.
    """
    segments = parse_path(rule.name, rule.path)
    home = home_of(rule, segments)
    # The last name that is no index: "betas" in "betas.0".
    key = next((s for s in reversed(segments) if not s.isdigit()), segments[-1])
    shadowed = False
    if home == "optimizer":
        named = _in_optimizer(rule, roots, segments)
    elif rule.object is not None and not isinstance(rule.object, str):
        named = [("", find(rule.name, rule.object, segments))]
    elif home == "trainer":
        named = [("", _in_trainer(rule, roots, segments))]
    elif home == "datamodule":
        named = [("", _in_datamodule(rule, roots, segments))]
    else:
        slot, shadowed = _in_model(rule, roots, segments)
        named = [("", slot)]
    several = "*" in segments
    if several and home != "optimizer":
        raise AnnealError(rule.name, "'*' stands for the parameter groups of an optimizer and nothing else")
    # torch's own default for weight_decay is the int 0, and people write gradient_clip_val=1: both mean floats.
    as_float = rule.as_float or home == "optimizer" or key == "gradient_clip_val"
    batch_size = key == "batch_size" and home in ("model", "datamodule") and _sizes_batches(rule, roots, home)
    if rule.scale_lr is not None and not batch_size:
        raise AnnealError(f"{rule.name}.scale_lr", "is for the batch size of the training data")
    ranged = key if batch_size or home in ("optimizer", "trainer") else None
    rounds = rule.round or batch_size or (home == "trainer" and key == "accumulate_grad_batches")
    any_kind = isinstance(rule.source, Reaction)
    targets = tuple(
        Target(_group_name(rule.name, label) if several else rule.name, slot, rounds, as_float, ranged, any_kind)
        for label, slot in named
    )
    if batch_size and roots.fits and not targets[0].whole:
        raise AnnealError(rule.name, f"must be an int, is {targets[0].read()}")
    return Resolved(targets, home, shadowed, batch_size)


def _sizes_batches(rule: Rule, roots: Roots, home: str) -> bool:
    """Whether a ``batch_size`` is that of the training data, which a fit has to load anew when it changes."""
    if not roots.fits:
        return True
    if roots.loaders is None:
        what = "loaders given to fit() can't get another batch size; make them in a LightningDataModule"
        raise AnnealError(rule.name, what)
    owner = roots.datamodule if home == "datamodule" else roots.model
    if owner is not roots.loaders:
        maker = type(roots.loaders).__name__
        raise AnnealError(rule.name, f"the training data comes from {maker}; anneal the batch_size there")
    if rule.interval != "epoch":
        raise AnnealError(f"{rule.name}.interval", "must be 'epoch': a batch size changes between epochs")
    return True


def _group_name(name: str, group: str) -> str:
    """The name of one group's parameter: the group in the place of ``*``, or behind a name of the user's own."""
    return name.replace("*", group) if "*" in name else f"{name}/{group}"


def _without(prefix: str, rule: Rule, segments: tuple[str, ...]) -> tuple[str, ...]:
    """The path behind a leading root name, which a rule with an `object` doesn't have."""
    rest = segments[1:] if rule.object is None and segments[0] == prefix else segments
    if not rest:
        raise AnnealError(rule.name, f"'{prefix}' alone is no parameter; name one inside it")
    return rest


def _in_optimizer(rule: Rule, roots: Roots, segments: tuple[str, ...]) -> list[tuple[str, Slot]]:
    if isinstance(rule.object, Optimizer):
        optimizer, rest = rule.object, segments
    elif rule.object is None and segments[0] == "optimizers":
        optimizer, rest = _numbered(rule, roots, segments)
    else:
        rest = _without("optimizer", rule, segments)
        if len(roots.optimizers) != 1:
            raise AnnealError(
                rule.name,
                f"there are {len(roots.optimizers)} optimizers; write optimizers.N.{'.'.join(rest)}"
                if roots.optimizers
                else "there is no optimizer here",
            )
        optimizer = roots.optimizers[0]
    found = find_in_groups(rule.name, optimizer, rest)
    check_not_owned(rule.name, optimizer, rest[2], roots.schedulers)
    return found


def _numbered(rule: Rule, roots: Roots, segments: tuple[str, ...]) -> tuple[Optimizer, tuple[str, ...]]:
    if len(segments) < 2 or not segments[1].isdigit() or int(segments[1]) >= len(roots.optimizers):
        raise AnnealError(rule.name, f"write optimizers.N with N from 0 to {len(roots.optimizers) - 1}")
    return roots.optimizers[int(segments[1])], segments[2:]


def _in_trainer(rule: Rule, roots: Roots, segments: tuple[str, ...]) -> Slot:
    rest = _without("trainer", rule, segments)
    if roots.trainer is None:
        raise AnnealError(rule.name, "there is no trainer here")
    if len(rest) != 1 or rest[0] not in TRAINER_KEYS:
        what = f"the trainer's '{'.'.join(rest)}' can't be changed while it trains"
        raise AnnealError(rule.name, f"{what}{suggestion('.'.join(rest), TRAINER_KEYS)}")
    return find(rule.name, roots.trainer, rest)


def _in_datamodule(rule: Rule, roots: Roots, segments: tuple[str, ...]) -> Slot:
    rest = _without("datamodule", rule, segments)
    if roots.datamodule is None:
        if roots.trainer is None:
            raise AnnealError(rule.name, 'there is no datamodule here; give objects={"datamodule": ...}')
        direct = roots.fits and rest[-1] == "batch_size"
        other = "make the loaders in a LightningDataModule" if direct else "or anneal a module's attribute"
        raise AnnealError(rule.name, f"there is no datamodule; give one to fit(), {other}")
    return _own_or_hparams(rule, roots.datamodule, rest)[0]


def _in_model(rule: Rule, roots: Roots, segments: tuple[str, ...]) -> tuple[Slot, bool]:
    if roots.model is None:
        raise AnnealError(
            rule.name, 'there is no model here; give objects={"model": ...}, or an object in the settings'
        )
    model = unwrapped(roots.model)
    first = segments[0]
    if first in ("self", "model") and len(segments) > 1 and not holds(model, first) and first not in _hparams(model):
        inside = ".".join(segments[1:])
        raise AnnealError(rule.name, f"paths start inside the module; write '{inside}'")
    return _own_or_hparams(rule, model, segments)


def _own_or_hparams(rule: Rule, owner: Any, segments: tuple[str, ...]) -> tuple[Slot, bool]:
    """The owner's own name goes before the one in its hparams; and whether both have it."""
    hparams = _hparams(owner)
    in_hparams = segments[0] in hparams
    if in_hparams and not holds(owner, segments[0]):
        return find(rule.name, hparams, segments), False
    return find(rule.name, owner, segments), in_hparams


def _hparams(owner: Any) -> Any:
    return getattr(owner, "__dict__", {}).get("_hparams", {})


def has_it(rule: Rule, roots: Roots) -> bool:
    """Whether the module or its hparams have the parameter of an optional rule."""
    first, model = parse_path(rule.name, rule.path)[0], unwrapped(roots.model)
    return holds(model, first) or first in _hparams(model)
