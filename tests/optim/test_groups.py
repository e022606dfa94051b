"""Parameter groups from a config: which parameter is where, with which options, and what is refused."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from lightning_anneal import AnnealError, configure_optimizers
from tests.optim.fitted import Configured, by_hand
from tests.tiny import trainer_for

Fit = Callable[..., Any]


class Model(nn.Module):
    """An encoder, a decoder and a recurrent core."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4, bias=False))
        self.core = nn.GRU(4, 4)
        self.decoder = nn.Linear(4, 2)
        self.decoder_head = nn.Linear(2, 1)


MODEL = {
    *("encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "encoder.2.weight"),
    *("core.weight_ih_l0", "core.weight_hh_l0", "core.bias_ih_l0", "core.bias_hh_l0"),
    *("decoder.weight", "decoder.bias", "decoder_head.weight", "decoder_head.bias"),
}


def optimizer(module: nn.Module, **settings: Any) -> Optimizer:
    made: Optimizer = configure_optimizers(module, **{"optimizer": "AdamW", "learning_rate": 0.5, **settings})[
        "optimizer"
    ]
    return made


def names(module: nn.Module, made: Optimizer) -> dict[str, set[str]]:
    """The names of the parameters in each group; every parameter is in one."""
    called = {id(parameter): name for name, parameter in module.named_parameters()}
    found = {group["name"]: {called[id(p)] for p in group["params"]} for group in made.param_groups}
    assert sum(len(group["params"]) for group in made.param_groups) == len(called)
    assert set().union(*found.values()) == set(called.values())
    return found


def option(made: Optimizer, key: str) -> dict[str, Any]:
    return {group["name"]: group[key] for group in made.param_groups}


# -- which is where ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        # a pattern is looked for anywhere in the name
        ({"some": {"pattern": "ight_hh|head"}},
         {"some": {"core.weight_hh_l0", "decoder_head.weight", "decoder_head.bias"}}),
        ({"biases": {"pattern": r"bias$"}},
         {"biases": {"encoder.0.bias", "encoder.1.bias", "decoder.bias", "decoder_head.bias"}}),
        ({"begins": {"pattern": "^decoder"}},
         {"begins": {"decoder.weight", "decoder.bias", "decoder_head.weight", "decoder_head.bias"}}),
        # a prefix is a whole path
        ({"out": {"prefix": "decoder"}}, {"out": {"decoder.weight", "decoder.bias"}}),
        ({"out": {"prefix": "decoder."}}, {"out": {"decoder.weight", "decoder.bias"}}),
        ({"deep": {"prefix": "encoder.2"}}, {"deep": {"encoder.2.weight"}}),
        ({"one": {"prefix": "encoder.0.bias"}}, {"one": {"encoder.0.bias"}}),
        # the first match wins, in the order of the config
        ({"b": {"prefix": "decoder"}, "a": {"pattern": "decoder"}},
         {"b": {"decoder.weight", "decoder.bias"}, "a": {"decoder_head.weight", "decoder_head.bias"}}),
        ({"weights": {"pattern": r"\.weight$"}, "all": {"pattern": ".*"}},
         {"weights": {"encoder.0.weight", "encoder.1.weight", "encoder.2.weight",
                      "decoder.weight", "decoder_head.weight"},
          "all": {"encoder.0.bias", "encoder.1.bias", "decoder.bias", "decoder_head.bias",
                  "core.weight_ih_l0", "core.weight_hh_l0", "core.bias_ih_l0", "core.bias_hh_l0"}}),
    ],
)  # fmt: skip
def test_which_parameter_is_where(groups: dict[str, Any], expected: dict[str, set[str]]) -> None:
    module = Model()
    rest = MODEL - set().union(*expected.values())
    made = optimizer(module, lr_parameter_groups=groups)
    found = names(module, made)
    assert found == {**expected, **({"default": rest} if rest else {})}
    assert list(found) == [*groups, *(["default"] if rest else [])]


def test_a_group_of_a_bare_parameter() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))
            self.scaled = nn.Linear(1, 1)

    module = Scaled()
    made = optimizer(module, lr_parameter_groups={"scale": {"prefix": "scale", "lr": 0.25}})
    assert names(module, made) == {"scale": {"scale"}, "default": {"scaled.weight", "scaled.bias"}}


def test_without_settings_there_is_one_group_without_a_name() -> None:
    [group] = optimizer(Model()).param_groups
    assert "name" not in group
    assert len(group["params"]) == len(MODEL)


def test_an_empty_mapping_makes_the_default_group() -> None:
    assert option(optimizer(Model(), lr_parameter_groups={}), "lr") == {"default": 0.5}


def test_frozen_parameters_stay_where_they_are() -> None:
    module = Model()
    module.decoder.requires_grad_(False)
    made = optimizer(module, lr_parameter_groups={"out": {"prefix": "decoder"}})
    assert names(module, made)["out"] == {"decoder.weight", "decoder.bias"}


def test_tied_parameters_are_in_one_group() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(5, 4)
            self.head = nn.Linear(4, 5)
            self.head.weight = self.embedding.weight

    module = Tied()
    made = optimizer(module, lr_parameter_groups={"head": {"prefix": "head", "lr": 0.25}}, no_decay=["bias"])
    # The weight goes by the name that it has first.
    assert names(module, made) == {"head_no_decay": {"head.bias"}, "default": {"embedding.weight"}}
    bare = Tied()
    bare.head.bias = None
    with pytest.raises(
        AnnealError, match=r"^lr_parameter_groups\.head: matches no parameter; their names begin with embed"
    ):
        optimizer(bare, lr_parameter_groups={"head": {"prefix": "head"}})


def test_a_group_of_tied_recurrent_parameters() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(2, 2, bias=False)
            self.again = self.cell
            self.head = nn.Linear(2, 1)

    module = Twice()
    made = optimizer(module, recurrent_learning_rate_multiplier=0.5)
    assert names(module, made)["recurrent"] == {"cell.weight_ih", "cell.weight_hh"}


# -- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "key", "value"),
    [
        ({"lr": 0.25}, "lr", 0.25),
        ({"lr": "1e-4"}, "lr", 0.0001),
        ({"lr": 0}, "lr", 0.0),
        ({"lr_factor": 0.5}, "lr", 0.25),
        ({"lr_factor": "1e-1"}, "lr", 0.05),
        ({"lr_factor": 4}, "lr", 2.0),
        ({"lr_factor": None, "lr": None}, "lr", 0.5),
        ({"weight_decay": 0}, "weight_decay", 0.0),
        ({"weight_decay": "1e-4"}, "weight_decay", 0.0001),
        ({}, "weight_decay", 0.125),
        ({"betas": [0.5, "0.75"]}, "betas", (0.5, 0.75)),
        ({"eps": "1e-6", "amsgrad": True}, "eps", 1e-6),
        ({"amsgrad": True}, "amsgrad", True),
    ],
)
def test_options(settings: dict[str, Any], key: str, value: Any) -> None:
    given = {"out": {"prefix": "decoder", **settings}}
    before = copy.deepcopy(given)
    made = optimizer(Model(), optimizer_kwargs={"weight_decay": 0.125}, lr_parameter_groups=given)
    assert option(made, key)["out"] == value
    assert type(option(made, key)["out"]) in (type(value), int)
    assert given == before
    usual = {"lr": 0.5, "weight_decay": 0.125, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}
    assert option(made, key)["default"] == usual[key]


def test_a_factor_is_of_the_rate_in_force() -> None:
    groups = {"out": {"prefix": "decoder", "lr_factor": 0.5}}
    module = Model()
    assert option(optimizer(module, optimizer="SGD", learning_rate=None, lr_parameter_groups=groups), "lr") == {
        "out": 0.005,
        "default": 0.01,
    }
    options = {"learning_rate": None, "optimizer_kwargs": {"lr": 0.25}}
    assert option(optimizer(module, **options, lr_parameter_groups=groups), "lr") == {"out": 0.125, "default": 0.25}
    fast = Model()
    fast.__dict__["lr"] = 8.0
    assert option(optimizer(fast, learning_rate=None, lr_parameter_groups=groups), "lr") == {"out": 4.0, "default": 8.0}


def test_every_group_follows_the_scheduler_from_its_own_rate(fit: Fit) -> None:
    module = Configured(lr_parameter_groups={"head": {"prefix": "layer", "lr": 0.25}}, scheduler="CosineAnnealingLR")
    fit(module=module)
    torchs = [by_hand(lambda optimizer: CosineAnnealingLR(optimizer, 4), 3, lr=lr) for lr in (0.25, 1.0)]
    assert module.rates[::8] == list(zip(*torchs, strict=True))


def test_a_group_with_a_rate_of_zero_is_not_trained(fit: Fit) -> None:
    module = Configured(lr_parameter_groups={"fixed": {"pattern": r"layer\.bias", "lr": 0}})
    weight, bias = (parameter.detach().clone() for parameter in module.layer.parameters())
    fit(module=module, max_epochs=1)
    assert torch.equal(module.layer.bias, bias)
    assert not torch.equal(module.layer.weight, weight)


# -- recurrent layers -------------------------------------------------------------------------------------------------

CELL = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
LAYER = {f"{name}_l0" for name in CELL}


class Recurrent(nn.Module):
    """Something under the name `inner`, and a head."""

    def __init__(self, inner: nn.Module, name: str = "inner") -> None:
        super().__init__()
        self.add_module(name, inner)
        self.head = nn.Linear(2, 1)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (Recurrent(nn.GRU(2, 2)), {f"inner.{name}" for name in LAYER}),
        (Recurrent(nn.RNN(2, 2)), {f"inner.{name}" for name in LAYER}),
        (Recurrent(nn.LSTM(2, 2)), {f"inner.{name}" for name in LAYER}),
        (Recurrent(nn.LSTMCell(2, 2)), {f"inner.{name}" for name in CELL}),
        (Recurrent(nn.GRUCell(2, 2, bias=False)), {"inner.weight_ih", "inner.weight_hh"}),
        (Recurrent(nn.Sequential(nn.Linear(2, 2), nn.GRU(2, 2))), {f"inner.1.{name}" for name in LAYER}),
        # a convolution in a module of that name, however deep
        (Recurrent(nn.Sequential(nn.Conv1d(2, 2, 1)), "recurrent"), {"recurrent.0.weight", "recurrent.0.bias"}),
        (Recurrent(nn.ModuleDict({"recurrent": nn.Linear(2, 2)})), {"inner.recurrent.weight", "inner.recurrent.bias"}),
    ],
)
def test_recurrent_weights(module: nn.Module, expected: set[str]) -> None:
    made = optimizer(module, recurrent_learning_rate_multiplier=0.125)
    assert names(module, made) == {
        "recurrent": expected,
        "default": {"head.weight", "head.bias"} | rest_of(module, expected),
    }
    assert option(made, "lr") == {"recurrent": 0.0625, "default": 0.5}


def rest_of(module: nn.Module, taken: set[str]) -> set[str]:
    return {name for name, _ in module.named_parameters()} - taken


def test_a_module_that_is_recurrent_itself() -> None:
    module = nn.GRU(2, 2)
    assert names(module, optimizer(module, recurrent_learning_rate_multiplier=0.5)) == {"recurrent": LAYER}


def test_other_groups_go_before_the_recurrent_one() -> None:
    module = Model()
    groups = {"hidden": {"pattern": "weight_hh", "lr": 0.25}}
    made = optimizer(module, lr_parameter_groups=groups, recurrent_learning_rate_multiplier="0.5")
    assert names(module, made)["hidden"] == {"core.weight_hh_l0"}
    assert names(module, made)["recurrent"] == {"core.weight_ih_l0", "core.bias_ih_l0", "core.bias_hh_l0"}
    assert option(made, "lr") == {"hidden": 0.25, "recurrent": 0.25, "default": 0.5}


def test_part_of_a_module() -> None:
    module = Model()
    made = optimizer(module, part=module.core, recurrent_learning_rate_multiplier=0.5)
    assert names(module.core, made) == {"recurrent": LAYER}


# -- no weight decay --------------------------------------------------------------------------------------------------


class Normed(nn.Module):
    """Normalisation of every kind, one of them known by its name only."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(4, 4, 1), nn.BatchNorm1d(4), nn.Linear(4, 4), nn.LayerNorm(4), nn.GroupNorm(2, 4)
        )
        self.norm = nn.ModuleDict({"scale": nn.Linear(1, 1, bias=False)})
        self.head = nn.Linear(4, 1)


BIASES = {"body.0.bias", "body.1.bias", "body.2.bias", "body.3.bias", "body.4.bias", "head.bias"}
NORMS = {
    *("body.1.weight", "body.1.bias", "body.3.weight", "body.3.bias", "body.4.weight", "body.4.bias"),
    "norm.scale.weight",
}


@pytest.mark.parametrize(
    ("no_decay", "expected"),
    [
        (["bias"], BIASES),
        ("bias", BIASES),
        (["norm"], NORMS),
        (["bias", "norm"], BIASES | NORMS),
        (("norm", r"^body\.2\."), NORMS | {"body.2.weight", "body.2.bias"}),
        (["^head"], {"head.weight", "head.bias"}),
    ],
)
def test_what_is_spared(no_decay: Any, expected: set[str]) -> None:
    module = Normed()
    made = optimizer(module, optimizer_kwargs={"weight_decay": 0.25}, no_decay=no_decay)
    found = names(module, made)
    assert found == {"default": rest_of(module, expected), "default_no_decay": expected}
    assert option(made, "weight_decay") == {"default": 0.25, "default_no_decay": 0.0}
    assert option(made, "lr") == {"default": 0.5, "default_no_decay": 0.5}


def test_an_empty_list_spares_nothing() -> None:
    assert option(optimizer(Normed(), no_decay=[]), "weight_decay") == {"default": 0.01}


def test_every_group_is_split() -> None:
    module = Model()
    groups = {"out": {"prefix": "decoder", "lr": 0.25, "weight_decay": 0.125}, "head": {"pattern": "head.*bias"}}
    made = optimizer(
        module, lr_parameter_groups=groups, recurrent_learning_rate_multiplier=2, no_decay=["bias", "norm"]
    )
    assert names(module, made) == {
        "out": {"decoder.weight"},
        "out_no_decay": {"decoder.bias"},
        "head_no_decay": {"decoder_head.bias"},
        "recurrent": {"core.weight_ih_l0", "core.weight_hh_l0"},
        "recurrent_no_decay": {"core.bias_ih_l0", "core.bias_hh_l0"},
        "default": {"encoder.0.weight", "encoder.2.weight", "decoder_head.weight"},
        "default_no_decay": {"encoder.0.bias", "encoder.1.weight", "encoder.1.bias"},
    }
    assert option(made, "weight_decay") == {
        "out": 0.125,
        "out_no_decay": 0.0,
        "head_no_decay": 0.0,
        "recurrent": 0.01,
        "recurrent_no_decay": 0.0,
        "default": 0.01,
        "default_no_decay": 0.0,
    }
    assert option(made, "lr") == {
        "out": 0.25,
        "out_no_decay": 0.25,
        "head_no_decay": 0.5,
        "recurrent": 1.0,
        "recurrent_no_decay": 1.0,
        "default": 0.5,
        "default_no_decay": 0.5,
    }


def test_a_module_without_norms_takes_the_usual_list() -> None:
    module = nn.Linear(2, 1)
    assert names(module, optimizer(module, no_decay=["bias", "norm"])) == {
        "default": {"weight"},
        "default_no_decay": {"bias"},
    }


def test_a_module_that_is_a_norm_itself() -> None:
    module = nn.LayerNorm(2)
    assert names(module, optimizer(module, no_decay=["norm"])) == {"default_no_decay": {"weight", "bias"}}


# -- what is said -----------------------------------------------------------------------------------------------------


def test_what_matched_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    module = Configured(
        optimizer="AdamW",
        learning_rate=0.5,
        lr_parameter_groups={"out": {"prefix": "layer", "lr": "1e-3", "weight_decay": 0}},
        no_decay=["bias"],
    )

    def told() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.getMessage().startswith("Parameter groups")]

    with caplog.at_level(logging.INFO):
        trainer_for(tmp_path, max_epochs=1).fit(module)
        trainer_for(tmp_path, max_epochs=1).fit(module)
        assert told() == [
            "Parameter groups of AdamW:\n"
            "  out: 1 parameters, lr 0.001, weight_decay 0 (layer.weight)\n"
            "  out_no_decay: 1 parameters, lr 0.001, weight_decay 0 (layer.bias)\n"
            "  default: 1 parameters, lr 0.5, weight_decay 0.01 (net.0.weight)\n"
            "  default_no_decay: 1 parameters, lr 0.5, weight_decay 0 (net.0.bias)"
        ]
        # Other groups are news.
        module.optim["no_decay"] = None
        trainer_for(tmp_path, max_epochs=1).fit(module)
    assert len(told()) == 2


def test_many_names_are_cut(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        optimizer(Model(), optimizer="Rprop", recurrent_learning_rate_multiplier=1.0)
    assert (
        "  recurrent: 4 parameters, lr 0.5 (core.weight_ih_l0, core.weight_hh_l0, core.bias_ih_l0, ...)" in caplog.text
    )


# -- what is refused --------------------------------------------------------------------------------------------------

NOTHING = "matches no parameter; their names begin with core, decoder, decoder_head, encoder"
WORD = "a group's name must be a word, which paths such as param_groups.NAME.lr can name"
GROUPS: list[tuple[dict[Any, Any], str]] = [
    ({"x": {"pattern": "convolution"}}, f"x: {NOTHING}"),
    ({"x": {"prefix": "decod"}}, f"x: {NOTHING}"),
    ({"a": {"pattern": "decoder"}, "x": {"prefix": "decoder"}},
     "x: has no parameter left; the groups before it take all that it matches"),
    ({"x": {"prefix": "decoder", "pattern": "decoder"}}, "x.pattern: prefix is given, too; keep one"),
    ({"x": {"lr": 0.1}}, "x.pattern: missing; give a pattern or a prefix"),
    ({"x": None}, "x.pattern: missing; give a pattern or a prefix"),
    ({"x": {"prefix": "decoder", "lr": 0.1, "lr_factor": 0.1}}, "x.lr_factor: lr says it too; keep one"),
    ({"x": {"pattern": "(decoder"}},
     "x.pattern: '(decoder' is no regular expression: missing ), unterminated subpattern at position 0"),
    ({"x": {"pattern": ""}}, "x.pattern: must be a regular expression, got ''"),
    ({"x": {"pattern": 3}}, "x.pattern: must be a regular expression, got 3"),
    ({"x": {"prefix": ""}}, "x.prefix: must be the path of a submodule, got ''"),
    ({"x": {"prefix": "decoder", "lr_facter": 0.1}}, "x: unknown key 'lr_facter'; did you mean 'lr_factor'?"),
    ({"x": {"prefix": "decoder", "momentum": 0.9}}, "x: unknown key 'momentum'"),
    ({"x": {"prefix": "decoder", "params": []}}, "x: unknown key 'params'"),
    ({"x": {"prefix": "decoder", "name": "y"}}, "x: unknown key 'name'"),
    ({"x": {"prefix": "decoder", "lr": -0.1}}, "x.lr: must not be negative, got -0.1"),
    ({"x": {"prefix": "decoder", "lr": "fast"}}, "x.lr: must be a number, got 'fast'"),
    ({"x": {"prefix": "decoder", "lr": True}}, "x.lr: must be a number, got True"),
    ({"x": {"prefix": "decoder", "lr_factor": -1}}, "x.lr_factor: must not be negative, got -1"),
    ({"x": {"prefix": "decoder", "lr_factor": float("nan")}}, "x.lr_factor: must be a finite number, got nan"),
    ({"x": {"prefix": "decoder", "weight_decay": -1}}, "x: AdamW: Invalid weight_decay value: -1"),
    ({"x": {"prefix": "decoder", "weight_decay": "much"}}, "x.weight_decay: must be a number, got 'much'"),
    ({"x": {"prefix": "decoder", "betas": [0.9, 2.0]}}, "x: AdamW: Invalid beta parameter at index 1: 2.0"),
    ({"x": "decoder"}, "x: must be a mapping, got 'decoder'"),
    ({"x": "prefix:decoder"}, "x: YAML reads 'prefix:decoder' as text; write 'prefix: decoder'"),
    ({"x": {"prefix:decoder": None}}, "x: YAML reads 'prefix:decoder' as text; write 'prefix: decoder'"),
    ({"": {"prefix": "decoder"}}, f": {WORD}"),
    ({"a.b": {"prefix": "decoder"}}, f"a.b: {WORD}"),
    ({"1": {"prefix": "decoder"}}, f"1: {WORD}"),
    ({2: {"prefix": "decoder"}}, f"2: {WORD}"),
    ({"*": {"prefix": "decoder"}}, f"*: {WORD}"),
    ({"default": {"prefix": "decoder"}}, "default: is what all other parameters are in; give another name"),
    ({"no_decay": ["bias"]}, "no_decay: no_decay is no group; write it beside lr_parameter_groups"),
]  # fmt: skip


@pytest.mark.parametrize(("groups", "message"), GROUPS, ids=[message[:40] for _, message in GROUPS])
def test_refused_groups(groups: dict[Any, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        optimizer(Model(), lr_parameter_groups=groups)
    assert str(error.value).startswith(f"lr_parameter_groups.{message}")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_parameter_groups": "decoder"}, "lr_parameter_groups: must be a mapping, got 'decoder'"),
        ({"lr_parameter_groups": [{"prefix": "decoder"}]},
         "lr_parameter_groups: must be a mapping, got [{'prefix': 'decoder'}]"),
        ({"recurrent_learning_rate_multiplier": -0.1},
         "recurrent_learning_rate_multiplier: must not be negative, got -0.1"),
        ({"recurrent_learning_rate_multiplier": "slow"},
         "recurrent_learning_rate_multiplier: must be a number, got 'slow'"),
        ({"recurrent_learning_rate_multiplier": 0.1, "lr_parameter_groups": {"recurrent": {"pattern": "core"}}},
         "recurrent_learning_rate_multiplier: lr_parameter_groups has a group 'recurrent', too; keep one"),
        ({"no_decay": ["biases"]}, "no_decay: 'biases' matches no parameter"),
        ({"no_decay": ["bias", "(x"]}, "no_decay: '(x' is no regular expression: missing ), unterminated subpattern"),
        ({"no_decay": 3}, "no_decay: must be a list such as [bias, norm], got 3"),
        ({"no_decay": [None]}, "no_decay: must be a regular expression, got None"),
        ({"no_decay": ["bias"], "optimizer": "Rprop"}, "no_decay: this optimizer has no weight_decay"),
        ({"no_decay": ["bias"], "lr_parameter_groups": {"x_no_decay": {"prefix": "core"}, "x": {"prefix": "decoder"}}},
         "lr_parameter_groups.x_no_decay: is what no_decay calls a part of another group; give another name"),
        ({"learning_rate": -1, "lr_parameter_groups": {}}, "learning_rate: must not be negative, got -1"),
        ({"optimizer_kwargs": {"betas": [2, 2]}, "lr_parameter_groups": {"x": {"prefix": "decoder"}}},
         "optimizer_kwargs: AdamW: Invalid beta parameter at index 0: 2"),
    ],
)  # fmt: skip
def test_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(AnnealError) as error:
        optimizer(Model(), **settings)
    assert str(error.value).startswith(message)


def test_nothing_that_is_recurrent() -> None:
    message = (
        "recurrent_learning_rate_multiplier: the module has no nn.RNN, nn.GRU, nn.LSTM or cell of one, and nothing"
    )
    with pytest.raises(AnnealError) as error:
        optimizer(nn.Linear(2, 1), recurrent_learning_rate_multiplier=0.1)
    assert str(error.value) == f"{message} called 'recurrent'"


@pytest.mark.parametrize("settings", [{}, {"no_decay": ["bias"]}])
def test_a_module_without_parameters(settings: dict[str, Any]) -> None:
    with pytest.raises(AnnealError) as error:
        optimizer(nn.Dropout(), **settings)
    assert str(error.value) == "optimizer: Dropout has no parameters to train"


def test_no_decay_of_nothing() -> None:
    with pytest.raises(AnnealError) as error:
        optimizer(nn.Linear(2, 1, bias=False), no_decay=["bias", "norm"])
    assert str(error.value) == "no_decay: matches no parameter; leave it out"
