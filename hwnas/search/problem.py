"""What a strategy is told: the space, the latency models and the budgets. It knows no device and no data."""

from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

import numpy as np
import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.errors import Infeasible
from hwnas.latency.additive import Additive
from hwnas.latency.model import LatencyModel
from hwnas.search.bounds import Limit
from hwnas.search.on_target import STAND_IN_LIMITS, OnTarget
from hwnas.search.projection import Bound, extreme, project
from hwnas.search.reach import out_of_reach
from hwnas.search.trial import Trial
from hwnas.spaces import Space

_TRIES = 50


@dataclass(frozen=True)
class Problem:
    """`latency` and `budget_ms` are the first target's; `others` bind every network as hard. `limits` bind computed
    costs, as hard."""

    space: Space
    latency: LatencyModel
    budget_ms: float
    seed: int
    limits: tuple[Limit, ...] = ()
    others: tuple[OnTarget, ...] = ()

    @cached_property
    def targets(self) -> tuple[OnTarget, ...]:
        return (OnTarget(self.latency, self.budget_ms), *self.others)

    def each(self) -> "tuple[Problem, ...]":
        """As seen from each target: there, it has no other."""
        return tuple(replace(self, latency=t.latency, budget_ms=t.budget_ms, others=()) for t in self.targets)

    @property
    def limit_ms(self) -> float:
        """On the first target, the largest prediction whose 95th percentile is within the budget."""
        return self.targets[0].limit_ms

    @property
    def additive(self) -> Additive:
        return self.latency.additive

    def trial(self, arch: Arch, accuracy: float, failed: str = "") -> Trial:
        """With what the models predict."""
        others = tuple(target.latency.predict(arch) for target in self.others)
        return Trial(arch, accuracy, self.latency.predict(arch), self.latency.predict_p95(arch), others, failed)

    def binding_ms(self, arch: Arch) -> float:
        """The prediction on the target that is nearest to its budget (or furthest over it), in milliseconds of the
        first: within `limit_ms` exactly when every budget is kept."""
        own = self.latency.predict(arch)
        return max([own, *(t.latency.predict(arch) * self.limit_ms / t.limit_ms for t in self.others)])

    def expected_ms(self, probabilities: list[Tensor]) -> Tensor:
        """As `binding_ms`, of E[latency], differentiable: one [options] tensor a choice.

        The worst target and not a sum over all: one multiplier drives it to the limit, where all budgets are kept,
        while a sum would go on pushing a target that is within its own, and let it pay for one that is not.
        """
        own = self.latency.expected(probabilities)
        if not self.others:
            return own
        others = [t.latency.expected(probabilities) * (self.limit_ms / t.limit_ms) for t in self.others]
        return torch.stack([own, *others]).max()

    @cached_property
    def costs(self) -> list[np.ndarray]:
        """Per choice: each option's share of the milliseconds, in those of the first target; their mean over all."""
        scaled = [[cost * (self.limit_ms / t.limit_ms) for cost in t.costs] for t in self.others]
        return [np.mean(shares, axis=0) for shares in zip(self.targets[0].costs, *scaled, strict=True)]

    def feasible(self, arch: Arch) -> bool:
        if not self.space.valid(arch) or not all(target.plausible(arch) for target in self.targets):
            return False
        return all(part.holds(arch) for part in (*self.limits, *self.targets))

    def feasible_many(self, archs: np.ndarray) -> np.ndarray:
        """[n, choices] → [n] of bool. Prices each of them: not for a latency model that is not quick."""
        within = np.all([target.hold_many(archs) for target in self.targets], axis=0)
        for limit in self.limits:
            within &= limit.additive.sum_many(archs) <= limit.at_most
        within[within] = [self.space.valid(tuple(arch)) for arch in archs[within].tolist()]
        return within

    def project(self, scores: list[np.ndarray], count: int) -> list[Arch]:
        """Up to `count` architectures within the budgets, of the highest Σ scores[choice][option], best first.

        Exact where latency is a sum. Else the integer program sees the stand-in under ever tighter limits, and the
        models have the last word on what it proposes.
        """
        if self._is_sum:
            return self._projected(scores, count, 1.0)
        found: dict[Arch, None] = {}
        for factor in STAND_IN_LIMITS:
            found |= dict.fromkeys(arch for arch in self._projected(scores, 2 * count, factor) if self.feasible(arch))
            if len(found) >= count:
                break
        ranked = sorted(found, key=lambda arch: -sum(s[option] for s, option in zip(scores, arch, strict=True)))
        return ranked[:count]

    def _projected(self, scores: list[np.ndarray], count: int, factor: float) -> list[Arch]:
        additive, limit_ms = self.targets[0].bound(factor)
        return project(self.space, additive, scores, limit_ms, count, self._bounds(factor))

    def check_feasible(self) -> None:
        """Raises Infeasible with the range that the space reaches: of the first computed cost whose bound cannot be
        kept beside those before it, or of the latencies on each target within all of them.
        """
        for number, limit in enumerate(self.limits):
            limit.check_reachable([other.bound for other in self.limits[:number]])
        if self._cheapest is None or not self.feasible(self._cheapest):
            raise out_of_reach(self.space, self.targets, self.limits, self._cheapest)

    def sample(self, rng: Random) -> Arch:
        """A random architecture within the budgets: drawn uniformly, then made cheaper until it fits.

        Ends after a bounded number of steps even where almost nothing fits (Once-for-All's sampler does not).
        """
        for _ in range(_TRIES):
            arch = self.repair(self.space.random(rng), rng)
            if arch is not None:
                return arch
        return self.cheapest

    @property
    def cheapest(self) -> Arch:
        """The fastest network on the first target within everything else, by the sum of its operators."""
        assert self._cheapest is not None, "asked of a problem that was not checked to be feasible"
        return self._cheapest

    def repair(self, arch: Arch, rng: Random) -> Arch | None:
        """Redraw random choices among their cheaper options until the budgets hold; None if that leads nowhere.

        Cheaper by the first bound that is not kept, else by the latency that is not. What helps one may hurt another,
        so the number of steps is limited as well.
        """
        order = list(range(len(arch)))
        parts = len(self.targets) + len(self.limits)
        steps = parts * sum(len(choice.options) for choice in self.space.choices)
        while not self.feasible(arch):
            steps -= 1
            if steps < 0:
                return None
            broken = (part.costs for part in (*self.limits, *self.targets) if not part.holds(arch))
            costs = next(broken, self.targets[0].costs)
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
    def _is_sum(self) -> bool:
        return all(target.latency.is_sum for target in self.targets)

    def _bounds(self, factor: float) -> list[Bound]:
        """All but the first target's."""
        return [*(limit.bound for limit in self.limits), *(target.bound(factor) for target in self.others)]

    @cached_property
    def _cheapest(self) -> Arch | None:
        """On the first target, within everything else; None where the integer program finds none."""
        found = None
        for factor in (1.0,) if self._is_sum or not self.others else STAND_IN_LIMITS:
            try:
                found = extreme(self.space, self.additive, True, self._bounds(factor))
            except Infeasible:
                break
            if self.feasible(found):
                break
        return found
