"""Full disks, folders that are gone, no network, and an environment with a secret in it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from torch.utils.tensorboard import SummaryWriter

from lightning_anneal import HyperparamAnnealingCallback
from tests.hostile.forked import ROOT, Server
from tests.tiny import QUIET, Tiny, trainer_for

FULL = Path("/dev/full")
"""What every write to fails as on a full disk, for root too."""
SECRET = "hunter2-is-no-number"
RISING = {"beta": {"strategy": "linear", "start_value": 0.0, "end_value": 3.0, "total_steps": 3}}

pytestmark = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")


class Folder(DummyLogger):
    """A logger that has a folder and writes nothing there by itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def log_dir(self) -> str:
        return str(self.folder)


class InEpoch(Callback):
    """Does something at the start of an epoch, before values change."""

    def __init__(self, epoch: int, act: Callable[[], object]) -> None:
        self.epoch, self.act = epoch, act

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.current_epoch == self.epoch:
            self.act()


def fitted(folder: Path, logger: Any, *before: Callback) -> list[str]:
    """Fit four epochs that must have the right values, and give what was warned of."""
    module, callback = Tiny(), HyperparamAnnealingCallback(RISING)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer_for(folder, *before, callback, logger=logger).fit(module)
    assert module.by_epoch == [0.0, 1.0, 2.0, 3.0]
    assert [change.new for change in callback.changes] == [0.0, 1.0, 2.0, 3.0]
    ours = ("can't be written", "can't show", "can't be read")
    return [str(each.message) for each in told if any(word in str(each.message) for word in ours)]


def full_from_the_start(folder: Path) -> list[Callback]:
    folder.mkdir()
    (folder / "annealing_changes.tmp").symlink_to(FULL)
    return []


def full_later(folder: Path) -> list[Callback]:
    def fill() -> None:
        (folder / "annealing_changes.csv").unlink()
        (folder / "annealing_changes.csv").symlink_to(FULL)

    return [InEpoch(1, fill)]


def a_file_in_its_place(folder: Path) -> list[Callback]:
    folder.write_text("not a folder")
    return []


def replaced_later(folder: Path) -> list[Callback]:
    def replace() -> None:
        shutil.rmtree(folder)
        folder.write_text("not a folder")

    return [InEpoch(1, replace)]


def a_folder_under_its_name(folder: Path) -> list[Callback]:
    (folder / "annealing_changes.csv" / "inside").mkdir(parents=True)
    return []


NO_SPACE = "OSError: No space left on device"


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (full_from_the_start, NO_SPACE),
        (full_later, NO_SPACE),
        (a_file_in_its_place, "FileExistsError: File exists"),
        (replaced_later, "FileExistsError: File exists"),
        (a_folder_under_its_name, "IsADirectoryError: Is a directory"),
    ],
)
def test_an_audit_that_cannot_be_written(tmp_path: Path, breaks: Callable[[Path], list[Callback]], why: str) -> None:
    folder = tmp_path / "log"
    told = fitted(tmp_path, Folder(folder), *breaks(folder))
    assert told == [f"{folder}/annealing_changes.csv can't be written ({why}); changes are kept in memory"]


def test_an_audit_whose_folder_is_taken_away_comes_back_whole(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    told = fitted(tmp_path, Folder(folder), InEpoch(1, lambda: shutil.rmtree(folder)))
    assert told == []
    rows = (folder / "annealing_changes.csv").read_text().splitlines()
    assert [row.split(",")[4] for row in rows] == ["new", "0.0", "1.0", "2.0", "3.0"]


def no_space(*args: Any, **kwargs: Any) -> None:
    FULL.write_text("x")


def test_settings_that_a_logger_cannot_write(tmp_path: Path) -> None:
    logger = Folder(tmp_path / "log")
    logger.log_hyperparams = no_space
    told = fitted(tmp_path, logger)
    assert told == [
        "Folder can't show what is annealed (OSError: [Errno 28] No space left on device); the run goes on without"
    ]


@pytest.mark.parametrize("method", ["add_image", "add_custom_scalars"])
def test_a_picture_or_a_layout_that_tensorboard_cannot_write(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SummaryWriter, method, no_space)
    told = fitted(tmp_path, TensorBoardLogger(tmp_path))
    assert told == [
        "TensorBoard can't show what is annealed (OSError: [Errno 28] No space left on device); the run goes on without"
    ]


# -- the command --------------------------------------------------------------------------------------------------


def write_config(folder: Path, logs: Path, search: Any = None, **model: Any) -> None:
    """A config that trains two epochs under a callback, and logs elsewhere."""
    callback = {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": {"annealing_params": RISING}}
    logger = {"class_path": "lightning.pytorch.loggers.TensorBoardLogger", "init_args": {"save_dir": str(logs)}}
    content = {
        "seed_everything": 1,
        "model": {"class_path": "tests.tiny.Tiny", "init_args": model},
        "data": {"class_path": "tests.tiny.Data"},
        "trainer": {**QUIET, "max_epochs": 4, "logger": logger, "default_root_dir": str(logs), "callbacks": [callback]},
        **({"search": search} if search else {}),
    }
    (folder / "a.yaml").write_text(yaml.safe_dump(content))


def tree(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


NETWORK = ("socket.", "urllib.", "ftplib.", "http.", "smtplib.")


def talks(events: list[tuple[str, list[Any]]]) -> list[tuple[str, list[Any]]]:
    """The events of a network; a socket that isn't connected is none."""
    return [event for event in events if event[0].startswith(NETWORK)]


@pytest.fixture
def places(tmp_path: Path) -> dict[str, Path]:
    """Empty folders for all that a program may write to by itself, and one for logs."""
    found = {name: tmp_path / name for name in ("cwd", "HOME", "TMPDIR", "MPLCONFIGDIR", "logs")}
    for folder in found.values():
        folder.mkdir()
    return found


def environment(places: dict[str, Path]) -> dict[str, str]:
    named = {name: str(places[name]) for name in ("HOME", "TMPDIR", "MPLCONFIGDIR")}
    return {**named, "PYTHONDONTWRITEBYTECODE": "1", "SECRET_TOKEN": SECRET}


def test_a_fit_a_preview_a_check_and_a_plot_stay_at_home(server: Server, places: dict[str, Path]) -> None:
    cwd, logs = places["cwd"], places["logs"]
    write_config(cwd, logs)
    run = logs / "lightning_logs" / "version_0"
    for words in (
        ["fit", "--config", "a.yaml"],
        ["check", "a.yaml"],
        ["preview", "a.yaml"],
        ["plot", str(run)],
        ["plot", str(run), "--against", "a.yaml"],
    ):
        ended = server.run(*words, cwd=cwd, env=environment(places))
        assert (ended.code, talks(ended.events)) == (0, []), ended.err
        assert ended.args_of("import") != []
        # matplotlib keeps a list of the fonts that it has found. That is all.
        assert tree(places["HOME"]) == tree(places["TMPDIR"]) == []
        assert [name for name in tree(places["MPLCONFIGDIR"]) if not name.startswith("fontlist-")] == []
        assert tree(cwd) == ["a.yaml"]
    # The picture is what `plot` was asked for; the config and the hparams are Lightning's.
    assert [name for name in tree(run) if not name.startswith("events.out.tfevents")] == [
        *("annealing.png", "annealing_changes.csv", "config.yaml", "hparams.yaml")
    ]
    assert {name.rpartition("/")[0] for name in tree(logs)} == {"lightning_logs/version_0"}


# In every Python process below it, without a word in the command.
HOOK = """
import os, sys
def hook(event, args, to=os.open(os.environ["NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)):
    if event.startswith(("socket.", "urllib.", "begins")):
        os.write(to, (event + " " + repr(args[1:]) + "\\n").encode())
sys.addaudithook(hook)
sys.audit("begins", 0, sys.argv[0])
"""
LOCAL = ("socket.__new__", "socket.gethostname", "begins")


def everything(folder: Path) -> str:
    """All that is written in a folder, as text."""
    return "".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())


def test_a_search_stays_at_home_and_keeps_the_secret(server: Server, places: dict[str, Path], tmp_path: Path) -> None:
    cwd = places["cwd"]
    token = "${oc.env:SECRET_TOKEN}"
    write_config(cwd, places["logs"], {"monitor": "val_loss"}, momentum=[0.5], token=token)
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(HOOK)
    (cwd / "mine.py").write_text(
        "from tests.tiny import Tiny\n\n\nclass Mine(Tiny):\n    def __init__(self, token: str, momentum: float = 0.0):\n"
        "        super().__init__(momentum=momentum)\n        self.save_hyperparameters()\n"
    )
    config = (cwd / "a.yaml").read_text().replace("tests.tiny.Tiny", "mine.Mine")
    (cwd / "a.yaml").write_text(config)
    notes = tmp_path / "notes.txt"
    env = {**environment(places), "NOTES": str(notes), "PYTHONPATH": f"{tmp_path / 'hook'}:{ROOT}"}
    ended = server.run("search", "--config", "a.yaml", cwd=cwd, env=env)
    assert (ended.code, talks(ended.events)) == (0, []), ended.err
    events = notes.read_text().splitlines()
    assert sum(event.startswith("begins") for event in events) >= 2  # the run's keeper, and its fit
    assert [event for event in events if not event.startswith(LOCAL)] == []
    assert tree(places["HOME"]) == tree(places["TMPDIR"]) == tree(places["logs"]) == []
    assert {name.partition("/")[0] for name in tree(cwd)} == {"a.yaml", "mine.py", "runs"}
    [run] = (cwd / "runs").glob("*/result.json")
    assert token in (run.parent / "config.yaml").read_text()
    assert SECRET not in everything(cwd) + ended.out + ended.err


def test_results_that_cannot_be_written(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lr: [0.1, 0.2]\n")
    # The run itself fills the place of the table.
    blocker = "import glob, os; os.makedirs(glob.glob('runs/*_search')[0] + '/results.csv/inside', exist_ok=True)"
    command = f'{sys.executable} -c "{blocker}" {{config}}'
    ended = server.run("search", "--config", "a.yaml", "--command", command, cwd=tmp_path)
    [folder] = tmp_path.glob("runs/*_search")
    warned = [line for line in ended.err.splitlines() if line.startswith(("warning", "error"))]
    assert warned == [
        f"warning: runs/{folder.name}/results.csv can't be written (Is a directory); search table tries again"
    ]
    assert ended.code == 0
    states = [json.loads(path.read_text())["state"] for path in tmp_path.glob("runs/*/status.json")]
    assert states == ["done", "done"]


def test_a_search_on_a_full_disk_leaves_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("lr: [0.1, 0.2]\nnote: " + "x" * 1000)
    words = ["search", "--config", "a.yaml", "--command", "true {config}"]
    ended = server.run(*words, cwd=tmp_path, largest_file=500)
    assert ended.code == 1
    assert ended.last == "error: search: File too large"
    assert "Traceback" not in ended.err
    assert tree(tmp_path) == ["a.yaml"]


@pytest.mark.parametrize("command", [["search", "--dry-run", "--config"], ["fit", "--config"], ["check"], ["preview"]])
def test_an_error_does_not_tell_the_secret(server: Server, tmp_path: Path, command: list[str]) -> None:
    write_config(tmp_path, tmp_path)
    config = (tmp_path / "a.yaml").read_text().replace("end_value: 3.0", "end_value: ${oc.env:SECRET_TOKEN}")
    (tmp_path / "a.yaml").write_text(config)
    ended = server.run(*command, "a.yaml", cwd=tmp_path, env={"SECRET_TOKEN": SECRET})
    assert ended.code == 2
    assert ended.last == "error: beta.end_value: must be a number, got '${oc.env:SECRET_TOKEN}'"
    assert SECRET not in ended.out + ended.err


def test_a_command_with_a_secret(server: Server, tmp_path: Path) -> None:
    """The run gets it, and no file has it."""
    program = f"import sys; sys.exit(0 if sys.argv[1] == {SECRET[::-1]!r}[::-1] else 3)"
    (tmp_path / "a.yaml").write_text("lr: [0.1, 0.2]\n")
    command = f'{sys.executable} -c "{program}" ${{oc.env:SECRET_TOKEN}} {{config}}'
    ended = server.run(
        *("search", "--config", "a.yaml", "--command", command), cwd=tmp_path, env={"SECRET_TOKEN": SECRET}
    )
    assert ended.code == 0, ended.err
    assert SECRET not in everything(tmp_path) + ended.out + ended.err
    assert os.listdir(tmp_path / "runs") != []
