"""Where operators do not simply add up: a Gaussian process over operators and their neighbours.

    ms = sum(arch) · exp(f(z)),   f ~ GP(0, s² · exp(−|z − z'|² / 2ℓ²) + noise²)

z is what `neighbours.py` describes; s, ℓ and the noise maximise the marginal likelihood (Rasmussen & Williams 2006,
eq. 2.30; scikit-learn). It multiplies the corrected sum, which stays its differentiable, projectable stand-in.
Cross-validation on the fitted networks, not taste, decides whether it is used.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from hwnas.core.arch import Arch
from hwnas.latency.additive import Additive
from hwnas.latency.correction import correction
from hwnas.latency.neighbours import Neighbours

_FOLDS = 8
_GAIN = 0.9
"""The simpler form is kept unless the other's cross-validated RMSE is below this share of its own."""
_CHUNK = 20_000


@dataclass(frozen=True)
class Learned:
    """The sum, corrected, and what multiplies it."""

    additive: Additive
    neighbours: Neighbours
    process: GaussianProcessRegressor

    def predict_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → ms [n]."""
        chunks = (archs[start : start + _CHUNK] for start in range(0, len(archs), _CHUNK))
        factors = [np.exp(self.process.predict(self.neighbours.describe(chunk))) for chunk in chunks]
        return self.additive.sum_many(archs) * np.concatenate(factors)


def learn(raw: Additive, archs: list[Arch], measured_ms: np.ndarray) -> Learned:
    """`raw`: the uncorrected sum."""
    additive, neighbours = correction(raw, archs, measured_ms).corrected(raw), Neighbours(raw)
    chosen = np.array(archs)
    # Bounds: a network deviates by 0.1 % to 100 %, a measurement of it by 0.1 % to 10 %.
    kernel = ConstantKernel(1e-3, (1e-6, 1.0)) * RBF(5.0, (0.5, 100.0)) + WhiteKernel(1e-4, (1e-6, 1e-2))
    process = GaussianProcessRegressor(kernel, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # an optimum at a bound is an answer: nothing to learn
        process.fit(neighbours.describe(chosen), np.log(measured_ms / additive.sum_many(chosen)))
    return Learned(additive, neighbours, process)


def cross_validated(raw: Additive, archs: list[Arch], measured_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors (predicted/true − 1), [n] each, of the corrected sum and of the learned model."""
    of_sum, of_learned = np.empty(len(archs)), np.empty(len(archs))
    for fold in range(_FOLDS):
        test = np.arange(fold, len(archs), _FOLDS)  # networks are ordered by cost: every fold spans the range
        train = np.setdiff1d(np.arange(len(archs)), test)
        model = learn(raw, [archs[i] for i in train], measured_ms[train])
        chosen = np.array(archs)[test]
        of_sum[test] = model.additive.sum_many(chosen) / measured_ms[test] - 1
        of_learned[test] = model.predict_many(chosen) / measured_ms[test] - 1
    return of_sum, of_learned


def is_better(of_sum: np.ndarray, of_learned: np.ndarray) -> bool:
    """By clearly more than luck; both as `cross_validated` gives them."""
    return float(np.mean(of_learned**2)) ** 0.5 < _GAIN * float(np.mean(of_sum**2)) ** 0.5
