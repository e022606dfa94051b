"""The strategies of a config, and which part of the package reads each one."""

from __future__ import annotations

from lightning_anneal.controllers.controller import Steer
from lightning_anneal.controllers.settings import CONTROLLER_STRATEGIES
from lightning_anneal.follow import Follow, read_follow
from lightning_anneal.recipes import Recipe
from lightning_anneal.schedule_settings import SCHEDULE_STRATEGIES, Settings, Strategy, strategy_of
from lightning_anneal.triggers.reaction import Reaction
from lightning_anneal.triggers.settings import PLATEAU_KEYS, TRIGGER_KEYS, read_plateau, read_reaction

_STRATEGIES: dict[str, Strategy] = {
    **SCHEDULE_STRATEGIES,
    "trigger_based": Strategy(read_reaction, TRIGGER_KEYS, ("trigger_source",)),
    "on_plateau": Strategy(read_plateau, PLATEAU_KEYS, ()),
    **CONTROLLER_STRATEGIES,
    "follow": Strategy(read_follow, ("other", "scale", "power", "offset"), ("other",)),
}


def read_source(where: str, settings: Settings, common: tuple[str, ...]) -> Recipe | Reaction | Steer | Follow:
    """Where the values of a parameter come from.

    Args:
        where: The parameter's name, for errors.
        settings: Its settings, made of plain dicts and lists.
        common: The keys that every strategy can have here.

    Raises:
        AnnealError: For an unknown strategy or key, a missing key, or a value that can't be.
    """
    name = strategy_of(where, settings, _STRATEGIES, common)
    source: Recipe | Reaction | Steer | Follow = _STRATEGIES[name].source(where, name, settings, common)
    return source
