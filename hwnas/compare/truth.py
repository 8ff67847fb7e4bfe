"""What published accuracies say of a network found, once every search is over."""

from dataclasses import replace

from hwnas.compare.outcome import Outcome
from hwnas.compare.work import known
from hwnas.core.arch import Arch
from hwnas.run.config import RunConfig
from hwnas.search.problem import Problem
from hwnas.spaces import every_arch

_MOST = 1_000_000
"""Networks of a space that are all looked at for the best within the budget."""


class Truth:
    """Of one budget. The only reader of the column that may be the test's."""

    def __init__(self, problem: Problem, config: RunConfig) -> None:
        estimator = known(config).estimator
        assert estimator is not None
        self._table, self.best = estimator.truth(), None
        if problem.space.size() <= _MOST and problem.latency.is_quick:
            archs = every_arch(problem.space)
            best = self._table.best(map(tuple, archs[problem.feasible_many(archs)].tolist()))
            self.best = None if best is None else self._table.accuracy(best)

    def accuracy(self, arch: Arch) -> float:
        return self._table.accuracy(arch)

    def progress(self, outcome: Outcome, steps: int) -> list[float]:
        """[steps]: the accuracy of the best so far, after every query."""
        changes = dict(outcome.incumbents)
        found = [0.0]
        for step in range(1, steps + 1):
            found.append(self.accuracy(changes[step]) if step in changes else found[-1])
        return found[1:]

    def judged(self, outcome: Outcome) -> Outcome:
        found = self.accuracy(outcome.arch)
        return replace(outcome, accuracy=found, regret=None if self.best is None else self.best - found)
