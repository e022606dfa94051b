"""The general schedules under the names and parameters that people who train VAEs use.

Beta is the weight of the KL term in the loss: Higgins et al., "beta-VAE", ICLR 2017.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypedDict, overload

from lightning_anneal.checks import number, positive
from lightning_anneal.errors import AnnealError, misspelling, quote, suggestion
from lightning_anneal.schedules.cycles import Cyclical, WarmRestart
from lightning_anneal.schedules.protocol import Schedule
from lightning_anneal.schedules.ramps import Constant, Cosine, Linear, Saturating

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RestartEpochs(TypedDict):
    """Where an epoch stands among the restarts; see `RestartInfo`."""

    last_restart_epoch: int
    epochs_since_restart: float
    next_restart_epoch: int
    is_restart_epoch: bool


class BetaSchedule(Schedule, Protocol):
    """A beta scheduler is a general schedule (`curve`) with other names for its parameters."""

    curve: Schedule
    lengths: ClassVar[tuple[str, ...]] = ()
    """The parameters that are spans of time."""

    def __call__(self, t: float) -> float:
        return self.curve(t)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.curve.bounds

    @property
    def settles_at(self) -> float:
        return self.curve.settles_at

    def next_event(self, t: float) -> float:
        return self.curve.next_event(t)


def _curve() -> Any:
    return field(init=False, repr=False, compare=False)


def _check_betas(scheduler: Any, *keys: str) -> None:
    """The named fields as floats of at least 0, the smaller one first."""
    name = type(scheduler).__name__
    for key in keys:
        beta = number(f"{name}.{key}", getattr(scheduler, key))
        if beta < 0:
            raise AnnealError(f"{name}.{key}", f"must not be negative, got {beta:g}")
        object.__setattr__(scheduler, key, beta)
    if "min_beta" in keys and scheduler.min_beta > scheduler.max_beta:
        raise AnnealError(f"{name}.min_beta", f"must not be above max_beta ({scheduler.max_beta:g})")


def _check_length(scheduler: Any, key: str) -> None:
    object.__setattr__(scheduler, key, positive(f"{type(scheduler).__name__}.{key}", getattr(scheduler, key)))


@dataclass(frozen=True)
class ConstantBetaScheduler(BetaSchedule):
    """The same beta throughout.

    Args:
        max_beta: The beta.

    Example:
        >>> ConstantBetaScheduler(4.0)(10)
        4.0
    """

    max_beta: float
    curve: Schedule = _curve()

    def __post_init__(self) -> None:
        _check_betas(self, "max_beta")
        object.__setattr__(self, "curve", Constant(self.max_beta))


@dataclass(frozen=True)
class LinearBetaScheduler(BetaSchedule):
    """Warm-up in a straight line: `Linear`.

    Args:
        max_beta: Beta from the end of the warm-up on.
        warmup_epochs: Epochs of warm-up, positive.
        min_beta: Beta in the first epoch.

    Example:
        >>> LinearBetaScheduler(max_beta=1.0, warmup_epochs=4).values(6)
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    max_beta: float
    warmup_epochs: float
    min_beta: float = 0.0
    curve: Schedule = _curve()
    lengths: ClassVar[tuple[str, ...]] = ("warmup_epochs",)

    def __post_init__(self) -> None:
        _check_betas(self, "max_beta", "min_beta")
        _check_length(self, "warmup_epochs")
        object.__setattr__(self, "curve", Linear(self.min_beta, self.max_beta, self.warmup_epochs))


@dataclass(frozen=True)
class CosineBetaScheduler(BetaSchedule):
    """Warm-up along half a cosine: `Cosine`.

    Args:
        max_beta: Beta from the end of the warm-up on.
        warmup_epochs: Epochs of warm-up, positive.
        min_beta: Beta in the first epoch.

    Example:
        >>> [round(b, 3) for b in CosineBetaScheduler(max_beta=1.0, warmup_epochs=4).values(6)]
        [0.0, 0.146, 0.5, 0.854, 1.0, 1.0]
    """

    max_beta: float
    warmup_epochs: float
    min_beta: float = 0.0
    curve: Schedule = _curve()
    lengths: ClassVar[tuple[str, ...]] = ("warmup_epochs",)

    def __post_init__(self) -> None:
        _check_betas(self, "max_beta", "min_beta")
        _check_length(self, "warmup_epochs")
        object.__setattr__(self, "curve", Cosine(self.min_beta, self.max_beta, self.warmup_epochs))


@dataclass(frozen=True)
class ExponentialBetaScheduler(BetaSchedule):
    """Warm-up that is fast at first and ends without a jump: `Saturating` (a geometric curve can't start at 0).

    Args:
        max_beta: Beta from the end of the warm-up on.
        warmup_epochs: Epochs of warm-up, positive.
        min_beta: Beta in the first epoch.
        rate: Time constants within the warm-up, positive.

    Example:
        >>> [round(b, 3) for b in ExponentialBetaScheduler(max_beta=1.0, warmup_epochs=4).values(6)]
        [0.0, 0.718, 0.924, 0.983, 1.0, 1.0]
    """

    max_beta: float
    warmup_epochs: float
    min_beta: float = 0.0
    rate: float = 5.0
    curve: Schedule = _curve()
    lengths: ClassVar[tuple[str, ...]] = ("warmup_epochs",)

    def __post_init__(self) -> None:
        _check_betas(self, "max_beta", "min_beta")
        _check_length(self, "warmup_epochs")
        _check_length(self, "rate")
        object.__setattr__(self, "curve", Saturating(self.min_beta, self.max_beta, self.warmup_epochs, self.rate))


@dataclass(frozen=True)
class CyclicalBetaScheduler(BetaSchedule):
    """A beta that rises and falls: `Cyclical`.

    Args:
        cycle_length: Epochs of one cycle, positive.
        min_beta: Beta at the start of each cycle.
        max_beta: Beta in the middle of each cycle.
        wave_type: ``"cosine"`` or ``"triangle"``.

    Example:
        >>> CyclicalBetaScheduler(cycle_length=4, wave_type="triangle").values(5)
        [0.0, 0.5, 1.0, 0.5, 0.0]
    """

    cycle_length: float
    min_beta: float = 0.0
    max_beta: float = 1.0
    wave_type: str = "cosine"
    curve: Schedule = _curve()
    lengths: ClassVar[tuple[str, ...]] = ("cycle_length",)

    def __post_init__(self) -> None:
        _check_betas(self, "max_beta", "min_beta")
        _check_length(self, "cycle_length")
        try:
            curve = Cyclical(self.cycle_length, self.min_beta, self.max_beta, self.wave_type)
        except AnnealError as error:
            raise AnnealError("CyclicalBetaScheduler.wave_type", error.what) from None
        object.__setattr__(self, "wave_type", curve.wave)
        object.__setattr__(self, "curve", curve)


@dataclass(frozen=True)
class WarmRestartBetaScheduler(BetaSchedule):
    """A beta scheduler that begins again and again: `WarmRestart`.

    Args:
        base_scheduler_type: Name of the scheduler that is restarted, as in `get_beta_scheduler`.
        base_scheduler_kwargs: Its parameters.
        restart_interval: Epochs to the first restart, at least 1.
        restart_multiplier: How much longer (or shorter) each stretch is than the one before, positive.

    Example:
        >>> base = {"max_beta": 1.0, "warmup_epochs": 20}
        >>> beta = WarmRestartBetaScheduler("linear", base, restart_interval=40, restart_multiplier=1.2)
        >>> beta(39), beta(40), beta.get_restart_info(150)["last_restart_epoch"]
        (1.0, 0.0, 146)
    """

    base_scheduler_type: str
    base_scheduler_kwargs: Mapping[str, Any] = field(hash=False)
    restart_interval: float
    restart_multiplier: float = 1.0
    curve: WarmRestart = _curve()
    lengths: ClassVar[tuple[str, ...]] = ("restart_interval",)

    def __post_init__(self) -> None:
        for key in ("restart_interval", "restart_multiplier"):
            _check_length(self, key)
        kwargs = _mapping("WarmRestartBetaScheduler.base_scheduler_kwargs", self.base_scheduler_kwargs)
        object.__setattr__(self, "base_scheduler_kwargs", kwargs)
        beta_type(self.base_scheduler_type, "WarmRestartBetaScheduler.base_scheduler_type")
        base = beta_schedule(self.base_scheduler_type, kwargs, "WarmRestartBetaScheduler.base_scheduler_kwargs")
        try:
            curve = WarmRestart(base, self.restart_interval, self.restart_multiplier)
        except AnnealError as error:
            raise AnnealError("WarmRestartBetaScheduler.restart_interval", error.what) from None
        object.__setattr__(self, "curve", curve)

    def get_restart_info(self, t: float) -> RestartEpochs:
        """Where epoch ``t`` stands among the restarts, for any ``t`` in any order."""
        last, since, following, is_restart = self.curve.restart_info(t)
        return {
            "last_restart_epoch": last,
            "epochs_since_restart": since,
            "next_restart_epoch": following,
            "is_restart_epoch": is_restart,
        }


@dataclass(frozen=True)
class HierarchicalBetaScheduler:
    """Two betas, for a model with global and local latents.

    Args:
        global_scheduler: ``{"type": name, **params}`` for the weight of the global KL term.
        local_scheduler: The same for the local KL term.

    Example:
        >>> betas = HierarchicalBetaScheduler(
        ...     {"type": "linear", "max_beta": 1.0, "warmup_epochs": 10}, {"type": "constant", "max_beta": 0.5}
        ... )
        >>> betas(5)
        {'global_kl_weight': 0.5, 'local_kl_weight': 0.5}
    """

    global_scheduler: Mapping[str, Any] = field(hash=False)
    local_scheduler: Mapping[str, Any] = field(hash=False)
    global_curve: BetaSchedule = _curve()
    local_curve: BetaSchedule = _curve()

    def __post_init__(self) -> None:
        for key in ("global", "local"):
            where = f"HierarchicalBetaScheduler.{key}_scheduler"
            params = _mapping(where, getattr(self, f"{key}_scheduler"))
            object.__setattr__(self, f"{key}_scheduler", params)
            check_has_type(where, params)
            rest = {k: v for k, v in params.items() if k != "type"}
            object.__setattr__(self, f"{key}_curve", beta_schedule(params["type"], rest, where))

    def __call__(self, t: float) -> dict[str, float]:
        """Both weights in force during epoch ``t``."""
        return {"global_kl_weight": self.global_curve(t), "local_kl_weight": self.local_curve(t)}

    def values(self, n: int) -> list[dict[str, float]]:
        """Both weights of the first ``n`` epochs."""
        return [self(t) for t in range(n)]

    def plot(self, n: int | None = None, *, path: str | Path | None = None, title: str | None = None) -> Figure:
        """A picture of both weights, as `Schedule.plot` draws one.

        Raises:
            AnnealError: If matplotlib is missing, or the file can't be written.
        """
        from lightning_anneal.drawing.curves import plot_schedule

        return plot_schedule(self, n, path=path, title=title)

    def get_restart_info(self, t: float) -> dict[str, RestartEpochs]:
        """``{"global": ..., "local": ...}``, each only where that part restarts."""
        parts = {"global": self.global_curve, "local": self.local_curve}
        return {k: s.get_restart_info(t) for k, s in parts.items() if isinstance(s, WarmRestartBetaScheduler)}


SINGLE: dict[str, type[BetaSchedule]] = {
    "constant": ConstantBetaScheduler,
    "linear": LinearBetaScheduler,
    "cosine": CosineBetaScheduler,
    "exponential": ExponentialBetaScheduler,
    "cyclical": CyclicalBetaScheduler,
    "warm_restart": WarmRestartBetaScheduler,
}
"""The schedulers of one beta, by the name that configs use."""


@overload
def get_beta_scheduler(type: Literal["hierarchical"], **params: Any) -> HierarchicalBetaScheduler: ...
@overload
def get_beta_scheduler(type: Literal["warm_restart"], **params: Any) -> WarmRestartBetaScheduler: ...
@overload
def get_beta_scheduler(
    type: Literal["constant", "linear", "cosine", "exponential", "cyclical"], **params: Any
) -> BetaSchedule: ...
@overload
def get_beta_scheduler(type: str, **params: Any) -> BetaSchedule | HierarchicalBetaScheduler: ...
def get_beta_scheduler(type: str, **params: Any) -> BetaSchedule | HierarchicalBetaScheduler:
    """The beta scheduler of a name.

    Args:
        type: ``constant``, ``linear``, ``cosine``, ``exponential``, ``cyclical``, ``warm_restart`` or
            ``hierarchical``, in any case.
        params: Its parameters. Mappings among them are copied and never changed.

    Raises:
        AnnealError: For an unknown type, an unknown or missing parameter, or a value out of range.

    Example:
        >>> get_beta_scheduler("cyclical", cycle_length=10, max_beta=4.0)(5)
        4.0
        >>> get_beta_scheduler("linear", max_beta=1.0, warmup_epoch=10)
        Traceback (most recent call last):
        ...
        lightning_anneal.errors.AnnealError: linear: unknown parameter 'warmup_epoch'; did you mean 'warmup_epochs'?
    """
    if beta_type(type) == "hierarchical":
        return _construct("hierarchical", HierarchicalBetaScheduler, params)  # type: ignore[no-any-return]
    return beta_schedule(type, params)


def beta_schedule(kind: object, params: Mapping[str, Any], where: str = "") -> BetaSchedule:
    """The scheduler of one beta.

    Args:
        kind: Its type.
        params: Its parameters.
        where: What it is a part of, for errors.
    """
    name = beta_type(kind)
    if name not in SINGLE:
        raise AnnealError(where or "beta_scheduler_type", f"{name} gives two betas; take a type that gives one")
    return _construct(f"{where}.{name}".lstrip("."), SINGLE[name], params)  # type: ignore[no-any-return]


def beta_type(value: object, where: str = "beta_scheduler_type") -> str:
    """The lower-case name of a beta scheduler, or the error that lists them."""
    known = [*SINGLE, "hierarchical"]
    if isinstance(value, str) and value.lower() in known:
        return value.lower()
    raise AnnealError(where, f"unknown type {quote(value)}{suggestion(value, known)}")


def check_has_type(where: str, params: Mapping[str, Any]) -> None:
    """Refuse one part of a hierarchical scheduler that doesn't say its type."""
    if params.get("type") is None:
        every_key = {name for cls in SINGLE.values() for name in cls.__annotations__} | {"type"}
        if (key := misspelling("type", params, every_key)) is not None:
            raise AnnealError(where, f"unknown parameter {quote(key)}; did you mean 'type'?")
        raise AnnealError(f"{where}.type", f"missing{suggestion('', SINGLE)}")


def _construct(where: str, cls: Any, params: Mapping[str, Any]) -> Any:
    known = {f.name: f.default is MISSING for f in fields(cls) if f.init}
    for key in params:
        if key not in known:
            raise AnnealError(where, f"unknown parameter {quote(key)}{suggestion(key, known)}")
    missing = [key for key, required in known.items() if required and key not in params]
    if missing:
        raise AnnealError(f"{where}.{missing[0]}", "missing")
    return cls(**params)


def _mapping(where: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise AnnealError(where, f"must be a mapping, got {quote(value)}")
    return dict(value)
