"""What the demo shows at its end: a table, a picture of the run, and digits beside their reconstructions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class DigitsReport(Callback):
    """Collects beta and both loss terms of each epoch, and shows them when training ends.

    Args:
        digits: How many digits stand beside their reconstructions.
    """

    def __init__(self, digits: int = 10) -> None:
        self.digits = digits
        self.rows: list[tuple[int, float, float, float]] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = trainer.callback_metrics
        losses = (float(metrics["train_reconstruction_loss"]), float(metrics["train_kl_loss"]))
        self.rows.append((trainer.current_epoch, float(pl_module.beta), *losses))  # type: ignore[arg-type]

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = Path(trainer.log_dir or ".")  # which all processes have to ask for
        if not self.rows or trainer.fast_dev_run or not trainer.is_global_zero:  # type: ignore[attr-defined]
            return
        print("\n epoch     beta   reconstruction       KL   (nats per image)")
        shown = self.rows[:: max(1, len(self.rows) // 15)]
        for epoch, beta, reconstruction, kl in [*shown, self.rows[-1]] if shown[-1] != self.rows[-1] else shown:
            print(f"{epoch:6d} {beta:8.3f} {reconstruction:16.2f} {kl:8.2f}")
        self._draw(trainer, pl_module, folder / "run.png")
        print(f"\nTensorBoard: tensorboard --logdir {folder}\nPicture:     {folder / 'run.png'}")

    @torch.no_grad()
    def _draw(self, trainer: Trainer, pl_module: LightningModule, path: Path) -> None:
        from matplotlib.figure import Figure

        epochs, betas, reconstructions, kls = zip(*self.rows, strict=True)
        figure = Figure(figsize=(9, 8), layout="constrained")
        panels: Any = figure.subfigures(2, 1, height_ratios=[3, 1.3])
        upper, lower = panels
        axes = upper.subplots(3, 1, sharex=True)
        curves = [("beta", betas, "#0b3c5d"), ("reconstruction (nats)", reconstructions, "#d9822b")]
        for axis, (label, values, color) in zip(axes, [*curves, ("KL (nats)", kls, "#3b8d5a")], strict=True):
            axis.plot(epochs, values, color=color, linewidth=2)
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
        axes[-1].set_xlabel("epoch")
        upper.suptitle("Cyclical beta and the two terms of the loss")

        images = next(iter(trainer.datamodule.val_dataloader()))[0][: self.digits]  # type: ignore[attr-defined]
        pl_module.eval()
        pictures = [images, torch.sigmoid(pl_module(images.to(pl_module.device))[0]).cpu()]
        grid = lower.subplots(2, self.digits)
        for row, label, digits in zip(grid, ("original", "rebuilt"), pictures, strict=True):
            row[0].set_ylabel(label)
            for cell, digit in zip(row, digits, strict=True):
                cell.imshow(digit.view(8, 8).numpy(), cmap="gray_r", vmin=0, vmax=1)
                cell.set(xticks=[], yticks=[])
        lower.suptitle("Validation digits above their reconstructions")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
