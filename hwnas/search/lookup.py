"""A search whose answers are known already: asked and told in memory, thousands in minutes."""

from collections.abc import Callable

from hwnas.core.arch import Arch
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial


def look_up(
    strategy: Proposer,
    problem: Problem,
    accuracy: Callable[[Arch], float],
    goes_on: Callable[[list[Trial]], bool],
) -> list[Trial]:
    """Asks and tells while `goes_on`. `accuracy`: what the search sees, at once."""
    trials: list[Trial] = []
    while goes_on(trials):
        arch = strategy.ask()
        trials.append(problem.trial(arch, accuracy(arch)))
        strategy.tell(trials[-1])
    return trials
