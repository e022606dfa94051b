"""What happened in a run, as panels: each annealed value with the reasons of its changes, and the losses."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from lightning_anneal.audit import read_changes
from lightning_anneal.changes import Change
from lightning_anneal.drawing.panels import Mark, Panel, Trace, last_name
from lightning_anneal.errors import AnnealError, quote, suggestion
from lightning_anneal.history.scalars import Scalars, Times
from lightning_anneal.preview.planned import Preview

_HOMES = ("Annealing/", "Beta_Schedule/", "Loss_Weights/")
_OTHERS = (*_HOMES, "Control/", "Batch/")
_NO_PARAMETER = ("Restart/", "Hierarchical_Comparison")
_RATE, _NO_RATE = "learning rate", ("-momentum", "-weight_decay")
_SILENT = ("schedule", "start")
"""Reasons that need no word."""
_FOLLOWS = "follow ("
_TICKS = "gated ("
"""A gate's clock that moves on is a schedule's."""
_AIM = re.compile(r"Control/(.+)/(set_point|limit)")
_STAGE = re.compile(r"^(?P<stage>train|training|val|validation|valid|test)[_/]", re.IGNORECASE)
_MOST_LOSSES = 4


class Record:
    """A run's record.

    Args:
        run: The folder that a logger has written to.
        scalars: What is in there.
    """

    def __init__(self, run: Path, scalars: Scalars) -> None:
        self.run = run
        self.scalars = scalars
        self.changes = read_changes(run)
        self.times = Times(scalars, self.changes)

    @property
    def until(self) -> float:
        """Where the time axis ends."""
        last = max((points[-1][0] for points in self.scalars.values() if points), default=0)
        return max(self.times.at(last + 1), self.times.epochs if self.times.known else 0.0)

    def panels(self, metrics: Sequence[str] = (), plan: Preview | None = None) -> list[Panel]:
        """A panel for each annealed value, with the plan beside it if there is one, and for each loss.

        Args:
            metrics: The metrics to draw; by default what is called a loss.
            plan: What was planned.

        Raises:
            AnnealError: If a metric was never logged, or there is nothing to draw.
        """
        found = self.parameters()
        rates = [tag for tag in self.scalars if tag.startswith("lr-") and not tag.endswith(_NO_RATE)]
        if found and rates:
            found.append(self._rates(rates))
        if plan is not None:
            found = _beside(found, plan)
        if not found:
            raise AnnealError(
                quote(str(self.run)), "holds nothing annealed: no tag Annealing/, Beta_Schedule/ or Loss_Weights/"
            )
        return [*found, *self._aims(), *self._metrics(metrics)]

    def parameters(self) -> list[Panel]:
        """A panel for each annealed value."""
        return [self._parameter(name, tag) for name, tag in self._parameters().items()]

    def _parameters(self) -> dict[str, str | None]:
        """The annealed parameters, each with its tag if it has one; words stand in the audit only."""
        found: dict[str, str | None] = {}
        for home in _HOMES:
            for tag in self.scalars:
                name = tag.removeprefix(home)
                # What a weight goes by stands below it.
                below = any(tag[:at] in self.scalars for at, letter in enumerate(tag) if letter == "/")
                if tag.startswith(home) and not name.startswith(_NO_PARAMETER) and not below:
                    found[name] = tag
        for change in self.changes:
            found.setdefault(change.name, None)
        return found

    def _parameter(self, name: str, tag: str | None) -> Panel:
        changes = [change for change in self.changes if change.name == name]
        words = tuple(dict.fromkeys(str(v) for c in changes for v in (c.old, c.new) if isinstance(c.new, str)))

        def level(value: object) -> float:
            try:
                return float(words.index(str(value))) if words else float(value)  # type: ignore[arg-type]
            except (TypeError, ValueError, OverflowError):
                return math.nan  # a row that nobody has written like this

        points: dict[float, float] = {}
        if changes:
            points[0.0] = level(changes[0].old)
        points.update({self.times.at(step): value for step, value in self.scalars.get(tag or "", ())})
        # The audit knows the very step of a change, where a logger writes every so often.
        before = {self.times.at(change.step): level(change.old) for change in changes}
        points.update({self.times.at(change.step): level(change.new) for change in changes})
        xs, ys = _course(points, before)
        until = max(self.until, xs[-1])
        trace = Trace([*xs, until], [*ys, ys[-1]], holds=False)
        marks = [*self._restarts(name), *self._reasons(changes)]
        return Panel(name, (trace,), last_name(name), tuple(sorted(marks, key=lambda mark: mark.x)), words)

    def _rates(self, tags: list[str]) -> Panel:
        """What LearningRateMonitor has logged."""
        traces = []
        for tag in tags:
            points = {self.times.at(step): value for step, value in self.scalars[tag]}
            label = tag.removeprefix("lr-") if len(tags) > 1 else ""
            traces.append(Trace([*points, max(self.until, *points)], [*points.values(), [*points.values()][-1]], label))
        return Panel(_RATE, tuple(traces), _RATE)

    def _aims(self) -> list[Panel]:
        """What controllers hold a metric at, beside the metric."""
        panels = []
        for tag in self.scalars:
            if found := _AIM.fullmatch(tag):
                name, aim = found.groups()
                traces = []
                for what in [each for each in ("metric", aim) if f"Control/{name}/{each}" in self.scalars]:
                    points = {self.times.at(step): value for step, value in self.scalars[f"Control/{name}/{what}"]}
                    traces.append(Trace([*points], [*points.values()], what.replace("_", " "), holds=False))
                panels.append(Panel(f"{name}: metric and {aim.replace('_', ' ')}", tuple(traces), "metric"))
        return panels

    def _reasons(self, changes: list[Change]) -> list[Mark]:
        told = [each for each in changes if each.why not in _SILENT and not each.why.startswith(_TICKS)]
        # Once is enough: what it follows has a panel of its own.
        follows = [change for change in told if change.why.startswith(_FOLLOWS)]
        told = [change for change in told if change not in follows[1:]]
        return [Mark(self.times.at(change.step), "change", change.why) for change in told]

    def _restarts(self, name: str) -> list[Mark]:
        part = {"global_kl_weight": "global/", "local_kl_weight": "local/", "beta": ""}.get(name)
        points = self.scalars.get(f"Beta_Schedule/Restart/{part}is_restart_epoch", []) if part is not None else []
        edges = [now for before, now in zip([(0, 0.0), *points], points, strict=False) if now[1] > before[1]]
        return [Mark(self.times.at(step), "restart") for step, _ in edges]

    def _metrics(self, wanted: Sequence[str]) -> list[Panel]:
        """Metrics, those of training and of validation in one panel."""
        for name in wanted:
            if name not in self.scalars:
                known = suggestion(name, [tag for tag in self.scalars if not tag.startswith(_OTHERS)])
                raise AnnealError("--metrics", f"no {quote(name)} was logged{known}")
        grouped: dict[str, list[str]] = {}
        for tag in wanted or self._losses():
            stem = _STAGE.sub("", tag.removesuffix("_epoch"))
            grouped.setdefault(tag if wanted else stem, []).append(tag)
        return [self._metric(stem, tags) for stem, tags in list(grouped.items())[: len(wanted) or _MOST_LOSSES]]

    def _metric(self, name: str, tags: list[str]) -> Panel:
        traces = []
        for tag in sorted(tags):
            points = self.scalars[tag]
            # A metric of an epoch is known at its end.
            xs = [self.times.at(step + 1) for step, _ in points]
            traces.append(Trace(xs, [value for _, value in points], tag if len(tags) > 1 else "", holds=False))
        return Panel(name if len(tags) > 1 else tags[0], tuple(traces), name)

    def _losses(self) -> list[str]:
        tags = [tag for tag in self.scalars if "loss" in tag.lower() and not tag.startswith(_OTHERS)]
        # Of a metric by step and by epoch, the smoother one.
        return [t for t in tags if not (t.endswith("_step") and t.removesuffix("_step") + "_epoch" in tags)]


def _beside(panels: list[Panel], plan: Preview) -> list[Panel]:
    """The panels with what was planned in them; what was planned and never logged has a panel of its own."""
    left: Mapping[str, Panel] = {p.name: panel for p, panel in zip(plan.parameters, plan.panels, strict=False)}
    # Of several rates the plan has but one.
    several = any(panel.name == _RATE and len(panel.traces) > 1 for panel in panels)
    there = any(panel.name == _RATE for panel in panels)
    left = {name: panel for name, panel in left.items() if name != _RATE or (there and not several)}
    joined = []
    taken = set()
    for panel in panels:
        # A plan for all parameter groups is that of each.
        key = next((name for name in left if name == panel.name or _stands_for(name, panel.name)), "")
        planned = left.get(key)
        taken.add(key)
        if planned is None or planned.words != panel.words:
            joined.append(panel)
            continue
        aside = replace(planned.traces[0], label="planned", aside=True)
        joined.append(replace(panel, traces=(replace(panel.traces[0], label="what happened"), aside)))
    for name, panel in left.items():
        if name not in taken:
            aside = replace(panel.traces[0], label="planned, never logged", aside=True)
            joined.append(replace(panel, name=name, traces=(aside,)))
    return joined


def _stands_for(pattern: str, name: str) -> bool:
    """Whether a path with a ``*`` means a parameter group."""
    before, star, after = pattern.partition("*")
    return bool(star) and name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)


def _course(points: Mapping[float, float], before: Mapping[float, float]) -> tuple[list[float], list[float]]:
    """The line through the values that are known.

    Where the audit has a change, the value before it is known, too. Without one, what has become another value by the
    next point has moved on the way there, as a ramp by step does between two steps that are logged.

    Args:
        points: The values, by time.
        before: Those before the changes, by time.
    """
    xs: list[float] = []
    ys: list[float] = []
    for x in sorted(points):
        if xs and x in before:
            xs.append(x)
            ys.append(before[x])
        xs.append(x)
        ys.append(points[x])
    return xs, ys
