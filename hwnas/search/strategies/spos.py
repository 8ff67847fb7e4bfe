"""SPOS: single path one-shot with evolution (Guo et al. 2020, arXiv:1904.00420).

The supernet is trained on uniformly sampled single paths (the `shared-weights` estimator does that, or draws them in
another way: `estimator.paths`); then an evolution scores architectures by their inherited weights, batch-norm
statistics re-estimated for each (section 3.4). Every generation: keep the `parents` best so far; half of the children
are mutants (each choice redrawn with `mutation`, one at least), half crossovers. All respect the latency budget as a
HARD constraint. The paper: population 50, 20 generations, 10 parents, mutation 0.1. Deviation: a child over the budget
is repaired by making random choices cheaper, where the authors redraw it up to ten times and then fall back to random
architectures.
"""

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import stream
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial, ranked

_TRIES = 100


class SposSettings(Settings):
    population: int = Field(default=25, ge=2)
    generations: int = Field(default=8, ge=1)
    parents: int = Field(default=8, ge=1)
    mutation: float = Field(default=0.1, ge=0, le=1)


class Spos(Proposer):
    Settings = SposSettings
    estimator = "shared-weights"

    def __init__(self, problem: Problem, settings: SposSettings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "spos")
        self.told: list[Trial] = []
        self.queue: list[Arch] = []
        self.seen: set[Arch] = set()

    @property
    def trials(self) -> int:
        return self.settings.population * self.settings.generations

    def outstanding(self, workers: int) -> int:
        return self.trials if self.queue else 0  # of one generation

    def ask(self) -> Arch:
        if not self.queue:
            self.queue = self._generation()
        return self.queue.pop(0)

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)

    def _generation(self) -> list[Arch]:
        best = [trial.arch for trial in ranked(self.told)[: self.settings.parents]]
        children = []
        for i in range(self.settings.population):
            mutant = i < self.settings.population // 2
            children.append(self._unseen(best, mutant))
        return children

    def _unseen(self, best: list[Arch], mutant: bool) -> Arch:
        """A child within the budget, new where that is possible."""
        child = self.problem.sample(self.rng)
        for _ in range(_TRIES):
            if not best:
                candidate: Arch | None = self.problem.sample(self.rng)
            elif mutant:
                drawn = self.problem.space.mutate(self.rng.choice(best), self.rng, self.settings.mutation)
                candidate = self.problem.repair(drawn, self.rng)
            else:
                drawn = self.problem.space.crossover(self.rng.choice(best), self.rng.choice(best), self.rng)
                candidate = self.problem.repair(drawn, self.rng)
            if candidate is not None:
                child = candidate
                if child not in self.seen:
                    break
        self.seen.add(child)
        return child
