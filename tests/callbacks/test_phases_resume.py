"""A run under phases goes on from any checkpoint as if it had never stopped: every value, phase, weight and row."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.callbacks.test_resume_triggers import NO_METRIC, SAVED, on_last_batch, step_of
from tests.phased import Moving, by_step, each, fit, linear, phase, told
from tests.tiny import trainer_for
from tests.written import on

WD, MOMENTUM = "optimizer.param_groups.*.weight_decay", "optimizer.param_groups.0.momentum"

# With counts of 0 0 1 2 3 0 1 2 0 1 2 3 after the epochs: "main" is over after epoch 3, when the count comes to 2, "mid"
# in the midst of epoch 5, "late" after epoch 8, whose loss of 2.0 is the first below 2.5.
PHASES: list[dict[str, Any]] = [
    phase("warm", "6st", set={"beta": 0.0, "mode": "bb", "annealed.slow": 0.5},
          anneal={"loss.margin": by_step(1.0), "temperature": linear(1.0)}),
    phase("main", {"trigger": "early_stopper_third_patience", "at_most": 9}, set={"flag": True, "temperature": 3.0},
          anneal={"beta": linear(1.0, total_steps=3), WD: by_step(0.5, total_steps=20)}),
    phase("mid", duration="6st", set={"mode": "c"}, anneal={MOMENTUM: linear(0.25), "loss.margin": by_step(2.0)}),
    phase("late", {"trigger": "metric_below", "monitor": "val_loss", "threshold": 2.5}, set={"flag": False, WD: 0.125},
          anneal={"annealed.slow": {**by_step(0.25, total_steps=12), "frequency": 3}}),
    phase("finish", anneal={"beta": {"strategy": "cosine", "end_value": 0.0}, "annealed.slow": {**by_step(0.0), "frequency": 3}}),
]  # fmt: skip
# Beside them what has no phases.
PARAMS: dict[str, dict[str, Any]] = {"annealed.fast": by_step(1.0), "weights.kl": on("early_stopper_counter")}
TURNS = [(1, 2, "main"), (4, 0, "mid"), (5, 2, "late"), (9, 0, "finish")]


def run(folder: Path, saved: str, *more: Callback, phases: Any = PHASES, params: Any = PARAMS, **options: Any) -> Any:
    stopper = EarlyStopping("val_loss", patience=6, **(NO_METRIC if saved == "on validation" else {}))
    logger = CSVLogger(folder, name="log", version=0)
    return fit(folder, phases, params, stopper, *more, logger=logger, log_every_n_steps=1, **options)


def whole_and_checkpoints(folder: Path, saved: str, **options: Any) -> Any:
    """A run from start to end, its checkpoints from first to last, and its audit."""
    saver = ModelCheckpoint(folder, filename="{step}", save_top_k=-1, **SAVED[saved])
    whole, callback = run(folder, saved, saver, enable_checkpointing=True, **options)
    # Lightning skips the validation after a step checkpoint on an epoch's last batch.
    paths = [path for path in folder.glob("*.ckpt") if saved != "every 3 steps" or not on_last_batch(path)]
    return whole, callback, sorted(paths, key=step_of)


def audit(folder: Path) -> list[str]:
    return (folder / "log" / "version_0" / "annealing_changes.csv").read_text().splitlines()


@pytest.mark.parametrize("saved", SAVED)
def test_from_every_checkpoint(tmp_path: Path, saved: str) -> None:
    whole, callback, checkpoints = whole_and_checkpoints(tmp_path, saved)
    assert whole.turns() == TURNS
    assert [old for _, _, old, _, _ in told(callback)] == ["warm", "main", "mid", "late"]
    rows, changes = audit(tmp_path), callback.changes
    assert len(checkpoints) == 12
    for checkpoint in checkpoints:
        torch.load(checkpoint, weights_only=True)
        resumed, again = run(tmp_path, saved, ckpt_path=checkpoint)
        assert resumed.trace == whole.trace[step_of(checkpoint) :], checkpoint.name
        assert resumed.final == whole.final, checkpoint.name
        assert audit(tmp_path) == rows, checkpoint.name
        # Where nothing is trained any more, nobody reads what was told.
        assert again.changes == changes or not resumed.trace, checkpoint.name
        assert (again.phase, again.values) == (callback.phase, callback.values), checkpoint.name


def test_from_every_step(tmp_path: Path) -> None:
    """And so within every epoch, before, at and after every turn."""
    SAVED_AT = {"every_n_train_steps": 1}
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **SAVED_AT)
    whole, callback = run(tmp_path, "every step", saver, enable_checkpointing=True, max_epochs=7)
    rows = audit(tmp_path)
    for checkpoint in tmp_path.glob("*.ckpt"):
        if not on_last_batch(checkpoint):
            resumed, _ = run(tmp_path, "every step", ckpt_path=checkpoint, max_epochs=7)
            assert resumed.trace == whole.trace[step_of(checkpoint) :], checkpoint.name
            assert (resumed.final, audit(tmp_path)) == (whole.final, rows), checkpoint.name
    assert callback.phase == "late"


BY_TIME: list[dict[str, Any]] = [
    phase("a", "6st", set={"mode": "bb"}, anneal={"beta": linear(0.0, total_steps=3)}),
    phase("b", 3, set={"flag": True}, anneal={"loss.margin": by_step(2.0)}),
    phase("c", duration="8st", anneal={"beta": linear(3.0), "loss.margin": by_step(1.0)}),
    phase("d", anneal={"beta": {"strategy": "cosine", "end_value": 0.0}, "loss.margin": by_step(5.0)}),
]


def test_by_time_from_every_step(tmp_path: Path) -> None:
    """Also from an epoch's last batch, after which Lightning calls no hook where the next one begins."""
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    options = {
        "phases": BY_TIME,
        "params": {"annealed.fast": by_step(1.0), "temperature": linear(0.0)},
        "max_epochs": 7,
    }
    whole, callback = run(tmp_path, "every step", saver, enable_checkpointing=True, **options)
    assert whole.turns() == [(1, 2, "b"), (3, 0, "c"), (5, 0, "d")]
    rows, checkpoints = audit(tmp_path), list(tmp_path.glob("*.ckpt"))
    assert len(checkpoints) == 28
    for checkpoint in checkpoints:
        resumed, again = run(tmp_path, "every step", ckpt_path=checkpoint, **options)
        for (*when, seen), (*then, known) in zip(resumed.trace, whole.trace[step_of(checkpoint) :], strict=True):
            # The stopper hasn't seen the validation that Lightning leaves out.
            assert (when, {**seen, "counts": 0}) == (then, {**known, "counts": 0}), checkpoint.name
        assert (resumed.final, audit(tmp_path)) == (whole.final, rows), checkpoint.name
        assert (again.phase, again.values) == (callback.phase, callback.values)


# Losses 5, 4 in epoch 0; 4.5, 4 in epoch 1; 4.25, 3 in epoch 2; 3.5, 6 in epoch 3; 2, 2.5 in epoch 4; 2, 7 in epoch 5.
@pytest.mark.parametrize("saved", ["on validation", "every 3 steps"])
def test_two_validations_an_epoch(tmp_path: Path, saved: str) -> None:
    def again(*more: Callback, **options: Any) -> Any:
        module = Moving(validate_every=2)
        return run(tmp_path, saved, *more, module=module, max_epochs=6, val_check_interval=0.5, **options)

    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, **SAVED[saved])
    whole, _ = again(saver, enable_checkpointing=True)
    # The count comes to 2 after step 8; 6 steps; then the first loss below 2.5 after step 18.
    assert whole.turns() == [(1, 2, "main"), (2, 0, "mid"), (3, 2, "late"), (4, 2, "finish")]
    rows = audit(tmp_path)
    checkpoints = [path for path in tmp_path.glob("*.ckpt") if saved != "every 3 steps" or step_of(path) % 2]
    assert len(checkpoints) == (12 if saved == "on validation" else 4)
    for checkpoint in checkpoints:
        resumed, _ = again(ckpt_path=checkpoint)
        assert resumed.trace == whole.trace[step_of(checkpoint) :], checkpoint.name
        assert (resumed.final, audit(tmp_path)) == (whole.final, rows), checkpoint.name


def test_what_a_phase_accumulates(tmp_path: Path) -> None:
    """A step is another number of batches then, and an epoch another number of steps."""
    name = "trainer.accumulate_grad_batches"
    phases = [
        phase("a", "6st", set={name: 2}),
        phase("b", duration="2ep", set={name: 4}, anneal={"beta": by_step(9.0), "loss.margin": linear(2.0)}),
        phase("c", duration="3st", set={name: 1}, anneal={"loss.margin": linear(0.0)}),
        phase("d", anneal={"beta": by_step(0.0)}),
    ]
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1, every_n_train_steps=1)
    options = {"phases": phases, "params": None, "max_epochs": 9}
    whole, callback = run(tmp_path, "every step", saver, enable_checkpointing=True, **options)
    rows = audit(tmp_path)
    assert [(epoch, step) for epoch, step, *_ in told(callback)] == [(3, 6), (5, 8), (5, 11)]
    # Those on an epoch's last batch are left out, as above: 1 of 2 stays in epochs 0 to 2, 3 of 4 in 5 to 8.
    within = {path: batches for path in tmp_path.glob("*.ckpt") if (batches := batches_done(path)) < 4}
    assert len(within) == 3 + 12
    for checkpoint, batches in within.items():
        resumed, _ = run(tmp_path, "every step", ckpt_path=checkpoint, **options)
        assert resumed.trace == whole.trace[-len(resumed.trace) :], checkpoint.name
        assert (resumed.trace[0][1], resumed.final, audit(tmp_path)) == (batches, whole.final, rows), checkpoint.name


def batches_done(checkpoint: Path) -> int:
    """The batches of the running epoch that a checkpoint has seen."""
    loop = torch.load(checkpoint, weights_only=True)["loops"]["fit_loop"]
    done: int = loop["epoch_loop.batch_progress"]["current"]["ready"]
    return done


# -- an evaluation --------------------------------------------------------------------------------------------------


class Evaluated(Moving):
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Outside of a fit there are no losses."""


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_an_evaluation_has_the_values_of_its_checkpoint(tmp_path: Path, stage: str) -> None:
    phases = [
        phase("a", "2ep", set={"mode": "bb"}, anneal={"beta": linear(9.0)}),
        phase("b", duration="10st", anneal={"beta": linear(0.0), "loss.margin": by_step(4.2, start_value=0.2)}),
        phase("c", anneal={"beta": linear(5.0)}),
    ]
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    whole, _ = fit(tmp_path, phases, None, saver, enable_checkpointing=True, max_epochs=8)
    for step in (4, 8, 12, 20, 28):
        module, callback = Evaluated(), HyperparamAnnealingCallback(phases=phases)
        trainer = trainer_for(tmp_path, callback)
        getattr(trainer, stage)(module, ckpt_path=tmp_path / f"step={step}.ckpt", verbose=False)
        # What was in force in the step before.
        _, _, then = whole.trace[step - 1]
        assert callback.values == then["HyperparamAnnealingCallback"], step
        assert (module.beta, module.loss.margin, module.mode) == (then["beta"], then["margin"], "bb")
        assert callback.phase == then["phase"]


# -- other phases, or another run -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint after 4 of 8 epochs, in the second of three phases."""
    folder = tmp_path_factory.mktemp("half")
    saver = ModelCheckpoint(folder, filename="{step}", save_top_k=-1)
    fit(folder, THREE, None, saver, enable_checkpointing=True, max_epochs=8)
    return folder / "step=16.ckpt"


THREE = [
    phase("a", 2, set={"beta": 2.0}),
    phase("b", 6, set={"beta": 3.0}, anneal={"loss.margin": linear(2.2, total_steps=4)}),
    phase("c", set={"beta": 4.0}),
]


def changed(at: int, **other: Any) -> list[dict[str, Any]]:
    """Other settings of one of the phases."""
    return [{**each, **(other if i == at else {})} for i, each in enumerate(THREE)]


@pytest.mark.parametrize(
    ("phases", "beta", "phase_seen"),
    [
        (THREE, [3.0, 3.0, 4.0, 4.0], ["b", "b", "c", "c"]),
        # What is over is over.
        (changed(0, until=3, set={"beta": 9.0}), [3.0, 3.0, 4.0, 4.0], ["b", "b", "c", "c"]),
        # The running one ends at another time, sets another value; others come after it.
        (changed(1, until=5), [3.0, 4.0, 4.0, 4.0], ["b", "c", "c", "c"]),
        (changed(1, until=3), [4.0, 4.0, 4.0, 4.0], ["c", "c", "c", "c"]),
        (changed(1, set={"beta": 7.0}), [7.0, 7.0, 4.0, 4.0], ["b", "b", "c", "c"]),
        (changed(2, name="other", set={"beta": 8.0}), [3.0, 3.0, 8.0, 8.0], ["b", "b", "other", "other"]),
        ([*changed(2, until=7), phase("d", set={"beta": 5.0})], [3.0, 3.0, 4.0, 5.0], ["b", "b", "c", "d"]),
        ([*THREE[:1], phase("b")], [2.0, 2.0, 2.0, 2.0], ["b", "b", "b", "b"]),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:annealed parameters have changed")
def test_other_phases(tmp_path: Path, half: Path, phases: Any, beta: list[float], phase_seen: list[str]) -> None:
    module, _ = fit(tmp_path, phases, ckpt_path=half, max_epochs=8)
    assert module.column("beta") == each(beta)
    assert module.column("phase") == each(phase_seen)


def test_a_parameter_that_is_new_has_what_the_running_phase_says(tmp_path: Path, half: Path) -> None:
    phases = changed(1, set={"beta": 3.0, "mode": "new", "top_k": 7})
    with pytest.warns(UserWarning, match=r"annealed parameters have changed .*\(added: mode, top_k\)"):
        module, _ = fit(tmp_path, phases, ckpt_path=half, max_epochs=8)
    assert module.column("mode") == ["new"] * 16
    assert module.column("top_k") == [7] * 16


@pytest.mark.parametrize(
    ("phases", "now"),
    [
        (changed(1, name="other"), "a, other, c"),
        ([phase("before", 1), *THREE], "before, a, b, c"),
        (THREE[:1], "a"),
    ],
)
@pytest.mark.filterwarnings("ignore:annealed parameters have changed")
def test_phases_that_have_begun_stay(tmp_path: Path, half: Path, phases: Any, now: str) -> None:
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, phases, ckpt_path=half, max_epochs=8)
    what = f"the checkpoint has been through a, b, and now there are {now}"
    assert str(error.value) == f"phases: {what}; keep those that have begun, with their names"


def test_without_phases_again(tmp_path: Path, half: Path) -> None:
    with pytest.warns(UserWarning, match=r"dropped: loss.margin"):
        module, callback = fit(tmp_path, None, {"beta": linear(0.0, total_steps=8)}, ckpt_path=half, max_epochs=8)
    assert callback.phase is None
    # From the 1.0 that was found at first.
    assert module.column("beta") == each([0.5, 0.375, 0.25, 0.125])


def test_phases_for_a_run_that_had_none(tmp_path: Path) -> None:
    """They begin with the epoch of the resume, those that are over by then at once."""
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    params = {"loss.margin": linear(1.0)}
    trainer_for(tmp_path, saver, enable_checkpointing=True, max_epochs=8).fit(Moving())
    fit(tmp_path, None, params, saver, enable_checkpointing=True, max_epochs=8)
    for checkpoint in ("step=16.ckpt", "step=16-v1.ckpt"):
        with pytest.warns(UserWarning, match="added: beta") if "v1" in checkpoint else nullcontext():
            module, callback = fit(tmp_path, THREE, None, ckpt_path=tmp_path / checkpoint, max_epochs=8)
        assert module.column("phase") == each(["b", "b", "c", "c"])
        assert told(callback) == [(4, 16, "a", "b", "epoch 2"), (6, 24, "b", "c", "epoch 6")]


SHARES = [phase("a", "25%", set={"beta": 2.0}), phase("b", "75%", set={"beta": 3.0}), phase("c", set={"beta": 4.0})]
LONGER = "the run's length has changed (max_epochs 8 -> 12), which these depend on: phases.a.until, phases.b.until"


@pytest.mark.parametrize(
    ("policy", "end", "turn"),
    [
        ("keep", "; they stay as they were (on_horizon_change: stretch would let them follow)", 6),
        ("stretch", "; they are found anew", 9),
        ("error", "; take 'keep' or 'stretch'", None),
    ],
)
def test_a_longer_run(tmp_path: Path, policy: str, end: str, turn: int | None) -> None:
    def go(ckpt_path: Any, *more: Callback, **options: Any) -> Any:
        callback = HyperparamAnnealingCallback(phases=SHARES, on_horizon_change=policy)
        module = Moving()
        trainer_for(tmp_path, callback, *more, **options).fit(module, ckpt_path=ckpt_path)
        return told(callback)

    go(None, ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1), enable_checkpointing=True, max_epochs=8)
    resume = tmp_path / "step=16.ckpt"
    if turn is None:
        with pytest.raises(AnnealError) as error:
            go(resume, max_epochs=12)
        assert str(error.value) == f"on_horizon_change: {LONGER}{end}"
        return
    with pytest.warns(UserWarning, match="length has changed") as warned:
        turns = go(resume, max_epochs=12)
    assert [str(w.message) for w in warned if "length" in str(w.message)] == [LONGER + end]
    assert turns == [(turn, 4 * turn, "b", "c", f"epoch {turn}")]


def test_what_depends_on_nothing_is_not_told_of(tmp_path: Path) -> None:
    """A length of one's own in the last phase, which ends with the run."""
    phases = [phase("a", 2), phase("b", anneal={"beta": linear(0.0, total_steps=3)})]
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    fit(tmp_path, phases, None, saver, enable_checkpointing=True, max_epochs=4)
    # Warnings are errors here.
    fit(tmp_path, phases, ckpt_path=tmp_path / "step=12.ckpt", max_epochs=8)


# -- what a checkpoint holds ----------------------------------------------------------------------------------------


def test_the_state(half: Path) -> None:
    state = torch.load(half, weights_only=True)["callbacks"]["HyperparamAnnealingCallback"]
    assert state["phases"] == {"names": ["a", "b"], "began": [[0, 0, False], [2, 8, False]], "lengths": {}}
    assert state["triggers"]["beta"]["firings"] == 1
    assert state["found"]["loss.margin"] == {"start": [0.2], "lengths": {}, "path": "loss.margin", "interval": "epoch"}


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        ({"began": [[0, 0, False]]}, "AnnealError: checkpoint.phases: holds 1 beginnings of 2 phases"),
        ({"began": [[0, 0, False], [2, -8, False]]}, "AnnealError: checkpoint.phases: must not be negative, got -8"),
        ({"began": [[0, 0, False], [2, 8, "x"]]}, "AnnealError: checkpoint.phases: must be true or false, got 'x'"),
        ({"began": [[0, 0], [2, 8]]}, "ValueError: not enough values to unpack (expected 3, got 2)"),
        ({"names": []}, "AnnealError: checkpoint.phases: holds 2 beginnings of 0 phases"),
        ({"lengths": {"a": "x"}}, "AnnealError: checkpoint.phases.a: must be a number, got 'x'"),
        ({"lengths": None}, "AttributeError: 'NoneType' object has no attribute 'items'"),
    ],
)
def test_a_damaged_state(half: Path, damage: dict[str, Any], line: str) -> None:
    state = torch.load(half, weights_only=True)["callbacks"]["HyperparamAnnealingCallback"]
    callback = HyperparamAnnealingCallback(phases=THREE)
    with pytest.raises(AnnealError) as error:
        callback.load_state_dict({**state, "phases": {**state["phases"], **damage}})
    assert str(error.value) == f"checkpoint: the annealing state is damaged ({line})"
