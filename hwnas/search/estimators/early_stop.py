"""Train each network from scratch for a few epochs, with the whole learning-rate schedule squeezed into them."""

import torch
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import derive
from hwnas.search.estimators import Estimator, Means
from hwnas.training.network import accuracy, train


class EarlyStopSettings(Settings):
    epochs: int | None = Field(default=None, ge=1)
    """None: the search's epochs, shared among its trials."""


class EarlyStop(Estimator):
    Settings = EarlyStopSettings

    def __init__(self, means: Means, settings: EarlyStopSettings) -> None:
        self.means = means
        epochs = settings.epochs or max(1, means.recipe.epochs // means.trials)
        self.recipe = means.recipe.model_copy(update={"epochs": epochs})

    def accuracy(self, arch: Arch) -> float:
        m = self.means
        torch.manual_seed(derive(m.seed, "weights", arch) % 2**63)
        network = m.space.build(arch)
        label = f"train {self.recipe.epochs} epochs"
        train(network, m.data.weights, self.recipe, m.device, derive(m.seed, "early stop"), label, loss=m.loss)
        return accuracy(network, m.data.search.plain(), m.device)

    def epochs(self, queries: int) -> int:
        return queries * self.recipe.epochs
