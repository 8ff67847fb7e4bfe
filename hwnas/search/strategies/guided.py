"""Ours: few queries, each the one that promises most under the hard budget.

A Gaussian process (`gaussian_process.py`) predicts z = −log(best accuracy so far − accuracy + ρ) from what the space
says of its networks (`Space.features`): the logarithm looks closely at the best, where the choice falls, and hardly at
the rest. The next query is the feasible network of the largest expected improvement
    E[max(0, z − z_best)] = σ·(u·Φ(u) + φ(u)),    u = (μ − z_best)/σ      (Jones et al. 1998; BANANAS, arXiv:1910.11858)
- over EVERY feasible network where the space has at most `exhaustive` and latency is quickly told: no inner search;
- else over a pool: the exact integer-program optima of a linear fit under the budget, mutants of the best, samples.
Of networks that compute the same (`Space.function`) one is judged; where all are compared, the one predicted fastest.
What several workers have not answered yet is not asked again, and else unknown.

Measured (docs/results/nasbench201.md): the optimum of NAS-Bench-201 in 28 queries on average, where local search takes
129; 102 when it sees nothing but one-hot options. Its settings were chosen on that column.
"""

from collections.abc import Hashable

import numpy as np
from pydantic import Field
from scipy.special import ndtr
from sklearn.linear_model import Ridge

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import stream
from hwnas.search.gaussian_process import GaussianProcess
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial, ranked
from hwnas.spaces import every_arch, one_hot

_PROJECTIONS, _MUTANTS, _SAMPLES = 5, 200, 100
_PARENTS, _MUTATION = 10, 0.1
_TRIES = 20


class GuidedSettings(Settings):
    trials: int = Field(default=30, ge=1)
    start: int = Field(default=10, ge=2)
    """Random ones first."""
    resolution: float = Field(default=0.01, gt=0)
    """ρ, of accuracy: differences far below it are not looked at."""
    exhaustive: int = Field(default=50_000, ge=0)
    """Largest space whose networks are all compared at every query."""


class Guided(Proposer):
    Settings = GuidedSettings
    estimator = "early-stop"

    def __init__(self, problem: Problem, settings: GuidedSettings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "guided")
        self.told: list[Trial] = []
        self.asked: set[Hashable] = set()
        """Functions."""
        self.every: list[Arch] | None = None
        if problem.space.size() <= settings.exhaustive and problem.latency.is_quick:
            self.every = distinct_feasible(problem)
            self.rng.shuffle(self.every)
            self.place = {arch: number for number, arch in enumerate(self.every)}
            self.process = GaussianProcess(problem.space.features(np.array(self.every)))

    @property
    def trials(self) -> int:
        return self.settings.trials

    def tell(self, trial: Trial) -> None:
        self.told.append(trial)
        if self.every is not None:
            self.process.observe(self.place[trial.arch])

    def outstanding(self, workers: int) -> int:
        return workers - 1

    def ask(self) -> Arch:
        if len(self.told) < self.settings.start:
            archs = self.every if self.every is not None else self._samples(_TRIES)
        else:
            archs = self._by_promise()
        unseen = (arch for arch in archs if self.problem.space.function(arch) not in self.asked)
        # Nothing is left where the space has fewer networks than the search has trials.
        arch = next(unseen, archs[0])
        self.asked.add(self.problem.space.function(arch))
        return arch

    def _by_promise(self) -> list[Arch]:
        """Candidates, that of the largest expected improvement first."""
        archs, process = (self.every, self.process) if self.every is not None else self._pool()
        targets = self._targets()
        mean, deviation = process.posterior(targets)
        u = (mean - targets.max()) / deviation
        gain = deviation * (u * ndtr(u) + np.exp(-u * u / 2) / np.sqrt(2 * np.pi))
        # Rounded, so that ties fall the same way whatever the number of threads.
        return [archs[i] for i in np.argsort(-np.round(gain, 9), kind="stable")]

    def _targets(self) -> np.ndarray:
        """z of those told, mean 0 and variance 1."""
        accuracy = np.array([trial.accuracy for trial in self.told])
        z = -np.log(accuracy.max() - accuracy + self.settings.resolution)
        return (z - z.mean()) / max(float(z.std()), 1e-9)

    def _pool(self) -> tuple[list[Arch], GaussianProcess]:
        """Those told, and feasible networks worth a look."""
        space, told = self.problem.space, [trial.arch for trial in self.told]
        widths = [len(choice.options) for choice in space.choices]
        linear = Ridge().fit(one_hot(np.array(told), widths), self._targets())
        scores = np.split(linear.coef_, np.cumsum(widths)[:-1])
        parents = [trial.arch for trial in ranked(self.told)[:_PARENTS]]
        drawn = (space.mutate(self.rng.choice(parents), self.rng, _MUTATION) for _ in range(_MUTANTS))
        mutants = [self.problem.repair(arch, self.rng) for arch in drawn]
        found = [*self.problem.project(scores, _PROJECTIONS), *mutants, *self._samples(_SAMPLES)]
        archs = list(dict.fromkeys([*told, *(arch for arch in found if arch is not None)]))
        process = GaussianProcess(space.features(np.array(archs)))
        for arch in told:
            process.observe(archs.index(arch))
        return archs, process

    def _samples(self, count: int) -> list[Arch]:
        return [self.problem.sample(self.rng) for _ in range(count)]


def distinct_feasible(problem: Problem) -> list[Arch]:
    """Every network within the budget; of those that compute the same, the fastest."""
    space = problem.space
    archs = every_arch(space)
    archs = archs[problem.feasible_many(archs)]
    archs = archs[np.argsort(problem.latency.predict_many(archs), kind="stable")]
    found: dict[Hashable, Arch] = {}
    for arch in map(tuple, archs.tolist()):
        found.setdefault(space.function(arch), arch)
    return list(found.values())
