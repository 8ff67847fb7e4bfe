"""Inherit weights from a supernet trained on uniformly sampled single paths (SPOS, arXiv:1904.00420, section 3.2)."""

import torch
from torch import Tensor

from hwnas.core.arch import Arch
from hwnas.core.config import NoSettings
from hwnas.search.estimators import Estimator, Means
from hwnas.spaces import Gates, Space
from hwnas.training.supernet import LossOf
from hwnas.training.supernet import SharedWeights as Weights


class SharedWeights(Estimator):
    Settings = NoSettings

    def __init__(self, means: Means, settings: NoSettings) -> None:
        self.means = means
        self.weights = Weights(means.space, means.data, means.recipe, means.device, means.seed, means.loss)

    def prepare(self) -> None:
        self.weights.train(
            _Uniform(self.means.space), self.means.checkpoints / "supernet.safetensors", "train supernet"
        )

    def accuracy(self, arch: Arch) -> float:
        return self.weights.accuracy(arch)

    def epochs(self, queries: int) -> int:
        return self.means.recipe.epochs


class _Uniform:
    """Every option of every choice equally often."""

    def __init__(self, space: Space) -> None:
        self.widths = [len(choice.options) for choice in space.choices]

    def gates(self, generator: torch.Generator) -> Gates:
        options = (int(torch.randint(width, (1,), generator=generator)) for width in self.widths)
        return {choice: {option: None} for choice, option in enumerate(options)}

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        """Nothing is searched while the weights are trained."""

    def epoch_done(self, epoch: int) -> None: ...

    def state(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None: ...
