"""Do a table's operators belong to the networks measured beside them? A wrong unit or an altered entry shows here."""

import numpy as np

from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.table import Calibration, LatencyTable

_SCALE_RANGE = (0.2, 5.0)
"""Sums are 0.65 to 1.2 of whole networks on CPUs; beyond these bounds table and networks do not belong together."""
_ALONE = 1.5
"""An operator alone, less the call, takes no longer than a network that holds it; the rest is room for noise."""


def check_plausible(raw: Additive, calibration: Calibration, table: LatencyTable) -> None:
    """Raises BadInput when sums and measured networks differ wildly, or one operator outlasts a whole network.

    The sum alone would not do: an operator that no measured network holds is in none of them.
    """
    networks = calibration.fitted + calibration.held_out
    on = np.array([raw.switched(raw.space.check(network.arch)) for network in networks], dtype=bool)
    measured = np.array([network.median_ms for network in networks])
    sums = on @ raw.values
    # An operator alone pays a call of its own, most of its time in a network of microseconds; the fastest bounds it.
    positive = raw.values[raw.values > 0]
    call = positive.min() if len(positive) else 0.0
    calls = np.maximum((on & (raw.values > 0)).sum(1) - 1, 0) * call
    least, most = float((sums / measured).min()), float(((sums - calls) / measured).max())
    if least < _SCALE_RANGE[0] or most > _SCALE_RANGE[1]:
        wrong = least if least < _SCALE_RANGE[0] else most
        raise _implausible(table, f"the operators sum to {wrong:.3g} times what a whole network measures")
    # The fastest network that holds the operator; where none does, the slowest of all.
    limits = np.where(on.any(0), np.where(on, measured[:, None], np.inf).min(0), measured.max())
    excess = (raw.values - call) / limits
    if excess.max() > _ALONE:
        spec = raw.space.operators()[int(excess.argmax())].spec
        raise _implausible(table, f"{spec} alone takes {excess.max():.3g} times as long as a whole network")


def _implausible(table: LatencyTable, what: str) -> BadInput:
    name = table.target.name
    return BadInput(
        f"the latency table of '{name}' contradicts itself: {what}; a wrong unit or an altered entry",
        f"profile again: hwnas profile --target {name} --fresh",
    )
