"""A callback outside of the straight way through a fit: other stages, copies, tuners, averaging, errors in the midst.

What a whole fit of 4 epochs of 2 steps does is in `WHOLE`: beta goes from 0 to 8 by step, the margin from 0 to 4 by
epoch, and the temperature (a buffer) from the 2 that it is found at to 6 by epoch.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch import callbacks as lightning_callbacks
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder, StochasticWeightAveraging
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.tuner import Tuner
from torch.optim.swa_utils import get_ema_avg_fn
from torch.utils.data import DataLoader, TensorDataset

from lightning_anneal import AnnealError, BetaScheduleCallback, HyperparamAnnealingCallback
from lightning_anneal.lightnings import averages_buffers, swaps_buffers
from tests.marks import puts_finders_back
from tests.tiny import Tiny, trainer_for

# It came with Lightning 2.6.
WeightAveraging: Any = getattr(lightning_callbacks, "WeightAveraging", None)
averaging = pytest.mark.skipif(WeightAveraging is None, reason="this Lightning has no WeightAveraging")

EPOCHS, BATCHES = 4, 2

Values = tuple[float, float, float]

WHOLE: list[Values] = [(0, 0, 2), (1, 0, 2), (2, 1, 3), (3, 1, 3), (4, 2, 4), (5, 2, 4), (6, 3, 5), (7, 3, 5)]
OWN = (1.0, 0.2, 2.0)
"""What the module is made with."""


class Module(Tiny):
    """`steps` has beta, the margin and the temperature of every training step, `evaluated` those of every other one."""

    def __init__(self) -> None:
        super().__init__(batches=BATCHES)
        self.lr = 0.1
        self.batch_size = 1
        self.steps: list[Values] = []
        self.evaluated: list[Values] = []

    @property
    def now(self) -> Values:
        return float(self.beta), self.loss.margin, float(self.temperature)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.steps.append(self.now)
        return self.layer(batch[0]).pow(2).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        if not self.trainer.barebones:
            self.log("val_loss", torch.tensor(1.0))
        if not self.trainer.sanity_checking:
            self.evaluated.append(self.now)

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.evaluated.append(self.now)

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        self.evaluated.append(self.now)
        return batch[0]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(TensorDataset(torch.ones(self.batches, 4)), batch_size=self.batch_size)


def annealing(**beta: Any) -> HyperparamAnnealingCallback:
    """What `WHOLE` is about; `beta` are more settings of beta."""
    ramp = {"strategy": "linear", "start_value": 0}
    return HyperparamAnnealingCallback(
        {
            "beta": {**ramp, "end_value": 8, "total_steps": 8, "interval": "step", **beta},
            "loss.margin": {**ramp, "end_value": 4, "total_steps": 4},
            "temperature": {"strategy": "linear", "end_value": 6, "total_steps": 4},
        }
    )


def stalls(**settings: Any) -> dict[str, Any]:
    """Fires whenever ``val_loss`` was no better than ever."""
    return {
        "strategy": "trigger_based",
        "trigger_source": "metric_plateau",
        "monitor": "val_loss",
        "patience": 1,
        **settings,
    }


def values_of(step: int) -> dict[str, float]:
    """What the callback calls the values of a step."""
    return dict(zip(("beta", "loss.margin", "temperature"), WHOLE[step], strict=True))


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> Any:
    return trainer_for(folder, *callbacks, **{"max_epochs": EPOCHS, **options})


pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")

# -- other stages -----------------------------------------------------------------------------------------------------


def run_stage(stage: str, trainer: Any, module: Module, **options: Any) -> None:
    getattr(trainer, stage)(module, **({} if stage == "predict" else {"verbose": False}), **options)


class SavesAt(Callback):
    """Saves a checkpoint when so many steps are done."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.step:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "c.ckpt")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run that has done 5 steps: the first one of epoch 2."""
    folder = tmp_path_factory.mktemp("stages")
    trainer(folder, annealing(), SavesAt(5)).fit(Module())
    return folder / "c.ckpt"


# Whether there is a checkpoint, an eval_value of beta, what is seen, and what is in force afterwards.
SEEN: dict[str, tuple[bool, float | None, Values, Values]] = {
    "without a fit": (False, None, OWN, OWN),
    "without a fit, eval_value": (False, 9.0, (9.0, 0.2, 2.0), OWN),
    "with a checkpoint": (True, None, WHOLE[4], WHOLE[4]),
    "with a checkpoint, eval_value": (True, 9.0, (9.0, *WHOLE[4][1:]), WHOLE[4]),
}


@pytest.mark.parametrize("case", SEEN)
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_a_stage_alone(tmp_path: Path, checkpoint: Path, stage: str, case: str) -> None:
    saved, eval_value, seen, after = SEEN[case]
    module, callback = Module(), annealing(**({} if eval_value is None else {"eval_value": eval_value}))
    alone = trainer(tmp_path, callback)
    run_stage(stage, alone, module, **({"ckpt_path": checkpoint} if saved else {}))
    assert (module.evaluated, module.now) == ([seen] * 2, after)
    # And a fit afterwards begins at the beginning; the temperature begins where the checkpoint has put the buffer.
    alone.fit(module)
    shift = after[2] - 2
    expected = [(beta, margin, 2 + shift + (value - 2) * (4 - shift) / 4) for beta, margin, value in WHOLE]
    assert module.steps == expected


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_a_stage_after_a_fit_and_before_the_next(tmp_path: Path, checkpoint: Path, stage: str) -> None:
    module, callback = Module(), annealing()
    both = trainer(tmp_path, callback, max_epochs=2)
    both.fit(module)
    module.evaluated.clear()
    run_stage(stage, both, module)
    assert (module.evaluated, callback.values) == ([WHOLE[3]] * 2, values_of(3))
    # Another checkpoint is looked at; the fit goes on where it stood.
    run_stage(stage, both, module, ckpt_path=checkpoint)
    assert module.evaluated[2:] == [WHOLE[4]] * 2
    both.fit_loop.max_epochs = EPOCHS
    both.fit(module)
    assert module.steps == WHOLE


@pytest.mark.parametrize("eval_beta", [None, 9.0])
@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_beta_and_a_trigger_in_a_stage(tmp_path: Path, stage: str, eval_beta: float | None) -> None:
    def both() -> list[Callback]:
        beta = BetaScheduleCallback("linear", {"max_beta": 4, "warmup_epochs": "100%"}, eval_beta=eval_beta)
        return [beta, HyperparamAnnealingCallback({"loss.margin": stalls(values=[5, 6, 7])})]

    first = trainer(tmp_path, *both())
    first.fit(Module())
    first.save_checkpoint(tmp_path / "c.ckpt")
    module = Module()
    run_stage(stage, trainer(tmp_path, *both()), module, ckpt_path=tmp_path / "c.ckpt")
    # In epoch 3 beta was 3. The loss is 1 throughout: no better after epochs 1 and 2.
    assert (module.evaluated, module.now) == ([(eval_beta or 3, 7, 2)] * 2, (3, 7, 2))


# -- again, and in copies ---------------------------------------------------------------------------------------------


def test_a_second_fit_goes_on(tmp_path: Path) -> None:
    module, callback = Module(), annealing()
    same = trainer(tmp_path, callback, max_epochs=2)
    same.fit(module)
    assert (module.steps, callback.values) == (WHOLE[:4], values_of(3))
    same.fit_loop.max_epochs = EPOCHS
    same.fit(module)
    assert (module.steps, callback.values) == (WHOLE, values_of(7))


def test_a_fit_that_is_over_does_nothing(tmp_path: Path) -> None:
    module, callback = Module(), annealing()
    same = trainer(tmp_path, callback)
    for _ in range(2):
        same.fit(module)
        assert (module.steps, module.now, callback.values) == (WHOLE, WHOLE[7], values_of(7))


def test_a_new_trainer_begins_anew(tmp_path: Path) -> None:
    callback = annealing()
    for epochs in (2, 4, 1):
        module = Module()
        trainer(tmp_path, callback, max_epochs=epochs).fit(module)
        assert (module.steps, callback.values) == (WHOLE[: 2 * epochs], values_of(2 * epochs - 1))


COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda callback: pickle.loads(pickle.dumps(callback)),
}


class Raises(Callback):
    """Raises an error once, at the n-th call of a hook."""

    def __init__(self, hook: str, call: int, error: type[BaseException] = RuntimeError) -> None:
        left = call

        def strike(*args: Any, **kwargs: Any) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                raise error("stop")

        setattr(self, hook, strike)


@pytest.mark.parametrize("when", ["before", "after", "interrupted"])
@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_a_callback_of_its_own(tmp_path: Path, kind: str, when: str) -> None:
    callback, first = annealing(as_tensor=True), Module()
    used = trainer(tmp_path, callback, max_epochs=2)
    if when == "after":
        used.fit(first)
    elif when == "interrupted":
        broken = trainer(tmp_path, callback, Raises("on_train_batch_end", 3))
        with pytest.raises(RuntimeError, match="stop"):
            broken.fit(first)
    twin = COPIES[kind](callback)
    in_force = {"before": {}, "after": values_of(3), "interrupted": values_of(2)}[when]
    assert twin.state_key == callback.state_key
    assert twin.values == callback.values == in_force
    assert twin.state_dict() == callback.state_dict()
    module = Module()
    trainer(tmp_path, twin).fit(module)
    assert (module.steps, twin.values) == (WHOLE, values_of(7))
    # The one that it was made of knows nothing of it.
    assert callback.values == in_force
    if when == "after":
        used.fit_loop.max_epochs = EPOCHS
        used.fit(first)
        assert first.steps == WHOLE


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_of_beta_and_of_triggers(tmp_path: Path, kind: str, when: str) -> None:
    beta = BetaScheduleCallback("linear", {"max_beta": 4, "warmup_epochs": "100%"}, eval_beta=9.0)
    triggers = HyperparamAnnealingCallback({"loss.margin": stalls(values=[5, 6, 7])})
    if when == "after":
        trainer(tmp_path, beta, triggers, max_epochs=3).fit(Module())
    module = Module()
    trainer(tmp_path, COPIES[kind](beta), COPIES[kind](triggers)).fit(module)
    # The loss is 1 throughout, so no better from epoch 1 on, and that is seen when 2 and 3 begin.
    assert module.steps == [(0, 5, 2)] * 2 + [(1, 5, 2)] * 2 + [(2, 6, 2)] * 2 + [(3, 7, 2)] * 2
    assert module.evaluated == [(9, 5, 2)] * 4 + [(9, 6, 2)] * 2 + [(9, 7, 2)] * 2
    assert module.now == (3, 7, 2)


# -- tuners and averaging ---------------------------------------------------------------------------------------------

FINDERS: dict[str, tuple[Callable[[], Callback], int]] = {
    "LearningRateFinder": (lambda: LearningRateFinder(num_training_steps=2, update_attr=False), 2),
    "BatchSizeFinder": (lambda: BatchSizeFinder(max_trials=2, steps_per_trial=2), 4),
}


@puts_finders_back
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("name", FINDERS)
@pytest.mark.filterwarnings("ignore:.*lr_find")
def test_a_finder_in_front_and_behind(tmp_path: Path, name: str, behind: bool) -> None:
    make, searched = FINDERS[name]
    module, callback = Module(), annealing()
    if name == "BatchSizeFinder":
        module.batches = 4 * BATCHES  # it comes to batches of 4
    callbacks = [callback, make()] if behind else [make(), callback]
    trainer(tmp_path, *callbacks).fit(module)
    # It searches with the module as it is, and then the run begins.
    assert module.steps == [OWN] * searched + WHOLE
    changes = [(change.step, change.name, change.new) for change in callback.changes]
    assert changes[:3] == [(0, "loss.margin", 0.0), (0, "beta", 0.0), (2, "loss.margin", 1.0)]


TUNERS: dict[str, Callable[[Tuner, Module], Any]] = {
    "lr_find": lambda tuner, module: tuner.lr_find(module, num_training=2, update_attr=False),
    "scale_batch_size": lambda tuner, module: tuner.scale_batch_size(
        module, max_trials=1, steps_per_trial=2, init_val=1
    ),
}


@puts_finders_back
@pytest.mark.parametrize("name", TUNERS)
@pytest.mark.filterwarnings("ignore:.*lr_find")
def test_a_tuner_before_the_fit(tmp_path: Path, name: str) -> None:
    module, callback = Module(), annealing()
    tuned = trainer(tmp_path, callback)
    TUNERS[name](Tuner(tuned), module)
    assert module.steps == [OWN] * 2
    tuned.fit(module)
    assert module.steps[2:] == WHOLE


def swa() -> StochasticWeightAveraging:
    return StochasticWeightAveraging(swa_lrs=0.01, swa_epoch_start=2, annealing_epochs=1)


@pytest.mark.parametrize("behind", [False, True])
def test_stochastic_weight_averaging(tmp_path: Path, behind: bool) -> None:
    module, callback = Module(), annealing(eval_value=9.0)
    trainer(tmp_path, *([callback, swa()] if behind else [swa(), callback])).fit(module)
    assert module.steps == WHOLE
    assert module.evaluated == [(9.0, *values[1:]) for values in WHOLE]
    assert module.now == WHOLE[7]


def test_stochastic_weight_averaging_owns_the_learning_rate(tmp_path: Path) -> None:
    def anneal(key: str) -> HyperparamAnnealingCallback:
        ramp = {"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 4}
        return HyperparamAnnealingCallback({f"optimizer.param_groups.0.{key}": ramp})

    module = Module()
    weight = module.layer.weight.tolist()
    with pytest.raises(AnnealError) as error:
        trainer(tmp_path, anneal("lr"), swa()).fit(module)
    owned = "owned by StochasticWeightAveraging; anneal another key or drop that scheduler"
    assert str(error.value) == f"optimizer.param_groups.0.lr: {owned}"
    assert (module.steps, module.layer.weight.tolist()) == ([], weight)
    callback = anneal("weight_decay")
    trainer(tmp_path, callback, swa()).fit(module)
    assert callback.values == {"optimizer.param_groups.0.weight_decay": 0.75}


def ema(use_buffers: bool) -> Any:
    return WeightAveraging(use_buffers=use_buffers, avg_fn=get_ema_avg_fn(0.5))


def temperature(**settings: Any) -> HyperparamAnnealingCallback:
    ramp = {"strategy": "linear", "start_value": 0, "end_value": 4, "total_steps": 4}
    return HyperparamAnnealingCallback({"temperature": {**ramp, **settings}})


AVERAGED = (
    "temperature: is a buffer, which WeightAveraging averages like a weight; give use_buffers=False, or keep it in a "
    "plain attribute (as_tensor: true makes it a tensor)"
)
SWAPPED = (
    "temperature.eval_value: is not seen in a buffer, which WeightAveraging swaps while validating; keep it in a plain "
    "attribute (as_tensor: true makes it a tensor)"
)
# Of 0 0 1 1 2 2 3 3: the first one, and then the mean of the average and the next, after every second step.
MEANS = [0.0, 0.75, 1.6875, 2.671875]

# Whether buffers are averaged, settings, the warning, and what validations see.
AVERAGING: dict[str, tuple[bool, dict[str, Any], str | None, list[float]]] = {
    "averaged": (True, {}, AVERAGED, MEANS),
    "averaged, eval_value": (True, {"eval_value": 9.0}, AVERAGED, MEANS),
    "averaged, as_tensor": (True, {"as_tensor": True}, AVERAGED, MEANS),
    "left alone": (False, {}, None, [0.0, 1.0, 2.0, 3.0]),
    "left alone, eval_value": (False, {"eval_value": 9.0}, SWAPPED, [0.0, 1.0, 2.0, 3.0]),
}


@averaging
@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("case", AVERAGING)
def test_an_annealed_buffer_and_an_average_of_weights(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, case: str, behind: bool
) -> None:
    use_buffers, settings, warning, seen = AVERAGING[case]
    module, callback, average = Module(), temperature(**settings), ema(use_buffers)
    trainer(tmp_path, *([callback, average] if behind else [average, callback])).fit(module)
    assert [str(w.message) for w in recwarn if "temperature" in str(w.message)] == ([warning] if warning else [])
    # Training sees the schedule all the same.
    assert [value for *_, value in module.steps] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [value for *_, value in module.evaluated[::2]] == seen
    assert float(module.temperature) == seen[-1]


@averaging
@pytest.mark.parametrize("use_buffers", [True, False])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_a_plain_attribute_beside_an_average_of_weights(tmp_path: Path, use_buffers: bool, as_tensor: bool) -> None:
    ramp = {"strategy": "linear", "start_value": 0, "end_value": 4, "total_steps": 4, "eval_value": 9.0}
    module, callback = Module(), HyperparamAnnealingCallback({"beta": {**ramp, "as_tensor": as_tensor}})
    trainer(tmp_path, callback, ema(use_buffers)).fit(module)
    assert [beta for beta, *_ in module.steps] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {beta for beta, *_ in module.evaluated} == {9.0}
    assert (type(module.beta), module.beta) == (float, 3.0)


@averaging
def test_what_swaps_buffers_and_what_averages_them() -> None:
    class Own(WeightAveraging):
        pass

    callbacks = [ema(True), ema(False), Own(), swa(), annealing()]
    assert [swaps_buffers(callback) for callback in callbacks] == [True, True, True, False, False]
    assert [averages_buffers(callback) for callback in callbacks] == [True, False, True, False, False]


# -- short and bare runs ----------------------------------------------------------------------------------------------

BARE: dict[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), None
)

# The options of the Trainer, and how many steps are done.
RUNS: dict[str, tuple[dict[str, Any], int]] = {
    "fast_dev_run": ({"fast_dev_run": True}, 1),
    "fast_dev_run of 2": ({"fast_dev_run": 2}, 2),
    "barebones": ({"barebones": True, **BARE}, 8),
    "no logger": ({"logger": False}, 8),
    "no loggers in a list": ({"logger": []}, 8),
    "no validation batches": ({"limit_val_batches": 0}, 8),
    "one validation": ({"check_val_every_n_epoch": 4}, 8),
    "a validation after each batch": ({"val_check_interval": 1}, 8),
    "no checkpoints": ({"enable_checkpointing": False}, 8),
    "max_steps": ({"max_epochs": -1, "max_steps": 5}, 5),
    "a part of the batches": ({"limit_train_batches": 1}, 4),
    "no epoch at all": ({"max_epochs": 0}, 0),
    "no batch at all": ({"limit_train_batches": 0}, 0),
    "overfit_batches": ({"overfit_batches": 2}, 8),
}


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.filterwarnings("ignore:You are using `fast_dev_run`")
def test_other_ways_to_run(tmp_path: Path, name: str) -> None:
    options, steps = RUNS[name]
    module, callback = Module(), annealing()
    trainer(tmp_path, callback, **options).fit(module)
    if name == "a part of the batches":
        # An epoch has one step.
        assert module.steps == [(s, s, 2 + s) for s in range(4)]
    else:
        assert module.steps == WHOLE[:steps]
        assert callback.values == values_of(max(steps - 1, 0))


UNKNOWN = "loss.margin.monitor: no metric 'val_loss' has been logged"

# The options of the Trainer, and the margin by epoch or the error.
TRIGGERED: dict[str, tuple[dict[str, Any], list[float] | str]] = {
    "fast_dev_run": ({"fast_dev_run": True}, [5]),
    "max_steps": ({"max_epochs": -1, "max_steps": 5}, [5, 5, 6]),
    "no checkpoints": ({"enable_checkpointing": False}, [5, 5, 6, 7]),
    "one validation in two epochs": ({"check_val_every_n_epoch": 2}, [5, 5, 5, 5]),
    # The second loss of epoch 0 is bad, and so is the first one of epoch 1.
    "a validation after each batch": ({"val_check_interval": 1}, [5, 6, 7, 7]),
    "no validation batches": ({"limit_val_batches": 0}, UNKNOWN),
    "barebones": ({"barebones": True, **BARE}, UNKNOWN),
}


@pytest.mark.parametrize("name", TRIGGERED)
@pytest.mark.filterwarnings("ignore:You are using `fast_dev_run`")
def test_triggers_in_other_ways_to_run(tmp_path: Path, name: str) -> None:
    options, expected = TRIGGERED[name]
    module, callback = Module(), HyperparamAnnealingCallback({"loss.margin": stalls(values=[5, 6, 7])})
    run = trainer(tmp_path, callback, **options)
    if isinstance(expected, str):
        with pytest.raises(AnnealError) as error:
            run.fit(module)
        assert str(error.value) == expected
        expected = [5]  # the first epoch was trained
    else:
        run.fit(module)
    assert [margin for _, margin, _ in module.steps[::BATCHES]] == expected


def test_a_module_without_validation(tmp_path: Path) -> None:
    class Unvalidated(Module):
        validation_step = None
        val_dataloader = None

    module, callback = Unvalidated(), annealing(eval_value=9.0)
    trainer(tmp_path, callback).fit(module, module.train_dataloader())
    assert (module.steps, callback.values) == (WHOLE, values_of(7))


def test_a_logger_gets_what_was_in_force(tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="log", version=0)
    trainer(tmp_path, annealing(), logger=logger, log_every_n_steps=1).fit(Module())
    rows = (tmp_path / "log" / "version_0" / "metrics.csv").read_text().splitlines()
    header = rows[0].split(",")
    for tag, values in zip(("beta", "loss.margin", "temperature"), zip(*WHOLE, strict=True), strict=True):
        column = [row.split(",")[header.index(f"Annealing/{tag}")] for row in rows[1:]]
        told = [float(text) for text in column if text]
        assert told == list(values) if tag == "beta" else told == list(values[::BATCHES])


# -- errors in the midst of a fit -------------------------------------------------------------------------------------

# The hook and its call that raises, and how many steps had begun.
ERRORS: dict[str, tuple[str, int, int]] = {
    "before a batch": ("on_train_batch_start", 4, 3),
    "after a batch": ("on_train_batch_end", 4, 4),
    "before the backward pass": ("on_before_backward", 6, 6),
    "before an epoch": ("on_train_epoch_start", 3, 4),
    # The first one is of the sanity check.
    "in a validation": ("on_validation_batch_start", 6, 6),
    "after an epoch": ("on_train_epoch_end", 2, 4),
}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.filterwarnings("ignore:Found .* in eval mode at the start of training")
def test_an_error_in_the_midst(tmp_path: Path, name: str, error: type[BaseException]) -> None:
    hook, call, begun = ERRORS[name]
    module, callback = Module(), annealing(eval_value=9.0, as_tensor=True)
    broken = trainer(tmp_path, callback, Raises(hook, call, error), num_sanity_val_steps=1)
    with pytest.raises(SystemExit if error is KeyboardInterrupt else RuntimeError):
        broken.fit(module)
    assert module.steps == WHOLE[:begun]
    # What is in force, the module's own type and all; a step and an epoch that had begun are in it.
    last = {"before a batch": WHOLE[3], "before an epoch": (3.0, 2.0, 4.0)}.get(name, WHOLE[begun - 1])
    assert (type(module.beta), module.now) == (float, last)
    assert tuple(callback.values.values()) == last
    # And the callback is as good as new.
    module = Module()
    trainer(tmp_path, callback).fit(module)
    assert (module.steps, module.evaluated) == (WHOLE, [(9.0, *values[1:]) for values in WHOLE])


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_an_error_in_another_stage(tmp_path: Path, checkpoint: Path, stage: str) -> None:
    module, callback = Module(), annealing(eval_value=9.0)
    broken = trainer(tmp_path, callback, Raises(f"on_{stage.replace('validate', 'validation')}_batch_end", 2))
    with pytest.raises(RuntimeError, match="stop"):
        run_stage(stage, broken, module, ckpt_path=checkpoint)
    assert (module.evaluated, module.now) == ([(9.0, *WHOLE[4][1:])] * 2, WHOLE[4])
