"""The study of schedules: its models by hand-computed numbers, its schedules, tables, pictures, and a small one."""

from __future__ import annotations

import doctest
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import nn

from examples import active_units, study, study_report, study_runs
from examples.active_units import ActiveUnits
from examples.digits_elbo import SampledDigitsVAE
from examples.digits_vae import DigitsVAE
from examples.study import SCHEDULES, TASKS, report, settings_of, train
from examples.study_report import betas, draw, put_between, table
from examples.study_runs import publish
from examples.text_data import BOS, EOS, PAD, UNK
from examples.text_vae import TextVAE

ROOT = Path(__file__).parents[1]
A, B = 4, 5
SENTENCE = torch.tensor([[BOS, A, B, A, EOS]])


@pytest.mark.parametrize(("module", "examples"), [(active_units, 4), (study_report, 6), (study, 0), (study_runs, 0)])
def test_the_examples_in_the_docstrings_run(module: Any, examples: int) -> None:
    assert tuple(doctest.testmod(module)) == (0, examples)


def text_vae(**settings: Any) -> TextVAE:
    torch.manual_seed(0)
    settings = {"vocabulary_size": 8, "latent_size": 2, "embedding_size": 3, "hidden_size": 5, **settings}
    return TextVAE(**settings).eval().requires_grad_(False)


def fixed(layer: nn.Linear, bias: list[float]) -> None:
    """Let a layer give the same for every input."""
    nn.init.zeros_(layer.weight)
    layer.bias.data = torch.tensor(bias)


@pytest.mark.parametrize(
    ("mean", "log_variance", "kl"),
    [
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([1.0, 0.0], [0.0, 0.0], 0.5),
        ([3.0, 1.0], [0.0, 0.0], 5.0),
        ([0.0, 0.0], [math.log(4), 0.0], (4 - 1 - 1.386294) / 2),
    ],
)
def test_kl_in_nats_of_a_sentence(mean: list[float], log_variance: list[float], kl: float) -> None:
    model = text_vae()
    fixed(model.posterior, mean + log_variance)
    assert float(model.losses(SENTENCE.repeat(3, 1))["kl_loss"]) == pytest.approx(kl, abs=1e-5)


def test_reconstruction_in_nats_of_a_sentence() -> None:
    model = text_vae()
    fixed(model.output, [0.0] * 8)
    # Each of a, b, a and the end is one of eight.
    assert float(model.losses(SENTENCE)["reconstruction_loss"]) == pytest.approx(4 * math.log(8))
    # a three times as likely as each of the seven others, so 3 / 10: twice that, and twice 1 / 10.
    fixed(model.output, [0.0, 0.0, 0.0, 0.0, math.log(3), 0.0, 0.0, 0.0])
    assert float(model.losses(SENTENCE)["reconstruction_loss"]) == pytest.approx(
        2 * math.log(10 / 3) + 2 * math.log(10)
    )


def test_the_loss_is_reconstruction_and_beta_times_kl() -> None:
    model = text_vae()
    fixed(model.posterior, [3.0, 1.0, 0.0, 0.0])
    fixed(model.output, [0.0] * 8)
    model.beta = 0.5
    assert float(model.losses(SENTENCE)["loss"]) == pytest.approx(4 * math.log(8) + 2.5)


def test_padding_counts_nowhere() -> None:
    model = text_vae()
    longer = torch.tensor([[BOS, A, B, A, EOS, PAD, PAD], [BOS, B, B, B, A, A, EOS]])
    latent = torch.tensor([[0.3, -1.0]])
    torch.testing.assert_close(model.encode(longer)[0][:1], model.encode(SENTENCE)[0])
    torch.testing.assert_close(
        model.reconstruction(longer, latent.repeat(2, 1))[:1], model.reconstruction(SENTENCE, latent)
    )


def test_the_latent_reaches_every_word() -> None:
    model = text_vae()
    latent = torch.zeros(1, 2, requires_grad=True)
    model.reconstruction(SENTENCE, latent).sum().backward()
    assert latent.grad is not None
    assert (latent.grad != 0).all()


def test_the_encoder_reads_the_whole_sentence() -> None:
    model = text_vae()
    other = torch.tensor([[BOS, B, B, A, EOS]])
    assert not torch.allclose(model.encode(SENTENCE)[0], model.encode(other)[0], atol=1e-6)


def test_a_word_is_predicted_from_those_before_alone() -> None:
    model, latent = text_vae(), torch.zeros(1, 2)
    model.output.bias.data[PAD] = -1e9
    before = model.reconstruction(torch.tensor([[BOS, A]]), latent)
    costs = [model.reconstruction(torch.tensor([[BOS, A, word]]), latent) - before for word in range(1, 8)]
    # A decoder that saw the word to predict would find each of them more likely than all of them can be.
    assert sum(math.exp(-float(cost)) for cost in costs) == pytest.approx(1, rel=1e-4)


def read_by_the_decoder(model: TextVAE, tokens: torch.Tensor) -> list[int]:
    seen: list[torch.Tensor] = []
    handle = model.embedding.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model.reconstruction(tokens, torch.zeros(1, 2))
    handle.remove()
    return seen[0][0].tolist()


def test_word_dropout_hides_words_from_the_decoder_while_training() -> None:
    model = text_vae(word_dropout=1.0)
    tokens = torch.tensor([[BOS, A, B, A, EOS, PAD, PAD]])
    assert read_by_the_decoder(model, tokens) == [BOS, A, B, A, EOS, PAD]
    assert read_by_the_decoder(model.train(), tokens) == [BOS, UNK, UNK, UNK, UNK, PAD]
    assert read_by_the_decoder(text_vae(word_dropout=0.0).train(), tokens) == [BOS, A, B, A, EOS, PAD]


def test_active_units_are_those_whose_mean_varies_by_more_than_a_hundredth() -> None:
    units = ActiveUnits()
    # The variance of a and -a is 2 a^2: 0.0098, 0.0102 and, far from 0, none.
    units.update(torch.tensor([[0.07, 0.0714, 5.0]]))
    units.update(torch.tensor([[-0.07, -0.0714, 5.0]]))
    assert float(units.compute()) == 1
    units.reset()
    units.update(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert float(units.compute()) == 2


def test_the_latent_of_a_digit_is_drawn_while_validating() -> None:
    torch.manual_seed(0)
    images, ours, shown = torch.rand(4, 64), SampledDigitsVAE().eval(), DigitsVAE().eval()
    assert torch.equal(shown(images)[0], shown(images)[0])
    assert not torch.equal(ours(images)[0], ours(images)[0])
    assert torch.equal(ours(images)[1], ours(images)[1])
    assert len(ours.active_units.means) == 4
    ours.train()(images)
    assert len(ours.active_units.means) == 4


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1.0] * 16),
        ("monotonic", [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, *[1.0] * 8]),
        ("cyclical", [0.0, 0.5, 1.0, 1.0] * 4),
    ],
)
def test_the_betas_of_sixteen_steps(schedule: str, expected: list[float]) -> None:
    assert betas(settings_of(schedule), epochs=16, points=1) == expected
    assert betas(settings_of(schedule), epochs=4, points=4) == expected


def test_the_config_has_the_schedule_and_the_length_of_the_study() -> None:
    written = yaml.safe_load((ROOT / "configs" / "text_vae.yaml").read_text())
    ours = TASKS["text"].config({})
    [callback] = written["trainer"]["callbacks"]
    assert callback["init_args"]["annealing_params"]["beta"] == settings_of("cyclical")
    assert [written[part] for part in ("model", "data")] == [ours[part] for part in ("model", "data")]
    for key in ("max_epochs", "gradient_clip_val"):
        assert written["trainer"][key] == ours["trainer"][key]


def metrics(loss: float, kl: float, units: float = 2.0) -> dict[str, float | None]:
    return {"val_loss": loss, "val_reconstruction_loss": loss - kl, "val_kl_loss": kl, "val_active_units": units}


def test_the_table_has_mean_and_deviation_of_the_last_epoch() -> None:
    curves = {
        "constant": [[metrics(9, 9), metrics(10.0, 1.0, 0)], [metrics(9, 9), metrics(12.0, 2.0, 3)]],
        "cyclical": [[metrics(1, 1), metrics(5.0, 0.25)], [metrics(1, 1), metrics(5.0, 0.25)]],
    }
    assert table(curves, "image", 8).splitlines() == [
        "| beta | negative ELBO | reconstruction | KL | active units (of 8) |",
        "|---|---|---|---|---|",
        "| constant | 11.00 ± 1.41 | 9.50 ± 0.71 | 1.50 ± 0.71 | 1.5 ± 2.1 |",
        "| cyclical | 5.00 ± 0.00 | 4.75 ± 0.00 | 0.25 ± 0.00 | 2.0 ± 0.0 |",
        "",
        "Nats per image of the validation data after the last epoch, mean and standard deviation over 2 seeds.",
    ]


def test_a_run_that_diverged_is_no_number_of_a_table() -> None:
    with pytest.raises(ValueError, match="a run has diverged"):
        table({"constant": [[{**metrics(1, 1), "val_loss": None}]]}, "image", 8)


def test_the_picture_has_a_line_and_a_band_for_each_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: drawn.append(figure))
    curves = {
        "constant": [[metrics(8, 1), metrics(6, 2)], [metrics(10, 3), metrics(7, 2)]],
        "cyclical": [[metrics(7, 0), metrics(5, 1)], [metrics(7, 0), metrics(5, 1)]],
    }
    draw(tmp_path / "a.png", "A title", "image", {name: settings_of(name) for name in curves}, curves)
    above, kl, loss = drawn[0].axes
    assert [axes.get_ylabel() for axes in (above, kl)] == ["beta", "KL (nats per image)"]
    assert loss.get_xlabel() == "epochs trained"
    assert [line.get_linestyle() for line in kl.lines] == ["-", "--"]
    assert [line.get_xydata().tolist() for line in kl.lines] == [[[1, 2], [2, 2]], [[1, 0], [2, 1]]]
    assert loss.lines[0].get_xydata().tolist() == [[1, 9], [2, 6.5]]
    band = loss.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band.tolist()} == {(1, 8), (1, 10), (2, 6), (2, 7)}
    # The first cycle of four in two epochs is over after half of one.
    beta = above.lines[1].get_xydata()
    assert beta[:20, 1].tolist() == pytest.approx([i / 10 for i in range(10)] + [1.0] * 10)
    assert beta[20].tolist() == [0.5, 0.0]


def test_only_what_stands_between_the_markers_changes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there have to be the markers <!-- study:x --> and <!-- /study:x -->"):
        put_between("<!-- study:x -->\n", "study:x", "new\n")
    readme, folder = tmp_path / "README.md", tmp_path / "out"
    readme.write_text("Before\n<!-- study:text -->\n| old |\n<!-- /study:text -->\nafter\n")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    folder.mkdir()
    (folder / "study_text_vae.png").write_bytes(b"a picture")
    (folder / "study_text_vae.md").write_text("| new |\n")
    publish("study_text_vae", folder, "README.md", "study:text", tmp_path)
    assert readme.read_text() == "Before\n<!-- study:text -->\n| new |\n<!-- /study:text -->\nafter\n"
    assert (tmp_path / "docs" / "images" / "study_text_vae.png").read_bytes() == b"a picture"


@pytest.mark.parametrize("name", TASKS)
def test_the_readme_has_the_table_and_the_picture(name: str) -> None:
    readme = (ROOT / "README.md").read_text()
    [shown] = re.findall(rf"<!-- study:{name} -->\n(.*?)<!-- /study:{name} -->", readme, re.DOTALL)
    assert re.findall(r"^\| (\w+) \| \d+\.\d\d ± ", shown, re.MULTILINE) == list(SCHEDULES)
    assert f"(docs/images/study_{name}_vae.png)" in readme
    assert (ROOT / "docs" / "images" / f"study_{name}_vae.png").stat().st_size > 20_000


@pytest.mark.processes
def test_a_small_study_from_its_runs_to_its_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    task = replace(TASKS["digits"], epochs=2)
    runs = tmp_path / "runs"
    options: dict[str, Any] = {"schedules": ["monotonic", "cyclical"], "seeds": [0]}
    small = {"limit_train_batches": 4, "limit_val_batches": 2, "log_every_n_steps": 1}
    curves = train(task, runs, **options, trainer=small)
    assert {name: len(seeds) for name, seeds in curves.items()} == {"monotonic": 1, "cyclical": 1}
    # Of eight steps the ramp takes four: the fourth trains at 3/4, and the validation after it is at 1 all the same.
    first, last = curves["monotonic"][0]
    assert [epoch["Annealing/beta"] for epoch in (first, last)] == [0.75, 1.0]
    for epoch in (first, last):
        assert epoch["val_loss"] == pytest.approx(epoch["val_reconstruction_loss"] + epoch["val_kl_loss"], rel=1e-5)
    text = report(task, "digits", curves, tmp_path)
    assert f"| monotonic | {last['val_loss']:.2f} ± 0.00 |" in text
    assert (tmp_path / "study_digits_vae.md").read_text() == text
    assert (tmp_path / "study_digits_vae.png").stat().st_size > 20_000

    results = {path: path.stat().st_mtime_ns for path in runs.glob("*/result.json")}
    assert len(results) == 2
    assert train(task, runs, **options, trainer=small) == curves
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*/result.json")} == results
    with pytest.raises(SystemExit, match="has the runs of another study; --fresh does them anew"):
        train(task, runs, **options, trainer={**small, "limit_train_batches": 5})


def test_the_command_trains_reports_and_publishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, published = [], []

    def training(task: Any, folder: Path, *, workers: int) -> Any:
        trained.append((task.unit, folder.exists(), workers))
        return {"constant": [[metrics(8, 1), metrics(6.0, 2.0)]]}

    monkeypatch.setattr(study, "train", training)
    monkeypatch.setattr(study, "publish", lambda name, folder, page, marker: published.append((name, page, marker)))
    (tmp_path / "digits").mkdir()
    arguments = ["--folder", str(tmp_path), "--workers", "1"]
    study.main([*arguments, "--tasks", "digits"])
    assert (trained, published) == ([("image", True, 1)], [])
    assert "| constant | 6.00 ± 0.00 | 4.00 ± 0.00 | 2.00 ± 0.00 |" in (tmp_path / "study_digits_vae.md").read_text()
    study.main([*arguments, "--fresh", "--publish"])
    assert trained[1:] == [("sentence", False, 1), ("image", False, 1)]
    assert published == [
        ("study_text_vae", "README.md", "study:text"),
        ("study_digits_vae", "README.md", "study:digits"),
    ]
