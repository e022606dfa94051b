"""RunKeeper: after every epoch a checkpoint to go on from, and the metrics so far."""

from __future__ import annotations

import functools
import inspect
import math
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lightning_anneal.search.attached import RUN_FOLDER
from lightning_anneal.search.files import read_json, write_json

CHECKPOINT = "last.ckpt"
RESULT = "result.json"


class RunKeeper(Checkpoint):
    """Writes ``last.ckpt`` and ``result.json`` into a run's folder, each as a whole.

    A `Checkpoint`, because Lightning runs those last: by then the module, EarlyStopping and all others have done what
    they do at the end of an epoch.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if trainer.is_global_zero:
            self._note(trainer.current_epoch, metrics)
        temporary = self.folder / f".{CHECKPOINT}"
        trainer.save_checkpoint(temporary)  # on every rank
        if trainer.is_global_zero:
            os.replace(temporary, self.folder / CHECKPOINT)

    def _note(self, epoch: int, metrics: dict[str, float]) -> None:
        """Write down an epoch's metrics; one that is trained again takes the place of the one before."""
        known = read_json(self.folder / RESULT) or {"epochs": {}}
        epochs = {e: found for e, found in known["epochs"].items() if int(e) < epoch}
        # JSON has no NaN.
        epochs[str(epoch)] = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        write_json(self.folder / RESULT, {"epochs": epochs})


def resume_by_itself() -> None:
    """Let every fit of this process that isn't given a checkpoint go on from the run's last one, if there is one.

    There is no public way in: a callback comes too late, and the script that calls ``fit`` is the user's.
    """
    if getattr(Trainer.fit, "resumes", False):
        return
    fit = Trainer.fit
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def resuming(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs)
        last = Path(os.environ.get(RUN_FOLDER, "")) / CHECKPOINT
        if given.arguments.get("ckpt_path") is None and RUN_FOLDER in os.environ and last.exists():
            given.arguments["ckpt_path"] = str(last)
            if "weights_only" in signature.parameters:
                # The run's own, from a moment ago: what the module has put into it is its own business.
                given.arguments["weights_only"] = False
        return fit(*given.args, **given.kwargs)

    resuming.resumes = True  # type: ignore[attr-defined]
    Trainer.fit = resuming  # type: ignore[method-assign]
