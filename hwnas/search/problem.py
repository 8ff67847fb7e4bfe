"""What a strategy is told: the space, the latency model and the budget. It knows no device and no data."""

from dataclasses import dataclass
from functools import cached_property
from random import Random

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import Infeasible
from hwnas.latency.additive import Additive
from hwnas.latency.model import LatencyModel
from hwnas.search.bounds import Limit
from hwnas.search.projection import Bound, extreme, project
from hwnas.search.trial import Trial
from hwnas.spaces import Space

_TRIES = 50
_STAND_IN_LIMITS = (1.1, 1.05, 1.02, 1.0, 0.98, 0.95, 0.9, 0.8)
"""Where the sum is a stand-in: limits for it, relative to the true one, from daring to safe."""


@dataclass(frozen=True)
class Problem:
    """`budget_ms` binds the 95th percentile of the prediction, so that a measurement is likely to keep it. `limits`
    bind computed costs, as hard."""

    space: Space
    latency: LatencyModel
    budget_ms: float
    seed: int
    limits: tuple[Limit, ...] = ()

    @cached_property
    def limit_ms(self) -> float:
        """The largest prediction whose 95th percentile is within the budget."""
        return self.budget_ms / self.latency.margin

    @cached_property
    def _most_ms(self) -> float:
        """Of the sum: a stand-in far over the limit spares the target pricing the network."""
        return self.limit_ms * (1.0 if self.latency.is_sum else 1.5)

    @property
    def additive(self) -> Additive:
        return self.latency.additive

    def trial(self, arch: Arch, accuracy: float) -> Trial:
        """With what the model predicts."""
        return Trial(arch, accuracy, self.latency.predict(arch), self.latency.predict_p95(arch))

    def feasible(self, arch: Arch) -> bool:
        if not self.space.valid(arch) or self.additive.sum(arch) > self._most_ms:
            return False
        if not all(limit.holds(arch) for limit in self.limits):
            return False
        return self.latency.predict(arch) <= self.limit_ms

    def feasible_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → [n] of bool. Prices each of them: not for a latency model that is not quick."""
        within = self.latency.predict_many(archs) <= self.limit_ms
        within &= self.additive.sum_many(archs) <= self._most_ms
        for limit in self.limits:
            within &= limit.additive.sum_many(archs) <= limit.at_most
        within[within] = [self.space.valid(tuple(arch)) for arch in archs[within].tolist()]
        return within

    def project(self, scores: list[np.ndarray], count: int) -> list[Arch]:
        """Up to `count` architectures within the budget, of the highest Σ scores[choice][option], best first.

        Exact where latency is a sum. Else the integer program sees the stand-in under ever tighter limits, and the
        model has the last word on what it proposes.
        """
        if self.latency.is_sum:
            return project(self.space, self.additive, scores, self.limit_ms, count, self._bounds)
        found: dict[Arch, None] = {}
        for factor in _STAND_IN_LIMITS:
            proposed = project(self.space, self.additive, scores, factor * self.limit_ms, 2 * count, self._bounds)
            found |= dict.fromkeys(arch for arch in proposed if self.feasible(arch))
            if len(found) >= count:
                break
        ranked = sorted(found, key=lambda arch: -sum(s[option] for s, option in zip(scores, arch, strict=True)))
        return ranked[:count]

    def check_feasible(self) -> None:
        """Raises Infeasible with the range that the space reaches: of the first computed cost whose bound cannot be
        kept beside those before it, or of the latencies within all of them.
        """
        for number, limit in enumerate(self.limits):
            limit.check_reachable(self._bounds[:number])
        cheapest = self.cheapest
        if not self.feasible(cheapest):
            dearest = extreme(self.space, self.additive, cheapest=False, bounds=self._bounds)
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
        return self.cheapest

    @cached_property
    def cheapest(self) -> Arch:
        """The fastest network within the bounds, by the sum of its operators."""
        return extreme(self.space, self.additive, cheapest=True, bounds=self._bounds)

    def repair(self, arch: Arch, rng: Random) -> Arch | None:
        """Redraw random choices among their cheaper options until the budget holds; None if that leads nowhere.

        Cheaper by the first bound that is not kept, else by latency. What helps one bound may hurt another, so the
        number of steps is limited as well.
        """
        order = list(range(len(arch)))
        steps = (1 + len(self.limits)) * sum(len(choice.options) for choice in self.space.choices)
        while not self.feasible(arch):
            steps -= 1
            if steps < 0:
                return None
            broken = (costs for limit, costs in self._limit_costs if not limit.holds(arch))
            costs = next(broken, self._costs)
            rng.shuffle(order)
            for choice in order:
                cheaper = np.flatnonzero(costs[choice] < costs[choice][arch[choice]])
                if len(cheaper):
                    arch = (*arch[:choice], int(rng.choice(list(cheaper))), *arch[choice + 1 :])
                    break
            else:
                return None
        return arch

    @cached_property
    def _bounds(self) -> list[Bound]:
        return [limit.bound for limit in self.limits]

    @cached_property
    def _limit_costs(self) -> list[tuple[Limit, list[np.ndarray]]]:
        return [(limit, limit.additive.marginal_costs()) for limit in self.limits]

    @cached_property
    def _costs(self) -> list[np.ndarray]:
        return self.additive.marginal_costs()
