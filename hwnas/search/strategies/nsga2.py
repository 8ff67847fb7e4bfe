"""NSGA-II (Deb et al. 2002, IEEE TEC 6(2), "A fast and elitist multiobjective genetic algorithm"): the whole front.

Objectives: error, and latency on each target, all as small as can be. A generation (section III-C):
    children:   of parents that win binary tournaments by the crowded comparison (rank of the front first, then the
                larger crowding distance); crossed over with `crossover`, each choice mutated with 1/choices;
    survivors:  of parents and children together, front after front of the non-dominated sort; of the front that does
                not fit whole, the least crowded.
The budget is a constraint, and domination the constrained one (section VI-A; `_domination.py`).
Deviations: a latency is predicted without judging the network, and constrained domination ranks whatever is over the
budget behind all that is within; so such a child is repaired (random choices made cheaper) instead of being judged in
vain. Crossover is uniform, for choices are no binary numbers; a mutant differs in one choice at least; a network is
judged twice only where no new one is found. The front is `pareto` of the result; the network to ship is chosen from it
as from any search.

Measured (docs/compare.md): NAS-Bench-201 on a Pixel 3, 100 queries, 50 seeds: regret 0.74 points at 60 % of the
reference's latency (random search 0.85), 0.78 at 40 % (random 0.56): of use for the front, not for a single budget.
"""

import numpy as np
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import stream
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.strategies._domination import crowding, fronts
from hwnas.search.trial import Trial

_TRIES = 20


class Nsga2Settings(Settings):
    trials: int = Field(default=200, ge=1)
    population: int = Field(default=20, ge=2)
    crossover: float = Field(default=0.9, ge=0, le=1)


class Nsga2(Proposer):
    Settings = Nsga2Settings
    estimator = "shared-weights"

    def __init__(self, problem: Problem, settings: Nsga2Settings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "nsga2")
        self.parents: list[Trial] = []
        """Best first."""
        self.children: list[Trial] = []
        self.queue: list[Arch] = []
        self.seen: set[Arch] = set()

    @property
    def trials(self) -> int:
        return self.settings.trials

    def outstanding(self, workers: int) -> int:
        return self.trials if self.queue else 0  # of one generation

    def ask(self) -> Arch:
        if not self.queue:
            self.parents = self.survivors([*self.parents, *self.children])
            self.children = []
            self.queue = [self._unseen() for _ in range(self.settings.population)]
        return self.queue.pop(0)

    def tell(self, trial: Trial) -> None:
        if not trial.failed:  # it would pass for a fast network, and stay on the front
            self.children.append(trial)

    def survivors(self, trials: list[Trial]) -> list[Trial]:
        """The next population, in the order of the crowded comparison."""
        limits_ms = np.array([target.limit_ms for target in self.problem.targets])
        points = np.array([(-trial.accuracy, *trial.latencies_ms) for trial in trials]).reshape(-1, 1 + len(limits_ms))
        violations = np.maximum(points[:, 1:] / limits_ms - 1, 0.0).max(axis=1, initial=0.0)
        kept: list[Trial] = []
        for front in fronts(points, violations):
            spread = crowding(points[front])
            order = np.argsort(-spread, kind="stable")
            kept += [trials[front[i]] for i in order]
            if len(kept) >= self.settings.population:
                break
        return kept[: self.settings.population]

    def _unseen(self) -> Arch:
        """A child within the budget, new where that is possible."""
        child = None
        for _ in range(_TRIES):
            child = self._child() or child
            if child is not None and child not in self.seen:
                break
        child = child or self.problem.sample(self.rng)
        self.seen.add(child)
        return child

    def _child(self) -> Arch | None:
        space = self.problem.space
        if not self.parents:
            return self.problem.sample(self.rng)
        child = self._tournament()
        if self.rng.random() < self.settings.crossover:
            child = space.crossover(child, self._tournament(), self.rng)
        return self.problem.repair(space.mutate(child, self.rng, 1 / len(space.choices)), self.rng)

    def _tournament(self) -> Arch:
        """The better of two: `parents` are in order."""
        first, second = (self.rng.randrange(len(self.parents)) for _ in range(2))
        return self.parents[min(first, second)].arch
