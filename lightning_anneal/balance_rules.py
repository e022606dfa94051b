"""Makes the rules that weigh several losses against each other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lightning_anneal.checks import choice, flag, several_names
from lightning_anneal.clock import Interval, Lengths
from lightning_anneal.config import plain, read_rules, read_timing
from lightning_anneal.controllers.balancing_settings import METHODS, read_balancing
from lightning_anneal.controllers.controller import Controller, Steer
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.recipes import ANY_RUN, Recipe
from lightning_anneal.rules import Rule
from lightning_anneal.schedules import Schedule

BALANCE = "loss weights"
"""What the controller is kept under that all the weights share."""

# Whole epochs tell how fast a loss falls; the others forget by updates, and want many.
_BY_STEP = ("relobralo", "inverse_ema")

# What can stand between two dots of a path.
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Weigh(Steer):
    """One of the weights that a method gives.

    Args:
        method: What it is called in a config.
        controller: The method, which the weights of all losses share.
        losses: The names of all losses.
        output: The loss that this weight is for.
    """

    method: str
    controller: Controller
    losses: tuple[str, ...]
    loss: str

    @property
    def strategy(self) -> str:
        return self.method

    @property
    def shared(self) -> str:
        return BALANCE

    @property
    def output(self) -> str:
        return self.loss

    @property
    def monitors(self) -> tuple[str, ...]:
        return self.losses

    @property
    def needs_start(self) -> bool:
        return False

    def build(self, lengths: Lengths, start: float | None) -> Controller:
        return self.controller


@dataclass(frozen=True)
class Share(Schedule):
    """One of several schedules, as its share of all of them: the shares add up to their number.

    Args:
        curves: The schedules, none of which is ever negative.
        index: Which of them.

    Example:
        >>> from lightning_anneal import Constant, Linear
        >>> [Share((Constant(1.0), Linear(0, 1, 2)), 0)(t) for t in (0, 2)]
        [2.0, 1.0]
    """

    curves: tuple[Schedule, ...]
    index: int

    def __call__(self, t: float) -> float:
        values = [curve(t) for curve in self.curves]
        total = sum(values)
        # Where nothing counts, all count the same.
        return len(values) * values[self.index] / total if total > 0 else 1.0

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, float(len(self.curves))

    @property
    def settles_at(self) -> float:
        return max(curve.settles_at for curve in self.curves)

    def next_event(self, t: float) -> float:
        return min(curve.next_event(t) for curve in self.curves)


@dataclass(frozen=True)
class ShareRecipe:
    """A share of schedules whose lengths may have units."""

    losses: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    index: int

    needs_start = False

    def build(self, lengths: Lengths, start: float | None) -> Schedule:
        curves = []
        for loss, recipe in zip(self.losses, self.recipes, strict=True):
            curves.append(recipe.build(lengths.within(loss, lengths.whole), None))
            _check_share(loss, curves[-1])
        return Share(tuple(curves), self.index)


def _check_share(loss: str, curve: Schedule) -> None:
    """Refuse a weight that has no share."""
    low = curve.bounds[0]
    if low == -math.inf:
        what = "is a function, which may be negative; give a schedule, or normalize: false"
        raise AnnealError(f"weights.{loss}", what)
    if low < 0:
        raise AnnealError(f"weights.{loss}", f"must not be negative, and goes to {low:g}")


def balance_rules(
    losses: Any,
    method: str = "dwa",
    *,
    attr_name: str = "loss_weights",
    interval: str | None = None,
    frequency: int | None = None,
    temperature: float | None = None,
    alpha: float | None = None,
    expected_rho: float | None = None,
    seed: int | None = None,
    decay: float | None = None,
    weights: Any = None,
    normalize: bool = True,
    as_tensor: bool = False,
) -> tuple[Rule, ...]:
    """One rule for each loss: where its weight comes from and where it goes.

    Args:
        losses: The names of the losses; or a mapping of names to the paths of their weights.
        method: How they are weighed.
        attr_name: The mapping of the module that holds the weights, where `losses` names no paths.
        interval: What an update waits for.
        frequency: How many of them.
        temperature: Of ``dwa`` and ``relobralo``, as are the others of the method that has them.
        alpha: Of ``relobralo``.
        expected_rho: Of ``relobralo``.
        seed: Of ``relobralo``.
        decay: Of ``inverse_ema``.
        weights: Of ``fixed``: by loss, a number or the settings of a schedule.
        normalize: Of ``fixed``: whether the weights add up to the number of losses.
        as_tensor: Whether the weights are kept in 0-d tensors.

    Raises:
        AnnealError: For the first thing that is wrong with them.
    """
    params = {"temperature": temperature, "alpha": alpha, "expected_rho": expected_rho, "seed": seed, "decay": decay}
    flag("as_tensor", as_tensor)
    flag("normalize", normalize)
    method = choice("method", method, (*METHODS, "fixed"))
    names, paths = _names_and_paths(plain("losses", losses), attr_name)
    timing = {"interval": interval or ("step" if method in _BY_STEP else None), "frequency": frequency}
    with _told_of_arguments():
        unit, every = read_timing("losses", {key: value for key, value in timing.items() if value is not None})
    if not normalize and method != "fixed":
        raise AnnealError("normalize", f"is for method fixed, not for {method}, whose weights always add up")
    if method == "fixed":
        for key, value in params.items():
            if value is not None:
                raise AnnealError(key, "is for the other methods, not for fixed, which takes weights")
        sources: list[Any] = _fixed(names, weights, unit, normalize=normalize)
    else:
        if weights is not None:
            raise AnnealError("weights", f"are for method fixed, not for {method}")
        with _told_of_arguments():
            controller = read_balancing("losses", list(names), method, params)
        sources = [Weigh(method, controller, names, name) for name in names]
    return tuple(
        Rule(
            name,
            source,
            paths[name],
            interval=unit,
            frequency=every,
            as_tensor=as_tensor,
            as_float=True,
        )
        for name, source in zip(names, sources, strict=True)
    )


@contextmanager
def _told_of_arguments() -> Iterator[None]:
    """Errors in what are arguments of their own here."""
    try:
        yield
    except AnnealError as error:
        raise AnnealError(error.where.removeprefix("losses."), error.what) from None


def _names_and_paths(losses: Any, attr_name: object) -> tuple[tuple[str, ...], dict[str, str]]:
    """The names of the losses, and where the weight of each stands."""
    if isinstance(losses, Mapping):
        names = several_names("losses", list(losses))
        for name in names:
            if not isinstance(losses[name], str) or not losses[name]:
                raise AnnealError(f"losses.{name}", f"must be a dotted path, got {quote(losses[name])}")
        return names, {name: losses[name] for name in names}
    names = several_names("losses", losses)
    if not isinstance(attr_name, str) or not attr_name:
        raise AnnealError("attr_name", f"must be a dotted path, got {quote(attr_name)}")
    for name in names:
        if not _KEY.fullmatch(name):
            what = f"{quote(name)} can't be part of a path; give paths, as in {{{name}: {attr_name}.my_name, ...}}"
            raise AnnealError("losses", what)
    return names, {name: f"{attr_name}.{name}" for name in names}


def _fixed(names: tuple[str, ...], given: Any, interval: Interval, *, normalize: bool) -> list[Recipe]:
    """The schedules of weights that are given."""
    if not isinstance(given, Mapping):
        what = "missing; fixed needs them" if given is None else f"must be a mapping of losses, got {quote(given)}"
        raise AnnealError("weights", f"{what}, such as {{recon: 1.0, kl: {{strategy: linear, ...}}}}")
    for name in given:
        if name not in names:
            raise AnnealError("weights", f"unknown loss {name!r}{suggestion(name, names)}")
    recipes: list[Recipe] = []
    highest: list[float] = []
    for name in names:
        weight = given.get(name, 1.0)
        if isinstance(weight, int | float | str) and not isinstance(weight, bool):
            weight = {"strategy": "constant", "value": weight}
        try:
            [rule] = read_rules({name: plain(name, weight) if isinstance(weight, Mapping) else weight})
        except AnnealError as error:
            raise AnnealError(f"weights.{error.where}", error.what) from None
        source: Any = rule.source
        if not hasattr(source, "build") or isinstance(source, Steer) or rule != Rule(name, source, name):
            answers = not hasattr(source, "build") or isinstance(source, Steer)
            what = f"which {weight['strategy']} is not" if answers else "without keys of time and place"
            raise AnnealError(f"weights.{name}", f"must be a number or a schedule, {what}")
        if source.needs_start:
            raise AnnealError(f"weights.{name}.start_value", "missing; weights begin at no value found")
        recipes.append(source)
        if normalize:
            # With any length, so that what the settings alone show is told now. All lengths may not suit it.
            try:
                curve = source.build(Lengths(name, interval, ANY_RUN), None)
            except AnnealError:
                continue
            _check_share(name, curve)
            highest.append(curve.bounds[1])
    if highest == [0.0] * len(names):
        raise AnnealError("weights", "all are 0, which can't be normalised; give one that isn't, or normalize: false")
    return [ShareRecipe(names, tuple(recipes), i) for i in range(len(names))] if normalize else recipes
