"""Test the oldest and the newest supported versions, and every Python: ``python -m tests.versions``.

Each set gets a virtual environment in ``build/versions``, which is kept until what it asks for changes, and a log of its
tests beside it. A Python that isn't there is told, and is no failure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.versions.runs import kept, run
from tests.versions.sets import ROOT, SETS
from tests.versions.table import put_between, table

PAGE = ROOT / "docs" / "reference" / "versions.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if a test failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [chosen.name for chosen in SETS]
    parser.add_argument("--sets", nargs="+", choices=names, default=names, help="some of the sets")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "versions", help="where everything goes")
    parser.add_argument("--fresh", action="store_true", help="install anew; the newest may have been superseded")
    parser.add_argument("--publish", action="store_true", help="put the table of all sets into the documentation, too")
    options = parser.parse_args(arguments)
    outcomes = {chosen: kept(chosen, options.folder) for chosen in SETS}
    for chosen in SETS:
        if chosen.name in options.sets:
            print(f"{chosen.name} ...", flush=True)
            outcomes[chosen] = run(chosen, options.folder.resolve(), options.fresh)
    text = table(outcomes)
    print(text)
    red = [chosen.name for chosen, outcome in outcomes.items() if not outcome.green]
    if options.publish and not red:
        PAGE.write_text(put_between(PAGE.read_text(), "versions", text))
    if red:
        print(f"Not green: {', '.join(red)}; the logs are {options.folder}/*.log", file=sys.stderr)
    return int(bool(red))


if __name__ == "__main__":
    sys.exit(main())
