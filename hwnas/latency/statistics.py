"""Raw samples in nanoseconds → the figures that are stored."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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


def summarise(rounds_ns: Sequence[Sequence[int]]) -> Timing:
    """One list of samples a round."""
    samples = np.concatenate([np.asarray(r, dtype=np.float64) for r in rounds_ns]) / 1e6
    medians = np.array([np.median(r) for r in rounds_ns])
    p10, median, p90 = np.percentile(samples, [10, 50, 90])
    variation = float(medians.std(ddof=1) / medians.mean()) if len(medians) > 1 else 0.0
    return Timing(float(median), float(p10), float(p90), len(samples), len(rounds_ns), variation)
