"""Train each network from scratch for a few epochs, with the whole learning-rate schedule squeezed into them."""

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.search.estimators import Estimator, Means
from hwnas.search.estimators._scratch import trained_accuracy


class EarlyStopSettings(Settings):
    epochs: int | None = Field(default=None, ge=1)
    """None: the search's epochs, shared among its trials."""


class EarlyStop(Estimator):
    Settings = EarlyStopSettings

    def __init__(self, means: Means, settings: EarlyStopSettings) -> None:
        self.means = means
        self.recipe = means.recipe.model_copy(update={"epochs": settings.epochs or means.epochs_each})

    def accuracy(self, arch: Arch) -> float:
        m = self.means
        label = f"train {self.recipe.epochs} epochs"
        return trained_accuracy(m, m.space, arch, m.data.weights, self.recipe, label)

    def epochs(self, queries: int) -> int:
        return queries * self.recipe.epochs
