"""Inherit weights from a supernet trained on single paths (SPOS, arXiv:1904.00420, section 3.2).

How the paths are drawn is an option, one file each: `uniform` (SPOS's), `fair` (FairNAS's), `sandwich` (BigNAS's, with
in-place distillation). An epoch costs the same number of passes with any of them. docs/results/ranking.md has how well
each ranks networks.
"""

from typing import Literal

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.search.estimators import Estimator, Means
from hwnas.search.estimators._fair import Fair
from hwnas.search.estimators._sandwich import Sandwich
from hwnas.search.estimators._uniform import Uniform
from hwnas.training.supernet import SharedWeights as Weights

_PATHS = {"uniform": Uniform, "fair": Fair, "sandwich": Sandwich}


class SharedWeightsSettings(Settings):
    paths: Literal["uniform", "fair", "sandwich"] = "uniform"


class SharedWeights(Estimator):
    Settings = SharedWeightsSettings

    def __init__(self, means: Means, settings: SharedWeightsSettings) -> None:
        if settings.paths == "sandwich" and means.loss is not None:
            what = "the sandwich's paths learn from class probabilities, but this run has a loss of its own"
            raise BadInput(what, "--set estimator.paths=fair or uniform")
        self.means = means
        self.paths = _PATHS[settings.paths](means.space)
        self.weights = Weights(
            *(means.space, means.data, means.recipe, means.device, means.seed, means.loss),
            passes=self.paths.passes,
            criterion=self.paths.criterion,
        )

    def prepare(self) -> None:
        self.weights.train(self.paths, self.means.checkpoints / "supernet.safetensors", "train supernet")

    def accuracy(self, arch: Arch) -> float:
        return self.weights.accuracy(arch)

    def epochs(self, queries: int) -> int:
        return self.means.recipe.epochs
