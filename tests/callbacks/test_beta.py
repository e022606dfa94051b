"""BetaScheduleCallback in real fits, its tags read back from TensorBoard's files, and its config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from lightning_anneal import AnnealError, BetaScheduleCallback
from tests.tiny import Tiny, trainer_for

pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")

LINEAR = {"max_beta": 1.0, "warmup_epochs": 4}
RESTARTING = {
    "base_scheduler_type": "linear",
    "base_scheduler_kwargs": {"max_beta": 1.0, "warmup_epochs": 2},
    "restart_interval": 2,
    "restart_multiplier": 1.5,
}


class Hierarchical(Tiny):
    def __init__(self) -> None:
        super().__init__(watch="global_kl_weight")
        self.global_kl_weight = 1
        self.local_kl_weight = 1
        self.both: list[tuple[float, float]] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.both.append((self.global_kl_weight, self.local_kl_weight))
        return super().training_step(batch, batch_idx)


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar under a folder, by tag; those of sub-runs by their folder's name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for events in sorted(folder.rglob("events.*")):
        accumulator = EventAccumulator(str(events)).Reload()
        part = "" if events.parent == folder else f"{events.parent.name}:"
        for tag in accumulator.Tags()["scalars"]:
            found[part + tag] = [(e.step, e.value) for e in accumulator.Scalars(tag)]
    return found


def logged(folder: Path, callback: BetaScheduleCallback, module: Tiny, **options: Any) -> dict[str, Any]:
    logger = TensorBoardLogger(folder, name="", version="run")
    trainer_for(folder, callback, logger=logger, **{"max_epochs": 5, "log_every_n_steps": 4, **options}).fit(module)
    return read(folder / "run")


def test_beta_by_epoch_and_its_tags(tmp_path: Path) -> None:
    module = Tiny()
    found = logged(tmp_path, BetaScheduleCallback("linear", LINEAR), module)
    assert module.by_epoch == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert found["Beta_Schedule/beta"] == [(0, 0.0), (8, 0.25), (16, 0.5), (24, 0.75), (32, 1.0)]
    due = [3, 7, 11, 15, 19, 23, 27, 31, 35, 39]
    assert found["Batch/Beta"] == [(s, s // 8 * 0.25) for s in due]
    assert found["Batch/KL_Loss"] == [(s, 0.25) for s in due]
    assert [s for s, _ in found["Batch/Total_Loss"]] == due
    assert {tag for tag in found if "/" in tag} == {
        "Beta_Schedule/beta", "Batch/Beta", "Batch/KL_Loss", "Batch/Total_Loss",
    }  # fmt: skip


def test_restart_tags(tmp_path: Path) -> None:
    # Restarts at 2 and 5.
    module = Tiny()
    found = logged(tmp_path, BetaScheduleCallback("warm_restart", RESTARTING), module, max_epochs=6)
    assert module.by_epoch == [0.0, 0.5, 0.0, 0.5, 1.0, 0.0]
    tags = {tag.rsplit("/", 1)[1]: [v for _, v in found[tag]] for tag in found if "Restart/" in tag}
    assert tags == {
        "last_restart_epoch": [0, 0, 2, 2, 2, 5],
        "epochs_since_restart": [0, 1, 0, 1, 2, 0],
        "is_restart_epoch": [0, 0, 1, 0, 0, 1],
    }


def hierarchical(**options: Any) -> BetaScheduleCallback:
    params = {
        "global_scheduler": {"type": "linear", "max_beta": 1.0, "warmup_epochs": 4},
        "local_scheduler": {"type": "warm_restart", **RESTARTING},
    }
    return BetaScheduleCallback("hierarchical", params, use_hierarchical_model=True, **options)


def test_hierarchical(tmp_path: Path) -> None:
    module = Hierarchical()
    found = logged(tmp_path, hierarchical(), module)
    assert module.both[::8] == [(0.0, 0.0), (0.25, 0.5), (0.5, 0.0), (0.75, 0.5), (1.0, 1.0)]
    assert all(type(weight) is float for pair in module.both for weight in pair)
    steps = [0, 8, 16, 24, 32]
    both = {
        "global": list(zip(steps, [0.0, 0.25, 0.5, 0.75, 1.0], strict=True)),
        "local": list(zip(steps, [0.0, 0.5, 0.0, 0.5, 1.0], strict=True)),
    }
    for part, curve in both.items():
        assert found[f"Beta_Schedule/{part}_kl_weight"] == curve
        # One chart of two lines: TensorBoard keeps each line in a folder of its own.
        assert found[f"Beta_Schedule_Hierarchical_Comparison_{part}:Beta_Schedule/Hierarchical_Comparison"] == curve
    assert [v for _, v in found["Beta_Schedule/Restart/local/last_restart_epoch"]] == [0, 0, 2, 2, 2]
    assert {"Batch/Global_KL_Weight", "Batch/Local_KL_Weight", "Batch/KL_Loss"} <= set(found)
    assert not any("Restart/global" in tag for tag in found)


def test_other_loggers_get_no_tensorboard_call(tmp_path: Path) -> None:
    trainer_for(tmp_path, hierarchical(), logger=CSVLogger(tmp_path, name="", version="run"), max_epochs=2).fit(
        Hierarchical()
    )
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"Beta_Schedule/global_kl_weight", "Beta_Schedule/local_kl_weight"} <= set(header)
    assert not any("Comparison" in name for name in header)


def test_the_loss_is_multiplied_back_under_accumulation(tmp_path: Path) -> None:
    class Fixed(Tiny):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.layer(batch[0]).mean() * 0 + 3.0, "kl_loss": 0.5}

    found = logged(
        tmp_path, BetaScheduleCallback("linear", LINEAR), Fixed(), accumulate_grad_batches=4, log_every_n_steps=1
    )
    assert found["Batch/Total_Loss"] == [(s, 3.0) for s in range(10)]
    assert found["Batch/KL_Loss"] == [(s, 0.5) for s in range(10)]


def test_losses_of_any_shape_are_averaged(tmp_path: Path) -> None:
    class PerItem(Tiny):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.layer(batch[0]).mean(), "kl_loss": torch.tensor([1, 2, 6])}

    found = logged(tmp_path, BetaScheduleCallback("linear", LINEAR), PerItem(), max_epochs=1)
    assert found["Batch/KL_Loss"] == [(3, 3.0), (7, 3.0)]


def test_a_module_that_returns_only_a_loss(tmp_path: Path) -> None:
    class Bare(Tiny):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch[0]).mean()

    found = logged(tmp_path, BetaScheduleCallback("linear", LINEAR), Bare())
    assert "Batch/Total_Loss" in found
    assert "Batch/KL_Loss" not in found


@pytest.mark.filterwarnings("ignore:train_dataloader yielded None")
def test_a_batch_that_is_none_has_no_losses(tmp_path: Path) -> None:
    class Gaps(Tiny):
        def train_dataloader(self) -> Any:
            return DataLoader([0, 1, 2], batch_size=None, collate_fn=lambda i: None if i == 1 else [torch.ones(1, 4)])

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.layer(batch[0]).mean() * 0 + 3.0, "kl_loss": 0.5}

    found = logged(tmp_path, BetaScheduleCallback("linear", LINEAR), Gaps(), max_epochs=1, log_every_n_steps=1)
    # Lightning counts the second batch among those that are logged.
    assert found["Batch/Total_Loss"] == [(0, 3.0), (2, 3.0)]
    assert found["Batch/KL_Loss"] == [(0, 0.5), (2, 0.5)]


def test_by_step(tmp_path: Path) -> None:
    module = Tiny()
    callback = BetaScheduleCallback(
        "linear", {"max_beta": 8.0, "warmup_epochs": "1ep"}, scheduler_configs={"interval": "step", "frequency": 2}
    )
    found = logged(tmp_path, callback, module, max_epochs=2, log_every_n_steps=1)
    assert module.values == [0, 0, 2, 2, 4, 4, 6, 6, *[8] * 8]
    assert [v for _, v in found["Beta_Schedule/beta"]] == module.values


def test_eval_beta_keeps_val_loss_comparable(tmp_path: Path) -> None:
    class Growing(Tiny):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            super().validation_step(batch, batch_idx)
            self.log("elbo", 1.0 + torch.tensor(self.beta))

    for eval_beta, epochs in ((None, 3), (1.0, 6)):
        module = Growing()
        # Nothing gets better or worse; under a moving beta the sum grows all the same, and the stopper takes it for worse.
        stopper = EarlyStopping("elbo", patience=2, min_delta=-0.1, verbose=False)
        callback = BetaScheduleCallback("linear", {"max_beta": 1.0, "warmup_epochs": 5}, eval_beta=eval_beta)
        trainer_for(tmp_path, callback, stopper, max_epochs=6, num_sanity_val_steps=0).fit(module)
        assert len(module.by_epoch) == epochs


def test_any_path(tmp_path: Path) -> None:
    module = Tiny(watch="temperature")
    trainer_for(tmp_path, BetaScheduleCallback("linear", LINEAR, attr_name="temperature")).fit(module)
    assert module.by_epoch == [0.0, 0.25, 0.5, 0.75]


def test_from_config(tmp_path: Path) -> None:
    training = {
        "num_epochs": 3,
        "lr_scheduler_type": "none of this callback's business",
        "eval_data": "nor this",
        "beta_scheduler_type": "linear",
        "beta_scheduler_params": LINEAR,
        "use_hierarchical_model": False,
    }
    before = json.dumps(training)
    (tmp_path / "c.json").write_text(json.dumps({"training": training}))
    for config in ({"training": training}, tmp_path / "c.json", str(tmp_path / "c.json")):
        module = Tiny()
        trainer_for(tmp_path, BetaScheduleCallback.from_config(config, eval_beta=1.0)).fit(module)
        assert module.by_epoch == [0.0, 0.25, 0.5, 0.75]
        assert (1, 1.0) in module.validated
    assert json.dumps(training) == before


@pytest.mark.parametrize("as_file", [False, True])
def test_from_config_hierarchical(tmp_path: Path, as_file: bool) -> None:
    parts: Any = {
        "global_scheduler": {"type": "linear", "max_beta": 1.0, "warmup_epochs": 4},
        "local_scheduler": {"type": "constant", "max_beta": 0.5},
    }
    if as_file:
        (tmp_path / "parts.json").write_text(json.dumps(parts))
        parts = "parts.json"
    training = {
        "beta_scheduler_type": "hierarchical",
        "hierarchical_beta_config": parts,
        "use_hierarchical_model": True,
    }
    (tmp_path / "c.json").write_text(json.dumps({"training": training}))
    module = Hierarchical()
    trainer_for(tmp_path, BetaScheduleCallback.from_config(tmp_path / "c.json"), max_epochs=2).fit(module)
    assert module.both[8] == (0.25, 0.5)


TYPES = "constant, cosine, cyclical, exponential, hierarchical, linear, warm_restart"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("linear", {"max_beta": 1}), "beta.warmup_epochs: missing"),
        (("linear", {**LINEAR, "warmup_epochs": 0}), "beta.warmup_epochs: must be positive, got 0"),
        (("linear", {**LINEAR, "warmup_epochs": "5 eps"}), "beta.warmup_epochs: must be a number, '10ep', '500st' or '30%', got '5 eps'"),
        (("linear", {**LINEAR, "max_bet": 1}), "beta: unknown parameter 'max_bet'; did you mean 'max_beta'?"),
        (("linear", [1]), "beta_scheduler_params: must be a mapping, got [1]"),
        (("lineal", LINEAR), "beta_scheduler_type: unknown type 'lineal'; did you mean 'linear'?"),
        ((None, LINEAR), f"beta_scheduler_type: unknown type None; known: {TYPES}"),
        (("warm_restart", {**RESTARTING, "base_scheduler_kwargs": {"max_beta": 1}}), "beta.base_scheduler_kwargs.warmup_epochs: missing"),
        (("hierarchical", {"global_scheduler": {"type": "linear"}}), "global_kl_weight.max_beta: missing"),
        (("hierarchical", {}), 'hierarchical.global_scheduler: missing; write {"type": "linear", "max_beta": 1.0, ...}'),
        (("hierarchical", {"global_scheduler": {}}), "hierarchical.global_scheduler.type: missing; known: constant, cosine, cyclical, exponential, linear, warm_restart"),
    ],
)  # fmt: skip
def test_refused(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        BetaScheduleCallback(*arguments)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"use_hierarchical_model": True}, "use_hierarchical_model: needs beta_scheduler_type 'hierarchical', got 'linear'"),
        ({"eval_beta": -1}, "eval_beta: must not be negative, got -1"),
        ({"attr_name": 5}, "attr_name: must be a dotted path, got 5"),
        ({"eval_beta": "one"}, "eval_beta: must be a number, got 'one'"),
        ({"interval": "batch"}, "beta.interval: unknown interval 'batch'; known: epoch, step"),
        ({"interval": "epoch", "scheduler_configs": {"interval": "step"}}, "beta.interval: 'epoch' here and 'step' in "
         "scheduler_configs; keep one"),
        ({"attr_name": "a..b"}, "beta: '' is no name and no index; write names and indices joined by dots"),
        ({"prog_bar": ["gamma"]}, "prog_bar: unknown parameter 'gamma'; known: beta"),
    ],
)  # fmt: skip
def test_refused_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        BetaScheduleCallback("linear", LINEAR, **options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("training", "message"),
    [
        (None, 'training: must be a mapping such as {"beta_scheduler_type": "linear", ...}'),
        ({}, "training.beta_scheduler_type: missing"),
        ({"beta_schedular_type": "linear"}, "training: unknown key 'beta_schedular_type'; did you mean 'beta_scheduler_type'?"),
        ({"bata_scheduler_type": "linear"}, "training: unknown key 'bata_scheduler_type'; did you mean 'beta_scheduler_type'?"),
        ({"beta_scheduler_type": "linear", "use_hierarchy": 1}, "training: unknown key 'use_hierarchy'; did you mean "
         "'use_hierarchical_model'?"),
        ({"beta_scheduler_type": "linear", "beta_scheduler_params": LINEAR, "hierarchical_beta_config": {"a": 1}},
         "training.hierarchical_beta_config: beta_scheduler_params says it too; keep one"),
        ({"beta_scheduler_type": "hierarchical", "hierarchical_beta_config": "nowhere.json"}, "'nowhere.json': no such file"),
    ],
)  # fmt: skip
def test_refused_config(training: Any, message: str) -> None:
    with pytest.raises(AnnealError) as error:
        BetaScheduleCallback.from_config({"training": training})
    assert str(error.value) == message


def test_a_path_for_two_weights_is_refused() -> None:
    with pytest.raises(AnnealError) as error:
        hierarchical(attr_name="weight")
    assert str(error.value) == "attr_name: a hierarchical model has global_kl_weight and local_kl_weight"


def test_a_module_without_beta(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match=r"^global_kl_weight: Tiny has no attribute 'global_kl_weight'; known: "):
        trainer_for(tmp_path, hierarchical()).fit(Tiny())
