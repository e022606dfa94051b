"""The config that a search begins with, and the plain ones of its runs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser
from omegaconf import OmegaConf

from lightning_anneal import AnnealError
from lightning_anneal.search.configs import (
    find_config,
    is_lightning_cli,
    plain_config,
    read_search_config,
    to_yaml,
    with_seed,
)
from lightning_anneal.search.hyper_param_search import HyperParamSearch
from lightning_anneal.search.plan import config_of
from lightning_anneal.search.settings import Settings
from lightning_anneal.search.space import find_space

RUN = Path("runs/run_1")


# Finding it.


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["configs/a.yaml"], "configs/a.yaml"),
        (["configs/a.yaml", "config/z.yaml"], "config/z.yaml"),
        (["config/b.yaml", "config/a.yml", "config/c.yaml"], "config/a.yml"),
        (["config/readme.txt", "config/a.json", "configs/b.yml"], "configs/b.yml"),
        (["config/a.yanml", "config/b.yaml.bak", "config/c.yaml"], "config/c.yaml"),
        (["config/deep/a.yaml", "config/b.yaml", "a.yaml"], "config/b.yaml"),
        (["config/._a.yaml", "config/a.yaml"], "config/a.yaml"),
    ],
)  # fmt: skip
def test_the_first_by_name_in_config_before_configs(tmp_path: Path, files: list[str], expected: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_config(tmp_path) == tmp_path / expected


@pytest.mark.parametrize("folders", [[], ["config"], ["config", "configs"], ["other"]])
def test_without_any_it_says_what_to_do(tmp_path: Path, folders: list[str]) -> None:
    for name in folders:
        (tmp_path / name).mkdir()
    (tmp_path / "a.yaml").touch()
    with pytest.raises(AnnealError) as error:
        find_config(tmp_path)
    assert str(error.value) == "--config: there is no YAML file in config/ or configs/ here; name a config"


# Reading it.

TEXT = "lr: [1e-7, 5e-7]\nbase: ${lr}\n10: {0: a}\nsearch:\n  workers: 2\n"
READ = ({"lr": [1e-7, 5e-7], "base": "${lr}", 10: {0: "a"}}, {"workers": 2})


def test_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("other: 1\n")
    (tmp_path / "a.yaml").write_text(TEXT)
    assert read_search_config(tmp_path / "a.yaml") == READ
    assert read_search_config(str(tmp_path / "a.yaml")) == READ
    assert read_search_config(tmp_path) == READ


def test_from_a_mapping_which_stays_as_it_is() -> None:
    given: dict[Any, Any] = {**READ[0], "search": READ[1]}
    before = deepcopy(given)
    config, section = read_search_config(given)
    config["lr"].append(1)
    section["workers"] = 3
    assert given == before
    assert read_search_config(given) == READ


def test_from_a_config_of_omegaconf() -> None:
    given: Any = OmegaConf.create("a: [1, 2]\nb: {c: 3}\nsearch: {workers: 2}")
    assert read_search_config(given) == ({"a": [1, 2], "b": {"c": 3}}, {"workers": 2})
    assert OmegaConf.to_container(given) == {"a": [1, 2], "b": {"c": 3}, "search": {"workers": 2}}


def test_a_config_of_omegaconf_keeps_its_interpolations() -> None:
    given: Any = OmegaConf.create({"lr": [0.1, 0.2], "again": "${lr}"})
    assert read_search_config(given) == ({"lr": [0.1, 0.2], "again": "${lr}"}, {})


@pytest.mark.parametrize("text", ["a: 1\n", "a: 1\nsearch:\n", "a: 1\nsearch: {}\n"])
def test_a_config_without_settings(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    assert read_search_config(path) == ({"a": 1}, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--config: a config is a mapping, got {}"),
        ("# nothing\n", "--config: a config is a mapping, got {}"),
        ("- 1\n- 2\n", "--config: a config is a mapping, got [1, 2]"),
        ("a: 1\nsearch: [1]\n", "search: must be a mapping of settings, got [1]"),
        ("a: 1\nsearch: grid\n", "search: must be a mapping of settings, got 'grid'"),
    ],
)
def test_refused_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(AnnealError) as error:
        read_search_config(path)
    assert str(error.value) == message


def test_files_that_are_not_there_or_no_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AnnealError) as error:
        read_search_config("nowhere.yaml")
    assert str(error.value) == "--config: no such file 'nowhere.yaml'"
    Path("empty").mkdir()
    with pytest.raises(AnnealError, match=r"^--config: there is no YAML file in 'empty'$"):
        read_search_config("empty")
    Path("bad.yaml").write_text("a: [1, 2\nb: 3\n")
    with pytest.raises(AnnealError, match=r"^--config: 'bad\.yaml' can't be read: "):
        read_search_config("bad.yaml")


def test_what_no_config_can_hold_is_refused() -> None:
    with pytest.raises(AnnealError, match=r"^config: can't stand in a config: <object object at"):
        read_search_config({"a": object()})


def test_what_has_yet_to_be_given_may_come_from_an_axis() -> None:
    config, _ = read_search_config(OmegaConf.create({"a": "???"}))
    with pytest.raises(AnnealError, match=r"^config: can't be resolved: Missing mandatory value: a"):
        plain_config(config, Path("run"))
    assert plain_config({**config, "a": 1}, Path("run")) == {"a": 1}


def test_the_settings_may_refer_to_the_config() -> None:
    config = {
        "name": "val_acc",
        "lr": [1, 2],
        "search": {"monitor": "${name}", "mode": "max", "command": "true {config}"},
    }
    assert HyperParamSearch(config, quiet=True)._settings.monitor == "val_acc"


# The plain config of a run.


def test_interpolations_see_the_values_of_the_run() -> None:
    config, _ = read_search_config(
        {
            "size": [8, 16],
            "encoder": {"width": "${size}", "name": "net_${size}"},
            "decoder": [{"width": "${encoder.width}"}],
        }
    )
    space = find_space(config)
    configs = [config_of(space, Settings(), point, RUN) for point in space.grid()]
    assert configs == [
        {"size": 8, "encoder": {"width": 8, "name": "net_8"}, "decoder": [{"width": 8}]},
        {"size": 16, "encoder": {"width": 16, "name": "net_16"}, "decoder": [{"width": 16}]},
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"a": "${b}"}, "config: can't be resolved: Interpolation key 'b' not found"),
        ({"a": "${a}"}, "config: can't be resolved: Recursive interpolation detected"),
        ({"a": "${nothing:3}"}, "config: can't be resolved: Unsupported interpolation type nothing"),
    ],
)
def test_interpolations_that_lead_nowhere(config: dict[str, Any], said: str) -> None:
    with pytest.raises(AnnealError) as error:
        plain_config(config, RUN)
    assert str(error.value).startswith(said)
    assert len(str(error.value)) <= 200


def as_lightning_cli(text: str) -> dict[str, Any]:
    """What an untyped argument of LightningCLI would be given, by its own reader of YAML."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--x", type=dict[Any, Any])
    return dict(parser.parse_string(f"x: {text}")["x"])


NUMBERS = [1e-7, 5e-7, 1e-5, 1e-3, 0.1, 1e22, 123456789.125, -2.5e-9]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_come_out_as_any_reader_takes_them(number: float) -> None:
    text = to_yaml({"lr": number})
    for read in (
        OmegaConf.to_container(OmegaConf.create(text)),
        yaml.safe_load(text),
        as_lightning_cli(f"{{{text.strip()}}}"),
    ):
        assert read == {"lr": number}
        assert type(dict(read)["lr"]) is float


@pytest.mark.parametrize(
    "value",
    ["1e-7", "on", "no", "null", "1_000", "12:30", "0x10", "é ß", "a: b", "- a", "", " a ", "#", "two\nlines", "🦊"],
)
def test_strings_stay_strings(value: str) -> None:
    text = to_yaml({"name": value})
    assert OmegaConf.to_container(OmegaConf.create(text)) == {"name": value}
    assert yaml.safe_load(text) == {"name": value}


@pytest.mark.parametrize("value", [{0: 1.0, 4: 0.5}, {10: {20: "a"}}, {True: 1}, {0.5: 1}])
def test_keys_that_are_no_strings_survive(value: dict[Any, Any]) -> None:
    config, _ = read_search_config({"schedule": value})
    text = to_yaml(plain_config(config, RUN))
    assert yaml.safe_load(text) == {"schedule": value}
    assert [type(key) for key in yaml.safe_load(text)["schedule"]] == [type(key) for key in value]


def test_paths_come_out_as_strings() -> None:
    config, _ = read_search_config({"folder": Path("data/digits")})
    assert yaml.safe_load(to_yaml(plain_config(config, RUN))) == {"folder": "data/digits"}


# What a run writes goes into its folder.

CSV = "lightning.pytorch.loggers.CSVLogger"
BOARD = "lightning.pytorch.loggers.TensorBoardLogger"
CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"


def trainer(**given: Any) -> dict[str, Any]:
    found: dict[str, Any] = plain_config({"trainer": given}, RUN)["trainer"]
    return found


@pytest.mark.parametrize("given", [{}, {"default_root_dir": "elsewhere"}, {"default_root_dir": None}])
def test_a_trainer_writes_into_the_folder(given: dict[str, Any]) -> None:
    assert trainer(**given) == {"default_root_dir": "runs/run_1"}


@pytest.mark.parametrize(
    ("logger", "expected"),
    [
        (True, True),
        (False, False),
        (None, None),
        ({"class_path": CSV}, {"class_path": CSV, "init_args": {"save_dir": "runs/run_1"}}),
        (
            {"class_path": CSV, "init_args": {"save_dir": "logs", "name": "x"}},
            {"class_path": CSV, "init_args": {"save_dir": "runs/run_1", "name": "x"}},
        ),
        (
            [{"class_path": CSV, "init_args": {"save_dir": "a"}}, {"class_path": BOARD}],
            [
                {"class_path": CSV, "init_args": {"save_dir": "runs/run_1"}},
                {"class_path": BOARD, "init_args": {"save_dir": "runs/run_1"}},
            ],
        ),
        # One that writes nowhere, or is not known.
        ({"class_path": "lightning.pytorch.loggers.Logger"}, {"class_path": "lightning.pytorch.loggers.Logger"}),
        ({"class_path": "no.Such"}, {"class_path": "no.Such"}),
        ({"class_path": CSV, "init_args": None}, {"class_path": CSV, "init_args": {"save_dir": "runs/run_1"}}),
        ({"class_path": "CSVLogger"}, {"class_path": "CSVLogger", "init_args": {"save_dir": "runs/run_1"}}),
        (CSV, {"class_path": CSV, "init_args": {"save_dir": "runs/run_1"}}),
    ],
)  # fmt: skip
def test_loggers_write_into_the_folder(logger: Any, expected: Any) -> None:
    assert trainer(logger=logger) == {"logger": expected, "default_root_dir": "runs/run_1"}


@pytest.mark.parametrize(
    ("dirpath", "expected"),
    [
        ("best", "runs/run_1/best"),
        ("checkpoints/best", "runs/run_1/checkpoints/best"),
        (".", "runs/run_1"),
        (None, None),
        ("..", "runs/run_1"),
        ("../best", "runs/run_1/best"),
    ],
)
def test_checkpoints_go_into_the_folder(dirpath: str | None, expected: str | None) -> None:
    callback = {"class_path": CHECKPOINT, "init_args": {"dirpath": dirpath, "save_top_k": 2}}
    kept = {"class_path": CHECKPOINT, "init_args": {"dirpath": expected, "save_top_k": 2}}
    assert trainer(callbacks=[callback])["callbacks"] == [kept]
    assert trainer(callbacks=callback)["callbacks"] == kept


def test_two_checkpoints_stay_apart() -> None:
    paths = [{"class_path": CHECKPOINT, "init_args": {"dirpath": path}} for path in ("loss/best", "acc/best")]
    first, second = (each["init_args"]["dirpath"] for each in trainer(callbacks=paths)["callbacks"])
    assert first != second


def test_callbacks_without_arguments_stay_as_they_are() -> None:
    callbacks = [
        {"class_path": CHECKPOINT},
        {"class_path": CHECKPOINT, "init_args": None},
        "lightning.pytorch.callbacks.Timer",
    ]
    assert trainer(callbacks=callbacks)["callbacks"] == callbacks


def test_a_config_that_is_not_lightnings_gets_nothing() -> None:
    for config in ({"lr": 0.1}, {"trainer": "mine", "logger": {"class_path": CSV}}, {"trainer": {"speed": 3}}):
        assert plain_config(config, RUN) == config


# Seeds.


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"trainer": {}}, {"seed_everything": 0, "trainer": {}}),
        ({"trainer": {}, "seed_everything": True}, {"seed_everything": 0, "trainer": {}}),
        ({"trainer": {}, "seed_everything": 1}, {"trainer": {}, "seed_everything": 1}),
        ({"trainer": {}, "seed_everything": 7}, {"trainer": {}, "seed_everything": 7}),
        ({"trainer": {}, "seed_everything": False}, {"trainer": {}, "seed_everything": False}),
        ({"trainer": {}, "seed_everything": [1, 2]}, {"trainer": {}, "seed_everything": [1, 2]}),
        ({"lr": 0.1}, {"lr": 0.1}),
    ],
)
def test_every_run_has_the_same_seed_unless_none_is_wanted(config: dict[str, Any], expected: dict[str, Any]) -> None:
    found = with_seed(config)
    assert found == expected
    assert list(found) == list(expected)
    # 0 is no False and 1 no True.
    assert type(found.get("seed_everything")) is type(expected.get("seed_everything"))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"trainer": {}}, True),
        ({"trainer": {"max_epochs": 3, "callbacks": None}}, True),
        ({"trainer": {"max_epochs": 3, "speed": 1}}, False),
        ({"trainer": None}, False),
        ({"trainer": [1]}, False),
    ],
)
def test_the_trainer_tells_what_kind_of_config_it_is(config: dict[str, Any], expected: bool) -> None:
    assert is_lightning_cli(config) is expected
