"""When a phase gives way to the next one: by time, and by every event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import EarlyStopping

from lightning_anneal import AnnealError
from tests.followed import BATCHES
from tests.phased import Moving, fit, phase, told

NEVER = {"trigger": "metric_below", "monitor": "val_loss", "threshold": -1}


def after(*until: Any, last: str = "last") -> list[dict[str, Any]]:
    """Phases called a, b, c, ... that end so, and a last one; ``+2`` stands for a duration of 2."""
    phases = []
    for name, end in zip("abcd", until, strict=False):
        is_duration = isinstance(end, str) and end.startswith("+")
        phases.append({"name": name, ("duration" if is_duration else "until"): end[1:] if is_duration else end})
    return [*phases, {"name": last}]


# -- by time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("phases", "options", "expected"),
    [
        # Epochs: 4 batches each, 6 of them.
        (after(2), {}, [(2, 8, "a", "last", "epoch 2")]),
        (after("2ep", 3.0), {}, [(2, 8, "a", "b", "epoch 2"), (3, 12, "b", "last", "epoch 3")]),
        (after(1.5), {}, [(2, 8, "a", "last", "epoch 1.5")]),
        (after("+2", "+3ep"), {}, [(2, 8, "a", "b", "epoch 2"), (5, 20, "b", "last", "epoch 5")]),
        # Steps: within an epoch, and on its edge.
        (after("6st"), {}, [(1, 6, "a", "last", "step 6")]),
        (after("8st"), {}, [(2, 8, "a", "last", "step 8")]),
        (after("1st", "2st"), {}, [(0, 1, "a", "b", "step 1"), (0, 2, "b", "last", "step 2")]),
        (after("+6st", "+3st"), {}, [(1, 6, "a", "b", "step 6"), (2, 9, "b", "last", "step 9")]),
        # Steps and epochs: the epoch in which a phase begins is its first, however much of it is over.
        (after("6st", "+1ep"), {}, [(1, 6, "a", "b", "step 6"), (2, 8, "b", "last", "epoch 2")]),
        (after(1, "+5st", "+2"), {}, [(1, 4, "a", "b", "epoch 1"), (2, 9, "b", "c", "step 9"), (4, 16, "c", "last", "epoch 4")]),
        # Shares of 6 epochs, and of 3 that are 12 steps.
        (after("50%"), {}, [(3, 12, "a", "last", "epoch 3")]),
        (after("40%", "+20%"), {}, [(3, 12, "a", "b", "epoch 2.4"), (5, 20, "b", "last", "epoch 4.2")]),
        (after("50%"), {"max_steps": 12}, [(2, 8, "a", "last", "epoch 1.5")]),
        # A run that is planned in steps has shares in steps.
        (after("30%"), {"max_steps": 20, "max_epochs": -1}, [(1, 6, "a", "last", "step 6")]),
        # Several at once: of the middle one no step is trained.
        (after(2, "8st", "+3"), {}, [(2, 8, "a", "b", "epoch 2"), (2, 8, "b", "c", "step 8"), (5, 20, "c", "last", "epoch 5")]),
        (after("6st", 1, "+4st"), {}, [(1, 6, "a", "b", "step 6"), (1, 6, "b", "c", "epoch 1"), (2, 10, "c", "last", "step 10")]),
        # At most.
        (after({**NEVER, "at_most": 2}), {}, [(2, 8, "a", "last", "epoch 2, at most 2")]),
        (after("6st", {**NEVER, "at_most": "3st"}), {}, [(1, 6, "a", "b", "step 6"), (2, 9, "b", "last", "step 9, at most 3st")]),
        (after(1, {**NEVER, "at_most": "50%"}), {}, [(1, 4, "a", "b", "epoch 1"), (4, 16, "b", "last", "epoch 4, at most 50%")]),
        # Two batches make a step.
        (after("3st", "+2"), {"accumulate_grad_batches": 2}, [(1, 3, "a", "b", "step 3"), (3, 6, "b", "last", "epoch 3")]),
        # Nothing follows the last one.
        ([phase("only", 2)], {}, []),
        ([phase("only")], {}, []),
    ],
)  # fmt: skip
def test_by_time(tmp_path: Path, phases: Any, options: dict[str, Any], expected: list[Any]) -> None:
    module, callback = fit(tmp_path, phases, **{"max_epochs": 6, **options})
    assert told(callback) == expected
    per_batch = options.get("accumulate_grad_batches", 1)
    # By batches; where several ended at once, only the last one was seen.
    last = {step: (epoch, step * per_batch % BATCHES, new) for epoch, step, _, new, _ in expected}
    assert module.turns() == list(last.values())
    assert module.column("phase")[0] == phases[0]["name"]
    assert callback.phase == (expected[-1][3] if expected else phases[0]["name"])


@pytest.mark.parametrize(
    ("phases", "options", "line"),
    [
        (after(9), {}, "phases.a: ends at epoch 9 of a run of 6, so 'last' never begins"),
        (after(2, 6), {}, "phases.b: ends at epoch 6 of a run of 6, so 'last' never begins"),
        (after(2, "+2", "+3"), {}, "phases.c: ends at epoch 7 of a run of 6, so 'last' never begins"),
        (after("30st"), {}, "phases.a: ends at step 30 of a run of 24, so 'last' never begins"),
        (after(NEVER, 7), {}, "phases.b: ends at epoch 7 of a run of 6, so 'last' never begins"),
    ],
)
def test_a_phase_that_never_begins_is_told_of(tmp_path: Path, phases: Any, options: Any, line: str) -> None:
    with pytest.warns(UserWarning, match="never begins") as warned:
        fit(tmp_path, phases, max_epochs=6, **options)
    assert [str(w.message) for w in warned if "never" in str(w.message)] == [line]


@pytest.mark.parametrize("phases", [after({**NEVER, "at_most": 9}), after("6st", "+9ep"), after(NEVER, "+9")])
def test_what_time_alone_does_not_tell_is_not_told_of(tmp_path: Path, phases: Any) -> None:
    # Warnings are errors here.
    fit(tmp_path, phases, max_epochs=6)


@pytest.mark.parametrize(
    ("phases", "line"),
    [
        (after("30%"), "phases.a.until: '30%' needs the length of the run, which is not known; give a number of epochs"),
        (after("+30%"), "phases.a.duration: '30%' needs the length of the run, which is not known; give a number of epochs"),
        (after({**NEVER, "at_most": "9%"}),
         "phases.a.until.at_most: '9%' needs the length of the run, which is not known; give a number of epochs"),
    ],
)  # fmt: skip
def test_a_run_of_unknown_length(tmp_path: Path, phases: Any, line: str) -> None:
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, phases, max_epochs=-1, max_time={"seconds": 30})
    assert str(error.value) == line


class Ends(EarlyStopping):
    """Ends a run of unknown length."""

    def __init__(self, after_epochs: int) -> None:
        super().__init__("val_loss", patience=99)
        self.after_epochs = after_epochs

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.after_epochs


def test_a_run_of_unknown_length_has_phases_all_the_same(tmp_path: Path) -> None:
    phases = after("2ep", {**NEVER, "at_most": "6st"})
    module, _ = fit(tmp_path, phases, None, Ends(5), max_epochs=-1)
    assert module.turns() == [(2, 0, "b"), (3, 2, "last")]


# -- by an event ----------------------------------------------------------------------------------------------------


def on(trigger: str, **settings: Any) -> dict[str, Any]:
    return {"trigger": trigger, **settings}


def metric(which: str, **settings: Any) -> dict[str, Any]:
    return on(f"metric_{which}", monitor="val_loss", **settings)


COUNTER = on("early_stopper_counter")

# The losses are, epoch by epoch, and what EarlyStopping counts after each:
#   5.0  4.0  4.5  4.0  4.25 3.0  3.5  6.0  2.0  2.5  2.0  7.0
#   0    0    1    2    3    0    1    2    0    1    2    3
# The patience is 6. A phase gives way at the start of the epoch after the event.


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (after(COUNTER), [(3, 12, "a", "last", "early_stopper_counter 0 -> 1")]),
        (after(on("early_stopper_half_patience")), [(5, 20, "a", "last", "early_stopper_half_patience (3 of 6)")]),
        (after(on("early_stopper_third_patience")), [(4, 16, "a", "last", "early_stopper_third_patience (2 of 6)")]),
        (after(metric("below", threshold=3.25)), [(6, 24, "a", "last", "metric_below val_loss 3 < 3.25")]),
        (after(metric("above", threshold=5.5)), [(8, 32, "a", "last", "metric_above val_loss 6 > 5.5")]),
        # Two that are no better than 4: 4.5 and 4.
        (after(metric("plateau", patience=2)), [(4, 16, "a", "last", "metric_plateau val_loss no better than 4 for 2 polls")]),
        # Each has an event of its own.
        (after(COUNTER, COUNTER, COUNTER),
         [(3, 12, "a", "b", "early_stopper_counter 0 -> 1"), (4, 16, "b", "c", "early_stopper_counter 1 -> 2"),
          (5, 20, "c", "last", "early_stopper_counter 2 -> 3")]),
        # A count that has risen before is no event: 2 at the start of epoch 4, 3 after it.
        (after(4, COUNTER), [(4, 16, "a", "b", "epoch 4"), (5, 20, "b", "last", "early_stopper_counter 2 -> 3")]),
        (after(4, on("early_stopper_half_patience")),
         [(4, 16, "a", "b", "epoch 4"), (5, 20, "b", "last", "early_stopper_half_patience (3 of 6)")]),
        # The third was reached before epoch 4, and is again after epoch 7.
        (after(4, on("early_stopper_third_patience")),
         [(4, 16, "a", "b", "epoch 4"), (8, 32, "b", "last", "early_stopper_third_patience (2 of 6)")]),
        # The same where the phase begins within an epoch, with a count of 1 or 2.
        (after("14st", COUNTER), [(3, 14, "a", "b", "step 14"), (4, 16, "b", "last", "early_stopper_counter 1 -> 2")]),
        (after("17st", on("early_stopper_third_patience")),
         [(4, 17, "a", "b", "step 17"), (8, 32, "b", "last", "early_stopper_third_patience (2 of 6)")]),
        # Of a metric only what is measured within the phase counts, but its level is enough.
        (after(6, metric("below", threshold=3.25)), [(6, 24, "a", "b", "epoch 6"), (9, 36, "b", "last", "metric_below val_loss 2 < 3.25")]),
        (after(2, metric("below", threshold=4.75)), [(2, 8, "a", "b", "epoch 2"), (3, 12, "b", "last", "metric_below val_loss 4.5 < 4.75")]),
        # 4 is the first, 4.25 worse, 3 better, 3.5 and 6 worse.
        (after(3, metric("plateau", patience=2)),
         [(3, 12, "a", "b", "epoch 3"), (8, 32, "b", "last", "metric_plateau val_loss no better than 3 for 2 polls")]),
        # The event or the time, whichever comes first.
        (after({**COUNTER, "at_most": 5}), [(3, 12, "a", "last", "early_stopper_counter 0 -> 1")]),
        (after({**COUNTER, "at_most": 3}), [(3, 12, "a", "last", "epoch 3, at most 3")]),
        (after({**COUNTER, "at_most": "10st"}), [(2, 10, "a", "last", "step 10, at most 10st")]),
        # An event of a phase that is over, or to come, ends nothing.
        (after(4, metric("above", threshold=4.75), COUNTER), [(4, 16, "a", "b", "epoch 4"), (8, 32, "b", "c", "metric_above val_loss 6 > 4.75"),
                                                             (10, 40, "c", "last", "early_stopper_counter 0 -> 1")]),
    ],
)  # fmt: skip
def test_by_event(tmp_path: Path, phases: Any, expected: list[Any]) -> None:
    module, callback = fit(tmp_path, phases, None, EarlyStopping("val_loss", patience=6))
    assert told(callback) == expected
    assert module.turns() == [(epoch, step % BATCHES, new) for epoch, step, _, new, _ in expected]


def test_a_count_that_stands_is_no_event(tmp_path: Path) -> None:
    """With a validation every other epoch: losses 4, 4, 3, 6, counts 0, 1, 0, 1."""
    stopper = EarlyStopping("val_loss", patience=6)
    _, callback = fit(tmp_path, after("18st", COUNTER), None, stopper, check_val_every_n_epoch=2)
    assert told(callback)[1:] == [(8, 32, "b", "last", "early_stopper_counter 0 -> 1")]


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        # The rate falls after the bad losses of epochs 2 and 3, of 6 and 7, and of 9 and 10.
        (after(on("lr_scheduler_triggered")), [(4, 16, "a", "last", "lr_scheduler_triggered 0.125 -> 0.0625, 0.0625 -> 0.03125")]),
        (after("17st", on("lr_scheduler_triggered")),
         [(4, 17, "a", "b", "step 17"), (8, 32, "b", "last", "lr_scheduler_triggered 0.0625 -> 0.03125, 0.03125 -> 0.015625")]),
    ],
)  # fmt: skip
def test_by_a_learning_rate(tmp_path: Path, phases: Any, expected: list[Any]) -> None:
    _, callback = fit(tmp_path, phases, module=Moving(plateau={}))
    assert told(callback) == expected


def test_a_stop_that_does_not_end_the_run(tmp_path: Path) -> None:
    """The patience of 2 runs out after epoch 3, and again after epoch 7."""
    phases, stopper = (
        after(on("early_stopper_triggered"), on("early_stopper_triggered")),
        EarlyStopping("val_loss", patience=2),
    )
    module, _ = fit(tmp_path, phases, None, stopper, min_epochs=10)
    assert module.turns() == [(4, 0, "b"), (8, 0, "last")]


# Losses 5, 4 in epoch 0; 4.5, 4 in epoch 1; 4.25, 3 in epoch 2; 3.5, 6 in epoch 3.
@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (after(metric("above", threshold=4.75)), [(0, 2, "a", "last", "metric_above val_loss 5 > 4.75")]),
        (after(metric("below", threshold=4.25)), [(1, 4, "a", "last", "metric_below val_loss 4 < 4.25")]),
        (after(1, metric("above", threshold=4.25)), [(1, 4, "a", "b", "epoch 1"), (1, 6, "b", "last", "metric_above val_loss 4.5 > 4.25")]),
        # A validation and a step at once: what was measured before the phase began isn't its own.
        (after("6st", metric("above", threshold=4.25)), [(1, 6, "a", "b", "step 6"), (4, 16, "b", "last", "metric_above val_loss 6 > 4.25")]),
        (after(COUNTER), [(1, 6, "a", "last", "early_stopper_counter 0 -> 1")]),
    ],
)  # fmt: skip
def test_a_validation_within_an_epoch(tmp_path: Path, phases: Any, expected: list[Any]) -> None:
    module = Moving(validate_every=2)
    stopper = EarlyStopping("val_loss", patience=6)
    module, callback = fit(tmp_path, phases, None, stopper, module=module, max_epochs=5, val_check_interval=0.5)
    assert told(callback) == expected
    assert module.turns() == [(epoch, step % BATCHES, new) for epoch, step, _, new, _ in expected]
