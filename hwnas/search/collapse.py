"""Collapse: a gradient search that drifts to operators without parameters for a reason that is not the budget.

A skip passes its input on from the first step, while a convolution must first be trained to be worth as much; shared
weights so favour skips, and what is favoured is what the rest is trained for. On NAS-Bench-201 DARTS and ENAS end in
cells of nothing but skips: 54.30 % right on CIFAR-10, where the mean cell has 87.06 % (arXiv:2001.00326, table 5).

Signs in the literature: two skips in a derived cell of eight edges (DARTS+, arXiv:1909.06035); a growing largest
eigenvalue of ∇²α L_val (R-DARTS, arXiv:1909.09656), which wants second derivatives. Ours is the first, as a share,
with two guards against false alarms; an epoch has the sign of collapse when
- of the choices that can do without parameters, at least `MODES` have such an option as their most probable one. In
  that benchmark good cells have up to four such edges of six (the ResNet cell; mean 87.4 %, best 93.9 %), while cells
  with five or six have 81.1 and 66.3 %;
- their probability is lifted by `LIFT` of the way from uniform to certain: before that, the order is noise;
- E[latency] spends less than `SPENT` of what the budget leaves above the cheapest network. A budget that forces skips
  is spent by the search; a collapse leaves it unspent. A budget that no network exceeds forces nothing.
The search is collapsing when the last `PATIENCE` epochs have the sign.
"""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch

from hwnas.core.journal import Record
from hwnas.latency.additive import Additive
from hwnas.operators import cost
from hwnas.search.problem import Problem
from hwnas.search.projection import extreme
from hwnas.spaces import Space

MODES, LIFT, SPENT, PATIENCE = 0.8, 0.2, 0.5, 3


def parameter_free(space: Space) -> list[np.ndarray]:
    """Per choice, whether an option switches on no operator that has parameters."""
    free = [np.ones(len(choice.options), dtype=bool) for choice in space.choices]
    for conditional in space.operators():
        if cost(conditional.spec)[1] > 0:
            for choice, option in conditional.when:
                free[choice][option] = False
    return free


class CollapseWatch:
    """Choices whose options are all with or all without parameters say nothing, and are left out."""

    def __init__(self, problem: Problem) -> None:
        masks = enumerate(parameter_free(problem.space))
        self.free = {choice: mask for choice, mask in masks if mask.any() and not mask.all()}
        ends = [(target, *_ends_ms(problem.space, target.additive)) for target in problem.targets]
        self.binding = [(target, low) for target, low, high in ends if high > target.limit_ms]
        """Targets whose budget some network exceeds, with the milliseconds of the cheapest."""

    def facts(self, scores: list[np.ndarray]) -> dict[str, float | bool]:
        """Of an epoch: the mean probability of options without parameters, and whether it has the sign of collapse.

        `scores`: per choice, the log-probability of each option. Empty where no choice can do without parameters.
        """
        if not self.free:
            return {}
        probabilities = [np.exp(choice) for choice in scores]
        shares = np.array([probabilities[choice][mask].sum() for choice, mask in self.free.items()])
        uniform = np.array([mask.mean() for mask in self.free.values()])
        modes = np.mean([mask[scores[choice].argmax()] for choice, mask in self.free.items()])
        lift = np.mean((shares - uniform) / (1 - uniform))
        sign = modes >= MODES and lift >= LIFT and self._spent(probabilities) < SPENT
        return {"parameter_free": float(shares.mean()), "collapsing": bool(sign)}

    def _spent(self, probabilities: list[np.ndarray]) -> float:
        """The share of the milliseconds between the cheapest network and the budget, where it is largest."""
        shares = [0.0]
        for target, cheapest_ms in self.binding:
            expected_ms = float(target.latency.expected([torch.from_numpy(p) for p in probabilities]))
            room_ms = target.limit_ms - cheapest_ms
            shares.append((expected_ms - cheapest_ms) / room_ms if room_ms > 1e-6 * target.limit_ms else 1.0)
        return max(shares)


def _ends_ms(space: Space, additive: Additive) -> tuple[float, float]:
    low, high = (additive.sum(extreme(space, additive, cheapest=end)) for end in (True, False))
    return low, high


def collapsing_since(epochs: Sequence[Record]) -> int | None:
    """The first epoch of the collapse that the last epoch is part of."""
    return next((first for first, last in _collapses(epochs) if last == epochs[-1]["epoch"]), None)


def verdict(epochs: Sequence[Record]) -> str:
    """One sentence on a search, of its journaled epochs; empty where nothing could collapse. Epochs count from 1."""
    if not any("collapsing" in epoch for epoch in epochs):
        return ""
    found = _collapses(epochs)
    if not found:
        return "The search did not collapse to options without parameters."
    since = collapsing_since(epochs)
    if since is not None:
        return (
            f"The search collapsed: from epoch {since + 1} to its end it preferred options without parameters nearly "
            "everywhere, though the budget left room for others."
        )
    spans = " and ".join(f"{first + 1} to {last + 1}" for first, last in found)
    return f"The search was collapsing to options without parameters in epochs {spans}, and recovered."


def _collapses(epochs: Sequence[Record]) -> list[tuple[int, int]]:
    """First and last epoch of each unbroken run of the sign that is long enough."""
    runs = [list(run) for sign, run in groupby(epochs, lambda epoch: epoch.get("collapsing", False)) if sign]
    return [(run[0]["epoch"], run[-1]["epoch"]) for run in runs if len(run) >= PATIENCE]
