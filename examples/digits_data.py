"""scikit-learn's handwritten digits: 1,797 real scans of 8 x 8 pixels, which come with the package."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningDataModule
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset, random_split


class DigitsData(LightningDataModule):
    """Batches of ``(images, labels)``: images of shape ``(batch, 64)`` in [0, 1], labels 0 to 9.

    Args:
        batch_size: Images in a batch.
        validation_share: Share of the images that is kept for validation.
        seed: Decides which those are.
    """

    def __init__(self, batch_size: int = 64, validation_share: float = 0.2, seed: int = 0) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.validation_share = validation_share
        self.seed = seed

    def setup(self, stage: str) -> None:
        digits = load_digits()
        images = torch.tensor(digits.data, dtype=torch.float32) / 16
        dataset = TensorDataset(images, torch.tensor(digits.target))
        held_out = round(len(dataset) * self.validation_share)
        generator = torch.Generator().manual_seed(self.seed)
        self.train, self.validation = random_split(dataset, [len(dataset) - held_out, held_out], generator)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.train, batch_size=self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(self.validation, batch_size=self.batch_size)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return self.val_dataloader()
