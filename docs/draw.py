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
_COLORS = {"global_kl_weight": ("#0b3c5d", "-"), "local_kl_weight": ("#c56a12", "--")}


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
    """The picture of one schedule; of a hierarchical one with both weights."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "lightning_anneal", "font.size": 9}):
        figure = Figure(figsize=(6, 2.2), layout="constrained")
        axis = figure.subplots()
        values = [schedule(t) for t in range(_EPOCHS)]
        if isinstance(values[0], dict):
            for key, (color, dashes) in _COLORS.items():
                axis.plot([value[key] for value in values], dashes, color=color, linewidth=2, label=key)
            axis.legend()
        else:
            axis.plot(values, "o-", color="#0b3c5d", linewidth=2, markersize=3)
        axis.set(xlabel="epoch", ylabel="value", xlim=(0, _EPOCHS - 1))
        axis.grid(alpha=0.3)
        figure.savefig(path, metadata={"Date": None})


def draw_gallery(*_: Any) -> None:
    """Every picture of the gallery."""
    DRAWN.mkdir(exist_ok=True)
    for name, section in sections():
        draw(schedule_of(section), DRAWN / f"{name}.svg")
