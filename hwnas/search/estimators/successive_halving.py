"""Successive halving as the networks come (ASHA, Li et al., arXiv:1810.05934), for a search that asks one by one.

    rungs at r, r·η, r·η², … epochs;  a network goes on from a rung if it is among the best 1/η that reached it

A stopped network's estimate is its accuracy at its last rung: low on purpose, and lower the earlier it was stopped.
Deviations: the decision is made when a network reaches a rung, and is final (the stopping form of the rule), because
the strategy is told right after; the first η − 1 at a rung go on, there being nothing to halve. One learning-rate
schedule over all epochs, so that a rung compares like with like.
"""

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.search.estimators import Means
from hwnas.search.estimators._curves import Point
from hwnas.search.estimators._watched import Watched, WatchedSettings


class SuccessiveHalvingSettings(WatchedSettings):
    first_rung: int = Field(default=1, ge=1)
    """r, in epochs."""
    eta: int = Field(default=3, ge=2)
    """η."""


class SuccessiveHalving(Watched):
    Settings = SuccessiveHalvingSettings

    def __init__(self, means: Means, settings: SuccessiveHalvingSettings) -> None:
        super().__init__(means, settings)
        self.rungs, rung = set[int](), settings.first_rung
        while rung < self.full:
            self.rungs.add(rung)
            rung *= settings.eta

    def stops(self, arch: Arch, curve: list[Point]) -> bool:
        rung, eta = len(curve), self.settings.eta
        if rung not in self.rungs:
            return False
        others = [self.curve_of(judged)[rung - 1].search for judged in self.judged.values() if judged.epochs >= rung]
        better = sum(other >= curve[-1].search for other in others)
        reached = len(others) + 1
        return reached >= eta and better >= reached // eta
