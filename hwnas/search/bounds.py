"""Hard limits beside the latency's, on what a network costs any device: each is a sum over conditional operators.

Parameters and multiply-accumulates are sums as they stand. Peak memory is a maximum over the operators, so its limit is
the sum that counts operators above it, kept at 0. One integer program serves them all.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from math import ceil

import numpy as np
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput, Infeasible
from hwnas.latency.additive import Additive
from hwnas.operators import costs
from hwnas.operators.opspec import OpSpec
from hwnas.search.projection import Bound, extreme
from hwnas.spaces import Space


class Bounds(Settings):
    """None: unbounded. Sizes are in the target's precision: `size_kib` of all parameters, `peak_memory_kib` of the
    activations that one image needs at once (hwnas/operators/costs.py says how they are counted).
    """

    params: int | None = Field(default=None, gt=0)
    macs: int | None = Field(default=None, gt=0)
    size_kib: float | None = Field(default=None, gt=0)
    peak_memory_kib: float | None = Field(default=None, gt=0)

    def limits(self, space: Space, precision: str) -> tuple["Limit", ...]:
        """Raises BadInput when memory is bounded and cannot be computed: of an operator, or of a branching network."""
        if self.peak_memory_kib is not None and not space.is_chain:
            what = f"the memory of {type(space).__name__.lower()} networks is no maximum over operators: they branch"
            raise BadInput(what, "leave bounds.peak_memory_kib out; size_kib and macs can be bounded")
        kib = costs.BYTES[precision] / 1024
        prices: dict[str, Callable[[OpSpec], float]] = {
            "params": costs.params,
            "macs": costs.macs,
            "size_kib": lambda spec: costs.params(spec) * kib,
            "peak_memory_kib": lambda spec: costs.peak_activations(spec) * kib,
        }
        bounds = {name: most for name, most in self.model_dump().items() if most is not None}
        return tuple(Limit(space, name, most, prices[name]) for name, most in bounds.items())


class Limit:
    """One bound on the networks of one space."""

    def __init__(self, space: Space, name: str, most: float, price: Callable[[OpSpec], float]) -> None:
        self.space, self.name, self.most = space, name, most
        self.values = np.array([price(conditional.spec) for conditional in space.operators()])
        self.is_sum = not name.startswith("peak")
        self.additive, self.at_most = self.bound = self._bound(most)

    def holds(self, arch: Arch) -> bool:
        return self.additive.sum(arch) <= self.at_most

    @cached_property
    def costs(self) -> list[np.ndarray]:
        """Per choice: each option's share of the cost."""
        return self.additive.marginal_costs()

    def check_reachable(self, others: Sequence[Bound]) -> None:
        """Raises Infeasible, with the range that networks within `others` reach, when none keeps this one as well."""
        low, high = self._reach(others)
        if low > self.most:
            within = " within the other bounds" if others else ""
            raise Infeasible(
                f"no network of the space has {self.name} of {self.most:g} or less: it reaches {low:,.10g} to "
                f"{high:,.10g}{within}",
                f"--set bounds.{self.name}={ceil(low)} or more, or a smaller space",
            )

    def _bound(self, most: float) -> Bound:
        if self.is_sum:
            return Additive(self.space, self.values), most
        return Additive(self.space, (self.values > most).astype(float)), 0.0

    def _reach(self, others: Sequence[Bound]) -> tuple[float, float]:
        """The smallest and the largest cost of a network within `others`."""
        if self.is_sum:
            ends = (extreme(self.space, self.additive, end, others) for end in (True, False))
            low, high = (self.additive.sum(arch) for arch in ends)
            return low, high
        levels = np.unique(self.values)
        first, last = 0, len(levels) - 1  # bisection: the lowest level that some network keeps
        while first < last:
            middle = (first + last) // 2
            over, _ = self._bound(levels[middle])
            if over.sum(extreme(self.space, over, cheapest=True, bounds=others)) == 0:
                last = middle
            else:
                first = middle + 1
        return float(levels[first]), float(levels[-1])
