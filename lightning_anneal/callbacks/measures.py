"""What controllers go by: metrics, averaged over the batches since the last update and over all processes.

A metric is taken from the mapping that ``training_step`` returns, if it is in there, else from what the module logs.
What a batch gives is kept as it is, on its device; only an update turns it into a number, for which a GPU has to finish
its work.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torchmetrics import Metric

from lightning_anneal.callbacks.metrics import LoggedMetrics, logged_in_step
from lightning_anneal.errors import AnnealError
from lightning_anneal.lightnings import Trainer
from lightning_anneal.state import DAMAGE, damaged
from lightning_anneal.steering import Means, Steering

# So many values are kept one by one before they are added up at once.
_KEPT = 64


class Totals(Metric):
    """Of several metrics: the sum of the finite values, their number, and that of all values.

    Args:
        metrics: How many metrics.
        dtype: What they are added up in.

    Example:
        >>> totals = Totals(2)
        >>> totals.update(0, torch.tensor([1.0, math.nan, 3.0]))
        >>> totals.compute().tolist()
        [[4.0, 2.0, 3.0], [0.0, 0.0, 0.0]]
    """

    full_state_update = False
    totals: torch.Tensor

    def __init__(self, metrics: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.add_state("totals", torch.zeros(metrics, 3, dtype=dtype), dist_reduce_fx="sum")

    def update(self, metric: int, values: torch.Tensor) -> None:
        """Add values of one of the metrics, a vector of any length."""
        values = values.to(self.totals)
        finite = torch.isfinite(values)
        total, counted, every = self.totals[metric]
        # One after the other, so that a sum doesn't depend on where checkpoints have cut it.
        for value in torch.where(finite, values, 0):
            total = total + value
        self.totals[metric] = torch.stack([total, counted + finite.sum(), every + values.numel()])

    def compute(self) -> torch.Tensor:
        """The totals over all processes, a row of three for each metric."""
        return self.totals


class Measures:
    """The metrics of a run's controllers.

    Args:
        steering: The controllers.
    """

    def __init__(self, steering: Steering) -> None:
        self._watched = {key: steering.monitors(key) for key in steering.rules}
        self._by_step = steering.by_step
        self._by_epoch = steering.by_epoch
        self._in_steps = {name for key in self._by_step for name in self._watched[key]}
        self._in_batches = {name for names in self._watched.values() for name in names}
        self.forget()

    def forget(self) -> None:
        """Drop everything a run has left behind."""
        self.next_update = math.inf
        """The step at whose start a controller has its turn next."""
        self.names: set[str] = set()
        """What ``training_step`` has returned or logged so far, batch by batch."""
        self._logged = LoggedMetrics()
        self._totals: dict[str, Totals] = {}
        self._kept: dict[str, dict[str, list[Any]]] = {
            key: {m: [] for m in names} for key, names in self._watched.items()
        }
        self._loaded: dict[str, list[list[list[float]]]] = {}
        self._last: dict[str, Any] = {}
        self._silent: dict[str, int] = {}

    def __bool__(self) -> bool:
        return bool(self._watched)

    def begin(self, trainer: Trainer, device: torch.device, step: int) -> None:
        """A training loop begins, with this step."""
        # Apple's GPUs have no floats of 64 bits.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        self._totals = {key: Totals(len(names), dtype).to(device) for key, names in self._watched.items()}
        for key, shares in self._loaded.items():
            # Each process goes on with its own share; where their number has changed, the first one with all of them.
            if len(shares) == trainer.world_size:
                own = torch.tensor(shares[trainer.global_rank], dtype=dtype, device=device)
            else:
                own = torch.tensor(shares, dtype=dtype, device=device).sum(0) * trainer.is_global_zero
            self._totals[key].totals += own
        self._loaded = {}
        self.plan(step - 1)

    def plan(self, step: int) -> None:
        """Find the first step after this one at which a controller has its turn."""
        # Before step 0 there is nothing to be seen.
        turns = ((max(step, 0) // every + 1) * every for every in self._by_step.values())
        self.next_update = min(turns, default=math.inf)

    def release(self, trainer: Trainer | None) -> None:
        """Let go of the run's objects, but keep what is still to be looked at: another fit may follow."""
        self.load(self.state(trainer))
        self._logged.release()
        self._totals, self._last = {}, {}
        self.next_update = math.inf

    # -- batches ------------------------------------------------------------------------------------------------------

    def note(self, trainer: Trainer, outputs: Any) -> None:
        """A training batch is over.

        Raises:
            AnnealError: For a metric that is no single number.
        """
        seen = dict(outputs) if isinstance(outputs, Mapping) else {}
        self.names.update(map(str, seen))
        if "loss" in seen and trainer.lightning_module.automatic_optimization:
            # Lightning has divided it by the number of batches that one step takes.
            seen["loss"] = seen["loss"] * trainer.accumulate_grad_batches
        for name in self._in_batches.difference(seen):
            value, by_epoch = logged_in_step(trainer, name)
            # One that an earlier batch has logged stays there.
            if value is not None and value is not self._last.get(name):
                self.names.add(name)
                self._last[name] = value
                # Lightning's own mean over the epoch knows how large the batches are.
                if name in self._in_steps or not by_epoch:
                    seen[name] = value
        for key, kept in self._kept.items():
            for name, values in kept.items():
                if (value := seen.get(name)) is not None:
                    # A copy: the next batch may fill the same tensor.
                    values.append(value.detach().clone() if isinstance(value, torch.Tensor) else value)
                    if len(values) >= _KEPT:
                        self._add_up(key)

    def _add_up(self, key: str) -> None:
        totals = self._totals[key]
        like: Any = {"dtype": totals.totals.dtype, "device": totals.totals.device}
        for row, (name, values) in enumerate(self._kept[key].items()):
            tensors = [_number(key, name, value).to(**like) for value in values]
            totals.update(row, torch.stack(tensors) if tensors else torch.zeros(0, **like))
            values.clear()

    # -- updates ------------------------------------------------------------------------------------------------------

    def read_step(self, trainer: Trainer, step: int) -> dict[str, Means]:
        """What the controllers see that have their turn at the start of a step. Takes all processes."""
        due = [key for key, every in self._by_step.items() if step % every == 0]
        seen = {key: self._take(key) for key in due}
        for key, means in seen.items():
            for name in self._watched[key]:
                # Such as one of a validation.
                logged = self._logged.look(trainer, key, name)
                means[name] = logged if means[name] is None else means[name]
        return dict(seen)

    def read_epoch(self, trainer: Trainer, *, ended: bool) -> dict[str, Means]:
        """What the controllers by epoch see that have anything new to see. Takes all processes.

        Args:
            trainer: The trainer.
            ended: Whether an epoch has ended, not only a validation.
        """
        seen: dict[str, Means] = {}
        for key in self._by_epoch:
            means: dict[str, float | None] = self._take(key) if ended else {}
            for name in self._watched[key]:
                logged = self._logged.look(trainer, key, name) if ended or name not in self.names else None
                means[name] = logged if means.get(name) is None else means[name]
            if any(value is not None for value in means.values()):
                seen[key], self._silent[key] = means, 0
            elif ended:
                # A validation comes every so many epochs.
                self._silent[key] = self._silent.get(key, 0) + 1
                if self._silent[key] >= (trainer.check_val_every_n_epoch or 1):
                    seen[key] = means
        self._logged.looked()
        return seen

    def known(self, trainer: Trainer) -> list[str]:
        """The metrics that there are, for a hint at a misspelled one."""
        return sorted({*self.names, *map(str, trainer.callback_metrics)}) if self else []

    def _take(self, key: str) -> dict[str, float | None]:
        """The mean of each metric since the last time; NaN where no value was finite, ``None`` where there was none."""
        self._add_up(key)
        rows = self._totals[key].compute().tolist()
        self._totals[key].reset()
        return {
            name: None if not number else total / finite if finite else math.nan
            for name, (total, finite, number) in zip(self._watched[key], rows, strict=True)
        }

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self, trainer: Trainer | None) -> dict[str, Any]:
        """What the next updates need, should the run be resumed before. Takes all processes."""
        shares = dict(self._loaded)
        for key, totals in self._totals.items():
            self._add_up(key)
            own = totals.totals
            every = own.unsqueeze(0) if trainer is None or trainer.world_size == 1 else trainer.strategy.all_gather(own)
            if bool(every[..., 2].any()):
                shares[key] = every.tolist()
        watched = [(key, name) for key, names in self._watched.items() for name in names]
        return {"shares": shares, "metrics": self._logged.unseen(trainer, watched), "names": sorted(self.names)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run stood."""
        try:
            shares = state.get("shares", {})
            self._loaded = {key: [[[float(x) for x in row] for row in rank] for rank in shares[key]] for key in shares}
            self._loaded = {
                key: ranks
                for key, ranks in self._loaded.items()
                if key in self._watched and all(len(rows) == len(self._watched[key]) for rows in ranks)
            }
            self._logged.load(state.get("metrics", {}))
            self.names = set(map(str, state.get("names", ())))
        except DAMAGE as error:
            raise damaged(error) from None


def _number(key: str, name: str, value: Any) -> torch.Tensor:
    tensor = torch.as_tensor(value)
    if tensor.numel() != 1:
        what = f"{name} must be one number a batch, got a tensor of shape {tuple(tensor.shape)}"
        raise AnnealError(f"{key}.monitor", what)
    return tensor.reshape(())
