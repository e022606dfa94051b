"""Bad YAML through the real command: one line on stderr, and nothing in a config's data is imported or called."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.version import Version

from tests.hostile.forked import Ended, Server

SECRET = "hunter2"
CANARY = "from pathlib import Path\n\nPath('canary_was_imported').touch()\n\n\ndef Canary(**_):\n    Path('canary_was_called').touch()\n"

ATTACKS = {
    "os.system": "{class_path: os.system, init_args: {command: touch canary_was_called}, dict_kwargs: {command: touch canary_was_called}}",
    "canary": "{class_path: canary.Canary, init_args: {command: x}, dict_kwargs: {command: x}}",
}


def config(callbacks: str = "[]", model: str = "{class_path: tests.tiny.Tiny}", more: str = "") -> str:
    return f"""seed_everything: 1
model: {model}
data: {{class_path: tests.tiny.Data}}
trainer:
  max_epochs: 1
  accelerator: cpu
  logger: false
  enable_checkpointing: false
  enable_progress_bar: false
  enable_model_summary: false
  callbacks:
    {callbacks}
{more}"""


def annealing(params: str) -> str:
    return config(
        f"[{{class_path: lightning_anneal.HyperparamAnnealingCallback, init_args: {{annealing_params: {params}}}}}]"
    )


def setting(key: str, value: str) -> str:
    return annealing(f"{{beta: {{strategy: linear, {key}: {value}}}}}")


def beta(kind: str, params: str, more: str = "") -> str:
    return config(
        f"[{{class_path: lightning_anneal.BetaScheduleCallback, init_args: {{beta_scheduler_type: {kind}, "
        f"beta_scheduler_params: {params}{more}}}}}]"
    )


def optim(settings: str) -> str:
    return config(
        model=f"{{class_path: examples.digits_classifier.DigitsClassifier, init_args: {{optim: {settings}}}}}"
    )


def run(server: Server, folder: Path, content: str | bytes, *words: str) -> Ended:
    """Run the command on a config, and look at all that must hold whatever it says."""
    (folder / "canary.py").write_text(CANARY)
    (folder / "a.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
    # Where a project's own modules lie, the command imports from.
    ended = server.run(*words, cwd=folder, env={"SECRET_TOKEN": SECRET, "PYTHONDONTWRITEBYTECODE": "1"})
    assert sorted(path.name for path in folder.iterdir()) == ["a.yaml", "canary.py"]
    assert [name for name in ended.args_of("import") if name.partition(".")[0] == "canary"] == []
    written = [path for path in ended.args_of("open", "os.mkdir", "os.rename", "os.remove") if path != "/dev/null"]
    assert written == []
    assert [event for event in ended.events if event[0] not in ("import", "open")] == []
    assert "Traceback" not in ended.err
    assert "usage" not in ended.err
    assert SECRET not in ended.out + ended.err
    return ended


# The words of these lines are those of the parser that LightningCLI has, and of YAML's.
PARSERS_OWN = {
    *("an anchor that is there twice", "an alias of nothing", "an unknown key of the trainer", "an unknown key"),
    *("a number as a key", "an unknown callback", "an unknown model"),
    *("one of nothing in the trainer", "one of the environment in the trainer"),
}
OLDER_PARSER = Version(version("jsonargparse")) < Version("4.50")


def compare(ended: Ended, name: str, message: str) -> None:
    """Hold an error against the line that it is to be; an older parser's has other words."""
    line = told(ended)
    assert line == message or (OLDER_PARSER and name in PARSERS_OWN)


def told(ended: Ended) -> str:
    """The error: the last line of stderr."""
    assert ended.code == 2, ended.err
    assert ended.err.endswith("\n")
    assert ended.last.startswith("error: ")
    line = ended.last.removeprefix("error: ")
    assert len(line) <= 200
    assert line.isprintable()
    return line


WAYS = {
    "fit": ("fit", "--config", "a.yaml"),
    "fit --set": ("fit", "--config=a.yaml", "--set=trainer.max_epochs=2"),
    "check": ("check", "a.yaml"),
    "preview": ("preview", "a.yaml"),
    "search": ("search", "--dry-run", "--config", "a.yaml"),
}

# By the name of the place that the error has: the config with ATTACK in that place.
CONSTANT = "{max_beta: 1.0}"
PLACES = {
    "annealing_params": annealing("ATTACK"),
    "annealing_params.beta": annealing("{beta: ATTACK}"),
    "annealing_params.beta.strategy": annealing("{beta: {strategy: ATTACK, end_value: 1}}"),
    "annealing_params.beta.start_value": setting("end_value: 1, start_value", "ATTACK"),
    "annealing_params.beta.schedule.2": annealing("{beta: {strategy: scheduled, schedule: {0: 1, 2: ATTACK}}}"),
    "annealing_params.beta.base": annealing("{beta: {strategy: warm_restart, restart_interval: 2, base: ATTACK}}"),
    "annealing_params.beta.parts.0": annealing("{beta: {strategy: sequence, parts: [ATTACK]}}"),
    "annealing_params.beta.values.1": annealing("{beta: {strategy: TRIGGER_BASED, trigger_source: early_stopper_counter, values: [1, ATTACK]}}"),
    "annealing_params.beta.scheduler_configs": setting("end_value: 1, scheduler_configs", "ATTACK"),
    "annealing_params.beta.object": setting("end_value: 1, object", "ATTACK"),
    "annealing_params.beta.attr_name": setting("end_value: 1, attr_name", "ATTACK"),
    "beta_scheduler_type": beta("ATTACK", "{}"),
    "beta_scheduler_params": beta("linear", "ATTACK"),
    "beta_scheduler_params.max_beta": beta("linear", "{max_beta: ATTACK, warmup_epochs: 1}"),
    "beta_scheduler_params.base_scheduler_kwargs": beta("warm_restart", "{base_scheduler_type: linear, base_scheduler_kwargs: ATTACK, restart_interval: 2}"),
    "beta_scheduler_params.global_scheduler": beta("hierarchical", "{global_scheduler: ATTACK, local_scheduler: {type: constant, max_beta: 1}}"),
    "scheduler_configs": beta("constant", CONSTANT, ", scheduler_configs: ATTACK"),
    "prog_bar.0": beta("constant", CONSTANT, ", prog_bar: [ATTACK]"),
    "eval_beta": beta("constant", CONSTANT, ", eval_beta: ATTACK"),
    "name": beta("constant", CONSTANT, ", name: ATTACK"),
    "optim": optim("ATTACK"),
    "optim.optimizer": optim("{optimizer: ATTACK}"),
    "optim.optimizer_kwargs": optim("{optimizer: SGD, optimizer_kwargs: ATTACK}"),
    "optim.scheduler_kwargs": optim("{scheduler: StepLR, scheduler_kwargs: ATTACK}"),
    "optim.scheduler_kwargs.schedulers.0": optim("{scheduler: SequentialLR, scheduler_kwargs: {schedulers: [ATTACK], milestones: [1]}}"),
    "optim.scheduler_configs": optim("{scheduler: StepLR, scheduler_configs: ATTACK}"),
    "optim.lr_parameter_groups": optim("{lr_parameter_groups: ATTACK}"),
    "optim.lr_parameter_groups.head": optim("{lr_parameter_groups: {head: ATTACK}}"),
    "optim.lr_parameter_groups.head.lr": optim("{lr_parameter_groups: {head: {prefix: net.2, lr: ATTACK}}}"),
    "optim.no_decay.0": optim("{no_decay: [ATTACK]}"),
}  # fmt: skip


def test_a_class_that_is_meant_is_noted(server: Server, tmp_path: Path) -> None:
    """What the tests below say never happens would be seen."""
    (tmp_path / "canary.py").write_text(CANARY)
    (tmp_path / "a.yaml").write_text(config(f"[{ATTACKS['canary']}]"))
    ended = server.run(*WAYS["fit"], cwd=tmp_path)
    assert ended.args_of("import").count("canary") == 1
    assert "canary_was_imported" in ended.args_of("open")
    assert (tmp_path / "canary_was_imported").exists()


SOME = [
    *("annealing_params", "annealing_params.beta.base", "annealing_params.beta.object", "beta_scheduler_params"),
    *("scheduler_configs", "optim", "optim.optimizer_kwargs", "optim.scheduler_kwargs.schedulers.0"),
]
"""Those that go through every command: some on each way that a parser would take to them."""


@pytest.mark.parametrize(
    ("place", "attack", "way"),
    [
        *((place, "canary", "fit") for place in PLACES),
        *((place, "os.system", "fit") for place in SOME),
        *((place, "canary", "search") for place in SOME),
    ],
)
def test_a_class_in_the_settings_is_refused(server: Server, tmp_path: Path, place: str, attack: str, way: str) -> None:
    ended = run(server, tmp_path, PLACES[place].replace("ATTACK", ATTACKS[attack]), *WAYS[way])
    assert told(ended) == f"{place}: 'class_path' is none of its keys; settings are data, and nothing is made of them"
    assert len(ended.err.splitlines()) == 1


# Both read each setting as what it is; `preview` only what it draws.
@pytest.mark.parametrize(
    ("place", "way", "message"),
    [
        ("annealing_params", "check", "dict_kwargs.strategy: missing; known: competence, constant, constant_pace, constraint, cosine, cyclical, exponential, follow, gated, linear, milestones, ..."),
        ("annealing_params.beta.object", "check", "beta.object: unknown object {'class_path': 'canary.Canary', 'init_args': {'command': ...; known: datamodule, model, optimizer, trainer"),
        ("annealing_params.beta.object", "preview", "beta.object: unknown object {'class_path': 'canary.Canary', 'init_args': {'command': ...; known: datamodule, model, optimizer, trainer"),
        ("beta_scheduler_params", "check", "beta: unknown parameter 'class_path'; known: max_beta, min_beta, warmup_epochs"),
        ("beta_scheduler_params", "preview", "beta: unknown parameter 'class_path'; known: max_beta, min_beta, warmup_epochs"),
        ("name", "check", "BetaScheduleCallback.name: must be a string, got {'class_path': 'canary.Canary', 'init_args': {'command': ..."),
        ("optim", "check", "optim: unknown key 'dict_kwargs'; known: learning_rate, lr_parameter_groups, no_decay, optimizer, optimizer_kwargs, part, recurrent_learning_rate_multiplier, ..."),
        ("optim.optimizer_kwargs", "check", "optimizer_kwargs: SGD takes no 'class_path'; known: dampening, differentiable, foreach, fused, lr, maximize, momentum, nesterov, weight_decay"),
        ("optim.scheduler_kwargs", "preview", "scheduler_kwargs: StepLR takes no 'class_path'; known: gamma, step_size"),
        ("optim.lr_parameter_groups.head", "check", "lr_parameter_groups.head: unknown key 'class_path'; known: amsgrad, betas, capturable, decoupled_weight_decay, differentiable, eps, foreach, fused, lr, lr_factor, maximize, ..."),
    ],
)  # fmt: skip
def test_check_and_preview_make_no_class_of_settings(
    server: Server, tmp_path: Path, place: str, way: str, message: str
) -> None:
    ended = run(server, tmp_path, PLACES[place].replace("ATTACK", ATTACKS["canary"]), *WAYS[way])
    assert told(ended) == message


END = "{beta: {strategy: linear, end_value: %s}}"
TENS = ",".join(["*a{0}"] * 10)
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{TENS.format(i)}]\n" for i in range(9)
)
MERGES = "a0: &a0 {x: 1, y: 2}\n" + "".join(f"a{i + 1}: &a{i + 1} {{<<: [{TENS.format(i)}]}}\n" for i in range(9))
UNREADABLE = "WHERE: 'a.yaml' can't be read: "
TOO_MANY = UNREADABLE + "more than 10,000 keys and values, each alias counted as what it stands for"
TOO_DEEP = UNREADABLE + "nested more than 50 deep"

FILES: dict[str, tuple[str | bytes, str]] = {
    "a tag that calls": (annealing(END % '!!python/object/apply:os.system ["touch x"]'), UNREADABLE + "line 12, column 132: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/apply:os.system'"),
    "a tag that makes": (annealing(END % "!!python/object/new:canary.Canary []"), UNREADABLE + "line 12, column 132: could not determine a constructor for the tag 'tag:yaml.org,2002:python/object/new:canary.Canary'"),
    "a tag that names": (annealing(END % '!!python/name:canary.Canary ""'), UNREADABLE + "line 12, column 132: could not determine a constructor for the tag 'tag:yaml.org,2002:python/name:canary.Canary'"),
    "a tag that imports": (annealing(END % '!!python/module:canary ""'), UNREADABLE + "line 12, column 132: could not determine a constructor for the tag 'tag:yaml.org,2002:python/module:canary'"),
    "a tag of one's own": (annealing(END % "!canary 1"), UNREADABLE + "line 12, column 132: could not determine a constructor for the tag '!canary'"),
    "a set": (annealing(END % "!!set {a, b}"), UNREADABLE + "Value 'set' is not a supported primitive type"),
    "an open bracket": (annealing("{beta: {strategy: linear, end_value: [1"), UNREADABLE + "line 12, column 134: did not find expected ',' or ']'"),
    "a tab": ("trainer:\n\tmax_epochs: 1\n", UNREADABLE + "line 2, column 1: found character that cannot start any token"),
    "a key that is there twice": (config() + "seed_everything: 2\n", UNREADABLE + "line 13, column 1: found duplicate key seed_everything"),
    "a setting that is there twice": (annealing("{beta: {strategy: linear, end_value: 1, end_value: 2}}"), UNREADABLE + "line 12, column 135: found duplicate key end_value"),
    "a mapping as a key": (config(more="? {a: 1}\n: 1\n"), UNREADABLE + "line 13, column 3: found unhashable key"),
    "null as a key": (config(more="null: 1\n"), UNREADABLE + "Incompatible key type 'NoneType'"),
    "two documents": (config() + "---\n" + config(), UNREADABLE + "line 13, column 1: expected a single document in the stream but found another document"),
    "a word": ("trainer\n", UNREADABLE + "it holds no mapping"),
    "null": ("null\n", UNREADABLE + "it holds no mapping"),
    "Latin-1": (config().encode() + "# caf\xe9\n".encode("latin-1"), UNREADABLE + "no UTF-8 at byte 266"),
    "UTF-16": (config().encode("utf-16"), UNREADABLE + "no UTF-8 at byte 0"),
    "binary": (bytes(range(256)) * 16, UNREADABLE + "no UTF-8 at byte 128"),
    "a zero": (config(more="x: \0\n"), UNREADABLE + "a control character, 0x00, at character 264"),
    "an escape": (config(more="\x1b[31mred: 1\n"), UNREADABLE + "a control character, 0x1b, at character 261"),
    "brackets 1,000 deep": ("a: " + "[" * 1000 + "]" * 1000, TOO_DEEP),
    "brackets without an end": ("a: " + "[" * 100_000, TOO_DEEP),
    "mappings 1,000 deep": ("".join(" " * i + "a:\n" for i in range(1000)), TOO_DEEP),
    "settings 1,000 deep": (annealing("{beta: " + "{a: " * 1000 + "1" + "}" * 1000 + "}"), TOO_DEEP),
    "a billion laughs": (BOMB, TOO_MANY),
    "a billion laughs as milestones": (BOMB + annealing("{beta: {strategy: scheduled, schedule: *a9}}"), TOO_MANY),
    "a billion merged keys": (MERGES, TOO_MANY),
    "10,001 values": ("a: [" + "1, " * 9_998 + "1]", TOO_MANY),
    "an alias of what it is in": ("a: &a [*a]\n", UNREADABLE + "'*a' stands for what it is in"),
    "an anchor that is there twice": ("a: &b [1]\nc: &b 1\n", UNREADABLE + "line 2, column 4: found duplicate anchor"),
    "9,999 aliases of a value": ("a: &b 1\nc: [" + "*b, " * 9_998 + "*b]", TOO_MANY),
    "an alias of nothing": ("a: *b\n", UNREADABLE + "line 1, column 4: found undefined alias"),
    "an interpolation without an end": (annealing(END % "'${oc.env:'"), UNREADABLE + "mismatched input '<EOF>' expecting {INTER_OPEN, BRACE_OPEN, BRACE_CLOSE, QUOTE_OPEN_SINGLE, QUOTE_OPEN_DOUBLE, COMMA, BR"),
}  # fmt: skip
IN_EVERY_WAY = ("a tag that calls", "a tab", "binary", "settings 1,000 deep", "a billion laughs as milestones")


@pytest.mark.parametrize(
    ("name", "way"), [(name, way) for name in FILES for way in (WAYS if name in IN_EVERY_WAY else ["fit"])]
)
def test_a_file_that_no_command_reads(server: Server, tmp_path: Path, name: str, way: str) -> None:
    content, message = FILES[name]
    ended = run(server, tmp_path, content, *WAYS[way])
    compare(ended, name, message.replace("WHERE", "CONFIG" if way in ("check", "preview") else "--config"))
    assert len(ended.err.splitlines()) == 1


NUMBER = "beta.end_value: must be a number, got "
NO_MAPPING = "--config: a config is a mapping, got "
NOT_INT = "Parser key \"trainer.max_epochs\": Does not validate against any  ... ion subtypes Subtypes: [<class 'int'>, <class 'NoneType'>] Errors: - Expected a <class 'int'> - Expected a <class 'NoneType'>"

FITS: dict[str, tuple[str, str]] = {
    "an empty file": ("", NO_MAPPING + "{}"),
    "comments": ("# nothing\n", NO_MAPPING + "{}"),
    "a list": ("- a\n- b\n", NO_MAPPING + "['a', 'b']"),
    "nan": (annealing(END % ".nan"), "beta.end_value: must be a finite number, got nan"),
    "infinity": (annealing(END % "-.inf"), "beta.end_value: must be a finite number, got -inf"),
    "a date": (annealing(END % "2001-01-01"), NUMBER + "'2001-01-01'"),
    "bytes": (annealing(END % "!!binary aGVsbG8="), NUMBER + "b'hello'"),
    "a text of 100,000 letters": (annealing(END % ("x" * 100_000)), NUMBER + "'" + "x" * 56 + "..."),
    "an object that is a mapping": (setting("end_value: 1, object", "{beta: 1.0}"), "beta.object: unknown object {'beta': 1.0}; known: datamodule, model, optimizer, trainer"),
    "an unknown key of the trainer": (config().replace("max_epochs", "max_epoch"), "Subcommand 'fit' does not accept option 'trainer.max_epoch'"),
    "an unknown key": (config(more="modle: 1\n"), "Subcommand 'fit' does not accept option 'modle'"),
    "a number as a key": (config(more="1: 1\n"), "Key must be a string, got: 1."),
    "an unknown callback of this package": (config("[{class_path: lightning_anneal.NoCallback}]"), "class_path: lightning_anneal has no callback 'NoCallback'; known: BetaScheduleCallback, HyperparamAnnealingCallback, LossBalancingCallback, OptimizerWatchCallback"),
    "an unknown callback": (config("[{class_path: nowhere.NoCallback}]"), "Parser key \"trainer.callbacks\": Does not validate against any o ... h given previously) - a dict with parameters accepted by the base class (implicit class_path) - Expected a <class 'NoneType'>"),
    "an unknown model": (config(model="{class_path: nowhere.Model}"), "Parser key \"model\": Does not validate against any of the Union  ... oneType'>] Errors: - Problem with given class_path 'nowhere.Model': No module named 'nowhere' - Expected a <class 'NoneType'>"),
    "an interpolation of nothing": (annealing(END % "'${nowhere.at.all}'"), NUMBER + "'${nowhere.at.all}'"),
    "an interpolation of the environment": (annealing(END % "'${oc.env:SECRET_TOKEN}'"), NUMBER + "'${oc.env:SECRET_TOKEN}'"),
    "a decoded one": (annealing(END % "'${oc.decode:${oc.env:SECRET_TOKEN}}'"), NUMBER + "'${oc.decode:${oc.env:SECRET_TOKEN}}'"),
    "one of the environment as a path": (setting("end_value: 1, attr_name", "'${oc.env:SECRET_TOKEN}'"), "beta: '${oc' is no name and no index; write names and indices joined by dots"),
    "an unknown resolver": (annealing(END % "'${canary:1}'"), NUMBER + "'${canary:1}'"),
    "one of nothing in the trainer": (config().replace("max_epochs: 1", "max_epochs: ${nowhere}"), NOT_INT),
    "one of the environment in the trainer": (config().replace("max_epochs: 1", "max_epochs: ${oc.env:SECRET_TOKEN}"), NOT_INT),
    "a section of a search": (config(more="search: {monitor: val_loss}\n"), "search: is a section for `lightning-anneal search`; run that, or leave it out"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FITS))
def test_a_config_that_fit_refuses(server: Server, tmp_path: Path, name: str) -> None:
    content, message = FITS[name]
    ended = run(server, tmp_path, content, *WAYS["fit"])
    compare(ended, name, message)
    assert len(ended.err.splitlines()) == 1
