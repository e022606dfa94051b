"""What the files for contributors, reporters and citers say is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

import lightning_anneal
from lightning_anneal import AnnealError, HyperparamAnnealingCallback, configure_optimizers

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))
PAGES = ("CONTRIBUTING.md", "SECURITY.md", "README.md", ".github/PULL_REQUEST_TEMPLATE.md")
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def page(name: str) -> str:
    return (ROOT / name).read_text()


def read(name: str) -> Any:
    return yaml.safe_load(page(name))


def pyproject(key: str) -> str:
    """The value of a line of pyproject.toml (Python 3.10 reads no TOML)."""
    [value] = re.findall(rf'^{key} = "(.*)"$', page("pyproject.toml"), re.MULTILINE)
    return str(value)


# -- citation ---------------------------------------------------------------------------------------------------------


def test_the_citation_is_of_this_package() -> None:
    citation = read("CITATION.cff")
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == lightning_anneal.__version__
    assert citation["title"] == pyproject("name")
    assert citation["license"] == pyproject("license")
    assert citation["authors"] == [{"name": "The lightning_anneal authors"}]
    # All that the format requires, and no key that it doesn't have.
    assert set(citation) == {
        *("cff-version", "message", "title", "authors"),
        *("abstract", "type", "version", "license", "keywords"),
    }


def test_the_changelog_begins_with_this_version() -> None:
    [first, *_] = re.findall(r"^## (\S+)", page("CHANGELOG.md"), re.MULTILINE)
    assert first == lightning_anneal.__version__


# -- pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_what_make_is_asked_for_is_there(name: str) -> None:
    asked = re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", page(name), re.MULTILINE)
    assert {target for pair in asked for target in pair if target} <= TARGETS


def test_contributing_tells_of_every_target() -> None:
    assert set(re.findall(r"^\| `make ([a-z-]+)` \|", page("CONTRIBUTING.md"), re.MULTILINE)) == TARGETS


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_are_there(name: str) -> None:
    text = page(name)
    linked = [path for path in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in path]
    named = re.findall(r"`((?:lightning_anneal|tests|configs|examples|docs|benchmarks)/[\w./]*)`", text)
    named += re.findall(r"`(\.?[\w-]+\.(?:md|toml|txt|cff|yaml))`", text) if name != "README.md" else []
    for path in (*linked, *named):
        assert (ROOT / path).exists(), path


def test_the_layout_has_every_folder_of_the_package() -> None:
    folders = {path.name for path in (ROOT / "lightning_anneal").iterdir() if (path / "__init__.py").exists()}
    assert set(re.findall(r"^\| `lightning_anneal/(\w+)/` \|", page("CONTRIBUTING.md"), re.MULTILINE)) == folders


def test_contributing_names_every_place_that_knows_the_schedules() -> None:
    [steps] = re.findall(r"## Add a schedule\n(.*)", page("CONTRIBUTING.md"), re.DOTALL)
    places = {
        path.relative_to(ROOT).as_posix()
        for folder in ("lightning_anneal", "tests")
        for path in (ROOT / folder).rglob("*.py")
        # Where a kind of schedule that is used by nothing else is named, by its class.
        if re.search(r"\bPolynomial\b", path.read_text())
    }
    package = {path for path in places if path.startswith("lightning_anneal/") and "schedules/ramps" not in path}
    assert package == set(re.findall(r"`(lightning_anneal/[\w/]+\.py)`", steps))


def test_pages_fit_on_a_page() -> None:
    assert len(page("CONTRIBUTING.md").splitlines()) < 90
    assert len(page("SECURITY.md").splitlines()) < 60


# -- security ---------------------------------------------------------------------------------------------------------


def test_the_supported_version_is_this_one() -> None:
    minor = lightning_anneal.__version__.rpartition(".")[0]
    assert f"| {minor} | fixes |" in page("SECURITY.md")


def test_the_bad_uploads_are_refused() -> None:
    for bad in re.findall(r"2\.6\.\d", page("SECURITY.md")):
        assert f"!={bad}" in page("pyproject.toml")


@pytest.mark.parametrize("key", ["optimizer_kwargs", "scheduler_kwargs", "scheduler_configs", "lr_parameter_groups"])
def test_settings_of_an_optimizer_are_data(key: str, tmp_path: Path) -> None:
    """``annealing_params`` and the like are looked at in test_cli.py; here is the rest that SECURITY.md names."""
    import torch

    assert key in page("SECURITY.md")
    touched = tmp_path / "touched"
    attack = {"class_path": "os.system", "init_args": {"command": f"touch {touched}"}}
    module = torch.nn.Linear(1, 1)
    for settings in (attack, {"gamma": attack}, {"lr": attack}):
        with pytest.raises(AnnealError):
            configure_optimizers(module, optimizer="SGD", scheduler="ExponentialLR", **{key: settings})
    assert not touched.exists()


def test_no_property_runs_and_no_method_is_reached(tmp_path: Path) -> None:
    from tests.tiny import Tiny, trainer_for

    class Guarded(Tiny):
        ran = False

        @property
        def trap(self) -> float:
            type(self).ran = True
            return 1.0

    def fit(path: str) -> None:
        callback = HyperparamAnnealingCallback({path: {"strategy": "linear", "end_value": 1.0}})
        trainer_for(tmp_path, callback).fit(Guarded())

    for path in ("trap", "trap.real", "forward", "layer.forward", "__class__", "layer.__dict__"):
        with pytest.raises(AnnealError):
            fit(path)
    assert not Guarded.ran
    fit("beta")


# -- hooks and templates ----------------------------------------------------------------------------------------------


def test_hooks_are_what_make_test_runs() -> None:
    local, standard = read(".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"
    words = {hook["id"]: shlex.split(hook["entry"]) for hook in local["hooks"]}
    assert words.keys() == {"ruff-check", "ruff-format", "mypy"}
    [venv] = re.findall(r"^VENV := (.*)$", MAKEFILE, re.MULTILINE)
    [recipe] = re.findall(r"^test: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    pins = page("constraints.txt")
    for program, *arguments in words.values():
        folder, _, tool = program.rpartition("/")
        assert folder == f"{venv}/bin"
        assert " ".join([f"$(BIN)/{tool}", *arguments]).removesuffix(" --force-exclude") in recipe
        assert re.search(rf"^{tool}==", pins, re.MULTILINE)
        assert f'"{tool}>=' in page("pyproject.toml")
    assert re.fullmatch(r"v\d+\.\d+\.\d+", standard["rev"])
    assert {hook["id"] for hook in standard["hooks"]} >= {
        "trailing-whitespace",
        "check-yaml",
        "check-added-large-files",
    }


@pytest.mark.parametrize("file", TEMPLATES, ids=lambda file: file.stem)
def test_issue_forms(file: Path) -> None:
    form = yaml.safe_load(file.read_text())
    if file.stem == "config":
        assert form == {"blank_issues_enabled": True}
        return
    assert {"name", "description", "body"} <= set(form)
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(set(ids)) == len(ids)
    for part in form["body"]:
        assert part["type"] in ("markdown", "textarea", "checkboxes")
        assert part["attributes"].keys() & {"label", "value"}


def test_the_templates_are_all_there() -> None:
    assert [file.name for file in TEMPLATES] == ["bug_report.yml", "config.yml", "feature_request.yml"]


@pytest.mark.parametrize(
    "name",
    ["CITATION.cff", ".pre-commit-config.yaml", *PAGES[:2], *(f".github/ISSUE_TEMPLATE/{f.name}" for f in TEMPLATES)],
)
def test_no_address_is_made_up(name: str) -> None:
    addresses = re.findall(r"https?://[^\s)>\"]+", page(name))
    assert addresses == (["https://github.com/pre-commit/pre-commit-hooks"] if name.startswith(".pre") else [])


# -- coverage ---------------------------------------------------------------------------------------------------------


def test_what_no_test_reaches_says_why() -> None:
    marks = [
        line.split("# pragma: ")[1]
        for file in (ROOT / "lightning_anneal").rglob("*.py")
        for line in file.read_text().splitlines()
        if "# pragma: " in line
    ]
    assert marks
    for mark in marks:
        assert re.fullmatch(r"no (cover|branch) - .{10,}", mark), mark
