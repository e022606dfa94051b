"""Targets in optimizers: parameter groups by number, by name, or all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch.optim import Optimizer

from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.targets.attribute import find
from lightning_anneal.targets.target import ItemSlot, Slot, Target, TupleSlot


def find_in_groups(where: str, optimizer: Optimizer, segments: tuple[str, ...]) -> list[tuple[str, Slot]]:
    """The places a path such as ``param_groups.*.weight_decay`` leads to, each with its group's number.

    Raises:
        AnnealError: If there is no such group or key.
    """
    if segments[:1] != ("param_groups",) or len(segments) < 3:
        what = "a path into an optimizer reads param_groups.GROUP.KEY, GROUP being a number, a name or *"
        raise AnnealError(where, f"{what}; got {quote('.'.join(segments))}")
    group, rest = segments[1], segments[2:]
    if rest[0] == "params":
        raise AnnealError(where, "'params' are the model's weights, which the optimizer itself writes")
    numbers = _matching(where, optimizer, group)
    return [(str(i), find(where, optimizer.param_groups[i], rest)) for i in numbers]


def _matching(where: str, optimizer: Optimizer, group: str) -> list[int]:
    groups = optimizer.param_groups
    if group == "*":
        return list(range(len(groups)))
    names = [g.get("name") for g in groups]
    if group in names:
        return [names.index(group)]
    if not group.isdigit():
        raise AnnealError(where, f"no parameter group is named '{group}'{suggestion(group, [n for n in names if n])}")
    if int(group) >= len(groups):
        raise AnnealError(where, f"there is no parameter group {group}; the optimizer has {len(groups)}")
    return [int(group)]


def check_not_owned(where: str, optimizer: Optimizer, key: str, schedulers: Iterable[Any]) -> None:
    """Refuse a key that an LR scheduler writes: each would undo what the other does.

    Args:
        where: The parameter's name, for the error.
        optimizer: The optimizer the key is in.
        key: The group's key, such as ``"lr"``.
        schedulers: The run's LR schedulers.

    Raises:
        AnnealError: If one of them owns the key.
    """
    for scheduler in schedulers:
        if getattr(scheduler, "optimizer", None) is optimizer and key in _owned_keys(scheduler):
            kind = getattr(scheduler, "shown_as", type(scheduler).__name__)
            raise AnnealError(where, f"owned by {kind}; anneal another key or drop that scheduler")


# torch branches on the others, which as tensors keep its compiler from making one graph of a step.
_TENSORS = ("lr", "betas")


def check_takes_tensor(where: str, target: Target) -> None:
    """Refuse a tensor where a torch optimizer refuses it in its first step, or where it keeps that step from compiling.

    Raises:
        AnnealError: For another key than a learning rate or betas, and for an optimizer such as Adam with
            ``foreach=True``.
    """
    slot = target.slot.home if isinstance(target.slot, TupleSlot) else target.slot
    key = getattr(slot, "key", None)
    if key not in _TENSORS:
        raise AnnealError(where, f"of a parameter group only lr and betas become tensors; leave it out for '{key}'")
    group = slot.container if isinstance(slot, ItemSlot) and isinstance(slot.container, dict) else {}
    if group.get("foreach") and group.get("capturable") is False:
        what = "torch takes no tensor there with foreach=True"
        raise AnnealError(where, f"{what}; leave foreach out, or set capturable=True")


def _owned_keys(scheduler: Any) -> set[str]:
    keys = {"lr"}
    # OneCycleLR and CyclicLR move the momentum against the LR, in whichever key the optimizer keeps it.
    if getattr(scheduler, "cycle_momentum", False):
        keys |= {"momentum", "betas"}
    # SequentialLR and ChainedScheduler have others in them, and so has a scheduler that is stepped now and then.
    for part in [*getattr(scheduler, "_schedulers", []), *filter(None, [getattr(scheduler, "inner", None)])]:
        keys |= _owned_keys(part)
    return keys
