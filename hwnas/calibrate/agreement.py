"""How well estimates order networks: rank correlations, the overlap at the top, and whether intervals hold."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import kendalltau, spearmanr

from hwnas.core.seeds import numpy_stream

_RESAMPLES = 500
_TOP = 0.1


@dataclass(frozen=True)
class Agreement:
    """`tau`: Kendall's, ties counted (τ-b), with its 90 % interval by the bootstrap over networks. `top`: share of the
    truth's best tenth (at least one network) that is in the estimate's. `held`: share of the estimator's own 90 %
    intervals that hold the truth; None where it gives none."""

    networks: int
    tau: float
    tau_low: float
    tau_high: float
    spearman: float
    top: float
    held: float | None


def agreement(
    estimates: Sequence[float], truths: Sequence[float], intervals: Sequence[tuple[float, float] | None]
) -> Agreement:
    """At least two networks. An estimate that is the same for all of them orders none: 0."""
    a, b = np.array(estimates), np.array(truths)
    rng = numpy_stream(0, "bootstrap", len(a))
    draws = rng.integers(len(a), size=(_RESAMPLES, len(a)))
    low, high = np.quantile([_tau(a[draw], b[draw]) for draw in draws], (0.05, 0.95))
    top = max(1, round(_TOP * len(a)))
    best = [set(np.argsort(-x, kind="stable")[:top].tolist()) for x in (a, b)]
    inside = [i[0] <= truth <= i[1] for i, truth in zip(intervals, truths, strict=True) if i is not None]
    rho = 0.0 if _is_constant(a) or _is_constant(b) else float(np.asarray(spearmanr(a, b))[0])
    held = sum(inside) / len(inside) if inside else None
    return Agreement(len(a), _tau(a, b), float(low), float(high), rho, len(best[0] & best[1]) / top, held)


def _tau(a: np.ndarray, b: np.ndarray) -> float:
    return 0.0 if _is_constant(a) or _is_constant(b) else float(np.asarray(kendalltau(a, b))[0])


def _is_constant(values: np.ndarray) -> bool:
    return bool((values == values[0]).all())
