"""Invented published tables of NAS-Bench-201's cells, and the arguments that make `hwnas compare` search them."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from hwnas.spaces import every_arch
from hwnas.spaces.nasbench201 import Nasbench201, Nasbench201Settings

STRATEGIES = "random,regularized-evolution,nsga2"
DEVICES = ("board", "phone")


@cache
def columns() -> dict[str, np.ndarray]:
    """`seen` is what searches see, in per cent; `test` is near it; latencies of two devices in ms."""
    rng = np.random.default_rng(0)
    archs = every_arch(Nasbench201(Nasbench201Settings(cells=1), channels=3, classes=10))
    worth, ms = np.array([0, 3, 6, 8, 4]), np.array([0.0, 0.1, 0.6, 1.0, 0.3])
    seen = 50 + worth[archs].sum(axis=1) * 0.8 + rng.normal(0, 1, len(archs))
    board = 0.5 + ms[archs].sum(axis=1) * rng.uniform(0.95, 1.05, len(archs))
    return {
        "archs": archs,
        "seen": np.stack([seen, seen + 0.2], axis=1),
        "test": seen + rng.normal(0, 0.3, len(archs)),
        "seconds": 100 + 10 * ms[archs].sum(axis=1),
        "latency_ms": np.stack([board, 3 * board]),
        "devices": np.array(DEVICES, dtype="S"),
    }


def write(folder: Path, **changes: Any) -> Path:
    np.savez(folder / "table.npz", **(columns() | changes))
    return folder / "table.npz"


def arguments(table: Path, strategies: str = STRATEGIES, trials: str = "strategy.trials=30") -> list[str]:
    settings = {
        "estimator.name": "tabular",
        "estimator.path": table,
        "estimator.column": "seen",
        "estimator.truth": "test",
        "estimator.unit": "percent",
        "estimator.seconds": "seconds",
        "latency.path": table,
        "latency.device": "board",
    }
    sets = [trials, *(f"{key}={value}" for key, value in settings.items())]
    return ["compare", "--space", "nasbench201", "--strategy", strategies, *(w for s in sets for w in ("--set", s))]


TINY_CELLS = {
    "space": {"name": "nasbench201", "resolution": 8, "width": 4, "cells": 1},
    "data": {"name": "digits", "limit": 200},
    "search": {"epochs": 2},
    "compute": {"device": "cpu", "threads": 1},
}
"""So small that weights are shared in a second."""
