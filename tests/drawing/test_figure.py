"""Pictures, read back from their axes."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import math
import sys
import xml.etree.ElementTree
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lightning_anneal
from lightning_anneal import Cosine, Linear, Milestones, WarmRestart, get_beta_scheduler
from lightning_anneal.cli import main
from lightning_anneal.drawing.figure import draw
from lightning_anneal.drawing.panels import Mark, Panel, Trace
from tests.written import ROOT, on

RAMP = {"type": "linear", "max_beta": 1.0, "warmup_epochs": 40}
RESTARTS = WarmRestart(Linear(0.0, 1.0, 2), 3)
STEPS: dict[str, Any] = {"strategy": "exponential", "start_value": 1e-3, "end_value": 1e-6, "interval": "step"}


def lines(axis: Any) -> list[tuple[list[float], list[float]]]:
    """The curves of a panel."""
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axis.lines if len(line.get_xdata()) > 2]


def upright(axis: Any) -> list[float]:
    """Where lines stand upright."""
    return [
        line.get_xdata()[0]
        for line in axis.lines
        if list(line.get_ydata()) == [0, 1] and len(set(line.get_xdata())) == 1
    ]


def legend(axis: Any) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()] if axis.get_legend() else []


def test_a_panel_for_each_parameter() -> None:
    figure = (
        lightning_anneal.HyperparamAnnealingCallback({"net.a": RESTARTS, "b": STEPS, "c": Milestones({0: 2.0})})
        .preview(6, 2)
        .figure
    )
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "net.a  (warm restart, by epoch)", "b  (exponential, by step)", "c  (milestones, by epoch)",
    ]  # fmt: skip
    assert [axis.get_ylabel() for axis in figure.axes] == ["a", "b", "c"]
    assert [axis.get_yscale() for axis in figure.axes] == ["linear", "log", "linear"]
    assert figure.axes[-1].get_xlabel() == "epoch"
    assert len({axis.get_xlim() for axis in figure.axes}) == 1


def test_the_curves() -> None:
    figure = lightning_anneal.HyperparamAnnealingCallback({"a": RESTARTS, "b": STEPS}).preview(6, 2).figure
    [(x, y)], [(by_step, _)] = lines(figure.axes[0]), lines(figure.axes[1])
    assert (x, y) == ([0, 1, 2, 3, 4, 5, 6], [0.0, 0.5, 1.0, 0.0, 0.5, 1.0, 1.0])
    assert by_step == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6]
    assert {line.get_drawstyle() for line in (figure.axes[0].lines[0], figure.axes[1].lines[0])} == {"steps-post"}


@pytest.mark.parametrize(
    ("settings", "epochs", "steps", "restarts"),
    [
        (RESTARTS, 9, None, [3, 6]),
        ({"strategy": "warm_restart", "base": {"strategy": "linear", "start_value": 0, "end_value": 1}, "restart_interval": 3, "interval": "step"}, 3, 4, [0.75, 1.5, 2.25]),
        ({"strategy": "warm_restart", "base": {"strategy": "linear", "start_value": 0, "end_value": 1}, "restart_interval": 3, "frequency": 2}, 9, None, [4, 6]),
        ({"strategy": "sequence", "parts": [{"strategy": "constant", "value": 1, "duration": 2}, {"strategy": "warm_restart", "base": {"strategy": "linear", "end_value": 2}, "restart_interval": 3}]}, 9, None, [2, 5, 8]),
        (WarmRestart(Linear(0, 1, 2), 40, 1.2), 300, None, [40, 88, 146, 215, 298]),
    ],
)  # fmt: skip
def test_restarts_stand_where_they_are(settings: Any, epochs: int, steps: int | None, restarts: list[float]) -> None:
    figure = lightning_anneal.HyperparamAnnealingCallback({"a": settings}).preview(epochs, steps).figure
    assert sorted(upright(figure.axes[0])) == restarts
    assert "restart" in legend(figure.axes[0])


def test_no_mark_lies_beyond_the_run() -> None:
    base = {"strategy": "linear", "start_value": 0, "end_value": 1}
    settings = {"strategy": "warm_restart", "base": base, "restart_interval": 8, "frequency": 5}
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": settings}).preview(9)
    assert preview.parameters[0].marks == ()


def test_the_second_axis_counts_steps() -> None:
    figure = lightning_anneal.HyperparamAnnealingCallback({"a": Linear(0, 1, 3), "b": STEPS}).preview(6, 25).figure
    figure.draw_without_rendering()
    [top] = figure.axes[0].child_axes
    assert top.get_xlabel() == "optimizer step"
    left, right = figure.axes[0].get_xlim()
    assert top.get_xlim() == pytest.approx((25 * left, 25 * right))
    assert not figure.axes[1].child_axes


def test_no_second_axis_where_steps_mean_nothing() -> None:
    assert not lightning_anneal.HyperparamAnnealingCallback({"a": RESTARTS}).preview(6).figure.axes[0].child_axes


def test_words_are_ticks() -> None:
    rules = {
        "a": on("early_stopper_counter", values=["slow", "$fast$", "_x"]),
        "b": on("early_stopper_counter", values=[True, False]),
    }
    preview = lightning_anneal.HyperparamAnnealingCallback(rules).preview(
        6, metrics={"m": [1.0] * 6}, early_stopping={"monitor": "m", "patience": 4}
    )
    words, flags, metric = preview.figure.axes
    assert [label.get_text().strip("\u200a") for label in words.get_yticklabels()] == ["slow", r"\$fast\$", "_x"]
    assert lines(words)[0][1] == [0.0, 0.0, 1.0, 2.0, 2.0, 2.0]
    assert lines(flags)[0][1] == [1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert legend(words) == ["1  early_stopper_counter 0 -> 1", "2  early_stopper_counter 1 -> 2"]
    assert metric.get_title(loc="left") == "m"


def test_metrics_and_the_end() -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": on("early_stopper_counter")}).preview(
        9,
        metrics={"m": [3.0, 2.0, math.nan, 2.5, 2.5, 2.5, 1.0, 1.0, 1.0]},
        early_stopping={"monitor": "m", "patience": 2, "check_finite": False},
    )
    _, metric = preview.figure.axes
    x, y = lines(metric)[0]
    assert x == [1, 2, 3, 4]
    assert [value for value in y if not math.isnan(value)] == [3.0, 2.0, 2.5]
    assert upright(metric) == [4]
    assert legend(metric) == ["EarlyStopping(m) ends the run"]


@pytest.mark.parametrize("values", [[7.0, 7.0], [0.0, 0.0], [-1e-12, -1e-12], [1e9, 1e9]])
def test_a_constant_lies_in_the_middle(values: list[float]) -> None:
    [axis] = draw([Panel("a", (Trace([0, 1], values),))]).axes
    low, high = axis.get_ylim()
    assert low < values[0] < high
    assert (low + high) / 2 == pytest.approx(values[0])


def test_more_reasons_than_there_is_room_for() -> None:
    changes = tuple(Mark(x, "change", f"why {x}") for x in range(1, 10))
    [axis] = draw([Panel("a", (Trace(range(11), range(11)),), marks=changes)]).axes
    assert legend(axis) == [*(f"{x}  why {x}" for x in range(1, 7)), "... and 3 more"]


@pytest.mark.parametrize(("count", "columns"), [(1, 1), (7, 1), (8, 2), (13, 2)])
def test_many_panels_stand_in_two_columns(count: int, columns: int) -> None:
    figure = draw([Panel(f"p{i}", (Trace([0, 1, 2], [i, i, i + 1]),)) for i in range(count)], steps_per_epoch=2)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert sorted(axis.get_title(loc="left") for axis in shown) == sorted(f"p{i}" for i in range(count))
    assert len({round(axis.get_position().x0, 3) for axis in shown}) == columns
    # One name for the time: below the one column, or between two.
    names = [*(axis.get_xlabel() for axis in shown), figure.get_supxlabel()]
    assert names.count("epoch") == 1


def test_a_title_and_names_are_no_formula(tmp_path: Path) -> None:
    figure = draw([Panel("$a^$", (Trace([0, 1], [1, 2], "_l"), Trace([0, 1], [2, 1], "$x")), "$u")], title="$50%$")
    figure.savefig(tmp_path / "a.png")
    assert figure.get_suptitle() == r"\$50%\$"
    assert legend(figure.axes[0]) == ["\u200a_l", r"\$x"]


def test_an_svg_has_its_names_and_a_png_its_size(tmp_path: Path) -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": RESTARTS, "b": STEPS}).preview(6, 2)
    assert preview.save(tmp_path / "a.svg") == tmp_path / "a.svg"
    root = xml.etree.ElementTree.parse(tmp_path / "a.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    from PIL import Image

    with Image.open(preview.save(tmp_path / "a.png")) as image:
        image.load()
        # 9 inches at 110 dots, one and three quarters for each panel and nine tenths besides.
        assert image.size == (1080, int(120 * (0.9 + 2 * 1.75)))
        assert len(image.getcolors(1 << 20) or []) > 50


def test_in_a_notebook() -> None:
    data = lightning_anneal.HyperparamAnnealingCallback({"a": RESTARTS}).preview(6)._repr_png_()
    assert data is not None
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    assert data.endswith(b"IEND\xaeB`\x82")


def test_nothing_to_draw() -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": {"strategy": "linear", "end_value": 1.0}}).preview(6)
    with pytest.raises(ValueError, match=r"^preview: has nothing to draw; a: begins at the value found"):
        preview.figure  # noqa: B018
    assert preview._repr_png_() is None


# -- a schedule on its own ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "n", "x", "y"),
    [
        (Linear(0, 1, 4), 6, [0, 1, 2, 3, 4, 5, 6], [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0]),
        (Milestones({0: 1.0, 2: 3.0}), 3, [0, 1, 2, 3], [1.0, 1.0, 3.0, 3.0]),
        (get_beta_scheduler("linear", max_beta=1.0, warmup_epochs=2), 2, [0, 1, 2], [0.0, 0.5, 0.5]),
    ],
)
def test_plot(schedule: Any, n: int, x: list[float], y: list[float]) -> None:
    [axis] = schedule.plot(n).axes
    assert lines(axis) == [(x, y)]
    assert axis.get_title(loc="left") == repr(schedule)


def test_plot_of_both_weights(tmp_path: Path) -> None:
    scheduler: Any = get_beta_scheduler(
        "hierarchical",
        global_scheduler={"type": "linear", "max_beta": 1.0, "warmup_epochs": 4},
        local_scheduler={"type": "constant", "max_beta": 2.0},
    )
    [axis] = scheduler.plot(5, path=tmp_path / "both.png", title="both").axes
    assert legend(axis) == ["global_kl_weight", "local_kl_weight"]
    assert [y for _, y in lines(axis)] == [[0.0, 0.25, 0.5, 0.75, 1.0, 1.0], [2.0] * 6]
    assert axis.get_title(loc="left") == "both"
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("schedule", "last"),
    [
        (Linear(0, 1, 40), 51),
        (Cosine(0, 1, 2), 10),
        (WarmRestart(Linear(0, 1, 5), 10, 2.0), 70),
        (Milestones({0: 1, 20: 2}), 26),
        (get_beta_scheduler("cyclical", cycle_length=8), 24),
        (
            get_beta_scheduler(
                "hierarchical", global_scheduler=RAMP, local_scheduler={"type": "cyclical", "cycle_length": 8}
            ),
            51,
        ),
    ],
)
def test_plot_shows_what_it_does(schedule: Any, last: int) -> None:
    [axis] = schedule.plot().axes
    assert lines(axis)[0][0][-1] == last


@pytest.mark.parametrize("n", [0, -1, 2.5, "x", True])
def test_plots_that_cannot_be(n: Any) -> None:
    with pytest.raises(ValueError, match=r"^n: must"):
        Linear(0, 1, 4).plot(n)


def test_plots_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"can't be written: Format 'xyz' is not supported"):
        Linear(0, 1, 4).plot(path=tmp_path / "a.xyz")


# -- without matplotlib -------------------------------------------------------------------------------------------


class Missing(importlib.abc.MetaPathFinder):
    """Finds no matplotlib."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}")
        return None


@pytest.fixture
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])


INSTALL = "plot: needs matplotlib: pip install 'lightning_anneal[plot]'"


@pytest.mark.usefixtures("no_matplotlib")
def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    preview = lightning_anneal.HyperparamAnnealingCallback({"a": RESTARTS}).preview(6)
    for draws in (lambda: preview.figure, lambda: preview.save(tmp_path / "a.png"), lambda: RESTARTS.plot()):
        with pytest.raises(ValueError, match="needs matplotlib") as error:
            draws()
        assert str(error.value) == INSTALL
    assert preview._repr_png_() is None
    assert "a  (warm restart, by epoch)" in preview.text()
    assert preview.save(tmp_path / "a.csv").read_text().startswith("epoch,a\n")
    monkeypatch.chdir(ROOT)
    config = "configs/cyclical_beta.yaml"
    assert main(["preview", config, "-o", str(tmp_path / "a.png")]) == 2
    assert capsys.readouterr().err == f"error: {INSTALL}\n"
    assert main(["preview", config]) == 0


def test_the_restarts_of_a_schedule_are_marked() -> None:
    [axis] = WarmRestart(Linear(0, 1, 2), 3, 2.0).plot(12).axes
    # After 3, and after 6 more; the next one, after 12 more, is beyond.
    assert [float(line.get_xdata()[0]) for line in axis.lines if line.get_marker() == 10] == [3.0, 9.0]
    [axis] = Linear(0, 1, 2).plot(12).axes
    assert [line for line in axis.lines if line.get_marker() == 10] == []
