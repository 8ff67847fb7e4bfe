"""Which of several points are better where no single number says so (Deb et al. 2002, sections III-A, III-B and VI-A).

Points are [n, objectives], smaller is better in each. A violation is 0 where the constraints hold, else how far they
are from it.
"""

import numpy as np


def dominates(points: np.ndarray, violations: np.ndarray) -> np.ndarray:
    """[n, n] of bool: whether i constrained-dominates j (definition 1). Within the constraints, it is nowhere worse and
    somewhere better; else it violates them less.
    """
    ours, theirs = points[:, None, :], points[None, :, :]
    better = (ours <= theirs).all(-1) & (ours < theirs).any(-1)
    feasible = violations <= 0
    return np.where(feasible[:, None] & feasible[None, :], better, violations[:, None] < violations[None, :])


def fronts(points: np.ndarray, violations: np.ndarray) -> list[list[int]]:
    """The fast non-dominated sort: front after front, each dominated only by those before it."""
    over = dominates(points, violations)
    dominators = over.sum(axis=0)
    left = np.ones(len(points), dtype=bool)
    found: list[list[int]] = []
    while left.any():
        front = np.flatnonzero(left & (dominators == 0))
        left[front] = False
        dominators = dominators - over[front].sum(axis=0)
        found.append(front.tolist())
    return found


def crowding(points: np.ndarray) -> np.ndarray:
    """[n]: the sides of the box between a point's neighbours, in units of the front; its ends infinite."""
    distance = np.zeros(len(points))
    for values in points.T:
        order = np.argsort(values, kind="stable")
        span = values[order[-1]] - values[order[0]]
        if span > 0:
            distance[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / span
        distance[order[[0, -1]]] = np.inf
    return distance
