"""A run that goes on with another length than it began with: what becomes of the lengths that depend on it."""

from __future__ import annotations

from lightning_anneal.clock import Horizon
from lightning_anneal.errors import AnnealError
from lightning_anneal.state import Found

HORIZON_POLICIES = ("keep", "stretch", "error")
"""What can become of them."""

Run = dict[str, float | None]
"""The length of a run, by ``max_epochs`` and ``max_steps``."""


def planned(horizon: Horizon) -> Run:
    """The length of the planned run, as a checkpoint holds it."""
    return {"max_epochs": horizon.max_epochs, "max_steps": horizon.max_steps}


def follow(found: Found, run: Run, horizon: Horizon, policy: str) -> tuple[Found, Run, str]:
    """Do as the policy says if the run's length is another than the one that lengths were found with.

    Args:
        found: What was found at the first fit start.
        run: The run's length then; empty if this is the first.
        horizon: The run's length now.
        policy: One of `HORIZON_POLICIES`.

    Returns:
        What counts as found, the length that it was found with, and what to warn of; empty if there is nothing.

    Raises:
        AnnealError: If the length is another, and the policy is ``"error"``.

    Example:
        >>> found = {"beta": {"start": [0.0], "lengths": {"total_steps=50%": 5.0}}}
        >>> follow(found, {"max_epochs": 10, "max_steps": None}, Horizon(20), "stretch")[0]
        {'beta': {'start': [0.0], 'lengths': {}}}
    """
    other = {key: value for key, value in planned(horizon).items() if run and value != run.get(key)}
    relative = [f"{name}.{key.split('=')[0]}" for name, entry in found.items() for key in entry["lengths"]]
    if not relative or not other:
        return found, run, ""
    were = ", ".join(f"{key} {_text(run.get(key))} -> {_text(value)}" for key, value in other.items())
    what = f"the run's length has changed ({were}), which these depend on: {', '.join(relative[:3])}"
    if policy == "error":
        raise AnnealError("on_horizon_change", f"{what}; take 'keep' or 'stretch'")
    if policy == "keep":
        return found, run, f"{what}; they stay as they were (on_horizon_change: stretch would let them follow)"
    # Without its lengths an entry is found anew.
    anew = {name: {**entry, "lengths": {}} for name, entry in found.items()}
    return anew, {**run, **other}, f"{what}; they are found anew"


def _text(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"
