"""Draws the pictures of `gallery.md`, each from the code that stands beside it: the first Python block of a section
makes a `schedule`, and its picture goes to ``docs/drawn/SECTION.svg``. Sphinx calls `draw_gallery` before it reads a
page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
DRAWN = DOCS / "drawn"
_BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
_EPOCHS = 41


def sections() -> Iterator[tuple[str, str]]:
    """The sections of the gallery that have a picture, by the picture's name, and the text of each."""
    for section in (DOCS / "gallery.md").read_text().split("\n## ")[1:]:
        for name in re.findall(r"\(drawn/(\w+)\.svg\)", section):
            yield name, section


def schedule_of(section: str) -> Any:
    """What the first Python block of a section makes."""
    [block, *_] = _BLOCK.findall(section)
    names: dict[str, Any] = {}
    exec(compile(block, "gallery.md", "exec"), names)
    return names["schedule"]


def draw(schedule: Any, path: Path) -> None:
    """The picture of one schedule, as the package draws it; the same file every time."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "lightning_anneal", "savefig.facecolor": "white"}):
        schedule.plot(_EPOCHS, path=path, title="")


def draw_gallery(*_: Any) -> None:
    """Every picture of the gallery."""
    DRAWN.mkdir(exist_ok=True)
    for name, section in sections():
        draw(schedule_of(section), DRAWN / f"{name}.svg")
