"""Train each network from scratch for a few epochs, with the whole learning-rate schedule squeezed into them."""

import torch
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.progress import warn
from hwnas.core.seeds import derive
from hwnas.search.estimators import Estimator, Means
from hwnas.training.network import Diverged, score, train


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
        try:
            train(network, m.data.weights, self.recipe, m.device, derive(m.seed, "early stop"), label, loss=m.loss)
        except Diverged as error:  # some recurrent cells do: one of them is no reason to end a search
            warn(f"{error.what}; it counts as 0 % right")
            return 0.0
        return score(network, m.data.search, m.device)

    def epochs(self, queries: int) -> int:
        return queries * self.recipe.epochs
