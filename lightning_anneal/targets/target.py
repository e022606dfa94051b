"""A target: one resolved place that can be read and written, and that keeps the kind of value it holds."""

from __future__ import annotations

import math
from collections.abc import MutableMapping, MutableSequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from lightning_anneal.checks import Value
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.targets.ranges import check_range, least


class Slot(Protocol):
    """A place a Python value sits in."""

    def get(self) -> Any:
        """The value."""
        ...

    def set(self, value: Any) -> None:
        """Put another value there."""
        ...

    @property
    def identity(self) -> tuple[int, object]:
        """What tells this place from every other one."""
        ...


@dataclass(frozen=True)
class ItemSlot:
    """An entry of a mapping or list; also an attribute, by way of its object's instance dictionary."""

    container: MutableMapping[Any, Any] | MutableSequence[Any]
    key: Any

    def get(self) -> Any:
        return self.container[self.key]

    def set(self, value: Any) -> None:
        self.container[self.key] = value

    @property
    def identity(self) -> tuple[int, object]:
        return id(self.container), self.key


@dataclass(frozen=True)
class AttributeSlot:
    """An attribute of an object that has its own ``__setattr__``, which is respected."""

    owner: Any
    name: str

    def get(self) -> Any:
        return vars(self.owner)[self.name]

    def set(self, value: Any) -> None:
        setattr(self.owner, self.name, value)

    @property
    def identity(self) -> tuple[int, object]:
        return id(vars(self.owner)), self.name


@dataclass(frozen=True)
class TupleSlot:
    """A member of a tuple, such as ``betas.0``: the whole tuple is replaced."""

    home: Slot
    index: int

    def get(self) -> Any:
        return self.home.get()[self.index]

    def set(self, value: Any) -> None:
        old = self.home.get()
        members = (*old[: self.index], value, *old[self.index + 1 :])
        # A namedtuple takes its members one by one.
        self.home.set(type(old)(*members) if hasattr(old, "_fields") else type(old)(members))

    @property
    def identity(self) -> tuple[int, object]:
        return (self.home.identity[0], (self.home.identity[1], self.index))


@dataclass
class Target:
    """One place to write to. The kind of value found there (float, int, 0-d tensor, bool, string) is kept.

    Args:
        name: The name it is reported under.
        slot: The place.
        round: Whether an int target rounds, half up; otherwise fractions are an error.
        as_float: Whether an int found there gives way to floats.
        key: The key whose range holds (see `check_range`), if any.
        any_kind: Whether a bool or a string is as good as a number: for a list of values, and not for a schedule.
    """

    name: str
    slot: Slot
    round: bool = False
    as_float: bool = False
    key: str | None = None
    any_kind: bool = False

    def __post_init__(self) -> None:
        value = self.slot.get()
        self.in_place = isinstance(value, torch.Tensor)
        self.kind: type = type(value) if self.any_kind and type(value) in (bool, str) else float
        self.whole = isinstance(value, int) and not self.as_float
        if isinstance(value, torch.nn.Parameter):
            raise AnnealError(self.name, "is a learnable Parameter, which the optimizer writes; keep it in a buffer")
        if isinstance(value, torch.Tensor):
            if value.dim() != 0:
                raise AnnealError(
                    self.name, f"is a tensor of shape {tuple(value.shape)}; only 0-d tensors take a value"
                )
            if value.dtype == torch.bool or value.is_complex():
                raise AnnealError(self.name, f"is a tensor of {value.dtype}; a schedule gives numbers")
            self.whole = not value.is_floating_point()
        elif value is None:
            raise AnnealError(self.name, "is None; give it a number to start from")
        elif self.kind is float and (isinstance(value, bool) or not isinstance(value, int | float)):
            what = f"is {quote(value)}" if type(value) in (bool, str) else f"holds a {type(value).__name__}"
            raise AnnealError(self.name, f"{what}; a schedule gives numbers")

    def read(self) -> Value:
        """The value now in force, as a plain Python value."""
        value = self.slot.get()
        return value.item() if isinstance(value, torch.Tensor) else value

    def cast(self, value: Value) -> Value:
        """The value as this target would hold it.

        Raises:
            AnnealError: For a value of another kind, NaN and infinities, values out of range, and fractions on an int
                target.
        """
        given = type(value) if isinstance(value, bool | str) else float
        if given is not self.kind:
            kinds = {bool: "true or false", str: "a string", float: "a number"}
            raise AnnealError(self.name, f"holds {kinds[self.kind]}, and its values give {quote(value)}")
        if isinstance(value, bool | str):
            return value
        if not math.isfinite(value):
            raise AnnealError(self.name, f"must be a finite number, got {value}")
        if self.whole and self.round:
            value = math.floor(value + 0.5)
        check_range(self.name, self.key, value, value)
        if not self.whole:
            return float(value)
        if value != int(value):
            what = f"holds an int and would get {value:g}"
            raise AnnealError(self.name, f"{what}; write {self.read()}.0 in the module, or set round: true")
        return int(value)

    @property
    def least(self) -> float:
        """The least value in its range."""
        return least(self.key)

    def rounded(self, value: Value) -> Value:
        """A value as it will be read again: a tensor of 32 bits holds no 0.1."""
        if not self.in_place or self.whole:
            return value
        return float(torch.tensor(value, dtype=self.slot.get().dtype).item())

    def write(self, value: Value) -> None:
        """Put a value in force."""
        cast = self.cast(value)
        if self.in_place:
            # Filled in place: a compiled module or optimizer that holds the tensor sees it and never recompiles.
            with torch.no_grad():
                self.slot.get().fill_(cast)
        else:
            self.slot.set(cast)

    @property
    def can_hold_tensor(self) -> bool:
        """Whether a 0-d tensor can take the number's place: what reads it there may as well read a tensor."""
        slot = self.slot.home if isinstance(self.slot, TupleSlot) else self.slot
        return self.kind is float and isinstance(slot, ItemSlot) and type(slot.container) is dict

    @property
    def shortcut(self) -> tuple[MutableMapping[Any, Any], Any] | None:
        """The dictionary and key that a float may be stored under directly, without a check; ``None`` if not so."""
        slot = self.slot
        if self.in_place or self.whole or self.kind is not float:
            return None
        if not isinstance(slot, ItemSlot) or type(slot.container) is not dict:
            return None
        return slot.container, slot.key
