"""Train a smaller copy of each network from scratch: the same choices, fewer channels and cells (`Space.narrowed`).

As NASNet does (Zoph et al., arXiv:1707.07012), which searches cells on a small skeleton and enlarges the winner.
"""

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.search.estimators import Estimator, Means
from hwnas.search.estimators._scratch import trained_accuracy


class NarrowSettings(Settings):
    share: float = Field(default=0.5, gt=0, lt=1)
    """Of the channels, and of the cells where a space repeats them."""
    epochs: int | None = Field(default=None, ge=1)
    """None: what costs as much as the search's epochs, shared among its trials."""


class Narrow(Estimator):
    """Raises BadInput where the space does not say how it is made smaller."""

    Settings = NarrowSettings

    def __init__(self, means: Means, settings: NarrowSettings) -> None:
        self.means, self.space = means, means.space.narrowed(settings.share)
        reference = means.space.reference()
        self.cost = self.space.macs(reference) / means.space.macs(reference)
        epochs = settings.epochs or max(1, round(means.epochs_each / self.cost))
        self.recipe = means.recipe.model_copy(update={"epochs": epochs})

    def accuracy(self, arch: Arch) -> float:
        label = f"train {self.recipe.epochs} epochs, narrow"
        return trained_accuracy(self.means, self.space, arch, self.means.data.weights, self.recipe, label)

    def epochs(self, queries: int) -> float:
        """An epoch counts as the share of multiply-accumulates that the hand-made network has left."""
        return queries * self.recipe.epochs * self.cost
