"""What importing loads, and which way imports go."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import lightning_anneal

PACKAGE = Path(lightning_anneal.__file__).parent
HEAVY = ("torch", "lightning", "omegaconf", "matplotlib", "numpy")


@pytest.mark.parametrize(
    "code",
    [
        "import lightning_anneal",
        "from lightning_anneal import Cosine; Cosine(0, 1, 10)(5)",
        "from lightning_anneal import get_beta_scheduler; get_beta_scheduler('linear', max_beta=1, warmup_epochs=3)(1)",
        "import lightning_anneal.schedules",
        "from lightning_anneal.config import read_rules; read_rules({'b': {'strategy': 'linear', 'end_value': 1}})",
        "from lightning_anneal import AnnealError",
        "from lightning_anneal.controllers.balancing_settings import read_balancing",
    ],
)
def test_schedules_and_config_load_nothing_heavy(code: str) -> None:
    check = f"{code}\nimport sys\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_public_names() -> None:
    assert sorted(lightning_anneal.__all__) == lightning_anneal.__all__
    assert {name: getattr(lightning_anneal, name).__name__ for name in lightning_anneal.__all__} == {
        name: name for name in lightning_anneal.__all__
    }
    assert set(lightning_anneal.__all__) <= set(dir(lightning_anneal))


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Cosin'"):
        lightning_anneal.Cosin  # noqa: B018


# Each part of the package with those it may import, from the innermost outwards.
LAYERS = {
    "errors": set(),
    "checks": {"errors"},
    "clock": {"errors", "checks"},
    "drawing": {"errors", "checks"},
    "schedules": {"errors", "checks", "drawing"},
    "triggers": {"errors", "checks"},
    "recipes": {"errors", "checks", "clock", "schedules"},
    "to_config": {"errors", "recipes", "schedules"},
    "schedule_settings": {"errors", "checks", "clock", "schedules", "recipes"},
    "controllers": {"errors", "checks", "clock", "schedules", "recipes", "schedule_settings", "triggers"},
    "follow": {"errors", "checks"},
    "phases": {"checks", "clock", "recipes", "triggers"},
    "rules": {"clock", "controllers", "follow", "phases", "recipes", "triggers"},
    "phase_settings": {
        *("errors", "checks", "clock", "phases", "recipes", "rules", "schedule_settings", "triggers"),
    },
    "strategies": {"controllers", "follow", "recipes", "schedule_settings", "triggers"},
    "config_files": {"errors"},
    "config": {
        *("errors", "checks", "clock", "config_files", "schedules", "recipes", "rules", "strategies", "triggers"),
        *("controllers", "follow", "phase_settings", "phases", "schedule_settings"),
    },
    "balance_rules": {"checks", "clock", "config", "controllers", "errors", "recipes", "rules", "schedules"},
    "beta_rules": {"errors", "checks", "config", "recipes", "rules", "schedules"},
    "lightnings": set(),
    "run_length": {"clock", "lightnings"},
    "optim": {
        *("errors", "checks", "clock", "schedules", "recipes", "schedule_settings", "config", "lightnings"),
        "run_length",
    },
    "overrides": {"errors"},
    "terminal": set(),
    "settings_are_data": {"errors"},
    "targets": {"errors", "checks", "rules", "triggers"},
    "changes": {"checks"},
    "audit": {"changes", "checks"},
    "state": {"errors", "checks", "triggers"},
    "lines": {"errors", "clock", "controllers", "follow", "phases", "schedules", "rules", "targets", "triggers"},
    "horizons": {"clock", "errors", "state"},
    "reactions": {"checks", "errors", "lines", "rules", "targets", "triggers"},
    "steering": {"checks", "clock", "controllers", "errors", "lines", "rules", "schedules", "targets"},
    "phasing": {"checks", "clock", "errors", "phases"},
    "phased_lines": {
        *("clock", "errors", "lines", "phases", "phasing", "recipes", "rules", "schedules", "targets"),
    },
    "following": {
        *("checks", "clock", "controllers", "errors", "follow", "lines", "phases", "rules", "targets", "triggers"),
    },
    "preview": {
        *("errors", "checks", "clock", "config", "rules", "schedules", "triggers", "beta_rules", "drawing", "optim"),
        *("config_files", "controllers", "follow", "overrides", "steering", "terminal", ""),
        *("balance_rules", "phased_lines", "phases", "phasing"),
    },
    "stepping": {"lines"},
    "findings": {
        *(
            "checks",
            "clock",
            "errors",
            "follow",
            "horizons",
            "phased_lines",
            "phases",
            "phasing",
            "rules",
            "state",
            "targets",
        ),
        "triggers",
    },
    "engine": {
        *(
            "changes",
            "checks",
            "clock",
            "errors",
            "findings",
            "follow",
            "following",
            "lines",
            "phased_lines",
            "phases",
            "phasing",
        ),
        *("reactions", "rules", "schedules", "state", "steering", "stepping", "targets", "triggers"),
    },
    "batch_sizes": {"checks", "engine", "follow", "following", "reactions", "steering"},
    "manager": {
        *("errors", "checks", "clock", "config", "engine", "horizons", "steering", "targets", "triggers"),
    },
    "uncertainty": {"errors", "checks"},
    "sync": {"errors"},
    "report": {"checks", "lightnings"},
    "tensorboard": {"drawing", "lightnings"},
    "callbacks": {
        *("errors", "checks", "clock", "config", "recipes", "rules", "schedules", "targets", "triggers"),
        *(
            "audit",
            "batch_sizes",
            "changes",
            "engine",
            "horizons",
            "reactions",
            "state",
            "sync",
            "report",
            "run_length",
            "optim",
        ),
        *(
            "balance_rules",
            "beta_rules",
            "drawing",
            "lightnings",
            "lines",
            "phases",
            "preview",
            "steering",
            "tensorboard",
        ),
    },
    "callback_configs": {"config", "errors", ""},
    "lightning_cli": {
        *("errors", "callback_configs", "config_files", "overrides", "optim", "settings_are_data", "terminal"),
    },
    "checking": {
        *(
            "errors",
            "checks",
            "clock",
            "drawing",
            "schedules",
            "rules",
            "targets",
            "triggers",
            "horizons",
            "engine",
            "optim",
        ),
        *("controllers", "follow", "lightning_cli", "preview", "terminal"),
        *("balance_rules", "phased_lines", "phases", "phasing"),
    },
    "history": {"errors", "audit", "changes", "drawing", "preview", "terminal"},
    "search": {
        "drawing",
        "errors",
        "checks",
        "callback_configs",
        "config_files",
        "lightnings",
        "lightning_cli",
        "overrides",
        "settings_are_data",
        "terminal",
    },
    "cli": {"checking", "errors", "history", "lightning_cli", "preview", "search", "terminal"},
    "__init__": {"errors", "schedules", "manager", "callbacks", "optim", "search", "to_config", "uncertainty"},
}


def imported(file: Path) -> set[str]:
    """The parts of the package that a file imports; the package itself counts as ``""``."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom) and node.module == "lightning_anneal":
            names = [f"lightning_anneal.{alias.name}" for alias in node.names]
        for name in names:
            if name.split(".")[0] == "lightning_anneal":
                found.add(".".join(name.split(".")[1:2]))
    return found


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_go_one_way(file: Path) -> None:
    part = part_of(file)
    assert imported(file) - {part} <= LAYERS[part]


def test_the_layers_have_no_circle() -> None:
    order = list(LAYERS)
    for part, below in LAYERS.items():
        if part != "__init__":
            assert all(order.index(name) < order.index(part) for name in below if name)
