"""HyperparamAnnealingCallback: any hyperparameter of a run, by settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lightning_anneal.callbacks.base import RuleCallback
from lightning_anneal.config import as_hyperparameters, default_rules, phases_as_hyperparameters, read_settings


class HyperparamAnnealingCallback(RuleCallback):
    """Anneals hyperparameters of the module, its hparams, the optimizers, the datamodule and the trainer.

    Values are logged as ``Annealing/<name>``: those by epoch at the first step of every epoch, those by step every
    ``log_every_n_steps``. ``trainer.callback_metrics`` has them before each validation and at the end of each epoch.

    Args:
        annealing_params: ``{name: settings}``. Settings are a mapping with a ``strategy`` and its keys, or in code a
            schedule or any callable of ``t``. The name is also the path, unless ``attr_name`` gives another. Without
            any, ``reg_param`` goes through 0.001, 0.005, 0.01 and ``contrastive_weight`` through 0, 0.005, 0.01, 0.02,
            0.03, each where the module has it: from the value found to the next greater one whenever EarlyStopping
            has waited for half of its patience.
        phases: A list of phases that move many parameters at once, such as ``{"name": "warm", "until": "10ep", "set":
            {"beta": 0.0}}``. Each has a ``name``, an end and what it does to parameters. The end is ``until`` a point
            of the run (``10`` epochs, ``"10ep"``, ``"500st"``, ``"30%"``) or a trigger (``{"trigger": "metric_below",
            "monitor": ..., "threshold": ...}``, perhaps with ``at_most``), or a ``duration``; the last one needs none.
            Under ``set`` stand values, under ``anneal`` settings of schedules, whose time begins with the phase. A
            parameter that a phase doesn't name stays as it is.
        name: Needed where a Trainer has two of these callbacks: it tells their states apart in a checkpoint.
        prog_bar: Names of parameters that stand in the progress bar.
        on_horizon_change: What becomes of lengths in per cent when a run is resumed with another length:
            ``"keep"`` them as they were found at the first start (with a warning), ``"stretch"`` them, ``"error"``.

    Raises:
        AnnealError: For a mistake that the settings alone show; when fit starts, for a path that leads nowhere.

    Example:
        >>> from lightning_anneal import Cosine
        >>> callback = HyperparamAnnealingCallback({
        ...     "temperature": Cosine(1.0, 0.1, 20),
        ...     "optimizer.param_groups.0.weight_decay": {"strategy": "linear", "end_value": 0.0, "total_steps": "50%"},
        ... })
        >>> HyperparamAnnealingCallback({"temperature": {"strategy": "cosin"}})
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: temperature.strategy: unknown strategy 'cosin'; did you mean 'cosine'?
    """

    # A bare ``dict``: inside a value typed ``Any`` LightningCLI would import and call any ``class_path`` it meets.
    def __init__(
        self,
        annealing_params: dict | None = None,  # type: ignore[type-arg]
        *,
        phases: list | None = None,  # type: ignore[type-arg]
        name: str | None = None,
        prog_bar: Sequence[str] = (),
        on_horizon_change: str = "keep",
    ) -> None:
        rules, plan = read_settings(annealing_params, phases)
        if annealing_params is None and phases is None:
            rules = default_rules()
        self._settings = {**as_hyperparameters(annealing_params), **phases_as_hyperparameters(phases)}
        super().__init__(rules, name, prog_bar, on_horizon_change, plan)

    @property
    def settings(self) -> Mapping[str, Any]:
        return self._settings

    def tag(self, name: str) -> str:
        return f"Annealing/{name}"
