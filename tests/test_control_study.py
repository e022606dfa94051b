"""The study of values that steer themselves: its models and settings, tables, pictures, and a small one."""

from __future__ import annotations

import doctest
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from examples import control_report, control_study, digits_two_tasks, study_runs
from examples.control_report import draw_limits, draw_set_points, draw_weights, limit_table, set_point_table
from examples.control_report import weights_table as table_of_weights
from examples.control_study import LEARNED, LIMITS, PARTS, SET_POINTS, WEIGHTS, report, train_tasks, train_vae
from examples.digits_two_tasks import INK_DEVIATION, INK_MEAN, DigitsTwoTasks
from lightning_anneal import LossBalancingCallback
from lightning_anneal.config import read_rules

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("module", "examples"), [(control_report, 5), (control_study, 0), (digits_two_tasks, 1), (study_runs, 0)]
)
def test_the_examples_in_the_docstrings_run(module: Any, examples: int) -> None:
    assert tuple(doctest.testmod(module)) == (0, examples)


# -- two tasks --------------------------------------------------------------------------------------------------------


def two_tasks(**settings: Any) -> DigitsTwoTasks:
    """Whose heads give 0 for every image: the cross-entropy is ln 10, and the squared error that of guessing 0."""
    model = DigitsTwoTasks(hidden_size=4, **settings)
    for head in (model.label_head, model.ink_head):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    model.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return model


# The ink of the one is a deviation above the mean, that of the other two below: squared 1 and 4.
BATCH = (
    torch.tensor([[INK_MEAN + INK_DEVIATION], [INK_MEAN - 2 * INK_DEVIATION]]).repeat(1, 64) / 64,
    torch.tensor([3, 7]),
)


@pytest.mark.parametrize(
    ("settings", "weights", "loss"),
    [
        ({}, {"label": 1.0, "ink": 1.0}, math.log(10) + 5000),
        ({}, {"label": 1.9, "ink": 0.1}, 1.9 * math.log(10) + 500),
        # Learned, a classification begins with 2 and a regression with 1, whatever stands in loss_weights.
        ({"learned_weights": True}, {"label": 7.0, "ink": 7.0}, 2 * math.log(10) + 5000),
    ],
)
def test_the_loss_is_the_weighted_sum_of_both(settings: dict[str, Any], weights: dict[str, float], loss: float) -> None:
    model = two_tasks(**settings)
    model.loss_weights = weights
    outputs = model.training_step(BATCH, 0)
    assert float(outputs["label"]) == pytest.approx(math.log(10), rel=1e-5)
    assert float(outputs["ink"]) == pytest.approx(5000, rel=1e-4)
    assert float(outputs["loss"].detach()) == pytest.approx(loss, rel=1e-4)
    assert not outputs["ink"].requires_grad
    outputs["loss"].backward()
    assert model.ink_head.bias.grad is not None


def test_learned_weights_have_a_rate_of_their_own() -> None:
    model = DigitsTwoTasks(learned_weights=True, weights_learning_rate=0.2)
    rest, learned = model.configure_optimizers().param_groups
    assert [rest["lr"], learned["lr"]] == [1e-3, 0.2]
    assert [parameter.shape for parameter in learned["params"]] == [(2,)]
    every = [id(parameter) for group in (rest, learned) for parameter in group["params"]]
    assert sorted(every) == sorted(map(id, model.parameters()))
    assert len(DigitsTwoTasks().configure_optimizers().param_groups) == 1


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_settings_of_the_study() -> None:
    for settings in (*SET_POINTS.values(), *LIMITS.values()):
        [rule] = read_rules({"beta": settings})
        assert (rule.interval, rule.eval_value) == ("step", 1.0)
    assert [
        LossBalancingCallback(**arguments).settings["loss_weights"]["method"] for arguments in WEIGHTS.values()
    ] == [
        "fixed",
        "fixed",
        "dwa",
        "relobralo",
        "inverse_ema",
    ]
    for arguments in LEARNED.values():
        assert DigitsTwoTasks(**arguments).balance is not None


# -- tables and pictures ----------------------------------------------------------------------------------------------


def kl_run(*kl: float, beta: float = 0.5) -> list[dict[str, float | None]]:
    return [
        {"train_kl_loss": each, "Annealing/beta": beta, "val_reconstruction_loss": 20.0, "val_loss": 26.0}
        for each in kl
    ]


RISING = {"set_point": {"strategy": "linear", "start_value": 1.0, "end_value": 1.0, "total_steps": 2}}
"""A set point that has settings, and stays where it is."""


def test_the_table_of_set_points() -> None:
    runs = {
        # The last third of three epochs is the last one.
        "5": [kl_run(1.0, 5.2, 5.1), kl_run(5.0, 5.0, 4.8, beta=0.7)],
        "rising": [kl_run(1.0, 1.2, 1.1), kl_run(1.0, 1.0, 1.0)],
    }
    assert set_point_table(runs, {"5": {"set_point": 5.0}, "rising": RISING}).splitlines() == [
        "| set point | training KL, last third | largest deviation there | within 5 % from epoch | beta at the end "
        "| reconstruction | negative ELBO |",
        "|---|---|---|---|---|---|---|",
        "| 5 | 4.95 ± 0.21 | 4.0% | 1, 0 | 0.600 ± 0.141 | 20.00 ± 0.00 | 26.00 ± 0.00 |",
        "| rising | 1.05 ± 0.07 | 10.0% | never, 0 | 0.500 ± 0.000 | 20.00 ± 0.00 | 26.00 ± 0.00 |",
        "",
        "Nats per image; mean and standard deviation over 2 seeds, or one number for each. Reconstruction and negative "
        "ELBO are those of the validation data after the last epoch. On the way from rising the KL is at most 20.0% off "
        "from epoch 0 on.",
    ]


def limit_run(*pairs: tuple[float, float]) -> list[dict[str, float | None]]:
    return [{"train_reconstruction_loss": rec, "train_kl_loss": kl, "Annealing/beta": 0.25} for rec, kl in pairs]


def test_the_table_of_limits() -> None:
    runs = {
        "geco": [limit_run((20, 9), (18, 30), (17.5, 10)), limit_run((20, 9), (19, 20), (18.0, 12))],
        "pi": [limit_run((20, 9), (19, 9), (18.5, 9)), limit_run((20, 9), (19, 9), (19, 9))],
    }
    assert limit_table(runs, 18.0).splitlines()[2:] == [
        "| `geco` | 1, 2 | 21.00 ± 12.73 | 11.00 ± 1.41 | 17.75 ± 0.35 | +0.00 | 0.250 ± 0.000 |",
        "| `pi` | never, never | - | 9.00 ± 0.00 | 18.75 ± 0.35 | +1.00 | 0.250 ± 0.000 |",
        "",
        "Nats per image of the training data, in which the limit is 18; mean and standard deviation over 2 seeds, or one "
        "number for each. The excess is that of the mean over an epoch.",
    ]


def task_run(accuracy: float, r2: float, ink: float = 1.0) -> list[dict[str, float | None]]:
    last = {"val_accuracy": accuracy, "val_ink_r2": r2, "weight_ink": ink, "weight_label": 2 - ink}
    return [{**last, "val_accuracy": 0.1}, last]


def test_the_table_of_weights() -> None:
    runs = {"equal": [task_run(0.5, 0.9), task_run(0.75, 0.9)], "by hand": [task_run(0.9, 0.875, ink=0.001)]}
    assert table_of_weights(runs).splitlines() == [
        "| way | accuracy of the digit | R² of the ink | weight of ink, of label |",
        "|---|---|---|---|",
        "| equal | 0.625 ± 0.177 | 0.900 ± 0.000 | 1.0000, 1.00 |",
        "| by hand | 0.900 ± 0.000 | 0.875 ± 0.000 | 0.0010, 2.00 |",
        "",
        "Of the validation data after the last epoch, mean and standard deviation over 2 seeds. The weights are their "
        "means over the last epoch and the seeds.",
    ]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that would have been written."""
    from matplotlib.figure import Figure

    figures: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
    return figures


def test_the_picture_of_set_points(drawn: list[Any], tmp_path: Path) -> None:
    draw_set_points(tmp_path / "a.png", "A title", {"5": [kl_run(4, 6), kl_run(5, 5)]}, {"5": {"set_point": 5.0}})
    above, below = drawn[0].axes
    aim, kl = above.lines
    assert aim.get_xydata().tolist() == [[1, 5], [2, 5]]
    assert kl.get_xydata().tolist() == [[1, 4.5], [2, 5.5]]
    assert below.lines[0].get_xydata().tolist() == [[1, 0.5], [2, 0.5]]


def test_the_picture_of_limits(drawn: list[Any], tmp_path: Path) -> None:
    draw_limits(tmp_path / "a.png", "A title", {"geco": [limit_run((20, 9), (18, 8))]}, 18.0)
    above, kl, beta = drawn[0].axes
    assert above.lines[0].get_ydata() == [18.0, 18.0]
    assert above.lines[1].get_xydata().tolist() == [[1, 20], [2, 18]]
    assert kl.lines[0].get_xydata().tolist() == [[1, 9], [2, 8]]
    assert beta.get_yscale() == "log"


def test_the_picture_of_weights_has_a_row_for_each_way(drawn: list[Any], tmp_path: Path) -> None:
    runs = {"equal": [task_run(0.5, 0.9), task_run(0.75, 0.8)], "dwa": [task_run(0.6, 0.7)]}
    draw_weights(tmp_path / "a.png", "A title", runs)
    accuracy, r2 = drawn[0].axes
    assert [text.get_text() for text in accuracy.get_yticklabels()] == ["equal", "dwa"]
    dots, mean, others, _ = accuracy.lines
    assert dots.get_xydata().tolist() == [[0.5, 0], [0.75, 0]]
    assert mean.get_xydata().tolist() == [[0.625, -0.3], [0.625, 0.3]]
    assert others.get_xydata().tolist() == [[0.6, 1]]
    assert r2.lines[0].get_xydata().tolist() == [[0.9, 0], [0.8, 0]]


# -- the whole --------------------------------------------------------------------------------------------------------

SMALL: dict[str, Any] = {"limit_train_batches": 4, "limit_val_batches": 2}


def test_a_small_study_of_the_vae(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    options: dict[str, Any] = {"seeds": [0], "epochs": 2, "trainer": SMALL}
    runs = train_vae({"geco": LIMITS["geco"]}, tmp_path / "runs", **options)
    [[first, last]] = runs["geco"]
    # It begins at 1, and the reconstruction is far beyond its limit: beta falls, and the validation is at 1.
    assert 0.01 <= last["Annealing/beta"] < first["Annealing/beta"] < 1
    assert last["val_loss"] == pytest.approx(last["val_reconstruction_loss"] + last["val_kl_loss"], rel=1e-5)
    text = report("constraint", runs, tmp_path)
    assert "| `geco` | never | - |" in text
    assert (tmp_path / "study_constraint.md").read_text() == text
    assert (tmp_path / "study_constraint.png").stat().st_size > 20_000
    [result] = (tmp_path / "runs").glob("*/result.json")
    written = result.stat().st_mtime_ns
    assert train_vae({"geco": LIMITS["geco"]}, tmp_path / "runs", **options) == runs
    assert result.stat().st_mtime_ns == written


@pytest.mark.processes
def test_a_small_study_of_two_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(control_study, "WEIGHTS", {name: WEIGHTS[name] for name in ("equal", "by hand")})
    monkeypatch.setattr(control_study, "LEARNED", {"learned": LEARNED["learned"]})
    runs = train_tasks(tmp_path, seeds=[0], epochs=1, trainer=SMALL)
    weights = {name: [seeds[0][0][f"weight_{task}"] for task in ("label", "ink")] for name, seeds in runs.items()}
    assert weights["equal"] == [1.0, 1.0]
    assert weights["by hand"] == pytest.approx([2000 / 1000.5, 1 / 1000.5], rel=1e-5)
    # Four steps of Adam at 0.001 from 2 and 1.
    assert weights["learned"] == pytest.approx([2, 1], abs=0.01)
    assert weights["learned"] != [2, 1]


def test_the_command_trains_reports_and_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, published = [], []

    def training(folder: Path, *, workers: int) -> Any:
        trained.append((folder.name, folder.exists(), workers))
        return {"geco": [limit_run((20, 9), (18, 8))]}

    parts = {"constraint": replace(PARTS["constraint"], train=training)}
    monkeypatch.setattr(control_study, "PARTS", parts)
    monkeypatch.setattr(control_study, "publish", lambda *given: published.append(given))
    (tmp_path / "constraint").mkdir()
    arguments = ["--folder", str(tmp_path), "--workers", "1"]
    control_study.main(arguments)
    assert (trained, published) == ([("constraint", True, 1)], [])
    assert "| `geco` | 1 | 8.00 ± 0.00 |" in (tmp_path / "study_constraint.md").read_text()
    control_study.main([*arguments, "--fresh", "--publish"])
    assert trained[1:] == [("constraint", False, 1)]
    assert published == [("study_constraint", tmp_path, "docs/howto/constraint.md", "study:constraint")]


ROWS = {
    "pi_control": ["5", "10", "15", "2 to 15"],
    "constraint": ["`geco`", "`pi`"],
    "losses": ["equal", "by hand", "dwa", "relobralo", "inverse_ema", "learned", "learned, rate 0.2"],
}


@pytest.mark.parametrize("name", PARTS)
def test_the_pages_have_the_table_and_the_picture(name: str) -> None:
    page = (ROOT / PARTS[name].page).read_text()
    [shown] = re.findall(rf"<!-- study:{name} -->\n(.*?)<!-- /study:{name} -->", page, re.DOTALL)
    assert re.findall(r"^\| (.+?) \| .*±", shown, re.MULTILINE) == ROWS[name]
    assert f"(../images/study_{name}.png)" in page
    assert (ROOT / "docs" / "images" / f"study_{name}.png").stat().st_size > 20_000
