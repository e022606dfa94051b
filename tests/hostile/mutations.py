"""Turns a valid config into one with a single mistake, and knows what has to be said about it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Settings = dict[str, Any]
Place = tuple[Any, ...]
"""Keys and indices, from the outside in."""

_NUMBERS = {
    *("start_value", "end_value", "value", "power", "steepness", "rate", "min_value", "max_value", "multiply"),
    *("restart_multiplier", "threshold", "min_delta", "eval_value", "eval_beta", "max_beta", "min_beta"),
}
_LENGTHS = {"total_steps", "cycle_length", "restart_interval", "duration", "warmup_epochs"}
_COUNTS = {"frequency", "cooldown", "patience", "current_index"}
_FLAGS = {"round", "as_tensor", "extend_training", "use_hierarchical_model"}
_WORDS: dict[str, tuple[str, ...]] = {
    "strategy": (
        *("constant_pace", "linear", "cosine", "exponential", "saturating", "polynomial", "sigmoid", "constant"),
        *("competence", "scheduled", "milestones", "cyclical", "warm_restart", "sequence", "trigger_based"),
    ),
    "trigger_source": (
        *("early_stopper_counter", "early_stopper_half_patience", "early_stopper_third_patience"),
        *("early_stopper_triggered", "lr_scheduler_triggered", "metric_below", "metric_above", "metric_plateau"),
    ),
    "interval": ("epoch", "step"),
    "object": ("model", "optimizer", "datamodule", "trainer"),
    "wave_type": ("cosine", "triangle"),
    "at_end": ("hold", "cycle"),
    "mode": ("min", "max"),
    "scale_lr": ("linear", "sqrt"),
    "beta_scheduler_type": ("constant", "linear", "cosine", "exponential", "cyclical", "warm_restart", "hierarchical"),
    "base_scheduler_type": ("constant", "linear", "cosine", "exponential", "cyclical", "warm_restart"),
    "type": ("constant", "linear", "cosine", "exponential", "cyclical", "warm_restart"),
}
_TEXTS = {"attr_name", "monitor"}
_MAPPINGS = {"schedule", "base", "scheduler_configs", "beta_scheduler_params", "base_scheduler_kwargs"}
_MAPPINGS |= {"global_scheduler", "local_scheduler"}
_LISTS = {"parts", "values"}

# What can't be left out, by strategy, by source and by type of beta.
_NEEDED: dict[str, set[str]] = {
    **{name: {"end_value"} for name in ("constant_pace", "linear", "cosine", "exponential", "saturating", "sigmoid")},
    "polynomial": {"end_value", "power"},
    "constant": {"value"},
    "scheduled": {"schedule"},
    "milestones": {"schedule"},
    "cyclical": {"cycle_length", "min_value", "max_value"},
    "warm_restart": {"base", "restart_interval"},
    "sequence": {"parts"},
    "trigger_based": {"trigger_source", "values", "multiply", "threshold", "patience", "monitor"},
}
_NEEDED_OF_BETA: dict[str, set[str]] = {
    "constant": {"max_beta"},
    **{name: {"max_beta", "warmup_epochs"} for name in ("linear", "cosine", "exponential")},
    "cyclical": {"cycle_length"},
    "warm_restart": {"base_scheduler_type", "base_scheduler_kwargs", "restart_interval"},
    "hierarchical": {"global_scheduler", "local_scheduler"},
}

_NO_NUMBERS: list[Any] = [
    *("", "one", "1,5", "0x10", "nan", "-inf", "1e999", "None", "${x}", b"1", [], {}, [1], {"a": 1}, True, (), 1j),
    *(float("nan"), float("inf"), float("-inf"), 10**400, -(10**400)),
]
_NO_LENGTHS: list[Any] = [
    *_NO_NUMBERS,
    0,
    -1,
    "0",
    "-5%",
    "10 epochs",
    "ep",
    "%",
    "10ep5",
    "1e999ep",
    "10%%",
    "\uff11\uff10x",
]
_NO_WORDS: list[Any] = ["", " ", 3, 1.5, True, [], {}, ["linear"], {"linear": 1}, "\n", "linear\x00"]

LOOK_ALIKES = {"a": "а", "c": "с", "e": "е", "i": "і", "o": "о", "p": "р", "s": "ѕ", "x": "х", "y": "у", "t": "τ", "r": "г", "n": "ո", "l": "ⅼ", "u": "υ", "d": "ԁ", "m": "ｍ", "b": "Ь", "g": "ɡ", "h": "һ", "k": "κ", "v": "ν", "w": "ѡ", "q": "ԛ", "f": "ｆ", "j": "ј", "z": "ᴢ"}  # fmt: skip  # noqa: RUF001
_ODD = [
    "\u200b",
    "\u202e",
    "\u0301",
    "\x00",
    "\n",
    "\r",
    "\t",
    "\u2028",
    "\x1b[31m",
    "\ud800",
    "😀",
    "\ufeff",
    "\x7f",
    "\x85",
    "ß",
    "İ",
]


@dataclass(frozen=True)
class Mutant:
    """A config with one mistake.

    Args:
        kind: Which mutation made it.
        config: The config.
        named: One of these has to stand in the error.
        meant: What was misspelled, which the error should suggest.
    """

    kind: str
    config: Settings
    named: tuple[str, ...]
    meant: str | None = None


def places(node: Any, here: Place = ()) -> list[Place]:
    """Every place in a config, but for the root."""
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [found for key, value in inner for found in [(*here, key), *places(value, (*here, key))]]


def at(config: Settings, place: Place) -> Any:
    node: Any = config
    for key in place:
        node = node[key]
    return node


def changed(config: Settings, place: Place, value: Any) -> Settings:
    """A copy with another value in one place."""
    config = copy.deepcopy(config)
    at(config, place[:-1])[place[-1]] = value
    return config


def renamed(config: Settings, place: Place, key: Any) -> Settings:
    """A copy with another key in one place, in the same order."""
    config = copy.deepcopy(config)
    node = at(config, place[:-1])
    items = [(key if k == place[-1] else k, v) for k, v in node.items()]
    node.clear()
    node.update(items)
    return config


def misspelled(word: str, distance: int, chance: random.Random) -> str:
    """A word with as many letters dropped, put in, changed or swapped."""
    letters = list(word)
    for _ in range(distance):
        i = chance.randrange(len(letters))
        how = chance.randrange(4)
        if how == 0 and len(letters) > 2:
            del letters[i]
        elif how == 1:
            letters.insert(i, chance.choice("abcdefghijklmnopqrstuvwxyz_"))
        elif how == 2 and i + 1 < len(letters):
            letters[i], letters[i + 1] = letters[i + 1], letters[i]
        else:
            letters[i] = chance.choice("abcdefghijklmnopqrstuvwxyz_")
    return "".join(letters)


def deep(levels: int, mapping: bool) -> Any:
    """Mappings or lists in one another."""
    node: Any = 1.0
    for _ in range(levels):
        node = {"a": node} if mapping else [node]
    return node


class Mutations:
    """Makes mutants of one example after the other, the same ones for the same seed.

    Args:
        examples: Valid configs.
        known: Every key that is known somewhere; a misspelling is none of them.
        seed: For the choice of everything.
    """

    def __init__(self, examples: list[Settings], seed: int) -> None:
        self.examples = examples
        self.chance = random.Random(seed)
        self.known = {p[-1] for e in examples for p in places(e)} | {w for words in _WORDS.values() for w in words}
        self.kinds: list[Callable[[Settings], Mutant | None]] = [
            *(self.key_dropped, self.key_misspelled, self.key_misspelled, self.word_misspelled, self.wrong_type),
            *(self.wrong_type, self.null, self.nested, self.odd_key, self.look_alike, self.odd_word, self.huge_text),
            self.long_name,
        ]

    def make(self, n: int) -> list[Mutant]:
        found: list[Mutant] = []
        while len(found) < n:
            mutant = self.chance.choice(self.kinds)(self.chance.choice(self.examples))
            if mutant is not None:
                found.append(mutant)
        return found

    def _keys(self, config: Settings, of: set[str] | None = None) -> list[Place]:
        """Places whose key is one of the package's, not the name of a parameter or a time."""
        known = _NUMBERS | _LENGTHS | _COUNTS | _FLAGS | set(_WORDS) | _TEXTS | _MAPPINGS | _LISTS
        return [p for p in places(config) if p[-1] in (known if of is None else of)]

    def _needed(self, config: Settings) -> list[Place]:
        found = []
        for place in self._keys(config):
            around = at(config, place[:-1])
            kind = str(around.get("strategy", "")).lower()
            needed = _NEEDED.get(kind, set()) | ({"strategy"} if "strategy" in around else set())
            if not str(around.get("trigger_source")).lower().startswith("metric_"):
                needed = needed - {"monitor"}  # which only picks one of several stoppers
            if "duration" in around and place[:-2]:
                siblings = at(config, place[:-2])
                needed = needed | ({"duration"} if place[-2] < len(siblings) - 1 else set())
            beta = config.get("beta_scheduler_type") if place[:-1] == ("beta_scheduler_params",) else around.get("type")
            beta = at(config, place[:-2])["base_scheduler_type"] if place[-2:-1] == ("base_scheduler_kwargs",) else beta
            needed = needed | _NEEDED_OF_BETA.get(str(beta).lower(), set())
            if place[-1] in needed:
                found.append(place)
        return found

    def key_dropped(self, config: Settings) -> Mutant | None:
        if not (needed := self._needed(config)):
            return None
        place = self.chance.choice(needed)
        broken = copy.deepcopy(config)
        del at(broken, place[:-1])[place[-1]]
        return Mutant("key dropped", broken, (place[-1],))

    def null(self, config: Settings) -> Mutant | None:
        if not (needed := self._needed(config)):
            return None
        place = self.chance.choice(needed)
        return Mutant("null", changed(config, place, None), (place[-1],))

    def key_misspelled(self, config: Settings) -> Mutant | None:
        places = [p for p in self._keys(config) if len(p) > 1]
        place = self.chance.choice(places)
        word = misspelled(place[-1], self.chance.choice([1, 1, 2]), self.chance)
        if word.lower() in self.known:
            return None
        return Mutant("key misspelled", renamed(config, place, word), (repr(word),), place[-1])

    def word_misspelled(self, config: Settings) -> Mutant | None:
        places = [p for p in self._keys(config, set(_WORDS)) if isinstance(at(config, p), str)]
        if not places:
            return None
        place = self.chance.choice(places)
        meant = at(config, place).lower()
        word = misspelled(meant, self.chance.choice([1, 1, 2]), self.chance)
        if word in self.known:
            return None
        return Mutant("word misspelled", changed(config, place, word), (repr(word),), meant)

    def wrong_type(self, config: Settings) -> Mutant | None:
        place = self.chance.choice(self._keys(config))
        key = place[-1]
        if key in _NUMBERS:
            bad = self.chance.choice(_NO_NUMBERS)
        elif key in _LENGTHS:
            bad = self.chance.choice(_NO_LENGTHS)
        elif key in _COUNTS:
            bad = self.chance.choice([*_NO_NUMBERS, -1, 1.5, "2.5"])
        elif key in _FLAGS:
            bad = self.chance.choice(["no", "true", 0, 1, 2, [], {}, [True]])
        elif key in _WORDS:
            bad = self.chance.choice(_NO_WORDS if key != "object" else _NO_WORDS[:5])
        elif key in _TEXTS:
            bad = self.chance.choice(["", 3, 1.5, True, [], {}, ["a"]])
        elif key in _LISTS:
            bad = self.chance.choice(["abc", 3, True, {}, [], [[]], {"a": 1}, [None]])
        else:
            bad = self.chance.choice(["abc", 3, True, [1], [], [[1, 2]], {"no_such_key": 1}])
            if key in ("beta_scheduler_params", "scheduler_configs") and not bad:
                return None  # nothing in it is as good as leaving it out
        return Mutant("wrong type", changed(config, place, bad), (str(key), "no_such_key"))

    def nested(self, config: Settings) -> Mutant | None:
        # Any object of one's own may hold the parameter, a deep mapping too.
        place = self.chance.choice([p for p in self._keys(config) if p[-1] != "object"])
        return Mutant(
            "nested", changed(config, place, deep(1000, self.chance.random() < 0.5)), (str(place[0]), place[-1])
        )

    def odd_key(self, config: Settings) -> Mutant | None:
        place = self.chance.choice([p for p in self._keys(config) if len(p) > 1])
        i, odd = self.chance.randrange(len(place[-1])), self.chance.choice(_ODD)
        word = place[-1][:i] + odd + place[-1][i:]
        return Mutant("odd key", renamed(config, place, word), (place[-1],), place[-1])

    def look_alike(self, config: Settings) -> Mutant | None:
        place = self.chance.choice([p for p in self._keys(config) if len(p) > 1])
        i = self.chance.choice([i for i, letter in enumerate(place[-1]) if letter in LOOK_ALIKES])
        word = place[-1][:i] + LOOK_ALIKES[place[-1][i]] + place[-1][i + 1 :]
        return Mutant("look-alike", renamed(config, place, word), (word,), place[-1])

    def odd_word(self, config: Settings) -> Mutant | None:
        places = [p for p in self._keys(config, set(_WORDS)) if isinstance(at(config, p), str)]
        if not places:
            return None
        place = self.chance.choice(places)
        meant = at(config, place).lower()
        i = self.chance.randrange(len(meant))
        return Mutant(
            "odd word", changed(config, place, meant[:i] + self.chance.choice(_ODD) + meant[i:]), (meant,), meant
        )

    def long_name(self, config: Settings) -> Mutant | None:
        """A mistake in a parameter whose own name is long, odd, or both."""
        mutant = self.key_misspelled(config)
        if mutant is None or "beta_scheduler_type" in config:
            return None
        name = self.chance.choice(
            ["encoder.layers.0." * 20 + "p", "п" * 10_000, "a" * 1_000_000, "a\n" * 100, "\x1b[2J", "\ud800"]
        )
        return Mutant("long name", {name: next(iter(mutant.config.values()))}, mutant.named, mutant.meant)

    def huge_text(self, config: Settings) -> Mutant | None:
        text = self.chance.choice("abx_ .\n🙂1") * 1_000_000
        place = self.chance.choice([p for p in self._keys(config) if len(p) > 1])
        if self.chance.random() < 0.3:
            return Mutant("1 MB", renamed(config, place, text + "a"), ("unknown", place[-1]))
        if place[-1] in _TEXTS:
            return None  # any text is the name of a metric
        return Mutant("1 MB", changed(config, place, text + "a"), (place[-1],))
