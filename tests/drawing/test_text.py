"""Curves on a terminal: small ones by hand, and never a line that is longer than it may be."""

from __future__ import annotations

import math
from typing import Any

import pytest

import lightning_anneal
from lightning_anneal import Linear, WarmRestart
from lightning_anneal.drawing.panels import Mark, Panel, Trace
from lightning_anneal.drawing.text import draw_text, short
from tests.written import on

Lines = list[str]


def drawn(*panels: Panel, until: float = 4, width: int = 40, ascii_only: bool = True) -> Lines:
    return draw_text(panels, until=until, width=width, ascii_only=ascii_only).splitlines()


def panel(*values: float, **more: Any) -> Panel:
    return Panel("a", (Trace([*range(len(values)), len(values)], [*values, values[-1]]),), **more)


def test_a_jump_in_ascii() -> None:
    assert drawn(panel(0, 0, 1, 1)) == [
        "a",
        "  1 |                 ''''''''''''''''''",
        "    |",
        "0.5 |",
        "    |",
        "  0 |_________________",
        "    +----------------------------- epoch",
        "     0                2                4",
    ]


def test_a_jump_in_braille() -> None:
    assert drawn(panel(0, 0, 1, 1), ascii_only=False) == [
        "a",
        "  1 │                 ⢸⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉",
        "    │                 ⢸",
        "0.5 │                 ⢸",
        "    │                 ⢸",
        "  0 │⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀⣸",
        "    └───────────────────────────── epoch",
        "     0                2                4",
    ]


def test_a_constant_stands_in_the_middle() -> None:
    assert drawn(panel(3.0, 3.0, 3.0, 3.0))[1:6] == [
        "  |",
        "  |",
        "3 |-------------------------------------",
        "  |",
        "  |",
    ]


def test_powers_of_ten_are_evenly_spread() -> None:
    rows = drawn(panel(1e-4, 1e-2, 1.0, 1.0))
    assert [row.split("|")[0].strip() for row in rows[1:6]] == ["1", "", "0.01", "", "0.0001"]
    # Half of the way up at a hundredth, which on a straight scale would lie at the bottom.
    assert rows[3].split("|")[1].strip("-' ") == ""
    assert "-" in rows[3]


def test_words_are_the_labels() -> None:
    rows = drawn(panel(0, 1, 2, 0, words=("slow", "fast", "a very long word")))
    assert [row.split("|")[0].strip() for row in rows[1:6]] == ["a very long", "", "fast", "", "slow"]


@pytest.mark.parametrize(("ascii_only", "sign"), [(True, ":"), (False, "┊")])
@pytest.mark.parametrize("kind", ["restart", "part", "end"])
def test_marks(ascii_only: bool, sign: str, kind: str) -> None:
    rows = drawn(panel(0, 0, 0, 1, marks=(Mark(2, kind),)), ascii_only=ascii_only)
    columns = [row.index(sign) for row in rows[1:5] if sign in row]
    # 35 columns of the canvas, of which the middle one is where 2 of 4 is.
    assert columns == [22] * 4


def test_reasons_are_told_up_to_eight() -> None:
    changes = tuple(Mark(x, "change", f"why {x}") for x in range(1, 11))
    rows = drawn(panel(*range(11), marks=changes), until=11, width=60)
    told = [row.split(maxsplit=2) for row in rows if "why" in row]
    assert told == [[str(x), str(x), f"why {x}"] for x in range(1, 9)]
    assert "... and 2 more" in rows[-3]


def test_several_panels_share_an_axis() -> None:
    rows = drawn(panel(0, 1), Panel("other", (Trace([0, 2], [100000.0, 100001.0]),)), until=2)
    assert rows[0] == "a"
    assert rows[6] == "other"
    assert len(rows) == 14
    assert {row.index("|") for row in rows if "|" in row} == {9}


def test_the_two_ends_of_an_axis_differ() -> None:
    rows = drawn(panel(100000.0, 100001.0), until=2)
    assert rows[1].split("|")[0] != rows[5].split("|")[0]


def test_two_floats_between_which_there_is_none() -> None:
    rows = drawn(panel(1.0, math.nextafter(1.0, 2.0)), until=2, width=60)
    assert [row.split("|")[0].strip() for row in rows[1:6]] == ["1.0000000000000002", "", "1", "", "1"]


PANELS = {
    "ramp": panel(*(i / 10 for i in range(11))),
    "constant": panel(7.0, 7.0),
    "one": panel(1.0),
    "negative": panel(-1e-3, -5.0, -2.5e-3),
    "tiny": panel(1e-300, 2e-300),
    "huge": panel(1e300, -1e299),
    "log": panel(1e-9, 1e9),
    "nan": panel(math.nan, 1.0, math.nan, 2.0),
    "only_nan": panel(math.nan, math.nan),
    "inf": panel(1.0, math.inf, 2.0),
    "bool": panel(True, False, True),
    "words": panel(0, 1, 2, 3, 4, 5, 6, words=tuple(f"word {i}" for i in range(7))),
    "straight": Panel("m", (Trace([1.0, 2.0, 3.0], [3.0, math.nan, 1.0], holds=False),), marks=(Mark(2, "end"),)),
    "empty": Panel("m", (Trace([], []),)),
}  # fmt: skip


@pytest.mark.parametrize("name", PANELS)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_any_values(name: str, ascii_only: bool) -> None:
    rows = drawn(PANELS[name], until=7, ascii_only=ascii_only)
    assert len(rows) == 8
    assert all(row.isascii() for row in rows) or not ascii_only


@pytest.mark.parametrize("values", [(-1.7e308, 1.7e308), (5e-324, 1e308)])
def test_values_as_far_apart_as_floats_go(values: tuple[float, float]) -> None:
    assert len(drawn(panel(*values))) == 8


WIDTHS = [*range(10, 60, 7), 40, 41, 79, 80, 81, 119, 120, 121, 200, 300]


@pytest.mark.parametrize("name", PANELS)
def test_the_canvas_is_as_wide_as_it_may_be(name: str) -> None:
    for width in WIDTHS:
        room = min(max(width, 40), 120)
        for ascii_only in (True, False):
            rows = drawn(PANELS[name], until=7, width=width, ascii_only=ascii_only)
            assert max(map(len, rows[1:-1])) <= room
            assert len(rows[-2]) == room


@pytest.mark.parametrize("until", [4, 30, 60, 1000])
def test_the_axis_is_no_wider(until: float) -> None:
    for width in range(40, 121):
        assert max(map(len, drawn(panel(0, 1), until=until, width=width))) <= width


def test_a_preview_is_no_wider() -> None:
    rules = {
        "optimizer.param_groups.the_head_of_the_network.weight_decay": on("early_stopper_half_patience"),
        "b": {"strategy": "linear", "end_value": 1.0},
    }
    preview = lightning_anneal.HyperparamAnnealingCallback(rules).preview(
        20, early_stopping={"monitor": "val_loss", "patience": 4}
    )
    for width in (40, 60, 80):
        lines = preview.text(width).splitlines()
        assert all(len(line) <= width for line in lines)


def test_the_axis_has_round_numbers() -> None:
    def numbers(until: float, width: int) -> list[str]:
        return drawn(panel(0, 1), until=until, width=width)[-1].split()

    assert numbers(60, 80) == ["0", "10", "20", "30", "40", "50", "60"]
    assert numbers(29, 80) == ["0", "5", "10", "15", "20", "25"]
    assert numbers(1, 80) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]
    assert numbers(2.5, 40) == ["0", "2"]
    assert numbers(1e6, 60) == ["0", "5e+05", "1e+06"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.30000000000000004, "0.3"), (1e-7, "1e-07"), (32.0, "32"), (-0.5, "-0.5"), (123456.0, "1.235e+05")],
)
def test_short(value: float, text: str) -> None:
    assert short(value) == text


def test_two_lines_in_a_panel() -> None:
    two = Panel("a", (Trace([0, 4], [0.0, 0.0], "low"), Trace([0, 4], [1.0, 1.0], "high")))
    rows = drawn(two)
    assert rows[1] == "  1 |" + "'" * 35
    assert rows[5] == "  0 |" + "_" * 35


def test_a_preview_prints_itself() -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": WarmRestart(Linear(0, 1, 2), 3)}).preview(6)
    assert str(preview) == repr(preview) == preview.text()
    lines = preview.text(40, ascii_only=True).splitlines()
    assert lines[0] == "a  (warm restart, by epoch)"
    assert len(lines) == 8
    assert [line.count(":") for line in lines[1:6]] == [1, 1, 1, 1, 0]


def test_by_step_and_by_epoch_have_one_axis() -> None:
    step = {"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 8, "interval": "step"}
    preview = lightning_anneal.HyperparamAnnealingCallback({"e": Linear(0, 1, 2), "s": step}).preview(4, 4)
    lines = preview.text(60, ascii_only=True).splitlines()
    # Both are at their end from epoch 2 on, which is the middle.
    tops = [lines[1], lines[7]]
    assert [top.rstrip().count("'") >= 27 for top in tops] == [True, True]
    assert lines[-1].split() == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("width", [40, 53, 67, 80, 97])
def test_a_restart_is_marked_where_the_value_falls(width: int) -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": WarmRestart(Linear(0, 1, 2), 7)}).preview(20)
    top, *_, bottom = preview.text(width, ascii_only=True).splitlines()[1:6]
    for at in [i for i, sign in enumerate(top) if sign == ":"]:
        assert top[at - 1] == "'"
        assert bottom[at] == "_"
    assert top.count(":") == 2
