"""Says so when torch.compile gives up because an annealed value changes."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping

# torch logs it when a function has been compiled as often as it may be, with the guard that failed last, and runs that
# function uncompiled from then on. There is no public hook for it; tests/compile pins the logger and the text.
_LOGGER = "torch._dynamo.convert_frame"
_GAVE_UP = re.compile(
    r"torch\._dynamo hit config\.\w+ \((?P<limit>\d+)\)\s+function: '(?P<function>[^']+)'"
    r".*?last reason: (?P<reason>[^\n]*)",
    re.DOTALL,
)
_NAMES = re.compile(r"\.([A-Za-z_]\w*)|\[['\"]([^'\"]+)['\"]\]|\[(\d+)\]")
# Parts of a guard that no path has: modules are looked through.
_UNSEEN = {"_modules", "_buffers", "_parameters", "_orig_mod", "__dict__"}


class RecompileWatch:
    """Tells of each value once, from `begin` until `end`.

    A filter of torch's logger that lets everything through: unlike a handler it can be pickled with its callback.

    Args:
        tell: What is called with the warning.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._paths: dict[str, list[str]] = {}
        self._told: set[str] = set()

    def begin(self, paths: Mapping[str, str]) -> None:
        """Watch for values that torch.compile sees as Python numbers.

        Args:
            paths: By parameter, the dotted path it is written under.
        """
        self._paths = {name: path.split(".") for name, path in paths.items()}
        self._told = set()
        if self._paths:
            logging.getLogger(_LOGGER).addFilter(self)

    def end(self) -> None:
        """Watch no more."""
        logging.getLogger(_LOGGER).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Look whether a message of torch's is about one of the values, and let it pass."""
        if found := _GAVE_UP.search(record.getMessage()):
            guard, _, line = found["reason"].partition("#")
            what = f"torch.compile gave up '{found['function']}' after {found['limit']} compilations"
            for name in sorted(self._blamed(guard.partition(" == ")[0]) - self._told):
                self._told.add(name)
                self._tell(f"{name}: {what}, because this value changes; {_way_out(line)}")
        return True

    def _blamed(self, place: str) -> set[str]:
        """The parameters whose path ends as the place in the guard does, as far as can be told apart."""
        names = [next(filter(None, found)) for found in _NAMES.findall(place)]
        names = [name for name in names if name not in _UNSEEN]
        length = {name: _common_end(names, path) for name, path in self._paths.items()}
        longest = max(length.values(), default=0)
        return {name for name, n in length.items() if n == longest > 0}


def _common_end(names: list[str], path: list[str]) -> int:
    """How many names at the end of both are the same, an index alone counting for nothing."""
    n = 0
    while n < min(len(names), len(path)) and names[-1 - n] == path[-1 - n]:
        n += 1
    return n if any(not name.isdigit() for name in path[len(path) - n :]) else 0


def _way_out(line: str) -> str:
    if "dropout" in line:
        return "set as_tensor: true (dropout then leaves the graph), or write the mask with rand_like yourself"
    return "set as_tensor: true"
