"""configure_optimizers: what a LightningModule's hook of that name returns, from a config."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Real
from typing import Any
from weakref import WeakKeyDictionary

import torch
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn
from torch import nn
from torch.optim import Optimizer

from lightning_anneal.checks import not_negative
from lightning_anneal.config import plain
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.optim.groups import Group, parameter_groups
from lightning_anneal.optim.optimizers import OPTIMIZERS, build_optimizer
from lightning_anneal.optim.registry import checked_mapping
from lightning_anneal.optim.scheduler_configs import read_scheduler_config, schedule
from lightning_anneal.optim.specs import read_spec

# What was told of a module's groups: once is enough, and a module is configured anew by every fit.
_TOLD: WeakKeyDictionary[nn.Module, str] = WeakKeyDictionary()


def configure_optimizers(
    module: nn.Module,
    *,
    optimizer: str = "Adam",
    learning_rate: float | None = None,
    optimizer_kwargs: Mapping[str, Any] | None = None,
    scheduler: str | Callable[[float], float] | None = None,
    scheduler_kwargs: Mapping[str, Any] | None = None,
    scheduler_configs: Mapping[str, Any] | None = None,
    lr_parameter_groups: Mapping[str, Any] | None = None,
    recurrent_learning_rate_multiplier: float | None = None,
    no_decay: Iterable[str] | None = None,
    part: nn.Module | None = None,
    **unknown: Any,
) -> Any:
    """An optimizer and its LR scheduler by name, as Lightning's ``configure_optimizers`` wants them.

    Args:
        module: The LightningModule; lengths are those of its trainer's run.
        optimizer: Any optimizer of ``torch.optim`` or a registered one, in any case.
        learning_rate: By default the module's ``learning_rate`` or ``lr``, its own or in its hparams; else 0.001 for
            Adam and AdamW, 0.01 for SGD, RMSprop and Adagrad, and of any other the optimizer's own.
        optimizer_kwargs: What else the optimizer takes. No mapping is ever changed.
        scheduler: An LR scheduler as `build_lr_scheduler` takes it; ``None`` for none.
        scheduler_kwargs: Its arguments. A length that is left out (``T_max``, ``total_steps``, ``max_epochs``,
            ``num_training_steps``) is the run's, and lengths may have units (``"10ep"``, ``"30%"``).
        scheduler_configs: ``interval`` (``epoch`` or ``step``), ``frequency``, ``monitor``, ``strict``, ``name``.
        lr_parameter_groups: Groups with learning rates and options of their own; see `parameter_groups`.
        recurrent_learning_rate_multiplier: For the weights of recurrent layers.
        no_decay: What gets no weight decay: ``bias``, ``norm``, and patterns of names.
        part: A submodule, if the optimizer is for that alone; for several optimizers call this for each.
        unknown: Anything else is an error, with the nearest name.

    Returns:
        ``{"optimizer": ..., "lr_scheduler": {...}}``, the second only if there is a scheduler; two lists,
        ``([optimizer], [...])``, for a warm-up that a ReduceLROnPlateau follows.

    Raises:
        AnnealError: For anything unknown, missing, contradictory or out of range, and a length that can't be known.

    Example:
        >>> from lightning.pytorch import LightningModule
        >>> class Model(LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.learning_rate = 0.1
        ...         self.layer = nn.Linear(2, 1)
        ...
        ...     def configure_optimizers(self):
        ...         return configure_optimizers(
        ...             self, optimizer="SGD", scheduler="StepLR", scheduler_kwargs={"step_size": 10}
        ...         )
        >>> configured = Model().configure_optimizers()
        >>> configured["optimizer"].param_groups[0]["lr"], configured["lr_scheduler"]["interval"]
        (0.1, 'epoch')
    """
    for key in unknown:
        known = [name for name in inspect.signature(configure_optimizers).parameters if name != "unknown"]
        raise AnnealError("optim", f"unknown key {quote(key)}{suggestion(key, known)}")
    options = plain("optimizer_kwargs", checked_mapping("optimizer_kwargs", optimizer_kwargs))
    trained = module if part is None else part
    if not isinstance(trained, nn.Module):
        raise AnnealError("part", f"must be a submodule, got {quote(part)}")
    made = _build_optimizer(
        trained,
        optimizer,
        _learning_rate(module, learning_rate, options),
        options,
        _grouping(lr_parameter_groups, recurrent_learning_rate_multiplier, no_decay),
    )
    # On LightningCLI's command line null is text.
    if scheduler is None or (isinstance(scheduler, str) and scheduler.lower() in ("none", "null")):
        for where, given in (("scheduler_kwargs", scheduler_kwargs), ("scheduler_configs", scheduler_configs)):
            if checked_mapping(where, given):
                rank_zero_warn(f"{where} without a scheduler: the learning rate stays as it is")
        return {"optimizer": made}
    kwargs = plain("scheduler_kwargs", checked_mapping("scheduler_kwargs", scheduler_kwargs))
    spec = read_spec("scheduler", scheduler, "scheduler_kwargs", kwargs)
    config = read_scheduler_config(plain("scheduler_configs", checked_mapping("scheduler_configs", scheduler_configs)))
    configured = schedule(module, made, spec, config)
    if len(configured) > 1:
        return [made], configured
    return {"optimizer": made, "lr_scheduler": configured[0]}


def _learning_rate(module: nn.Module, given: float | None, options: Mapping[str, Any]) -> float | None:
    """The learning rate: the one that is given, else the module's, else the optimizer's default (``None``)."""
    if given is not None or options.get("lr") is not None:
        return given
    homes = [{key: getattr(module, key, None) for key in ("learning_rate", "lr")}, getattr(module, "hparams", {})]
    for home in homes:
        for key in ("learning_rate", "lr"):
            # A module may have something else of that name, such as a method.
            if isinstance(home.get(key), str | Real):
                return not_negative(key, home[key])
    return None


Grouping = Callable[[nn.Module, float, Iterable[str]], list[Group]]


def _grouping(
    lr_parameter_groups: Mapping[str, Any] | None,
    recurrent_learning_rate_multiplier: float | None,
    no_decay: Iterable[str] | None,
) -> Grouping | None:
    """What makes the groups, if any are wanted."""
    if lr_parameter_groups is None and recurrent_learning_rate_multiplier is None and no_decay is None:
        return None
    settings = plain("lr_parameter_groups", checked_mapping("lr_parameter_groups", lr_parameter_groups))
    spared = None if no_decay is None else plain("no_decay", no_decay)
    return lambda module, base_lr, known: parameter_groups(
        module,
        base_lr,
        known,
        lr_parameter_groups=settings,
        recurrent_learning_rate_multiplier=recurrent_learning_rate_multiplier,
        no_decay=spared,
    )


def _build_optimizer(
    module: nn.Module, name: str, rate: float | None, options: Mapping[str, Any], grouping: Grouping | None
) -> Optimizer:
    if grouping is None:
        parameters = list(module.parameters())
        if not parameters:
            raise AnnealError("optimizer", f"{type(module).__name__} has no parameters to train")
        return build_optimizer(parameters, name, learning_rate=rate, optimizer_kwargs=options)
    cls = OPTIMIZERS.get(name)
    known = [key for key in inspect.signature(cls).parameters if key != "params"]
    # Any parameter will do to find out which learning rate it is going to be.
    trial = build_optimizer([nn.Parameter(torch.zeros(1))], name, learning_rate=rate, optimizer_kwargs=options)
    groups = grouping(module, float(trial.defaults["lr"]), known)
    for group in groups:
        _check_options(name, group, options)
    made = build_optimizer(
        [{"params": group.params, "name": group.name, **group.options} for group in groups],
        name,
        learning_rate=rate,
        optimizer_kwargs=options,
    )
    _tell(module, groups, made)
    return made


def _check_options(name: str, group: Group, options: Mapping[str, Any]) -> None:
    """Let torch look at a group's options, which it checks only where they are an optimizer's; numbers become ones."""
    own = {key: value for key, value in group.options.items() if key != "lr"}
    rest = {key: value for key, value in options.items() if key != "lr"}
    try:
        trial = build_optimizer([nn.Parameter(torch.zeros(1))], name, optimizer_kwargs={**rest, **own})
    except AnnealError as error:
        key = error.where.removeprefix("optimizer_kwargs")
        raise AnnealError(f"lr_parameter_groups.{group.name}{key}", error.what) from None
    group.options.update({key: trial.defaults[key] for key in own})


def _tell(module: nn.Module, groups: list[Group], optimizer: Optimizer) -> None:
    """Say once what is in which group."""
    lines = []
    for group, made in zip(groups, optimizer.param_groups, strict=True):
        shown = ", ".join(group.names[:3]) + (", ..." if len(group.names) > 3 else "")
        decay = f", weight_decay {made['weight_decay']:g}" if "weight_decay" in made else ""
        lines.append(f"  {group.name}: {len(group.names)} parameters, lr {float(made['lr']):g}{decay} ({shown})")
    text = "\n".join([f"Parameter groups of {type(optimizer).__name__}:", *lines])
    if _TOLD.get(module) != text:
        _TOLD[module] = text
        rank_zero_info(text)
