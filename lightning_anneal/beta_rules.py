"""The rules of beta, the weight of a VAE's KL term, or of both weights of a hierarchical one. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from lightning_anneal.checks import flag, number
from lightning_anneal.config import plain, read_file, read_timing
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.recipes import BetaRecipe
from lightning_anneal.rules import Rule
from lightning_anneal.schedules.beta import beta_type, check_has_type

WEIGHTS = {"global_kl_weight": "global", "local_kl_weight": "local"}
"""The two weights of a hierarchical model, and the part of the scheduler that each comes from."""

_PARTS = [f"{part}_scheduler" for part in WEIGHTS.values()]
_FROM_CONFIG = (
    "beta_scheduler_type",
    "beta_scheduler_params",
    "hierarchical_beta_config",
    "use_hierarchical_model",
    "eval_beta",
)


def beta_rules(
    beta_scheduler_type: str,
    beta_scheduler_params: Mapping[str, Any] | None = None,
    *,
    use_hierarchical_model: bool = False,
    attr_name: str = "beta",
    eval_beta: float | None = None,
    interval: str | None = None,
    frequency: int | None = None,
    scheduler_configs: Mapping[str, Any] | None = None,
) -> tuple[Rule, ...]:
    """The rules of these arguments of BetaScheduleCallback, where they are explained.

    Raises:
        AnnealError: For a mistake that the arguments alone show.

    Example:
        >>> [rule.name for rule in beta_rules("linear", {"max_beta": 1.0, "warmup_epochs": "30%"})]
        ['beta']
    """
    kind = beta_type(beta_scheduler_type)
    if not isinstance(attr_name, str) or not attr_name:
        raise AnnealError("attr_name", f"must be a dotted path, got {quote(attr_name)}")
    if eval_beta is not None and number("eval_beta", eval_beta) < 0:
        raise AnnealError("eval_beta", f"must not be negative, got {quote(eval_beta)}")
    params = plain("beta_scheduler_params", beta_scheduler_params or {})
    if not isinstance(params, dict):
        raise AnnealError("beta_scheduler_params", f"must be a mapping, got {quote(params)}")
    hierarchical = kind == "hierarchical"
    if flag("use_hierarchical_model", use_hierarchical_model) and not hierarchical:
        raise AnnealError("use_hierarchical_model", f"needs beta_scheduler_type 'hierarchical', got {quote(kind)}")
    timing = {"interval": interval, "frequency": frequency, "scheduler_configs": scheduler_configs}
    unit, every = read_timing("beta", timing)

    def rule(weight: str, path: str, kind: str, params: dict[str, Any]) -> Rule:
        recipe = BetaRecipe(kind, params)
        recipe.check(weight)
        return Rule(
            weight,
            recipe,
            path,
            object="model",
            interval=unit,
            frequency=every,
            eval_value=None if eval_beta is None else number("eval_beta", eval_beta),
            as_float=True,
        )

    if hierarchical:
        if attr_name != "beta":
            raise AnnealError("attr_name", "a hierarchical model has global_kl_weight and local_kl_weight")
        rules = tuple(rule(weight, weight, *_part(params, part)) for weight, part in WEIGHTS.items())
        _no_other_key("hierarchical", params, _PARTS)
        return rules
    return (rule("beta", attr_name, kind, params),)


def read_training_config(config: object, folder: Path = Path()) -> dict[str, Any]:
    """The arguments of BetaScheduleCallback in a training config, as its ``from_config`` explains.

    Args:
        config: The config.
        folder: Where a file that it names lies.

    Raises:
        AnnealError: For a misspelled key, or one that is missing.

    Example:
        >>> read_training_config({"training": {"num_epochs": 20, "beta_scheduler_type": "constant"}})
        {'beta_scheduler_type': 'constant', 'beta_scheduler_params': None}
    """
    config = plain("config", config)
    training = config.get("training") if isinstance(config, Mapping) else None
    if not isinstance(training, Mapping):
        raise AnnealError("training", 'must be a mapping such as {"beta_scheduler_type": "linear", ...}')
    _check_config_keys(training)
    if "beta_scheduler_type" not in training:
        raise AnnealError("training.beta_scheduler_type", "missing")
    params = training.get("beta_scheduler_params")
    nested = training.get("hierarchical_beta_config")
    if nested is not None:
        if params:
            raise AnnealError("training.hierarchical_beta_config", "beta_scheduler_params says it too; keep one")
        params = read_file(folder / nested) if isinstance(nested, str) else nested
    given = {k: training[k] for k in ("use_hierarchical_model", "eval_beta") if training.get(k) is not None}
    return {"beta_scheduler_type": training["beta_scheduler_type"], "beta_scheduler_params": params, **given}


def _part(params: dict[str, Any], part: str) -> tuple[str, dict[str, Any]]:
    """Type and parameters of one part of a hierarchical scheduler."""
    where = f"hierarchical.{part}_scheduler"
    settings = params.get(f"{part}_scheduler")
    if not isinstance(settings, dict):
        if settings is None:
            _no_other_key("hierarchical", params, _PARTS)
        what = "missing" if settings is None else f"must be a mapping, got {quote(settings)}"
        raise AnnealError(where, f'{what}; write {{"type": "linear", "max_beta": 1.0, ...}}')
    check_has_type(where, settings)
    return beta_type(settings["type"], f"{where}.type"), {k: v for k, v in settings.items() if k != "type"}


def _no_other_key(where: str, params: dict[str, Any], known: list[str]) -> None:
    for key in params:
        if key not in known:
            raise AnnealError(where, f"unknown parameter {quote(key)}{suggestion(key, known)}")


def _check_config_keys(training: Mapping[str, Any]) -> None:
    """Refuse what was surely meant for this callback and is misspelled; other keys are none of its business."""
    for key in training:
        ours = str(key).lower().startswith(("beta_", "hierarchical_", "use_hier"))
        # Close enough for "bata_scheduler_type", and not for "lr_scheduler_type".
        ours = ours or bool(get_close_matches(str(key)[:60], _FROM_CONFIG, n=1, cutoff=0.88))
        if ours and key not in _FROM_CONFIG:
            raise AnnealError("training", f"unknown key {quote(key)}{suggestion(key, _FROM_CONFIG)}")
