"""LossBalancingCallback: the terms of a loss, weighed against each other while they are trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_anneal.balance_rules import BALANCE, balance_rules
from lightning_anneal.callbacks.base import RuleCallback
from lightning_anneal.config import as_hyperparameters
from lightning_anneal.errors import AnnealError
from lightning_anneal.lightnings import LightningModule, Trainer


class LossBalancingCallback(RuleCallback):
    """Weighs the terms of a loss, and writes the weights to the module.

    A term is what ``training_step`` returns under its name, or what the module logs; its mean over the batches and
    processes since the last update is what the methods go by. The weights stand in a mapping of the module's, which
    ``training_step`` multiplies the terms by. They add up to the number of terms, and all are 1 before the first
    update. They are logged as ``Loss_Weights/<name>``.

    Args:
        losses: The names of the terms; or a mapping from names to dotted paths of the module, where each weight stands.
        method: ``"dwa"`` (`DynamicWeightAverage`), ``"relobralo"`` (`RelativeBalancing`), ``"inverse_ema"``
            (`InverseMagnitude`), or ``"fixed"``.
        attr_name: The mapping that holds the weights, where `losses` gives no paths.
        interval: What an update waits for, ``"epoch"`` or ``"step"``; by default epochs for ``dwa`` and ``fixed``, and
            steps for the others.
        frequency: How many of them. An update by step makes a GPU finish its work, so a larger one is cheaper.
        temperature: Of ``dwa`` (2) and ``relobralo`` (1): the larger, the more alike the weights.
        alpha: Of ``relobralo``: the share of the old weights in the new ones (0.999).
        expected_rho: Of ``relobralo``: the share of updates that look back at the last weights, and not at the first
            update (0.999).
        seed: Of ``relobralo``: what its draws follow from (0).
        decay: Of ``inverse_ema``: the share of the old average in the new one (0.99).
        weights: Of ``fixed``: by term, a number, a schedule or its settings; 1 for a term that isn't in it.
        normalize: Of ``fixed``: whether the weights add up to the number of terms; false leaves them as they are.
        as_tensor: Whether each weight is kept in a 0-d tensor that is filled in place.
        name: Needed where a Trainer has two of these callbacks.
        prog_bar: Names of terms whose weights stand in the progress bar.
        on_horizon_change: Of ``fixed``: what becomes of lengths in per cent when a run is resumed with another one.

    A term that is zero or negative counts as one that stands still for ``dwa`` and ``relobralo``; for ``inverse_ema``
    its absolute value counts, and one that has only been 0 keeps the weight 1. With one that is missing, NaN or
    infinite all the weights stay as they are, with one warning.

    Raises:
        AnnealError: For a mistake that the arguments alone show; when fit starts, for weights that aren't there.

    Example:
        >>> callback = LossBalancingCallback(["reconstruction", "kl"], "inverse_ema", frequency=10)
        >>> LossBalancingCallback(["reconstruction", "kl"], "inverse")
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: method: unknown method 'inverse'; did you mean 'inverse_ema'?
    """

    # Bare types: inside a value typed ``Any`` LightningCLI would import and call any ``class_path`` it meets.
    def __init__(
        self,
        losses: list | dict,  # type: ignore[type-arg]
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
        weights: dict | None = None,  # type: ignore[type-arg]
        normalize: bool = True,
        as_tensor: bool = False,
        name: str | None = None,
        prog_bar: Sequence[str] = (),
        on_horizon_change: str = "keep",
    ) -> None:
        params = {
            "temperature": temperature,
            "alpha": alpha,
            "expected_rho": expected_rho,
            "seed": seed,
            "decay": decay,
        }
        rules = balance_rules(
            losses,
            method,
            attr_name=attr_name,
            interval=interval,
            frequency=frequency,
            weights=weights,
            normalize=normalize,
            as_tensor=as_tensor,
            **params,  # type: ignore[arg-type]
        )
        # A mapping that holds the weights of all, where no loss has a path of its own.
        self._place = attr_name if not isinstance(losses, Mapping) and "." not in attr_name else None
        given = {key: value for key, value in params.items() if value is not None}
        shown = {} if weights is None else {"weights": as_hyperparameters(weights)}
        self._settings = {"method": method.lower(), "losses": list(map(str, losses)), **given, **shown}
        super().__init__(rules, name, prog_bar, on_horizon_change)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._place is not None and not hasattr(pl_module, self._place) and self._place not in pl_module.hparams:
            weights = ", ".join(f"{rule.name!r}: 1.0" for rule in self._engine.rules)
            what = f"{type(pl_module).__name__} has no such attribute"
            raise AnnealError(self._place, f"{what}; write self.{self._place} = {{{weights}}} in __init__")
        super().on_fit_start(trainer, pl_module)

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"loss_weights": self._settings}

    def tag(self, name: str) -> str:
        return f"Loss_Weights/{name}"

    def _steered(self, *, by_step: bool) -> dict[str, float]:
        # The controller is that of all the terms, and what it shows stands under the name of one.
        shown = super()._steered(by_step=by_step)
        return {self.tag(key.removeprefix(f"Control/{BALANCE}/")): value for key, value in shown.items()}
