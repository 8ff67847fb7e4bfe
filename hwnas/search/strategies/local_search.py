"""Local search (White et al. 2021, arXiv:2005.02960, algorithm 1; Ottelander et al. 2021, arXiv:2004.08996).

    from a random network:  judge all neighbours (one choice changed);  move to the best of them while it is better

and from another random network where none is. The published algorithm stops there; given more trials, it starts again.
Deviations: neighbours over the budget are no neighbours; a network is judged twice only where 100 draws bring no other.

Measured (docs/results/nasbench201.md): the optimum of NAS-Bench-201 in 129 queries on average; published 127.
"""

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import stream
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial

_TRIES = 100


class LocalSearchSettings(Settings):
    trials: int = Field(default=30, ge=1)


class LocalSearch(Proposer):
    Settings = LocalSearchSettings
    estimator = "early-stop"

    def __init__(self, problem: Problem, settings: LocalSearchSettings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "local search")
        self.accuracy: dict[Arch, float] = {}
        self.here: Arch | None = None
        self.around: list[Arch] = []
        """Neighbours of `here`, or none while a start is being judged."""
        self.queue: list[Arch] = []

    @property
    def trials(self) -> int:
        return self.settings.trials

    def outstanding(self, workers: int) -> int:
        return self.trials if self.queue else 0  # neighbours of one network

    def ask(self) -> Arch:
        while not self.queue:
            best = self._best()
            if best is None or best == self.here:
                self.here, self.around = None, [self._start()]
                self.queue = list(self.around)
            else:
                self.here, self.around = best, self._neighbours(best)
                self.queue = [arch for arch in self.around if arch not in self.accuracy]
        return self.queue.pop()

    def tell(self, trial: Trial) -> None:
        self.accuracy[trial.arch] = trial.accuracy

    def _best(self) -> Arch | None:
        """`here`, unless a neighbour is better; an equal one is not, or two equals would send it to and fro."""
        first = [] if self.here is None else [self.here]
        return max([*first, *self.around], key=lambda arch: self.accuracy[arch], default=None)

    def _start(self) -> Arch:
        for _ in range(_TRIES):
            arch = self.problem.sample(self.rng)
            if arch not in self.accuracy:
                break
        return arch

    def _neighbours(self, arch: Arch) -> list[Arch]:
        """Within the budget, in random order."""
        changed = [
            (*arch[:i], option, *arch[i + 1 :])
            for i, choice in enumerate(self.problem.space.choices)
            for option in range(len(choice.options))
            if option != arch[i]
        ]
        self.rng.shuffle(changed)
        return [neighbour for neighbour in changed if self.problem.feasible(neighbour)]
