"""What the loggers are told once at the start of a fit, read back from what they have written."""

from __future__ import annotations

import importlib.util
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2
from torch.utils.data import DataLoader, IterableDataset

from lightning_anneal import BetaScheduleCallback, Cosine, HyperparamAnnealingCallback
from tests.tiny import Tiny, WithHparams, trainer_for

BETA = {"beta": {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 4}}
TRIGGERED = {"strategy": "TRIGGER_BASED", "trigger_source": "early_stopper_counter", "values": [1, 2]}


class Hierarchical(Tiny):
    """Two weights."""

    def __init__(self) -> None:
        super().__init__()
        self.global_kl_weight = 1.0
        self.local_kl_weight = 1.0


class StopEarly(Callback):
    """Ends a run after its second epoch."""

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch >= 1


class Numbers(Logger):
    """A logger that has nothing but `log_metrics` and `log_hyperparams`, and writes down every call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any]] = []

    @property
    def name(self) -> str:
        return "numbers"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.calls.append(("metrics", dict(metrics)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.calls.append(("hyperparams", dict(params)))

    @property
    def experiment(self) -> Any:
        return object()  # that has no method at all


def tensorboard(folder: Path, **options: Any) -> TensorBoardLogger:
    return TensorBoardLogger(folder, name="", version="run", **options)


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder / "run"), size_guidance={"images": 0, "tensors": 0}).Reload()


def layout_of(events: EventAccumulator) -> dict[str, dict[str, list[str]]]:
    [event] = events.Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    return {c.title: {chart.title: list(chart.multiline.tag) for chart in c.chart} for c in layout.category}


def hyperparameters_of(events: EventAccumulator) -> tuple[dict[str, Any], list[str]]:
    """Those of the session, and the metrics beside them."""

    def content(tag: str) -> Any:
        metadata = events.SummaryMetadata(tag)
        return plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)

    values = content("_hparams_/session_start_info").session_start_info.hparams
    infos = content("_hparams_/experiment").experiment.metric_infos
    plain = {key: getattr(value, value.WhichOneof("kind")) for key, value in values.items()}
    return plain, [info.name.tag for info in infos]


def test_one_layout_for_all_callbacks(tmp_path: Path, fit: Any) -> None:
    two = [
        HyperparamAnnealingCallback({"top_k": {"strategy": "constant", "value": 3}}, name="a"),
        HyperparamAnnealingCallback({"weights.kl": Cosine(0, 1, 3)}, name="b"),
    ]
    fit(BetaScheduleCallback("constant", {"max_beta": 1}), *two, logger=tensorboard(tmp_path))
    layout = layout_of(read(tmp_path))
    assert layout["Annealing"] == {"top_k": ["^Annealing/top_k$"], "weights.kl": [r"^Annealing/weights\.kl$"]}
    assert list(layout["Beta_Schedule"]) == ["beta", "KL", "reconstruction", "beta, KL and reconstruction"]
    assert layout["Beta_Schedule"]["beta"] == ["^Beta_Schedule/beta$"]


def test_both_hierarchical_weights_are_in_one_chart(tmp_path: Path, fit: Any) -> None:
    part = {"type": "constant", "max_beta": 0.5}
    callback = BetaScheduleCallback("hierarchical", {"global_scheduler": part, "local_scheduler": part})
    fit(callback, module=Hierarchical(), logger=tensorboard(tmp_path))
    charts = layout_of(read(tmp_path))["Beta_Schedule"]
    weights = ["^Beta_Schedule/global_kl_weight$", "^Beta_Schedule/local_kl_weight$"]
    assert charts["both KL weights"] == weights
    assert charts["weights, KL and reconstruction"][:2] == weights


@pytest.mark.parametrize(
    ("tag", "chart"),
    [
        ("train_kl_loss", "KL"),
        ("val/KL", "KL"),
        ("Batch/KL_Loss", "KL"),
        ("val_reconstruction_loss", "reconstruction"),
        ("Recon", "reconstruction"),
        ("Beta_Schedule/global_kl_weight", None),
        ("val_loss", None),
    ],
)
def test_what_the_charts_of_the_losses_take(tmp_path: Path, fit: Any, tag: str, chart: str | None) -> None:
    fit(BetaScheduleCallback("constant", {"max_beta": 1}), logger=tensorboard(tmp_path), max_epochs=1)
    charts = layout_of(read(tmp_path))["Beta_Schedule"]
    # TensorBoard matches at the beginning of a tag.
    taken = [name for name in ("KL", "reconstruction") if re.match(charts[name][0], tag)]
    assert taken == ([] if chart is None else [chart])


def test_the_picture_of_the_schedules(tmp_path: Path, fit: Any) -> None:
    callbacks = [BetaScheduleCallback("linear", {"max_beta": 1, "warmup_epochs": 2}),
                 HyperparamAnnealingCallback({"weights.kl": Cosine(0, 1, 3)})]  # fmt: skip
    fit(*callbacks, logger=tensorboard(tmp_path))
    events = read(tmp_path)
    assert sorted(events.Tags()["images"]) == ["Annealing/schedule", "Beta_Schedule/schedule"]
    [image] = events.Images("Beta_Schedule/schedule")
    assert image.step == 0
    with Image.open(io.BytesIO(image.encoded_image_string)) as picture:
        assert picture.width == 1080
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20) or []}
    assert (11, 60, 93) in colours  # the curve's


def test_triggers_alone_have_no_picture(tmp_path: Path, fit: Any) -> None:
    stopper = EarlyStopping("val_loss", patience=9)
    fit(HyperparamAnnealingCallback({"loss.margin": TRIGGERED}), stopper, logger=tensorboard(tmp_path))
    events = read(tmp_path)
    assert events.Tags()["images"] == []
    assert layout_of(events) == {"Annealing": {"loss.margin": [r"^Annealing/loss\.margin$"]}}


def test_what_is_gated_stands_in_no_picture(tmp_path: Path, fit: Any) -> None:
    # Its clock waits for a metric; a picture of its first state would show a line that is never left.
    gate = {
        "strategy": "gated",
        "schedule": {"strategy": "linear", "start_value": 0, "end_value": 1},
        "advance_when": {"monitor": "val_loss", "below": 9},
    }
    fit(HyperparamAnnealingCallback({"beta": gate}), logger=tensorboard(tmp_path))
    assert read(tmp_path).Tags()["images"] == []


def test_beta_under_any_callback_stands_above_the_terms_of_its_loss(tmp_path: Path, fit: Any) -> None:
    fit(HyperparamAnnealingCallback(BETA), logger=tensorboard(tmp_path))
    charts = layout_of(read(tmp_path))["Annealing"]
    assert list(charts) == ["beta", "KL", "reconstruction", "beta, KL and reconstruction"]


def test_pictures_can_be_left_out(tmp_path: Path, fit: Any) -> None:
    class Plain(HyperparamAnnealingCallback):
        draw_schedules = False

    fit(Plain(BETA), logger=tensorboard(tmp_path))
    events = read(tmp_path)
    assert events.Tags()["images"] == []
    assert "custom_scalars__config__" not in events.Tags()["tensors"]
    assert events.Scalars("Annealing/beta")[1].value == 0.25


@pytest.mark.filterwarnings("ignore:beta. the module and its hparams both have it")
def test_settings_stand_in_hparams_beside_those_of_the_module(tmp_path: Path, fit: Any) -> None:
    callbacks = [HyperparamAnnealingCallback({"weights.kl": Cosine(0, 1, 3), "top_k": {"strategy": "constant", "value": 3}}),
                 BetaScheduleCallback("linear", {"max_beta": 2, "warmup_epochs": "50%"}),
                 EarlyStopping("val_loss", patience=9)]  # fmt: skip
    fit(*callbacks, module=WithHparams(), logger=tensorboard(tmp_path))
    values, metrics = hyperparameters_of(read(tmp_path))
    assert values == {
        "beta": 4.0,
        "annealing/weights.kl": "Cosine(start=0.0, end=1.0, duration=3.0)",
        "annealing/top_k/strategy": "constant",
        "annealing/top_k/value": 3.0,
        "annealing/beta/type": "linear",
        "annealing/beta/max_beta": 2.0,
        "annealing/beta/warmup_epochs": "50%",
    }
    assert metrics == ["val_loss"]


def test_a_logger_whose_owner_logs_hyperparameters_himself_is_left_alone(tmp_path: Path, fit: Any) -> None:
    fit(HyperparamAnnealingCallback(BETA), logger=tensorboard(tmp_path, default_hp_metric=False))
    assert "_hparams_/session_start_info" not in read(tmp_path).summary_metadata


@pytest.mark.filterwarnings("ignore:beta. the module and its hparams both have it")
def test_csv_logger_gets_the_settings(tmp_path: Path, fit: Any) -> None:
    fit(HyperparamAnnealingCallback(BETA), module=WithHparams(), logger=CSVLogger(tmp_path, name="", version="run"))
    settings = {f"beta/{key}": value for key, value in BETA["beta"].items()}
    assert yaml.safe_load((tmp_path / "run" / "hparams.yaml").read_text()) == {"annealing": settings, "beta": 4.0}


def test_several_loggers_at_once(tmp_path: Path, fit: Any) -> None:
    numbers = Numbers()
    loggers = [numbers, tensorboard(tmp_path), CSVLogger(tmp_path, name="", version="csv")]
    part = {"type": "linear", "max_beta": 1.0, "warmup_epochs": 2}
    callback = BetaScheduleCallback("hierarchical", {"global_scheduler": part, "local_scheduler": part})
    fit(callback, module=Hierarchical(), logger=loggers, max_epochs=2, log_every_n_steps=1)
    assert numbers.calls[0] == (
        "hyperparams",
        {"annealing": {f"beta/{p}_scheduler/{k}": v for p in ("global", "local") for k, v in part.items()}
         | {"beta/type": "hierarchical"}},
    )  # fmt: skip
    logged = [metrics["Beta_Schedule/global_kl_weight"] for _, metrics in numbers.calls[1:]
              if "Beta_Schedule/global_kl_weight" in metrics]  # fmt: skip
    assert logged == [0.0, 0.5]
    assert (tmp_path / "csv" / "metrics.csv").is_file()
    assert "Beta_Schedule/schedule" in read(tmp_path).Tags()["images"]


def test_fast_dev_run_and_no_logger(fit: Any) -> None:
    for options in ({"fast_dev_run": 2}, {"logger": False}):
        assert fit(HyperparamAnnealingCallback(BETA), **options).seen


def test_without_matplotlib_there_is_no_picture(tmp_path: Path) -> None:
    code = f"""
import sys
from lightning.pytorch.loggers import TensorBoardLogger
from lightning_anneal import HyperparamAnnealingCallback
from tests.tiny import Tiny, trainer_for
from pathlib import Path
sys.modules["matplotlib.figure"] = None
folder = Path({str(tmp_path)!r})
logger = TensorBoardLogger(folder, name="", version="run")
trainer_for(folder, HyperparamAnnealingCallback({BETA!r}), logger=logger).fit(Tiny())
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=Path(__file__).parents[2])
    events = read(tmp_path)
    assert events.Tags()["images"] == []
    assert [event.value for event in events.Scalars("Annealing/beta")] == [0.0, 0.25, 0.5, 0.75]


def test_no_picture_is_made_where_matplotlib_is_not_installed(
    tmp_path: Path, fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: find_spec(name, *more) if name != "matplotlib" else None
    )
    fit(HyperparamAnnealingCallback(BETA), logger=tensorboard(tmp_path))
    events = read(tmp_path)
    assert events.Tags()["images"] == []
    # The charts are arranged all the same.
    assert layout_of(events)["Annealing"]["beta"] == ["^Annealing/beta$"]


class Stream(IterableDataset[Any]):
    """Eight samples, which nobody is told."""

    def __iter__(self) -> Iterator[Any]:
        return iter([(torch.ones(4),)] * 8)


@pytest.mark.parametrize(
    ("max_epochs", "interval", "values"),
    [(-1, "epoch", [0.0, 0.25]), (2, "step", [0.75, 1.0, 1.0, 1.0])],
    ids=["no last epoch", "epochs of an unknown length"],
)
def test_what_has_no_known_end_has_no_picture(
    tmp_path: Path, max_epochs: int, interval: str, values: list[float]
) -> None:
    curve = {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 4, "interval": interval}
    options: dict[str, Any] = {"max_epochs": max_epochs, "logger": tensorboard(tmp_path), "log_every_n_steps": 4}
    trainer = trainer_for(tmp_path, HyperparamAnnealingCallback({"beta": curve}), StopEarly(), **options)
    trainer.fit(Tiny(), DataLoader(Stream(), batch_size=1))
    events = read(tmp_path)
    assert events.Tags()["images"] == []
    assert [event.value for event in events.Scalars("Annealing/beta")] == values


def test_what_lightning_cli_keeps_for_itself_is_no_hyperparameter(tmp_path: Path, fit: Any) -> None:
    module = Tiny()
    module.save_hyperparameters({"_class_path": "examples.digits_vae.DigitsVAE", "size": 3})
    fit(HyperparamAnnealingCallback({"loss.margin": Cosine(0, 1, 3)}), module=module, logger=tensorboard(tmp_path))
    values, _ = hyperparameters_of(read(tmp_path))
    assert sorted(values) == ["annealing/loss.margin", "size"]
