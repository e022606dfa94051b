"""Every code block of the README runs, and every config trains."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_anneal.cli import main
from tests.shown import ROOT, blocks, fit_block, run_block

README = (ROOT / "README.md").read_text()
PYTHON = blocks(ROOT / "README.md", "python")
YAML = blocks(ROOT / "README.md", "yaml")
CONFIGS = sorted(path.name for path in (ROOT / "configs").glob("*.yaml"))
SEARCHES = [name for name in CONFIGS if name.startswith("search")]
FITS = [name for name in CONFIGS if name not in SEARCHES]

# Runs are cut to 8 steps here.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*is longer than the run", "ignore:a warm-up of (3 epochs|12 steps) never ends"
)


@pytest.fixture
def at_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("block", PYTHON, ids=range(len(PYTHON)))
def test_python_blocks(block: str) -> None:
    run_block(block, "README.md")


def quick(folder: Path, config: str) -> list[str]:
    return [
        *("fit", "--config", config, "--trainer.max_epochs=2", "--trainer.limit_train_batches=4"),
        *("--trainer.enable_progress_bar=false", f"--set=trainer.logger.init_args.save_dir={folder}"),
    ]


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("config", FITS)
def test_yaml_configs_train(tmp_path: Path, config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(quick(tmp_path, f"configs/{config}")) == 0
    assert list(tmp_path.rglob("events.*"))
    if config == "cyclical_beta.yaml":
        assert "reconstruction" in capsys.readouterr().out
        [picture] = tmp_path.rglob("run.png")
        assert picture.stat().st_size > 20_000


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("block", YAML, ids=range(len(YAML)))
def test_yaml_blocks_train(tmp_path: Path, block: str) -> None:
    assert fit_block(block, tmp_path) == 0


@pytest.mark.parametrize("config", [name for name in CONFIGS if name.startswith("lr_")])
def test_the_readme_shows_the_optimizers_of_the_configs(config: str) -> None:
    [shown] = re.findall(rf"```yaml configs/{config}\n(.*?)```", README, re.DOTALL)
    settings = yaml.safe_load((ROOT / "configs" / config).read_text())
    assert yaml.safe_load(shown) == {"optim": settings["model"]["init_args"]["optim"]}


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize("config", sorted(path.name for path in (ROOT / "configs").glob("*.json")))
def test_json_configs_train(tmp_path: Path, config: str) -> None:
    from examples.train_from_json import train

    trainer: Any = train(f"configs/{config}", str(tmp_path))
    assert trainer.current_epoch == 20


def test_the_readme_lists_every_config() -> None:
    assert {Path(name).name for name in re.findall(r"`configs/(\w+\.yaml)`", README)} == set(CONFIGS)
    for name in CONFIGS:
        sections = {"seed_everything", "model", "data", "trainer", *(["search"] if name in SEARCHES else [])}
        assert set(yaml.safe_load((ROOT / "configs" / name).read_text())) == sections


@pytest.mark.usefixtures("at_root")
@pytest.mark.parametrize(("config", "runs"), [("search.yaml", 12), ("search_pbt.yaml", 6)])
def test_the_runs_of_search_configs_train(
    tmp_path: Path, config: str, runs: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", "--config", f"configs/{config}", "--no-execute", "--root-dir", str(tmp_path)]) == 0
    folders = capsys.readouterr().out.split()
    assert len(folders) == runs
    short = ["--trainer.max_epochs=2", "--trainer.limit_train_batches=4", "--trainer.enable_progress_bar=false"]
    assert main(["fit", "--config", f"{folders[-1]}/config.yaml", *short]) == 0
    assert list(Path(folders[-1]).rglob("events.*"))


@pytest.mark.usefixtures("at_root")
def test_the_readme_shows_what_the_search_configs_search() -> None:
    shown = [yaml.safe_load(block) for block in re.findall(r"```yaml search\n(.*?)```", README, re.DOTALL)]
    for block, name in zip(shown, SEARCHES, strict=True):
        written = yaml.safe_load((ROOT / "configs" / name).read_text())
        assert part_of(written, block) == block


def part_of(whole: Any, shape: Any) -> Any:
    """What a config has at the places of another one."""
    if isinstance(shape, dict):
        return {key: part_of(whole[key], each) for key, each in shape.items()}
    return whole
