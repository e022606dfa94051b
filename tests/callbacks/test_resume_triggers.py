"""What answers to events goes on after a resume as if nothing had been: every value, group and weight, with ``==``."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.followed import BATCHES, EPOCHS, LOSSES, SCHEDULES, Followed
from tests.tiny import trainer_for
from tests.written import on

STOPPERS: dict[str, dict[str, Any]] = {
    "beta": on("early_stopper_counter"),
    "loss.margin": on("early_stopper_half_patience"),
    "weights.kl": on("early_stopper_third_patience"),
    "weights.nested.0": on("metric_plateau", monitor="val_loss", patience=2),
    "weights.nested.1": on("metric_below", monitor="val_loss", threshold=3.25),
    "annealed.fast": on("metric_above", monitor="val_loss", threshold=4.25),
    "annealed.slow": on("early_stopper_counter", cooldown=2),
    "optimizer.param_groups.1.weight_decay": on("early_stopper_half_patience", multiply=0.5),
}

# By hand from LOSSES: the value during each epoch. The patience is 6.
BY_EPOCH: dict[str, list[float]] = {
    # The count rises after epochs 2, 3, 4, 6, 7, 9 and 10.
    "beta": [0, 0, 0, 1, 2, 3, 3, 4, 5, 5, 6, 7],
    # It comes to 3 after epoch 4, and to 2 after 3, 7 and 10.
    "loss.margin": [0] * 5 + [1] * 7,
    "weights.kl": [0] * 4 + [1] * 4 + [2] * 3 + [3],
    # Two in a row no better than the best: 2 and 3, 6 and 7, 9 and 10.
    "weights.nested.0": [0] * 4 + [1] * 4 + [2] * 3 + [3],
    # Below 3.25 after 5, above after 6, below after 8; above 4.25 after 0, 2 and 7.
    "weights.nested.1": [0] * 6 + [1] * 3 + [2] * 3,
    "annealed.fast": [0] + [1] * 2 + [2] * 5 + [3] * 4,
    # After 2, 6 and 9: the two polls after a firing can't fire.
    "annealed.slow": [0] * 3 + [1] * 4 + [2] * 3 + [3] * 2,
    "optimizer.param_groups.1.weight_decay": [0.02] * 5 + [0.01] * 7,
}

EXTENDED = {"beta": on("early_stopper_triggered", extend_training=True), "loss.margin": on("early_stopper_counter")}
LR = {"beta": on("lr_scheduler_triggered"), "loss.margin": on("metric_plateau", monitor="val_loss", patience=2)}

BY_STEP = {"interval": "step", "frequency": BATCHES}

NO_METRIC = {"check_on_train_epoch_end": False}
"""For a stopper: check after each validation, because a resumed run has no metric at the end of its first epoch."""

SAVED: dict[str, dict[str, Any]] = {
    "end of epoch": {"save_on_train_epoch_end": True},
    "on validation": {"save_on_train_epoch_end": False},
    "every 3 steps": {"every_n_train_steps": 3},
}


def anneal(params: dict[str, dict[str, Any]] | None, **options: Any) -> list[Callback]:
    """The callback in a list, with schedules beside; an empty list for ``None``."""
    return [] if params is None else [HyperparamAnnealingCallback({**SCHEDULES, **params}, **options)]


class Run:
    """How to fit one module after the other, all alike."""

    def __init__(
        self,
        folder: Path,
        params: dict[str, dict[str, Any]] | None,
        saved: dict[str, Any],
        stopper: dict[str, Any] | None = None,
        module: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.folder, self.params, self.saved, self.stopper = folder, params, saved, stopper
        self.module, self.options = module or {}, {"max_epochs": EPOCHS, **options}

    def fit(self, *callbacks: Callback, ckpt_path: Path | None = None, **options: Any) -> Followed:
        module = Followed(**self.module)
        stoppers = [] if self.stopper is None else [EarlyStopping("val_loss", **{"patience": 6, **self.stopper})]
        every = [*anneal(self.params), *stoppers, *callbacks]
        trainer_for(self.folder, *every, **{**self.options, **options}).fit(module, ckpt_path=ckpt_path)
        return module

    def whole(self) -> tuple[Followed, list[Path]]:
        """A run from start to end, and its checkpoints, from first to last."""
        saver = ModelCheckpoint(self.folder, filename="{step}", save_top_k=-1, **self.saved)
        module = self.fit(saver, enable_checkpointing=True)
        assert all(map(torch.isfinite, torch.tensor(module.final)))
        return module, sorted(self.folder.glob("*.ckpt"), key=step_of)

    def check(self, whole: Followed, checkpoints: list[Path]) -> None:
        """Resume from each checkpoint, and compare."""
        for checkpoint in checkpoints:
            torch.load(checkpoint, weights_only=True)
            resumed = self.fit(ckpt_path=checkpoint)
            assert resumed.trace == whole.trace[step_of(checkpoint) :], checkpoint.name
            assert resumed.final == whole.final, checkpoint.name


def step_of(checkpoint: Path) -> int:
    return int(checkpoint.stem.removeprefix("step=").split("-")[0])


def on_last_batch(checkpoint: Path) -> bool:
    return step_of(checkpoint) % BATCHES == 0


def by_epoch(module: Followed, name: str) -> list[Any]:
    """What the callback said of a parameter at each epoch's first and last batch, which are the same."""
    seen = [values["HyperparamAnnealingCallback"][name] for _, _, values in module.trace]
    assert seen[::BATCHES] == seen[BATCHES - 1 :: BATCHES]
    return seen[::BATCHES]


# -- stoppers and metrics -------------------------------------------------------------------------------------------


def stopper_run(folder: Path, saved: str, params: dict[str, Any] | None = STOPPERS, **stopper: Any) -> Run:
    where = NO_METRIC if saved == "on validation" else {}
    return Run(folder, params, SAVED[saved], {**where, **stopper})


@pytest.mark.parametrize("saved", SAVED)
def test_stoppers_and_metrics_from_every_checkpoint(tmp_path: Path, saved: str) -> None:
    run = stopper_run(tmp_path, saved)
    whole, checkpoints = run.whole()
    assert {name: by_epoch(whole, name) for name in BY_EPOCH} == BY_EPOCH
    assert len(checkpoints) == (16 if saved == "every 3 steps" else EPOCHS)
    steps = [c for c in checkpoints if saved != "every 3 steps" or not on_last_batch(c)]
    run.check(whole, steps)


@pytest.mark.parametrize("saved", SAVED)
def test_a_stop_that_is_taken_back_from_every_checkpoint(tmp_path: Path, saved: str) -> None:
    run = stopper_run(tmp_path, saved, EXTENDED, patience=2)
    whole, checkpoints = run.whole()
    # The patience of 2 runs out after epochs 3, 7 and 10; each time the count begins anew.
    assert by_epoch(whole, "beta") == [0] * 4 + [1] * 4 + [2] * 3 + [3]
    run.check(whole, [c for c in checkpoints if saved != "every 3 steps" or not on_last_batch(c)])


@pytest.mark.parametrize("saved", SAVED)
def test_the_last_stop_comes_at_the_same_epoch(tmp_path: Path, saved: str) -> None:
    params = {"beta": on("early_stopper_triggered", extend_training=True, values=[0, 1])}
    run = stopper_run(tmp_path, saved, params, patience=2)
    whole, checkpoints = run.whole()
    # One value more after epoch 3; after epoch 7 there is none left.
    assert by_epoch(whole, "beta") == [0] * 4 + [1] * 4
    end = 8 * BATCHES
    # The last one is left out: it doesn't say that the run was stopped.
    run.check(
        whole, [c for c in checkpoints if step_of(c) < end and (saved != "every 3 steps" or not on_last_batch(c))]
    )


@pytest.mark.parametrize("saved", ["on validation", "every 3 steps"])
def test_two_validations_an_epoch_from_every_checkpoint(tmp_path: Path, saved: str) -> None:
    run = Run(tmp_path, STOPPERS, SAVED[saved], {}, {"validate_every": 2}, val_check_interval=0.5)
    whole, checkpoints = run.whole()
    run.check(whole, [c for c in checkpoints if saved != "every 3 steps" or step_of(c) % 2])


# -- learning rates -------------------------------------------------------------------------------------------------

# Bad losses after epochs 2, 3 (falls), 4, 6, 7 (falls), 9, 10 (falls).
RATES = [0.125] * 4 + [0.0625] * 4 + [0.03125] * 3 + [0.015625]
FIRINGS = [0.0] * 4 + [1.0] * 4 + [2.0] * 3 + [3.0]


def rates(module: Followed) -> list[float]:
    return [values["group 0"][0] for _, _, values in module.trace]


@pytest.mark.parametrize("saved", ["end of epoch", "every 3 steps"])
def test_a_plateau_by_step_from_every_checkpoint(tmp_path: Path, saved: str) -> None:
    run = Run(tmp_path, LR, SAVED[saved], {}, {"plateau": BY_STEP})
    whole, checkpoints = run.whole()
    assert rates(whole)[::BATCHES] == RATES
    assert by_epoch(whole, "beta") == FIRINGS
    run.check(whole, [c for c in checkpoints if saved != "every 3 steps" or not on_last_batch(c)])


# Steps that Lightning loses on a resume, see below: with `strict` it would raise where there is no metric.
@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau conditioned on metric")
@pytest.mark.parametrize("saved", SAVED)
@pytest.mark.parametrize("plateau", [{}, BY_STEP], ids=["by epoch", "by step"])
def test_a_rate_is_followed_from_every_checkpoint(tmp_path: Path, saved: str, plateau: dict[str, Any]) -> None:
    run = Run(tmp_path, LR, SAVED[saved], NO_METRIC, {"plateau": {"strict": False, **plateau}})
    whole, checkpoints = run.whole()
    assert rates(whole)[::BATCHES] == RATES
    assert by_epoch(whole, "beta") == FIRINGS
    for checkpoint in checkpoints:
        resumed = run.fit(ckpt_path=checkpoint)
        # A rate halved twice has been answered twice.
        assert [0.125 / 2 ** seen["beta"] for _, _, seen in resumed.trace] == rates(resumed), checkpoint.name


def test_a_count_is_followed_where_lightning_skips_a_validation(tmp_path: Path) -> None:
    run = Run(tmp_path, STOPPERS, SAVED["every 3 steps"], {})
    _, checkpoints = run.whole()
    for checkpoint in filter(on_last_batch, checkpoints):
        seen = [seen for _, _, seen in run.fit(ckpt_path=checkpoint).trace]
        for before, after in pairwise(seen):
            rises = after["counts"][0] > before["counts"][0]
            assert after["beta"] - before["beta"] == rises, checkpoint.name


# -- what Lightning itself loses, with no annealing callback just as with one ---------------------------------------

LOST = [
    ("plateau by epoch", "end of epoch", AssertionError, "Lightning saves before an epoch's plateau step"),
    ("plateau by epoch", "on validation", AssertionError, "Lightning leaves out the plateau step of a resumed epoch"),
    ("plateau by epoch", "within an epoch", AssertionError, "Lightning leaves out the plateau step of a resumed epoch"),
    ("plateau by step", "on validation", MisconfigurationException, "Lightning restores no metric for the step"),
    ("plateau by step", "on last batches", AssertionError, "Lightning skips the validation after a step checkpoint"),
    ("stopper", "on validation", RuntimeError, "Lightning restores no metric for EarlyStopping"),
    ("stopper", "on last batches", AssertionError, "Lightning skips the validation after a step checkpoint"),
    ("stopped", "end of epoch", AssertionError, "Lightning does not save that a run was stopped"),
]

KINDS: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "plateau by epoch": (LR, NO_METRIC, {"plateau": {}}),
    "plateau by step": (LR, NO_METRIC, {"plateau": BY_STEP}),
    "stopper": (STOPPERS, {}, {}),
    "stopped": (STOPPERS, {"patience": 2}, {}),
}


@pytest.mark.parametrize("annealing", [False, True], ids=["alone", "annealing"])
@pytest.mark.parametrize(
    ("kind", "saved"),
    [
        pytest.param(kind, saved, marks=pytest.mark.xfail(strict=True, raises=error, reason=why))
        for kind, saved, error, why in LOST
    ],
)
def test_what_lightning_loses(tmp_path: Path, kind: str, saved: str, annealing: bool) -> None:
    params, stopper, module = KINDS[kind]
    by_step = saved in ("on last batches", "within an epoch")
    when = SAVED["every 3 steps" if by_step else saved]
    run = Run(tmp_path, params if annealing else None, when, stopper, module)
    whole, checkpoints = run.whole()
    run.check(whole, [c for c in checkpoints if not by_step or on_last_batch(c) == (saved == "on last batches")])


# -- the audit ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("saved", SAVED)
def test_the_audit_goes_on_from_every_checkpoint(tmp_path: Path, saved: str) -> None:
    """What came after the checkpoint leaves the file, and is written anew."""
    run = stopper_run(tmp_path, saved)
    run.options |= {"logger": CSVLogger(tmp_path, name="log", version=0), "log_every_n_steps": 1}
    _, checkpoints = run.whole()
    file = tmp_path / "log" / "version_0" / "annealing_changes.csv"
    expected = file.read_text().splitlines()
    # Of beta, as above, and not the start.
    told = [row.split(",") for row in expected if row.split(",")[2] == "beta"]
    assert [int(step) for _, step, *_ in told] == [BATCHES * epoch for epoch in (0, 3, 4, 5, 7, 8, 10, 11)]
    for checkpoint in checkpoints:
        if saved != "every 3 steps" or not on_last_batch(checkpoint):
            run.fit(ckpt_path=checkpoint)
            assert file.read_text().splitlines() == expected, checkpoint.name


# -- another length -------------------------------------------------------------------------------------------------

RAMP = {"strategy": "linear", "start_value": 0, "end_value": 8, "total_steps": "100%"}
CHANGED = "the run's length has changed (max_epochs 8 -> 12), which these depend on: annealed.slow.total_steps"


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after 4 of 8 epochs, whose last validation the trigger has not answered to yet."""
    folder = tmp_path_factory.mktemp("half")
    callbacks = [*horizon_callbacks("keep"), ModelCheckpoint(folder, filename="{step}", save_top_k=-1)]
    trainer_for(folder, *callbacks, enable_checkpointing=True, max_epochs=8).fit(Followed())
    return folder / "step=16.ckpt"


def horizon_callbacks(policy: str) -> list[Callback]:
    params = {"annealed.slow": RAMP, "beta": on("early_stopper_counter")}
    return [HyperparamAnnealingCallback(params, on_horizon_change=policy), EarlyStopping("val_loss", patience=6)]


def resumed_longer(half: Path, folder: Path, policy: str, epochs: int = 12) -> Followed:
    module = Followed()
    trainer_for(folder, *horizon_callbacks(policy), max_epochs=epochs).fit(module, ckpt_path=half)
    return module


@pytest.mark.parametrize(
    ("policy", "told", "slow"),
    [
        ("keep", "; they stay as they were (on_horizon_change: stretch would let them follow)",
         [4, 5, 6, 7, 8, 8, 8, 8]),
        ("stretch", "; they are found anew", [8 * epoch / 12 for epoch in range(4, 12)]),
    ],
)  # fmt: skip
def test_a_longer_run(half: Path, tmp_path: Path, policy: str, told: str, slow: list[float]) -> None:
    with pytest.warns(UserWarning, match="length has changed") as warned:
        module = resumed_longer(half, tmp_path, policy)
    messages = [str(w.message) for w in warned if "length has changed" in str(w.message)]
    assert messages == [CHANGED + told]
    assert by_epoch(module, "annealed.slow") == pytest.approx(slow, rel=1e-15)
    # Events know no length: the count rose after epochs 2, 3, 4, 6, 7, 9 and 10.
    assert by_epoch(module, "beta") == BY_EPOCH["beta"][4:]


def test_a_longer_run_is_refused(half: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnealError) as error:
        resumed_longer(half, tmp_path, "error")
    assert str(error.value) == f"on_horizon_change: {CHANGED}; take 'keep' or 'stretch'"


@pytest.mark.parametrize("policy", ["keep", "stretch", "error"])
def test_a_run_of_the_same_length_is_told_nothing(half: Path, tmp_path: Path, policy: str) -> None:
    # Warnings are errors here.
    module = resumed_longer(half, tmp_path, policy, epochs=8)
    assert by_epoch(module, "annealed.slow") == [4, 5, 6, 7]


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_a_run_that_was_stretched_stays_so(half: Path, tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    with pytest.warns(UserWarning, match="they are found anew"):
        trainer_for(tmp_path, *horizon_callbacks("stretch"), saver, max_epochs=12, enable_checkpointing=True).fit(
            stretched := Followed(), ckpt_path=half
        )
    again = resumed_longer(tmp_path / "step=32.ckpt", tmp_path, "error")
    assert again.trace == stretched.trace[16:]
    assert again.final == stretched.final


# -- what a checkpoint holds ----------------------------------------------------------------------------------------


def test_state_of_triggers_in_a_checkpoint(tmp_path: Path) -> None:
    given = {
        "beta": on("early_stopper_counter", cooldown=2),
        "annealed.fast": on("metric_plateau", monitor="val_loss", patience=2),
    }
    callback = HyperparamAnnealingCallback(given)
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    trainer_for(
        tmp_path, callback, EarlyStopping("val_loss", patience=6), saver, max_epochs=4, enable_checkpointing=True
    ).fit(Followed())
    state = torch.load(tmp_path / "step=16.ckpt", weights_only=True)["callbacks"]["HyperparamAnnealingCallback"]
    # After epoch 3 and before the look that follows it: the count was 1 at the last look and the loss to come is 4.
    triggers = state["triggers"]
    assert {name: (t["firings"], t["rest"], t["peak"]) for name, t in triggers.items()} == {
        "beta": (1, 2, None),
        "annealed.fast": (0, 0, None),
    }
    assert triggers["beta"]["seen"]["level"] == 1.0
    assert (triggers["annealed.fast"]["seen"]["best"], triggers["annealed.fast"]["seen"]["bad"]) == (4.0, 1)
    assert state["poll"] == {"pending": True, "metrics": {"val_loss": LOSSES[3]}}
