"""What several seeds allow to be said: means and paired differences, with 90 % intervals by Student's t."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t


@dataclass(frozen=True)
class Mean:
    """Of `n` values, with its 90 % interval; one value has none."""

    mean: float
    low: float | None
    high: float | None
    n: int

    def text(self, decimals: int, sign: str = "") -> str:
        middle = f"{self.mean:{sign}.{decimals}f}"
        if self.low is None:
            return middle
        return f"{middle} ({self.low:{sign}.{decimals}f} to {self.high:{sign}.{decimals}f})"


def interval_90(values: np.ndarray) -> tuple[float, float]:
    """Of the mean; at least two values."""
    half = t.ppf(0.95, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def mean_of(values: Sequence[float | None]) -> Mean | None:
    """Of those that are there; None when none is."""
    known = np.array([value for value in values if value is not None], dtype=np.float64)
    if not len(known):
        return None
    low, high = interval_90(known) if len(known) > 1 else (None, None)
    return Mean(float(known.mean()), low, high, len(known))


def paired(ours: Mapping[int, float | None], theirs: Mapping[int, float | None]) -> Mean | None:
    """Of ours − theirs over the seeds (the keys) that both have."""
    pairs = [(mine, theirs.get(seed)) for seed, mine in ours.items()]
    return mean_of([mine - other for mine, other in pairs if mine is not None and other is not None])
