"""How wrong predictions are on networks that no fit has seen."""

from math import ceil

import numpy as np
from scipy.stats import spearmanr

from hwnas.core.errors import BadInput
from hwnas.latency.table import HeldOutError


def held_out_error(predicted_ms: np.ndarray, measured_ms: np.ndarray, repeat_ms: np.ndarray) -> HeldOutError:
    """Relative to `measured_ms`, [n] each; `repeat_ms`: the same networks measured again.

    Raises BadInput when all measure the same: times that tell no network from another.
    """
    if np.ptp(measured_ms) == 0:
        raise BadInput(f"{len(measured_ms)} networks all measure {measured_ms[0]:.4g} ms: too coarse a clock, or none")
    error = np.abs(predicted_ms / measured_ms - 1)
    return HeldOutError(
        networks=len(error),
        mean=float(error.mean()),
        max=float(error.max()),
        within_5=float((error <= 0.05).mean()),
        within_10=float((error <= 0.10).mean()),
        spearman=float(spearmanr(predicted_ms, measured_ms)[0]),  # type: ignore[arg-type]
        noise_floor=float(np.abs(repeat_ms / measured_ms - 1).mean()),
    )


def upper_95(residuals: np.ndarray, shifts: np.ndarray | None = None) -> float:
    """The factor under which 95 % of networks stay: the conformal quantile of true/predicted.

    `residuals`: predicted/true − 1, [n], each of a network that the prediction has not seen. `shifts`: how much
    they differ when another run measures them, [m], relative: tomorrow's run may differ as much, either way.
    """
    again = np.ones(1) if shifts is None else np.concatenate([1 + shifts, 1 / (1 + shifts)])
    factors = np.sort(np.outer(1 / (1 + residuals), again).ravel())
    rank = min(len(residuals), ceil((len(residuals) + 1) * 0.95))
    return max(1.0, float(factors[rank * len(again) - 1]))
