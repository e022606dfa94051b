"""The batch size of a running fit: in force in the epoch it is meant for, every sample once, validation in each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader, Dataset, IterableDataset

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.scripted import stopper
from tests.tiny import Tiny, trainer_for

SAMPLES = 24
UP, DOWN = {0: 4, 1: 6, 2: 12}, {0: 12, 1: 4, 2: 2}


class Numbers(Dataset[Any]):
    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((4,), 0.01 * index), index


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return (Numbers()[i] for i in range(SAMPLES))


class OnceOnly(IterableDataset[Any]):
    """An iterator: what has been read is gone."""

    def __init__(self) -> None:
        self.left = iter(range(SAMPLES))

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return Numbers()[next(self.left)]


class Data(LightningDataModule):
    def __init__(self, batch_size: int = 4, dataset: Any = None, **options: Any) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.dataset = Numbers() if dataset is None else dataset
        self.options = {"shuffle": True} if dataset is None else {}
        self.options |= options

    def train_dataloader(self) -> Any:
        return DataLoader(self.dataset, batch_size=self.batch_size, **self.options)

    def val_dataloader(self) -> Any:
        return DataLoader(Numbers(), batch_size=12)


class Sees(Tiny):
    """Writes down the samples of each batch, by epoch, and in which epochs it was validated."""

    def __init__(self, scheduler: Any = None, losses: list[float] | None = None) -> None:
        super().__init__(momentum=0.5)
        self.scheduler = scheduler
        self.batches_of: dict[int, list[list[int]]] = {}
        self.losses = losses or [1.0] * 99
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.batches_of.setdefault(self.current_epoch, []).append(batch[1].tolist())
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        return self.layer(batch[0]).pow(2).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.validated.append((self.current_epoch, 0.0))
        self.log("val_loss", self.losses[self.current_epoch])

    def configure_optimizers(self) -> Any:
        self.steps_told = self.trainer.estimated_stepping_batches if self.trainer.max_epochs else 0
        optimizer = torch.optim.SGD(self.parameters(), lr=0.125, momentum=self.momentum)
        if self.scheduler is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.scheduler(optimizer), "monitor": "val_loss"}}

    @property
    def sizes(self) -> dict[int, list[int]]:
        return {epoch: [len(batch) for batch in batches] for epoch, batches in self.batches_of.items()}

    def saw_everything(self) -> bool:
        return all(sorted(chain(*batches)) == list(range(SAMPLES)) for batches in self.batches_of.values())


def sized(schedule: Any = None, name: str = "datamodule.batch_size", **settings: Any) -> HyperparamAnnealingCallback:
    given = {"strategy": "scheduled", "schedule": schedule} if schedule else {"strategy": "trigger_based"}
    return HyperparamAnnealingCallback({name: {**given, **settings}})


def at_each_rise(*values: int, **settings: Any) -> HyperparamAnnealingCallback:
    return sized(values=list(values), trigger_source="early_stopper_counter", **settings)


@pytest.mark.parametrize(("schedule", "start"), [(UP, 4), (DOWN, 12), (UP, 8), ({1: 6, 2: 12}, 4)])
@pytest.mark.parametrize("asks_for_length", [True, False])
def test_scheduled(tmp_path: Path, schedule: dict[int, int], start: int, asks_for_length: bool) -> None:
    module, data = Sees(), Data(start)
    if not asks_for_length:
        module.configure_optimizers = lambda: torch.optim.SGD(module.parameters(), lr=0.1)
    trainer = trainer_for(tmp_path, sized(schedule))
    trainer.fit(module, datamodule=data)
    first, second, third = {0: 4, **schedule}.values()
    assert module.sizes == {
        0: [first] * (SAMPLES // first),
        1: [second] * (SAMPLES // second),
        2: [third] * (SAMPLES // third),
        3: [third] * (SAMPLES // third),
    }
    assert module.saw_everything()
    assert {epoch for epoch, _ in module.validated} == {0, 1, 2, 3}
    assert trainer.reload_dataloaders_every_n_epochs == 0
    assert data.batch_size == third


@pytest.mark.parametrize("values", [(4, 6, 12), (12, 4, 2)])
@pytest.mark.parametrize("check", [1.0, 0.5])
def test_triggered_in_the_very_next_epoch(tmp_path: Path, values: tuple[int, ...], check: float) -> None:
    module, data = Sees(losses=[1.0, 2.0, 0.5, 3.0, 0.1]), Data(values[0])
    options: dict[str, Any] = {"max_epochs": 5, "val_check_interval": check}
    trainer_for(tmp_path, stopper(), at_each_rise(*values), **options).fit(module, datamodule=data)
    # The count rises in epochs 1 and 3 (also at a half epoch, where the size waits for the next one).
    expected = [values[0], values[0], values[1], values[1], values[2]]
    if check == 0.5:
        # Twice the same loss in an epoch: one rise more in every epoch.
        expected = [values[0], values[1], values[2], values[2], values[2]]
    assert {epoch: sizes[0] for epoch, sizes in module.sizes.items()} == dict(enumerate(expected))
    assert all(len(set(sizes)) == 1 for sizes in module.sizes.values())
    assert module.saw_everything()
    assert {epoch for epoch, _ in module.validated} == set(range(5))


def test_where_the_user_reloads_in_every_epoch(tmp_path: Path) -> None:
    module = Sees(losses=[1.0, 2.0, 3.0])
    trainer = trainer_for(tmp_path, stopper(), at_each_rise(4, 6), max_epochs=3, reload_dataloaders_every_n_epochs=1)
    trainer.fit(module, datamodule=Data())
    assert {epoch: sizes[0] for epoch, sizes in module.sizes.items()} == {0: 4, 1: 4, 2: 6}
    assert trainer.reload_dataloaders_every_n_epochs == 1


def test_loaders_of_the_module_and_a_dict_of_them(tmp_path: Path) -> None:
    class Own(Sees):
        def __init__(self) -> None:
            super().__init__()
            self.batch_size = 4

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch["a"], batch_idx)

        def train_dataloader(self) -> Any:
            loader = DataLoader(Numbers(), batch_size=self.batch_size)
            return {"a": loader, "b": [DataLoader(Numbers(), batch_size=2)]}

        def val_dataloader(self) -> Any:
            return Data().val_dataloader()

    module = Own()
    trainer_for(tmp_path, sized({0: 4, 1: 12}, name="batch_size"), max_epochs=2).fit(module)
    assert {epoch: sizes[0] for epoch, sizes in module.sizes.items()} == {0: 4, 1: 12}


def test_by_a_function_which_has_no_largest_size(tmp_path: Path) -> None:
    module = Sees()
    callback = HyperparamAnnealingCallback({"datamodule.batch_size": lambda epoch: 4.0 * (epoch + 1)})
    trainer_for(tmp_path, callback, max_epochs=3).fit(module, datamodule=Data())
    assert module.sizes == {0: [4] * 6, 1: [8] * 3, 2: [12] * 2}


def test_in_hparams_of_the_datamodule(tmp_path: Path) -> None:
    class WithHparams(LightningDataModule):
        def __init__(self, batch_size: int = 4) -> None:
            super().__init__()
            self.save_hyperparameters()

        def train_dataloader(self) -> Any:
            return DataLoader(Numbers(), batch_size=self.hparams.batch_size)

        def val_dataloader(self) -> Any:
            return Data().val_dataloader()

    module = Sees()
    trainer_for(tmp_path, sized({1: 8}), max_epochs=2).fit(module, datamodule=WithHparams())
    assert {epoch: sizes[0] for epoch, sizes in module.sizes.items()} == {0: 4, 1: 8}


def test_a_stream_is_read_from_the_beginning(tmp_path: Path) -> None:
    module = Sees()
    trainer_for(tmp_path, sized({0: 4, 1: 12}), max_epochs=2).fit(module, datamodule=Data(dataset=Stream()))
    assert module.sizes == {0: [4] * 6, 1: [12] * 2}
    assert module.saw_everything()


def test_relative_lengths_are_those_of_the_first_batch_size(tmp_path: Path) -> None:
    module = Sees()
    ramp = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": "50%", "interval": "step"}
    callback = HyperparamAnnealingCallback(
        {"datamodule.batch_size": {"strategy": "scheduled", "schedule": {0: 6, 1: 12}}, "beta": ramp}
    )
    trainer_for(tmp_path, callback, max_epochs=2).fit(module, datamodule=Data(4))
    # 4 batches of 6 in two epochs: half of 8 steps. With the datamodule's own 4 it would have been 6.
    assert callback.state_dict()["found"]["beta"]["lengths"] == {"total_steps=50%": 4.0}
    assert callback.values["beta"] == 1.0


def test_accumulation_is_a_target_too(tmp_path: Path) -> None:
    steps: list[int] = []

    class Counts(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            steps.append(trainer.global_step)

    given = {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": [1, 2, 4]}
    callback = HyperparamAnnealingCallback({"trainer.accumulate_grad_batches": given})
    module = Sees(losses=[1.0, 2.0, 3.0, 4.0])
    trainer_for(tmp_path, stopper(), callback, Counts(), max_epochs=4).fit(module, datamodule=Data(3))
    # 8 batches an epoch; rises after epochs 1 and 2.
    assert steps == [8, 16, 20, 22]


# -- the learning rate ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "rates"), [("linear", [0.125, 0.25, 0.5]), ("sqrt", [0.125, 0.1767766952966369, 0.25])]
)
def test_scale_lr(tmp_path: Path, how: str, rates: list[float]) -> None:
    module = Sees()
    callback = sized({0: 3, 1: 6, 2: 12}, scale_lr=how)
    trainer_for(tmp_path, callback, max_epochs=3).fit(module, datamodule=Data(3))
    assert module.rates == pytest.approx([rates[0]] * 8 + [rates[1]] * 4 + [rates[2]] * 2)
    assert [(c.step, c.name, c.why) for c in callback.changes if c.name.endswith("lr")] == [
        (8, "optimizer.param_groups.0.lr", f"scale_lr {how}, datamodule.batch_size 3 -> 6"),
        (12, "optimizer.param_groups.0.lr", f"scale_lr {how}, datamodule.batch_size 6 -> 12"),
    ]


def test_a_rate_in_a_tensor_is_filled(tmp_path: Path) -> None:
    class InATensor(Sees):
        def configure_optimizers(self) -> Any:
            self.rate = torch.tensor(0.125)
            return torch.optim.SGD(self.parameters(), lr=self.rate)

    module = InATensor()
    trainer_for(tmp_path, sized({0: 3, 1: 6}, scale_lr="linear"), max_epochs=2).fit(module, datamodule=Data(3))
    [group] = module.trainer.optimizers[0].param_groups
    assert group["lr"] is module.rate
    assert module.rate.item() == 0.25


def test_a_rate_scaled_down_is_no_drop(tmp_path: Path) -> None:
    callback = HyperparamAnnealingCallback(
        {
            "datamodule.batch_size": {"strategy": "scheduled", "schedule": {0: 12, 2: 6, 4: 3}, "scale_lr": "linear"},
            "beta": {
                "strategy": "trigger_based",
                "trigger_source": "lr_scheduler_triggered",
                "values": [0.0, 1.0, 2.0],
            },
        }
    )
    module = Sees(lambda optimizer: ReduceLROnPlateau(optimizer, factor=0.5, patience=3), losses=[1.0] * 6)
    trainer_for(tmp_path, callback, max_epochs=6).fit(module, datamodule=Data(12))
    # Scaled down in epochs 2 and 4; the plateau scheduler follows after epoch 4, its fourth bad one.
    assert [(c.epoch, c.name) for c in callback.changes if c.name == "beta"] == [(0, "beta"), (5, "beta")]
    assert module.rates[-1] == 0.125 / 4 / 2


# -- resume ---------------------------------------------------------------------------------------------------------


BY_STOPPER = [stopper, lambda: at_each_rise(3, 6, 12, scale_lr="linear")]
BY_EPOCH = [lambda: sized({0: 3, 2: 6, 4: 12}, scale_lr="linear")]


# EarlyStopping looks at its metric after a save on validation, and Lightning restores none: it raises by itself then.
@pytest.mark.parametrize(("makers", "at_end"), [(BY_STOPPER, True), (BY_EPOCH, True), (BY_EPOCH, False)])
def test_resume_from_every_checkpoint(tmp_path: Path, makers: list[Any], at_end: bool) -> None:
    def callbacks() -> list[Callback]:
        return [make() for make in makers]

    def fit(*others: Callback, ckpt_path: Any = None) -> Sees:
        module = Sees(losses=[1.0, 2.0, 0.5, 3.0, 0.1, 0.01])
        options: dict[str, Any] = {"max_epochs": 6, "enable_checkpointing": bool(others)}
        trainer_for(tmp_path, *callbacks(), *others, **options).fit(
            module, datamodule=Data(3, shuffle=False), ckpt_path=ckpt_path
        )
        return module

    whole = fit(ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=at_end))
    assert {epoch: sizes[0] for epoch, sizes in whole.sizes.items()} == {0: 3, 1: 3, 2: 6, 3: 6, 4: 12, 5: 12}
    for epoch in range(5):
        resumed = fit(ckpt_path=tmp_path / f"epoch={epoch}.ckpt")
        assert resumed.batches_of == {e: batches for e, batches in whole.batches_of.items() if e > epoch}
        assert resumed.rates == whole.rates[len(whole.rates) - len(resumed.rates) :]
        assert torch.equal(resumed.layer.weight, whole.layer.weight)


def test_the_weights_depend_on_the_sizes(tmp_path: Path) -> None:
    weights = []
    for schedule in ({0: 3, 2: 6}, {0: 3}):
        torch.manual_seed(1)
        module = Sees()
        trainer_for(tmp_path, sized(schedule)).fit(module, datamodule=Data(3, shuffle=False))
        weights.append(module.layer.weight)
    assert not torch.equal(*weights)


class Stops(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


def test_resume_in_the_middle_of_an_epoch_has_its_size(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, every_n_train_steps=1, save_last=True)
    trainer = trainer_for(tmp_path, sized({0: 4, 1: 6, 2: 12}), saver, Stops(8), enable_checkpointing=True)
    with pytest.raises(SystemExit):
        trainer.fit(Sees(), datamodule=Data())
    module = Sees()
    trainer_for(tmp_path, sized({0: 4, 1: 6, 2: 12})).fit(module, datamodule=Data(), ckpt_path=tmp_path / "last.ckpt")
    # Saved after step 7: 6 in epoch 0, and 1 of 4 in epoch 1, whose size is there when the model asks for the length.
    assert module.sizes == {1: [6] * 3, 2: [12] * 2, 3: [12] * 2}
    assert module.steps_told == 4 * 4


# -- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("callback", "data", "options", "message"),
    [
        (sized(UP), Data(dataset=OnceOnly()), {},
         "datamodule.batch_size: OnceOnly is an iterator, which a new loader can't read from the beginning"),
        (sized(UP), Data(), {"val_check_interval": 4},
         "datamodule.batch_size: a batch size of 12 makes 2 batches, fewer than val_check_interval=4; give that as a fraction"),
        (at_each_rise(4, 12), Data(), {"val_check_interval": 3, "callbacks": [stopper()]},
         "datamodule.batch_size: a batch size of 12 makes 2 batches, fewer than val_check_interval=3; give that as a fraction"),
        (sized({0: 4, 1: 48}), Data(drop_last=True), {},
         "datamodule.batch_size: a batch size of 48 leaves no batch to train on"),
        (sized(UP, interval="step"), Data(), {},
         "datamodule.batch_size.interval: must be 'epoch': a batch size changes between epochs"),
        (sized({0: 4, 1: 0}), Data(), {}, "datamodule.batch_size: batch_size must be at least 1, and would go to 0"),
    ],
)  # fmt: skip
def test_refused(tmp_path: Path, callback: Any, data: Data, options: dict[str, Any], message: str) -> None:
    module, found = Sees(), data.batch_size
    more = options.pop("callbacks", [])
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, callback, *more, **options).fit(module, datamodule=data)
    assert str(error.value) == message
    assert (data.batch_size, module.batches_of) == (found, {})


def test_a_loader_that_does_not_read_it_is_refused(tmp_path: Path) -> None:
    data = Data()
    data.train_dataloader = lambda: DataLoader(Numbers(), batch_size=3)
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, sized(UP)).fit(Sees(), datamodule=data)
    assert str(error.value) == (
        "datamodule.batch_size: the training loader has a batch size of 3, not 4; make it with batch_size=self.batch_size"
    )


class Batches:
    """Gives batches, and has no batch size to ask for."""

    def __iter__(self) -> Iterator[Any]:
        return iter(DataLoader(Numbers(), batch_size=4))


def test_training_data_without_a_batch_size_is_refused(tmp_path: Path) -> None:
    data = Data()
    data.train_dataloader = Batches
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, sized(UP)).fit(Sees(), datamodule=data)
    assert str(error.value) == (
        "datamodule.batch_size: the training data comes as Batches, which has no batch_size; "
        "return a DataLoader made with batch_size=self.batch_size"
    )


@pytest.mark.parametrize(
    ("size", "data", "message"),
    [
        (4.0, None, "batch_size: must be an int, is 4.0"),
        (4, Data(), "batch_size: the training data comes from Data; anneal the batch_size there"),
    ],
)
def test_a_batch_size_of_the_module_that_makes_no_batches_is_refused(
    tmp_path: Path, size: float, data: Data | None, message: str
) -> None:
    module = Sees()
    module.batch_size = size
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, sized(UP, name="batch_size")).fit(module, datamodule=data)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("datamodule.batch_size", "datamodule.batch_size: there is no datamodule; give one to fit(), make the loaders in a "
         "LightningDataModule"),
        ("batch_size", "batch_size: loaders given to fit() can't get another batch size; make them in a "
         "LightningDataModule"),
    ],
)  # fmt: skip
def test_loaders_given_to_fit_are_refused(tmp_path: Path, name: str, message: str) -> None:
    module = Sees()
    module.batch_size = 4
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, sized(UP, name=name)).fit(module, DataLoader(Numbers(), batch_size=4))
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("scheduler", "more", "message"),
    [
        (lambda optimizer: StepLR(optimizer, 1), {},
         "datamodule.batch_size.scale_lr: StepLR writes the learning rate, too; drop one of them (ReduceLROnPlateau goes along)"),
        (None, {"optimizer.param_groups.0.lr": {"strategy": "linear", "end_value": 0.0}},
         "datamodule.batch_size.scale_lr: 'optimizer.param_groups.0.lr' anneals the learning rate; keep one of them"),
        (None, {"beta": {"strategy": "linear", "end_value": 0.0, "scale_lr": "linear"}},
         "beta.scale_lr: is for the batch size of the training data"),
    ],
)  # fmt: skip
def test_scaling_what_something_else_moves_is_refused(tmp_path: Path, scheduler: Any, more: Any, message: str) -> None:
    size = {"strategy": "scheduled", "schedule": UP, "scale_lr": "linear"}
    callback = HyperparamAnnealingCallback({"datamodule.batch_size": size, **more})
    with pytest.raises(AnnealError) as error:
        trainer_for(tmp_path, callback).fit(Sees(scheduler), datamodule=Data())
    assert str(error.value) == message
