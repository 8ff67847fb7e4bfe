"""The latency model: the sum of a table's operators, corrected by a fit on whole networks (`correction.py`).

Where evidence preferred another form when the target was calibrated (`learned.py`, `whole.py`), that form predicts, and
the corrected sum is its stand-in for gradients and integer programs.
"""

from functools import cached_property

import numpy as np
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.budget import Statistic
from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.correction import correction
from hwnas.latency.error import upper_95
from hwnas.latency.learned import Learned, cross_validated, learn
from hwnas.latency.plausible import check_plausible
from hwnas.latency.table import Calibration, LatencyTable, MeasuredNetwork
from hwnas.latency.whole import Whole
from hwnas.operators.opspec import OpSpec
from hwnas.spaces import Space


class LatencyModel:
    """Milliseconds of any architecture of `space` on the table's target, by one statistic (median or p90).

    Raises BadInput when the table lacks an operator, has no calibration for the space, or contradicts it.
    """

    def __init__(self, space: Space, table: LatencyTable, statistic: Statistic = "median") -> None:
        self.space, self.table, self.statistic = space, table, statistic
        self.raw = raw_sum(space, table)
        self.calibration = calibration_of(space, table)
        check_plausible(self.raw, self.calibration, table)
        self._archs = [network.arch for network in self.calibration.fitted]
        self._measured_ms = _measured(self.calibration.fitted, statistic)
        self.fit = correction(self.raw, self._archs, self._measured_ms)
        self.additive = self.fit.corrected(self.raw)
        self._known: dict[Arch, float] = {}

    @property
    def is_sum(self) -> bool:
        """Whether `additive` is the prediction itself, and no stand-in."""
        return self.calibration.form == "sum"

    @property
    def is_quick(self) -> bool:
        """Whether a prediction takes microseconds; a compiler that prices whole networks takes far longer."""
        return self.is_sum or self.calibration.form != "whole"

    def predict(self, arch: Arch) -> float:
        """Expected latency in ms."""
        if self.is_sum:
            return self.additive.sum(arch)
        if arch not in self._known:
            self._known[arch] = float(self.predict_many(np.array([arch]))[0])
        return self._known[arch]

    def predict_p95(self, arch: Arch) -> float:
        """95 % of networks predicted so measure below this, in ms."""
        return self.predict(arch) * self.margin

    def predict_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → ms [n]."""
        return self.additive.sum_many(archs) if self.is_sum else self._better.predict_many(archs)

    def expected(self, probabilities: list[Tensor]) -> Tensor:
        """Σ ms · Π p of the sum, differentiable in the probabilities: one [options] tensor a choice."""
        return self.additive.expected(probabilities)

    def breakdown(self, arch: Arch) -> list[tuple[str, float]]:
        """(operator, its corrected ms) in forward order; then the constant as 'call', and what no operator explains."""
        terms = zip(self.space.operators(), self.additive.values, strict=True)
        on = [(str(c.spec), float(v)) for c, v in terms if all(arch[choice] == o for choice, o in c.when)]
        rest = [] if self.is_sum else [("together", self.predict(arch) - self.additive.sum(arch))]
        return [*on, ("call", self.additive.constant), *rest]

    @cached_property
    def margin(self) -> float:
        """predicted_p95 / predicted."""
        if self.calibration.form == "whole":
            return 1.0  # a compiler gives the same number again
        again = [n.repeat_ms / n.median_ms - 1 for n in self.calibration.held_out if n.repeat_ms is not None]
        shifts = np.array(again) if again else None
        if self.is_sum:
            return upper_95(self.fit.residuals, shifts)
        return upper_95(cross_validated(self.raw, self._archs, self._measured_ms)[1], shifts)

    @cached_property
    def _better(self) -> Learned | Whole:
        if self.calibration.form == "whole":
            return Whole(self.space, self.table.target)
        return learn(self.raw, self._archs, self._measured_ms)


def raw_sum(space: Space, table: LatencyTable) -> Additive:
    """The uncorrected sum of medians. Raises BadInput naming the first operator that the table lacks."""
    values = []
    for conditional in space.operators():
        entry = table.entries.get(str(conditional.spec))
        if entry is None:
            raise no_time(table, conditional.spec)
        values.append(entry.median_ms)
    return Additive(space, np.array(values))


def no_time(table: LatencyTable, spec: OpSpec) -> BadInput:
    fill = f"fill it: hwnas profile --target {table.target.name}"
    return BadInput(
        f"the table of '{table.target.name}' has no time for {spec}",
        "search another --space: an imported table cannot be filled here" if table.imported else fill,
    )


def space_key(space: Space) -> str:
    """Identifies the space by its operators, so that another width or class count is another space."""
    from hashlib import sha256

    text = "\n".join(f"{c.spec} {c.when}" for c in space.operators())
    return f"{type(space).__name__.lower()}-{sha256(text.encode()).hexdigest()[:12]}"


def calibration_of(space: Space, table: LatencyTable) -> Calibration:
    """Raises BadInput when the table has none for the space."""
    found = table.calibration.get(space_key(space))
    if found is None:
        name = table.target.name
        raise BadInput(f"the table of '{name}' is not calibrated for this space", f"hwnas profile --target {name}")
    return found


def _measured(networks: list[MeasuredNetwork], statistic: Statistic) -> np.ndarray:
    return np.array([n.median_ms if statistic == "median" else n.p90_ms for n in networks])
