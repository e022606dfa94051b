"""Parameter groups from a config: by pattern, by prefix, the recurrent weights, and what gets no weight decay."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from lightning_anneal.checks import not_negative
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.optim.optimizers import OPTIMIZERS
from lightning_anneal.optim.registry import checked_mapping

REST = "default"
"""The group of all that no other group takes."""

_WHERE = "lr_parameter_groups"
_OWN_KEYS = ("pattern", "prefix", "lr", "lr_factor")
_NORMS = (
    *(nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm),
    *((nn.RMSNorm,) if hasattr(nn, "RMSNorm") else ()),
)

Taking = Callable[[str], bool]


@dataclass
class Group:
    """A parameter group.

    Args:
        name: Its name.
        options: What it has of its own, such as ``lr`` and ``weight_decay``.
        names: The parameters in it, by their names in the module.
        params: The parameters.
    """

    name: str
    options: dict[str, Any]
    names: list[str] = field(default_factory=list)
    params: list[nn.Parameter] = field(default_factory=list)


def parameter_groups(
    module: nn.Module,
    base_lr: float,
    known: Iterable[str],
    *,
    lr_parameter_groups: Mapping[str, Any] | None = None,
    recurrent_learning_rate_multiplier: float | None = None,
    no_decay: Iterable[str] | None = None,
) -> list[Group]:
    """The module's parameters in groups; a parameter is in the first one that takes it.

    Args:
        module: The module.
        base_lr: The learning rate that factors multiply.
        known: What the optimizer takes as options of a group.
        lr_parameter_groups: ``{name: {pattern or prefix, lr or lr_factor, any option of the optimizer}}``. A pattern is
            a regular expression, looked for in a parameter's name; a prefix is the path of a submodule.
        recurrent_learning_rate_multiplier: The short form of a group ``recurrent`` behind those: the parameters of
            every ``nn.RNNBase``, ``nn.RNNCellBase`` and of modules called ``recurrent``, with this ``lr_factor``.
        no_decay: What gets no weight decay, in groups of its own: ``bias`` for biases, ``norm`` for normalisation
            layers, and patterns.

    Raises:
        AnnealError: For a group that can't be read, or takes no parameter.

    Example:
        >>> module = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 2)})
        >>> settings = {"slow": {"prefix": "decoder", "lr_factor": 0.5}}
        >>> for group in parameter_groups(module, 0.25, ["weight_decay"], lr_parameter_groups=settings):
        ...     print(group.name, group.options, group.names)
        slow {'lr': 0.125} ['decoder.weight', 'decoder.bias']
        default {} ['encoder.weight', 'encoder.bias']
    """
    wanted = [
        _read_group(name, settings, base_lr, list(known))
        for name, settings in checked_mapping(_WHERE, lr_parameter_groups).items()
    ]
    if recurrent_learning_rate_multiplier is not None:
        factor = not_negative("recurrent_learning_rate_multiplier", recurrent_learning_rate_multiplier)
        if any(group.name == "recurrent" for group, _ in wanted):
            what = "lr_parameter_groups has a group 'recurrent', too; keep one"
            raise AnnealError("recurrent_learning_rate_multiplier", what)
        names = recurrent_names(module)
        if not names:
            what = "the module has no nn.RNN, nn.GRU, nn.LSTM or cell of one, and nothing called 'recurrent'"
            raise AnnealError("recurrent_learning_rate_multiplier", what)
        wanted.append((Group("recurrent", {"lr": base_lr * factor}), lambda name: name in names))
    if any(group.name == REST for group, _ in wanted):
        raise AnnealError(f"{_WHERE}.{REST}", "is what all other parameters are in; give another name")
    rest = Group(REST, {})
    parameters = list(module.named_parameters())
    if not parameters:
        raise AnnealError("optimizer", f"{type(module).__name__} has no parameters to train")
    for name, parameter in parameters:
        group = next((group for group, takes in wanted if takes(name)), rest)
        group.names.append(name)
        group.params.append(parameter)
    for group, takes in wanted:
        _check_taken(group, takes, [name for name, _ in parameters])
    groups = [group for group in (*(group for group, _ in wanted), rest) if group.names]
    return groups if no_decay is None else _without_decay(module, groups, no_decay, list(known))


def check_groups(settings: Mapping[str, Any]) -> None:
    """Read the groups in the settings of `configure_optimizers`, as far as that can be done without a module.

    Raises:
        AnnealError: For a group that can't be read.

    Example:
        >>> check_groups({"lr_parameter_groups": {"slow": {"lr_factor": 0.1}}})
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: lr_parameter_groups.slow.pattern: missing; give a pattern or a prefix
    """
    known = list(inspect.signature(OPTIMIZERS.get(settings.get("optimizer") or "Adam")).parameters)
    for name, group in checked_mapping(_WHERE, settings.get("lr_parameter_groups")).items():
        _read_group(name, group, 1.0, known)
    factor = settings.get("recurrent_learning_rate_multiplier")
    if factor is not None:
        not_negative("recurrent_learning_rate_multiplier", factor)


def recurrent_names(module: nn.Module) -> set[str]:
    """The parameters of recurrent layers, and of modules that are called so."""
    recurrent: tuple[type, ...] = (nn.RNNBase, nn.RNNCellBase)
    return {
        f"{path}.{name}" if path else name
        for path, inner in module.named_modules()
        if isinstance(inner, recurrent) or path.rpartition(".")[2] == "recurrent"
        for name, _ in inner.named_parameters()
    }


def _read_group(name: object, settings: object, base_lr: float, known: list[str]) -> tuple[Group, Taking]:
    where = f"{_WHERE}.{str(name)[:40]}"
    if not isinstance(name, str) or not name or name.isdigit() or "." in name or name == "*":
        raise AnnealError(where, "a group's name must be a word, which paths such as param_groups.NAME.lr can name")
    if name == "no_decay" and not isinstance(settings, Mapping):
        raise AnnealError(where, "no_decay is no group; write it beside lr_parameter_groups")
    given = checked_mapping(where, settings)
    options: dict[str, Any] = {}
    allowed = (*_OWN_KEYS, *(key for key in known if key != "lr"))
    for key, value in given.items():
        if key not in allowed:
            raise AnnealError(where, f"unknown key {quote(key)}{suggestion(key, allowed)}")
        if key not in _OWN_KEYS and value is not None:
            options[key] = value
    if given.get("lr") is not None and given.get("lr_factor") is not None:
        raise AnnealError(f"{where}.lr_factor", "lr says it too; keep one")
    if given.get("lr") is not None:
        options["lr"] = not_negative(f"{where}.lr", given["lr"])
    elif given.get("lr_factor") is not None:
        options["lr"] = base_lr * not_negative(f"{where}.lr_factor", given["lr_factor"])
    return Group(name, options), _read_taking(where, given)


def _read_taking(where: str, given: Mapping[str, Any]) -> Taking:
    pattern, prefix = given.get("pattern"), given.get("prefix")
    if (pattern is None) == (prefix is None):
        what = "missing; give a pattern or a prefix" if pattern is None else "prefix is given, too; keep one"
        raise AnnealError(f"{where}.pattern", what)
    if pattern is not None:
        return _matching(f"{where}.pattern", pattern)
    if not isinstance(prefix, str) or not prefix:
        raise AnnealError(f"{where}.prefix", f"must be the path of a submodule, got {quote(prefix)}")
    path = prefix.rstrip(".")
    return lambda name: name == path or name.startswith(f"{path}.")


def _matching(where: str, pattern: object) -> Taking:
    if not isinstance(pattern, str) or not pattern:
        raise AnnealError(where, f"must be a regular expression, got {quote(pattern)}")
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise AnnealError(where, f"{quote(pattern)} is no regular expression: {error}") from None
    return lambda name: compiled.search(name) is not None


def _check_taken(group: Group, takes: Taking, names: list[str]) -> None:
    """Refuse a group that got no parameter, and say why."""
    if group.names:
        return
    where = f"{_WHERE}.{group.name}"
    if any(takes(name) for name in names):
        raise AnnealError(where, "has no parameter left; the groups before it take all that it matches")
    tops = sorted({name.split(".")[0] for name in names})
    raise AnnealError(where, f"matches no parameter; their names begin with {', '.join(tops)}")


def _without_decay(module: nn.Module, groups: list[Group], no_decay: Iterable[str], known: list[str]) -> list[Group]:
    """Each group in two: with its weight decay and without."""
    words = [no_decay] if isinstance(no_decay, str) else no_decay
    if not isinstance(words, list | tuple):
        raise AnnealError("no_decay", f"must be a list such as [bias, norm], got {quote(words)}")
    if "weight_decay" not in known:
        raise AnnealError("no_decay", "this optimizer has no weight_decay")
    words = list(words)
    taking = [_spared(module, word) for word in words]
    names = [name for group in groups for name in group.names]
    for word, takes in zip(words, taking, strict=True):
        # A model may well be without normalisation, or without biases.
        if word not in ("bias", "norm") and not any(takes(name) for name in names):
            raise AnnealError("no_decay", f"{quote(word)} matches no parameter")
    if words and not any(takes(name) for takes in taking for name in names):
        raise AnnealError("no_decay", "matches no parameter; leave it out")
    halves = []
    for group in groups:
        spared = Group(f"{group.name}_no_decay", {**group.options, "weight_decay": 0.0})
        kept = Group(group.name, group.options)
        for name, parameter in zip(group.names, group.params, strict=True):
            half = spared if any(takes(name) for takes in taking) else kept
            half.names.append(name)
            half.params.append(parameter)
        halves += [half for half in (kept, spared) if half.names]
    taken = [half.name for half in halves]
    for name in taken:
        if taken.count(name) > 1:
            raise AnnealError(f"{_WHERE}.{name}", "is what no_decay calls a part of another group; give another name")
    return halves


def _spared(module: nn.Module, word: object) -> Taking:
    if word == "bias":
        return lambda name: "bias" in name.rpartition(".")[2]
    if word == "norm":
        layers = {
            f"{path}.{name}" if path else name
            for path, inner in module.named_modules()
            if isinstance(inner, _NORMS)
            for name, _ in inner.named_parameters(recurse=False)
        }
        return lambda name: name in layers or any("norm" in part.lower() for part in name.split(".")[:-1])
    return _matching("no_decay", word)
