"""Whole files, and the lock of a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.search import files
from lightning_anneal.search.files import copy_whole, locked, read_json, write_json, write_whole


def test_a_file_is_written_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "status.json"
    assert read_json(path) is None
    write_json(path, {"state": "running", "lr": 1e-7})
    assert read_json(path) == {"state": "running", "lr": 1e-7}
    with pytest.raises(TypeError):
        write_json(path, {"state": object()})
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "\ud800")
    assert read_json(path) == {"state": "running", "lr": 1e-7}
    assert [each.name for each in tmp_path.iterdir()] == ["status.json"]


def test_what_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("{")
    with pytest.raises(AnnealError, match=r"plan\.json: can't be read: Expecting property name"):
        read_json(path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from lightning_anneal.search.files import locked\n"
        "try:\n"
        "    with locked(Path(sys.argv[1]) / 'lock'): print('held')\n"
        "except Exception as error: print(error)\n"
    )

    def other() -> str:
        return subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True).stdout

    with locked(tmp_path / "lock"):
        assert f"{tmp_path}: process {os.getpid()} works on it; wait for it, or end it" in other()
    assert other() == "held\n"


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from lightning_anneal.search.files import locked\n"
        "with locked(Path(sys.argv[1]) / 'lock'): os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)]).returncode == -9
    with locked(tmp_path / "lock"):
        pass


def test_a_lock_may_be_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ExitStack()
    other.enter_context(locked(tmp_path / "lock"))
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:
            other.close()

    monkeypatch.setattr(files, "time", SimpleNamespace(monotonic=lambda: len(waited), sleep=sleep))
    with locked(tmp_path / "lock", wait_s=4):
        assert len(waited) == 3
    other.enter_context(locked(tmp_path / "lock"))
    del waited[:]
    monkeypatch.setattr(files, "time", SimpleNamespace(monotonic=lambda: len(waited), sleep=waited.append))
    with pytest.raises(AnnealError, match="works on it"), locked(tmp_path / "lock", wait_s=4):
        pass
    assert len(waited) == 4
    other.close()


def test_a_folder_is_copied_as_a_whole(tmp_path: Path) -> None:
    """As sharded checkpoints are."""
    source, place = tmp_path / "source", tmp_path / "last.ckpt"
    for name, text in (("source/shards/0", "new"), (".last.ckpt/cut off", ""), ("last.ckpt/old", "old")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    copy_whole(source, place)
    assert [path.relative_to(place).as_posix() for path in place.rglob("*")] == ["shards", "shards/0"]
    assert (place / "shards" / "0").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.ckpt", "source"]
    assert (source / "shards" / "0").read_text() == "new"
