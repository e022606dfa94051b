"""Draws the pictures of `gallery.md`, each from the code that stands beside it. The first Python block of a section
makes a `schedule`, or by name the `curves` of what answers to a run, a list for each; its picture goes to
``docs/drawn/SECTION.svg``. Sphinx calls `draw_gallery` before it reads a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
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


def names_of(section: str) -> dict[str, Any]:
    """The names that the first Python block of a section makes."""
    [block, *_] = _BLOCK.findall(section)
    names: dict[str, Any] = {}
    exec(compile(block, "gallery.md", "exec"), names)
    return names


def shown_by(section: str) -> Any:
    """What the picture of a section shows: a schedule, or curves by name."""
    names = names_of(section)
    return names["curves"] if "curves" in names else names["schedule"]


def draw(shown: Any, path: Path) -> None:
    """One picture, as the package draws it; the same file every time."""
    import matplotlib

    from lightning_anneal.drawing.figure import draw as draw_panels
    from lightning_anneal.drawing.figure import save
    from lightning_anneal.drawing.panels import Panel, Trace

    with matplotlib.rc_context({"svg.hashsalt": "lightning_anneal", "savefig.facecolor": "white"}):
        if isinstance(shown, Mapping):
            panels = [Panel(name, (Trace(range(len(values)), values),)) for name, values in shown.items()]
            save(draw_panels(panels), path)
        else:
            shown.plot(_EPOCHS, path=path, title="")


def draw_gallery(*_: Any) -> None:
    """Every picture of the gallery."""
    DRAWN.mkdir(exist_ok=True)
    for name, section in sections():
        draw(shown_by(section), DRAWN / f"{name}.svg")
