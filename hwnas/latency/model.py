"""The latency model: the sum of a table's operators, corrected by a fit on whole networks (`correction.py`)."""

import numpy as np
from scipy.stats import spearmanr
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.budget import Statistic
from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.correction import Fit, features, fit
from hwnas.latency.plausible import check_plausible
from hwnas.latency.table import Calibration, HeldOutError, LatencyTable, MeasuredNetwork
from hwnas.spaces import Space


class LatencyModel:
    """Milliseconds of any architecture of `space` on the table's target, by one statistic (median or p90).

    Raises BadInput when the table lacks an operator, has no calibration for the space, or contradicts it.
    """

    def __init__(self, space: Space, table: LatencyTable, statistic: Statistic = "median") -> None:
        self.space, self.table, self.statistic = space, table, statistic
        self.raw = raw_sum(space, table)
        self.calibration = _calibration(space, table)
        check_plausible(self.raw, self.calibration, table)
        self.fit = fit(features(self.raw, self.calibration.fitted), _measured(self.calibration.fitted, statistic))
        self.additive = self.fit.corrected(self.raw)
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


def held_out_error(fitted: Fit, x: np.ndarray, measured_ms: np.ndarray, repeat_ms: np.ndarray) -> HeldOutError:
    """Of a fit on networks it has not seen; `repeat_ms`: the same networks measured again."""
    error = np.abs(x @ fitted.coefficients / measured_ms - 1)
    return HeldOutError(
        networks=len(error),
        mean=float(error.mean()),
        max=float(error.max()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        spearman=float(spearmanr(x @ fitted.coefficients, measured_ms)[0]),  # type: ignore[arg-type]
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
