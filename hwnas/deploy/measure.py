"""Whole models timed on a target by the profiler's protocol, interleaved with each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwnas.core.budget import Statistic
from hwnas.core.progress import warn
from hwnas.core.seeds import stream
from hwnas.core.target import Target
from hwnas.deploy.energy import energies_mj
from hwnas.deploy.manifest import MOST_BYTES, read_regular
from hwnas.deploy.structure import require_alone
from hwnas.devices import open_runtime
from hwnas.devices.apart import fresh
from hwnas.formats.precision import precision_of
from hwnas.latency.fingerprint import fingerprint
from hwnas.latency.protocol import Protocol
from hwnas.latency.statistics import summarise
from hwnas.latency.timing import Measuring

PROTOCOL = Protocol(rounds=20, turn_ms=15.0, min_samples=7)
"""Longer than an operator's: this number is the promise. 20 rounds × 7 = 140 samples, enough for a p95."""


@dataclass(frozen=True)
class Measured:
    """Milliseconds. `variation`: how much round medians differ, relative. `energy_mj`: millijoules of one run, and the
    meter they were read from; or, in place of its name, why there is none.
    """

    median: float
    p90: float
    n: int
    variation: float
    energy_mj: float | None = None
    energy_meter: str = ""

    def by(self, statistic: Statistic) -> float:
        return self.median if statistic == "median" else self.p90


def measure(
    models: Mapping[str, bytes], target: Target, seed: int, protocol: Protocol = PROTOCOL
) -> dict[str, Measured]:
    """`models`: name → ONNX bytes. Raises Unavailable for a missing runtime, BadInput for a model it refuses."""
    timings = {name: summarise(rounds) for name, rounds in time_rounds(models, target, seed, protocol).items()}
    return {name: Measured(t.median_ms, t.p90_ms, t.samples, t.variation) for name, t in timings.items()}


def measure_file(file: Path, target: Target) -> dict[str, Any]:
    """One ONNX file, timed as it is, as facts. Says so when its precision is not the target's.

    Raises BadInput when it is missing, no model, or its input is not one float tensor.
    """
    models = {file.name: read_regular(file.resolve(), MOST_BYTES)}
    require_alone(models[file.name], file)
    (rounds,) = time_rounds(models, target, seed=0).values()
    timing, precision = summarise(rounds), precision_of(models[file.name])
    if precision != target.precision:
        warn(f"{file} is {precision}, and is timed so; target '{target.name}' stands for {target.precision}")
    energy_mj, meter = energies_mj(models, target)
    return {
        "model": str(file),
        "target": target.name,
        "precision": precision,
        "median_ms": timing.median_ms,
        "p10_ms": timing.p10_ms,
        "p90_ms": timing.p90_ms,
        "samples": timing.samples,
        "rounds": timing.rounds,
        "variation": timing.variation,
        "energy_mj": energy_mj.get(file.name),
        "energy_meter": meter,
        "fingerprint": fingerprint(open_runtime(target)).identity,
    }


def time_rounds(
    models: Mapping[str, bytes], target: Target, seed: int, protocol: Protocol = PROTOCOL
) -> dict[str, list[list[int]]]:
    """Nanoseconds of every run, one list a round. Raises as `measure` does."""
    with fresh(open_runtime(target)) as runtime:
        sessions = {name: runtime.load(model) for name, model in models.items()}
        try:
            measuring = Measuring(sessions, protocol, stream(seed, "measure", *models))
            measuring.run(f"measure on {target.name}")
        finally:
            for session in sessions.values():
                session.close()
    return {name: list(rounds.values()) for name, rounds in measuring.rounds.items()}
