"""The script of two gloo ranks whose optimizer comes from a config: FOLDER [nan]. Each writes down what it saw."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning.pytorch.strategies import DDPStrategy

from lightning_anneal import AnnealError, OptimizerWatchCallback, configure_optimizers
from tests.tiny import Tiny, trainer_for


class Module(Tiny):
    def __init__(self, nan: bool) -> None:
        super().__init__("lr")
        self.nan = nan
        self.net.requires_grad_(False)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = super().training_step(batch, batch_idx)
        if self.nan and self.global_rank == 1 and batch_idx == 0:
            # In this step alone: a constant has no gradient, and the weights stay numbers.
            outputs["loss"] = outputs["loss"] + float("nan")
        return outputs

    def configure_optimizers(self) -> Any:
        return configure_optimizers(self, optimizer="SGD", learning_rate=1.0, scheduler="linear")


def main(folder: Path, nan: bool) -> int:
    """Fit on both ranks."""
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60), find_unused_parameters=True)
    watch = OptimizerWatchCallback()
    trainer = trainer_for(folder, watch, devices=2, strategy=strategy, max_epochs=2, log_every_n_steps=2)
    module = Module(nan)
    try:
        trainer.fit(module)
    except AnnealError as error:
        (folder / f"rank{trainer.global_rank}.err").write_text(str(error))
        return 1
    (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(module.values))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:] == ["nan"]))
