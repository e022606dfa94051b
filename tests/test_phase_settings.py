"""What a config may say of phases, what is made of it, and every mistake in one line."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf

from lightning_anneal import AnnealError, AnnealingManager, Cosine, HyperparamAnnealingCallback
from lightning_anneal.clock import Length
from lightning_anneal.config import read_settings
from lightning_anneal.phases import InPhases, Phased

RAMP = {"strategy": "linear", "end_value": 1.0}
BELOW = {"trigger": "metric_below", "monitor": "val_loss", "threshold": 0.5}


def warm(**settings: Any) -> list[dict[str, Any]]:
    """Two phases, the first of which has these settings."""
    return [{"name": "warm", "until": "2ep", **settings}, {"name": "main"}]


def two(first: dict[str, Any], second: dict[str, Any]) -> list[dict[str, Any]]:
    """Two phases that do this to parameters."""
    return [{"name": "warm", "until": 1, **first}, {"name": "main", **second}]


def ends(*until: Any) -> list[dict[str, Any]]:
    """Phases called a, b, c, ... that end then, and a last one."""
    return [{"name": name, "until": end} for name, end in zip("abcd", until, strict=False)] + [{"name": "last"}]


LIST = "phases: must be a list of at least one phase such as {name: warm}, got"
SOURCES = (
    "early_stopper_counter, early_stopper_half_patience, early_stopper_third_patience, early_stopper_triggered, ..."
)
RUNNING = "phase: the running phase is logged under this name; anneal it under another one, with attr_name: phase"


@pytest.mark.parametrize(
    ("phases", "line"),
    [
        # The list and the names.
        (3, f"{LIST} 3"),
        ("warm", f"{LIST} 'warm'"),
        ([], f"{LIST} []"),
        ({"warm": {"until": 2}}, f"{LIST} {{'warm': {{'until': 2}}}}"),
        ([3], "phases.0: must be a mapping, got 3"),
        ([{}], "phases.0.name: missing; logs and checkpoints call the phase by it"),
        ([{"until": 2}, {"name": "main"}], "phases.0.name: missing; logs and checkpoints call the phase by it"),
        ([{"nam": "warm"}], "phases.0: unknown key 'nam'; did you mean 'name'?"),
        ([{"name": 3}], "phases.0.name: must be a string, got 3"),
        ([{"name": " "}], "phases.0.name: must be a string, got ' '"),
        ([{"name": "a", "until": 1}, {"name": "a"}], "phases.1.name: a second phase is called 'a'"),
        (warm(sett={}), "phases.warm: unknown key 'sett'; did you mean 'set'?"),
        (warm(total_steps=3), "phases.warm: unknown key 'total_steps'; known: anneal, duration, name, set, until"),
        # The end.
        ([{"name": "a"}, {"name": "b"}], "phases.a.until: missing; only the last phase can do without"),
        (warm(duration=2), "phases.warm.until: give until or duration, not both"),
        (warm(until=0), "phases.warm.until: must be positive, got 0"),
        (warm(until=-1), "phases.warm.until: must be positive, got -1"),
        (warm(until=True), "phases.warm.until: must be a number, got True"),
        (warm(until="10 epochs"), "phases.warm.until: must be a number, '10ep', '500st' or '30%', got '10 epochs'"),
        ([{"name": "a", "duration": "x"}, {"name": "b"}], "phases.a.duration: must be a number, '10ep', '500st' or '30%', got 'x'"),
        ([{"name": "a", "duration": BELOW}, {"name": "b"}],
         "phases.a.duration: must be a number, got {'trigger': 'metric_below', 'monitor': 'val_loss', 'thres..."),
        (ends(10, "10ep"), "phases.b.until: 10ep is not behind the end of 'a', 10; give a duration"),
        (ends("50%", "20%"), "phases.b.until: 20% is not behind the end of 'a', 50%; give a duration"),
        (ends("9st", BELOW, "8st"), "phases.c.until: 8st is not behind the end of 'a', 9st; give a duration"),
        # A trigger.
        (warm(until={}), f"phases.warm.until.trigger: missing; known: {SOURCES}"),
        (warm(until={"at_most": 3}), f"phases.warm.until.trigger: missing; known: {SOURCES}"),
        (warm(until={"trigger_source": "metric_below"}), "phases.warm.until: unknown key 'trigger_source'; did you mean 'trigger'?"),
        (warm(until={"trigger": "metric_belo"}), "phases.warm.until.trigger: unknown trigger 'metric_belo'; did you mean 'metric_below'?"),
        (warm(until={"trigger": "on_plateau"}), "phases.warm.until.trigger: unknown trigger 'on_plateau'; did you mean 'metric_plateau'?"),
        (warm(until={"trigger": "metric_below"}), "phases.warm.until.monitor: missing; metric_below needs it"),
        (warm(until={"trigger": "METRIC_ABOVE", "monitor": "x"}), "phases.warm.until.threshold: missing; metric_above needs it"),
        (warm(until={"trigger": "metric_plateau", "monitor": "x"}), "phases.warm.until.patience: missing; metric_plateau needs it"),
        (warm(until={"trigger": "metric_plateau", "monitor": "x", "patience": "2ep"}),
         "phases.warm.until.patience: counts polls: a whole number from 1, got '2ep'"),
        (warm(until={**BELOW, "threshold": "low"}), "phases.warm.until.threshold: must be a number, got 'low'"),
        (warm(until={**BELOW, "monitor": 3}), "phases.warm.until.monitor: must be the name of a metric, got 3"),
        (warm(until={**BELOW, "at_most": 0}), "phases.warm.until.at_most: must be positive, got 0"),
        (warm(until={**BELOW, "at_mos": 3}), "phases.warm.until: unknown key 'at_mos' for metric_below; did you mean 'at_most'?"),
        (warm(until={**BELOW, "patience": 3}),
         "phases.warm.until: unknown key 'patience' for metric_below; known: at_most, monitor, threshold, trigger"),
        (warm(until={"trigger": "early_stopper_triggered", "extend_training": True}),
         "phases.warm.until: unknown key 'extend_training' for early_stopper_triggered; known: at_most, monitor, trigger"),
        # Values.
        (warm(set=[1]), "phases.warm.set: must be a mapping, got [1]"),
        (warm(set=0), "phases.warm.set: must be a mapping, got 0"),
        (warm(set={1: 2}), "phases.warm.set: a parameter's name must be a string, got 1"),
        (warm(set={"": 2}), "phases.warm.set: a parameter's name must be a string, got ''"),
        (warm(set={"beta": None}), "phases.warm.set.beta: must be a number, got None"),
        (warm(set={"beta": [1]}), "phases.warm.set.beta: must be a number, got [1]"),
        (warm(set={"beta": float("nan")}), "phases.warm.set.beta: must be a finite number, got nan"),
        (warm(set={"beta": RAMP}), "phases.warm.set.beta: must be a value; settings of a schedule stand under anneal"),
        (warm(set={"_beta": 1}), "_beta: '_beta' is private; names with a leading underscore can't be annealed"),
        (two({"set": {"beta": 1}}, {"set": {"beta": True}}), "beta: phases set it to values of several kinds: 1.0, True"),
        (two({"set": {"beta": "x"}}, {"set": {"beta": True}}), "beta: phases set it to values of several kinds: x, True"),
        # Schedules.
        (warm(anneal=3), "phases.warm.anneal: must be a mapping, got 3"),
        (warm(anneal={3: RAMP}), "phases.warm.anneal: a parameter's name must be a string, got 3"),
        (warm(anneal={"beta": 3}), "phases.warm.anneal.beta: must be a mapping of settings, a schedule or a callable of t, got 3"),
        (warm(anneal={"beta": Cosine}), "phases.warm.anneal.beta: Cosine is a class; make a schedule of it, such as Linear(0, 1, 10)"),
        (warm(anneal={"beta": {"strategy": "linar"}}), "phases.warm.anneal.beta.strategy: unknown strategy 'linar'; did you mean 'linear'?"),
        (warm(anneal={"beta": {"strategy": "linear"}}), "phases.warm.anneal.beta.end_value: missing; linear needs it"),
        (warm(anneal={"beta": {**RAMP, "total_steps": 0}}), "phases.warm.anneal.beta.total_steps: must be positive, got 0"),
        (warm(anneal={"beta": {"strategy": "trigger_based", "trigger_source": "early_stopper_counter", "values": [0, 1]}}),
         "phases.warm.anneal.beta.strategy: trigger_based can't be in a phase, only a schedule; keep it in annealing_params"),
        (warm(anneal={"beta": {"strategy": "follow", "other": "gamma"}}),
         "phases.warm.anneal.beta.strategy: follow can't be in a phase, only a schedule; keep it in annealing_params"),
        (warm(anneal={"beta": {"strategy": "ON_PLATEAU", "monitor": "x", "factor": 0.5}}),
         "phases.warm.anneal.beta.strategy: on_plateau can't be in a phase, only a schedule; keep it in annealing_params"),
        (warm(set={"beta": 1}, anneal={"beta": RAMP}), "phases.warm.set.beta: stands under anneal, too; keep one of them"),
        (two({"set": {"beta": True}}, {"anneal": {"beta": RAMP}}), "phases.warm.set.beta: must be a number, got True"),
        (two({"anneal": {"beta": {**RAMP, "interval": "step"}}}, {"anneal": {"beta": RAMP}}),
         "phases.main.anneal.beta.interval: is 'epoch', and 'step' in another phase; keep one"),
        (two({"anneal": {"beta": {**RAMP, "attr_name": "x"}}}, {"anneal": {"beta": RAMP}}),
         "phases.main.anneal.beta.attr_name: is 'beta', and 'x' in another phase; keep one"),
        (two({"anneal": {"beta": {**RAMP, "eval_value": 0}}}, {"anneal": {"beta": RAMP}}),
         "phases.main.anneal.beta.eval_value: is None, and 0.0 in another phase; keep one"),
        (warm(anneal={"optimizer.param_groups.0.lr": {**RAMP, "eval_value": 1}}),
         "optimizer.param_groups.0.lr.eval_value: is for values of the module, not of the optimizer"),
        # A name of its own.
        (warm(set={"phase": 1}), RUNNING),
        (warm(anneal={"phase": RAMP}), RUNNING),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(phases: Any, line: str) -> None:
    with pytest.raises(AnnealError) as error:
        HyperparamAnnealingCallback(phases=phases)
    assert str(error.value) == line


@pytest.mark.parametrize(
    ("params", "phases", "line"),
    [
        ({"beta": RAMP}, warm(set={"beta": 1}), "beta: stands in annealing_params and in phases; keep one of them"),
        (
            {"beta": RAMP},
            warm(anneal={"beta": RAMP}),
            "beta: stands in annealing_params and in phases; keep one of them",
        ),
        ({"phase": RAMP}, warm(), RUNNING),
        ({}, warm(), "annealing_params: must name at least one parameter"),
    ],
)
def test_what_does_not_go_with_annealing_params(params: Any, phases: Any, line: str) -> None:
    with pytest.raises(AnnealError) as error:
        HyperparamAnnealingCallback(params, phases=phases)
    assert str(error.value) == line


# -- what is made of it ---------------------------------------------------------------------------------------------


def test_phases() -> None:
    given = [
        {"name": "warm", "until": "10ep"},
        {"name": "main", "until": {**BELOW, "at_most": "20ep"}},
        {"name": "mid", "duration": "6st"},
        {"name": "part", "until": "75%"},
        {"name": "finish"},
    ]
    _, plan = read_settings(None, given)
    assert plan.names == ["warm", "main", "mid", "part", "finish"]
    warmed, main, mid, part, finish = plan.phases
    assert (warmed.until, part.until) == (Length(10.0, "ep"), Length(75.0, "%"))
    assert (main.trigger is not None, main.at_most, main.until) == (True, Length(20.0, "ep"), None)
    assert (mid.duration, mid.until) == (Length(6.0, "st"), None)
    assert (finish.until, finish.duration, finish.trigger, finish.at_most) == (None,) * 4
    assert list(plan.watchers) == ["phases.main.until"]


def test_what_units_do_not_show_is_left_to_the_run() -> None:
    # Steps and epochs, and what lies behind a duration.
    read_settings(None, ends("2ep", "1st", "5ep", "3st"))
    read_settings(None, [*ends("10ep")[:1], {"name": "b", "duration": 10}, {"name": "c", "until": "15ep"}])
    # The last one may end, which ends nothing.
    read_settings(None, [{"name": "only", "until": "2ep"}])


def test_sources_of_parameters() -> None:
    phases = [
        {"name": "warm", "until": 1, "set": {"beta": "1e-3", "flag": False, "mode": "a"}, "anneal": {"gamma": RAMP}},
        {"name": "main", "until": 2, "set": {"gamma": 2}},
        {"name": "finish", "set": {"beta": 1, "mode": "b"}, "anneal": {"gamma": Cosine(0, 1, 4)}},
    ]
    rules, _ = read_settings({"other": RAMP}, phases)
    by_name = {rule.name: rule for rule in rules}
    assert list(by_name) == ["other", "beta", "flag", "mode", "gamma"]

    def values(name: str) -> Any:
        response = by_name[name].source.response  # type: ignore[union-attr]
        assert isinstance(response, InPhases)
        return response.values

    # A number that is written as a text is one.
    assert values("beta") == (0.001, None, 1.0)
    assert values("flag") == (False, None, None)
    assert values("mode") == ("a", None, "b")
    source = by_name["gamma"].source
    assert isinstance(source, Phased)
    assert (source.parts[1], source.parts[0] is None, source.parts[2] is None) == (2.0, False, False)


@pytest.mark.parametrize(
    ("values", "start", "expected", "has_next", "kind", "needs_start"),
    [
        ((None, 2.0, None), 1.0, [1.0, 2.0, 2.0], [True, False, False], float, True),
        ((3.0, None, 3.0), 1.0, [3.0, 3.0, 3.0], [False, False, False], float, False),
        ((False, None, True), True, [False, False, True], [True, True, False], bool, False),
        ((None, None, "b"), "a", ["a", "a", "b"], [True, True, False], str, True),
    ],
)
def test_values_in_phases(
    values: Any, start: Any, expected: list[Any], has_next: list[bool], kind: type, needs_start: bool
) -> None:
    response = InPhases(values)
    assert [response.value(phase, start) for phase in range(3)] == expected
    assert [response.has_next(phase, start) for phase in range(3)] == has_next
    assert response.to_come(start) == tuple(expected)
    assert (response.kind, response.needs_start) == (kind, needs_start)


def test_what_is_given_is_not_changed() -> None:
    phases = warm(set={"beta": "0.5"}, anneal={"gamma": {**RAMP, "total_steps": "1ep"}}, until={**BELOW, "at_most": 3})
    before = repr(phases)
    HyperparamAnnealingCallback(phases=phases)
    assert repr(phases) == before


def test_tuples_and_omegaconf() -> None:
    phases = warm(set={"beta": "${half}"}, anneal={"gamma": RAMP}, until={**BELOW, "at_most": "${most}"})
    whole = OmegaConf.create({"half": 0.5, "most": "3ep", "phases": phases})
    for given in (whole.phases, tuple(whole.phases), [whole.phases[0], {"name": "main"}]):
        rules, plan = read_settings(None, given)
        assert plan.phases[0].at_most == Length(3.0, "ep")
        assert rules[0].source.response.values == (0.5, None)  # type: ignore[union-attr]
        assert isinstance(rules[1].source, Phased)


def test_an_object_of_code_is_the_very_one() -> None:
    """Not a copy of it, although it is a mapping."""
    other, model = {"beta": 0.0}, SimpleNamespace()
    phases = two({"set": {"beta": 2.0}}, {"anneal": {"beta": {**RAMP, "object": other, "total_steps": 2}}})
    manager = AnnealingManager({"phases": phases}, objects={"model": model})
    assert [(manager.step(epoch), other["beta"])[1] for epoch in range(4)] == [2.0, 2.0, 1.5, 1.0]
