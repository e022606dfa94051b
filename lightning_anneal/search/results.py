"""What came out of a search: the runs by rank, as a table, a CSV file and a picture."""

from __future__ import annotations

import csv
import io
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError, suggestion
from lightning_anneal.search.configs import SEED
from lightning_anneal.search.files import write_whole
from lightning_anneal.search.lineage import read_lineages, values_at
from lightning_anneal.search.names import labels
from lightning_anneal.search.plan import Plan
from lightning_anneal.search.runs import Best, Run

TABLE = "results.csv"
PICTURE = "results.png"
Row = dict[str, Any]


class SearchResult:
    """The outcome of a search, read from the folders of its runs; also of one that isn't finished.

    Args:
        plan: The search.

    Example:
        >>> import tempfile
        >>> from lightning_anneal import HyperParamSearch
        >>> folder = tempfile.mkdtemp()
        >>> search = HyperParamSearch({"lr": [0.1, 0.2]}, command="true {config}", root_dir=folder, quiet=True)
        >>> [(row["lr"], row["state"]) for row in search.run().table]
        [(0.1, 'done'), (0.2, 'done')]
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.monitor, self.mode = plan.settings.monitor, plan.settings.mode or "min"
        reached = [(run, run.best(self.monitor, self.mode)) for run in plan.runs]
        # A member of a population may have reached its best with other values than its last, perhaps those of the one
        # that it took over from.
        for i, lineage in enumerate(read_lineages(plan.folder)):
            run, best = reached[i]
            if best is not None:
                reached[i] = replace(run, values=values_at(lineage, best.epoch)), best
        sign = 1 if self.mode == "min" else -1
        # Those without the metric come last, in the order of their numbers.
        reached.sort(key=lambda each: (each[1] is None, sign * each[1].value if each[1] else 0, each[0].index))
        self._ranked = reached

    def __repr__(self) -> str:
        return self.leaderboard()

    @property
    def folder(self) -> Path:
        """The search's folder, which `HyperParamSearch.resume` takes."""
        return self.plan.folder

    @property
    def runs(self) -> list[Run]:
        """The runs, the best first."""
        return [run for run, _ in self._ranked]

    @property
    def best(self) -> Run:
        """The best run; with several seeds, the best one of the combination that is best on average.

        Raises:
            AnnealError: If no run has logged the metric.
        """
        averages = self.averages
        if not any(run.epochs for run in self.plan.runs):
            raise AnnealError(str(self.folder), "no run has finished an epoch with Lightning yet")
        if not averages:
            logged = {name for run in self.plan.runs for metrics in run.epochs.values() for name in metrics}
            raise AnnealError(f"'{self.monitor}'", f"no run has logged it{suggestion(self.monitor, logged)}")
        first = averages[0]["runs"]
        return next(run for run, _ in self._ranked if run.name in first)

    @property
    def table(self) -> list[Row]:
        """A row for each run, the best first, with its values, the metrics of its best epoch, and how it went."""
        paths = list(dict.fromkeys(path for run in self.plan.runs for path in run.values))
        short = self._columns(paths)
        rows = []
        for rank, (run, best) in enumerate(self._ranked, 1):
            epochs = run.epochs
            row: Row = {"rank": rank if best else None, "run": run.name, "state": run.state, "index": run.index}
            row |= {short[path]: run.values.get(path) for path in paths}
            row |= {self.monitor: best.value if best else None, "best_epoch": best.epoch if best else None}
            row["epochs"] = len(epochs)
            row |= {name: value for name, value in (epochs[best.epoch] if best else {}).items() if name not in row}
            rows.append(row)
        return rows

    @property
    def averages(self) -> list[Row]:
        """A row for each combination that has the metric, the best first, with mean and deviation over the seeds."""
        groups: dict[str, list[tuple[Run, Best]]] = {}
        for run, best in self._ranked:
            if best is not None:
                point = {path: value for path, value in run.values.items() if path != SEED}
                groups.setdefault(repr(point), []).append((run, best))
        rows = []
        for members in groups.values():
            reached = [best.value for _, best in members]
            short = self._columns([path for path in members[0][0].values if path != SEED])
            rows.append(
                {short[path]: members[0][0].values[path] for path in short}
                | {
                    f"mean {self.monitor}": statistics.fmean(reached),
                    "deviation": statistics.stdev(reached) if len(reached) > 1 else 0.0,
                    "seeds": len(reached),
                    "runs": [run.name for run, _ in members],
                }
            )
        sign = 1 if self.mode == "min" else -1
        return sorted(rows, key=lambda row: sign * row[f"mean {self.monitor}"])

    def leaderboard(self, most: int = 10) -> str:
        """The best runs as a table for the terminal."""
        first = ("rank", "index", "state")
        rows = [{name: row[name] for name in (*first, *row) if name != "run"} for row in self.table]
        wide = list(rows[0]).index("epochs") + 1 if rows else 0
        text = _table([{name: row[name] for name in list(rows[0])[:wide]} for row in rows[:most]])
        if len(rows) > most:
            text += f"\n... and {len(rows) - most} more in {TABLE}"
        if len(self.plan.settings.seeds) > 1:
            kept = [{name: value for name, value in row.items() if name != "runs"} for row in self.averages[:most]]
            text += "\n\nover the seeds\n" + _table(kept)
        return text

    def to_csv(self, path: str | Path | None = None) -> Path:
        """Write the table; by default as ``results.csv`` into the search's folder."""
        rows = self.table
        columns = list(dict.fromkeys(name for row in rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        target = Path(path) if path else self.plan.folder / TABLE
        write_whole(target, text.getvalue())
        return target

    def plot(self, path: str | Path | None = None) -> Path:
        """Draw the metric over each axis; by default as ``results.png`` into the search's folder.

        Raises:
            AnnealError: If matplotlib is missing (extra ``plot``), or no run has the metric.
        """
        from lightning_anneal.search.picture import draw

        return draw(self, Path(path) if path else self.plan.folder / PICTURE)

    def _columns(self, paths: list[str]) -> dict[str, str]:
        """The columns of the axes: short names, unless a metric or another column has the name."""
        taken = {"rank", "run", "state", "index", "best_epoch", "epochs", "deviation", "seeds", "runs", self.monitor}
        taken |= {name for run in self.plan.runs for metrics in run.epochs.values() for name in metrics}
        # A path of one key is its own shortest name.
        whole = {path: f"config.{path}" if path in taken else path for path in paths}
        return {path: whole[path] if short in taken else short for path, short in labels(paths).items()}


def _table(rows: list[Row]) -> str:
    if not rows:
        return "no runs yet"
    cells = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
