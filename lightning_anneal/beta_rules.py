"""The rules of beta, the weight of a VAE's KL term, or of both weights of a hierarchical one. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_anneal.checks import flag, number
from lightning_anneal.config import plain, read_timing
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.recipes import BetaRecipe
from lightning_anneal.rules import Rule
from lightning_anneal.schedules.beta import beta_type

WEIGHTS = {"global_kl_weight": "global", "local_kl_weight": "local"}
"""The two weights of a hierarchical model, and the part of the scheduler that each comes from."""


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
    if not isinstance(attr_name, str):
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
        _no_other_key("hierarchical", params, [f"{part}_scheduler" for part in WEIGHTS.values()])
        return rules
    return (rule("beta", attr_name, kind, params),)


def _part(params: dict[str, Any], part: str) -> tuple[str, dict[str, Any]]:
    """Type and parameters of one part of a hierarchical scheduler."""
    where = f"hierarchical.{part}_scheduler"
    settings = params.get(f"{part}_scheduler")
    if not isinstance(settings, dict):
        what = "missing" if settings is None else f"must be a mapping, got {quote(settings)}"
        raise AnnealError(where, f'{what}; write {{"type": "linear", "max_beta": 1.0, ...}}')
    if "type" not in settings:
        raise AnnealError(f"{where}.type", "missing")
    return beta_type(settings["type"]), {k: v for k, v in settings.items() if k != "type"}


def _no_other_key(where: str, params: dict[str, Any], known: list[str]) -> None:
    for key in params:
        if key not in known:
            raise AnnealError(where, f"unknown parameter {quote(key)}{suggestion(key, known)}")
