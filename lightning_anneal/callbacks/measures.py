"""What controllers go by: metrics, averaged over the batches since the last update and over all processes.

A metric is taken from the mapping that ``training_step`` returns, if it is in there, else from what the module logs.
What a batch gives is kept as it is, on its device; only an update turns it into a number, for which a GPU has to finish
its work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torchmetrics import Metric

from lightning_anneal.callbacks.metrics import LoggedMetrics, logged_in_step, metrics_of
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.lightnings import Trainer
from lightning_anneal.state import DAMAGE, damaged
from lightning_anneal.steering import Means, Steering
from lightning_anneal.sync import all_well

# So many values are kept one by one before they are added up at once. A sum of floats depends on the order; so these
# are always the same ones, whenever a checkpoint is written.
_KEPT = 64

_Share = dict[str, dict[str, Any]]
"""By metric, what one process has seen since the last update, as plain values."""


class Totals(Metric):
    """Of several metrics: the sum of the finite values and their number, those of all values, and what was refused.

    Args:
        metrics: How many metrics.
        dtype: What they are added up in.

    Example:
        >>> totals = Totals(2)
        >>> totals.update(0, torch.tensor([1.0, math.nan, 3.0]))
        >>> totals.compute().tolist()
        [[4.0, 2.0, nan, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    full_state_update = False
    totals: torch.Tensor

    def __init__(self, metrics: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.add_state("totals", torch.zeros(metrics, 5, dtype=dtype), dist_reduce_fx="sum")

    def update(self, metric: int, values: torch.Tensor, refused: int = 0) -> None:
        """Add values of one of the metrics, a vector of any length."""
        values = values.to(self.totals)
        finite = torch.isfinite(values)
        sums = torch.where(finite, values, 0).sum()
        counts = torch.full_like(sums, values.numel()), torch.full_like(sums, refused)
        self.totals[metric] += torch.stack([sums, finite.sum().to(sums), values.sum(), *counts])

    def compute(self) -> torch.Tensor:
        """The totals over all processes, a row of five for each metric."""
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
        self._every_name = {name for names in self._watched.values() for name in names}
        self.forget()

    def forget(self) -> None:
        """Drop everything a run has left behind."""
        self.next_update = math.inf
        """The step at whose start a controller has its turn next."""
        self._names: set[str] = set()
        self._of_batches: set[str] = set()
        self._logged = LoggedMetrics()
        self._last: dict[str, Any] = {}
        self._silent: dict[str, int] = {}
        self._refused: dict[str, AnnealError] = {}
        self._loaded: dict[str, list[_Share]] = {}
        self._saved: dict[tuple[str, str], float] = {}
        self._dtype, self._device = torch.float64, torch.device("cpu")
        self._empty()

    def _empty(self) -> None:
        self._totals = {key: self._new(names) for key, names in self._watched.items()}
        self._kept: dict[str, dict[str, list[Any]]] = {
            key: {name: [] for name in names} for key, names in self._watched.items()
        }

    def _new(self, names: tuple[str, ...]) -> Totals:
        """Totals of what batches give, and behind them of what is logged otherwise."""
        return Totals(2 * len(names), self._dtype).to(self._device)

    def __bool__(self) -> bool:
        return bool(self._watched)

    def begin(self, trainer: Trainer, device: torch.device, step: int) -> None:
        """A training loop begins, or goes on in the midst of this step."""
        # Apple's GPUs have no floats of 64 bits.
        self._device, self._dtype = device, torch.float32 if device.type == "mps" else torch.float64
        self._empty()
        for key, shares in self._loaded.items():
            # Each process goes on with its own share; where their number has changed, the first one with all of them.
            same = len(shares) == trainer.world_size
            mine = shares[trainer.global_rank : trainer.global_rank + 1] if same else shares
            for share in mine if same or trainer.is_global_zero else ():
                self._go_on(key, share)
        self._loaded = {}
        self.plan(step)

    def _go_on(self, key: str, share: _Share) -> None:
        for row, name in enumerate(self._watched[key]):
            if name in share:
                totals = torch.tensor([*share[name]["totals"], 0.0], dtype=self._dtype)
                self._totals[key].totals[row] += totals.to(self._device)
                for value in share[name]["kept"]:
                    self._keep(key, name, value)
                if share[name]["logged"] is not None:
                    self._saved[key, name] = share[name]["logged"]

    def plan(self, step: int) -> None:
        """Find the first step after this one at which a controller has its turn."""
        # Before step 0 there is nothing to be seen.
        turns = ((max(step, 0) // every + 1) * every for every in self._by_step.values())
        self.next_update = min(turns, default=math.inf)

    def release(self, trainer: Trainer | None) -> None:
        """Let go of the run's objects, but keep what is still to be looked at: another fit may follow."""
        self.load(self.state(trainer))
        self._logged.release()
        self._last, self._device = {}, torch.device("cpu")
        self._empty()
        self.next_update = math.inf

    # -- batches ------------------------------------------------------------------------------------------------------

    def note(self, trainer: Trainer, outputs: Any) -> None:
        """A training batch is over.

        Raises:
            AnnealError: For a metric that is no single number; with several processes, at the next update.
        """
        returned = outputs if isinstance(outputs, Mapping) else {}
        if not self._names.issuperset(returned):
            self._names.update(map(str, returned))
        seen = {name: returned[name] for name in self._every_name if returned.get(name) is not None}
        if "loss" in seen and trainer.lightning_module.automatic_optimization:
            # Lightning has divided it by the number of batches that one step takes.
            seen["loss"] = seen["loss"] * trainer.accumulate_grad_batches
        self._of_batches.update(seen)
        for key, kept in self._kept.items():
            for name in kept:
                if name in seen:
                    self._see(trainer, key, name, seen[name])
        absent = self._every_name.difference(seen)
        for name, value, by_epoch in logged_in_step(trainer, absent) if absent else ():
            self._of_batches.add(name)
            # One that an earlier batch has logged stays there.
            if value is not self._last.get(name):
                self._last[name] = value
                for key, kept in self._kept.items():
                    if name in kept and (key in self._by_step or not by_epoch):
                        self._see(trainer, key, name, value)

    def _see(self, trainer: Trainer, key: str, name: str, value: Any) -> None:
        try:
            self._keep(key, name, _number(key, name, value))
        except AnnealError as error:
            if trainer.world_size == 1:
                raise
            # The others don't know of it, and would wait for this process for ever.
            self._refused.setdefault(key, error)

    def _keep(self, key: str, name: str, value: Any) -> None:
        kept = self._kept[key][name]
        kept.append(value)
        if len(kept) == _KEPT:
            self._add_up(self._totals[key], key, name)
            kept.clear()

    def _add_up(self, totals: Totals, key: str, name: str) -> None:
        """Add what is kept of a metric to totals; it stays kept."""
        like: Any = {"dtype": self._dtype, "device": self._device}
        tensors = [torch.as_tensor(value, dtype=self._dtype).to(self._device) for value in self._kept[key][name]]
        values = torch.stack(tensors) if tensors else torch.zeros(0, **like)
        totals.update(self._watched[key].index(name), values)

    # -- updates ------------------------------------------------------------------------------------------------------

    def read_step(self, trainer: Trainer, step: int) -> dict[str, Means]:
        """What the controllers see that have their turn at the start of a step. Takes all processes.

        Raises:
            AnnealError: On every process, for a metric of a batch that was no single number.
        """
        due = [key for key, every in self._by_step.items() if step % every == 0]
        # What is logged is such as the metric of a validation.
        return {key: self._read(trainer, key) for key in due}

    def read_epoch(self, trainer: Trainer, *, ended: bool, whole: bool = True) -> dict[str, Means]:
        """What the controllers by epoch see that have anything new to see. Takes all processes.

        Args:
            trainer: The trainer.
            ended: Whether an epoch has ended, not only a validation.
            whole: Whether all that belongs to the epoch has come, so that a metric which hasn't is missing.

        Raises:
            AnnealError: On every process, for a metric of a batch that was no single number.
        """
        seen: dict[str, Means] = {}
        for key in self._by_epoch:
            means = self._read(trainer, key, batches=ended)
            found = any(value is not None for value in means.values()) if ended else None not in means.values()
            if ended:
                self._silent[key] = 0 if found else self._silent.get(key, 0) + whole
            elif found:
                self._silent[key] = -1  # The epoch that is to end has had its metric.
            # A validation comes every so many epochs.
            if found or (ended and whole and self._silent[key] >= (trainer.check_val_every_n_epoch or 1)):
                seen[key] = means
        return seen

    def known(self, trainer: Trainer, seen: Iterable[Means]) -> list[str]:
        """The metrics that there are, for a hint at a misspelled one; empty where none is missing."""
        if all(value is not None for means in seen for value in means.values()):
            return []
        return sorted({*self._names, *metrics_of(trainer)})

    def _read(self, trainer: Trainer, key: str, *, batches: bool = True) -> dict[str, float | None]:
        """The mean of each metric; not finite where no value was, ``None`` where there was none.

        Args:
            trainer: The trainer.
            key: The controller.
            batches: Whether the means are to be those of batches, and begin anew; else they have theirs later, and what
                is logged stays new unless all of it is there.
        """
        names, logged = self._watched[key], {}
        totals = self._totals[key] if batches else self._new(self._watched[key])
        for row, name in enumerate(names):
            if batches:
                self._add_up(totals, key, name)
            value = None
            # A step has no use for Lightning's mean of an epoch, nor has the midst of an epoch for its last step.
            if name not in self._of_batches or (batches and key not in self._by_step):
                logged[name], value = self._look(trainer, key, name)
            given = torch.tensor([] if value is None else [value], dtype=self._dtype)
            totals.update(len(names) + row, given, refused=key in self._refused)
        rows = totals.compute().tolist()
        if any(refused for *_, refused in rows):
            all_well(trainer.strategy, lambda: self._raise(key))
        means = {name: _mean(row) for name, row in zip(names, rows, strict=False)}
        for name, row in zip(names, rows[len(names) :], strict=True):
            means[name] = _mean(row) if means[name] is None else means[name]
        if batches or None not in means.values():
            for name, value in logged.items():
                self._saved.pop((key, name), None)
                if value is not None:
                    self._logged.seen(key, name, value)
        if batches:
            totals.reset()
            self._kept[key] = {name: [] for name in names}
        return means

    def _look(self, trainer: Trainer, key: str, name: str) -> tuple[Any, float | None]:
        """What is logged and new to a controller, as it stands and as a number."""
        logged = self._logged.news(trainer, key, name)
        return logged, self._saved.get((key, name)) if logged is None else float(logged)

    def _raise(self, key: str) -> None:
        if key in self._refused:
            raise self._refused[key]

    # -- state --------------------------------------------------------------------------------------------------------

    def state(self, trainer: Trainer | None) -> dict[str, Any]:
        """What the next updates need, should the run be resumed before. Takes all processes."""
        shares = {key: list(loaded) for key, loaded in self._loaded.items()}
        for key, names in self._watched.items():
            own = torch.stack([self._packed(trainer, key, row, name) for row, name in enumerate(names)])
            several = trainer is not None and trainer.world_size > 1
            every = trainer.strategy.all_gather(own) if several and trainer is not None else own.unsqueeze(0)
            seen = [{name: _unpacked(row) for name, row in zip(names, rank, strict=True)} for rank in every.tolist()]
            if any(_is_any(each) for share in seen for each in share.values()):
                shares[key] = seen
        return {"shares": shares, "of_batches": sorted(self._of_batches), "silent": dict(self._silent)}

    def _packed(self, trainer: Trainer | None, key: str, row: int, name: str) -> torch.Tensor:
        """All that is to be saved of a metric, in a vector of one length."""
        value = self._saved.get((key, name)) if trainer is None else self._look(trainer, key, name)[1]
        kept = [torch.as_tensor(value, dtype=self._dtype).to(self._device) for value in self._kept[key][name]]
        counts = [float(value is not None), value or 0.0, len(kept)]
        room = [0.0] * (_KEPT - len(kept))
        like: Any = {"dtype": self._dtype, "device": self._device}
        return torch.cat(
            [
                self._totals[key].totals[row, :4],
                torch.tensor(counts, **like),
                torch.stack(kept) if kept else torch.zeros(0, **like),
                torch.tensor(room, **like),
            ]
        )

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on where a saved run stood."""
        try:
            shares = state.get("shares", {})
            self._loaded = {key: [_share(rank) for rank in shares[key]] for key in shares if key in self._watched}
            self._of_batches = {str(name) for name in state.get("of_batches", ())}
            self._silent = {str(key): int(times) for key, times in state.get("silent", {}).items()}
            self._saved = {}
        except DAMAGE as error:
            raise damaged(error) from None


def _mean(row: list[float]) -> float | None:
    total, finite, every, number, _ = row
    return None if not number else total / finite if finite else every


def _unpacked(row: list[float]) -> dict[str, Any]:
    total, finite, every, number, has_logged, logged, kept, *values = row
    return {
        "totals": [total, finite, every, number],
        "kept": values[: int(kept)],
        "logged": logged if has_logged else None,
    }


def _is_any(each: Mapping[str, Any]) -> bool:
    """Whether a process has seen anything of a metric."""
    return bool(each["totals"][3] or each["kept"]) or each["logged"] is not None


def _share(plain: Mapping[str, Mapping[str, Any]]) -> _Share:
    """From the plain values of a checkpoint."""
    share: _Share = {}
    for name, each in plain.items():
        total, finite, every, number = map(float, each["totals"])
        kept = [float(value) for value in each["kept"]]
        logged = None if each["logged"] is None else float(each["logged"])
        share[str(name)] = {"totals": [total, finite, every, number], "kept": kept, "logged": logged}
    return share


def _number(key: str, name: str, value: Any) -> Any:
    """A number, or a tensor without dimensions: a copy, because the next batch may fill the same one."""
    if isinstance(value, torch.Tensor):
        if value.numel() == 1 and not value.is_complex():
            return value.detach().reshape(()).clone()
        got = f"a tensor of shape {tuple(value.shape)}" if value.numel() != 1 else f"one of {value.dtype}"
    else:
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            got = quote(value)
    raise AnnealError(f"{key}.monitor", f"{name} must be one number a batch, got {got}")
