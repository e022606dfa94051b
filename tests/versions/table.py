"""What ran on which versions, as a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping

from examples.study_report import put_between
from tests.versions.runs import Outcome
from tests.versions.sets import VersionSet

__all__ = ["put_between", "table"]

SHOWN = ("torch", "lightning", "torchmetrics", "omegaconf", "jsonargparse", "tensorboard", "optuna", "numpy")
"""The packages that the table tells the version of."""


def table(outcomes: Mapping[VersionSet, Outcome]) -> str:
    """A row for each set.

    Example:
        >>> chosen = VersionSet("python3.12", "3.12")
        >>> print(table({chosen: Outcome("3.12.1", "", {"numpy": "2.4"}, {"passed": 3, "skipped": 1, "failed": 0})}))
        | set | Python | torch | lightning | torchmetrics | omegaconf | jsonargparse | tensorboard | optuna | numpy | tests |
        |---|---|---|---|---|---|---|---|---|---|---|
        | python3.12 | 3.12.1 | - | - | - | - | - | - | - | 2.4 | 3 passed, 1 skipped |
        <BLANKLINE>
        >>> print(table({chosen: Outcome("3.12", "no Python 3.12 there")}).splitlines()[-1])
        | python3.12 | 3.12 | - | - | - | - | - | - | - | - | not run: no Python 3.12 there |
    """
    lines = [f"| set | Python | {' | '.join(SHOWN)} | tests |", "|---" * (len(SHOWN) + 3) + "|"]
    for chosen, outcome in outcomes.items():
        counts = ", ".join(f"{count} {kind}" for kind, count in outcome.counts.items() if count)
        told = f"not run: {outcome.not_run}" if outcome.not_run else counts
        # Without the part that says which build it is.
        versions = [outcome.versions.get(name, "-").partition("+")[0] for name in SHOWN]
        cells = [outcome.python, *versions, "; ".join(filter(None, (told, outcome.failure)))]
        lines.append(f"| {' | '.join([chosen.name, *cells])} |")
    return "\n".join([*lines, ""])
