"""Starts a script of this folder, which starts its other ranks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def launch(script: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it to its end; its ranks write into the folder."""
    return subprocess.run(
        [sys.executable, str(ROOT / "tests" / "ddp" / script), str(folder), *arguments],
        capture_output=True, text=True, check=False, cwd=ROOT, timeout=240,
    )  # fmt: skip
