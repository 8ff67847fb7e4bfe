"""Raw samples in nanoseconds → the figures that are stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.stats import binom, theilslopes

_BINS = 60
_FEWEST = 8


@dataclass(frozen=True)
class Timing:
    """Percentiles in ms over all samples of all rounds; nothing is removed as an outlier."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    samples: int
    rounds: int
    variation: float
    """Standard deviation of the round medians over their mean: what shakes from round to round."""
    uncertainty: float
    """How far the median may be off, relative: half the 95 % interval of the round medians' own median."""


def summarise(rounds_ns: Sequence[Sequence[int]]) -> Timing:
    """One list of samples a round."""
    samples = np.concatenate([np.asarray(r, dtype=np.float64) for r in rounds_ns]) / 1e6
    medians = np.sort([np.median(r) for r in rounds_ns])
    p10, median, p90 = np.percentile(samples, [10, 50, 90])
    variation = float(medians.std(ddof=1) / medians.mean()) if len(medians) > 1 else 0.0
    edge = _edge(len(medians))
    uncertainty = float((medians[-1 - edge] - medians[edge]) / 2 / np.median(medians))
    return Timing(float(median), float(p10), float(p90), len(samples), len(rounds_ns), variation, uncertainty)


@lru_cache
def _edge(rounds: int) -> int:
    """Leave so many out at either end, and the rest spans the median's 95 % interval (by the sign test)."""
    return max(0, int(binom.ppf(0.025, rounds, 0.5)) - 1)


def trend(logs: Sequence[float]) -> float:
    """How much a series in the order of time grew from begin to end: 0.2 = 20 %. 0 where chance explains it.

    `logs`: logarithms. Theil and Sen's slope (the median over all pairs; doi:10.1080/01621459.1968.10480934) of at most
    60 medians of neighbours: spikes do not move it. Chance: its 99 % interval holds 0.
    """
    if len(logs) < _FEWEST:
        return 0.0
    medians = [float(np.median(part)) for part in np.array_split(np.asarray(logs), min(len(logs), _BINS))]
    slope, _, low, high = (float(value) for value in theilslopes(medians, alpha=0.99))  # type: ignore[arg-type]
    return 0.0 if low <= 0 <= high else float(np.expm1(slope * len(medians)))
