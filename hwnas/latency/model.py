"""The latency model: the sum of a table's operators, corrected by a fit on whole networks of the space.

Operators timed alone run from warm caches and each pay a call; networks do not. The correction
    ms = scale · Σ operators + per_operator · number of operators + constant
stays a sum over conditional operators, so predictions remain exact, differentiable and projectable. Which of its three
coefficients are used is decided by leave-one-out error, not by taste.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.budget import Statistic
from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.table import Calibration, HeldOutError, LatencyTable, MeasuredNetwork
from hwnas.spaces import Space

_FORMS = {"scale": (0,), "scale+constant": (0, 2), "scale+per_operator+constant": (0, 1, 2)}
_SCALE_RANGE = (0.2, 5.0)
"""Published sums are 0.65 to 1.2 of whole networks on CPUs; beyond these bounds table and networks do not belong together."""


@dataclass(frozen=True)
class Fit:
    """Coefficients of (Σ ms, number of operators, 1), and the relative leave-one-out residuals (predicted/true − 1)."""

    form: str
    coefficients: np.ndarray
    residuals: np.ndarray

    def upper_95(self) -> float:
        """The factor under which 95 % of networks stay: the conformal quantile of true/predicted − 1."""
        excess = np.sort(1 / (1 + self.residuals) - 1)
        rank = min(len(excess), ceil((len(excess) + 1) * 0.95))
        return 1 + max(0.0, float(excess[rank - 1]))


def fit(features: np.ndarray, measured_ms: np.ndarray) -> Fit:
    """Least relative squares of each form; the one with the smallest leave-one-out error wins.

    `features`: [networks, 3]; `measured_ms`: [networks].
    """
    fits = []
    for form, columns in _FORMS.items():
        x = features[:, columns] / measured_ms[:, None]  # relative errors: the target becomes 1
        inverse = np.linalg.pinv(x.T @ x)
        solution = inverse @ x.sum(0)
        leverage = np.einsum("ij,jk,ik->i", x, inverse, x)
        residuals = (x @ solution - 1) / np.maximum(1 - leverage, 1e-6)
        coefficients = np.zeros(3)
        coefficients[list(columns)] = solution
        fits.append(Fit(form, coefficients, residuals))
    return min(fits, key=lambda f: float(np.mean(f.residuals**2)))


class LatencyModel:
    """Milliseconds of any architecture of `space` on the table's target, by one statistic (median or p90).

    Raises BadInput when the table lacks an operator, has no calibration for the space, or contradicts it.
    """

    def __init__(self, space: Space, table: LatencyTable, statistic: Statistic = "median") -> None:
        self.space, self.table, self.statistic = space, table, statistic
        self.raw = raw_sum(space, table)
        self.calibration = _calibration(space, table)
        self.fit = fit(features(self.raw, self.calibration.fitted), _measured(self.calibration.fitted, statistic))
        _check_scale(self.fit, self.raw, self.calibration.fitted, table)
        scale, per_operator, constant = self.fit.coefficients
        self.additive = Additive(space, scale * self.raw.values + per_operator, constant)
        self.margin = self.fit.upper_95()
        """predicted_p95 / predicted."""

    def predict(self, arch: Arch) -> float:
        """Expected latency in ms."""
        return self.additive.sum(arch)

    def predict_p95(self, arch: Arch) -> float:
        """95 % of networks predicted so measure below this, in ms."""
        return self.predict(arch) * self.margin

    def predict_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → ms [n]."""
        return self.additive.sum_many(archs)

    def expected(self, probabilities: list[Tensor]) -> Tensor:
        """Σ ms · Π p, differentiable in the probabilities: one [options] tensor a choice."""
        return self.additive.expected(probabilities)

    def breakdown(self, arch: Arch) -> list[tuple[str, float]]:
        """(operator, its corrected ms) in forward order; the constant last, as 'call'."""
        terms = zip(self.space.operators(), self.additive.values, strict=True)
        on = [(str(c.spec), float(v)) for c, v in terms if all(arch[choice] == o for choice, o in c.when)]
        return [*on, ("call", self.additive.constant)]


def raw_sum(space: Space, table: LatencyTable) -> Additive:
    """The uncorrected sum of medians. Raises BadInput naming the first operator that the table lacks."""
    values = []
    for conditional in space.operators():
        entry = table.entries.get(str(conditional.spec))
        if entry is None:
            raise BadInput(
                f"the table of '{table.target.name}' has no time for {conditional.spec}",
                f"fill it: hwnas profile --target {table.target.name}",
            )
        values.append(entry.median_ms)
    return Additive(space, np.array(values))


def features(raw: Additive, networks: list[MeasuredNetwork]) -> np.ndarray:
    """[networks, 3]: sum of operators in ms, their number, 1."""
    archs = np.array([n.arch for n in networks])
    number = Additive(raw.space, np.ones(len(raw.values)))
    return np.stack([raw.sum_many(archs), number.sum_many(archs), np.ones(len(archs))], axis=1)


def held_out_error(fitted: Fit, x: np.ndarray, measured_ms: np.ndarray, repeat_ms: np.ndarray) -> HeldOutError:
    """Of a fit on networks it has not seen; `repeat_ms`: the same networks measured again."""
    error = np.abs(x @ fitted.coefficients / measured_ms - 1)
    return HeldOutError(
        networks=len(error),
        mean=float(error.mean()),
        max=float(error.max()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        spearman=float(spearmanr(x @ fitted.coefficients, measured_ms).statistic),
        noise_floor=float(np.abs(repeat_ms / measured_ms - 1).mean()),
    )


def space_key(space: Space) -> str:
    """Identifies the space by its operators, so that another width or class count is another space."""
    from hashlib import sha256

    text = "\n".join(f"{c.spec} {c.when}" for c in space.operators())
    return f"{type(space).__name__.lower()}-{sha256(text.encode()).hexdigest()[:12]}"


def _calibration(space: Space, table: LatencyTable) -> Calibration:
    found = table.calibration.get(space_key(space))
    if found is None:
        name = table.target.name
        raise BadInput(f"the table of '{name}' is not calibrated for this space", f"hwnas profile --target {name}")
    return found


def _measured(networks: list[MeasuredNetwork], statistic: Statistic) -> np.ndarray:
    return np.array([n.median_ms if statistic == "median" else n.p90_ms for n in networks])


def _check_scale(fitted: Fit, raw: Additive, networks: list[MeasuredNetwork], table: LatencyTable) -> None:
    sums, measured = features(raw, networks)[:, 0], _measured(networks, "median")
    low, high = _SCALE_RANGE
    worst: Any = max(zip(sums / measured, networks, strict=True), key=lambda pair: abs(np.log(pair[0])))
    if not low <= worst[0] <= high:
        raise BadInput(
            f"the operators of '{table.target.name}' sum to {worst[0]:.3g} times what a whole network measures: "
            "a wrong unit or an altered entry",
            f"profile again: hwnas profile --target {table.target.name} --fresh",
        )
