"""The suites that the documentation tells of: what each tries, and where it stands."""

from __future__ import annotations

from dataclasses import dataclass

FORMS = ("short", "long")
"""In ``make test``, and in ``make test-all``."""


@dataclass(frozen=True)
class Suite:
    """One row of the table.

    Args:
        name: What it is called.
        tries: What it tries, and what has to hold.
        paths: Its files.
        short: Its size in ``make test``.
        long: Its size in ``make test-all``; empty where that is the same.
        options: Further words for pytest, in the long form.
    """

    name: str
    tries: str
    paths: tuple[str, ...]
    short: str
    long: str = ""
    options: tuple[str, ...] = ("-m", "slow")


SUITES = (
    Suite(
        "Schedules",
        "within bounds, exact ends, one way within a stretch, pure in any order, parts join, a float for any number, "
        "and the same again by way of YAML: random schedules of each of 18 kinds",
        ("tests/schedules/test_properties.py",),
        "18 kinds x 7 properties x 200 examples",
        "5,000 examples each",
        ("--hypothesis-profile=long",),
    ),
    Suite(
        "Configs with a mistake",
        "every config and page of the project and one of each strategy, with a key dropped, misspelled or null, a wrong type, "
        "NaN, 1,000 levels, odd characters, a megabyte: one printable line of at most 200 characters that names the key, and "
        "the config as it was; the right suggestion for 95 % of what is misspelled",
        ("tests/hostile/test_mutated_configs.py",),
        "2,000 configs",
        "50,000",
    ),
    Suite(
        "Hostile paths",
        "dunders, code, `sys.modules`, classes, properties, odd indices, look-alikes, and random strings: nothing is "
        "written but numbers that the model itself holds; all modules and classes are as before",
        ("tests/hostile/test_paths.py",),
        "a list of 177 and 1,000 random ones",
        "10,000 random ones",
    ),
    Suite(
        "Bad YAML",
        "through the real command, in processes of their own: exit status 2, the mistake as the last line of stderr, no usage, "
        "no traceback; nothing that a config names is imported or called on account of this package's keys",
        ("tests/hostile/test_bad_yaml.py",),
        "131 configs and commands",
    ),
    Suite(
        "What a checkpoint holds",
        "every strategy, trigger and scheduler of beta, from dicts, DictConfigs and numpy's numbers: loads with "
        "`weights_only=True`, and holds plain types only",
        ("tests/hostile/test_states.py",),
        "45 kinds x 3",
    ),
    Suite(
        "Another config on resume",
        "rules added, removed, renamed, of another kind, states of other versions, damaged ones: one warning or one error",
        ("tests/hostile/test_changed_configs.py", "tests/hostile/test_damaged_controllers.py"),
        "79 changes",
    ),
    Suite(
        "SIGKILL, then resume",
        "every step of every attempt is equal by `==` to that of a run that was never stopped, weights and audit included",
        ("tests/kill/test_kill.py",),
        "7 kills at hooks of two kinds of runs",
        "100 kills, at any time",
    ),
    Suite(
        "Stages",
        "validate, test, predict, with and without a checkpoint, fit again, copies, tuners, averaging, `fast_dev_run`, "
        "`barebones`, exceptions and Ctrl-C in the midst of an epoch: the documented values",
        ("tests/hostile/test_stages.py",),
        "96 ways",
    ),
    Suite(
        "Optimizers",
        "SGD, Adam, AdamW, plain, foreach and fused, two optimizers, two groups, every LR scheduler that owns a key: the effect "
        "is measured on the weights",
        ("tests/hostile/test_optimizers.py",),
        "172 pairs of a key and an optimizer",
    ),
    Suite(
        "torch.compile",
        "50 steps that change a value of a compiled module or of a compiled optimizer step: with `as_tensor` nothing is "
        "compiled after the first one and every new value is seen; without, one warning where torch gives up",
        ("tests/compile/test_compile.py",),
        "8 kinds of values, as tensors and as numbers, counted at a backend that runs graphs as they are",
        "the same with inductor",
    ),
    Suite(
        "Long runs",
        "every schedule by step, compared with its formula in 50 digits; memory stays flat; 10,000 parameters are 100 times "
        "the work of 100",
        ("tests/hostile/test_long_runs.py",),
        "1,000,000 steps of the engine",
        "1,000,000 steps of a Trainer",
    ),
    Suite(
        "Broken machines",
        "a full disk, a folder that can't be written to: one warning, and training goes on; no network, nothing written "
        "elsewhere, no value of an environment variable in a log",
        ("tests/hostile/test_broken_machines.py",),
        "18 machines",
    ),
)
