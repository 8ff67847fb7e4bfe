"""Operators never timed, predicted from those that were: one Gaussian process a family of operators, in log space.

A family is a kind with its attributes' names.

Features are logarithms: multiply-accumulates, elements read and written, weights, the input's shape and every numeric
attribute; other attributes (an activation) are one column a value. Which kernel serves a family, and how wide its
intervals are, is decided by cross-validation on the table itself. (Tried on half of a CPU's table, the other half
predicted: forests and boosting erred twice as much, since an operator lies at the edge of what was measured as often as
inside; one length scale a feature gained nothing and its intervals held half of what they promised.)
"""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log, prod
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Kernel, Matern, WhiteKernel

from hwnas.core.errors import BadInput
from hwnas.latency.table import Entry
from hwnas.operators import cost
from hwnas.operators.opspec import OpSpec

LEAST = 8
"""Measured operators of a family below which nothing is predicted from them."""
_REACH, _ATTRIBUTE_REACH = 4.0, 1.5
"""How many times larger or smaller than anything measured an amount may be (one doubling of the resolution), and an
attribute: an expansion of 1 is another operator than those of 3 and 6."""
_CONFIDENCE = 0.8
"""Of the interval: what lies between its ends, p10 and p90."""

_FOLDS = 8
_KERNELS: dict[str, Kernel] = {
    "power law": ConstantKernel(1.0) * DotProduct(),
    "smooth": ConstantKernel(1.0) * Matern(3.0, nu=2.5),
}

Family = tuple[str | int, ...]


@dataclass(frozen=True)
class Prediction:
    """`factor`: the median is between median_ms / factor and median_ms · factor with 80 % confidence."""

    median_ms: float
    factor: float

    def entry(self, measured_at: str) -> Entry:
        return Entry(
            median_ms=self.median_ms,
            p10_ms=self.median_ms / self.factor,
            p90_ms=self.median_ms * self.factor,
            samples=0,
            rounds=0,
            stable=False,
            predicted=True,
            measured_at=measured_at,
        )


class Regressor:
    """Of one family, fitted on at least `LEAST` operators. `error`: mean relative, of those left out."""

    def __init__(self, specs: Sequence[OpSpec], median_ms: Sequence[float]) -> None:
        assert len(specs) >= LEAST and len({family(spec) for spec in specs}) == 1
        self.logs = [logs(spec) for spec in specs]
        self.labels = [_labels(spec) for spec in specs]
        y = np.log(median_ms)
        self._mean, self._scale = float(y.mean()), float(y.std()) or 1.0
        fits = [_Fit(kernel, self.features(specs), (y - self._mean) / self._scale) for kernel in _KERNELS.values()]
        errors = [float(np.abs(np.expm1(fit.residuals * self._scale)).mean()) for fit in fits]
        self.error = min(errors)
        self._fit = fits[errors.index(self.error)]
        self.kernel = list(_KERNELS)[errors.index(self.error)]

    def predict(self, specs: Sequence[OpSpec]) -> list[Prediction]:
        """Of operators without a `refusal`."""
        mean, deviation = self._fit.predict(self.features(specs))
        log_ms, width = self._mean + self._scale * mean, self._scale * self._fit.width * deviation
        return [Prediction(float(m), float(f)) for m, f in zip(np.exp(log_ms), np.exp(width), strict=True)]

    def refusal(self, spec: OpSpec) -> str:
        """Why an operator of this family is out of range: nothing is extrapolated in silence. Empty when within."""
        amounts, labels = logs(spec), _labels(spec)
        for name, label in labels.items():
            if label not in {own[name] for own in self.labels}:
                return f"{name}={label} was never measured"
        for name, value in amounts.items():
            seen = {own[name] for own in self.logs}
            over = max(value - max(seen), min(seen) - value)
            reach = _ATTRIBUTE_REACH if name in spec.attributes() else _REACH
            if over > log(reach) + 1e-9:
                side = "above the largest" if value > max(seen) else "below the smallest"
                return f"its {name} is {np.exp(over):.3g} times {side} measured"
            if len(seen) == 1 and value not in seen:
                return f"its {name} is another than that of all the measured ones"
        return ""

    def features(self, specs: Sequence[OpSpec]) -> np.ndarray:
        """[operators, features], each feature scaled by its spread over the measured operators."""
        measured = np.array([list(own.values()) for own in self.logs])
        center, spread = measured.mean(0), measured.std(0)
        amounts = np.array([[logs(spec)[name] for name in self.logs[0]] for spec in specs])
        scaled = (amounts - center) / np.where(spread > 0, spread, 1.0)
        values = sorted({item for own in self.labels for item in own.items()})
        flags = np.array([[_labels(spec)[name] == value for name, value in values] for spec in specs], dtype=np.float64)
        return np.column_stack([scaled, flags.reshape(len(specs), -1)])


class _Fit:
    """A Gaussian process, and how far those left out (`residuals`: true − predicted) were from it."""

    def __init__(self, kernel: Kernel, x: np.ndarray, y: np.ndarray) -> None:
        self._process = _process(kernel + WhiteKernel(1e-3, (1e-7, 1.0)), x, y)
        self.residuals, deviations = np.empty(len(y)), np.empty(len(y))
        for first in range(_FOLDS):
            out = np.arange(len(y)) % _FOLDS == first
            fold = _process(self._process.kernel_, x[~out], y[~out])  # from near its optimum: half the time
            mean, deviations[out] = fold.predict(x[out], return_std=True)
            self.residuals[out] = y[out] - mean
        rank = min(len(y), ceil((len(y) + 1) * _CONFIDENCE))
        self.width = float(np.sort(np.abs(self.residuals) / deviations)[rank - 1])
        """Half the interval in standard deviations, so that it holds 80 % of those left out."""

    def predict(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        mean, deviation = self._process.predict(x, return_std=True)
        return np.asarray(mean), np.asarray(deviation)


def _process(kernel: Any, x: np.ndarray, y: np.ndarray) -> GaussianProcessRegressor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a parameter at its bound: a plain answer
        return GaussianProcessRegressor(kernel).fit(x, y)


class Regressors:
    """One a family, fitted when it is asked for, on the measured entries of a table."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self.entries = {key: entry for key, entry in entries.items() if not entry.predicted}
        self._families: dict[Family, list[OpSpec]] = defaultdict(list)
        for key in sorted(self.entries):
            spec = OpSpec.parse(key)
            self._families[family(spec)].append(spec)
        self._fitted: dict[Family, Regressor] = {}

    def of(self, spec: OpSpec) -> Regressor | None:
        """Of this operator's family. None while fewer than `LEAST` were measured."""
        own = family(spec)
        specs = self._families.get(own, [])
        if own not in self._fitted and len(specs) >= LEAST:
            self._fitted[own] = Regressor(specs, [self.entries[str(spec)].median_ms for spec in specs])
        return self._fitted.get(own)

    def error(self, specs: Iterable[OpSpec]) -> float:
        """The largest of these operators' regressors' errors."""
        return max(regressor.error for spec in specs if (regressor := self.of(spec)) is not None)

    def refusal(self, spec: OpSpec) -> str:
        regressor = self.of(spec)
        if regressor is None:
            count = len(self._families.get(family(spec), []))
            return f"{count} of kind '{spec.kind}' with these attributes were measured, and it takes {LEAST}"
        return regressor.refusal(spec)

    def predict(self, specs: Iterable[OpSpec]) -> dict[str, Prediction]:
        """By the operator's key. Raises BadInput for the first that is out of range."""
        found: dict[str, Prediction] = {}
        for spec in specs:
            if refusal := self.refusal(spec):
                raise BadInput(
                    f"{spec} cannot be predicted: {refusal}",
                    "let more operators be timed: a larger --set profile.most_operators, or none for all",
                )
            regressor = self.of(spec)
            assert regressor is not None
            (found[str(spec)],) = regressor.predict([spec])
        return found

    def entries_of(self, specs: Iterable[OpSpec]) -> dict[str, Entry]:
        """As entries of a table, dated by what they were fitted on. Raises BadInput as `predict` does."""
        latest = max((entry.measured_at for entry in self.entries.values()), default="never")
        return {key: prediction.entry(latest) for key, prediction in self.predict(specs).items()}


def family(spec: OpSpec) -> Family:
    return spec.kind, *(name for name, _ in spec.attrs), len(spec.input_shape)


def logs(spec: OpSpec) -> dict[str, float]:
    """Logarithms of 1 + each amount that an operator's time may depend on."""
    out, weights, macs = cost(spec)
    amounts: dict[str, float] = {
        "multiply-accumulates": macs,
        "input": prod(spec.input_shape),
        "output": prod(out),
        "weights": weights,
    }
    amounts |= {f"input dimension {i}": size for i, size in enumerate(spec.input_shape[:2])}
    amounts |= {name: float(value) for name, value in spec.attrs if _is_amount(value)}
    return {name: log(1 + value) for name, value in amounts.items()}


def _labels(spec: OpSpec) -> dict[str, str]:
    return {name: str(value).lower() for name, value in spec.attrs if not _is_amount(value)}


def _is_amount(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
