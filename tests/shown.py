"""What README and pages show: their code blocks, and ways to run them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from lightning_anneal.cli import main

ROOT = Path(__file__).parents[1]
MODEL = "--model=examples.digits_vae.DigitsVAE"
DATA = "--data=examples.digits_data.DigitsData"


def blocks(page: Path, kind: str) -> list[str]:
    """The code blocks of a page whose fence says just that: ``python`` finds no ``python soon``."""
    return re.findall(rf"^```{re.escape(kind)}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def run_block(block: str, name: str) -> dict[str, Any]:
    """Run Python as it stands there, and return its names."""
    names: dict[str, Any] = {}
    exec(compile(block, name, "exec"), names)
    return names


def fit_block(block: str, folder: Path) -> int:
    """Train two batches under a config, with the digits VAE where it names no model."""
    config = folder / "block.yaml"
    config.write_text(block)
    given = yaml.safe_load(block)
    # On the command line it would take the place of the config's own.
    rest = [option for option in (MODEL, DATA) if option[2:].split("=")[0] not in given]
    quick = [
        "--seed_everything=1",
        "--trainer.fast_dev_run=2",
        "--trainer.enable_progress_bar=false",
        "--trainer.accelerator=cpu",
    ]
    return main(["fit", "--config", str(config), *rest, *quick, f"--trainer.default_root_dir={folder}"])
