"""Lightning under both of its names, ``lightning.pytorch`` and ``pytorch_lightning``.

They are two copies of one package, and a class of the one is no class of the other. Hooks and attributes have the same
names in both, so nearly everything works with either by itself; what goes by a class goes by those here.

``pytorch_lightning`` is imported although it may not be used, because LightningCLI takes only subclasses of its own
``Callback``, which a class can't become later. That adds some two per cent to the import of Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, TypeAlias

import lightning.pytorch
import lightning.pytorch.callbacks
import lightning.pytorch.utilities.types
from lightning.pytorch.utilities.model_helpers import is_overridden

if TYPE_CHECKING:
    import pytorch_lightning
    import pytorch_lightning.callbacks
    import pytorch_lightning.utilities.types
else:
    try:
        import pytorch_lightning
    except Exception:
        # Not installed; or too old for the other packages here, and then nobody can use it.
        pytorch_lightning = lightning.pytorch

Trainer: TypeAlias = lightning.pytorch.Trainer | pytorch_lightning.Trainer
LightningModule: TypeAlias = lightning.pytorch.LightningModule | pytorch_lightning.LightningModule
LightningDataModule: TypeAlias = lightning.pytorch.LightningDataModule | pytorch_lightning.LightningDataModule
EarlyStopping: TypeAlias = lightning.pytorch.callbacks.EarlyStopping | pytorch_lightning.callbacks.EarlyStopping
LearningRateMonitor: TypeAlias = (
    lightning.pytorch.callbacks.LearningRateMonitor | pytorch_lightning.callbacks.LearningRateMonitor
)
StochasticWeightAveraging: TypeAlias = (
    lightning.pytorch.callbacks.StochasticWeightAveraging | pytorch_lightning.callbacks.StochasticWeightAveraging
)
LRSchedulerConfig: TypeAlias = (
    lightning.pytorch.utilities.types.LRSchedulerConfig | pytorch_lightning.utilities.types.LRSchedulerConfig
)


def twins(name: str) -> tuple[Any, ...]:
    """A class in each of the two packages, by its path in there; once, where only one is installed.

    Example:
        >>> [cls.__module__ for cls in twins("loggers.CSVLogger")]
        ['lightning.pytorch.loggers.csv_logs', 'pytorch_lightning.loggers.csv_logs']
    """
    module, _, cls = name.rpartition(".")
    homes = dict.fromkeys((lightning.pytorch.__name__, pytorch_lightning.__name__))
    return tuple(getattr(importlib.import_module(f"{home}.{module}".rstrip(".")), cls) for home in homes)


def overrides(hook: str, module: Any) -> bool:
    """Whether a module has a hook of its own, other than its LightningModule's."""
    bases = [base for base in twins("LightningModule") if isinstance(module, base)]
    return hasattr(module, hook) and all(is_overridden(hook, module, parent=base) for base in bases)


def swaps_buffers(callback: Any) -> bool:
    """Whether a callback puts buffers of its own in the place of the module's: WeightAveraging, while it validates.

    It came with Lightning 2.6.
    """
    return any(cls.__name__ == "WeightAveraging" for cls in type(callback).__mro__)


def averages_buffers(callback: Any) -> bool:
    """Whether WeightAveraging averages buffers, too; there is no public way to this."""
    return swaps_buffers(callback) and bool(getattr(callback, "_use_buffers", True))


if TYPE_CHECKING:

    class Callback(lightning.pytorch.Callback, pytorch_lightning.Callback):  # type: ignore[misc]
        """A callback for either Trainer."""

    class Checkpoint(lightning.pytorch.callbacks.Checkpoint, pytorch_lightning.callbacks.Checkpoint):  # type: ignore[misc]
        """One of those callbacks that either Trainer calls last."""

else:
    Callback = type("Callback", twins("Callback"), {"__module__": __name__})
    Checkpoint = type("Checkpoint", twins("callbacks.Checkpoint"), {"__module__": __name__})
