"""Run the suites that the documentation tells of, and tell what came out: ``python -m tests.suites short``.

``--publish`` puts the results into the documentation; those of suites that weren't run stay as they were.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from examples.study_report import put_between
from tests.suites.listed import FORMS, SUITES, Suite
from tests.versions.runs import counted

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tested.md"
RESULTS = ROOT / "docs" / "tested.json"

Results = dict[str, dict[str, str]]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=FORMS)
    names = [suite.name for suite in SUITES]
    parser.add_argument("--suites", nargs="+", choices=names, default=names, metavar="NAME", help="some of them")
    parser.add_argument("--publish", action="store_true", help="put the results into the documentation, too")
    options = parser.parse_args(arguments)
    results: Results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    red = []
    for suite in SUITES:
        if suite.name in options.suites and (options.form == "short" or suite.long):
            green, told = run(suite, options.form)
            print(f"{suite.name}: {told}", flush=True)
            results.setdefault(suite.name, {})[options.form] = told
            red += [] if green else [suite.name]
    if options.publish and not red:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
        PAGE.write_text(put_between(PAGE.read_text(), "suites", table(results)))
    return int(bool(red))


def run(suite: Suite, form: str) -> tuple[bool, str]:
    """Run one suite; whether it is green, and what came out."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        words = [
            "-p",
            "no:cacheprovider",
            "-o",
            "junit_family=legacy",  # which holds what a test notes of itself
            f"--junitxml={report}",
            *suite.paths,
            *(suite.options if form == "long" else ()),
        ]
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *words], cwd=ROOT, check=False, capture_output=True, text=True
        )
        seconds = time.monotonic() - began
        if done.returncode:
            print(done.stdout[-4000:])
            return False, f"pytest ended with {done.returncode}"
        counts = ", ".join(f"{count} {kind}" for kind, count in counted(report).items() if count)
        noted = [f"{p.get('name')} {p.get('value')}" for p in ElementTree.parse(report).iter("property")]
        return True, "; ".join([f"{counts} in {duration(seconds)}", *noted])


def duration(seconds: float) -> str:
    """A time as one says it.

    Example:
        >>> duration(47.6), duration(421)
        ('48 s', '7 min 1 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def table(results: dict[str, dict[str, Any]]) -> str:
    """A row for each suite.

    Example:
        >>> print(table({"Schedules": {"short": "7 passed in 1 s"}}).splitlines()[2][-66:])
        18 kinds x 7 properties x 200 examples | 7 passed in 1 s | 5,000 examples each | - |
    """
    lines = ["| suite | tries | in `make test` | last result | in `make test-all` | last result |", "|---" * 6 + "|"]
    for suite in SUITES:
        found = results.get(suite.name, {})
        cells = [suite.name, suite.tries, suite.short, found.get("short", "-"), suite.long or "the same"]
        lines.append(f"| {' | '.join([*cells, found.get('long', '-') if suite.long else ''])} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
