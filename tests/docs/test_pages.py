"""Every code block of the pages runs, every config in them trains, and every command and link in them is there."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Trainer

import lightning_anneal
from docs.draw import schedule_of, sections
from lightning_anneal import BetaScheduleCallback, HyperParamSearch
from lightning_anneal.cli import _OVERVIEW, main
from lightning_anneal.clock import Lengths
from lightning_anneal.config import _COMMON, read_rules
from lightning_anneal.recipes import ANY_RUN
from lightning_anneal.schedule_settings import SCHEDULE_STRATEGIES
from lightning_anneal.search.command import _ACTIONS
from lightning_anneal.strategies import _STRATEGIES
from lightning_anneal.triggers.settings import _SOURCES, TRIGGER_KEYS
from tests.shown import ROOT, blocks, fit_block, run_block

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

# Runs are cut to two epochs here, and resumed with another length.
pytestmark = pytest.mark.filterwarnings("ignore:.*is longer than the run")


def every(kind: str) -> list[Any]:
    """Each block of a kind in all pages, to be run as a test of its own."""
    return [
        pytest.param(block, id=f"{page.relative_to(DOCS)}-{i}")
        for page in PAGES
        for i, block in enumerate(blocks(page, kind))
    ]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder to write to in which the configs are, and trainers of two epochs that don't tell of them."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    given = Trainer.__init__

    # With its signature, which the search reads arguments from and keeps.
    @functools.wraps(given)
    def cut(self: Trainer, **options: Any) -> None:
        shown = {"accelerator": "cpu", "enable_progress_bar": False, "logger": False}
        given(self, **{**options, **shown, "max_epochs": min(2, options.get("max_epochs", 2))})

    monkeypatch.setattr(Trainer, "__init__", cut)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("block", every("python"))
def test_python_blocks(block: str) -> None:
    run_block(block, "a page")


@pytest.mark.parametrize("block", every("yaml"))
def test_yaml_blocks_train(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert fit_block(block, tmp_path) == 0


@pytest.mark.parametrize("block", every("yaml annealing_params"))
def test_settings_are_read(block: str) -> None:
    assert read_rules(yaml.safe_load(block))


@pytest.mark.parametrize("block", every("yaml search"))
def test_searches_are_read(block: str) -> None:
    search = HyperParamSearch(yaml.safe_load(block), quiet=True)
    search.check()
    assert search.count() == 8


def test_every_block_is_of_a_known_kind() -> None:
    kinds = {"python", "python soon", "yaml", "yaml annealing_params", "yaml search", "yaml beta", "bash"}
    for page in PAGES:
        opened = re.findall(r"^```(.*)$", page.read_text(), re.MULTILINE)[::2]
        assert {kind for kind in opened if not kind.startswith(("text ", "{"))} <= kinds, page


# -- what check prints --------------------------------------------------------------------------------------------


def test_what_check_prints_is_what_the_page_shows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "howto" / "preview.md").read_text()
    [shown] = re.findall(r"```text check\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(DOCS.parent)
    assert main(["check", "configs/warm_restart.yaml"]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"strategy": "cyclical", "cycle_length": 80, "min_value": 0, "max_value": 1}, "a cycle of 80"),
        ({"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 80}, "its 80 epochs"),
        ({"strategy": "linear", "start_value": 0, "end_value": 1, "total_steps": 6}, "stands still after 6"),
    ],
)
def test_warnings_that_the_page_shows(settings: dict[str, Any], warning: str) -> None:
    from lightning_anneal.checking.command import check
    from lightning_anneal.preview.run_config import read_run

    page = (DOCS / "howto" / "preview.md").read_text()
    arguments = {"annealing_params": {"beta": settings}}
    callback = {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": arguments}
    [told] = check(read_run({"trainer": {"max_epochs": 60, "callbacks": [callback]}}))[1]
    assert warning in told
    assert f"| `{told}` |" in page


# -- the gallery --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "section"), list(sections()))
def test_code_and_config_of_the_gallery_are_the_same_schedule(name: str, section: str) -> None:
    [kind, block] = re.findall(r"```yaml (\w+)\n(.*?)```", section, re.DOTALL)[0]
    settings = yaml.safe_load(block)
    shown = schedule_of(section)
    if kind == "beta":
        assert BetaScheduleCallback(**settings)
        assert lightning_anneal.get_beta_scheduler("hierarchical", **settings["beta_scheduler_params"]) == shown
        return
    [rule] = read_rules(settings)
    built = rule.source.build(Lengths(rule.name, "epoch", ANY_RUN), None)  # type: ignore[union-attr]
    assert built == shown


def test_the_gallery_has_every_schedule() -> None:
    text = (DOCS / "gallery.md").read_text()
    shown = {type(schedule_of(section)).__name__ for _, section in sections()}
    classes = {name for name in lightning_anneal.__all__ if hasattr(getattr(lightning_anneal, name), "settles_at")}
    assert shown - {"HierarchicalBetaScheduler"} == {name for name in classes if not name.endswith("BetaScheduler")}
    strategies = {name.lower() for name in re.findall(r"strategy: (\w+)|# or (\w+)", text) for name in name if name}
    assert strategies == set(SCHEDULE_STRATEGIES)


# -- commands -----------------------------------------------------------------------------------------------------


# What another part of the package is going to bring; to be taken out of here when it has.
def commands() -> list[tuple[str, list[str]]]:
    """The words of each line of each bash block, by page."""
    found = []
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words:
                    found.append((page.name, words))
    return found


@pytest.mark.parametrize(("page", "words"), commands(), ids=lambda value: " ".join(value)[:60])
def test_commands_are_there(page: str, words: list[str]) -> None:
    for word in words:
        if word.startswith("configs/"):
            assert (ROOT / word).is_file(), word
    command, *rest = words
    assert command in {"lightning-anneal", "make", "pip", "tensorboard"}
    if command == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(rest) <= set(targets)
    if command == "lightning-anneal":
        assert rest[0] in re.findall(r"\w+", _OVERVIEW)
        if rest[0] == "search" and not rest[1].startswith("-"):
            assert rest[1] in _ACTIONS


# -- the reference ------------------------------------------------------------------------------------------------


def test_every_public_name_is_in_the_reference() -> None:
    text = "\n".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    documented = re.findall(r"\.\. auto(?:class|function):: lightning_anneal\.(\w+)$", text, re.MULTILINE)
    assert sorted(documented) == sorted(lightning_anneal.__all__)


def rows(heading: str) -> dict[str, str]:
    """The first table under a heading of the settings page: what stands in each row, by the names in its first cell."""
    text = (DOCS / "reference" / "strategies.md").read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    table = text.split("\n|", 1)[1].split("\n\n")[0]
    return {name: line for line in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", line.split("|")[1])}


def test_the_settings_page_has_every_key() -> None:
    assert set(rows("Keys of every parameter")) == set(_COMMON)
    schedules, answers = rows("Schedules"), rows("Answers to metrics, and followers")
    assert set(schedules) == {*SCHEDULE_STRATEGIES, "trigger_based"}
    assert set(answers) == set(_STRATEGIES) - set(schedules)
    for name, strategy in _STRATEGIES.items():
        if name != "trigger_based":
            assert set(strategy.keys) <= set(re.findall(r"`(\w+)", (schedules | answers)[name])), name
    triggers = rows("Triggers")
    assert set(triggers) == set(_SOURCES)
    for name, (_, keys) in _SOURCES.items():
        assert set(keys) <= set(re.findall(r"`(\w+)", triggers[name])), name
    text = (DOCS / "reference" / "strategies.md").read_text()
    assert all(f"`{key}" in text for key in TRIGGER_KEYS)


# -- links --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_and_pictures_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", page.read_text()):
        if not target.startswith(("http", "drawn/")):
            assert (page.parent / target).is_file(), target
