"""What a step costs with ever more parameters: ``python -m benchmarks.many_parameters [ROUNDS]``.

Engines of 100, 1,000 and 10,000 parameters that all move by step, each driven for some steps in turn, round after round
in a new order. Told is what a parameter costs in a step, and how that compares with a hundred of them.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time

from tests.hostile.test_long_runs import Holder, running

COUNTS = (100, 1_000, 10_000)
UPDATES = 200_000
"""Writes per round and engine: the more parameters, the fewer steps."""


def main(rounds: int) -> None:
    """Print a line for each number of parameters."""
    cosine = {"strategy": "cosine", "start_value": 0.0, "end_value": 1.0, "total_steps": 900_000}
    names = {n: [f"p{i}" for i in range(n)] for n in COUNTS}
    engines = {n: running(dict.fromkeys(names[n], cosine), Holder(names[n])) for n in COUNTS}
    costs: dict[int, list[float]] = {n: [] for n in COUNTS}
    chance, step = random.Random(1), 0
    gc.disable()
    for _ in range(rounds):
        for n in chance.sample(COUNTS, len(COUNTS)):
            steps = UPDATES // n
            began = time.perf_counter()
            for t in range(step, step + steps):
                engines[n].start_step(t)
            costs[n].append((time.perf_counter() - began) / steps / n * 1e9)
        step += UPDATES // COUNTS[0]
        gc.collect()
    print(f"{'parameters':>10} {'ns a parameter':>15} {'x of 100':>9}")
    for n in COUNTS:
        ratio = statistics.median(own / first for own, first in zip(costs[n], costs[COUNTS[0]], strict=True))
        print(f"{n:10,} {statistics.median(costs[n]):15.0f} {ratio:9.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
