"""The script of several gloo ranks: FOLDER RANKS SCENARIO... Each rank writes SCENARIO.RANK.json, and goes on.

What a rank writes down: the values at every step, the hook that each broadcast of the package came from, the package's
warnings and error, and how long it took. A rank that ends otherwise than by an AnnealError ends the script.
"""

from __future__ import annotations

import json
import math
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import AnnealError, HyperparamAnnealingCallback, LossBalancingCallback

STEPS = 4
SAMPLES = 48
NAMES = ("beta", "gamma", "delta", "epsilon")
# Long enough for all ranks to start on a machine that is busy with other things; nothing that passes waits for it.
TIMEOUT = timedelta(seconds=60)

torch.set_num_threads(1)


class Counting(DDPStrategy):
    """Notes from which hook of a callback each broadcast and each vote of this package comes."""

    def __init__(self) -> None:
        super().__init__(process_group_backend="gloo", timeout=TIMEOUT)
        self.broadcasts: list[str] = []
        self.votes: list[str] = []

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        self.broadcasts += _hook_of_the_package()
        return super().broadcast(obj, src)

    def reduce_boolean_decision(self, decision: bool, all: bool = True) -> bool:
        self.votes += _hook_of_the_package()
        return super().reduce_boolean_decision(decision, all)


def _hook_of_the_package() -> list[str]:
    frame = sys._getframe(2)
    if "lightning_anneal" not in frame.f_code.co_filename:
        return []
    # Lightning calls all callbacks' hooks by way of this function.
    while frame.f_code.co_name != "_call_callback_hooks":
        assert frame.f_back is not None
        frame = frame.f_back
    return [frame.f_locals["hook_name"]]


class Module(LightningModule):
    """Logs what is written down beforehand: `losses` and `accuracies` of this rank, by validation."""

    def __init__(
        self,
        losses: list[float],
        *,
        sync: bool = True,
        accuracies: list[float] | None = None,
        plateau: dict[str, Any] | None = None,
        validations_per_epoch: int = 1,
        steps: int = STEPS,
    ) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.beta = self.gamma = self.delta = self.epsilon = 0.0
        self.losses, self.accuracies, self.sync, self.plateau = losses, accuracies, sync, plateau
        self.steps, self.every = steps, steps // validations_per_epoch
        self.seen: list[tuple[int, int, list[float]]] = []
        self.rates: list[tuple[int, float]] = []
        self.indices: list[tuple[int, list[float]]] = []
        self.validated: list[int] = []

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> torch.Tensor:
        self.seen.append((self.current_epoch, batch_idx, [getattr(self, name) for name in NAMES]))
        self.rates.append((self.current_epoch, self.trainer.optimizers[0].param_groups[0]["lr"]))
        self.indices.append((self.current_epoch, batch[0].flatten().tolist()))
        return self.layer(torch.ones(1, 1)).pow(2).mean()

    def on_validation_start(self) -> None:
        if not self.trainer.sanity_checking:
            self.validated.append(self.current_epoch)

    def validation_step(self, batch: list[torch.Tensor], batch_idx: int) -> None:
        # A function of the place in the run, so that a resumed run goes on with it.
        at = max(self.global_step // self.every - 1, 0) if self.every else self.current_epoch
        self.log("val_loss", torch.tensor(float(self.losses[at])), sync_dist=self.sync)
        if self.accuracies is not None:
            self.log("val_acc", torch.tensor(float(self.accuracies[at])), sync_dist=self.sync)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.125)
        if self.plateau is None:
            return optimizer
        config = {"scheduler": ReduceLROnPlateau(optimizer, factor=0.5, patience=1), "monitor": "val_loss"}
        return {"optimizer": optimizer, "lr_scheduler": {**config, **self.plateau}}

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(self.steps * self.trainer.world_size)))

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(self.trainer.world_size)))


class Indices(LightningDataModule):
    """A dataset whose samples are their own indices."""

    def __init__(self, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.arange(SAMPLES)), batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.zeros(self.trainer.world_size)))


class Rank:
    """One of the processes: what it fits, and what it has written down of it."""

    def __init__(self, folder: Path, ranks: int) -> None:
        self.folder, self.ranks = folder, ranks
        self.index = -1

    def trainer(self, *callbacks: Callback, **options: Any) -> Trainer:
        settings: dict[str, Any] = {
            "logger": False,
            "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
            "max_epochs": 30,
        }
        trainer = Trainer(
            accelerator="cpu",
            devices=self.ranks,
            strategy=Counting(),
            callbacks=list(callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=self.folder,
            **{**settings, **options},
        )
        self.index = trainer.global_rank
        return trainer

    def losses(self, means: list[float]) -> list[float]:
        """Losses of this rank, which differ from the mean over all ranks by more than that itself ever moves."""
        shift = {0: 8.0, 1: -8.0}.get(self.index, 0.0)
        return [mean + shift * (-1) ** at for at, mean in enumerate(means)]

    def fit(self, trainer: Trainer, module: Module, **options: Any) -> dict[str, Any]:
        error, start = None, time.monotonic()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                trainer.fit(module, **options)
            except AnnealError as refused:
                error = str(refused)
        strategy: Any = trainer.strategy
        return {
            "error": error,
            "seconds": time.monotonic() - start,
            "warned": [str(w.message) for w in caught if "rank 0 decides" in str(w.message)],
            "broadcasts": strategy.broadcasts,
            "votes": strategy.votes,
            **{key: getattr(module, key) for key in ("seen", "rates", "indices", "validated")},
        }


def play(scenarios: Mapping[str, Callable[[Rank], dict[str, Any]]], arguments: list[str]) -> int:
    """Fit on all ranks, one scenario after the other: FOLDER RANKS SCENARIO..."""
    folder, names = Path(arguments[0]), arguments[2:]
    rank = Rank(folder, int(arguments[1]))
    for name in names:
        start = time.monotonic()
        try:
            written, code = scenarios[name](rank), 0
        except Exception as error:
            what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            written, code = {"ended": what, "seconds": time.monotonic() - start}, 1
        (folder / f"{name}.{rank.index}.json").write_text(json.dumps(written))
        if code:
            return code
    return 0


def anneal(**params: Any) -> HyperparamAnnealingCallback:
    return HyperparamAnnealingCallback({name.replace("__", "."): settings for name, settings in params.items()})


def on(source: str, values: list[float] | None = None, **settings: Any) -> dict[str, Any]:
    values = [float(n) for n in range(12)] if values is None else values
    return {"strategy": "TRIGGER_BASED", "trigger_source": source, "values": values, **settings}


def stopper(patience: int = 20) -> EarlyStopping:
    return EarlyStopping("val_loss", patience=patience)


# -- values ---------------------------------------------------------------------------------------------------------


def schedules(rank: Rank) -> dict[str, Any]:
    by_epoch = {"strategy": "linear", "end_value": 2.5, "total_steps": 4}
    by_step = {"strategy": "linear", "start_value": 0.0, "end_value": 8.0, "total_steps": "50%", "interval": "step"}
    trainer = rank.trainer(anneal(beta=by_epoch, gamma=by_step), max_epochs=4)
    module = Module([4.0] * 4)
    module.beta = 0.5 if rank.index == 0 else 7.5
    return rank.fit(trainer, module)


def twice_an_epoch(rank: Rank) -> dict[str, Any]:
    callback = anneal(
        beta=on("early_stopper_counter"),
        gamma=on("metric_plateau", monitor="val_loss", patience=3),
        delta=on("lr_scheduler_triggered"),
    )
    trainer = rank.trainer(callback, stopper(), max_epochs=4, val_check_interval=0.5)
    losses = rank.losses([4, 4, 4, 3, 3, 3, 3, 3])
    plateau = {"interval": "step", "frequency": 2}
    return rank.fit(trainer, Module(losses, plateau=plateau, validations_per_epoch=2))


EXTENDED = [4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3]


def extended_callback() -> HyperparamAnnealingCallback:
    return anneal(
        beta=on("early_stopper_counter"),
        gamma=on("metric_plateau", monitor="val_loss", patience=3),
        delta=on("lr_scheduler_triggered"),
        epsilon=on("early_stopper_triggered", [0.0, 10.0, 20.0], extend_training=True),
    )


def extended(rank: Rank) -> dict[str, Any]:
    trainer = rank.trainer(stopper(3), extended_callback())
    return rank.fit(trainer, Module(rank.losses(EXTENDED), plateau={}))


def unsynced(rank: Rank) -> dict[str, Any]:
    callback = anneal(
        beta=on("early_stopper_counter"),
        gamma=on("metric_plateau", monitor="val_loss", patience=2, mode="max"),
        delta=on("lr_scheduler_triggered"),
    )
    trainer = rank.trainer(stopper(), callback, max_epochs=7)
    losses = [4, 4, 4, 3, 3, 3, 3] if rank.index == 0 else [4, 3, 2, 1, 0.5, 0.25, 0.125]
    return rank.fit(trainer, Module(losses, sync=False, plateau={}))


def unsynced_extended(rank: Rank) -> dict[str, Any]:
    callback = anneal(epsilon=on("early_stopper_triggered", [0.0, 10.0, 20.0], extend_training=True))
    trainer = rank.trainer(callback, stopper(2), max_epochs=8)
    losses = [4, 4, 4, 3, 2, 1, 0.5, 0.25] if rank.index == 0 else [4, 3, 2, 2.5, 2.5, 1, 0.5, 0.25]
    return rank.fit(trainer, Module(losses, sync=False))


def saver(rank: Rank, name: str) -> ModelCheckpoint:
    options: dict[str, Any] = {"save_top_k": -1, "save_on_train_epoch_end": True, "filename": "{epoch}"}
    return ModelCheckpoint(dirpath=rank.folder / name, **options)


def resumed_triggers(rank: Rank) -> dict[str, Any]:
    # The plateau scheduler steps by step: what it does by epoch comes after the checkpoint, and is lost on resume.
    plateau = {"interval": "step", "frequency": STEPS}

    def fit(*more: Callback, ckpt_path: Any = None) -> dict[str, Any]:
        trainer = rank.trainer(stopper(3), extended_callback(), *more, max_epochs=9)
        return rank.fit(trainer, Module(rank.losses(EXTENDED), plateau=plateau), ckpt_path=ckpt_path)

    whole = fit(saver(rank, "triggers"))
    after = {epoch: fit(ckpt_path=rank.folder / "triggers" / f"epoch={epoch}.ckpt") for epoch in (1, 2, 3, 7)}
    return {**whole, "resumed": after}


# -- phases ---------------------------------------------------------------------------------------------------------

PHASES: list[dict[str, Any]] = [
    {"name": "a", "until": {"trigger": "metric_below", "monitor": "val_loss", "threshold": 3.5}, "set": {"beta": 1.0}},
    {"name": "b", "duration": "2st", "set": {"beta": 2.0}},
    {"name": "c", "until": {"trigger": "early_stopper_counter", "at_most": "60%"}, "set": {"beta": 3.0}},
    {"name": "d", "anneal": {"gamma": {"strategy": "linear", "end_value": 8.0, "total_steps": 8, "interval": "step"}}},
]


def phased(rank: Rank) -> dict[str, Any]:
    """Rank 0 has 4 4 3 3 3 3 3, whose count rises after epoch 3; the others' losses would turn nothing."""

    def fit(*more: Callback, ckpt_path: Any = None) -> dict[str, Any]:
        callback = HyperparamAnnealingCallback(phases=PHASES)
        trainer = rank.trainer(callback, stopper(), *more, max_epochs=7)
        losses = [4, 4, 3, 3, 3, 3, 3] if rank.index == 0 else [9, 8, 7, 6, 5, 4, 3.75]
        written = rank.fit(trainer, Module(losses, sync=False), ckpt_path=ckpt_path)
        turns = [[c.epoch, c.step, c.new, c.why] for c in callback.changes if c.name == "phase"]
        return {**written, "turns": turns, "phase": callback.phase}

    whole = fit(saver(rank, "phases"))
    after = {epoch: fit(ckpt_path=rank.folder / "phases" / f"epoch={epoch}.ckpt") for epoch in (1, 2, 3)}
    return {**whole, "resumed": after}


# -- weights of losses ----------------------------------------------------------------------------------------------


class Terms(Module):
    """Two terms, of each rank its own, returned or logged; `seen` has their weights."""

    def __init__(self, term: Callable[[int], tuple[float, float]], *, logged: bool) -> None:
        super().__init__([4.0] * 9)
        self.loss_weights = {"a": 1.0, "b": 1.0}
        self.term, self.logged = term, logged

    def training_step(self, batch: list[torch.Tensor], batch_idx: int) -> Any:
        self.seen.append((self.current_epoch, batch_idx, list(self.loss_weights.values())))
        a, b = (torch.tensor(value) for value in self.term(self.current_epoch))
        loss = self.layer(torch.ones(1, 1)).pow(2).mean()
        if not self.logged:
            return {"loss": loss, "a": a, "b": b}
        self.log("a", a)
        self.log("b", b)
        return loss


def weights_by_step(rank: Rank) -> dict[str, Any]:
    """The means over all ranks are 10 * ranks and 10."""
    trainer = rank.trainer(LossBalancingCallback(["a", "b"], "inverse_ema", decay=0.0, frequency=3), max_epochs=2)
    return rank.fit(trainer, Terms(lambda epoch: (10.0 + 20.0 * rank.index, 10.0), logged=False))


def weights_by_epoch(rank: Rank) -> dict[str, Any]:
    """Rank 0's a grows threefold, and those of the others together lose what it gains; b halves on all."""
    trainer = rank.trainer(LossBalancingCallback(["a", "b"], temperature=0.5 / math.log(3)), max_epochs=3)
    lost = 20.0 / (rank.ranks - 1)

    def term(epoch: int) -> tuple[float, float]:
        grown = [10.0, 30.0, 30.0] if rank.index == 0 else [30.0, 30.0 - lost, 30.0 - lost]
        return grown[epoch], 8.0 / 2**epoch

    return rank.fit(trainer, Terms(term, logged=True))


# -- batch sizes ----------------------------------------------------------------------------------------------------


def _sized(
    rank: Rank, own: int | Callable[[Trainer], int], *more: Callback, ckpt_path: Any = None, **settings: Any
) -> dict[str, Any]:
    trainer = rank.trainer(stopper(), anneal(datamodule__batch_size=settings), *more, max_epochs=5)
    own = own(trainer) if callable(own) else own
    # Without steps of its own: a validation's number is that of the epoch.
    return rank.fit(trainer, Module([4.0] * 5, steps=0), datamodule=Indices(own), ckpt_path=ckpt_path)


def scheduled_up(rank: Rank) -> dict[str, Any]:
    return _sized(rank, 5, strategy="SCHEDULED", schedule={0: 4, 1: 6, 3: 12})


def scheduled_down(rank: Rank) -> dict[str, Any]:
    return _sized(rank, 5, strategy="SCHEDULED", schedule={0: 12, 1: 4, 3: 2})


def own_sizes_differ(rank: Rank) -> dict[str, Any]:
    def own(trainer: Trainer) -> int:
        return 4 if trainer.global_rank == 0 else 5

    return _sized(rank, own, strategy="SCHEDULED", schedule={0: 4, 1: 6, 3: 12})


def triggered_up(rank: Rank) -> dict[str, Any]:
    return _sized(rank, 4, **on("early_stopper_counter", [4, 6, 12]), scale_lr="linear")


def triggered_down(rank: Rank) -> dict[str, Any]:
    return _sized(rank, 12, **on("early_stopper_counter", [12, 4, 2]))


def resumed_sizes(rank: Rank) -> dict[str, Any]:
    settings = {**on("early_stopper_counter", [4, 6, 12]), "scale_lr": "linear"}
    whole = _sized(rank, 4, saver(rank, "sizes"), **settings)
    paths = {epoch: rank.folder / "sizes" / f"epoch={epoch}.ckpt" for epoch in (0, 1, 2)}
    return {**whole, "resumed": {epoch: _sized(rank, 4, ckpt_path=path, **settings) for epoch, path in paths.items()}}


# -- errors ---------------------------------------------------------------------------------------------------------


HALF = {"strategy": "linear", "end_value": 8.0, "total_steps": "50%", "interval": "step"}


def _without_beta(on_rank: int) -> Callable[[Rank], dict[str, Any]]:
    def scenario(rank: Rank) -> dict[str, Any]:
        # The length of gamma needs the data loader, whose length Lightning asks all ranks for.
        trainer = rank.trainer(anneal(gamma=HALF, beta={"strategy": "linear", "end_value": 1.0}), max_epochs=2)
        module = Module([4.0] * 2)
        if rank.index == on_rank:
            del module.beta
        return rank.fit(trainer, module)

    return scenario


def _without_stopper(on_rank: int) -> Callable[[Rank], dict[str, Any]]:
    def scenario(rank: Rank) -> dict[str, Any]:
        callbacks: list[Callback] = [anneal(gamma=HALF, beta=on("early_stopper_counter"))]
        trainer = rank.trainer(*callbacks, stopper(), max_epochs=2)
        if trainer.global_rank == on_rank:
            trainer = rank.trainer(*callbacks, max_epochs=2)
        return rank.fit(trainer, Module([4.0] * 2))

    return scenario


def _bad_start(on_rank: int) -> Callable[[Rank], dict[str, Any]]:
    def scenario(rank: Rank) -> dict[str, Any]:
        # An exponential can't begin at 0, which only its own rank finds out, on the way to the length of gamma.
        trainer = rank.trainer(anneal(beta={"strategy": "exponential", "end_value": 1.0}, gamma=HALF), max_epochs=2)
        module = Module([4.0] * 2)
        module.beta = 0.0 if rank.index == on_rank else 4.0
        return rank.fit(trainer, module)

    return scenario


def misspelled(rank: Rank) -> dict[str, Any]:
    trainer = rank.trainer(anneal(beta=on("metric_above", monitor="val_ac", threshold=0.5)), max_epochs=5)
    return rank.fit(trainer, Module([4.0] * 5, accuracies=[0.0] * 5))


def _logged(on_rank: Callable[[int], bool]) -> Callable[[Rank], dict[str, Any]]:
    def scenario(rank: Rank) -> dict[str, Any]:
        trainer = rank.trainer(anneal(beta=on("metric_above", monitor="val_acc", threshold=0.5)), max_epochs=5)
        accuracies = [0.0, 1.0, 0.0, 1.0, 0.0] if on_rank(rank.index) else None
        return rank.fit(trainer, Module([4.0] * 5, accuracies=accuracies, sync=False))

    return scenario


SCENARIOS: dict[str, Callable[[Rank], dict[str, Any]]] = {
    "schedules": schedules,
    "twice_an_epoch": twice_an_epoch,
    "extended": extended,
    "unsynced": unsynced,
    "unsynced_extended": unsynced_extended,
    "resumed_triggers": resumed_triggers,
    "phased": phased,
    "weights_by_step": weights_by_step,
    "weights_by_epoch": weights_by_epoch,
    "scheduled_up": scheduled_up,
    "scheduled_down": scheduled_down,
    "triggered_up": triggered_up,
    "triggered_down": triggered_down,
    "resumed_sizes": resumed_sizes,
    "own_sizes_differ": own_sizes_differ,
    "attribute_missing_on_0": _without_beta(0),
    "attribute_missing_on_1": _without_beta(1),
    "stopper_missing_on_0": _without_stopper(0),
    "stopper_missing_on_1": _without_stopper(1),
    "misspelled": misspelled,
    "logged_but_on_0": _logged(lambda rank: rank != 0),
    "logged_but_on_1": _logged(lambda rank: rank != 1),
    "bad_start_on_0": _bad_start(0),
    "bad_start_on_1": _bad_start(1),
}


if __name__ == "__main__":
    sys.exit(play(SCENARIOS, sys.argv[1:]))
