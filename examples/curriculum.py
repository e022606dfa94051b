"""Curricula: data that begin with the easiest share of the items, which is a plain attribute that a callback writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from examples.digits_data import DigitsData
from examples.text_data import BOS, PAD, DocstringData


class EasyFirst(Sampler[int]):
    """Draws from the easiest share of some items, in every epoch as many as there are items.

    All that are in the share come equally often, or once more than the others. With a share of 1 that is an ordinary
    epoch, each item once. What is drawn follows from the epoch and the seed, so a resumed run draws the same.

    Args:
        difficulty: Of each item; equally difficult ones stay in their order.
        share: Gives the share, above 0 and at most 1. It is asked when an epoch begins.
        seed: Of the draws.

    Example:
        >>> easy = EasyFirst(torch.tensor([0.3, 0.1, 0.2, 0.4]), share=lambda: 0.5)
        >>> sorted(easy)
        [1, 1, 2, 2]
    """

    def __init__(self, difficulty: Tensor, share: Callable[[], float], seed: int = 0) -> None:
        self._easiest_first = torch.argsort(difficulty, stable=True)
        self._share = share
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning says which epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._easiest_first)

    def __iter__(self) -> Iterator[int]:
        allowed = self._easiest_first[: max(1, round(self._share() * len(self)))]
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        rounds = -(-len(self) // len(allowed))
        order = torch.cat([torch.randperm(len(allowed), generator=generator) for _ in range(rounds)])
        return iter(allowed[order[: len(self)]].tolist())


class SentenceCurriculum(DocstringData):
    """`DocstringData`, the plainest sentences first: batches are drawn from ``self.share`` of them.

    How difficult a sentence is says its rarity, as in Platanios et al., "Competence-based Curriculum Learning for
    Neural Machine Translation", NAACL 2019: the sum of ``-log p(token)`` over its tokens, p their frequency in the
    training sentences. So long sentences are difficult, and those with rare words.

    Args:
        settings: Those of `DocstringData`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.share = 1.0

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        easy = EasyFirst(rarity(self.train.tensors[0]), lambda: self.share, self.seed)
        return DataLoader(self.train, batch_size=self.batch_size, sampler=easy)


class DigitCurriculum(DigitsData):
    """`DigitsData`, the most typical images first: batches are drawn from ``self.share`` of them.

    How difficult an image is says how far it is from the mean of the images of its digit, and how many of these are
    nearer. So every share has as many of each digit as the whole has, but for rounding.

    Args:
        settings: Those of `DigitsData`.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.share = 1.0

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        images, labels = next(iter(DataLoader(self.train, batch_size=len(self.train))))
        easy = EasyFirst(oddity(images, labels), lambda: self.share, self.seed)
        return DataLoader(self.train, batch_size=self.batch_size, sampler=easy)


def rarity(tokens: Tensor) -> Tensor:
    """The sum of ``-log p(token)`` of each row of shape ``(rows, length)``; what begins and fills rows doesn't count.

    Example:
        >>> (rarity(torch.tensor([[2, 4, 4, 0], [2, 4, 5, 0]])) / torch.log(torch.tensor(2.0))).round(decimals=3)
        tensor([0.8300, 2.4150])
    """
    counted = (tokens != PAD) & (tokens != BOS)
    frequency = torch.bincount(tokens[counted]) / counted.sum()
    return torch.where(counted, -frequency[tokens].log(), 0.0).sum(1)


def oddity(images: Tensor, labels: Tensor) -> Tensor:
    """The share of the images of the same label that are nearer to their mean, of shape ``(images,)``.

    Example:
        >>> oddity(torch.tensor([[0.0], [3.0], [1.0], [7.0], [9.0]]), torch.tensor([0, 0, 0, 1, 1]))
        tensor([0.3333, 0.6667, 0.0000, 0.0000, 0.5000])
    """
    odd = torch.empty(len(images))
    for label in labels.unique():
        own = labels == label
        distance = (images[own] - images[own].mean(0)).norm(dim=1)
        odd[own] = torch.argsort(torch.argsort(distance, stable=True)) / len(distance)
    return odd
