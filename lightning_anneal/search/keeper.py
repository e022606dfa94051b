"""RunKeeper: after every epoch a checkpoint to go on from, and the metrics so far."""

from __future__ import annotations

import functools
import inspect
import math
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightning_anneal.lightnings import Checkpoint, LightningModule, Trainer, twins
from lightning_anneal.search.driver_watch import RUN_FOLDER
from lightning_anneal.search.files import put_in_place, read_json, write_json
from lightning_anneal.search.names import labels
from lightning_anneal.search.runs import CHECKPOINT, PRUNE, RESULT, RUN, best_of, read_epochs

_TENSORBOARD = twins("loggers.TensorBoardLogger")

_fits = 0
"""How many fits this process has begun."""


class RunKeeper(Checkpoint):
    """Writes ``last.ckpt`` and ``result.json`` into a run's folder, each as a whole.

    It ends the fit where the search wants it to end, and at the end of the fit it gives TensorBoard's HParams the run's
    values with the best metric. A `Checkpoint`, because Lightning runs those last: by then the module, EarlyStopping
    and all others have done what they do at the end of an epoch.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._order: dict[str, Any] = read_json(self.folder / RUN) or {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        for logger in trainer.loggers:
            if isinstance(logger, _TENSORBOARD):
                # Else Lightning gives HParams a metric of its own, which stays at -1.
                logger._default_hp_metric = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Killed behind its last epoch, it has no other one to go.
        if self._is_last(trainer.current_epoch - 1) or (read_json(self.folder / RESULT) or {}).get("pruned"):
            trainer.should_stop = True
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            # All processes of a run are told to stop, and the handlers of Lightning would wait for each other for ever.
            # The loop passes the flag on by itself; Lightning puts back what was there before it.
            connector = trainer._signal_connector
            signal.signal(signal.SIGTERM, lambda *_: setattr(connector, "received_sigterm", True))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[union-attr]
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        stop = self._is_last(trainer.current_epoch)
        if self._order.get("prune") and not stop:
            # Only the first process may look, lest another one sees what comes a moment later.
            stop = pruned = trainer.strategy.broadcast((self.folder / PRUNE).exists())
        else:
            pruned = False
        if trainer.is_global_zero:
            self._note(trainer.current_epoch, metrics, pruned)
        last = _checkpoint_of(self.folder, _fits)
        temporary = last.with_name(f".{last.name}")
        trainer.save_checkpoint(temporary)  # on every rank
        if trainer.is_global_zero:
            put_in_place(temporary, last)
        if stop:
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        values = self._order.get("values")
        if not trainer.is_global_zero or not values or "until_epoch" in self._order:
            return
        best = best_of(read_epochs(self.folder), self._order["monitor"], self._order["mode"])
        metrics = {} if best is None else {f"best/{self._order['monitor']}": best.value}
        short = labels(values)
        for logger in trainer.loggers:
            if isinstance(logger, _TENSORBOARD) and metrics:
                logger.log_hyperparams({short[path]: value for path, value in values.items()}, metrics)

    def _is_last(self, epoch: int) -> bool:
        until = self._order.get("until_epoch")
        return until is not None and epoch + 1 >= until

    def _note(self, epoch: int, metrics: dict[str, float], pruned: bool) -> None:
        """Write down an epoch's metrics; one that is trained again takes the place of the one before."""
        # A script that fits several times is judged by its last fit.
        same = (read_json(self.folder / RESULT) or {}).get("fit", _fits) == _fits
        epochs = {e: found for e, found in read_epochs(self.folder).items() if same and e < epoch}
        # JSON has no NaN.
        epochs[epoch] = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        write_json(self.folder / RESULT, {"fit": _fits, "epochs": epochs, **({"pruned": True} if pruned else {})})


def _checkpoint_of(folder: Path, fit: int) -> Path:
    return folder / CHECKPOINT if fit == 1 else (folder / CHECKPOINT).with_stem(f"last_of_fit_{fit}")


def resume_by_itself() -> None:
    """Let every fit of this process that isn't given a checkpoint go on from its last one, if there is one.

    A script may fit several times, as for folds: the first fit goes on from the first fit's checkpoint of an earlier
    attempt, the second one from the second's.

    There is no public way in: a callback comes too late, and the script that calls ``fit`` is the user's.
    """
    for trainer, terminated in zip(twins("Trainer"), twins("utilities.exceptions.SIGTERMException"), strict=True):
        if not getattr(trainer.fit, "resumes", False):
            trainer.fit = _resuming(trainer.fit, terminated)


def _resuming(fit: Callable[..., Any], terminated: type[BaseException]) -> Callable[..., Any]:
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def resuming(*args: Any, **kwargs: Any) -> Any:
        global _fits
        _fits += 1
        given = signature.bind(*args, **kwargs)
        last = _checkpoint_of(Path(os.environ.get(RUN_FOLDER, "")), _fits)
        if given.arguments.get("ckpt_path") is None and RUN_FOLDER in os.environ and last.exists():
            given.arguments["ckpt_path"] = str(last)
            if "weights_only" in signature.parameters:
                # The run's own, from a moment ago: what the module has put into it is its own business.
                given.arguments["weights_only"] = False
        for callback in given.arguments["self"].callbacks:
            if isinstance(callback, twins("cli.SaveConfigCallback")):
                # LightningCLI refuses to run twice into one folder, and would write over the run's own config.
                callback.overwrite, callback.config_filename = True, "full_config.yaml"
        try:
            return fit(*given.args, **given.kwargs)
        except terminated:
            # As it is, the process would end with status 0, as if it had finished.
            raise SystemExit(128 + signal.SIGTERM) from None

    resuming.resumes = True  # type: ignore[attr-defined]
    return resuming
