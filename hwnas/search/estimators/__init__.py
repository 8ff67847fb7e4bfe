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
    """What an estimator may use. `trials`: how many architectures it will be asked about; all of them together should
    train no longer than `recipe.epochs`. It sees the weights and search splits; the test split is sealed."""

    space: Space
    data: Data
    recipe: Recipe
    device: Device
    seed: int
    trials: int
    checkpoints: Path
    loss: Loss | None = None


class Estimator(ABC):
    Settings: ClassVar[type[Settings]]
    looks_up: ClassVar[bool] = False
    """Whether it knows the answers without data and weights, of `means` only the space."""

    @abstractmethod
    def __init__(self, means: Means, settings: Any) -> None: ...

    def prepare(self) -> None:
        """Long work before the first question, resumable."""

    @abstractmethod
    def accuracy(self, arch: Arch) -> float:
        """Estimated fraction right on the search split, 0 to 1."""

    def raised(self, arch: Arch, upbringing: Upbringing) -> float:
        """As `accuracy`, of a network whose training its strategy decides. What does not train has no use for that."""
        return self.accuracy(arch)

    def epochs(self, queries: int) -> int | None:
        """Trained for so many questions, all networks together; None where nothing is trained here."""
        return None
