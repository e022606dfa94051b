"""LR schedules under the names that Hugging Face's Trainer knows them by.

Each is a factor of the base learning rate in closed form, by Hugging Face's rules (``transformers/optimization.py``)
with one difference: where the run is longer than `num_training_steps`, the last value holds, where theirs of a cosine
rises again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lightning_anneal.checks import choice, not_negative, number, positive
from lightning_anneal.clock import Length, Lengths
from lightning_anneal.errors import AnnealError, nearest, quote
from lightning_anneal.schedules import Constant

Curve = Callable[[float], float]
Plan = Callable[[Lengths], Curve]

SHAPES = ("linear", "cosine", "1-sqrt")
"""What a warm-up and a decay of ``warmup_stable_decay`` can look like."""

_WARMUP = ("warmup_steps", "warmup_ratio")
_RUN = "num_training_steps"


def plan(name: str, where: str, kwargs: Mapping[str, Any], base_lr: float) -> Plan:
    """What makes the curve once the run is known.

    Args:
        name: One of `NAMES`, but for ``reduce_lr_on_plateau``, which is torch's.
        where: The key that the arguments stand under, for errors.
        kwargs: The arguments.
        base_lr: The optimizer's learning rate, which absolute ones (``lr_end``, ``min_lr``) are made relative to.

    Raises:
        AnnealError: For an unknown, missing or contradictory argument, or a value out of range.

    Example:
        >>> from lightning_anneal.clock import Horizon
        >>> run = Lengths("scheduler_kwargs", "step", Horizon(max_steps=100))
        >>> curve = plan("linear", "scheduler_kwargs", {"warmup_ratio": 0.1}, 0.001)(run)
        >>> [curve(t) for t in (0, 5, 10, 55, 100)]
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    kind = _KINDS[name]
    known = (*(_WARMUP if kind.warms_up else ()), *((_RUN,) if kind.ends else ()), *kind.options)
    for key in kwargs:
        if key not in known:
            near = nearest(key, known) or f"; it takes {', '.join(known) or 'nothing'}"
            raise AnnealError(where, f"{name} takes no {quote(key)}{near}")
    given = {key: value for key, value in kwargs.items() if value is not None}
    if "warmup_steps" in given and "warmup_ratio" in given:
        raise AnnealError(f"{where}.warmup_ratio", "warmup_steps says it too; keep one")
    options = {key: read(f"{where}.{key}", given[key]) for key, read in kind.options.items() if key in given}
    lengths = {key: _steps(f"{where}.{key}", given[key]) for key in (_RUN, "warmup_steps") if key in given}
    ratio = _share(f"{where}.warmup_ratio", given.get("warmup_ratio", 0.0))
    if name == "warmup_stable_decay" and "num_decay_steps" not in options:
        raise AnnealError(f"{where}.num_decay_steps", f"missing; {name} takes {', '.join(known)}")
    if "num_stable_steps" in options and _RUN in lengths:
        raise AnnealError(f"{where}.{_RUN}", "num_stable_steps says it too; keep one")
    _check_floor(name, where, options, base_lr)

    def build(found: Lengths) -> Curve:
        def training() -> float:
            return found(_RUN, lengths[_RUN]) if _RUN in lengths else found.run(_RUN)

        warmup = 0.0
        if "warmup_steps" in lengths:
            length = lengths["warmup_steps"]
            warmup = 0.0 if length.amount == 0 else found("warmup_steps", length)
        elif ratio > 0:
            try:
                run = training()
            except AnnealError:
                if kind.ends:
                    raise
                what = "warmup_ratio needs the length of the run, which is not known; give warmup_steps"
                raise AnnealError(f"{where}.warmup_steps", what) from None
            # Rounded up, as Hugging Face does.
            warmup = found.asked["warmup_steps"] = float(math.ceil(run * ratio))
        return kind.make(_Given(found, warmup, training, options, base_lr))

    return build


@dataclass(frozen=True)
class _Given:
    """What a kind makes its curve of."""

    lengths: Lengths
    warmup: float
    training: Callable[[], float]
    options: Mapping[str, Any]
    base_lr: float

    def progress(self) -> Curve:
        """The share of the time after the warm-up that is over at ``t``."""
        warmup, span = self.warmup, max(self.training() - self.warmup, 1.0)
        return lambda t: min((t - warmup) / span, 1.0)

    def warmed(self, after: Curve) -> Curve:
        """A line from 0 to 1 over the warm-up, then `after`."""
        warmup = self.warmup
        return lambda t: t / warmup if t < warmup else after(t)

    def relative(self, rate: float) -> float:
        """A learning rate as a factor of the base one."""
        return rate / self.base_lr if self.base_lr > 0 else 0.0

    def floor(self) -> float:
        """The least factor."""
        if "min_lr" in self.options:
            return self.relative(self.options["min_lr"])
        return float(self.options.get("min_lr_rate", self.options.get("min_lr_ratio", 0.0)))


def _linear(given: _Given) -> Curve:
    progress = given.progress()
    return given.warmed(lambda t: 1.0 - progress(t))


def _cosine(given: _Given) -> Curve:
    progress, turns, floor = given.progress(), given.options.get("num_cycles", 0.5), given.floor()
    return given.warmed(lambda t: _above(floor, _wave(turns * 2 * progress(t))))


def _cosine_with_restarts(given: _Given) -> Curve:
    progress, cycles = given.progress(), given.options.get("num_cycles", 1.0)

    def after(t: float) -> float:
        share = progress(t)
        return 0.0 if share >= 1 else _wave(cycles * share % 1.0)

    return given.warmed(after)


def _polynomial(given: _Given) -> Curve:
    progress, power = given.progress(), given.options.get("power", 1.0)
    end = given.relative(given.options.get("lr_end", 1e-7))
    return given.warmed(lambda t: (1.0 - end) * (1.0 - progress(t)) ** power + end)


def _constant(given: _Given) -> Curve:
    return Constant(1.0)


def _constant_with_warmup(given: _Given) -> Curve:
    return given.warmed(lambda t: 1.0)


def _inverse_sqrt(given: _Given) -> Curve:
    warmup = given.warmup
    scale = given.lengths("timescale", given.options["timescale"]) if "timescale" in given.options else warmup or 1e4
    return given.warmed(lambda t: 1.0 / math.sqrt((t + scale - warmup) / scale))


def _cosine_warmup_with_min_lr(given: _Given) -> Curve:
    # Each value is the one that the plain form has a step later, so that no step is trained at 0.
    warmup, rate = given.warmup, given.options.get("warmup_lr_rate")
    turns, floor, span = given.options.get("num_cycles", 0.5), given.floor(), max(given.training() - given.warmup, 1.0)

    def curve(t: float) -> float:
        if t >= warmup:
            return _above(floor, _wave(turns * 2 * min((t - warmup + 1) / span, 1.0)))
        return (t + 1) / warmup if rate is None else rate + (1 - rate) * t / max(warmup - 1, 1.0)

    return curve


def _warmup_stable_decay(given: _Given) -> Curve:
    warmup, floor, options = given.warmup, given.floor(), given.options
    decay = given.lengths("num_decay_steps", options["num_decay_steps"])
    if "num_stable_steps" in options:
        stable = given.lengths("num_stable_steps", options["num_stable_steps"])
    else:
        stable = given.training() - warmup - decay
        if stable < 0:
            what = f"warm-up ({warmup:g}) and decay ({decay:g}) are longer than the whole ({given.training():g})"
            raise AnnealError(f"{given.lengths.where}.num_decay_steps", what)
    rise, fall, turns = options.get("warmup_type", "linear"), options.get("decay_type", "cosine"), 2.0
    turns *= options.get("num_cycles", 0.5)
    begins, ends = warmup + stable, warmup + stable + decay

    def curve(t: float) -> float:
        if t < warmup:
            share = t / warmup
            shapes = {"linear": share, "cosine": 1.0 - _wave(share), "1-sqrt": 1.0 - math.sqrt(1.0 - share)}
            return _above(floor, shapes[rise])
        if t < begins:
            return 1.0
        if t >= ends:
            return floor
        share = (t - begins) / decay
        shapes = {"linear": 1.0 - share, "cosine": _wave(turns * share), "1-sqrt": 1.0 - math.sqrt(share)}
        return _above(floor, shapes[fall])

    return curve


def _wave(turns: float) -> float:
    """A cosine from 1 to 0 over half a turn, here counted as 1."""
    return 0.5 * (1.0 + math.cos(math.pi * turns))


def _above(floor: float, factor: float) -> float:
    return max(factor * (1.0 - floor) + floor, 0.0)


def _check_floor(name: str, where: str, options: Mapping[str, Any], base_lr: float) -> None:
    for key in ("lr_end", "min_lr"):
        if options.get(key, 0.0) > base_lr:
            raise AnnealError(f"{where}.{key}", f"{options[key]:g} is above the learning rate, {base_lr:g}")
    if "min_lr" in options and "min_lr_rate" in options:
        raise AnnealError(f"{where}.min_lr_rate", "min_lr says it too; keep one")
    if "with_min_lr" in name and not {"min_lr", "min_lr_rate"} & set(options):
        raise AnnealError(f"{where}.min_lr", f"missing; {name} needs min_lr or min_lr_rate")


def _share(where: str, value: object) -> float:
    share = number(where, value)
    if not 0 <= share <= 1:
        raise AnnealError(where, f"must be from 0 to 1, got {quote(value)}")
    return share


def _steps(where: str, value: object) -> Length:
    length = Length.parse(where, value, zero=where.endswith("warmup_steps"))
    if length.unit == "" and length.amount != int(length.amount):
        raise AnnealError(where, f"must be a whole number, or a share of the run such as '10%', got {quote(value)}")
    return length


def _shape(where: str, value: object) -> str:
    return choice(where, value, SHAPES)


@dataclass(frozen=True)
class _Kind:
    """One of the names.

    Args:
        make: Makes the curve.
        options: Arguments of its own, each with what reads it.
        warms_up: Whether it takes a warm-up.
        ends: Whether it needs to know how long the run is.
    """

    make: Callable[[_Given], Curve]
    options: Mapping[str, Callable[[str, object], Any]]
    warms_up: bool = True
    ends: bool = True


_MIN_LR = {"num_cycles": positive, "min_lr": not_negative, "min_lr_rate": _share}

_KINDS = {
    "linear": _Kind(_linear, {}),
    "cosine": _Kind(_cosine, {"num_cycles": positive}),
    "cosine_with_restarts": _Kind(_cosine_with_restarts, {"num_cycles": positive}),
    "polynomial": _Kind(_polynomial, {"lr_end": not_negative, "power": positive}),
    "constant": _Kind(_constant, {}, warms_up=False, ends=False),
    "constant_with_warmup": _Kind(_constant_with_warmup, {}, ends=False),
    "inverse_sqrt": _Kind(_inverse_sqrt, {"timescale": Length.parse}, ends=False),
    "cosine_with_min_lr": _Kind(_cosine, _MIN_LR),
    "cosine_warmup_with_min_lr": _Kind(_cosine_warmup_with_min_lr, {**_MIN_LR, "warmup_lr_rate": _share}),
    "warmup_stable_decay": _Kind(
        _warmup_stable_decay,
        {
            "num_decay_steps": _steps,
            "num_stable_steps": _steps,
            "warmup_type": _shape,
            "decay_type": _shape,
            "min_lr_ratio": _share,
            "num_cycles": positive,
        },
    ),
}

PLATEAU = "reduce_lr_on_plateau"
NAMES = (*_KINDS, PLATEAU)
"""The names."""
