"""Configs with one mistake each: every mistake is one line that names it, and the config stays as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lightning_anneal import AnnealError, BetaScheduleCallback, HyperparamAnnealingCallback
from lightning_anneal.config import read_file
from tests.hostile import examples
from tests.hostile.mutations import Mutant, Mutations

SEED = 20260101
PARAMETERS = [{name: settings} for name, settings in examples.EACH.items()] + examples.written_parameters()
BETAS = examples.BETAS + examples.written_betas()


def read(config: dict[str, Any]) -> None:
    """As a callback takes it."""
    if "beta_scheduler_type" in config or not all(isinstance(v, dict | type(None)) for v in config.values()):
        BetaScheduleCallback(**config)
    else:
        HyperparamAnnealingCallback(config)


def same(one: Any, other: Any) -> bool:
    """Whether two configs are equal to the last type, however deep; NaN is itself."""
    left = [(one, other)]
    while left:
        a, b = left.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, dict):
            if list(a) != list(b):
                return False
            left += list(zip(a.values(), b.values(), strict=True))
        elif isinstance(a, list | tuple):
            if len(a) != len(b):
                return False
            left += list(zip(a, b, strict=True))
        elif a != b and a == a:
            return False
    return True


def told(mutant: Mutant) -> str | None:
    """The line about a mutant."""
    try:
        read(mutant.config)
    except AnnealError as error:
        return str(error)
    return None


def wrong(mutant: Mutant, line: str | None) -> str | None:
    """What is wrong with what was told."""
    if line is None:
        return "accepted"
    if len(line) > 200:
        return "too long"
    if not line.isprintable():
        return "more than one printable line"
    if not any(name in line for name in mutant.named):
        return "doesn't name it"
    return None


def test_every_example_is_valid() -> None:
    for config in PARAMETERS + BETAS:
        read(config)
    assert len(PARAMETERS) >= 50
    assert len(BETAS) >= 15


@pytest.mark.parametrize("size", [2_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_mutated_configs(size: int, record_property: Any) -> None:
    found: dict[str, list[str]] = {}
    misspelled = right = 0
    sizes = (size * 4 // 5, size - size * 4 // 5)
    for configs, n in zip((PARAMETERS, BETAS), sizes, strict=True):
        # The same mutants twice: what the reader got, and what it should have left as it was.
        for mutant, untouched in zip(Mutations(configs, SEED).make(n), Mutations(configs, SEED).make(n), strict=True):
            line = told(mutant)
            problem = wrong(mutant, line) or (None if same(mutant.config, untouched.config) else "changed")
            if problem is not None:
                found.setdefault(f"{mutant.kind}: {problem}", []).append(f"{mutant.named} {str(line)[:250]!r}")
            if mutant.meant is not None:
                misspelled += 1
                right += f"did you mean {mutant.meant!r}" in str(line)
    record_property("suggested", f"{right} of {misspelled}")
    assert {problem: (len(cases), cases[:5]) for problem, cases in found.items()} == {}
    assert misspelled > size / 4
    assert right / misspelled >= 0.95


DUPLICATES = """\
beta:
  strategy: linear
  end_value: 1
  {key}: {value}
  {key}: {value}
"""


@pytest.mark.parametrize("key", ["total_steps", "interval", "attr_name", "start_value", "no_such_key"])
def test_a_key_that_stands_twice_in_a_file(tmp_path: Path, key: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(DUPLICATES.format(key=key, value=3))
    with pytest.raises(AnnealError) as caught:
        read_file(file)
    assert f"duplicate key {key}" in str(caught.value)
    assert len(str(caught.value)) <= 200
