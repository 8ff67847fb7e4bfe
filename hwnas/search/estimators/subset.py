"""Train each network from scratch on a fraction of the images, of all classes alike, or of the text.

A pass is short, so that a network gets more of them for the same cost (by default as much as `early-stop` spends). All
are judged on the whole search split.
"""

from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.seeds import derive
from hwnas.search.estimators import Estimator, Means
from hwnas.search.estimators._scratch import trained_accuracy


class SubsetSettings(Settings):
    fraction: float = Field(default=0.25, gt=0, lt=1)
    epochs: int | None = Field(default=None, ge=1)
    """Passes over the fraction. None: what costs as much as the search's epochs, shared among its trials."""


class Subset(Estimator):
    """Raises BadInput where the fraction has fewer images than a batch or than there are classes."""

    Settings = SubsetSettings

    def __init__(self, means: Means, settings: SubsetSettings) -> None:
        self.means, whole = means, means.data.weights
        self.images = whole.part(round(settings.fraction * len(whole)), derive(means.seed, "subset"))
        self.share = len(self.images) / len(whole)
        epochs = settings.epochs or max(1, round(means.epochs_each / self.share))
        self.recipe = means.recipe.model_copy(update={"epochs": epochs})

    def accuracy(self, arch: Arch) -> float:
        label = f"train {self.recipe.epochs} epochs on {len(self.images)} images"
        return trained_accuracy(self.means, self.means.space, arch, self.images, self.recipe, label)

    def epochs(self, queries: int) -> float:
        """An epoch of a quarter of the images counts as a quarter."""
        return queries * self.recipe.epochs * self.share
