"""Graphs timed on the device itself. Each runtime has a file `on_<name>.py`: `Runtime(target).load(model)`."""

from __future__ import annotations  # devices have older Pythons

import importlib


class Absent(Exception):
    """The runtime, its provider or a file is not here."""


class Refused(Exception):
    """The runtime does not take the graph."""


def open_runtime(target: dict):
    """Has `identity()` and `load(bytes)`, whose graphs have `time_ns()` and `infer(shape, float32 bytes)`."""
    return importlib.import_module(f"on_{target['runtime']}").Runtime(target)


def turn_ns(graph, warmup_runs: int, least_ns: int, least_samples: int) -> list[int]:
    """As `Session.turn_ns` on the host."""
    for _ in range(warmup_runs):
        graph.time_ns()
    samples, spent = [], 0
    while spent < least_ns or len(samples) < least_samples:
        samples.append(graph.time_ns())
        spent += samples[-1]
    return samples
