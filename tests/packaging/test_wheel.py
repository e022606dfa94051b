"""The sdist and the wheel: what is in them, and that the wheel does its work where there is no checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

import lightning_anneal

pytest.importorskip("build")
pytest.importorskip("twine")

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"

pytestmark = pytest.mark.slow


def call(*words: object, cwd: Path = ROOT) -> str:
    """Run a command without this process's paths, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_"))}
    # What a build asks for is pinned as well.
    environment["PIP_CONSTRAINT"] = str(CONSTRAINTS)
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"[-3000:]
    return done.stdout


@dataclass
class Built:
    """An sdist, and a wheel that was built from it and from nothing else."""

    sdist: Path
    wheel: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    folder = tmp_path_factory.mktemp("dist")
    call(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    [sdist], [wheel] = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Built(sdist, wheel)


def files_of(*folders: str) -> set[str]:
    """The checkout's files in some folders, without what git doesn't look at."""
    ignored = {line.rstrip("/") for line in (ROOT / ".gitignore").read_text().splitlines()}
    found = (path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    # By name anywhere, or by place, as what the documentation draws.
    return {str(path) for path in found if not ignored & {*path.parts, *map(str, path.parents)}}


def test_the_names_say_the_version(built: Built) -> None:
    version = lightning_anneal.__version__
    assert built.sdist.name == f"lightning_anneal-{version}.tar.gz"
    assert built.wheel.name == f"lightning_anneal-{version}-py3-none-any.whl"


def test_an_index_would_take_them(built: Built) -> None:
    said = call(sys.executable, "-m", "twine", "--no-color", "check", "--strict", built.sdist, built.wheel)
    assert said.count("PASSED") == 2


def test_the_wheel_has_the_package_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = set(wheel.namelist())
        info = f"lightning_anneal-{lightning_anneal.__version__}.dist-info"
        points = wheel.read(f"{info}/entry_points.txt").decode()
    own = {name for name in names if not name.startswith(f"{info}/")}
    assert own == files_of("lightning_anneal")
    assert "lightning_anneal/py.typed" in own
    assert f"{info}/licenses/LICENSE" in names
    for group in ("console_scripts", "lightning.pytorch.callbacks_factory", "pytorch_lightning.callbacks_factory"):
        assert f"[{group}]" in points


def test_the_sdist_has_what_a_checkout_needs(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    folders = ("lightning_anneal", "tests", "examples", "configs", "benchmarks", "docs", ".github", ".ci")
    files = {
        *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff", "LICENSE", "pyproject.toml"),
        *("constraints.txt", "Makefile", "hyper_main.py", ".pre-commit-config.yaml"),
    }
    # Hatchling adds what it needs to leave out the same files again.
    assert names == files_of(*folders) | files | {"PKG-INFO", ".gitignore"}


def test_a_wheel_from_the_checkout_is_the_same(built: Built, tmp_path: Path) -> None:
    call(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT)
    [direct] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(direct) as one, zipfile.ZipFile(built.wheel) as other:
        assert {f.filename: f.CRC for f in one.infolist()} == {f.filename: f.CRC for f in other.infolist()}


MINE = """
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, TensorDataset

class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.beta, self.seen = torch.nn.Linear(2, 1), 1.0, []
    def training_step(self, batch, batch_idx):
        self.seen.append(self.beta)
        return self.layer(batch[0]).mean()
    def on_train_end(self):
        print("seen", self.seen)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

class Data(LightningDataModule):
    def train_dataloader(self):
        return DataLoader(TensorDataset(torch.ones(1, 2)))
"""

USES = """
import json, sys
import lightning_anneal
values, loaded = lightning_anneal.Linear(0, 1, 4).values(6), "torch" in sys.modules
from lightning.pytorch import Trainer
from lightning_anneal import HyperparamAnnealingCallback, Linear
from mine import Data, Model
model = Model()
quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
trainer = Trainer(accelerator="cpu", max_epochs=3, callbacks=[HyperparamAnnealingCallback({"beta": Linear(0, 1, 2)})], **quiet)
trainer.fit(model, Data())
print(json.dumps([lightning_anneal.__file__, values, loaded, model.seen]))
"""

CONFIG = {
    "seed_everything": 1,
    "model": {"class_path": "mine.Model"},
    "data": {"class_path": "mine.Data"},
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 3,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [
            {
                "class_path": "lightning_anneal.BetaScheduleCallback",
                "init_args": {
                    "beta_scheduler_type": "linear",
                    "beta_scheduler_params": {"max_beta": 1.0, "warmup_epochs": 2},
                },
            }
        ],
    },
}


@pytest.fixture(scope="module")
def fresh(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a virtual environment that has the wheel.

    The packages that it depends on are those of the running interpreter, by a line in a ``.pth`` file: a second torch
    would take minutes and gigabytes. An editable install of this project is not among them, because ``.pth`` files in
    a folder that is added so aren't read; and the wheel's own folder comes before.
    """
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    own = Path(call(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    homes = [path for path in sys.path if any(Path(path or os.curdir).glob("*.dist-info"))]
    (own / "dependencies.pth").write_text("\n".join([*homes, ""]))
    # Python 3.11 and older put an old one there, which would hide the running interpreter's.
    call(python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools", cwd=folder)
    install = (python, "-m", "pip", "install", "--quiet", "--no-index", "--constraint", CONSTRAINTS)
    call(*install, "--no-deps", "--ignore-installed", built.wheel, cwd=folder)
    # Nothing is missing that the wheel asks for; with no index to get it from this would fail.
    call(*install, built.wheel, cwd=folder)
    return folder / "bin"


def test_the_installed_wheel_anneals(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "uses.py").write_text(USES)
    said = call(fresh / "python", "-W", "ignore", "uses.py", cwd=tmp_path)
    file, values, loaded, seen = json.loads(said.splitlines()[-1])
    assert Path(file).is_relative_to(fresh.parent)
    assert values == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert not loaded
    assert seen == [0.0, 0.5, 1.0]


def test_the_command_of_the_installed_wheel(fresh: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "config.yaml").write_text(
        json.dumps({**CONFIG, "trainer": {**CONFIG["trainer"], "default_root_dir": str(tmp_path)}})
    )
    said = call(fresh / "lightning-anneal", "fit", "--config", "config.yaml", cwd=tmp_path)
    assert "seen [0.0, 0.5, 1.0]" in said.splitlines()


def test_a_type_checker_sees_the_types_of_the_installed_wheel(fresh: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    for name in ("project", "mistakes"):
        shutil.copy(ROOT / "tests" / "typing" / f"{name}.py", tmp_path)
    words = [sys.executable, "-m", "mypy", "--strict", "--python-executable", str(fresh / "python")]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "MYPY"))}
    done = subprocess.run(
        [*words, "project.py", "mistakes.py"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment,
    )
    wrong = {line.partition(":")[0] for line in done.stdout.splitlines() if ": error: " in line}
    assert wrong == {"mistakes.py"}, done.stdout
    assert done.stdout.count(": error: ") == (tmp_path / "mistakes.py").read_text().count("  # ")
