"""What phases do to parameters: values that they set, and schedules whose time begins with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping

from lightning_anneal import AnnealError, Cosine, Linear
from tests.followed import BATCHES
from tests.phased import Moving, by_step, each, fit, linear, phase, told

WD = "optimizer.param_groups.0.weight_decay"
COUNTER = {"trigger": "early_stopper_counter"}


def three(name: str, *does: Any, until: tuple[Any, Any] = (2, 4)) -> list[dict[str, Any]]:
    """Three phases of 2 epochs, and what each does to a parameter: a value, the settings of a schedule, or nothing."""
    phases = []
    for which, end, what in zip("abc", (*until, None), does, strict=True):
        key = "anneal" if isinstance(what, dict) or callable(what) else "set"
        phases.append(phase(which, end, **({} if what is None else {key: {name: what}})))
    return phases


def values(folder: Path, phases: Any, column: str = "beta", **options: Any) -> list[Any]:
    module, _ = fit(folder, phases, **{"max_epochs": 6, **options})
    return module.column(column)


# -- set ------------------------------------------------------------------------------------------------------------

# Found are beta 1.0, top_k 3, flag False, mode "a", weight_decay 0.02.


@pytest.mark.parametrize(
    ("name", "column", "does", "expected"),
    [
        ("beta", "beta", (0, None, 0.5), [0.0, 0.0, 0.0, 0.0, 0.5, 0.5]),
        ("beta", "beta", (None, "1e-3", None), [1.0, 1.0, 0.001, 0.001, 0.001, 0.001]),
        ("loss.margin", "margin", (None, None, 2), [0.2, 0.2, 0.2, 0.2, 2.0, 2.0]),
        ("temperature", "temperature", (4, None, 8), [4.0, 4.0, 4.0, 4.0, 8.0, 8.0]),
        ("top_k", "top_k", (5, 7.0, None), [5, 5, 7, 7, 7, 7]),
        ("flag", "flag", (None, True, False), [False, False, True, True, False, False]),
        ("mode", "mode", (None, "bb", "ccc"), ["a", "a", "bb", "bb", "ccc", "ccc"]),
        (WD, "group 0", (0.5, None, 0), [[0.125, wd, 0.5] for wd in (0.5, 0.5, 0.5, 0.5, 0.0, 0.0)]),
        ("optimizer.param_groups.*.lr", "group 1", (None, 0.25, None), [[lr, 0.02, 0.5] for lr in (0.0625, 0.0625, 0.25, 0.25, 0.25, 0.25)]),
        ("trainer.accumulate_grad_batches", "accumulate", (2, 4, 1), [2, 2, 4, 4, 1, 1]),
    ],
)  # fmt: skip
def test_set(tmp_path: Path, name: str, column: str, does: Any, expected: list[Any]) -> None:
    assert values(tmp_path, three(name, *does), column) == each(expected)


def test_an_int_stays_one(tmp_path: Path) -> None:
    module, _ = fit(tmp_path, three("top_k", 5, None, 7), max_epochs=6)
    assert type(module.top_k) is int


def test_many_at_once_and_within_an_epoch(tmp_path: Path) -> None:
    second = {"beta": 0.5, "flag": True, "mode": "b", "top_k": 9, WD: 0.25, "temperature": 7}
    module, callback = fit(tmp_path, [phase("a", "6st", set={"beta": 0.0}), phase("b", set=second)], max_epochs=3)
    for name, before, then in (("beta", 0.0, 0.5), ("flag", 0.0, 1.0), ("mode", "a", "b"), ("temperature", 2.0, 7.0)):
        assert module.column(name) == [before] * 6 + [then] * 6
    assert [wd for _, wd, _ in module.column("group 0")] == [0.02] * 6 + [0.25] * 6
    # One row for each, and one for the turn before them.
    assert [(c.step, c.name, c.why) for c in callback.changes] == [
        (0, "beta", "start"), (6, "phase", "step 6"), (6, "beta", "phases"), (6, "flag", "phases"), (6, "mode", "phases"),
        (6, "top_k", "phases"), (6, WD, "phases"), (6, "temperature", "phases"),
    ]  # fmt: skip


def test_steps_are_steps_whatever_a_phase_accumulates(tmp_path: Path) -> None:
    name = "trainer.accumulate_grad_batches"
    phases = [phase("a", "3st", set={name: 1}), phase("b", "5st", set={name: 4}), phase("c", set={name: 2})]
    module, callback = fit(tmp_path, phases, max_epochs=4)
    # Steps 0, 1, 2 at the first batches, 3 at the last of epoch 0 by whatever has accumulated, 4 in epoch 1.
    assert [(epoch, step) for epoch, step, *_ in told(callback)] == [(0, 3), (2, 5)]
    assert module.column("accumulate") == [1] * 3 + [4] * 5 + [2] * 8


# -- anneal ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        # A length that was left out is the phase's: of 2 epochs, the second one trains at the end value.
        ((linear(3.0), None, None), [1.0, 3.0, 3.0, 3.0, 3.0, 3.0]),
        ((None, linear(3.0), None), [1.0, 1.0, 1.0, 3.0, 3.0, 3.0]),
        ((None, None, linear(3.0)), [1.0, 1.0, 1.0, 1.0, 1.0, 3.0]),
        # Where the phase before has ended, and not where its schedule would have.
        ((linear(5.0, total_steps=4), linear(0.0), linear(9.0)), [1.0, 2.0, 2.0, 0.0, 0.0, 9.0]),
        ((linear(5.0, total_steps=4), None, linear(0.0, total_steps=4)), [1.0, 2.0, 2.0, 2.0, 2.0, 1.5]),
        # A start of its own.
        ((linear(5.0, start_value=4.0), linear(8.0, start_value=7.0), None), [4.0, 5.0, 7.0, 8.0, 8.0, 8.0]),
        # Values between schedules.
        ((0.0, linear(1.0), 0.25), [0.0, 0.0, 0.0, 1.0, 0.25, 0.25]),
        ((linear(3.0), 7, linear(0.0)), [1.0, 3.0, 7.0, 7.0, 7.0, 0.0]),
        # Units: epochs, steps of 4 batches, a share of the run of 6.
        ((None, linear(3.0, total_steps="4ep"), None), [1.0, 1.0, 1.0, 1.5, 1.5, 1.5]),
        ((None, linear(3.0, total_steps="8st"), None), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]),
        ((None, None, linear(3.0, total_steps="50%")), [1.0, 1.0, 1.0, 1.0, 1.0, 1 + 2 / 3]),
        # Given in code.
        ((Linear(0, 4, 4), Cosine(8, 0, 2), lambda t: 10 + t), [0.0, 1.0, 8.0, 4.0, 10.0, 11.0]),
        # Others than ramps, on the phase's clock.
        (({"strategy": "milestones", "schedule": {1: 5}}, None, {"strategy": "milestones", "schedule": {1: 6}}), [1.0, 5.0, 5.0, 5.0, 5.0, 6.0]),
        (({"strategy": "cyclical", "cycle_length": 2, "min_value": 0, "max_value": 1, "wave_type": "triangle"}, None, None),
         [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    ],
)  # fmt: skip
def test_by_epoch(tmp_path: Path, does: Any, expected: list[float]) -> None:
    assert values(tmp_path, three("beta", *does)) == pytest.approx(each(expected), rel=1e-15)


# Phases of 6, 4 and 14 steps.
@pytest.mark.parametrize(
    ("does", "expected"),
    [
        ((by_step(6.0), None, None), [1, 2, 3, 4, 5, 6] + [6] * 18),
        ((None, by_step(4.0), None), [1] * 6 + [1, 2, 3, 4] + [4] * 14),
        ((by_step(9.0, total_steps=8), by_step(0.0), None), [1, 2, 3, 4, 5, 6] + [6, 4, 2, 0] + [0] * 14),
        ((0.0, by_step(3.0), by_step(16.0)), [0] * 6 + [0, 1, 2, 3] + list(range(3, 17))),
        ((None, by_step(3.0, start_value=0.0), by_step(5.0, total_steps=2)), [1] * 6 + [0, 1, 2, 3] + [3, 4] + [5] * 12),
        # 4 steps are an epoch.
        ((None, None, by_step(9.0, total_steps="2ep")), [1] * 10 + list(range(1, 10)) + [9] * 5),
    ],
)  # fmt: skip
def test_by_step(tmp_path: Path, does: Any, expected: list[float]) -> None:
    phases = three("beta", *does, until=("6st", "10st"))
    assert values(tmp_path, phases) == pytest.approx([float(value) for value in expected], rel=1e-15)


def test_by_step_in_phases_of_epochs(tmp_path: Path) -> None:
    # 8 steps each, the last of which trains at the end value.
    expected = [1, 2, 3, 4, 5, 6, 7, 8] + [8, 7, 6, 5, 4, 3, 2, 1] + [1] * 8
    assert values(tmp_path, three("beta", by_step(8.0), by_step(1.0), None)) == expected


def test_by_epoch_in_phases_of_steps(tmp_path: Path) -> None:
    # Within epochs 1 and 3: what begins there, begins with what is left of the epoch.
    phases = three("beta", linear(2.0), linear(6.0), linear(0.0), until=("6st", "14st"))
    # The first has epochs 0 and 1, the second 1 to 3, the third 3 to 5.
    expected = [1.0] * 4 + [2.0] * 2 + [2.0] * 2 + [4.0] * 4 + [6.0] * 2 + [6.0] * 2 + [3.0] * 4 + [0.0] * 4
    assert values(tmp_path, phases) == expected


def test_after_an_event(tmp_path: Path) -> None:
    """The count rises first after epoch 2: the last phase has epochs 3 to 5."""
    phases = [
        phase("a", COUNTER, anneal={"beta": linear(9.0, total_steps=8)}),
        phase("b", anneal={"beta": linear(0.0)}),
    ]
    module, _ = fit(tmp_path, phases, None, EarlyStopping("val_loss", patience=6), max_epochs=6)
    assert module.column("beta") == each([1.0, 2.0, 3.0, 3.0, 1.5, 0.0])


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (linear(9.0), "total_steps"),
        ({"strategy": "sequence", "parts": [{**linear(9.0), "duration": 1}, linear(0.0)]}, "duration"),
    ],
)
def test_a_length_within_a_phase_that_an_event_ends(tmp_path: Path, settings: Any, key: str) -> None:
    phases = [phase("a", {**COUNTER, "at_most": 3}, anneal={"beta": settings}), phase("b")]
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, phases, None, EarlyStopping("val_loss", patience=6))
    what = "missing; a trigger ends the phase, so its length isn't known"
    assert str(error.value) == f"phases.a.anneal.beta.{key}: {what}"


def test_parts_that_have_a_length_of_their_own_within_a_phase_that_an_event_ends(tmp_path: Path) -> None:
    restart = {"strategy": "warm_restart", "base": linear(3.0, start_value=0.0), "restart_interval": 2}
    phases = [phase("a", COUNTER, anneal={"beta": restart}), phase("b")]
    module, _ = fit(tmp_path, phases, None, EarlyStopping("val_loss", patience=6), max_epochs=4)
    assert module.column("beta") == each([0.0, 3.0, 0.0, 0.0])


def test_a_run_of_unknown_length_needs_only_what_is_left_out(tmp_path: Path) -> None:
    time = {"max_epochs": -1, "max_time": {"seconds": 30}}
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, three("beta", None, None, linear(3.0)), **time)
    what = "leaving it out needs the length of the run, which is not known; give a number of epochs"
    assert str(error.value) == f"phases.c.anneal.beta.total_steps: {what}"
    stopper = EarlyStopping("val_loss", patience=1)  # it ends the run after epoch 2
    module, _ = fit(tmp_path, three("beta", linear(3.0), None, linear(0.0, total_steps=9)), None, stopper, **time)
    assert module.column("beta") == each([1.0, 3.0, 3.0])


# -- every option of a parameter ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interval", "until", "expected"),
    [
        # Every other epoch, and at once where a phase begins: in epoch 3, then in 4.
        ("epoch", (3, 5), [1.0] * 4 + [1.0] * 4 + [3.0] * 4 + [13.0] * 4 + [23.0] * 4 + [50.0] * 4),
        # Every other step; phases begin with steps 3 and 7.
        ("step", ("3st", "7st"), [1.0, 1.0, 3.0, 13.0, 23.0, 23.0, 43.0] + [50.0] * 17),
    ],
)  # fmt: skip
def test_frequency(tmp_path: Path, interval: str, until: Any, expected: list[float]) -> None:
    timing = {"interval": interval, "frequency": 2}
    first = {**linear(5.0, total_steps=4), **timing}
    second = {**linear(113.0, start_value=13.0, total_steps=10), **timing}
    assert values(tmp_path, three("beta", first, second, 50.0, until=until)) == expected


def test_what_follows_begins_at_what_was_in_force(tmp_path: Path) -> None:
    """With a frequency that is not what the schedule would have come to: 1 1 3 3 3 | 3 ..., not 4."""
    every = {"interval": "epoch", "frequency": 3}
    phases = three(
        "beta", {**linear(6.0, total_steps=5), **every}, None, {**linear(0.0, total_steps=2), **every}, until=(5, 5)
    )
    phases[1] = phase("b", "20st")
    assert values(tmp_path, phases, max_epochs=8) == each([1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 2.0, 2.0])


def test_every_group_goes_on_from_its_own(tmp_path: Path) -> None:
    """The rates are 0.125 and 0.0625."""
    name = "optimizer.param_groups.*.lr"
    phases = three(name, None, linear(0.25, total_steps=2), linear(0.0, total_steps=4))
    module, _ = fit(tmp_path, phases, max_epochs=6)
    first, second = ([lr for lr, *_ in module.column(f"group {i}")] for i in (0, 1))
    assert first == each([0.125, 0.125, 0.125, 0.1875, 0.1875, 0.140625])
    assert second == each([0.0625, 0.0625, 0.0625, 0.15625, 0.15625, 0.1171875])


def test_round(tmp_path: Path) -> None:
    phases = three("top_k", linear(6.0, round=True, total_steps=2), None, 8)
    assert values(tmp_path, phases, "top_k") == each([3, 5, 5, 5, 8, 8])


@pytest.mark.parametrize(
    ("does", "where"),
    [
        # What is known before is told before.
        ((None, linear(6.0, start_value=3.0, total_steps=2), None), "phases.b.anneal.top_k"),
        ((linear(5.0), 2.5, None), "phases.b.set.top_k"),
    ],
)
def test_an_int_takes_no_fractions(tmp_path: Path, does: Any, where: str) -> None:
    with pytest.raises(AnnealError, match="holds an int and would get") as error:
        fit(tmp_path, three("top_k", *does))
    assert error.value.where == where


@pytest.mark.parametrize(
    ("does", "line"),
    [
        ((None, -1, None), f"{WD}: weight_decay must be at least 0, and would go to -1"),
        ((linear(0.0), -1, None), f"phases.b.set.{WD}: weight_decay must be at least 0, and would go to -1"),
        ((None, linear(-1.0), None), f"phases.b.anneal.{WD}: weight_decay must be at least 0, and would go to -1"),
    ],
)
def test_what_no_optimizer_takes(tmp_path: Path, does: Any, line: str) -> None:
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, three(WD, *does))
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("betta", 1, "betta: Moving has no attribute 'betta'; did you mean 'beta'?"),
        ("flag", 1, "flag: holds true or false, and its values are numbers; give booleans"),
        ("beta", True, "beta: holds a number, and its values are booleans; give numbers"),
        ("beta", "low", "beta: holds a number, and its values are strings; give numbers"),
        ("mode", 1, "mode: holds a string, and its values are numbers; give strings"),
        ("trainer.max_epochs", 1, "trainer.max_epochs: the trainer's 'max_epochs' can't be changed while it trains; "
         "known: accumulate_grad_batches, gradient_clip_val, log_every_n_steps"),
        ("trainer.accumulate_grad_batches", 0, "trainer.accumulate_grad_batches: accumulate_grad_batches must be at least 1, and would go to 0"),
    ],
)  # fmt: skip
def test_what_is_found_out_when_fit_starts(tmp_path: Path, name: str, value: Any, line: str) -> None:
    with pytest.raises(AnnealError) as error:
        fit(tmp_path, three(name, None, value, None))
    assert str(error.value) == line


def test_as_tensor(tmp_path: Path) -> None:
    kinds: set[Any] = set()

    class Tensors(Moving):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            kinds.add((type(self.beta), id(self.beta)))
            return super().training_step(batch, batch_idx)

    phases = three("beta", by_step(8.0, as_tensor=True), 0.1, by_step(0.0, as_tensor=True), until=("6st", "10st"))
    module, callback = fit(tmp_path, phases, module=Tensors(), max_epochs=3)
    # One tensor that is filled, and a number again in the end; 0.1 is what 32 bits hold of it.
    [(kind, _)] = kinds
    assert kind is torch.Tensor
    low = float(torch.tensor(0.1))
    seen = [values["beta"] for values in module.column("HyperparamAnnealingCallback")]
    assert (seen[5], seen[6:10], seen[11]) == (8.0, [low] * 4, 0.0)
    assert module.beta == 0.0
    assert type(module.beta) is float
    assert callback.values == {"beta": 0.0}


def test_eval_value(tmp_path: Path) -> None:
    phases = three("beta", linear(3.0, eval_value=7.0), 5.0, linear(0.0, eval_value=7.0))
    module = Moving()
    validated: list[float] = []
    step = module.validation_step

    def validation_step(batch: Any, batch_idx: int) -> None:
        validated.append(module.beta)
        step(batch, batch_idx)

    module.validation_step = validation_step  # type: ignore[method-assign]
    fit(tmp_path, phases, module=module, max_epochs=6)
    assert set(validated) == {7.0}
    assert module.column("beta") == each([1.0, 3.0, 5.0, 5.0, 5.0, 0.0])


# -- a phase of no length -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("does", "expected"),
    [
        # What it sets stays; what it anneals has come to its first value.
        ((None, 5.0, None), 5.0),
        ((None, linear(9.0, start_value=5.0), None), 5.0),
        ((None, linear(9.0), None), 1.0),
        ((None, lambda t: 5 + 2 * t, None), 5.0),
        ((linear(3.0, total_steps=1), None, None), 3.0),
    ],
)
@pytest.mark.parametrize("until", [(2, "8st"), ("6st", 1)])
def test_a_phase_that_is_over_at_once(tmp_path: Path, does: Any, expected: float, until: Any) -> None:
    seen = values(tmp_path, three("beta", *does, until=until), max_epochs=3)
    assert seen[-BATCHES:] == [expected] * BATCHES


# -- the audit ------------------------------------------------------------------------------------------------------


def test_rows_by_step(tmp_path: Path) -> None:
    """Of a ramp the first and the last value, and nothing that was never in force."""
    first = by_step(8.0, start_value=0.0, total_steps=8)  # which the phase is as long as
    phases = three("beta", first, 3.0, by_step(13.0, total_steps=10), until=("8st", "10st"))
    _, callback = fit(tmp_path, phases, max_epochs=6)
    assert told(callback, "beta") == [
        (0, 0, 1.0, 0.0, "schedule"), (2, 8, 7.0, 3.0, "schedule"), (2, 11, 3.0, 4.0, "schedule"), (5, 20, 12.0, 13.0, "schedule"),
    ]  # fmt: skip


def test_rows_by_epoch(tmp_path: Path) -> None:
    phases = three("beta", linear(3.0, total_steps=2), None, linear(0.0), until=("6st", 3))
    _, callback = fit(tmp_path, phases, max_epochs=6)
    assert [(c.epoch, c.step, c.name, c.old, c.new) for c in callback.changes] == [
        (1, 4, "beta", 1.0, 2.0), (1, 6, "phase", "a", "b"), (3, 12, "phase", "b", "c"), (4, 16, "beta", 2.0, 1.0), (5, 20, "beta", 1.0, 0.0),
    ]  # fmt: skip
