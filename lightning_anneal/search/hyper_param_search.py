"""HyperParamSearch: from one config with several values for some keys to runs that are executed and ranked."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_anneal.errors import AnnealError, quote
from lightning_anneal.search.configs import SECTION, SEED, names_classes, read_search_config, with_seed
from lightning_anneal.search.engines import check_needs
from lightning_anneal.search.execute import execute_plan
from lightning_anneal.search.plan import Plan, config_of
from lightning_anneal.search.points import count_points, points
from lightning_anneal.search.population import first_points, population_space
from lightning_anneal.search.results import SearchResult
from lightning_anneal.search.runs import FINISHED, LOG
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.space import Axis, Point, Space, check_arguments, find_space
from lightning_anneal.settings_are_data import refuse_classes
from lightning_anneal.terminal import say

EXECUTION = ("workers", "gpus_per_run", "cpus_per_run", "retries", "fail_fast", "engine", "ray_address")
"""Settings that a search may have others of when it is resumed."""
_SHOWN = 8


class HyperParamSearch:
    """A search over the lists of a config.

    Args:
        config: A YAML file, a folder whose first file by name is taken, or a mapping. Its lists become axes: marks
            (``{grid: [...]}``, ``{fixed: [...]}``) decide first, then the types of the arguments, then plain rules. A
            section ``search`` holds settings.
        variations: More axes, by path; they take the place of those that the config has there.
        root_dir: Where the folders go.
        quiet: Whether to tell nothing on stderr.
        settings: As `Settings` has them; they win over those of the config.

    Raises:
        AnnealError: For anything in the config that can't be.

    Example:
        >>> vae = {"class_path": "examples.digits_vae.DigitsVAE", "init_args": {"learning_rate": [1e-3, 1e-4]}}
        >>> search = HyperParamSearch({"model": vae, "trainer": {"max_epochs": [5, 10, 20]}})
        >>> search.count()
        6
        >>> print(search.preview())
        6 runs, by grid
          model.init_args.learning_rate  0.001, 0.0001  (by its type)
          trainer.max_epochs             5, 10, 20      (by its type)
    """

    def __init__(
        self,
        config: str | Path | Mapping[str, Any],
        variations: Mapping[str, Sequence[Any]] | None = None,
        *,
        root_dir: str | Path = "runs",
        quiet: bool = False,
        **settings: Any,
    ) -> None:
        # Models are named by their import path, and a project's own lie in the folder it is run from.
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        self._config, section = read_search_config(config)
        refuse_classes(self._config)
        self._source = {**self._config, SECTION: section}
        self._variations, self._given = dict(variations or {}), settings
        self._root, self._quiet = Path(root_dir), quiet
        self._settings = Settings.read(section, settings)
        self._space = self._find()

    def __repr__(self) -> str:
        return self.preview()

    def axes(self) -> list[Axis]:
        """What is varied."""
        return list(self._space.axes.values())

    def count(self) -> int:
        """How many runs there are to be.

        Raises:
            AnnealError: If they are more than ``max_runs``, or a grid has a range.
        """
        return count_points(self._space, self._settings)

    def preview(self) -> str:
        """Each axis with its values and why it is one, the number of runs, and lists that could be meant either way."""
        count = self.count()
        rows = [(axis.path, _values(axis), f"({axis.found})") for axis in self.axes()]
        if self._settings.seeds:
            rows.append((SEED, ", ".join(map(str, self._settings.seeds)), "(seeds)"))
        widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
        asked = (self._settings.n_runs or 0) * max(1, len(self._settings.seeds))
        fewer = f" ({asked} were asked for, and there are no more)" if count < asked else ""
        lines = [f"{count} run{'s' * (count != 1)}, by {self._settings.algo}{fewer}"]
        lines += [f"  {path.ljust(widths[0])}  {values.ljust(widths[1])}  {found}" for path, values, found in rows]
        lines += [f"  note: {hint}" for hint in self._space.hints]
        return "\n".join(lines)

    def run_grid_search(
        self,
        variations: Mapping[str, Sequence[Any]] | None = None,
        run_prefix: str | None = None,
        execute: bool = True,
        **settings: Any,
    ) -> list[Path]:
        """Make a folder with its own config for each combination, and run them.

        Args:
            variations: More axes, by path.
            run_prefix: What the names of the folders begin with.
            execute: Whether to run them; `HyperParamSearch.resume` does it later.
            settings: More of them, such as ``workers``.

        Returns:
            The runs' folders.

        Raises:
            AnnealError: If runs failed, after all have ended; or for a mistake, before anything is made.
        """
        search = self._with(variations, **settings, algo="grid", run_prefix=run_prefix)
        plan = search.plan()
        if execute:
            result = execute_plan(plan, quiet=self._quiet)
            failed = [run for run in result.runs if run.state not in FINISHED]
            if failed:
                first = f"the first one's log is {failed[0].folder / LOG}"
                raise AnnealError(str(plan.folder), f"{len(failed)} of {len(plan.runs)} runs failed; {first}")
        return [run.folder for run in plan.runs]

    def run(self, **settings: Any) -> SearchResult:
        """Search, and return what came out; failed runs are in it as such.

        Args:
            settings: More of them, such as ``algo`` and ``n_runs``.
        """
        return execute_plan(self._with(None, **settings).plan(), quiet=self._quiet)

    def plan(self) -> Plan:
        """Make the folders, and run nothing.

        Raises:
            AnnealError: If a run's config can't be; then nothing is made.
        """
        self.check()
        if not self._quiet:
            say(self.preview())
        made = () if self._settings.algo == "tpe" else self._points()
        return Plan.make(self._root, self._settings, self._space, made)

    def check(self) -> None:
        """Look at every config of the search, and read one as ``fit`` will.

        Raises:
            AnnealError: For the first mistake.
        """
        self.count()
        check_needs(self._settings)
        if self._settings.command is not None:
            return
        from lightning_anneal.callback_configs import check_callbacks

        seen: set[str] = set()
        for point in self._points():
            config = config_of(self._space, self._settings, point, self._root / "run")
            # The types have been asked about plain values. Other runs differ in their callbacks, and in whole classes.
            structure = repr([value for path, value in point.items() if _is_structure(path, value)])
            check_callbacks(config)
            if structure not in seen:
                self._read_as_fit(config)
            seen.add(structure)

    def _read_as_fit(self, config: dict[str, Any]) -> None:
        from lightning_anneal.lightning_cli import check_config

        try:
            check_config(config)
        except AnnealError:
            if not names_classes(config):
                what = "is missing, and `fit` can't run this config: --command 'python train.py {config}'"
                raise AnnealError("search.command", what) from None
            # LightningCLI tells neither where nor what may have been meant.
            check_arguments(config)
            raise

    @staticmethod
    def resume(folder: str | Path, **settings: Any) -> SearchResult:
        """Run what is left of a search: what failed, was stopped or never began. Finished runs stay as they are.

        Args:
            folder: The search's folder.
            settings: Others for its execution, such as ``workers``.

        Raises:
            AnnealError: If the folder is no search's, another process works on it, or a setting is for a new search.
        """
        return execute_plan(resumed_plan(folder, settings))

    def _find(self) -> Space:
        space = find_space(with_seed(self._config))
        for path, values in self._variations.items():
            space.vary(path, values)
        if self._settings.seeds:
            if SEED not in space.config:
                raise AnnealError("search.seeds", f"the config has no {SEED} to put them into; add it")
            if SEED in self._variations:
                raise AnnealError("search.seeds", f"{SEED} is varied, too; take one of both")
            space.axes.pop(SEED, None)
        algo, pbt = self._settings.algo, self._settings.pbt
        return population_space(space, pbt) if algo == "pbt" and pbt else space

    def _points(self) -> Iterable[Point]:
        """The values of the runs; of tpe, those that come first in the config."""
        settings = self._settings
        if settings.algo == "pbt":
            return first_points(self._space, settings.n_runs or 0, settings.sampler_seed)
        if settings.algo == "tpe":
            return [{path: axis.values[0] for path, axis in self._space.axes.items()}]
        return points(self._space, settings)

    def _with(self, variations: Mapping[str, Sequence[Any]] | None, **settings: Any) -> HyperParamSearch:
        """The same search with more axes and other settings."""
        return HyperParamSearch(
            self._source,
            {**self._variations, **(variations or {})},
            root_dir=self._root,
            quiet=self._quiet,
            **{**self._given, **{name: value for name, value in settings.items() if value is not None}},
        )


def resumed_plan(folder: str | Path, settings: Mapping[str, Any]) -> Plan:
    """The plan of a search that goes on, perhaps with other settings for its execution; ``None`` leaves one as it is.

    Raises:
        AnnealError: If the folder is no search's, or a setting is for a new search.
    """
    for name, value in settings.items():
        if name not in EXECUTION and value is not None:
            what = "belongs to a new search; one that is resumed goes on as it was planned"
            raise AnnealError(f"search.{name}", what)
    plan = Plan.load(folder)
    plan.settings = Settings.read(plan.settings.as_dict(), settings)
    return plan


def _is_structure(path: str, value: Any) -> bool:
    """Whether a value changes which arguments there are."""
    return isinstance(value, Mapping) or path.endswith("class_path")


def _values(axis: Axis) -> str:
    if axis.scale:
        return f"{axis.values[0]} to {axis.values[1]}" + (" (log)" if axis.scale == "log_uniform" else "")
    shown = [value if isinstance(value, str) else quote(value) for value in axis.values[:_SHOWN]]
    return ", ".join(shown) + (f", ... ({len(axis.values)})" if len(axis.values) > _SHOWN else "")
