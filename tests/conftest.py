"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from lightning.pytorch import Callback, LightningModule, Trainer

    from tests.tiny import Tiny

# LightningCLI of the tested Lightning calls what jsonargparse will drop in version 5; no test can change that.
os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")

# `pytest --hypothesis-profile=long` is what `make test-all` runs. No deadline: a busy machine is no failure.
hypothesis.settings.register_profile("short", max_examples=200, deadline=None)
hypothesis.settings.register_profile("long", max_examples=5_000, deadline=None)
hypothesis.settings.load_profile("short")


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Tiny]:
    """Fit a module with callbacks, and return it."""
    # Not above: what needs no torch is tested where there is none, too.
    from tests.tiny import Tiny, trainer_for

    def run(*callbacks: Callback, module: LightningModule | None = None, ckpt_path: Any = None, **options: Any) -> Any:
        module = Tiny() if module is None else module
        trainer: Trainer = trainer_for(tmp_path, *callbacks, **options)
        trainer.fit(module, ckpt_path=ckpt_path)
        return module

    return run
