"""Schedules: pure functions of time. Nothing in here imports torch."""

from lightning_anneal.schedules.beta import (
    ConstantBetaScheduler,
    CosineBetaScheduler,
    CyclicalBetaScheduler,
    ExponentialBetaScheduler,
    HierarchicalBetaScheduler,
    LinearBetaScheduler,
    WarmRestartBetaScheduler,
    get_beta_scheduler,
)
from lightning_anneal.schedules.cycles import Cyclical, RestartInfo, WarmRestart
from lightning_anneal.schedules.pieces import Milestones, Sequence
from lightning_anneal.schedules.protocol import Schedule
from lightning_anneal.schedules.ramps import (
    Competence,
    Constant,
    Cosine,
    Exponential,
    Linear,
    Polynomial,
    Saturating,
    Sigmoid,
)

__all__ = [
    "Competence",
    "Constant",
    "ConstantBetaScheduler",
    "Cosine",
    "CosineBetaScheduler",
    "Cyclical",
    "CyclicalBetaScheduler",
    "Exponential",
    "ExponentialBetaScheduler",
    "HierarchicalBetaScheduler",
    "Linear",
    "LinearBetaScheduler",
    "Milestones",
    "Polynomial",
    "RestartInfo",
    "Saturating",
    "Schedule",
    "Sequence",
    "Sigmoid",
    "WarmRestart",
    "WarmRestartBetaScheduler",
    "get_beta_scheduler",
]
