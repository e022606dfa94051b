"""Weights of loss terms that are learned beside the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lightning_anneal.checks import choice, several_names
from lightning_anneal.errors import AnnealError, quote, suggestion

_COEFFICIENTS = {"regression": 1.0, "classification": 2.0}


class UncertaintyWeights(nn.Module):
    """Adds up losses with weights that are learned: ``sum of c * exp(-s) * L + s`` over the losses.

    Kendall, Gal & Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses for Scene Geometry and Semantics",
    CVPR 2018. s is the logarithm of the variance of a loss's noise, and c is 1 for a regression and 2 for a
    classification: twice the paper's ``L / (2 * variance) + log(deviation)`` and ``L / variance + log(deviation)``. So
    all regressions together begin as their plain sum. A weight settles where the weighted loss is 1.

    A loss that can be 0 or negative has no such place, and its weight grows for ever. Make the module an attribute of
    yours, so that the optimizer finds its parameter, and leave that parameter out of weight decay, which pulls the
    weights back.

    Args:
        losses: Two names or more.
        kinds: ``regression`` or ``classification`` for a loss, such as a cross entropy; ``regression`` where none is
            given.

    Attributes:
        log_variances: s for each loss, in their order; all begin at 0.

    Raises:
        AnnealError: For losses that are no list of names, and for a kind that is unknown or of no loss.

    Example:
        >>> balance = UncertaintyWeights(["depth", "labels"], kinds={"labels": "classification"})
        >>> balance({"depth": torch.tensor(0.5), "labels": torch.tensor(3.0)})
        tensor(6.5000, grad_fn=<SumBackward0>)
        >>> balance.weights
        {'depth': tensor(1.), 'labels': tensor(2.)}
    """

    coefficients: Tensor

    def __init__(self, losses: Sequence[str], kinds: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.losses = several_names("UncertaintyWeights.losses", losses)
        given = {} if kinds is None else kinds
        if not isinstance(given, Mapping):
            raise AnnealError("UncertaintyWeights.kinds", f"must be a mapping, got {quote(kinds)}")
        for name in given:
            if name not in self.losses:
                raise AnnealError("UncertaintyWeights.kinds", f"unknown loss {quote(name)}{self._known(name)}")
        chosen = [self._coefficient(name, given.get(name, "regression")) for name in self.losses]
        # Follows from the arguments, so a checkpoint needn't hold it.
        self.register_buffer("coefficients", torch.tensor(chosen), persistent=False)
        self.log_variances = nn.Parameter(torch.zeros(len(self.losses)))

    def forward(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The loss to train by, of 0 dimensions.

        Args:
            losses: Each of the losses, of 0 dimensions.

        Raises:
            AnnealError: For a loss that is missing, unknown, or no tensor of 0 dimensions.
        """
        for name in losses:
            if name not in self.losses:
                raise AnnealError("UncertaintyWeights", f"unknown loss {quote(name)}{self._known(name)}")
        for name in self.losses:
            if name not in losses:
                raise AnnealError("UncertaintyWeights", f"the loss {quote(name)} is missing")
            _check_is_one_number(name, losses[name])
        terms = torch.stack([losses[name] for name in self.losses])
        return (self._scales() * terms + self.log_variances).sum()

    @property
    def weights(self) -> dict[str, Tensor]:
        """What each loss is multiplied by, without gradient."""
        return dict(zip(self.losses, self._scales().detach().unbind(), strict=True))

    def extra_repr(self) -> str:
        """The losses, for printing."""
        return ", ".join(self.losses)

    def _scales(self) -> Tensor:
        return self.coefficients * torch.exp(-self.log_variances)

    def _coefficient(self, name: str, kind: object) -> float:
        return _COEFFICIENTS[choice(f"UncertaintyWeights.{name}.kind", kind, _COEFFICIENTS)]

    def _known(self, name: object) -> str:
        return suggestion(name, self.losses)


def _check_is_one_number(name: str, loss: object) -> None:
    if not isinstance(loss, Tensor):
        raise AnnealError(f"UncertaintyWeights.{name}", f"must be a tensor, got {quote(loss)}")
    if loss.ndim:
        what = f"must be a tensor of 0 dimensions, got one of shape {tuple(loss.shape)}; take its mean"
        raise AnnealError(f"UncertaintyWeights.{name}", what)
