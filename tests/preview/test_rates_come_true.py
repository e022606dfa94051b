"""The learning rate that a preview shows of a config is the one that a real run trains with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch.callbacks import EarlyStopping

from lightning_anneal import HyperparamAnnealingCallback
from lightning_anneal.cli import main
from lightning_anneal.config import read_rules
from lightning_anneal.preview.rates import Rates
from lightning_anneal.preview.run_config import read_run
from tests.preview.runs import BATCHES, Optimized, fitted, previewed
from tests.scripted import LOSSES
from tests.written import ROOT, annealing, on, stopping

EPOCHS = 6

# torch's and this package's own on what so short runs are like
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*never ends", "ignore:.*is longer than the run", "ignore:.*rises again", "ignore:.*at its end"
)


def both(
    folder: Path, optim: dict[str, Any], losses: list[float] | None = None, **trainer: Any
) -> tuple[Optimized, Any]:
    """A run and the preview of its config."""
    options: dict[str, Any] = {"max_epochs": EPOCHS, "limit_train_batches": BATCHES, **trainer}
    module = fitted(folder, Optimized(optim, losses=losses or [1.0] * 40), **options)
    model = {"class_path": "nowhere.Model", "init_args": {"optim": optim}}
    return module, previewed({"model": model, "trainer": options}, folder, losses or [])


def optim_of(name: str) -> dict[str, Any]:
    """The settings in a config."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "configs" / name).read_text())["model"]["init_args"]["optim"]
    found["learning_rate"] = float(found["learning_rate"])  # PyYAML takes 3e-3 for a word
    return {key: value for key, value in found.items() if "group" not in key and "recurrent" not in key}


CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("lr_*.yaml"))
BY_STEP = ("lr_hf_cosine.yaml", "lr_one_cycle.yaml")


@pytest.mark.parametrize("config", CONFIGS)
def test_the_configs(tmp_path: Path, config: str) -> None:
    module, preview = both(tmp_path, optim_of(config), [float(loss) for loss in LOSSES])
    seen = module.steps("lr") if config in BY_STEP else module.epochs("lr")
    assert preview["learning rate"] == seen
    assert len(set(seen)) > 1
    assert len(seen) == (EPOCHS * BATCHES if config in BY_STEP else EPOCHS)


@pytest.mark.parametrize("config", [name for name in CONFIGS if name not in (*BY_STEP, "lr_plateau.yaml")])
def test_the_configs_by_step(tmp_path: Path, config: str) -> None:
    optim = {**optim_of(config), "scheduler_configs": {"interval": "step"}}
    module, preview = both(tmp_path, optim)
    assert preview["learning rate"] == module.steps("lr")
    assert len(set(preview["learning rate"])) > 1


SGD = {"optimizer": "SGD", "learning_rate": 0.5}
OWN = {
    "scheduler": "WarmRestart",
    "scheduler_kwargs": {"base": {"scheduler": "Cosine", "end": 0.05}, "interval": 2, "multiplier": 1.5},
}
WARM_PLATEAU = {
    "scheduler": "SequentialLR",
    "scheduler_kwargs": {"milestones": [2], "schedulers": [{"scheduler": "LinearLR", "total_iters": 2}, {"scheduler": "ReduceLROnPlateau", "factor": 0.5, "patience": 1}]},
}  # fmt: skip


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize(
    "settings",
    [
        {"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 2, "gamma": 0.5}},
        {"scheduler": "ExponentialLR", "scheduler_kwargs": {"gamma": 0.9}},
        {"scheduler": "CosineAnnealingWarmRestarts", "scheduler_kwargs": {"T_0": 3}},
        {"scheduler": "LinearLR", "scheduler_kwargs": {"total_iters": "50%"}},
        {"scheduler": "Cyclical", "scheduler_kwargs": {"period": 4, "low": 0.1, "high": 1.0}},
        {"scheduler": "linear", "scheduler_kwargs": {"warmup_steps": "1ep"}},
        {"scheduler": "SequentialLR", "scheduler_kwargs": {"milestones": [2], "schedulers": [{"scheduler": "LinearLR", "total_iters": 2}, {"scheduler": "CosineAnnealingLR"}]}},
        OWN,
    ],
    ids=lambda settings: settings["scheduler"] if isinstance(settings, dict) else None,
)  # fmt: skip
def test_other_schedulers(tmp_path: Path, settings: dict[str, Any], interval: str) -> None:
    module, preview = both(tmp_path, {**SGD, **settings, "scheduler_configs": {"interval": interval}})
    assert preview["learning rate"] == (module.steps("lr") if interval == "step" else module.epochs("lr"))
    assert len(set(preview["learning rate"])) > 1


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("scheduler", ["StepLR", "WarmRestart", "linear"])
def test_frequency(tmp_path: Path, scheduler: str, interval: str) -> None:
    kwargs = {"StepLR": {"step_size": 1}, "WarmRestart": OWN["scheduler_kwargs"], "linear": {}}[scheduler]
    timing = {"interval": interval, "frequency": 3}
    module, preview = both(
        tmp_path, {**SGD, "scheduler": scheduler, "scheduler_kwargs": kwargs, "scheduler_configs": timing}
    )
    assert preview["learning rate"] == (module.steps("lr") if interval == "step" else module.epochs("lr"))
    assert len(set(preview["learning rate"])) > 1


@pytest.mark.parametrize("scheduler", ["OneCycleLR", "cosine", "LinearWarmupCosineAnnealingLR"])
def test_under_accumulation(tmp_path: Path, scheduler: str) -> None:
    kwargs = {"warmup_epochs": 2} if scheduler.startswith("Linear") else {}
    optim = {**SGD, "scheduler": scheduler, "scheduler_kwargs": kwargs, "scheduler_configs": {"interval": "step"}}
    module, preview = both(tmp_path, optim, accumulate_grad_batches=3)
    assert preview["learning rate"] == module.steps("lr")
    assert len(preview["learning rate"]) == EPOCHS * 2


FALLING = [5.0, 4.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]
PLATEAU = {**SGD, "scheduler": "ReduceLROnPlateau", "scheduler_kwargs": {"factor": 0.5, "patience": 1}}


@pytest.mark.parametrize("frequency", [1, pytest.param(2)])  # fmt: skip
def test_a_plateau_by_epoch(tmp_path: Path, frequency: int) -> None:
    optim = {**PLATEAU, "scheduler_configs": {"frequency": frequency}}
    module, preview = both(tmp_path, optim, FALLING, max_epochs=12)
    assert preview["learning rate"] == module.epochs("lr")


def test_a_plateau_by_step(tmp_path: Path) -> None:
    optim = {**PLATEAU, "scheduler_configs": {"interval": "step"}}
    module, preview = both(tmp_path, optim, FALLING, max_epochs=12)
    # Looked at on the last batch of an epoch, before its validation.
    assert module.epochs("lr")[-1] < 0.5
    assert preview["learning rate"] == module.epochs("lr")


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_a_warm_up_before_a_plateau(tmp_path: Path, interval: str) -> None:
    optim = {**SGD, **WARM_PLATEAU, "scheduler_configs": {"interval": interval}}
    module, preview = both(tmp_path, optim, FALLING, max_epochs=12)
    assert preview["learning rate"] == (module.steps("lr") if interval == "step" else module.epochs("lr"))


@pytest.mark.parametrize("scheduler", ["OneCycleLR", "LinearLR"])
def test_max_steps_inside_an_epoch(tmp_path: Path, scheduler: str) -> None:
    optim = {**SGD, "scheduler": scheduler, "scheduler_configs": {"interval": "step"}}
    module, preview = both(tmp_path, optim, max_epochs=-1, max_steps=10)
    assert len(module.steps("lr")) == 10
    assert preview["learning rate"] == module.steps("lr")
    assert [row["step"] for row in preview.rows()] == list(range(10))


def test_no_scheduler_no_rate() -> None:
    model = {"class_path": "nowhere.Model", "init_args": {"optim": SGD}}
    config = {
        "model": model,
        "trainer": {"max_epochs": 2, "callbacks": [annealing(a={"strategy": "constant", "value": 1})]},
    }
    assert [parameter.name for parameter in previewed(config, Path()).parameters] == ["a"]


@pytest.mark.parametrize(("where", "rate"), [({"learning_rate": 0.25}, 0.25), ({"lr": 0.125}, 0.125), ({}, 0.01)])
def test_a_learning_rate_beside_optim(where: dict[str, float], rate: float) -> None:
    optim = {"optimizer": "SGD", "scheduler": "StepLR", "scheduler_kwargs": {"step_size": 2}}
    config = {
        "model": {"class_path": "nowhere.Model", "init_args": {"optim": optim, **where}},
        "trainer": {"max_epochs": 2},
    }
    assert previewed(config, Path())["learning rate"] == [rate, rate]


@pytest.mark.parametrize(
    "settings", [OWN, {"scheduler": "CosineAnnealingWarmRestarts", "scheduler_kwargs": {"T_0": 2}}]
)
def test_restarts_of_a_learning_rate_are_marked(settings: dict[str, Any]) -> None:
    config = {
        "model": {"class_path": "nowhere.Model", "init_args": {"optim": {**SGD, **settings}}},
        "trainer": {"max_epochs": 4},
    }
    [rate] = previewed(config, Path()).parameters
    assert (2, "restart") in [(mark.x, mark.kind) for mark in rate.marks]


def test_rates_alone() -> None:
    rates = Rates(
        {
            **SGD,
            "scheduler": "StepLR",
            "scheduler_kwargs": {"step_size": 2, "gamma": 0.5},
            "scheduler_configs": {"interval": "step"},
        }
    )
    rates.train_epoch(5)
    assert rates.values == [0.5, 0.5, 0.25, 0.25, 0.125]
    assert (rates.by_step, rates.monitor) == (True, None)


def test_a_whole_config_through_lightnings_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules: dict[str, Any] = {
        "a": {"strategy": "linear", "end_value": 2.0, "interval": "step"},
        "b": on("early_stopper_half_patience"),
        "c": on("lr_scheduler_triggered", multiply=0.5),
        "optimizer.param_groups.0.weight_decay": {"strategy": "cosine", "end_value": 0.0},
    }
    losses = FALLING
    optim = {**PLATEAU, "optimizer_kwargs": {"weight_decay": 0.25}}
    config = {
        "seed_everything": 1,
        "model": {"class_path": "tests.preview.runs.Optimized", "init_args": {
            "optim": optim, "starts": {"a": 0.5, "b": 0.5, "c": 0.5}}, "dict_kwargs": {"losses": losses}},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {
            "max_epochs": 12, "limit_train_batches": 2, "num_sanity_val_steps": 0, "accelerator": "cpu", "logger": False,
            "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
            "default_root_dir": str(tmp_path), "callbacks": [annealing(**rules), stopping(patience=5)],
        },
    }  # fmt: skip
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.chdir(ROOT)
    made: list[Optimized] = []
    monkeypatch.setattr(Optimized, "on_fit_start", lambda self: made.append(self))
    assert main(["fit", "--config", str(path)]) == 0
    [module] = made
    preview = previewed(config, tmp_path, losses, starts={"a": "0.5", "b": "0.5", "c": "0.5"})
    assert preview["a"] == module.steps("a")
    assert [preview[name] for name in ("b", "c")] == [module.epochs(name) for name in ("b", "c")]
    assert preview["optimizer.param_groups.0.weight_decay"] == module.epochs("wd")
    assert preview["learning rate"] == module.epochs("lr")
    assert preview.epochs == len(module.epochs("b"))


def test_groups_have_values_of_their_own(tmp_path: Path) -> None:
    optim = {
        "optimizer": "SGD", "learning_rate": 0.5, "optimizer_kwargs": {"weight_decay": 0.25},
        "lr_parameter_groups": {"head": {"prefix": "layer", "weight_decay": 0.125}},
    }  # fmt: skip
    rules = {"optimizer.param_groups.head.weight_decay": {"strategy": "linear", "end_value": 0.0, "total_steps": 2}}
    callback = HyperparamAnnealingCallback(rules)
    seen: list[float] = []

    class Head(Optimized):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            groups = {group["name"]: group for group in self.trainer.optimizers[0].param_groups}
            seen.append(groups["head"]["weight_decay"])
            return super().training_step(batch, batch_idx)

    fitted(tmp_path, Head(optim), callback, EarlyStopping("val_loss", patience=9), max_epochs=3, limit_train_batches=1)
    assert seen == [0.125, 0.0625, 0.0]
    config = {
        "model": {"class_path": "nowhere.Model", "init_args": {"optim": optim}},
        "trainer": {"max_epochs": 3, "callbacks": [annealing(**rules)]},
    }
    preview = previewed(config, tmp_path)
    # What another group has is not what this one has: a word about it would do as well.
    assert not preview.parameters or preview["optimizer.param_groups.head.weight_decay"] == seen


def test_what_all_groups_begin_with_is_not_known_where_there_are_several() -> None:
    optim: dict[str, Any] = {"optimizer": "SGD", "optimizer_kwargs": {"weight_decay": 0.25}, "no_decay": ["bias"]}
    [rule] = read_rules({"optimizer.param_groups.*.weight_decay": {"strategy": "linear", "end_value": 0.0}})
    run = read_run({"model": {"class_path": "nowhere.Model", "init_args": {"optim": optim}}})
    assert run.start_of(rule) is None
    del optim["no_decay"]
    assert run.start_of(rule) == 0.25


def test_torch_is_left_as_it_was() -> None:
    before = torch.get_rng_state()
    Rates({**SGD, "scheduler": "StepLR", "scheduler_kwargs": {"step_size": 2}}).train_epoch(1)
    assert torch.equal(torch.get_rng_state(), before)
