"""What a run of a search has in its Trainer, whoever makes that: a keeper of checkpoints and results.

Lightning asks this module (the entry points ``lightning.pytorch.callbacks_factory`` and
``pytorch_lightning.callbacks_factory``) for callbacks whenever a Trainer is made. Outside of a search there are none,
and nothing is imported.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from lightning_anneal.search.driver_watch import RUN_FOLDER, die_with_the_parent, end_with_the_driver, watch_no_further


def callbacks() -> list[Any]:
    """The callbacks of a run of a search; none elsewhere."""
    folder = os.environ.get(RUN_FOLDER)
    if not folder:
        return []
    from lightning_anneal.search.keeper import RunKeeper, resume_by_itself

    # The process between this one and the search could be killed together with the search.
    end_with_the_driver(Path(folder))
    watch_no_further()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        # Nobody watches for the other processes of a run, which its first one has started.
        die_with_the_parent()
    resume_by_itself()
    return [RunKeeper(folder)]
