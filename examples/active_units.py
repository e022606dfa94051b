"""How many dimensions of a VAE's latent are in use."""

from __future__ import annotations

from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat

THRESHOLD = 0.01
"""The variance from which on a dimension counts as used, as in the paper."""


class ActiveUnits(Metric):
    """The number of dimensions whose posterior mean varies over the data: ``sum(Var_x(E[z | x]) > 0.01)``.

    Burda et al., "Importance Weighted Autoencoders", ICLR 2016. Where the posterior has collapsed onto the prior, the
    mean is the same for all data, and the dimension carries nothing.

    Example:
        >>> import torch
        >>> units = ActiveUnits()
        >>> units.update(torch.tensor([[1.0, 0.5], [-1.0, 0.5]]))
        >>> units.compute()
        tensor(1.)
    """

    full_state_update = False
    means: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("means", default=[], dist_reduce_fx="cat")

    def update(self, mean: Tensor) -> None:
        """Take in posterior means of shape ``(batch, latent)``."""
        self.means.append(mean.detach())

    def compute(self) -> Tensor:
        """The number, as a float."""
        return (dim_zero_cat(self.means).var(0) > THRESHOLD).float().sum()
