"""``lightning-anneal check``: every mistake a line each, what is surely not meant, and a line for what is in order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lightning_anneal.checking.command import check
from lightning_anneal.cli import main
from lightning_anneal.preview.run_config import read_run
from tests.written import annealing

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(p.name for p in (ROOT / "configs").glob("*.yaml") if not p.name.startswith("search"))
STOPPER = {
    "class_path": "lightning.pytorch.callbacks.EarlyStopping",
    "init_args": {"monitor": "val_loss", "patience": 4},
}
CHECKPOINT = {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": {"monitor": "val_loss"}}


def anneal(**params: Any) -> dict[str, Any]:
    return {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": {"annealing_params": params}}


def beta(kind: str, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    arguments = {"beta_scheduler_type": kind, "beta_scheduler_params": params, **more}
    return {"class_path": "lightning_anneal.BetaScheduleCallback", "init_args": arguments}


def config(*callbacks: Any, epochs: Any = 60, optim: Any = None, **trainer: Any) -> dict[str, Any]:
    written: dict[str, Any] = {"trainer": {"max_epochs": epochs, "callbacks": list(callbacks), **trainer}}
    if optim is not None:
        written["model"] = {"class_path": "examples.digits_vae.DigitsVAE", "init_args": {"optim": optim}}
    return written


def linear(**more: Any) -> dict[str, Any]:
    return {"strategy": "linear", "start_value": 0.0, "end_value": 1.0, "total_steps": 30, **more}


def on(source: str, **more: Any) -> dict[str, Any]:
    return {"strategy": "TRIGGER_BASED", "trigger_source": source, "values": [1, 2], **more}


def held(**more: Any) -> dict[str, Any]:
    return {"strategy": "pi_control", "monitor": "kl", "set_point": 3, "start_value": 0.25, **more}


def limited(**more: Any) -> dict[str, Any]:
    return {"strategy": "constraint", "monitor": "kl", "limit": 3, **more}


def gated(**more: Any) -> dict[str, Any]:
    return {"strategy": "gated", "schedule": linear(), "advance_when": {"monitor": "val_loss", "below": 0.5}, **more}


def follow(other: str, **more: Any) -> dict[str, Any]:
    return {"strategy": "follow", "other": other, **more}


def plateau(**more: Any) -> dict[str, Any]:
    return {"strategy": "on_plateau", "monitor": "val_loss", **more}


def looked_at(written: dict[str, Any], **options: Any) -> tuple[list[str], list[str], list[str]]:
    problems, warnings, lines = check(read_run(written), **options)
    return [str(problem) for problem in problems], warnings, lines


@pytest.mark.parametrize(
    ("callback", "line"),
    [
        (anneal(beta=linear()), "beta: linear by epoch, from 0 to 1"),
        (anneal(beta=linear(start_value=None)), "beta: linear by epoch, from the value found to 1"),
        (anneal(beta=linear(frequency=5, total_steps=60)), "beta: linear by epoch, every 5, from 0 to 0.916667"),
        (anneal(beta=linear(interval="step", eval_value=1.0)), "beta: linear by step, from 0, 1 in evaluations"),
        (anneal(a={"strategy": "warm_restart", "base": linear(start_value=None, total_steps=5), "restart_interval": 20}),
         "a: warm restart by epoch, from the value found to 1, restarts at 20, 40"),
        (anneal(a={"strategy": "constant", "value": 2}), "a: constant by epoch, from 2 to 2"),
        (anneal(a={"strategy": "cyclical", "cycle_length": 20, "min_value": 0, "max_value": 2}),
         "a: cyclical by epoch, from 0 to 0.0489435, between 0 and 2"),
        (beta("warm_restart", {"base_scheduler_type": "linear", "base_scheduler_kwargs": {"max_beta": 1, "warmup_epochs": 7},
                               "restart_interval": 8}),
         "beta: warm restart by epoch, from 0 to 0.428571, between 0 and 1, restarts at 8, 16, 24, 32, 40, ..."),
        (anneal(lr=on("metric_below", monitor="val_loss", threshold=1)), "lr: the next of 1, 2 at each metric_below of val_loss"),
        (anneal(lr={"strategy": "TRIGGER_BASED", "trigger_source": "metric_plateau", "monitor": "m", "patience": 2, "multiply": 0.5}),
         "lr: times 0.5 at each metric_plateau of m"),
        (anneal(mode=on("metric_below", monitor="m", threshold=1, values=["a", "b"])),
         "mode: the next of a, b at each metric_below of m"),
        (anneal(n={"strategy": "competence", "start_value": 10, "end_value": 100}), "n: competence by epoch, from 10 to 100"),
        (anneal(lr=plateau(factor=0.5)), "lr: times 0.5 at each plateau of val_loss"),
        (anneal(lr=plateau(step=0.1, eval_value=1)), "lr: plus 0.1 at each plateau of val_loss, 1 in evaluations"),
        (anneal(lr=plateau(step=-2)), "lr: minus 2 at each plateau of val_loss"),
        (anneal(b=held(interval="step", frequency=10)), "b: holds kl at 3 by step, every 10, from 0.25, between 0 and 1"),
        (anneal(b=held(set_point=linear(start_value=5, end_value=2))),
         "b: holds kl at 5 to 2 (linear) by epoch, from 0.25, between 0 and 1"),
        (anneal(b=held(set_point={"strategy": "cyclical", "cycle_length": 5, "min_value": 1, "max_value": 2})),
         "b: holds kl at 1 (cyclical) by epoch, from 0.25, between 0 and 1"),
        (anneal(b=limited(max_value=8)), "b: keeps kl at most 3 by epoch, from the value found, between 1e-06 and 8"),
        (anneal(b=limited(mode="max", method="pi", start_value=0, max_value=8)),
         "b: keeps kl at least 3 by epoch, from 0, between 0 and 8"),
        (anneal(g=gated()), "g: linear by epoch, from 0 to 1, while val_loss is below 0.5"),
        (anneal(g=gated(schedule=linear(start_value=None), max_wait=5, advance_when={"monitor": "acc", "above": 0.9})),
         "g: linear by epoch, from the value found to 1, while acc is above 0.9, or after 5 epochs of waiting"),
        (anneal(g=gated(schedule={"strategy": "cyclical", "cycle_length": 5, "min_value": 1, "max_value": 2}, interval="step")),
         "g: cyclical by step, from 1, while val_loss is below 0.5"),
        (anneal(f=follow("optimizer.param_groups.0.lr")), "f: follows optimizer.param_groups.0.lr by step"),
        (anneal(f=follow("loss.margin", scale=2, power=-1, offset=-0.5, interval="epoch", frequency=3)),
         "f: follows 2 * loss.margin ** -1 - 0.5 by epoch, every 3"),
        (anneal(f=follow("kl", offset=1)), "f: follows kl + 1 by step"),
    ],
)  # fmt: skip
def test_a_line_for_each_parameter(callback: Any, line: str) -> None:
    assert looked_at(config(callback)) == ([], [], [line])


@pytest.mark.parametrize(
    ("optim", "line"),
    [
        ({"optimizer": "AdamW", "learning_rate": 3e-3}, "learning rate: AdamW at 0.003"),
        ({"learning_rate": 0.1, "scheduler": "CosineAnnealingLR"}, "learning rate: Adam at 0.1, CosineAnnealingLR by epoch"),
        ({"optimizer": "SGD", "scheduler": "cosine"}, "learning rate: SGD at 0.01, cosine by step"),
        ({"scheduler": "ReduceLROnPlateau", "scheduler_configs": {"monitor": "m"}},
         "learning rate: Adam at 0.001, ReduceLROnPlateau by epoch on m"),
        ({"lr_parameter_groups": {"head": {"prefix": "decoder"}}}, "learning rate: Adam at 0.001, groups head"),
    ],
)  # fmt: skip
def test_a_line_for_the_learning_rate(optim: Any, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert looked_at(config(optim=optim)) == ([], [], [line])


def test_every_problem_is_told_and_not_only_the_first() -> None:
    written = config(
        anneal(
            a=linear(strategy="cosin"),
            b=linear(total_steps=0),
            c={"strategy": "cyclical", "min_value": 0, "max_value": 1},
            d=on("early_stopper_counter"),
            **{"optimizer.param_groups.0.weight_decay": linear(start_value=-1.0)},
        ),
        beta("linear", {"max_beta": 1, "warmup_epoch": 3}),
        optim={"optimizer": "Adamm", "schedler": "StepLR"},
    )
    written["model"]["class_path"] = "nowhere.Model"
    problems, warnings, lines = looked_at(written)
    assert problems == [
        "a.strategy: unknown strategy 'cosin'; did you mean 'cosine'?",
        "b.total_steps: must be positive, got 0",
        "c.cycle_length: missing; cyclical needs it",
        "beta: unknown parameter 'warmup_epoch'; did you mean 'warmup_epochs'?",
        "optimizer.param_groups.0.weight_decay: weight_decay must be at least 0, and would go to -1",
        "optim: unknown key 'schedler'; did you mean 'scheduler'?",
        "optimizer: unknown optimizer 'Adamm'; did you mean 'Adam'?",
        "d.trigger_source: early_stopper_counter needs an EarlyStopping callback, and trainer.callbacks has none",
    ]
    assert (warnings, lines) == ([], ["d: the next of 1, 2 at each early_stopper_counter"])


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (config(anneal(a=linear(total_steps="50%")), epochs=-1),
         "a.total_steps: '50%' needs the length of the run, which is not known; give a number of epochs"),
        (config(anneal(a=linear(eval_value=1, object="optimizer", attr_name="param_groups.0.lr"))),
         "a.eval_value: is for values of the module, not of the optimizer"),
        (config(anneal(a=linear()), anneal(b=linear())),
         "HyperparamAnnealingCallback.name: a second callback of this class needs a name of its own"),
        (config(anneal(beta=linear()), beta("constant", {"max_beta": 1})), "beta: the same place as 'beta'; keep one of them"),
        (config(anneal(a=linear(attr_name="x.y"), b=linear(attr_name="x.y"))), "b: the same place as 'a'; keep one of them"),
        (config({**anneal(beta=linear()), "init_args": {"annealing_params": {"beta": linear()}, "prog_bar": ["bta"]}}),
         "HyperparamAnnealingCallback.prog_bar: unknown parameter 'bta'; did you mean 'beta'?"),
        (config({**anneal(), "init_args": {"annealing_params": {"beta": linear()}, "on_horizon_change": "strech"}}),
         "HyperparamAnnealingCallback.on_horizon_change: unknown on_horizon_change 'strech'; did you mean 'stretch'?"),
        (config({**anneal(), "init_args": {"anealing_params": {}}}),
         "HyperparamAnnealingCallback: unknown argument 'anealing_params'; did you mean 'annealing_params'?"),
        (config(anneal(a=linear(attr_name="net._modules.0"))),
         "a: '_modules' is private; names with a leading underscore can't be annealed"),
        (config(anneal(a=on("early_stopper_counter", monitor="acc")), STOPPER), "a.monitor: no EarlyStopping watches 'acc'; known: val_loss"),
        (config(anneal(a=on("early_stopper_counter")), STOPPER, {**STOPPER, "init_args": {"monitor": "acc"}}),
         "a.monitor: missing; there are several EarlyStopping callbacks (val_loss, acc), say which is meant"),
        (config(anneal(beta=on("lr_scheduler_triggered")), optim={"scheduler": "StepLR", "scheduler_kwargs": {"step_size": 20}}),
         "beta.trigger_source: lr_scheduler_triggered needs a ReduceLROnPlateau, and optim gives none"),
        (config(optim={"lr_parameter_groups": {"head": {}}}), "lr_parameter_groups.head.pattern: missing; give a pattern or a prefix"),
        (config(optim={"scheduler_kwargs": {"T_max": "x"}, "scheduler": "CosineAnnealingLR"}),
         "scheduler_kwargs.T_max: must be a number, '10ep', '500st' or '30%', got 'x'"),
        (config(anneal(**{"optimizer.param_groups.0.betas.0": held()})),
         "optimizer.param_groups.0.betas.0: betas must stay below 1, and would go to 1"),
        (config(anneal(**{"optimizer.param_groups.0.weight_decay": limited(method="pi", min_value=-1, start_value=0)})),
         "optimizer.param_groups.0.weight_decay: weight_decay must be at least 0, and would go to -1"),
        (config(anneal(**{"optimizer.param_groups.0.weight_decay": gated(schedule=linear(end_value=-0.1))})),
         "optimizer.param_groups.0.weight_decay: weight_decay must be at least 0, and would go to -0.1"),
        (config(anneal(**{"optimizer.param_groups.0.eps": gated(schedule=linear(start_value=None, end_value=-0.1))})),
         "optimizer.param_groups.0.eps: eps must be at least 0, and would go to -0.1"),
        (config(anneal(**{"optimizer.param_groups.0.weight_decay": plateau(step=-0.1, min_value=-1)}), optim={"optimizer_kwargs": {"weight_decay": 0.5}}),
         "optimizer.param_groups.0.weight_decay: weight_decay must be at least 0, and would go to -1"),
        (config(anneal(**{"optimizer.param_groups.0.weight_decay": plateau(factor=0.5)}), optim={"optimizer_kwargs": {"weight_decay": 0}}),
         "optimizer.param_groups.0.weight_decay.factor: the value found is 0, and stays so; give step"),
        (config(anneal(beta=limited(max_value=0.5)), optim={}), "beta: begins at 1, beyond the max_value 0.5; give start_value or another max_value"),
        (config(anneal(beta=held(set_point=linear(start_value=None)))),
         "beta.set_point.start_value: missing; there is no value of a metric to be found (milestones: give one for 0)"),
        (config(anneal(beta=linear(), **{"optimizer.param_groups.0.weight_decay": follow("beta", scale=-1)})),
         "optimizer.param_groups.0.weight_decay: weight_decay must be at least 0, and would go to -1"),
        (config(anneal(beta=held(), wd=follow("beta", scale=0.5, offset=0.5), **{"optimizer.param_groups.0.betas.0": follow("wd")})),
         "optimizer.param_groups.0.betas.0: betas must stay below 1, and would go to 1"),
        (config(anneal(beta=linear(), f=follow("beta", power=-1))), "f: has no value where beta is 0: it is to the power -1"),
        (config(anneal(a=follow("b"), b=follow("a"))), "a.other: goes round in a circle: a -> b -> a"),
        (config(anneal(a=follow("net[0].p"))), "a.other: 'net[0]' has brackets; write indices with dots, as in 'net.0.p'"),
        (config(anneal(a=follow("m"), m=on("metric_below", monitor="m", threshold=1, values=["x", "y"]))),
         "a.other: m holds 'x', which is no number"),
        (config(anneal(beta=follow("free_bitss")), optim={}),
         "beta.other: 'free_bitss' is no annealed parameter, and the source of DigitsVAE sets no 'free_bitss'; did you mean 'free_bits'?"),
        (config(anneal(beta=follow("lam"), lm=linear(attr_name="learning_rate")), optim={}),
         "beta.other: 'lam' is no annealed parameter, and the source of DigitsVAE sets no 'lam'; did you mean 'lm'?"),
        (config(anneal(beta=follow("optimzer.param_groups.0.lr")), optim={}),
         "beta.other: 'optimzer.param_groups.0.lr' is no annealed parameter, and the source of DigitsVAE sets no 'optimzer'; did you mean 'optimizer'?"),
        (config(), "config: anneals nothing: no callback of lightning_anneal in trainer.callbacks"),
    ],
)  # fmt: skip
def test_problems(written: dict[str, Any], problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert looked_at(written)[0] == [problem]


def test_a_follower_takes_the_interval_of_what_it_follows() -> None:
    beta, free_bits = linear(interval="step"), follow("beta")
    assert looked_at(config(anneal(beta=beta, free_bits=free_bits, more=follow("free_bits", interval="epoch"))))[2] == [
        "beta: linear by step, from 0",
        "free_bits: follows beta by step",
        "more: follows free_bits by epoch",
    ]
    # With a mistake in it, it is a parameter all the same.
    problems, warnings, lines = looked_at(config(anneal(beta=linear(strategy="linera"), more=follow("beta"))))
    assert problems == ["beta.strategy: unknown strategy 'linera'; did you mean 'linear'?"]
    assert (warnings, lines) == ([], ["more: follows beta by step"])


def test_a_name_to_follow_that_is_nearly_one() -> None:
    written = config(anneal(beta=linear(), free_bits=follow("betaa")))
    assert looked_at(written)[:2] == ([], ["free_bits.other: 'betaa' is no annealed parameter; did you mean 'beta'?"])


def test_every_mistake_in_one_parameter_is_told() -> None:
    settings = {"strategy": "linear", "start_value": "x", "end_val": 1, "total_stps": 5, "intervall": "step"}
    assert looked_at(config(anneal(a=settings, b=linear(interval="week", frequency=0, total_steps="5 weeks"))))[0] == [
        "a: unknown key 'end_val'; did you mean 'end_value'?",
        "a: unknown key 'total_stps'; did you mean 'total_steps'?",
        "a: unknown key 'intervall'; did you mean 'interval'?",
        "a.start_value: must be a number, got 'x'",
        "b.interval: unknown interval 'week'; known: epoch, step",
        "b.frequency: must be positive, got 0",
        "b.total_steps: must be a number, '10ep', '500st' or '30%', got '5 weeks'",
    ]


@pytest.mark.parametrize(
    ("callbacks", "warnings"),
    [
        ([anneal(a={"strategy": "cyclical", "cycle_length": 80, "min_value": 0, "max_value": 1})],
         ["a: a cycle of 80 epochs is longer than the run (60 epochs)"]),
        ([anneal(a={"strategy": "cyclical", "cycle_length": 60, "min_value": 0, "max_value": 1})], []),
        ([anneal(a=linear(total_steps=80))], ["a: its 80 epochs never end in the run (60 epochs); it ends on 0.7375"]),
        ([anneal(a=linear(total_steps="100%"))], []),
        ([anneal(a=linear(total_steps=100, frequency=5))], ["a: its 100 epochs never end in the run (60 epochs); it ends on 0.55"]),
        ([beta("linear", {"max_beta": 1, "warmup_epochs": 61})],
         ["beta: its 61 epochs never end in the run (60 epochs); it ends on 0.967213"]),
        ([anneal(a={"strategy": "warm_restart", "base": linear(), "restart_interval": 10})],
         ["a: restarts after 10 epochs, before its warm-up of 30 is over"]),
        ([anneal(a={"strategy": "warm_restart", "base": linear(), "restart_interval": 60})],
         ["a: the first restart, at 60, lies beyond the run (60 epochs)"]),
        ([anneal(a={"strategy": "warm_restart", "base": linear(), "restart_interval": 30})], []),
        ([anneal(a=linear(total_steps=6))], ["a: stands still after 6 epochs, long before the run (60 epochs) ends"]),
        ([anneal(a=linear(total_steps=7))], []),
        ([anneal(a={"strategy": "constant", "value": 1})], []),
        ([anneal(a={"strategy": "scheduled", "schedule": {0: 1, 30: 2, 60: 3}})],
         ["a: the milestone at 60 lies beyond the run (60 epochs)"]),
        ([anneal(a={"strategy": "sequence", "parts": [{**linear(), "duration": 20}, {"strategy": "constant", "value": 1}]})],
         ["a: part 0 is cut off after 20 epochs, before its 30 are over"]),
        ([anneal(a={"strategy": "sequence", "parts": [{**linear(), "duration": 60}, {"strategy": "constant", "value": 1}]})],
         ["a: part 1 begins at 60, beyond the run (60 epochs)"]),
        ([beta("linear", {"max_beta": 1, "warmup_epochs": 30}), STOPPER],
         ["beta: EarlyStopping watches val_loss, whose loss it weighs, and it moves, so that two epochs' losses are "
          "different sums; give eval_beta, such as 1.0"]),
        ([anneal(beta=linear()), CHECKPOINT],
         ["beta: ModelCheckpoint watches val_loss, whose loss it weighs, and it moves, so that two epochs' losses are "
          "different sums; give eval_value, such as 1.0"]),
        ([anneal(beta=linear()), {**CHECKPOINT, "init_args": {"monitor": "val_acc"}}], []),
        ([beta("linear", {"max_beta": 1, "warmup_epochs": 30}, eval_beta=1.0), STOPPER, CHECKPOINT], []),
        ([beta("constant", {"max_beta": 1}), STOPPER], []),
        ([anneal(temperature=linear()), STOPPER], []),
        ([anneal(a=gated(schedule=linear(total_steps=80)))],
         ["a: its 80 epochs never end in the run (60 epochs), even if its clock never waits"]),
        ([anneal(a=gated(schedule=linear(total_steps=3)))], []),
        ([anneal(f=follow("optimzer.param_groups.0.lr"))],
         ["f.other: 'optimzer' is no annealed parameter; did you mean 'optimizer'?"]),
        ([anneal(f=follow("fo"))], []),  # perhaps the model has it
        ([anneal(a=linear(interval="step", total_steps=100_000))], []),  # nobody knows how many steps there are
        ([anneal(a=linear(total_steps="10000st"))], []),
    ],
)  # fmt: skip
def test_what_is_legal_but_not_meant(callbacks: list[Any], warnings: list[str]) -> None:
    problems, found, lines = looked_at(config(*callbacks))
    assert (problems, found, len(lines)) == ([], warnings, 1)


def test_steps_count_where_they_are_known() -> None:
    written = config(anneal(a=linear(interval="step", total_steps=100)), epochs=10)
    assert looked_at(written, steps_per_epoch=9)[1] == [
        "a: its 100 steps never end in the run (90 steps); it ends on 0.89"
    ]
    assert looked_at(written, steps_per_epoch=10)[1] == []
    limited = config(
        anneal(a=linear(interval="step", total_steps=100)), epochs=10, limit_train_batches=17, accumulate_grad_batches=2
    )
    assert looked_at(limited)[1] == ["a: its 100 steps never end in the run (90 steps); it ends on 0.89"]


def test_a_run_whose_length_nobody_has_written_down() -> None:
    written = config(anneal(a=linear(total_steps="50%")))
    del written["trainer"]["max_epochs"]
    assert looked_at(written) == (
        [],
        ["trainer.max_epochs: not in the config; Lightning trains for 1000 epochs then"],
        ["a: linear by epoch, from 0 to 1"],
    )


def test_a_name_that_the_source_of_the_model_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    written = config(anneal(free_bit=linear(), free_bits=linear(), zeta=linear()), optim={})
    assert looked_at(written)[0] == [
        "free_bit: the source of DigitsVAE sets no 'free_bit'; did you mean 'free_bits'?",
        "zeta: the source of DigitsVAE sets no 'zeta'; did you mean 'beta'?",
    ]
    # What has another base, or sets attributes by name, may have more than its source shows: only what is near is told.
    for bases, more in (("Base", "pass"), ("LightningModule", "setattr(self, name, 1)")):
        source = f"class Model({bases}):\n    def __init__(self, name):\n        self.free_bits = 1.0\n        {more}\n"
        (tmp_path / "mine.py").write_text(source)
        monkeypatch.chdir(tmp_path)
        written["model"] = {"class_path": "mine.Model"}
        problems, warnings, _ = check(read_run(written))
        assert not any("free_bit" in str(problem) or "zeta" in str(problem) for problem in problems)
        assert warnings == ["free_bit: the source of Model sets no 'free_bit'; did you mean 'free_bits'?"]


def test_learning_rates_that_can_not_be_meant() -> None:
    written = config(optim={"scheduler": "CosineAnnealingLR", "scheduler_kwargs": {"T_max": 20, "eta_min": 1}})
    assert looked_at(written)[1] == [
        "CosineAnnealingLR rises again after T_max=20 of 60 epochs; leave T_max out (a resumed run keeps the one it began with)",
        "CosineAnnealingLR: eta_min=1 is above the base learning rate 0.001",
    ]


@pytest.mark.parametrize("name", CONFIGS)
def test_the_configs_have_neither_problems_nor_doubts(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check", f"configs/{name}"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.fullmatch(r"([\w.* ]+: .+\n)+", out)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = config(anneal(a=linear(strategy="cosin"), b=linear(total_steps=80), c=linear(total_steps=0)))
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(written))
    assert main(["check", str(file)]) == 2
    out, err = capsys.readouterr()
    assert out == "b: linear by epoch, from 0 to 0.7375\n"
    assert err.splitlines() == [
        "warning: b: its 80 epochs never end in the run (60 epochs); it ends on 0.7375",
        "error: a.strategy: unknown strategy 'cosin'; did you mean 'cosine'?",
        "error: c.total_steps: must be positive, got 0",
    ]
    path = "trainer.callbacks[0].init_args.annealing_params"
    mended = [f"--set={path}.a.strategy=cosine", "--set", f"{path}.c.total_steps=7", "--epochs=70"]
    assert main(["check", str(file), *mended]) == 0
    assert capsys.readouterr().err == (
        "warning: b: its 80 epochs never end in the run (70 epochs); it ends on 0.8625\n"
        "warning: c: stands still after 7 epochs, long before the run (70 epochs) ends\n"
    )


def test_what_lightning_has_to_say_comes_last(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = config(anneal(beta=linear()), optim={})
    written["model"]["init_args"]["latent_sise"] = 3
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(written))
    assert main(["check", str(file)]) == 2
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert "latent_sise" in error


@pytest.mark.parametrize("name", ["cyclical_beta_config.json", "hierarchical_config.json", "warm_restart_config.json"])
def test_training_configs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["check", f"configs/{name}"]) == 0
    assert capsys.readouterr().out.count(" by epoch") == (2 if name.startswith("hier") else 1)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["nowhere.yaml"], "error: CONFIG: no such file 'nowhere.yaml'"),
        ([], "error: the following arguments are required: CONFIG (--help tells the options)"),
        (["c.yaml", "--epochs", "none"], "error: --epochs: must be a number, got 'none'"),
        (["c.yaml", "--set", "trainer.x.y=1"], "error: --set: the config has no 'x'; known: callbacks, max_epochs"),
        (["search.yaml"], "error: search: is for `lightning-anneal search`, where a value may be a list; take the config.yaml "
                          "of one of its runs"),
        (["list.yaml"], "error: config: must hold a mapping"),
    ],
)  # fmt: skip
def test_mistakes_on_the_command_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    error: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(yaml.safe_dump(config(anneal(a=linear()))))
    Path("search.yaml").write_text("search: {workers: 2}\n")
    Path("list.yaml").write_text("[1, 2]\n")
    try:
        status = main(["check", *arguments])
    except SystemExit as stop:
        status = int(str(stop.code))
    assert status == 2
    assert capsys.readouterr().err.rstrip() == error


# -- phases and balanced losses ---------------------------------------------------------------------------------------


def phased(*phases: Any, **params: Any) -> dict[str, Any]:
    more = {"annealing_params": params} if params else {}
    return {"class_path": "lightning_anneal.HyperparamAnnealingCallback", "init_args": {"phases": list(phases), **more}}


def balanced(**arguments: Any) -> dict[str, Any]:
    return {"class_path": "lightning_anneal.LossBalancingCallback", "init_args": {"losses": ["a", "b"], **arguments}}


WARM: dict[str, Any] = {"name": "warm", "until": "10ep", "set": {"beta": 0.0, "frozen": True}}
BELOW = {"trigger": "metric_below", "monitor": "val_loss", "threshold": 0.5, "at_most": "20ep"}


def test_phases_and_losses_have_lines() -> None:
    main_ = {"name": "main", "until": BELOW, "anneal": {"beta": linear(total_steps=5)}}
    run = read_run(config(phased(WARM, main_, {"name": "finish", "set": {"frozen": False}}), balanced(method="dwa")))
    problems, _, lines = check(run)
    assert problems == []
    assert lines == [
        "phases: warm until 10ep, main until metric_below val_loss, at most 20ep, finish to the end",
        "beta: 0 in warm, linear in main by epoch",
        "frozen: True in warm, False in finish",
        "a: weight among a, b by dwa by epoch",
        "b: weight among a, b by dwa by epoch",
    ]


@pytest.mark.parametrize(
    ("callback", "problem"),
    [
        (phased(WARM, {"name": "main", "anneal": {"temp": {"strategy": "cosin", "end_value": 1}}}), "phases.main.anneal.temp.strategy: unknown strategy 'cosin'; did you mean 'cosine'?"),
        (phased(WARM, {"name": "main"}, beta=linear()), "beta: stands in annealing_params and in phases; keep one of them"),
        (phased(WARM, {"name": "main", "anneal": {"temp": linear(object="modle")}}), "phases.main.anneal.temp.object: unknown object 'modle'; did you mean 'model'?"),
        (phased({**WARM, "until": BELOW, "anneal": {"temp": {"strategy": "linear", "start_value": 0, "end_value": 1}}}, {"name": "main"}), "phases.warm.anneal.temp.total_steps: missing; a trigger ends the phase, so its length isn't known"),
        (phased(WARM, {"name": "main", "set": {"optimizer.param_groups.0.lr": -1.0}, "anneal": {}}), "optimizer.param_groups.0.lr: lr must be at least 0, and would go to -1"),
        (balanced(methd="dwa"), "LossBalancingCallback: unknown argument 'methd'; did you mean 'method'?"),
        (balanced(method="dwb"), "method: unknown method 'dwb'; did you mean 'dwa'?"),
        ({"class_path": "lightning_anneal.LossBalancingCallback"}, "LossBalancingCallback: 'losses' is missing"),
    ],
)  # fmt: skip
def test_mistakes_in_phases_and_losses(callback: Any, problem: str) -> None:
    problems, _, _ = check(read_run(config(callback)))
    assert [str(each) for each in problems] == [problem]


def test_phases_without_the_value_that_they_begin_at() -> None:
    phases = phased({**WARM, "set": {"frozen": True}, "anneal": {"temp": {"strategy": "cosine", "end_value": 1}}})
    problems, _, lines = check(read_run(config(phases)))
    assert problems == []
    assert "temp: cosine in warm by epoch" in lines


def test_what_follows_a_later_callback() -> None:
    leads, follows = annealing(beta=linear()), annealing(temp={"strategy": "follow", "other": "beta"})
    beside = annealing(gamma=linear())
    follows["init_args"]["name"], beside["init_args"]["name"] = "second", "third"
    assert check(read_run(config(leads, follows)))[0] == []
    problems, _, _ = check(read_run(config(follows, beside, leads)))
    assert [str(each) for each in problems] == [
        "temp.other: beta is annealed by a HyperparamAnnealingCallback whose turn comes after this one's; "
        "put that callback in front, or both into one"
    ]
