"""Hardware-aware neural architecture search: profile a device, search under a latency budget, ship what was measured.

Importing this costs little: names below are loaded on first use, torch with them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from hwnas.core import __version__

_HOMES = {
    "Run": "hwnas.run.stages",
    "RunConfig": "hwnas.run.config",
    "resolve": "hwnas.run.config",
    "Data": "hwnas.training.data",
    "RawData": "hwnas.training.datasets",
    "Images": "hwnas.training.datasets",
    "OpSpec": "hwnas.operators.opspec",
    "operator": "hwnas.operators",
    "write_report": "hwnas.report.page",
    "summary": "hwnas.report.summary",
    "HwnasError": "hwnas.core.errors",
}

__all__ = ["__version__", *_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from hwnas.core.errors import HwnasError
    from hwnas.operators import operator
    from hwnas.operators.opspec import OpSpec
    from hwnas.report.page import write_report
    from hwnas.report.summary import summary
    from hwnas.run.config import RunConfig, resolve
    from hwnas.run.stages import Run
    from hwnas.training.data import Data
    from hwnas.training.datasets import Images, RawData


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'hwnas' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
