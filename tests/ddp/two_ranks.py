"""The script of two gloo ranks: FOLDER [PARAMETER]. Each writes down what it saw."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from lightning.pytorch import Trainer
from lightning.pytorch.strategies import DDPStrategy

from lightning_anneal import AnnealError, HyperparamAnnealingCallback
from tests.tiny import Tiny

broadcasts: list[str] = []


class Counting(DDPStrategy):
    """Notes from which hook of the callback each broadcast of this package comes."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        frame = sys._getframe(1)
        if "lightning_anneal" in frame.f_code.co_filename:
            while frame.f_back and not frame.f_code.co_name.startswith("on_"):
                frame = frame.f_back
            broadcasts.append(frame.f_code.co_name)
        return super().broadcast(obj, src)


class Module(Tiny):
    def on_fit_start(self) -> None:
        self.net.requires_grad_(False)


def main(folder: Path, parameter: str) -> int:
    """Fit on both ranks."""
    ramp = {"strategy": "linear", "end_value": 11.5, "interval": "step", "as_tensor": False}
    trainer = Trainer(
        accelerator="cpu",
        devices=2,
        strategy=Counting(process_group_backend="gloo", timeout=timedelta(seconds=60), find_unused_parameters=True),
        max_epochs=3,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        callbacks=[HyperparamAnnealingCallback({parameter: ramp})],
    )
    module = Module()
    module.beta = 0.5 if trainer.global_rank == 0 else 7.5
    try:
        trainer.fit(module)
    except AnnealError as error:
        (folder / f"rank{trainer.global_rank}.err").write_text(str(error))
        return 1
    (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps({"seen": module.seen, "broadcasts": broadcasts}))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "beta"))
