"""The grammar of paths."""

from __future__ import annotations

import pytest

from lightning_anneal import AnnealError
from lightning_anneal.targets.path import parse_path


@pytest.mark.parametrize(
    ("path", "segments"),
    [
        ("beta", ("beta",)),
        ("encoder.net.2.p", ("encoder", "net", "2", "p")),
        ("optimizer.param_groups.*.weight_decay", ("optimizer", "param_groups", "*", "weight_decay")),
        ("optimizer.param_groups.no-decay.lr", ("optimizer", "param_groups", "no-decay", "lr")),
        ("optimizers.1.param_groups.0.betas.0", ("optimizers", "1", "param_groups", "0", "betas", "0")),
    ],
)
def test_segments(path: str, segments: tuple[str, ...]) -> None:
    assert parse_path("x", path) == segments


PRIVATE = "is private; names with a leading underscore can't be annealed"
NO_NAME = "is no name and no index; write names and indices joined by dots"
BRACKETS = "has brackets; write indices with dots, as in 'net.0.p'"


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("_beta", f"'_beta' {PRIVATE}"),
        ("__class__.x", f"'__class__' {PRIVATE}"),
        ("loss._temperature", f"'_temperature' {PRIVATE}"),
        ("net[0].p", f"'net[0]' {BRACKETS}"),
        ("net.-1.p", f"'-1' {NO_NAME}"),
        ("net.01.p", f"'01' {NO_NAME}"),
        ("net..p", f"'' {NO_NAME}"),
        (".p", f"'' {NO_NAME}"),
        ("p.", f"'' {NO_NAME}"),
        ("a b", f"'a b' {NO_NAME}"),
        ("beta\n", f"'beta\\n' {NO_NAME}"),
        ("bеta", f"'bеta' {NO_NAME}"),  # noqa: RUF001  (a Cyrillic letter)
        ("a.**.b", f"'**' {NO_NAME}"),
        ("x()", f"'x()' {NO_NAME}"),
        ("", "a path has 1 to 500 characters, got 0"),
        ("a." * 5000, "a path has 1 to 500 characters, got 10000"),
    ],
)
def test_refused(path: str, what: str) -> None:
    with pytest.raises(AnnealError) as error:
        parse_path("x", path)
    assert str(error.value) == f"x: {what}"
