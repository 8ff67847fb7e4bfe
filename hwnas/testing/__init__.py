"""Conformance suites: what every plug-in must do. One file a group, each a list of plain functions `check_*`.

For a plug-in of your own, by its name or as a file:

    import pytest
    from hwnas.testing import suite

    @pytest.mark.parametrize("check", suite("strategies"))
    def test_mine(check, tmp_path):
        check("./mine.py", tmp_path)

A check returns when all is well, raises AssertionError when it is not, and unittest.SkipTest where it does not apply.
"""

import importlib
from collections.abc import Callable
from pathlib import Path

Check = Callable[[str, Path], None]
"""(plug-in's name or .py file, an empty folder to work in)."""

SUITES = {
    "strategies": "strategy",
    "spaces": "space",
    "runtimes": "runtime",
    "estimators": "estimator",
    "exporters": "exporter",
    "datasets": "dataset",
}


def suite(group: str) -> list[Check]:
    """The checks of a group of plug-ins, in the order of their file."""
    module = importlib.import_module(f"hwnas.testing.{SUITES[group]}")
    return [member for name, member in vars(module).items() if name.startswith("check_")]
