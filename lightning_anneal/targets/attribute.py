"""Finds the place a path leads to, through modules, objects, mappings, lists and tuples.

Only what an instance itself holds is looked at: its dictionary, a module's submodules and buffers, items. No property
runs, no class attribute is shadowed, and nothing that isn't there is made.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping, MutableSequence
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.targets.target import AttributeSlot, ItemSlot, Slot, TupleSlot

_CODE = (type, ModuleType, FunctionType, MethodType, BuiltinFunctionType)


def find(where: str, root: Any, segments: tuple[str, ...]) -> Slot:
    """The place that the segments lead to.

    Args:
        where: The parameter's name, for errors.
        root: Where the path starts.
        segments: As `parse_path` gives them.

    Raises:
        AnnealError: If a name isn't there, with the nearest one that is, or if it is nothing that can be annealed.
    """
    slot = _step(where, unwrapped(root), None, segments[0])
    for segment in segments[1:]:
        slot = _step(where, unwrapped(slot.get()), slot, segment)
    here = unwrapped(slot.get())
    if isinstance(here, torch.nn.Module):
        raise AnnealError(where, f"is a module ({type(here).__name__}); name one of its numbers")
    return slot


def holds(root: Any, name: str) -> bool:
    """Whether an object itself holds a name."""
    return name in _names(unwrapped(root))


def unwrapped(node: Any) -> Any:
    """The module inside a `torch.compile` wrapper: a write into the wrapper would change nothing."""
    while isinstance(node, torch.nn.Module) and "_orig_mod" in node._modules:
        node = node._modules["_orig_mod"]
    return node


def _step(where: str, node: Any, slot: Slot | None, segment: str) -> Slot:
    if isinstance(node, _CODE):
        raise AnnealError(where, f"can't look for {quote(segment)} in code ({getattr(node, '__name__', '?')})")
    if isinstance(node, Mapping):
        return _item(where, node, segment)
    if isinstance(node, MutableSequence | tuple) and not hasattr(node, "_fields"):
        return _element(where, node, slot, segment)
    if isinstance(node, tuple):
        return _field(where, node, slot, segment)
    if isinstance(node, torch.nn.Module):
        return _member(where, node, segment)
    return _attribute(where, node, segment)


def _item(where: str, node: Mapping[Any, Any], segment: str) -> Slot:
    keys: list[Any] = [segment, int(segment)] if segment.isdigit() else [segment]
    for key in keys:
        if key in node:
            if not isinstance(node, MutableMapping) or _is_readonly(node):
                raise AnnealError(where, f"this {type(node).__name__} can't be written to")
            return ItemSlot(node, key)
    raise AnnealError(where, f"{type(node).__name__} has no key {quote(segment)}{suggestion(segment, node)}")


def _is_readonly(node: Any) -> bool:
    omegaconf = sys.modules.get("omegaconf")
    return omegaconf is not None and omegaconf.OmegaConf.is_config(node) and omegaconf.OmegaConf.is_readonly(node)


def _element(where: str, node: MutableSequence[Any] | tuple[Any, ...], slot: Slot | None, segment: str) -> Slot:
    if not segment.isdigit() or int(segment) >= len(node):
        what = f"{type(node).__name__} of length {len(node)} has no element {quote(segment)}"
        raise AnnealError(where, f"{what}; take 0 to {len(node) - 1}" if node else what)
    if isinstance(node, tuple):
        if slot is None:
            raise AnnealError(where, "a tuple can't be changed; start the path at what holds it")
        return TupleSlot(slot, int(segment))
    return ItemSlot(node, int(segment))


def _field(where: str, node: Any, slot: Slot | None, segment: str) -> Slot:
    if segment in node._fields:
        segment = str(node._fields.index(segment))
    return _element(where, node, slot, segment)


def _member(where: str, node: torch.nn.Module, segment: str) -> Slot:
    if segment in node._parameters:
        raise AnnealError(where, f"{quote(segment)} is a learnable Parameter, which the optimizer writes")
    if segment in node._modules:
        return ItemSlot(node._modules, segment)
    if segment in node._buffers:
        return ItemSlot(node._buffers, segment)
    if segment == "hparams" and "_hparams" in vars(node):
        return ItemSlot(vars(node), "_hparams")
    return _attribute(where, node, segment)


def _attribute(where: str, node: Any, segment: str) -> Slot:
    if segment == "hparams" and "_hparams" in getattr(node, "__dict__", {}):
        return ItemSlot(vars(node), "_hparams")
    if segment not in getattr(node, "__dict__", {}):
        raise _absent(where, node, segment)
    if getattr(getattr(type(node), "__dataclass_params__", None), "frozen", False):
        raise AnnealError(where, f"{type(node).__name__} is a frozen dataclass")
    # A plain attribute is written into the instance dictionary, at a fiftieth of what `setattr` costs on a module.
    # An own `__setattr__` or a descriptor means that a write does more than that.
    setter: object = type(node).__setattr__
    own_setter = setter is not object.__setattr__ and setter is not torch.nn.Module.__setattr__
    if own_setter or hasattr(getattr(type(node), segment, None), "__set__"):
        return AttributeSlot(node, segment)
    return ItemSlot(vars(node), segment)


def _absent(where: str, node: Any, segment: str) -> AnnealError:
    kind = type(node).__name__
    in_class = next((vars(c)[segment] for c in type(node).__mro__ if segment in vars(c)), None)
    if isinstance(in_class, property):
        return AnnealError(where, f"{quote(segment)} is a property of {kind}; name the attribute behind it")
    if hasattr(in_class, "__set__"):
        return AnnealError(
            where, f"{quote(segment)} of {kind} is no entry of its __dict__, and only those can be annealed"
        )
    if callable(in_class):
        return AnnealError(where, f"{quote(segment)} is a method of {kind}")
    if in_class is not None:
        return AnnealError(where, f"{quote(segment)} is a class attribute of {kind}; set self.{segment} in __init__")
    return AnnealError(where, f"{kind} has no attribute {quote(segment)}{suggestion(segment, _names(node))}")


def _names(node: Any) -> list[str]:
    if isinstance(node, Mapping):
        return [str(k) for k in node]
    names = list(getattr(node, "__dict__", {}))
    if isinstance(node, torch.nn.Module):
        names += [*node._modules, *node._buffers]
    return [n for n in names if not n.startswith("_")]
