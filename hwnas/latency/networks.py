"""Which whole networks are measured to calibrate the sum of operators, and to judge it."""

from random import Random

import numpy as np

from hwnas.core.arch import Arch
from hwnas.latency.additive import Additive
from hwnas.spaces import Space

_POOL = 2000
_STEEPEST = 6.0


def spread(
    space: Space, additive: Additive, count: int, rng: Random, avoid: frozenset[Arch] = frozenset()
) -> list[Arch]:
    """`count` different networks, evenly spread from cheap to expensive by the sum of their operators.

    Uniform sampling crowds around the mean latency, where a budget rarely is. So each network of a pool is drawn with
    its own tilt towards cheap or expensive options, and the pool is thinned evenly along the milliseconds.
    """
    pool = sorted({tilted(space, additive, rng.uniform(-_STEEPEST, _STEEPEST), rng) for _ in range(_POOL)} - avoid)
    sums = additive.sum_many(np.array(pool))
    chosen: list[Arch] = []
    left = set(range(len(pool)))
    for goal in np.linspace(sums.min(), sums.max(), count):
        if not left:
            break
        nearest = min(left, key=lambda i: (abs(sums[i] - goal), i))
        left.remove(nearest)
        chosen.append(pool[nearest])
    return chosen


def tilted(space: Space, additive: Additive, tilt: float, rng: Random) -> Arch:
    """Each option with probability ∝ exp(−tilt · its cost relative to the choice's range)."""
    arch = []
    for costs in additive.marginal_costs():
        scaled = (costs - costs.min()) / max(float(np.ptp(costs)), 1e-12)
        arch.append(rng.choices(range(len(costs)), weights=list(np.exp(-tilt * scaled)))[0])
    candidate = tuple(arch)
    return candidate if space.valid(candidate) else space.random(rng)
