"""The model of published whole-network latencies: each network is looked up, nothing is predicted."""

from functools import cached_property

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput
from hwnas.latency.additive import Additive
from hwnas.latency.model import LatencyModel
from hwnas.latency.table import LatencyTable
from hwnas.spaces import Space


class TabularLatency(LatencyModel):
    """`archs`: [n, choices]; `ms`: [n]; `origin`: a table without entries, saying where they come from. A network that
    is not among them is an error when it is asked for.

    `additive`, the stand-in for gradients and integer programs, is the least-squares sum over options. Raises BadInput
    for a latency that is no positive number.
    """

    def __init__(self, space: Space, archs: np.ndarray, ms: np.ndarray, origin: LatencyTable | None = None) -> None:
        if not (np.isfinite(ms).all() and (ms > 0).all()):
            raise BadInput(f"a published latency of {ms[~(ms > 0)][:1]} ms is no latency")
        self.space = space
        if origin is not None:
            self.table = origin
        self._ms = dict(zip(map(tuple, archs.tolist()), ms.tolist(), strict=True))
        self._archs = archs

    @property
    def is_sum(self) -> bool:
        return False

    @property
    def is_quick(self) -> bool:
        return True

    @cached_property
    def margin(self) -> float:
        return 1.0

    def predict(self, arch: Arch) -> float:
        if arch not in self._ms:
            raise BadInput(f"no latency was published for {list(arch)}", "search only what the table holds")
        return self._ms[arch]

    def predict_many(self, archs: np.ndarray) -> np.ndarray:
        return np.array([self.predict(tuple(arch)) for arch in archs.tolist()])

    @cached_property
    def additive(self) -> Additive:  # type: ignore[override]
        """Operators that hang on the same option share its milliseconds; an option without any costs the constant."""
        conditions = [conditional.when for conditional in self.space.operators()]
        hanging = sorted({when for when in conditions if when})
        columns = np.stack([np.all([self._archs[:, c] == o for c, o in when], axis=0) for when in hanging], axis=1)
        design = np.column_stack([columns, np.ones(len(self._archs))]).astype(np.float64)
        fitted = np.linalg.lstsq(design, np.array(list(self._ms.values())), rcond=None)[0]
        price = {when: fitted[i] / conditions.count(when) for i, when in enumerate(hanging)}
        return Additive(self.space, np.array([price.get(when, 0.0) for when in conditions]), fitted[-1])
