"""How long a config with a mistake takes to be refused: ``python -m benchmarks.config_errors [CONFIGS]``.

The mutated configs of the tests, one after the other with the valid config that each was made from, so that whatever
else the machine does meets both. The first reading of each kind doesn't count.
"""

from __future__ import annotations

import statistics
import sys
import time
from typing import Any

from lightning_anneal import AnnealError
from tests.hostile.mutations import Mutations
from tests.hostile.test_mutated_configs import BETAS, PARAMETERS, SEED, read


def milliseconds(config: dict[str, Any]) -> float:
    """How long it takes to read a config, valid or not."""
    began = time.perf_counter()
    try:
        read(config)
    except AnnealError as error:
        str(error)
    return (time.perf_counter() - began) * 1e3


def main(n: int) -> None:
    """Print a line for each kind of mistake."""
    valid: list[float] = []
    broken: dict[str, list[float]] = {}
    for configs in (PARAMETERS, BETAS):
        for i, mutant in enumerate(Mutations(configs, SEED).make(n)):
            valid.append(milliseconds(configs[i % len(configs)]))
            broken.setdefault(mutant.kind, []).append(milliseconds(mutant.config))
    typical = statistics.median(valid)
    print(f"{'':18} {'median ms':>10} {'99 % ms':>10} {'slowest':>10} {'x valid':>8}")
    for kind, times in [("valid", valid), *sorted(broken.items())]:
        times = sorted(times[1:])
        late = times[int(len(times) * 0.99)]
        print(f"{kind:18} {statistics.median(times):10.3f} {late:10.3f} {times[-1]:10.3f} "
              f"{statistics.median(times) / typical:8.1f}")  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000)
