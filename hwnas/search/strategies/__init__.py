"""A strategy proposes architectures, or relaxes a supernet: two protocols. One file a strategy; it knows no device."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.search.problem import Problem
from hwnas.search.trial import Trial, Upbringing
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf


class Proposer(ABC):
    """Ask/tell. Deterministic in the problem's seed and what it was told, so that replaying a journal resumes it."""

    Settings: ClassVar[type[Settings]]
    estimator: ClassVar[str]
    """The estimator that judges its proposals unless another is configured."""

    @abstractmethod
    def __init__(self, problem: Problem, settings: Any) -> None: ...

    @property
    @abstractmethod
    def trials(self) -> int:
        """How many architectures it wants judged."""

    @abstractmethod
    def ask(self) -> Arch:
        """The next architecture, within the budget."""

    def upbringing(self) -> Upbringing | None:
        """How the last one asked for is to be trained; None leaves that to the estimator."""
        return None

    def tell(self, trial: Trial) -> None:
        """The outcome of the earliest proposal that was not told yet."""

    def outstanding(self, workers: int) -> int:
        """How many proposals may be without their outcome when it is asked for the next one, as its paper allows. 0: it
        needs them all."""
        return 0


class Relaxation(ABC):
    """A distribution over architectures, learned while a supernet's weights are trained."""

    Settings: ClassVar[type[Settings]]
    mixes: ClassVar[bool] = True
    """Whether its gates sum several options; where it runs single paths, spaces that cannot be mixed will do."""

    @abstractmethod
    def __init__(self, problem: Problem, settings: Any, epochs: int) -> None: ...

    @abstractmethod
    def gates(self, generator: torch.Generator) -> Gates:
        """The paths of one weight step. Where they hang on a parameter, that step's backward pass reaches it."""

    @abstractmethod
    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        """After every weight step; `progress` in epochs; `loss_of(gates)` is a loss on the search split."""

    @abstractmethod
    def scores(self) -> list[np.ndarray]:
        """Per choice, the log-probability of each option."""

    def drawn(self) -> list[Arch]:
        """Networks within the budget to compare at the end, beside the projections of `scores`."""
        return []

    @abstractmethod
    def facts(self) -> dict[str, float]:
        """What the journal keeps of an epoch."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]: ...

    @abstractmethod
    def load_state(self, state: dict[str, Tensor]) -> None: ...
