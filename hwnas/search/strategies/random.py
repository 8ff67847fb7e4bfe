"""Random search under the hard budget, each network trained on its own: the baseline every search has to beat.

It gets what the searches get: `trials` networks share the search's training epochs (Li & Talwalkar, arXiv:1902.07638).
"""

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import stream
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer


class RandomSettings(Settings):
    trials: int = Field(default=6, ge=1)


class Random(Proposer):
    Settings = RandomSettings
    estimator = "early-stop"

    def __init__(self, problem: Problem, settings: RandomSettings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "random")

    @property
    def trials(self) -> int:
        return self.settings.trials

    def outstanding(self, workers: int) -> int:
        return self.trials  # it never listens

    def ask(self) -> Arch:
        return self.problem.sample(self.rng)
