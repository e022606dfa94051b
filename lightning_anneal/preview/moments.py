"""What is worth telling of a schedule: what it is called, and when it begins again."""

from __future__ import annotations

from lightning_anneal.schedules import Schedule, WarmRestart
from lightning_anneal.schedules import Sequence as SequenceSchedule
from lightning_anneal.schedules.callables import FromCallable

_MOST_MOMENTS = 1000


def moments(curve: Schedule, until: float) -> list[tuple[float, str]]:
    """When a schedule restarts, and when another part of a sequence begins; the first thousand of them.

    Example:
        >>> from lightning_anneal import Constant, Linear
        >>> moments(WarmRestart(Linear(0, 1, 5), 10, 2.0), 100)
        [(10, 'restart'), (30, 'restart'), (70, 'restart')]
    """
    curve = getattr(curve, "curve", curve)  # a beta scheduler is one under other names
    found: list[tuple[float, str]] = []
    if isinstance(curve, WarmRestart):
        at: float = curve.next_event(0)
        while at < until and len(found) < _MOST_MOMENTS:
            found.append((at, "restart"))
            at = curve.next_event(at)
    elif isinstance(curve, SequenceSchedule):
        begin = 0.0
        for i, (part, duration) in enumerate(curve.parts):
            end = until if i == len(tuple(curve.parts)) - 1 else min(begin + duration, until)
            found += [(begin, "part")] * (0 < begin < until)
            if isinstance(part, Schedule):
                found += [(begin + at, kind) for at, kind in moments(part, end - begin)]
            begin = end
    return found


def has_function(curve: Schedule) -> bool:
    """Whether a function of the user's is part of a schedule."""
    curve = getattr(curve, "curve", curve)
    if isinstance(curve, FromCallable):
        return True
    inner = [curve.base] if isinstance(curve, WarmRestart) else []
    if isinstance(curve, SequenceSchedule):
        inner = [part for part, _ in curve.parts]
    return any(not isinstance(part, Schedule) or has_function(part) for part in inner)


def words(curve: Schedule) -> str:
    """What a schedule is called: ``warm_restart``, ``linear``."""
    name = type(getattr(curve, "curve", curve)).__name__
    spaced = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
    return "a function" if name == "FromCallable" else spaced
