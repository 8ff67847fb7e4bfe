"""A budget on one target: the latency model there, and what it may predict."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hwnas.core.arch import Arch
from hwnas.latency.additive import Additive
from hwnas.latency.model import LatencyModel
from hwnas.search.projection import Bound

STAND_IN_LIMITS = (1.1, 1.05, 1.02, 1.0, 0.98, 0.95, 0.9, 0.8)
"""Where the sum is a stand-in: limits for it, relative to the true one, from daring to safe."""
_FAR = 1.5
"""A stand-in so far over the limit spares the target pricing the network."""


@dataclass(frozen=True)
class OnTarget:
    """`budget_ms` binds the 95th percentile of the prediction, so that a measurement is likely to keep it."""

    latency: LatencyModel
    budget_ms: float

    @property
    def name(self) -> str:
        return self.latency.table.target.name

    @property
    def additive(self) -> Additive:
        return self.latency.additive

    @cached_property
    def limit_ms(self) -> float:
        """The largest prediction whose 95th percentile is within the budget."""
        return self.budget_ms / self.latency.margin

    @cached_property
    def _most_ms(self) -> float:
        return self.limit_ms * (1.0 if self.latency.is_sum else _FAR)

    def plausible(self, arch: Arch) -> bool:
        """Whether the sum, which costs nothing, does not rule it out."""
        return self.additive.sum(arch) <= self._most_ms

    def holds(self, arch: Arch) -> bool:
        return self.plausible(arch) and self.latency.predict(arch) <= self.limit_ms

    def hold_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → [n] of bool. Prices each of them: not for a latency model that is not quick."""
        within = self.latency.predict_many(archs) <= self.limit_ms
        return within & (self.additive.sum_many(archs) <= self._most_ms)

    def bound(self, factor: float) -> Bound:
        """For an integer program: exact where latency is a sum, else the stand-in under `factor` times the limit."""
        return self.additive, self.limit_ms * (1.0 if self.latency.is_sum else factor)

    @cached_property
    def costs(self) -> list[np.ndarray]:
        """Per choice: each option's share of the milliseconds."""
        return self.additive.marginal_costs()
