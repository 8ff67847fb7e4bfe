"""What gradient searches share: a distribution over independent choices, p = softmax(α), learned beside the weights."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hwnas.search.latency_term import LatencyTerm
from hwnas.search.problem import Problem
from hwnas.search.strategies import Relaxation
from hwnas.search.strategies._logits import Logits
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf


class Factorised(Relaxation):
    """`learn` is a method's own idea. It is called every `every` weight steps, once `warmup_epochs` are over. A weight
    step takes one path sampled from p, unless a method has other `gates`. `momentum`, `weight_decay`: of α's Adam.
    """

    def __init__(
        self,
        problem: Problem,
        learning_rate: float,
        warmup_epochs: float,
        every: int,
        term: LatencyTerm,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
    ) -> None:
        self.problem, self.warmup_epochs, self.every, self.term = problem, warmup_epochs, every, term
        self.logits = Logits(problem, learning_rate, momentum, weight_decay)
        self.steps = 0

    @abstractmethod
    def learn(self, loss_of: LossOf, generator: torch.Generator) -> None:
        """One architecture step."""

    def gates(self, generator: torch.Generator) -> Gates:
        return one_path(self.logits.sample(generator)[:, 0].tolist())

    def mixture(self, weights: Tensor) -> Gates:
        """Every option of every choice, by its weight. `weights`: [choices, most options]."""
        rows = enumerate(self.logits.split(weights))
        return {choice: dict(enumerate(row.unbind())) if len(row) > 1 else {0: None} for choice, row in rows}

    def total(self, cross_entropy: Tensor) -> Tensor:
        """The loss that α descends: the cross-entropy of its gates, and the latency term of E[latency] under p."""
        p = torch.softmax(self.logits.alpha, dim=1)
        return self.term.loss(cross_entropy.double().cpu(), self.problem.expected_ms(self.logits.split(p)))

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        self.steps += 1
        if self.due(progress):
            self.learn(loss_of, generator)
            self.term.observe(self.expected_ms())

    def due(self, progress: float) -> bool:
        """Whether α learns after this weight step."""
        return progress >= self.warmup_epochs and self.steps % self.every == 0

    def expected_ms(self) -> float:
        """E[latency] of a network drawn from the distribution."""
        return float(self.problem.expected_ms(self.logits.split(self.logits.probabilities())))

    def scores(self) -> list[np.ndarray]:
        return self.logits.scores()

    def facts(self) -> dict[str, float]:
        return {
            "expected": self.expected_ms(),
            "limit": self.problem.limit_ms,
            "entropy": self.logits.entropy(),
            "multiplier": self.term.multiplier,
        }

    def state(self) -> dict[str, Tensor]:
        counters = torch.tensor([self.steps, self.term.memory, self.term.multiplier], dtype=torch.float64)
        return self.logits.state() | {"counters": counters}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.logits.load_state(state)
        steps, self.term.memory, self.term.multiplier = state["counters"].tolist()
        self.steps = int(steps)


def one_path(options: Sequence[int]) -> Gates:
    return {choice: {int(option): None} for choice, option in enumerate(options)}
