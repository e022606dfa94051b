"""LossBalancingCallback in a real fit: where weights stand, and what is told of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from omegaconf import OmegaConf

from lightning_anneal import AnnealError, Linear, LossBalancingCallback
from tests.callbacks.test_annealing_logs import Recorder
from tests.tiny import trainer_for
from tests.weighed import AB, FEW, HALF_IS_THREE_TIMES, Weighed, fit

# -- where weights stand --------------------------------------------------------------------------------------------


class Elsewhere(Weighed):
    """The weight of one term in a submodule, that of the other in a list."""

    def __init__(self) -> None:
        super().__init__(FEW, batches=4)
        del self.loss_weights

    def in_force(self) -> list[Any]:
        return [self.loss.margin, self.weights["nested"][1]]  # type: ignore[index]


def test_paths_of_ones_own(tmp_path: Path) -> None:
    paths = {"a": "loss.margin", "b": "weights.nested.1"}
    for losses in (paths, OmegaConf.create(paths)):
        seen = fit(tmp_path, Elsewhere(), LossBalancingCallback(losses, "inverse_ema", decay=0.0, frequency=2))
        assert seen == [pytest.approx(row) for row in [[1.0, 1.0]] * 2 + [[2 / 11, 20 / 11]] * 2]


def test_names_that_are_no_keys(tmp_path: Path) -> None:
    rows = [{"train/a": row["a"], "train.b": row["b"]} for row in FEW]
    module = Weighed(rows, batches=4, told={})
    module.weights = {"a": 1.0, "b": 1.0}
    module.in_force = lambda: list(module.weights.values())  # type: ignore[method-assign]
    paths = {"train/a": "weights.a", "train.b": "weights.b"}
    callback = LossBalancingCallback(paths, "inverse_ema", decay=0.0, frequency=2)
    assert fit(tmp_path, module, callback)[2:] == [pytest.approx([2 / 11, 20 / 11])] * 2
    assert callback.values == {"train/a": pytest.approx(2 / 11), "train.b": pytest.approx(20 / 11)}


def test_another_attribute_and_ints(tmp_path: Path) -> None:
    """A weight that was written as an int becomes a float."""
    module = Weighed(FEW, batches=4)
    module.lambdas = {"a": 1, "b": 1}
    module.in_force = lambda: list(module.lambdas.values())  # type: ignore[method-assign]
    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2, attr_name="lambdas")
    assert fit(tmp_path, module, callback)[2:] == [pytest.approx([2 / 11, 20 / 11])] * 2


def test_in_hparams(tmp_path: Path) -> None:
    class InHparams(Weighed):
        def __init__(self, loss_weights: dict[str, float]) -> None:
            super().__init__(FEW, batches=4)
            del self.loss_weights
            self.save_hyperparameters()

        def in_force(self) -> list[Any]:
            return list(self.hparams["loss_weights"].values())

    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2)
    assert fit(tmp_path, InHparams({"a": 1.0, "b": 1.0}), callback)[2:] == [pytest.approx([2 / 11, 20 / 11])] * 2


def test_as_tensor(tmp_path: Path) -> None:
    kinds: set[Any] = set()

    class Tensors(Weighed):
        def in_force(self) -> list[Any]:
            kinds.update((type(weight), id(weight)) for weight in self.loss_weights.values())
            return super().in_force()

    module = Tensors(FEW, batches=4)
    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2, as_tensor=True)
    seen = fit(tmp_path, module, callback)
    single = [float(torch.tensor(weight)) for weight in (2 / 11, 20 / 11)]
    assert seen == [[1.0, 1.0]] * 2 + [single] * 2
    assert len(kinds) == 2
    assert {kind for kind, _ in kinds} == {torch.Tensor}
    # Numbers again in the end, and those that 32 bits had rounded.
    assert module.loss_weights == {"a": pytest.approx(2 / 11, rel=1e-15), "b": pytest.approx(20 / 11, rel=1e-15)}


def test_two_callbacks(tmp_path: Path) -> None:
    rows = [{"a": row["a"], "b": row["b"], "c": 5.0, "d": 5.0 * row["a"]} for row in FEW]

    def go(*more: Callback, **options: Any) -> tuple[list[list[float]], Any, Any]:
        first = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2)
        second = LossBalancingCallback(["c", "d"], "fixed", weights={"c": Linear(1, 3, 2)}, name="second")
        module = Weighed(rows, batches=4)
        return fit(tmp_path, module, first, second, *more, epochs=3, **options), first, second

    seen, first, second = go(ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1), enable_checkpointing=True)
    inverse = [[1.0, 1.0]] * 2 + [[2 / 11, 20 / 11]] * 4 + [[1 / 3, 5 / 3]] * 4 + [[4 / 7, 10 / 7]] * 2
    fixed = [[1.0, 1.0]] * 4 + [[4 / 3, 2 / 3]] * 4 + [[1.5, 0.5]] * 4
    assert seen == [pytest.approx([*a, *b]) for a, b in zip(inverse, fixed, strict=True)]
    assert (set(first.values), set(second.values)) == ({"a", "b"}, {"c", "d"})
    assert go(ckpt_path=tmp_path / "step=4.ckpt")[0] == seen[4:]


def test_two_for_one_weight(tmp_path: Path) -> None:
    with pytest.raises(AnnealError, match=r"a: LossBalancingCallback\[name=second\] anneals it too; keep one of them"):
        fit(tmp_path, Weighed(FEW, batches=4), LossBalancingCallback(AB), LossBalancingCallback(AB, name="second"))


# -- what is told ---------------------------------------------------------------------------------------------------


def test_tags(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = LossBalancingCallback(AB, "inverse_ema", decay=0.0, frequency=2, prog_bar=["b"])
    trainer = trainer_for(tmp_path, callback, logger=[logger], log_every_n_steps=2, max_epochs=2)
    trainer.fit(Weighed(FEW, batches=4))
    found: dict[str, list[Any]] = {}
    for step, name, value in logger.calls:
        found.setdefault(name, []).append((step, value))
    # At steps 1, 3, 5 and 7; what the weights follow from, from the first update on.
    assert found == {
        "Loss_Weights/a": [(1, 1.0), (3, pytest.approx(2 / 11)), (5, pytest.approx(2 / 11)), (7, pytest.approx(1 / 3))],
        "Loss_Weights/b": [(1, 1.0), (3, pytest.approx(20 / 11)), (5, pytest.approx(20 / 11)), (7, pytest.approx(5 / 3))],
        "Loss_Weights/a/ema": [(3, 20.0), (5, 20.0), (7, 10.0)],
        "Loss_Weights/b/ema": [(3, 2.0), (5, 2.0), (7, 2.0)],
    }  # fmt: skip
    assert trainer.progress_bar_metrics["b"] == pytest.approx(5 / 3)
    assert float(trainer.callback_metrics["Loss_Weights/a"]) == pytest.approx(1 / 3)


def test_by_epoch_at_its_first_step(tmp_path: Path) -> None:
    logger = Recorder(tmp_path)
    callback = LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    trainer_for(tmp_path, callback, logger=[logger], log_every_n_steps=1, max_epochs=3).fit(Weighed(FEW, batches=4))
    assert [(step, value) for step, name, value in logger.calls if name == "Loss_Weights/a"] == [
        (0, 1.0), (4, 1.0), (8, pytest.approx(0.5)),
    ]  # fmt: skip


def test_the_audit_and_hyperparameters(tmp_path: Path) -> None:
    callback = LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    logger = CSVLogger(tmp_path, name="", version="run")
    fit(tmp_path, Weighed(FEW, batches=4), callback, epochs=3, logger=logger)
    rows = [(c.epoch, c.step, c.name, c.old, round(float(c.new), 9), c.why) for c in callback.changes]
    assert rows == [(2, 8, "a", 1.0, 0.5, "dwa"), (2, 8, "b", 1.0, 1.5, "dwa")]
    shown = {"method": "dwa", "losses": ["a", "b"], "temperature": HALF_IS_THREE_TIMES}
    assert callback.settings == {"loss_weights": shown}
    assert "method: dwa" in (tmp_path / "run" / "hparams.yaml").read_text()


def test_an_evaluation_has_the_weights_of_its_checkpoint(tmp_path: Path) -> None:
    saver = ModelCheckpoint(tmp_path, filename="{step}", save_top_k=-1)
    callback = LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    fit(tmp_path, Weighed(FEW, batches=4), callback, saver, epochs=3, enable_checkpointing=True)
    module, again = Weighed(FEW, batches=4), LossBalancingCallback(AB, temperature=HALF_IS_THREE_TIMES)
    trainer_for(tmp_path, again).validate(module, ckpt_path=tmp_path / "step=12.ckpt", verbose=False)
    assert again.values == callback.values == {"a": pytest.approx(0.5), "b": pytest.approx(1.5)}
