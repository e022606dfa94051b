"""Parameters that follow others, bound to the places of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from lightning_anneal.errors import AnnealError, nearest
from lightning_anneal.follow import Follow, in_order
from lightning_anneal.lines import check_options
from lightning_anneal.rules import Rule
from lightning_anneal.targets.resolve import Resolved, Roots, resolve
from lightning_anneal.targets.target import ItemSlot, Target


@dataclass(eq=False)
class FollowingLine:
    """One target that follows another one.

    Args:
        rule: The rule it belongs to.
        target: Where the values go.
        follow: What it makes of the other value.
        other: Where that one stands.
        batch_size: Whether it is the batch size, which changes between epochs only.
    """

    rule: Rule
    target: Target
    follow: Follow
    other: Target
    batch_size: bool = False

    @property
    def seen(self) -> float:
        """What the other one is now."""
        return float(self.other.read())

    def value(self, other: float) -> float:
        """The value that follows from another one."""
        return self.follow.value(self.target.name, other)

    @property
    def why(self) -> str:
        """What made the value change."""
        return f"follow ({self.follow.other} {self.seen:g})"


def build_following(
    rules: Iterable[Rule], resolved: Mapping[str, Resolved], roots: Roots, followed: Mapping[str, float]
) -> list[FollowingLine]:
    """The lines of the rules that follow others, each behind the one that it follows. Writes nothing.

    Args:
        rules: The rules; those that follow nothing are left out.
        resolved: The targets of all of them.
        roots: What paths start from.
        followed: By target, what the other one was, where there is no optimizer to read: in an evaluation.

    Raises:
        AnnealError: If what one follows leads nowhere, is no number, or follows it itself; or if it gives what its
            target can't take.
    """
    lines: dict[str, list[FollowingLine]] = {}
    homes = {target.slot.identity: name for name, places in resolved.items() for target in places.targets}
    follows: dict[str, str] = {}
    for rule in rules:
        if not isinstance(rule.source, Follow) or rule.name not in resolved:
            continue
        places = resolved[rule.name]
        try:
            others = _others(rule, rule.source, resolved, roots)
        except AnnealError:
            stood = [followed[target.name] for target in places.targets if target.name in followed]
            # A fit that is resumed has no optimizers yet when it asks for the batch size.
            if roots.trainer is None or (roots.fits and (roots.optimizers or not stood)):
                raise
            if not stood:
                continue
            others = tuple(Target(rule.name, ItemSlot(stood, i)) for i in range(len(stood)))
        if len(others) not in (1, len(places.targets)):
            what = f"is {len(others)} values, and this is {len(places.targets)}; name one of them"
            raise AnnealError(f"{rule.name}.other", what)
        pairs = zip(places.targets, others * (len(places.targets) // len(others)), strict=True)
        lines[rule.name] = [FollowingLine(rule, t, rule.source, other, places.batch_size) for t, other in pairs]
        # Also where it is a path to a place that has another name here.
        follows[rule.name] = homes.get(others[0].slot.identity, "")
        for line in lines[rule.name]:
            line.target.cast(line.value(line.seen))
            check_options(rule, line.target, places)
    return [line for name in in_order(follows) for line in lines[name]]


def _others(rule: Rule, follow: Follow, resolved: Mapping[str, Resolved], roots: Roots) -> tuple[Target, ...]:
    if follow.other in resolved:
        others = resolved[follow.other].targets
    else:
        # What an LR scheduler writes may be read.
        place = replace(rule, path=follow.other, object=None, round=True, scale_lr=None)
        try:
            others = resolve(place, replace(roots, schedulers=(), fits=False)).targets
        except AnnealError as error:
            what = error.what + ("" if "did you mean" in error.what else nearest(follow.other, resolved))
            if what.startswith(("is ", "holds ")):
                what = f"{follow.other} {what.split(';')[0]}, and only a number can be followed"
            raise AnnealError(f"{rule.name}.other", what) from None
    for other in others:
        if other.kind is not float:
            raise AnnealError(
                f"{rule.name}.other", f"{follow.other} is {other.read()!r}, and only a number can be followed"
            )
    return others
