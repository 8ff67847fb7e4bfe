"""What a strategy is told: the space, the latency model and the budget. It knows no device and no data."""

from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import Infeasible
from hwnas.latency.additive import Additive
from hwnas.latency.model import LatencyModel
from hwnas.search.projection import extreme
from hwnas.spaces import Space

_TRIES = 50


@dataclass(frozen=True)
class Problem:
    """`budget_ms` binds the 95th percentile of the prediction, so that a measurement is likely to keep it."""

    space: Space
    latency: LatencyModel
    budget_ms: float
    seed: int

    @cached_property
    def limit_ms(self) -> float:
        """The largest prediction whose 95th percentile is within the budget."""
        return self.budget_ms / self.latency.margin

    @property
    def additive(self) -> Additive:
        return self.latency.additive

    def feasible(self, arch: Arch) -> bool:
        return self.space.valid(arch) and self.latency.predict(arch) <= self.limit_ms

    def check_feasible(self) -> None:
        """Raises Infeasible with the range of latencies that the space reaches."""
        cheapest = extreme(self.space, self.additive, cheapest=True)
        if not self.feasible(cheapest):
            dearest = extreme(self.space, self.additive, cheapest=False)
            low, high = self.latency.predict_p95(cheapest), self.latency.predict_p95(dearest)
            raise Infeasible(
                f"no network of the space fits {self.budget_ms:.4g} ms: it reaches {low:.4g} to {high:.4g} ms",
                f"--budget {1.05 * low:.3g}ms or more, or a smaller space",
            )

    def sample(self, rng: Random) -> Arch:
        """A random architecture within the budget: drawn uniformly, then made cheaper until it fits.

        Ends after a bounded number of steps even where almost nothing fits (Once-for-All's sampler does not).
        """
        for _ in range(_TRIES):
            arch = self.repair(self.space.random(rng), rng)
            if arch is not None:
                return arch
        return extreme(self.space, self.additive, cheapest=True)

    def repair(self, arch: Arch, rng: Random) -> Arch | None:
        """Redraw random choices among their cheaper options until the budget holds; None if that leads nowhere."""
        order = list(range(len(arch)))
        while not self.feasible(arch):
            rng.shuffle(order)
            for choice in order:
                cheaper = np.flatnonzero(self._costs[choice] < self._costs[choice][arch[choice]])
                if len(cheaper):
                    arch = (*arch[:choice], int(rng.choice(list(cheaper))), *arch[choice + 1 :])
                    break
            else:
                return None
        return arch

    @cached_property
    def _costs(self) -> list[np.ndarray]:
        return self.additive.marginal_costs()
