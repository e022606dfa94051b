"""Trains as often as it is told to, each time in a process of its own that is killed at a given place or time.

Lightning takes seconds to import, so this is done once: a job is a line of JSON on stdin, each job is a fork, and the
answer on stdout is the signal that ended it, 0 if none did.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_anneal import BetaScheduleCallback, HyperparamAnnealingCallback, configure_optimizers
from tests.followed import BATCHES, SCHEDULES, Followed, Seen
from tests.tiny import trainer_for
from tests.written import on

EPOCHS = 8

PARAMS = {
    **SCHEDULES,
    "annealed.fast": {"strategy": "scheduled", "schedule": {"3": 1.0, "6": 2.0}},
    # The other callback has a parameter that is called beta.
    "count": on("early_stopper_counter", attr_name="beta"),
    "loss.margin": on("lr_scheduler_triggered"),
    "weights.kl": on("metric_plateau", monitor="val_loss", patience=2),
    "weights.nested.0": on("early_stopper_triggered", extend_training=True),
    "heat": {"strategy": "sigmoid", "end_value": 0.5, "interval": "step", "as_tensor": True},
}

# Each run is one of these: a plateau scheduler that triggers watch, or an optimizer and its schedule from config. That
# one is stepped at every third step, which is no divisor of an epoch's.
VARIANTS: dict[str, dict[str, Any]] = {
    "plateau": PARAMS,
    "config": {name: settings for name, settings in PARAMS.items() if name != "loss.margin"},
}
OPTIM: dict[str, Any] = {
    "optimizer": "SGD",
    "learning_rate": 0.125,
    "optimizer_kwargs": {"momentum": 0.5, "weight_decay": 0.02},
    "lr_parameter_groups": {"bias": {"pattern": "bias", "lr": 0.0625}},
    "scheduler": "cosine",
    "scheduler_kwargs": {"warmup_steps": "25%"},
    "scheduler_configs": {"interval": "step", "frequency": 3},
}

HOOKS = (
    *("on_train_epoch_start", "on_train_batch_start", "on_before_optimizer_step", "on_train_batch_end"),
    *("on_validation_start", "on_validation_batch_end", "on_validation_end", "on_train_epoch_end"),
    "on_save_checkpoint",
)
"""Where a run may be killed."""


class Writing(Followed):
    """Puts what it sees into a file, at once."""

    def __init__(self, file: Path, variant: str) -> None:
        # By step, because Lightning loses a step by epoch on a resume from the end of an epoch.
        super().__init__(plateau={"interval": "step", "frequency": BATCHES})
        self.file = file
        self.variant = variant
        self.heat = 0.0
        self.cycle = 0.0

    def weights_in_force(self) -> dict[str, float]:
        return {**super().weights_in_force(), "heat": float(self.heat), "cycle": self.cycle}

    def tell(self, seen: Seen) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(seen) + "\n")
            file.flush()

    def configure_optimizers(self) -> Any:
        return (
            configure_optimizers(self, part=self.layer, **OPTIM)
            if self.variant == "config"
            else super().configure_optimizers()
        )


class KillAt(Callback):
    """Kills its process the n-th time that a hook is called."""

    def __init__(self, hook: str, occurrence: int) -> None:
        left = occurrence

        def count(*args: Any, **kwargs: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        setattr(self, hook, count)


def train(folder: Path, *callbacks: Callback, variant: str = "plateau") -> Writing:
    """Train to the end, from the last checkpoint in the folder if there is one."""
    last = folder / "last.ckpt"
    saver = ModelCheckpoint(folder, save_last=True, save_on_train_epoch_end=True, enable_version_counter=False)
    module = Writing(folder / "seen.jsonl", variant)
    restarts = {
        "base_scheduler_type": "linear",
        "base_scheduler_kwargs": {"max_beta": 0.5, "warmup_epochs": "1ep"},
        "restart_interval": "30%",
    }
    beta = BetaScheduleCallback("warm_restart", restarts, attr_name="cycle", interval="step", eval_beta=1.0)
    stopper = EarlyStopping("val_loss", patience=2)
    every = [HyperparamAnnealingCallback(VARIANTS[variant]), beta, stopper, *callbacks, saver]
    logger = CSVLogger(folder, name="log", version=0)
    trainer_for(folder, *every, logger=logger, enable_checkpointing=True, log_every_n_steps=1, max_epochs=EPOCHS).fit(
        module, ckpt_path=last if last.exists() else None
    )
    return module


def main() -> None:
    """Do the jobs on stdin."""
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _do(job)
        if "after" in job:
            time.sleep(job["after"])
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)), flush=True)


def _do(job: dict[str, Any]) -> None:
    code = 1
    try:
        warnings.simplefilter("ignore")
        torch.set_num_threads(1)
        callbacks = [KillAt(job["hook"], job["occurrence"])] if "hook" in job else []
        train(Path(job["folder"]), *callbacks, variant=job["variant"])
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


if __name__ == "__main__":
    main()
