"""Whole models timed on a target by the profiler's protocol, interleaved with each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from hwnas.core.budget import Statistic
from hwnas.core.seeds import stream
from hwnas.core.target import Target
from hwnas.latency.protocol import Protocol
from hwnas.latency.timing import Measuring
from hwnas.runtimes import open_runtime

PROTOCOL = Protocol(rounds=20, turn_ms=15.0, min_samples=7)
"""Longer than an operator's: this number is the promise. 20 rounds × 7 = 140 samples, enough for a p95."""


@dataclass(frozen=True)
class Measured:
    """Milliseconds. `variation`: how much round medians differ, relative."""

    median: float
    p90: float
    n: int
    variation: float

    def by(self, statistic: Statistic) -> float:
        return self.median if statistic == "median" else self.p90


def measure(
    models: Mapping[str, bytes], target: Target, seed: int, protocol: Protocol = PROTOCOL
) -> dict[str, Measured]:
    """`models`: name → ONNX bytes. Raises Unavailable for a missing runtime, BadInput for a model it refuses."""
    runtime = open_runtime(target)
    sessions = {name: runtime.load(model) for name, model in models.items()}
    try:
        timings = Measuring(sessions, protocol, stream(seed, "measure", *models)).run(f"measure on {target.name}")
    finally:
        for session in sessions.values():
            session.close()
    return {name: Measured(t.median_ms, t.p90_ms, t.samples, t.variation) for name, t in timings.items()}
