"""A run goes on under another config than the one that wrote its checkpoint: one warning, one line, or known values.

The checkpoint is a real one, of a fit of 8 epochs of 2 steps, saved at the end of epoch 3, before EarlyStopping has
looked at it: the resumed fit begins with epoch 4 and step 8. Its module begins at 1, as the first one did. What is written into a state by hand goes back into the
very same file.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping

from lightning_anneal import AnnealError, BetaScheduleCallback, HyperparamAnnealingCallback
from tests.tiny import Tiny, trainer_for

EPOCHS, BATCHES = 8, 2

# No better than the best after epochs 2, 3, 5 and 6.
LOSSES = [5.0, 4.0, 4.0, 4.0, 3.0, 3.0, 3.0, 2.0]


class Module(Tiny):
    """Its `beta` may be a number, a boolean or a string; `told` has it for every step."""

    def __init__(self, beta: Any = 1.0) -> None:
        super().__init__(batches=BATCHES)
        self.beta = beta
        self.other = 5.0
        self.global_kl_weight = self.local_kl_weight = 1.0
        self.told: list[Any] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.told.append((self.beta, self.other, self.global_kl_weight))
        return self.layer(batch[0]).pow(2).mean()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", torch.tensor(LOSSES[self.current_epoch]))


class SavesAfter(Callback):
    """Saves a checkpoint when an epoch has ended."""

    def __init__(self, file: Path, epoch: int) -> None:
        self.file, self.epoch = file, epoch

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.file)
            trainer.should_stop = True


def anneal(name: str | None = None, **params: Any) -> HyperparamAnnealingCallback:
    return HyperparamAnnealingCallback(params, name=name)


def linear(**settings: Any) -> dict[str, Any]:
    """From the value found to 9."""
    return {"strategy": "linear", "end_value": 9.0, **settings}


def on(source: str = "metric_plateau", **settings: Any) -> dict[str, Any]:
    """Fires at the start of each epoch that follows a bad one."""
    watched = {"monitor": "val_loss", "patience": 1} if source == "metric_plateau" else {}
    answer = {} if "multiply" in settings else {"values": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    return {"strategy": "trigger_based", "trigger_source": source, **watched, **answer, **settings}


def beta(kind: str, *, attr_name: str = "beta", interval: str | None = None, **params: Any) -> BetaScheduleCallback:
    return BetaScheduleCallback(kind, params, attr_name=attr_name, interval=interval)


Make = Callable[[], Callback]
Edit = Callable[[dict[str, Any]], object]


def saved(folder: Path, callback: Callback, first: Any = 1.0) -> Path:
    """The checkpoint of the first run."""
    stopper = EarlyStopping("val_loss", patience=9)
    trainer_for(folder, callback, stopper, SavesAfter(folder / "c.ckpt", 3), max_epochs=EPOCHS).fit(Module(first))
    return folder / "c.ckpt"


def resumed(file: Path, callback: Callback, begin: Any = 1.0) -> tuple[Module, list[str]]:
    """The module of the second run, and the warnings that the package has given."""
    module = Module(begin)
    stopper = EarlyStopping("val_loss", patience=9)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer_for(file.parent, callback, stopper, max_epochs=EPOCHS).fit(module, ckpt_path=file)
    ours = [w for w in caught if "lightning_anneal" in w.filename or "annealed parameters" in str(w.message)]
    assert len(module.told) == 8
    return module, [str(w.message) for w in ours]


IN_SIX = [1 + 8 * 4 / 6, 1 + 8 * 5 / 6, 9.0, 9.0]
"""From 1 to 9 in 6 epochs: epochs 4 to 7."""

CHANGED = "annealed parameters have changed since the checkpoint"

# What was annealed, what is annealed now, the warning, and beta in epochs 4 to 7.
RULES: dict[str, tuple[Make, Make, str, list[Any]]] = {
    "nothing": (lambda: anneal(beta=linear(total_steps=8)), lambda: anneal(beta=linear(total_steps=8)), "", [5, 6, 7, 8]),
    # What is added begins at the value found, on the run's clock.
    "added": (
        lambda: anneal(other=linear()),
        lambda: anneal(other=linear(), beta=linear(total_steps=8)),
        f"{CHANGED} (added: beta)",
        [5, 6, 7, 8],
    ),
    # What is dropped stays as the module has it.
    "removed": (lambda: anneal(beta=linear(), other=linear()), lambda: anneal(other=linear()), f"{CHANGED} (dropped: beta)", [1] * 4),
    "all removed": (
        lambda: anneal(beta=linear()),
        lambda: anneal(other=linear()),
        f"{CHANGED} (added: other; dropped: beta)",
        [1] * 4,
    ),
    "renamed": (
        lambda: anneal(weight=linear(attr_name="beta", total_steps=8)),
        lambda: anneal(kl=linear(attr_name="beta", total_steps=8)),
        f"{CHANGED} (added: kl; dropped: weight)",
        [5, 6, 7, 8],
    ),
    # 5 was the start of `other`.
    "another place": (
        lambda: anneal(weight=linear(attr_name="other", total_steps=8)),
        lambda: anneal(weight=linear(attr_name="beta", total_steps=8)),
        f"{CHANGED} (another place or kind: weight)",
        [5, 6, 7, 8],
    ),
    "schedule, now a trigger": (lambda: anneal(beta=linear()), lambda: anneal(beta=on()), "", [0, 0, 1, 2]),
    "schedule, now a factor": (lambda: anneal(beta=linear()), lambda: anneal(beta=on(multiply=2.0)), "", [1, 1, 2, 4]),
    "trigger, now a schedule": (lambda: anneal(beta=on()), lambda: anneal(beta=linear(total_steps=8)), "", [5, 6, 7, 8]),
    # It had fired once, which counts for the new one, too; what it has seen doesn't. Counts: 1 at the start, 0, 1, 2.
    "another source": (
        lambda: anneal(beta=on()),
        lambda: anneal(beta=on("early_stopper_counter")),
        "",
        [1, 1, 2, 3],
    ),
    "another metric": (
        lambda: anneal(beta=on()),
        lambda: anneal(beta=on("metric_below", monitor="val_loss", threshold=3.5, values=[0.0, 1.0, 2.0, 3.0])),
        "",
        # Epoch 4 was the first below 3.5.
        [1, 2, 2, 2],
    ),
    # 1 + 8 * (t / 8)**2
    "another strategy": (
        lambda: anneal(beta=linear(total_steps=8)),
        lambda: anneal(beta=linear(strategy="polynomial", power=2, total_steps=8)),
        "",
        [1 + 8 * share for share in (16 / 64, 25 / 64, 36 / 64, 49 / 64)],
    ),
    "a list that ends before the index": (
        lambda: anneal(beta=on(current_index=2)),
        lambda: anneal(beta=on(values=[0.0, 7.0])),
        "",
        # Twice by the start of epoch 4, then at those of 6 and 7.
        [7] * 4,
    ),
    "a shorter list in a circle": (
        lambda: anneal(beta=on(current_index=2)),
        lambda: anneal(beta=on(values=[0.0, 7.0], at_end="cycle")),
        "",
        [0, 0, 7, 0],
    ),
    "another total_steps": (lambda: anneal(beta=linear(total_steps=8)), lambda: anneal(beta=linear(total_steps=6)), "", IN_SIX),
    "another total_steps in per cent": (
        lambda: anneal(beta=linear(total_steps="100%")),
        lambda: anneal(beta=linear(total_steps="75%")),
        "",
        IN_SIX,
    ),
    "total_steps left out": (
        lambda: anneal(beta=linear(total_steps=4)),
        lambda: anneal(beta=linear()),
        "",
        [1 + 8 * t / 7 for t in (4, 5, 6, 7)],
    ),
    # Strings and booleans have been there; the module has a number now.
    "strings, now numbers": (
        lambda: anneal(beta=on(values=["a", "b"])),
        lambda: anneal(beta=linear(total_steps=8)),
        f"{CHANGED} (another place or kind: beta)",
        [5, 6, 7, 8],
    ),
    "booleans, now a factor": (
        lambda: anneal(beta=on(values=[True, False])),
        lambda: anneal(beta=on(multiply=2.0)),
        f"{CHANGED} (another place or kind: beta)",
        [4, 4, 8, 16],
    ),
    "numbers, now strings": (
        lambda: anneal(beta=linear()),
        lambda: anneal(beta=on(values=["a", "b", "c"])),
        f"{CHANGED} (another place or kind: beta)",
        ["a", "a", "b", "c"],
    ),
    "another name of the callback": (lambda: anneal("old", beta=linear(total_steps=4)), lambda: anneal("new", beta=linear(total_steps=8)), "", [5, 6, 7, 8]),
    "a callback that gets a name": (lambda: anneal(beta=on()), lambda: anneal("new", beta=on()), "", [0, 0, 1, 2]),
    "another class of callback": (
        lambda: anneal(beta=linear()),
        lambda: beta("linear", max_beta=8, warmup_epochs=8),
        "",
        [4, 5, 6, 7],
    ),
    "beta, another length": (
        lambda: beta("linear", max_beta=8, warmup_epochs="100%"),
        lambda: beta("linear", max_beta=8, warmup_epochs="75%"),
        "",
        [32 / 6, 40 / 6, 8, 8],
    ),
    "beta, another type": (
        lambda: beta("linear", max_beta=8, warmup_epochs="100%"),
        # 0 at even epochs, 4 at odd ones.
        lambda: beta("cyclical", min_beta=0, max_beta=4, cycle_length="25%", wave_type="triangle"),
        "",
        [0, 4, 0, 4],
    ),
    "beta, now hierarchical": (
        lambda: beta("linear", max_beta=8, warmup_epochs=8),
        lambda: beta(
            "hierarchical",
            global_scheduler={"type": "linear", "max_beta": 8, "warmup_epochs": 8},
            local_scheduler={"type": "constant", "max_beta": 2},
        ),
        f"{CHANGED} (added: global_kl_weight, local_kl_weight; dropped: beta)",
        [1] * 4,
    ),
    "beta, another place": (
        lambda: beta("linear", max_beta=8, warmup_epochs=8),
        lambda: beta("linear", attr_name="other", max_beta=8, warmup_epochs=8),
        f"{CHANGED} (another place or kind: beta)",
        [1] * 4,
    ),
}  # fmt: skip

FIRST = {"strings, now numbers": "z", "booleans, now a factor": False}
BEGIN = {"numbers, now strings": "z"}


@pytest.mark.parametrize("case", RULES)
def test_another_config(tmp_path: Path, case: str) -> None:
    before, now, warning, expected = RULES[case]
    module, told = resumed(saved(tmp_path, before(), FIRST.get(case, 1.0)), now(), BEGIN.get(case, 1.0))
    assert told == ([warning] if warning else [])
    assert [value for value, *_ in module.told[::BATCHES]] == (
        expected if isinstance(expected[0], str) else pytest.approx(expected, rel=1e-12)
    )


def test_what_a_hierarchical_beta_goes_on_with(tmp_path: Path) -> None:
    before, now, *_ = RULES["beta, now hierarchical"]
    module, _ = resumed(saved(tmp_path, before()), now())
    assert [value for *_, value in module.told[::BATCHES]] == [4, 5, 6, 7]
    assert module.local_kl_weight == 2.0


# What the length was, and is now by step; beta in the steps 8 to 15, of 16: from 1 to 9.
BY_STEP: dict[str, tuple[dict[str, Any], dict[str, Any], list[float]]] = {
    "a length in per cent": ({"total_steps": "100%"}, {"total_steps": "100%"}, [1 + t / 2 for t in range(8, 16)]),
    "a length left out": ({}, {}, [1 + 8 * t / 15 for t in range(8, 16)]),
    "a length in epochs": ({"total_steps": "8ep"}, {"total_steps": "8ep"}, [1 + t / 2 for t in range(8, 16)]),
    "a number": ({"total_steps": 8}, {"total_steps": 16}, [1 + t / 2 for t in range(8, 16)]),
}


@pytest.mark.parametrize("case", BY_STEP)
def test_by_epoch_and_then_by_step(tmp_path: Path, case: str) -> None:
    before, now, expected = BY_STEP[case]
    file = saved(tmp_path, anneal(beta=linear(**before)))
    module, told = resumed(file, anneal(beta=linear(interval="step", **now)))
    assert told == []
    assert [value for value, *_ in module.told] == pytest.approx(expected, rel=1e-12)


def test_by_step_and_then_by_epoch(tmp_path: Path) -> None:
    file = saved(tmp_path, anneal(beta=linear(interval="step", total_steps="100%")))
    module, told = resumed(file, anneal(beta=linear(total_steps="100%")))
    assert told == []
    assert [value for value, *_ in module.told] == [t + 1 for t in (4, 4, 5, 5, 6, 6, 7, 7)]


def test_beta_by_epoch_and_then_by_step(tmp_path: Path) -> None:
    params = {"max_beta": 8, "warmup_epochs": "100%"}
    module, told = resumed(saved(tmp_path, beta("linear", **params)), beta("linear", interval="step", **params))
    assert told == []
    assert [value for value, *_ in module.told] == [t / 2 for t in range(8, 16)]


# What both runs anneal where only the state is another one: `beta` a schedule of length "100%", `other` a trigger.
def both() -> HyperparamAnnealingCallback:
    return anneal(beta=linear(total_steps="100%"), other=on())


KEY = both().state_key
DAMAGED = "checkpoint: the annealing state is damaged "


def put(*path: Any) -> Edit:
    """Puts a value in a state: keys, and then the value."""

    def edit(state: dict[str, Any]) -> None:
        *keys, last, value = path
        for key in keys:
            state = state[key]
        state[last] = value

    return edit


def drop(*path: Any) -> Edit:
    """Takes a key out of a state."""

    def edit(state: dict[str, Any]) -> None:
        for key in path[:-1]:
            state = state[key]
        del state[path[-1]]

    return edit


def first_version(state: dict[str, Any]) -> None:
    """As the first version had it: no triggers, no length of the run, no places."""
    state["version"] = 1
    for key in ("triggers", "run", "steps_done", "poll"):
        del state[key]
    for entry in state["found"].values():
        del entry["path"], entry["interval"]


ERRORS: dict[str, tuple[Edit, str]] = {
    "of a newer version": (put("version", 3), "checkpoint: was written by a newer lightning_anneal (state 3); update it"),
    "no version": (drop("version"), "checkpoint: holds no state of an annealing callback"),
    "version in words": (put("version", "two"), "checkpoint.version: must be a number, got 'two'"),
    "version 0": (put("version", 0), "checkpoint.version: must be positive, got 0"),
    "no epoch": (drop("epoch"), f"{DAMAGED}(KeyError: 'epoch')"),
    "no step": (drop("step"), f"{DAMAGED}(KeyError: 'step')"),
    "nothing found": (drop("found"), f"{DAMAGED}(KeyError: 'found')"),
    "no start": (drop("found", "beta", "start"), f"{DAMAGED}(KeyError: 'start')"),
    "no lengths": (drop("found", "beta", "lengths"), f"{DAMAGED}(KeyError: 'lengths')"),
    "no firings": (drop("triggers", "other", "firings"), f"{DAMAGED}(KeyError: 'firings')"),
    "no level": (drop("triggers", "other", "seen", "level"), f"{DAMAGED}(KeyError: 'level')"),
    "epoch in words": (put("epoch", "three"), f"{DAMAGED}(AnnealError: checkpoint.epoch: must be a number, got 'three')"),
    "epoch of none": (put("epoch", None), f"{DAMAGED}(AnnealError: checkpoint.epoch: must be a number, got None)"),
    "epoch before the first": (put("epoch", -1), f"{DAMAGED}(AnnealError: checkpoint.epoch: must not be negative, got -1)"),
    "half a step": (put("step", 5.5), f"{DAMAGED}(AnnealError: checkpoint.step: must be a whole number, got 5.5)"),
    "steps in words": (put("steps_done", "six"), "checkpoint.steps_done: must be a number, got 'six'"),
    "steps before the first": (put("steps_done", -6), "checkpoint.steps_done: must not be negative, got -6"),
    "found in a list": (put("found", []), f"{DAMAGED}(AttributeError: 'list' object has no attribute 'items')"),
    "a number for what was found": (put("found", "beta", 1.0), f"{DAMAGED}(TypeError: 'float' object is not subscriptable)"),
    "a start of none": (put("found", "beta", "start", [None]), f"{DAMAGED}(AnnealError: checkpoint.beta: must be a number, got None)"),
    "an empty start": (put("found", "beta", "start", []), f"{DAMAGED}(AnnealError: checkpoint.beta.start: is empty)"),
    "a length in words": (
        put("found", "beta", "lengths", {"total_steps=100%": "long"}),
        f"{DAMAGED}(AnnealError: checkpoint.beta.total_steps=100%: must be a number, got 'long')",
    ),
    "a length of 0": (put("found", "beta", "lengths", {"total_steps=100%": 0.0}), "beta.total_steps: must be positive, got 0.0"),
    "a run that is none": (put("run", [8]), f"{DAMAGED}(AttributeError: 'list' object has no attribute 'items')"),
    "triggers that are none": (put("triggers", 5), f"{DAMAGED}(TypeError: 'int' object is not iterable)"),
    "a trigger that is none": (put("triggers", "other", None), f"{DAMAGED}(TypeError: 'NoneType' object is not subscriptable)"),
    "firings taken back": (
        put("triggers", "other", "firings", -1),
        f"{DAMAGED}(AnnealError: checkpoint.other: must not be negative, got -1)",
    ),
    "half a firing": (
        put("triggers", "other", "firings", 0.5),
        f"{DAMAGED}(AnnealError: checkpoint.other: must be a whole number, got 0.5)",
    ),
    "rates in words": (
        put("triggers", "other", "seen", "rates", ["fast"]),
        f"{DAMAGED}(AnnealError: checkpoint.other.rates: must be a number, got 'fast')",
    ),
    "a poll that is none": (put("poll", 5), f"{DAMAGED}(AttributeError: 'int' object has no attribute 'get')"),
    "a metric in words": (put("poll", "metrics", {"val_loss": "low"}), f"{DAMAGED}(ValueError: could not convert string to float: 'low')"),
}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run of `both`."""
    return saved(tmp_path_factory.mktemp("both"), both())


def edited(file: Path, folder: Path, edit: Edit) -> Path:
    checkpoint = torch.load(file, weights_only=True)
    edit(checkpoint["callbacks"][KEY])
    torch.save(checkpoint, folder / "edited.ckpt")
    return folder / "edited.ckpt"


@pytest.mark.parametrize("case", ERRORS)
def test_a_state_that_can_not_be_read(file: Path, tmp_path: Path, case: str) -> None:
    edit, message = ERRORS[case]
    with pytest.raises(AnnealError) as error:
        resumed(edited(file, tmp_path, edit), both())
    assert str(error.value) == message
    assert "\n" not in message


# Beta is 1 + t. `other` has fired once, and the next look sees the loss of epoch 3; both in epochs 4 to 7.
AS_EVER = ([5, 6, 7, 8], [2, 2, 3, 4])
SILENT: dict[str, tuple[Edit, tuple[list[float], list[float]]]] = {
    "as it is": (lambda state: None, AS_EVER),
    # Without triggers in it, `other` begins at 0. Nothing is known of the loss of epoch 3.
    "of the first version": (first_version, ([5, 6, 7, 8], [0, 0, 1, 2])),
    # Lightning hands no empty state to a callback.
    "empty": (dict.clear, ([5, 6, 7, 8], [0, 0, 1, 2])),
    "no length of the run": (drop("run"), AS_EVER),
    "no count of steps": (drop("steps_done"), AS_EVER),
    "no trigger": (drop("triggers", "other"), ([5, 6, 7, 8], [0, 0, 1, 2])),
    "no poll": (drop("poll"), ([5, 6, 7, 8], [1, 1, 2, 3])),
    "a key that nobody knows": (put("colour", "red"), AS_EVER),
    "a key of an entry that nobody knows": (put("found", "beta", "colour", "red"), AS_EVER),
    # A length that was found is kept.
    "another length": (put("found", "beta", "lengths", {"total_steps=100%": 6.0}), (IN_SIX, AS_EVER[1])),
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_a_state_that_goes_on_in_silence(file: Path, tmp_path: Path, case: str) -> None:
    edit, expected = SILENT[case]
    module, told = resumed(edited(file, tmp_path, edit), both())
    assert told == []
    seen = module.told[::BATCHES]
    assert ([value for value, *_ in seen], [value for _, value, _ in seen]) == expected


def test_the_state_of_another_class_is_told(tmp_path: Path) -> None:
    states = torch.load(saved(tmp_path, beta("constant", max_beta=2)), weights_only=True)["callbacks"]
    with pytest.warns(UserWarning, match="have changed") as told:
        anneal(other=linear()).load_state_dict(states["BetaScheduleCallback"])
    assert [str(w.message) for w in told] == [f"{CHANGED} (added: other; dropped: beta)"]


@pytest.mark.parametrize("state", [{}, {"wait_count": 2, "patience": 9}, {"version": None}])
def test_the_state_of_a_callback_of_another_kind(state: dict[str, Any]) -> None:
    with pytest.raises(AnnealError, match=r"^checkpoint(: holds no state|\.version: must be a number, got None)"):
        both().load_state_dict(state)
