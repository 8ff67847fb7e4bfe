"""What fully trained networks teach about one that is not: its accuracy, and how far that may be wrong.

A Gaussian process over whatever describes a network (its choices, or the beginning of its learning curve) predicts
    z = −log(1 − accuracy + ρ),    ρ = 0.005
so that a point counts for more near the top, where the choice falls. ν of the noise and ℓ by marginal likelihood
(`gaussian_process.py`); what is forecast is one more observation, its deviation √(σ² + noise²).
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import ndtr

from hwnas.search.gaussian_process import GaussianProcess

_RESOLUTION = 0.005
_TAIL_90 = 1.645
"""Standard deviations from the mean to either end of a normal's middle 90 %."""


@dataclass(frozen=True)
class Forecast:
    """Normal in z, so its middle is the median of the accuracy."""

    z: float
    deviation: float

    @property
    def accuracy(self) -> float:
        """A fraction."""
        return float(_accuracy(np.array(self.z)))

    @property
    def interval_90(self) -> tuple[float, float]:
        low, high = _accuracy(self.z + _TAIL_90 * self.deviation * np.array([-1.0, 1.0]))
        return float(low), float(high)

    def chance_above(self, accuracy: float) -> float:
        """That a full training ends above it."""
        return float(ndtr((self.z - _z(np.array(accuracy))) / self.deviation))

    @classmethod
    def of_each(cls, known: np.ndarray, accuracies: np.ndarray, asked: np.ndarray) -> list[Self]:
        """`known`: [n, features] of networks of these accuracies (fractions [n], n ≥ 2); `asked`: [m, features]."""
        center, spread = known.mean(axis=0), known.std(axis=0)
        spread[spread < 1e-9] = 1.0
        process = GaussianProcess((np.vstack([known, asked]) - center) / spread)
        for number in range(len(known)):
            process.observe(number)
        z = _z(accuracies)
        scale = max(float(z.std()), 1e-6)
        mean, deviation = process.posterior((z - z.mean()) / scale)
        mean, deviation = mean[len(known) :], np.hypot(deviation[len(known) :], process.noise_deviation)
        return [cls(float(z.mean() + scale * m), float(scale * d)) for m, d in zip(mean, deviation, strict=True)]


def _z(accuracy: np.ndarray) -> np.ndarray:
    return -np.log(1 - accuracy + _RESOLUTION)


def _accuracy(z: np.ndarray) -> np.ndarray:
    return np.clip(1 + _RESOLUTION - np.exp(-z), 0.0, 1.0)
