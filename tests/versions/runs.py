"""A set of versions, installed and tested: what came out of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import xml.etree.ElementTree
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.versions.sets import ROOT, VersionSet

_AN_HOUR = 3600
_ASKED = (
    "import importlib.metadata as m, json; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"
)


@dataclass
class Outcome:
    """What came of a set.

    Args:
        python: The interpreter's whole version.
        not_run: Why nothing was run.
        versions: What was installed, by name.
        counts: Tests by what became of them.
        failure: What went wrong.
        seconds: How long the tests took.
    """

    python: str
    not_run: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failure: str = ""
    seconds: float = 0.0

    @property
    def green(self) -> bool:
        """Whether all that was run has passed."""
        return not self.failure


def find_python(version: str) -> Path | None:
    """An interpreter of a version such as ``3.12``: one on the PATH, or of pyenv."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    on_path = shutil.which(f"python{version}")
    own = [Path(on_path)] if on_path else []
    for candidate in (*own, *sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True)):
        # pyenv puts a name on the PATH that works only where its version is chosen.
        tried = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if tried.returncode == 0 and tried.stdout.startswith(f"Python {version}."):
            return candidate
    return None


def run(chosen: VersionSet, folder: Path, fresh: bool = False) -> Outcome:
    """Install a set and test it; the outcome is kept in the folder, too.

    Args:
        chosen: The set.
        folder: Of all sets; this one gets a folder in it, and files beside that.
        fresh: Install anew what is there already.
    """
    python = find_python(chosen.python)
    if python is None:
        return Outcome(chosen.python, f"no Python {chosen.python} there")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        outcome = test(chosen, install(chosen, python, folder, fresh), folder)
    except subprocess.CalledProcessError as error:
        print(error.stdout)
        outcome = Outcome(chosen.python, failure=f"`{' '.join(map(str, error.cmd[1:4]))} ...` failed")
    (folder / f"{chosen.name}.json").write_text(json.dumps(asdict(outcome), indent=1))
    return outcome


def kept(chosen: VersionSet, folder: Path) -> Outcome:
    """The outcome of an earlier run."""
    path = folder / f"{chosen.name}.json"
    return Outcome(**json.loads(path.read_text())) if path.exists() else Outcome(chosen.python, "never")


def install(chosen: VersionSet, python: Path, folder: Path, fresh: bool) -> Path:
    """Make the virtual environment of a set, unless there is one of just that, and return its interpreter."""
    home, constraints = folder / chosen.name, folder / f"{chosen.name}.txt"
    own, written = home / "bin" / "python", "\n".join([*chosen.constraints(), ""])
    ready = home / "ready.json"
    asked = json.dumps([written, chosen.requirements()])
    if not fresh and ready.exists() and ready.read_text() == asked:
        return own
    shutil.rmtree(home, ignore_errors=True)
    constraints.write_text(written)
    _call(python, "-m", "venv", home)
    pip = (own, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _call(*pip, "--constraint", constraints, *chosen.requirements())
    # What it needs is there, but for torch where there is none.
    _call(*pip, "--no-deps", "--editable", ROOT)
    ready.write_text(asked)
    return own


def test(chosen: VersionSet, python: Path, folder: Path) -> Outcome:
    """Run the tests of a set."""
    report = folder / f"{chosen.name}.xml"
    report.unlink(missing_ok=True)
    # The legacy report holds what a test notes of itself.
    legacy = ("-o", "junit_family=legacy")
    words = ["-p", "no:cacheprovider", *legacy, f"--junitxml={report}", *chosen.pytest_arguments()]
    whole = _call(python, "-c", "import platform; print(platform.python_version())").strip()
    outcome = Outcome(whole, versions=json.loads(_call(python, "-c", _ASKED)))
    began = time.monotonic()
    with (folder / f"{chosen.name}.log").open("w") as log:
        done = subprocess.run(
            [python, "-m", "pytest", *words],
            stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, env=_environment(python), check=False, timeout=_AN_HOUR,
        )  # fmt: skip
    outcome.seconds = round(time.monotonic() - began, 1)
    outcome.counts = counted(report) if report.exists() else {}
    if done.returncode:
        outcome.failure = f"pytest ended with {done.returncode}: see {log.name}"
    return outcome


def counted(report: Path) -> dict[str, int]:
    """How many tests passed, failed, were skipped and failed as expected, from pytest's report."""
    counts = {"passed": 0, "failed": 0, "skipped": 0, "xfailed": 0}
    for case in xml.etree.ElementTree.parse(report).iter("testcase"):
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            counts["failed"] += 1
        elif skipped is not None:
            counts["xfailed" if skipped.get("type") == "pytest.xfail" else "skipped"] += 1
        else:
            counts["passed"] += 1
    return counts


def _environment(python: Path) -> dict[str, str]:
    """This process's environment without its own paths, and with the commands of the set."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON") and key != "VIRTUAL_ENV"}
    return {**kept, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}


def _call(*words: str | Path) -> str:
    """Run a command to its end, and return what it printed."""
    return subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True, env=_environment(Path(words[0]))
    ).stdout
