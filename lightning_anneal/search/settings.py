"""The settings of a search, from its config's ``search`` section, from Python or from the command line."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from lightning_anneal.checks import choice, count, flag, number, positive
from lightning_anneal.errors import AnnealError, quote, suggestion

ENGINES = ("local", "ray")
ALGORITHMS = ("grid", "random", "tpe", "pbt")
MODES = ("min", "max")
PRUNERS = ("none", "median", "successive_halving")

_AT_LEAST_ONE = ("n_runs", "workers", "cpus_per_run", "max_runs")
_COUNTS = {**dict.fromkeys(_AT_LEAST_ONE, 1), "gpus_per_run": 0, "retries": 0, "sampler_seed": 0}


@dataclass(frozen=True)
class PbtSettings:
    """Population based training: what it changes, how often and how.

    Args:
        annealing_params: What is changed: names of parameters, as for `HyperparamAnnealingCallback`, each with a list
            of values or a range, ``{uniform: [low, high]}`` or ``{log_uniform: [low, high]}``.
        interval: Epochs between two exchanges.
        quantile: The part of the population that takes over from the same part of the best.
        resample: How likely a value is drawn anew instead of moved from where it was.
        factors: What a number from a range is multiplied by, one of both; a value of a list moves to a neighbour.
    """

    annealing_params: Mapping[str, Any] = field(default_factory=dict)
    interval: int = 1
    quantile: float = 0.25
    resample: float = 0.25
    factors: tuple[float, float] = (0.8, 1.2)

    def __post_init__(self) -> None:
        if not isinstance(self.annealing_params, Mapping) or not self.annealing_params:
            raise AnnealError("search.pbt.annealing_params", "name at least one parameter with its values")
        object.__setattr__(self, "interval", count("search.pbt.interval", self.interval))
        for name, most in (("quantile", 0.5), ("resample", 1.0)):
            value = number(f"search.pbt.{name}", getattr(self, name))
            if not 0 <= value <= most:
                raise AnnealError(f"search.pbt.{name}", f"must be from 0 to {most}, got {quote(value)}")
            object.__setattr__(self, name, value)
        factors = self.factors
        if not isinstance(factors, list | tuple) or len(factors) != 2:
            raise AnnealError("search.pbt.factors", f"must be two numbers, got {quote(factors)}")
        object.__setattr__(self, "factors", tuple(positive("search.pbt.factors", factor) for factor in factors))


@dataclass(frozen=True)
class Settings:
    """How a search goes about it.

    Args:
        run_prefix: What the names of its folders begin with.
        algo: ``grid``: every combination; ``random``: some of them; ``tpe``: Optuna's; ``pbt``: a population that
            exchanges weights and values while it trains.
        n_runs: How many runs, or the size of the population; a grid needs none.
        seeds: Each combination is run with each of these seeds.
        monitor: The metric that ranks the runs, by its best epoch.
        mode: Whether less (``min``) or more (``max``) of it is better; goes without saying for losses and errors only.
        engine: ``local``: processes on this machine; ``ray``: on a Ray cluster.
        workers: How many runs at once; by default one, and on a Ray cluster as many as it has room for.
        gpus_per_run: GPUs that each run has for itself. By default the machine's are dealt out one by one.
        cpus_per_run: Threads of each run; by default the machine's cores over the workers, on a Ray cluster one.
        retries: How often a run that was killed or failed is taken up again from its last checkpoint.
        fail_fast: Whether a failed run ends the search.
        max_runs: A larger search is refused.
        command: What is run, with ``{config}`` and perhaps ``{run_dir}`` in it; by default this package's own ``fit``.
        pruner: Which of Optuna's pruners ends runs that promise little: ``median`` or ``successive_halving``.
        sampler_seed: The seed of what a search draws.
        ray_address: Of a cluster; by default one is started on this machine.
        pbt: For ``algo: pbt``.

    Raises:
        AnnealError: For an unknown setting or a value that it can't have.

    Example:
        >>> Settings.read({"workers": 2, "monitor": "val_acc", "mode": "max"}).mode
        'max'
    """

    run_prefix: str = "run"
    algo: str = "grid"
    n_runs: int | None = None
    seeds: tuple[int, ...] = ()
    monitor: str = "val_loss"
    mode: str | None = None
    engine: str = "local"
    workers: int | None = None
    gpus_per_run: int | None = None
    cpus_per_run: int | None = None
    retries: int = 1
    fail_fast: bool = False
    max_runs: int = 10_000
    command: str | None = None
    pruner: str = "none"
    sampler_seed: int = 0
    ray_address: str | None = None
    pbt: PbtSettings | None = None

    def __post_init__(self) -> None:
        for name, known in (("algo", ALGORITHMS), ("engine", ENGINES), ("pruner", PRUNERS)):
            object.__setattr__(self, name, choice(f"search.{name}", getattr(self, name), known))
        for name, least in _COUNTS.items():
            if getattr(self, name) is not None:
                object.__setattr__(self, name, count(f"search.{name}", getattr(self, name), least))
        for name in ("run_prefix", "monitor", "ray_address"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise AnnealError(f"search.{name}", f"must be a name, got {quote(value)}")
        flag("search.fail_fast", self.fail_fast)
        self._check_seeds()
        self._check_mode()
        self._check_command()
        self._check_algorithm()

    @classmethod
    def read(cls, *sources: Mapping[str, Any]) -> Settings:
        """Settings from mappings; a later one has the last word, and ``None`` in it leaves a setting as it is."""
        given: dict[str, Any] = {}
        known = [each.name for each in fields(cls)]
        for source in sources:
            for key, value in source.items():
                if key not in known:
                    raise AnnealError("search", f"unknown setting {quote(key)}{suggestion(key, known)}")
                if value is not None:
                    given[key] = value
            if source.get("algo") == "grid" and source.get("n_runs") is None:
                # What was meant for another algorithm.
                given.pop("n_runs", None)
        if given.get("pbt") is not None and not isinstance(given["pbt"], Mapping):
            raise AnnealError("search.pbt", f"must be a mapping with annealing_params, got {quote(given['pbt'])}")
        if "pbt" in given:
            pbt = [each.name for each in fields(PbtSettings)]
            for key in given["pbt"]:
                if key not in pbt:
                    raise AnnealError("search.pbt", f"unknown setting {quote(key)}{suggestion(key, pbt)}")
            given["pbt"] = PbtSettings(**given["pbt"])
        return cls(**given)

    def changed(self, **changes: Any) -> Settings:
        """The same with other values."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, Any]:
        """As plain values, which `read` reads."""
        return asdict(self)

    def _check_seeds(self) -> None:
        if not isinstance(self.seeds, list | tuple):
            raise AnnealError("search.seeds", f"must be a list of whole numbers, got {quote(self.seeds)}")
        seeds = tuple(count("search.seeds", seed, least=0) for seed in self.seeds)
        for i, seed in enumerate(seeds):
            if seed in seeds[:i]:
                raise AnnealError("search.seeds", f"{seed} is there twice; the same run twice tells nothing")
        object.__setattr__(self, "seeds", seeds)

    def _check_mode(self) -> None:
        if self.mode is None:
            if not any(word in self.monitor.lower() for word in ("loss", "error", "err", "nll", "perplexity")):
                what = f"say what is best for {quote(self.monitor)}: --mode min or --mode max"
                raise AnnealError("search.mode", what)
            object.__setattr__(self, "mode", "min")
        else:
            object.__setattr__(self, "mode", choice("search.mode", self.mode, MODES))

    def _check_command(self) -> None:
        if self.command is None:
            return
        if not isinstance(self.command, str) or "{config}" not in self.command:
            raise AnnealError("search.command", f"must have {{config}} in it, got {quote(self.command)}")
        try:
            shlex.split(self.command)
        except ValueError as error:
            raise AnnealError("search.command", f"can't be split into words: {error}".lower()) from None

    def _check_algorithm(self) -> None:
        if self.algo in ("random", "tpe", "pbt") and self.n_runs is None:
            what = "the population of pbt" if self.algo == "pbt" else f"a search by {self.algo}"
            raise AnnealError("search.n_runs", f"{what} needs a number of runs: --n-runs 20")
        if self.algo in ("tpe", "pbt") and self.seeds:
            raise AnnealError("search.seeds", f"{self.algo} goes with one seed, the config's seed_everything")
        if self.algo == "pbt":
            if self.pbt is None:
                raise AnnealError("search.pbt", "is missing: say what pbt changes under search.pbt.annealing_params")
            if self.pruner != "none":
                raise AnnealError("search.pruner", "pbt prunes by itself; leave the pruner out")
            if self.n_runs is not None and self.n_runs < 2:
                raise AnnealError("search.n_runs", f"a population has at least 2, got {self.n_runs}")
        elif self.n_runs is not None and self.algo == "grid":
            raise AnnealError("search.n_runs", "a grid has all its runs; take --algo random for some of them")
