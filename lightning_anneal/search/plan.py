"""The plan of a search in a folder of its own: its config and axes, its settings, and its runs beside it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lightning_anneal.config_files import read_config
from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search.configs import plain_config, to_yaml
from lightning_anneal.search.files import read_json, write_json, write_whole
from lightning_anneal.search.lineage import Lineage, with_lineage
from lightning_anneal.search.names import make_folder, run_name
from lightning_anneal.search.runs import CONFIG, FINISHED, RUN, Run
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.space import Axis, Point, Space

PLAN = "plan.json"
SPACE = "space.yaml"
VERSION = 1


@dataclass
class Plan:
    """A search that is written down.

    Args:
        folder: The search's folder; the runs' are beside it.
        settings: How to go about it.
        space: The config and its axes.
        began: When it was planned.
        cwd: The folder in which its runs are run.
        runs: Those that have a folder.
        moved: Whether it was written down elsewhere.
    """

    folder: Path
    settings: Settings
    space: Space
    began: datetime
    cwd: Path
    runs: list[Run] = field(default_factory=list)
    moved: bool = False

    @classmethod
    def make(cls, root: Path, settings: Settings, space: Space, points: Iterable[Point]) -> Plan:
        """Make the folders of a search and of its runs; if that fails, none is left.

        Args:
            root: Where they go.
            settings: How to go about it.
            space: The config and its axes.
            points: The values of each run.
        """
        began = datetime.now()
        folder = make_folder(root, run_name(settings.run_prefix, began, {}) + "_search")
        plan = cls(folder, settings, space, began, Path.cwd())
        try:
            axes = [{**asdict(axis), "values": list(axis.values)} for axis in space.axes.values()]
            write_whole(folder / SPACE, to_yaml({"config": space.config, "axes": axes}))
            for point in points:
                plan._make_run(point)
            plan.write()
        except BaseException:
            for made in [folder, *(run.folder for run in plan.runs)]:
                shutil.rmtree(made, ignore_errors=True)
            raise
        return plan

    @classmethod
    def load(cls, folder: str | Path) -> Plan:
        """Read a search from its folder.

        Raises:
            AnnealError: If that is no folder of a search, or of a newer version of this package.
        """
        folder = Path(folder)
        written = read_json(folder / PLAN)
        if written is None:
            others = sorted(path.parent.name for path in folder.parent.glob(f"*/{PLAN}"))
            hint = f"; there is {', '.join(others[-3:])}" if others else ""
            raise AnnealError(str(folder), f"is no folder of a search, which has a {PLAN}{hint}")
        try:
            if written["version"] > VERSION:
                what = f"was written by a newer version ({written['version']}); update the package"
                raise AnnealError(str(folder), what)
            return cls._read(folder, written, read_config(str(folder / SPACE), SPACE))
        except (KeyError, TypeError, AttributeError) as error:
            what = f"{PLAN} or {SPACE} is damaged: {type(error).__name__} at {error}"
            raise AnnealError(str(folder), what) from None

    @classmethod
    def _read(cls, folder: Path, written: dict[str, Any], space: dict[str, Any]) -> Plan:
        axes = {each["path"]: Axis(**{**each, "values": tuple(each["values"])}) for each in space["axes"]}
        # JSON has texts only as keys; the axes have the values as they were.
        known = {path: {_as_json(value): value for value in axis.values} for path, axis in axes.items()}
        runs: list[Run] = []
        for name, values in written["runs"]:
            point = {path: known.get(path, {}).get(_as_json(value), value) for path, value in values.items()}
            runs.append(Run(len(runs), folder.parent / name, point))
        return cls(
            folder,
            Settings.read(written["settings"]),
            Space(space["config"], axes),
            datetime.fromisoformat(written["began"]),
            Path(written["cwd"]),
            runs,
            moved=written.get("root") != str(folder.parent.resolve()),
        )

    def settle(self) -> None:
        """If all of it was moved to another place, let the runs that aren't finished write there."""
        if not self.moved:
            return
        for run in self.runs:
            if run.state not in FINISHED:
                self._write_run(run)
        self.moved = False
        self.write()

    def add(self, point: Point) -> Run:
        """Another run, with its folder, written down."""
        run = self._make_run(point)
        self.write()
        return run

    def write(self) -> None:
        """Write the plan down."""
        content = {
            "version": VERSION,
            "began": self.began.isoformat(),
            "cwd": str(self.cwd),
            "root": str(self.folder.parent.resolve()),
            "settings": self.settings.as_dict(),
            "runs": [[run.name, dict(run.values)] for run in self.runs],
        }
        write_json(self.folder / PLAN, content)

    def config_of(self, values: Mapping[str, Any] | Lineage, folder: Path) -> dict[str, Any]:
        """The plain config of a run with these values, or this lineage, in a folder."""
        return config_of(self.space, self.settings, values, folder)

    def run(self, index: int) -> Run:
        """The run of a number.

        Raises:
            AnnealError: If there is none.
        """
        if not 0 <= index < len(self.runs):
            raise AnnealError("--index", f"there is no run {quote(index)}; take 0 to {len(self.runs) - 1}")
        return self.runs[index]

    def _make_run(self, point: Point) -> Run:
        single = not self.space.axes and self.settings.algo == "grid"
        name = f"{self.began:%Y-%m-%d_%H%M%S}" if single else run_name(self.settings.run_prefix, self.began, point)
        folder = make_folder(self.folder.parent, name)
        run = Run(len(self.runs), folder, point)
        self.runs.append(run)
        self._write_run(run)
        return run

    def _write_run(self, run: Run) -> None:
        # Nobody knows of them before the plan is there; that one is written as a whole.
        (run.folder / CONFIG).write_text(to_yaml(self.config_of(run.values, run.folder)))
        (run.folder / RUN).write_text(json.dumps(self.order(run)))

    def order(self, run: Run) -> dict[str, Any]:
        """What the process of a run has to know."""
        return {
            "command": self.settings.command,
            "cwd": str(self.cwd),
            "values": dict(run.values),
            "monitor": self.settings.monitor,
            "mode": self.settings.mode,
            "prune": self.settings.pruner != "none",
        }


def _as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def config_of(space: Space, settings: Settings, values: Mapping[str, Any] | Lineage, folder: Path) -> dict[str, Any]:
    """The plain config of a run: with these values in their places, or with the callback that follows a lineage."""
    if isinstance(values, list):
        return plain_config(with_lineage(space.config, values), folder)
    if settings.algo == "pbt":
        return plain_config(with_lineage(space.config, [(0, dict(values))]), folder)
    return plain_config(space.at(values), folder)


def relative(path: Path) -> str:
    """A path as a reader wants it: from where they are, if it is below."""
    return os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path)
