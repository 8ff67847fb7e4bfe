"""Regularized evolution, or aging evolution (Real et al. 2019, arXiv:1802.01548, algorithm 1).

    while trials are left:  parent = best of S drawn from the population;  child = mutate(parent);  append the child,
                            remove the OLDEST

Nobody lives long, so what survives must do well again and again, in its children. P 100 and S 25 in the paper; the
defaults P 10, S 3 are those of the NAS-Bench-201 baseline, which like us draws S with replacement. A mutation changes
one choice (the paper's operator and hidden-state mutations are both choices of a space here). Deviations: no identity
mutation, for an estimate asked for twice is the same; a child over the budget is repaired by making random choices
cheaper, so the budget is hard.

Measured (docs/results/nasbench201.md): NAS-Bench-201 in 12,000 simulated seconds 93.92 ± 0.41 %, as published (± 0.30).
"""

from collections import deque

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import stream
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial


class RegularizedEvolutionSettings(Settings):
    trials: int = Field(default=30, ge=1)
    population: int = Field(default=10, ge=1)
    sample: int = Field(default=3, ge=1)


class RegularizedEvolution(Proposer):
    Settings = RegularizedEvolutionSettings
    estimator = "early-stop"

    def __init__(self, problem: Problem, settings: RegularizedEvolutionSettings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "regularized evolution")
        self.population: deque[Trial] = deque(maxlen=settings.population)

    @property
    def trials(self) -> int:
        return self.settings.trials

    def outstanding(self, workers: int) -> int:
        return workers - 1

    def ask(self) -> Arch:
        if len(self.population) < self.settings.population:
            return self.problem.sample(self.rng)
        tournament = self.rng.choices(self.population, k=self.settings.sample)
        parent = max(tournament, key=lambda trial: trial.accuracy)
        mutant = self.problem.space.mutate(parent.arch, self.rng, 0.0)
        return self.problem.repair(mutant, self.rng) or self.problem.sample(self.rng)

    def tell(self, trial: Trial) -> None:
        self.population.append(trial)  # a full deque drops its oldest
