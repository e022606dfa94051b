"""Finds the run in a folder: what a logger has written."""

from __future__ import annotations

from pathlib import Path

from lightning_anneal.errors import AnnealError, quote

EVENTS = "events.out.tfevents.*"
METRICS = "metrics.csv"
_MOST_NAMED = 5


def find_run(folder: str | Path) -> Path:
    """The folder that a logger has written to: this one, or the only one within it.

    Raises:
        AnnealError: If there is none, or several.
    """
    folder = Path(folder)
    try:
        found_there = folder.is_dir()
    except OSError:  # a name that is longer than a folder's may be
        found_there = False
    if not found_there:
        raise AnnealError(quote(str(folder)), "no such folder")
    if _is_run(folder):
        return folder
    found = sorted({file.parent for pattern in (EVENTS, METRICS) for file in folder.rglob(pattern)})
    # A chart of several lines is a run of its own to TensorBoard, in a folder below.
    runs = [run for run in found if not any(other in run.parents for other in found)]
    if not runs:
        raise AnnealError(quote(str(folder)), f"holds no run: neither {EVENTS} nor {METRICS}")
    if len(runs) > 1:
        names = ", ".join(str(run.relative_to(folder)) for run in runs[:_MOST_NAMED])
        more = ", ..." if len(runs) > _MOST_NAMED else ""
        raise AnnealError(quote(str(folder)), f"holds {len(runs)} runs ({names}{more}); name one")
    return runs[0]


def _is_run(folder: Path) -> bool:
    return any(folder.glob(EVENTS)) or (folder / METRICS).is_file()
