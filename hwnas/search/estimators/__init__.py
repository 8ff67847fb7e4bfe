"""An estimator says how good an architecture is, at some cost. One file an estimator."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.search.trial import Upbringing
from hwnas.spaces import Space
from hwnas.training.compute import Device
from hwnas.training.data import Data
from hwnas.training.network import Loss
from hwnas.training.settings import Recipe


@dataclass(frozen=True)
class Means:
    """What an estimator may use. `trials`: how many architectures it will be asked about. A full training is
    `recipe.epochs`: an estimator that squeezes the schedule shares them among its trials, one that keeps it trains each
    network for up to as many. It sees the weights and search splits; the test split is sealed."""

    space: Space
    data: Data
    recipe: Recipe
    device: Device
    seed: int
    trials: int
    checkpoints: Path
    loss: Loss | None = None

    @property
    def epochs_each(self) -> int:
        """One trial's share of the recipe's epochs."""
        return max(1, self.recipe.epochs // self.trials)


class Estimator(ABC):
    Settings: ClassVar[type[Settings]]
    looks_up: ClassVar[bool] = False
    """Whether it knows the answers without data and weights, of `means` only the space."""
    learns: ClassVar[bool] = False
    """Whether an answer depends on the questions before: no other process can give it."""
    lessons: int = 0
    """So many of its first questions it answers by a full training, to learn from."""
    seconds_found: float = 0.0
    """Of trainings that it did not repeat, because `means.checkpoints` held their outcome."""

    @abstractmethod
    def __init__(self, means: Means, settings: Any) -> None: ...

    def prepare(self) -> None:
        """Long work before the first question, resumable."""

    @abstractmethod
    def accuracy(self, arch: Arch) -> float:
        """Estimated fraction right on the search split, 0 to 1. What ranks without being an accuracy says so.


        One that learns from its questions keeps what it learned in `means.checkpoints`: a resumed search asks only for
        the rest, and gets the answers that it would have got.
        """

    def raised(self, arch: Arch, upbringing: Upbringing) -> float:
        """As `accuracy`, of a network whose training its strategy decides. What does not train has no use for that."""
        return self.accuracy(arch)

    def interval_90(self, arch: Arch) -> tuple[float, float] | None:
        """Where a full training of a network that it was asked about would end; None where it does not say."""
        return None

    def epochs(self, queries: int) -> float | None:
        """Trained for so many questions, all networks together, in epochs of the full data and full-size networks;
        None where nothing is trained here."""
        return None
