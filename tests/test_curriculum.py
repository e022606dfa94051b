"""The curricula of the examples: what is easy, and that every epoch sees the share that it is to see."""

from __future__ import annotations

import doctest
import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule

from examples import curriculum
from examples.curriculum import DigitCurriculum, EasyFirst, SentenceCurriculum, oddity, rarity
from examples.text_data import BOS, EOS, PAD
from lightning_anneal import HyperparamAnnealingCallback
from tests.tiny import trainer_for

# The n-th easiest of ten is number 9 - n.
TEN = torch.arange(10, 0, -1).float()


def test_the_examples_in_the_docstrings_run() -> None:
    assert tuple(doctest.testmod(curriculum)) == (0, 4)


@pytest.mark.parametrize(
    ("share", "counts"),
    [
        (1.0, dict.fromkeys(range(10), 1)),
        (0.5, dict.fromkeys(range(5, 10), 2)),
        (0.2, {8: 5, 9: 5}),
        # At least one, whatever the share.
        (0.01, {9: 10}),
    ],
)
def test_an_epoch_has_the_easiest_ones_equally_often(share: float, counts: dict[int, int]) -> None:
    sampler = EasyFirst(TEN, lambda: share)
    assert len(sampler) == 10
    assert Counter(sampler) == counts


def test_what_does_not_come_out_even_comes_once_more() -> None:
    drawn = Counter(EasyFirst(TEN, lambda: 0.3))
    assert set(drawn) == {7, 8, 9}
    assert sorted(drawn.values()) == [3, 3, 4]


def test_draws_follow_from_the_epoch_and_the_seed() -> None:
    def draw(epoch: int, seed: int = 0) -> list[int]:
        sampler = EasyFirst(TEN, lambda: 1.0, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert draw(3) == draw(3)
    assert draw(3) != draw(4)
    assert draw(3) != draw(3, seed=7)


def test_long_sentences_and_rare_words_are_difficult() -> None:
    a, b = 4, 5
    # Of 12 counted tokens 6 are a, 2 are b and 4 end a sentence.
    tokens = torch.tensor([[BOS, a, a, EOS, PAD], [BOS, a, b, EOS, PAD], [BOS, a, EOS, PAD, PAD], [BOS, a, a, b, EOS]])
    of_a, of_b, of_end = math.log(2), math.log(6), math.log(3)
    expected = [2 * of_a + of_end, of_a + of_b + of_end, of_a + of_end, 2 * of_a + of_b + of_end]
    assert rarity(tokens).tolist() == pytest.approx(expected, rel=1e-5)


def test_every_share_has_as_many_of_each_digit() -> None:
    # The ones are all farther from their mean than the zeros: half of the easier half are ones nevertheless.
    images = torch.tensor([[0.0], [0.1], [0.2], [0.4], [0.0], [10.0], [20.0], [40.0]])
    odd = oddity(images, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))
    assert sorted(odd[:4].tolist()) == sorted(odd[4:].tolist()) == [0.0, 0.25, 0.5, 0.75]
    # The means are 0.175 and 17.5.
    assert odd.argsort(stable=True)[:2].tolist() == [2, 6]


class Seen(Callback):
    """How many batches and how many different items each epoch has had, and the most difficult of them."""

    def __init__(self) -> None:
        self.batches: Counter[int] = Counter()
        self.items: dict[int, set[bytes]] = {}

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        epoch = trainer.current_epoch
        self.batches[epoch] += 1
        self.items.setdefault(epoch, set()).update(row.numpy().tobytes() for row in batch[0])


class Nothing(LightningModule):
    """Learns nothing, whatever the data."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        return self.weight.square()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("make", [DigitCurriculum, SentenceCurriculum])
def test_every_epoch_sees_its_share_and_no_more(make: type[Any], tmp_path: Path) -> None:
    settings = {"strategy": "competence", "start_value": 0.1, "end_value": 1.0, "total_steps": 4}
    anneal, seen, data = HyperparamAnnealingCallback({"datamodule.share": settings}), Seen(), make()
    fit(tmp_path, data, anneal, seen)
    rows = data.train.tensors[0] if make is SentenceCurriculum else torch.stack([image for image, _ in data.train])
    if make is SentenceCurriculum:
        difficulty = rarity(rows)
    else:
        difficulty = oddity(rows, torch.stack([label for _, label in data.train]))
    ranked = [rows[i].numpy().tobytes() for i in difficulty.argsort(stable=True)]
    # The square of the competence grows by 0.2475 an epoch, from 0.01 on.
    for epoch, square in enumerate([0.01, 0.2575, 0.505, 0.7525, 1.0, 1.0]):
        easiest = set(ranked[: round(math.sqrt(square) * len(ranked))])
        assert seen.items[epoch] == easiest
        assert seen.batches[epoch] == math.ceil(len(ranked) / data.batch_size)


def test_a_resumed_curriculum_goes_on_with_its_share(tmp_path: Path) -> None:
    settings = {"strategy": "linear", "start_value": 0.25, "end_value": 0.75, "total_steps": 2}
    whole, resumed = Seen(), Seen()
    fit(tmp_path, DigitCurriculum(), HyperparamAnnealingCallback({"datamodule.share": settings}), whole, max_epochs=3)
    first = HyperparamAnnealingCallback({"datamodule.share": settings})
    trainer = fit(tmp_path, DigitCurriculum(), first, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "two.ckpt")
    again = HyperparamAnnealingCallback({"datamodule.share": settings})
    fit(tmp_path, DigitCurriculum(), again, resumed, max_epochs=3, ckpt_path=tmp_path / "two.ckpt")
    assert set(resumed.items) == {2}
    assert resumed.items[2] == whole.items[2]


def fit(
    folder: Path, data: LightningDataModule, *callbacks: Callback, ckpt_path: Path | None = None, **options: Any
) -> Any:
    trainer = trainer_for(folder, *callbacks, **{"max_epochs": 6, "limit_val_batches": 0, **options})
    trainer.fit(Nothing(), datamodule=data, ckpt_path=ckpt_path)
    return trainer
