"""The sets of versions that are tested: each a Python and what is installed in it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]

# Where a small build of torch is to be had: elsewhere PyPI has only one that brings gigabytes for GPUs.
TORCH_PYTHON = "3.11"
WITHOUT_TORCH = "torch isn't installed: PyPI has no build of it for the CPU alone"

_NEED_TORCH = ("torch", "lightning", "torchmetrics")
_EXTRAS = ("plot", "optuna", "examples")
# Of the tools these are what tests import; only rich, which Lightning draws a progress bar with, has an oldest.
_TOOLS = ("pytest", "hypothesis")
_DRAWS = "rich"

# What looks at the project's files and not at what is installed, and long trainings of the examples.
_NOT_ABOUT_VERSIONS = (
    *("tests/docs", "tests/packaging", "tests/typing", "tests/versions"),
    *("tests/test_repository_files.py", "tests/test_text_data.py"),
    *("tests/test_study.py", "tests/test_control_study.py", "tests/test_curriculum.py"),
)
# What starts processes that train, and what asks the classes of a config for their arguments.
_NEED_TORCH_UNSEEN = (
    *("tests/ddp", "tests/kill", "tests/search", "tests/test_readme_and_configs.py", "tests/hostile/test_bad_yaml.py"),
    *("lightning_anneal/search", "lightning_anneal/callback_configs.py"),
)
# Newer releases of torch warn of what old ones of Lightning do.
_OLD = ("-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning")


@dataclass(frozen=True)
class VersionSet:
    """A Python, what is installed in it, and how its tests are run.

    Args:
        name: On the command line, in the table, and of its folder.
        python: Version of the interpreter.
        oldest: Whether every dependency is at its lower bound; else at its newest.
        torch: Whether there is a torch for this Python.
    """

    name: str
    python: str
    oldest: bool = False
    torch: bool = False

    def requirements(self) -> list[str]:
        """What pip is told to install, besides this package."""
        wanted = [requirement for requirement in stated() if self.torch or requirement.name not in _NEED_TORCH]
        return [*map(str, wanted), *(tool for tool in _TOOLS)]

    def constraints(self) -> list[str]:
        """The versions that pip is held to."""
        pins = dict(lower_bounds(stated())) if self.oldest else {}
        # The same release under its other name, which Lightning asks for without a version.
        if "lightning" in pins:
            pins["pytorch-lightning"] = pins["lightning"]
        # Named where it isn't wanted, too: nothing may bring another.
        pins["torch"] = pinned_torch()
        return [f"{name}=={version}" for name, version in sorted(pins.items())]

    def pytest_arguments(self) -> list[str]:
        """What pytest is told."""
        left_out = (*_NOT_ABOUT_VERSIONS, *(() if self.torch else _NEED_TORCH_UNSEEN))
        words = [f"--ignore={path}" for path in left_out]
        return [*words, *(_OLD if self.oldest else ()), *(() if self.torch else ("-p", "tests.versions.without_torch"))]


SETS = (
    VersionSet("oldest", TORCH_PYTHON, oldest=True, torch=True),
    VersionSet("newest", TORCH_PYTHON, torch=True),
    VersionSet("python3.10", "3.10"),
    VersionSet("python3.12", "3.12"),
    VersionSet("python3.13", "3.13"),
)


def stated(pyproject: Path = ROOT / "pyproject.toml") -> list[Requirement]:
    """What the package says that it needs, with the extras that are tested."""
    project: Mapping[str, Any] = tomllib.loads(pyproject.read_text())["project"]
    extras: Mapping[str, list[str]] = project["optional-dependencies"]
    lines = [*project["dependencies"], *(line for extra in _EXTRAS for line in extras[extra])]
    found = {requirement.name: requirement for requirement in map(Requirement, lines)}
    [draws] = [requirement for requirement in map(Requirement, extras["dev"]) if requirement.name == _DRAWS]
    return [*found.values(), draws]


def lower_bounds(requirements: Iterable[Requirement]) -> dict[str, str]:
    """The oldest version that each may have.

    Raises:
        ValueError: If one states none: then nobody could say what is tested.

    Example:
        >>> lower_bounds([Requirement("lightning>=2.5,!=2.6.2,<3"), Requirement("jsonargparse[signatures]>=4.37")])
        {'lightning': '2.5', 'jsonargparse': '4.37'}
    """
    bounds = {}
    for requirement in requirements:
        found = [specifier.version for specifier in requirement.specifier if specifier.operator == ">="]
        if len(found) != 1:
            raise ValueError(f"{requirement} states no lower bound, or two")
        bounds[requirement.name] = found[0]
    return bounds


def pinned_torch(constraints: Path = ROOT / "constraints.txt") -> str:
    """The torch that can be installed, from where it is pinned for everything else."""
    [version] = re.findall(r"^torch==(\S+)$", constraints.read_text(), re.MULTILINE)
    return str(version)
