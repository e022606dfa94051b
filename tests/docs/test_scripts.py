"""The scripts behind the pages: what draws the gallery, and what the measured tables are made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.draw import draw, sections, shown_by
from docs.measure_choosing import Curves, settles, table


@pytest.mark.parametrize(("name", "section"), list(sections()))
def test_the_gallery_is_drawn(name: str, section: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw(shown_by(section), tmp_path / f"{name}.svg")
    assert (tmp_path / f"{name}.svg").read_text().count("<path") > 10


@pytest.mark.parametrize(
    ("elbo", "epoch"),
    [
        ([5.0, 3.0, 2.0, 1.5, 1.4], 2),
        ([1.0, 1.5, 1.0], 0),
        ([2.0, 1.0, 9.0, 1.0], 3),
        ([1.0, 1.0, 9.0], 2),
    ],
)
def test_the_epoch_from_which_on_a_curve_stays_near_its_end(elbo: list[float], epoch: int) -> None:
    assert settles(elbo) == epoch


def test_a_row_of_the_table() -> None:
    first = Curves(elbo=[30.0, 25.0, 26.0, 24.0], train_kl=[0.0] * 10 + [3.0, 5.0], kl=[3.0], in_use=[4])
    second = Curves(elbo=[30.0, 25.0, 25.5, 25.0], train_kl=[0.0] * 10 + [3.0, 4.0], kl=[4.0], in_use=[6])
    *_, row = table({"linear": [first, second]}).splitlines()
    assert row == "| linear | 24.50 | 1.00 | 24.50 | 3, 1 | 3, 1 | 0.75 | 3.50 | 1.50 | 4, 6 |"
