"""Which whole networks are measured to calibrate the sum of operators, and to judge it."""

from random import Random

import numpy as np

from hwnas.core.arch import Arch
from hwnas.core.errors import BadInput
from hwnas.core.seeds import stream
from hwnas.latency.additive import Additive
from hwnas.spaces import Space

_POOL = 2000
_STEEPEST = 6.0
_FEWEST_FITTED, _FEWEST_HELD_OUT = 8, 4
"""As in `ProfileSettings`."""


def fitted_and_held_out(
    space: Space, additive: Additive, fitted: int, held_out: int, seed: int
) -> tuple[list[Arch], list[Arch]]:
    """Two disjoint sets of networks, each spread along `additive`. Where the space has fewer, they share what there is.

    Raises BadInput as `shares` does.
    """
    first = spread(space, additive, fitted, stream(seed, "fitted"))
    other = spread(space, additive, held_out, stream(seed, "held out"), avoid=frozenset(first))
    if len(other) == held_out:
        return first, other
    every = sorted(first + other, key=lambda arch: (additive.sum(arch), arch))
    _, count = shares(len(every), fitted, held_out)
    judging = {every[i] for i in np.linspace(0, len(every) - 1, count + 2)[1:-1].round().astype(int)}
    return [arch for arch in every if arch not in judging], [arch for arch in every if arch in judging]


def shares(networks: int, fitted: int, held_out: int) -> tuple[int, int]:
    """How many of a space's `networks` are fitted and how many judge: the numbers asked for, or about their proportion.

    Raises BadInput when the space has fewer than 8 to fit and 4 to judge by.
    """
    if networks >= fitted + held_out:
        return fitted, held_out
    if networks < _FEWEST_FITTED + _FEWEST_HELD_OUT:
        raise BadInput(
            f"the space has only {networks} networks: too few to fit a latency model ({_FEWEST_FITTED}) and to judge "
            f"it ({_FEWEST_HELD_OUT})",
            "give the space more options, or export its networks and time each: hwnas measure MODEL.onnx",
        )
    judging = max(_FEWEST_HELD_OUT, networks * held_out // (fitted + held_out))
    judging = min(judging, networks - _FEWEST_FITTED)
    return networks - judging, judging


def spread(
    space: Space, additive: Additive, count: int, rng: Random, avoid: frozenset[Arch] = frozenset()
) -> list[Arch]:
    """`count` different networks, evenly spread from cheap to expensive by the sum of their operators.

    Uniform sampling crowds around the mean latency, where a budget rarely is. So each network of a pool is drawn with
    its own tilt towards cheap or expensive options, and the pool is thinned evenly along the milliseconds.
    """
    pool = sorted({tilted(space, additive, rng.uniform(-_STEEPEST, _STEEPEST), rng) for _ in range(_POOL)} - avoid)
    if not pool:
        return []
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
