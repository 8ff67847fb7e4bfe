"""Large-scale evolution (Real et al. 2017, arXiv:1703.01041, section 3): from trivial networks to trained ones.

    while trials are left:  two individuals are drawn;  the worse dies, the better stays and reproduces:
                            child = mutate(better), trained from every weight whose shape matches (`inherited`)

The 11 mutations, drawn uniformly: of the training, alter the learning rate (to between half and twice), identity (go on
training), reset the weights; of the network, insert or remove a convolution, alter stride, number of channels or filter
size, insert one-to-one, add or remove a skip. The result is an already trained network: the best individual's weights
stay beside the run's checkpoints. The budget is hard: a child over it is drawn again.
Deviations: a mutation of the network changes a choice of the sort it names, as far as the space says what its choices
decide (`Choice.decides`; `chain` does), and any choice where it does not; an inserted one-to-one is a convolution like
any other, no identity. The trivial start is the fastest network of the space. It is trained once, not once for each of
a population of equals: until that is full, nobody dies. A child's few epochs end at a low rate (the recipe's cosine).
The network that is shipped is trained anew by the run's recipe, like every winner it is compared with.
"""

from collections import deque
from random import Random
from typing import NamedTuple

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import stream
from hwnas.search.problem import Problem
from hwnas.search.strategies import Proposer
from hwnas.search.trial import Trial, Upbringing
from hwnas.spaces import Space

_TRAINING = ("alter learning rate", "identity", "reset weights")
_NETWORK: dict[str, tuple[str, int | None]] = {
    "insert convolution": ("depth", 1),
    "insert one-to-one": ("depth", 1),
    "remove convolution": ("depth", -1),
    "alter stride": ("stride", None),
    "alter number of channels": ("width", None),
    "filter size": ("kernel", None),
    "add skip": ("skip", 1),
    "remove skip": ("skip", -1),
}
"""The sort of choice that a mutation changes, and to the option how far away; None: to any other."""
_TRIES = 50


class LargeScaleEvolutionSettings(Settings):
    trials: int = Field(default=30, ge=1)
    population: int = Field(default=10, ge=2)
    """The paper's: 1000."""


class Individual(NamedTuple):
    trial: Trial
    upbringing: Upbringing


class LargeScaleEvolution(Proposer):
    Settings = LargeScaleEvolutionSettings
    estimator = "inherited"

    def __init__(self, problem: Problem, settings: LargeScaleEvolutionSettings) -> None:
        self.problem, self.settings = problem, settings
        self.rng = stream(problem.seed, "large-scale evolution")
        self.alive: list[Individual] = []
        self.asked = Upbringing(-1, None, 1.0)
        """Of the last one."""
        self.untold = deque[Upbringing]()

    @property
    def trials(self) -> int:
        return self.settings.trials

    def outstanding(self, workers: int) -> int:
        return workers - 1 if self.alive else 0  # the trivial start is trained once

    def ask(self) -> Arch:
        number = self.asked.number + 1
        if not self.alive:
            self._raise(Upbringing(number, None, 1.0))
            return self.problem.cheapest
        parent = self._winner()
        arch, rate, heir = parent.trial.arch, parent.upbringing.rate, True
        mutation = self.rng.choice([*_TRAINING, *_NETWORK])
        if mutation == "alter learning rate":
            rate *= self.rng.uniform(0.5, 2.0)
        elif mutation == "reset weights":
            heir = False
        elif mutation in _NETWORK:
            arch = self._altered(arch, mutation)
        self._raise(Upbringing(number, parent.upbringing.number if heir else None, rate))
        return arch

    def _raise(self, upbringing: Upbringing) -> None:
        self.asked = upbringing
        self.untold.append(upbringing)

    def upbringing(self) -> Upbringing:
        return self.asked

    def tell(self, trial: Trial) -> None:
        upbringing = self.untold.popleft()
        if not trial.failed:  # it has no weights for children
            self.alive.append(Individual(trial, upbringing))

    def _winner(self) -> Individual:
        """Of two; the other one dies where the population is full."""
        pair = self.rng.sample(self.alive, min(2, len(self.alive)))
        better = max(pair, key=lambda individual: individual.trial.accuracy)
        if len(self.alive) >= self.settings.population:
            self.alive = [one for one in self.alive if one is better or one not in pair]
        return better

    def _altered(self, arch: Arch, mutation: str) -> Arch:
        """Another network within the budget, by this mutation or, where it cannot be, by another; or the same one."""
        space = self.problem.space
        for _ in range(_TRIES):
            child = mutated(space, arch, *_NETWORK[mutation], self.rng)
            if space.function(child) != space.function(arch) and self.problem.feasible(child):
                return child
            mutation = self.rng.choice([*_NETWORK])
        return arch


def mutated(space: Space, arch: Arch, sort: str, step: int | None, rng: Random) -> Arch:
    """With one choice of that sort changed, of any sort where the space has none of it; the same where none can be."""
    places = [i for i, choice in enumerate(space.choices) if choice.decides == sort]
    if not places:
        return space.mutate(arch, rng, 0.0)
    changes = [
        (i, option)
        for i in places
        for option in range(len(space.choices[i].options))
        if option != arch[i] and step in (None, option - arch[i])
    ]
    if not changes:
        return arch
    place, option = rng.choice(changes)
    return (*arch[:place], option, *arch[place + 1 :])
