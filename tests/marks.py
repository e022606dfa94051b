"""Marks of tests that hold for some releases of Lightning only."""

from __future__ import annotations

import lightning
import pytest
from packaging.version import Version

puts_finders_back = pytest.mark.skipif(
    Version(lightning.__version__) < Version("2.6"), reason="this Lightning counts a finder's steps as the run's own"
)
