"""A Gaussian process over a fixed set of candidates, observed one by one (Rasmussen & Williams 2006, chapters 2 and 5).

    k(x, x') = s² · exp(−|x − x'|² / (2 ℓ² · mean squared distance)),  noise s²·ν

ℓ and ν maximise the marginal likelihood on a grid, again now and then; s² has its maximum in closed form. In
between, an observation adds a row to the Cholesky factor and to L⁻¹K: O(observations · candidates), a few milliseconds
for a whole space of 15,625, where scikit-learn's regressor would start anew.
"""

from itertools import product

import numpy as np
from scipy.linalg import solve_triangular

_LENGTHS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 8.0)
_NOISES = (1e-3, 1e-2, 0.1, 0.3)
_REFIT = 1.2
"""ℓ and ν are chosen again when there are so many times the observations."""


class GaussianProcess:
    """`features`: [candidates, features], of comparable scale."""

    def __init__(self, features: np.ndarray) -> None:
        self._features = features - features.mean(axis=0)
        self._norms = np.einsum("ij,ij->i", self._features, self._features)
        self._scale = max(2 * float(self._norms.mean()), 1e-12)
        self._observed: list[int] = []
        self._distances = np.empty((16, len(features)))
        """From each one observed, and room for more."""
        self._rows = np.empty_like(self._distances)
        """L⁻¹K."""
        self._factor = np.empty((0, 0))
        self._length, self._noise, self._fitted = 1.0, 0.1, 0
        self.noise_deviation = 0.0
        """Of one observation around the function, as of the last posterior."""

    def observe(self, candidate: int) -> None:
        if len(self._observed) == len(self._distances):
            self._distances = np.vstack([self._distances, np.empty_like(self._distances)])
            self._rows = np.vstack([self._rows, np.empty_like(self._rows)])
        inner = self._features @ self._features[candidate]
        squared = np.maximum(self._norms + self._norms[candidate] - 2 * inner, 0) / self._scale
        self._distances[len(self._observed)] = squared
        self._observed.append(candidate)

    def posterior(self, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation [candidates]; `targets`: of those observed, in their order, mean 0."""
        n = len(self._observed)
        assert n == len(targets) > 0
        if n >= _REFIT * self._fitted:
            self._refit(targets)
        for number in range(len(self._factor), n):
            self._append(number)
        weights = solve_triangular(self._factor, targets, lower=True)
        scale = max(weights @ weights, 1e-9) / n
        self.noise_deviation = float(np.sqrt(scale * self._noise))
        return weights @ self._rows[:n], np.sqrt(np.maximum(self._variance, 1e-9) * scale)

    def _refit(self, targets: np.ndarray) -> None:
        self._fitted = n = len(targets)
        among = self._distances[:n, self._observed]

        def evidence(length: float, noise: float) -> float:
            factor = np.linalg.cholesky(_kernel(among, length) + noise * np.eye(n))
            weights = solve_triangular(factor, targets, lower=True)
            return -n / 2 * np.log(max(weights @ weights, 1e-12)) - np.log(np.diag(factor)).sum()

        self._length, self._noise = max(product(_LENGTHS, _NOISES), key=lambda pair: evidence(*pair))
        self._factor = np.linalg.cholesky(_kernel(among, self._length) + self._noise * np.eye(n))
        kernel = _kernel(self._distances[:n], self._length)
        self._rows[:n] = solve_triangular(self._factor, kernel, lower=True)
        self._variance = 1 - np.einsum("ij,ij->j", self._rows[:n], self._rows[:n])

    def _append(self, number: int) -> None:
        """Observation `number` joins the factor."""
        below = self._rows[:number, self._observed[number]]
        corner = np.sqrt(max(1 + self._noise - below @ below, 1e-12))
        self._factor = np.block([[self._factor, np.zeros((number, 1))], [below[None], np.full((1, 1), corner)]])
        kernel = _kernel(self._distances[number], self._length)
        self._rows[number] = (kernel - below @ self._rows[:number]) / corner
        self._variance -= self._rows[number] ** 2


def _kernel(squared: np.ndarray, length: float) -> np.ndarray:
    return np.exp(squared / (-2 * length**2))
