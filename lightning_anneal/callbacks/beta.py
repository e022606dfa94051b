"""BetaScheduleCallback: the weight of a VAE's KL term, or both weights of a hierarchical one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_anneal import report, tensorboard
from lightning_anneal.beta_rules import WEIGHTS, beta_rules, read_training_config
from lightning_anneal.callbacks.base import RuleCallback
from lightning_anneal.config import plain, read_file
from lightning_anneal.lightnings import LightningModule, Trainer
from lightning_anneal.schedules.beta import WarmRestartBetaScheduler


class BetaScheduleCallback(RuleCallback):
    """Writes beta, the weight of the KL term, into the module before each epoch (or step), always as a float.

    With type ``hierarchical`` it writes ``global_kl_weight`` and ``local_kl_weight``. Logged are
    ``Beta_Schedule/beta`` (or both weights, also in one chart), ``Beta_Schedule/Restart/*`` where the schedule
    restarts, and every ``log_every_n_steps`` ``Batch/Beta``, ``Batch/KL_Loss`` and ``Batch/Total_Loss``, the losses
    from what ``training_step`` returns under ``"kl_loss"`` and ``"loss"``.

    Args:
        beta_scheduler_type: ``constant``, ``linear``, ``cosine``, ``exponential``, ``cyclical``, ``warm_restart`` or
            ``hierarchical``.
        beta_scheduler_params: The parameters of that scheduler, as for `get_beta_scheduler`; lengths may have units
            (``warmup_epochs: "30%"``).
        use_hierarchical_model: Says that the model has two KL terms, which takes type ``hierarchical``.
        attr_name: Path of beta in the module.
        eval_beta: A beta that is in force while validating, testing and predicting. While beta moves, the ``val_loss``
            of two epochs are sums with different weights: the loss of a better model can be the greater one, and
            EarlyStopping and ModelCheckpoint choose by it. With ``eval_beta: 1.0`` it is the negative ELBO in every
            epoch.
        interval: ``"epoch"`` (the default) or ``"step"``: what the scheduler's lengths count.
        frequency: Update at every n-th epoch (or step).
        scheduler_configs: Both of these in one mapping, as for LR schedulers.
        name: Needed where a Trainer has two of these callbacks.
        prog_bar: ``["beta"]`` shows it in the progress bar.
        on_horizon_change: As for HyperparamAnnealingCallback.

    Raises:
        AnnealError: For a mistake that the arguments alone show; when fit starts, for a module without that attribute.

    Example:
        >>> callback = BetaScheduleCallback("cyclical", {"cycle_length": 10, "max_beta": 4.0}, eval_beta=1.0)
        >>> BetaScheduleCallback("cyclical", {"cycle_lenght": 10})
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: beta: unknown parameter 'cycle_lenght'; did you mean 'cycle_length'?
    """

    # Bare ``dict`` for the reason given in HyperparamAnnealingCallback.
    def __init__(
        self,
        beta_scheduler_type: str,
        beta_scheduler_params: dict | None = None,  # type: ignore[type-arg]
        *,
        use_hierarchical_model: bool = False,
        attr_name: str = "beta",
        eval_beta: float | None = None,
        interval: str | None = None,
        frequency: int | None = None,
        scheduler_configs: dict | None = None,  # type: ignore[type-arg]
        name: str | None = None,
        prog_bar: Sequence[str] = (),
        on_horizon_change: str = "keep",
    ) -> None:
        rules = beta_rules(
            beta_scheduler_type,
            beta_scheduler_params,
            use_hierarchical_model=use_hierarchical_model,
            attr_name=attr_name,
            eval_beta=eval_beta,
            interval=interval,
            frequency=frequency,
            scheduler_configs=scheduler_configs,
        )
        self._hierarchical = len(rules) > 1
        self._settings = {"type": beta_scheduler_type.lower(), **plain("beta", beta_scheduler_params or {})}
        if eval_beta is not None:
            self._settings["eval_beta"] = float(eval_beta)
        super().__init__(rules, name, prog_bar, on_horizon_change)

    @classmethod
    def from_config(cls, config: Mapping[str, Any] | str | Path, **arguments: Any) -> BetaScheduleCallback:
        """The callback that a training config describes.

        Args:
            config: ``{"training": {"beta_scheduler_type": ..., "beta_scheduler_params": {...},
                "use_hierarchical_model": ..., "eval_beta": ...}}``, or the path of a JSON or YAML file that holds it.
                ``hierarchical_beta_config`` is another name for the params of type ``hierarchical``, as a mapping or
                as a file's path. Other keys, such as ``num_epochs``, are left alone.
            arguments: Further arguments of the callback.

        Raises:
            AnnealError: For a misspelled ``beta_*`` key, or anything the constructor refuses.

        Example:
            >>> training = {"num_epochs": 20, "beta_scheduler_type": "linear"}
            >>> training["beta_scheduler_params"] = {"max_beta": 1.0, "warmup_epochs": 10}
            >>> callback = BetaScheduleCallback.from_config({"training": training})
        """
        folder = Path()
        if isinstance(config, str | Path):
            folder, config = Path(config).parent, read_file(config)
        return cls(**{**read_training_config(config, folder), **arguments})

    @property
    def settings(self) -> Mapping[str, Any]:
        return {"beta": self._settings}

    def tag(self, name: str) -> str:
        return f"Beta_Schedule/{name}"

    def _at_epoch_start(self, trainer: Trainer, step: int) -> None:
        if not self._step_names:
            self._log_schedule(trainer, step)

    def _at_due_step(self, trainer: Trainer, step: int) -> None:
        self._log_schedule(trainer, step)

    def _log_schedule(self, trainer: Trainer, step: int) -> None:
        values = self.values
        metrics = self._tagged(values)
        for weight, schedule in self._engine.schedules.items():
            if isinstance(schedule, WarmRestartBetaScheduler):
                info = schedule.get_restart_info(self._now(weight))
                part = f"{WEIGHTS[weight]}/" if self._hierarchical else ""
                for key in ("last_restart_epoch", "epochs_since_restart", "is_restart_epoch"):
                    metrics[f"Beta_Schedule/Restart/{part}{key}"] = float(info[key])
        report.log_values(trainer, metrics, step)
        if self._hierarchical:
            both = {weight.removesuffix("_kl_weight"): float(value) for weight, value in values.items()}
            tensorboard.log_together(trainer, "Beta_Schedule/Hierarchical_Comparison", both, step)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Log ``Batch/*`` with the last batch of a step that is due."""
        step = report.due_step(trainer)
        # Under accumulation several batches belong to one step; the last of them has made the optimizer step.
        if step < 0 or self._steps.count(trainer) == self._steps.done:
            return
        metrics = {f"Batch/{_title(name)}": float(value) for name, value in self.values.items()}
        if isinstance(outputs, Mapping):
            # Lightning has divided the loss by the number of batches it accumulates.
            scales = {"loss": trainer.accumulate_grad_batches, "kl_loss": 1}
            for key, tag in (("kl_loss", "Batch/KL_Loss"), ("loss", "Batch/Total_Loss")):
                value = outputs.get(key)
                if isinstance(value, torch.Tensor):
                    value = value.detach().float().mean()
                if isinstance(value, torch.Tensor | float | int):
                    metrics[tag] = float(value) * scales[key]
        report.log_values(trainer, metrics, step)

    def _now(self, weight: str) -> int:
        return self._engine.step_in_force if weight in self._step_names else self._engine.epoch


def _title(weight: str) -> str:
    """The name of a weight in a batch tag: ``global_kl_weight`` is ``Global_KL_Weight``."""
    return "_".join("KL" if word == "kl" else word.capitalize() for word in weight.split("_"))
