"""A plugin of pytest for where there is no torch: a test that asks for it is skipped, as is a file that imports it.

``pytest -p tests.versions.without_torch`` so runs all that needs none, without a list that would grow old. That the parts
which need no torch never load it is not told by this, but by tests/test_imports.py.
"""

from __future__ import annotations

import doctest
import importlib.util
from collections.abc import Generator

import pytest

MISSING = ("torch", "lightning", "pytorch_lightning", "torchmetrics")


def pytest_configure() -> None:
    if found := [name for name in MISSING if importlib.util.find_spec(name)]:
        raise pytest.UsageError(f"tests.versions.without_torch is for where there is no {' and no '.join(found)}")


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    call = getattr(report, "call", None)
    if report.failed and call is not None and (name := missing(call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(collector.path), 0, f"Skipped: needs {name}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and call.excinfo and (name := missing(call.excinfo.value)):
        report.outcome, report.longrepr = "skipped", (str(item.path), 0, f"Skipped: needs {name}")
    return report


def missing(error: BaseException | None) -> str | None:
    """Which of `MISSING` an error, or what it came from, asked for.

    Example:
        >>> missing(ModuleNotFoundError("No module named 'torch.nn'", name="torch.nn")), missing(ValueError("torch"))
        ('torch', None)
    """
    while error is not None:
        if isinstance(error, doctest.UnexpectedException):
            error = error.exc_info[1]
        elif isinstance(error, ModuleNotFoundError) and error.name and error.name.split(".")[0] in MISSING:
            return error.name.split(".")[0]
        else:
            error = error.__cause__ or error.__context__
    return None
