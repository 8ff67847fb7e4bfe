"""Train a child for a few epochs from its parent's weights: from every weight whose shape matches (large-scale
evolution, Real et al. 2017, arXiv:1703.01041, section 3.3, weight inheritance).

Its weights are kept beside the run's checkpoints, for its own children; those of the best are an already trained
network. Asked by a strategy that names no parents, it trains each network from scratch.
"""

from pathlib import Path

import torch
from pydantic import Field
from torch import nn

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.seeds import derive
from hwnas.search.estimators import Estimator, Means
from hwnas.search.trial import Upbringing
from hwnas.training import checkpoint
from hwnas.training.network import Diverged, score, train


class InheritedSettings(Settings):
    epochs: int | None = Field(default=None, ge=1)
    """Of each child. None: the search's epochs, shared among its trials."""


class Inherited(Estimator):
    Settings = InheritedSettings

    def __init__(self, means: Means, settings: InheritedSettings) -> None:
        self.means = means
        self.each = settings.epochs or max(1, means.recipe.epochs // means.trials)

    def accuracy(self, arch: Arch) -> float:
        return self._trained(self._built(arch, *arch), 1.0, *arch)

    def raised(self, arch: Arch, upbringing: Upbringing) -> float:
        """A child that diverges is worth nothing, and keeps the weights it began with."""
        network = self._built(arch, upbringing.number)
        if upbringing.parent is not None:
            inherit(network, self._weights_of(upbringing.parent))
        before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
        try:
            found = self._trained(network, upbringing.rate, upbringing.number)
        except Diverged:
            network.load_state_dict(before)
            found = 0.0
        self.means.device.ranks.save(
            self._path(upbringing.number), {"model": network.state_dict()}, {"arch": list(arch)}
        )
        return found

    def epochs(self, queries: int) -> int:
        return queries * self.each

    def _built(self, arch: Arch, *name: int) -> nn.Module:
        torch.manual_seed(derive(self.means.seed, "weights", *name) % 2**63)
        return self.means.space.build(arch)

    def _trained(self, network: nn.Module, rate: float, *name: int) -> float:
        m = self.means
        recipe = m.recipe.model_copy(update={"epochs": self.each, "learning_rate": rate * m.recipe.learning_rate})
        seed = derive(m.seed, "inherited", *name)
        train(network, m.data.weights, recipe, m.device, seed, f"train {self.each} epochs", loss=m.loss)
        return score(network, m.data.search, m.device)

    def _weights_of(self, number: int) -> checkpoint.Tensors:
        path = self._path(number)
        found = self.means.device.ranks.load(path)
        if found is None:
            raise BadInput(f"{path} is gone: other networks were to go on from its weights", "choose another --out")
        return found[0]["model"]

    def _path(self, number: int) -> Path:
        return self.means.checkpoints / f"weights-{number}.safetensors"


def inherit(network: nn.Module, weights: checkpoint.Tensors) -> None:
    """Every weight of the same name and shape."""
    own = network.state_dict()
    kept = {key: tensor for key, tensor in weights.items() if key in own and own[key].shape == tensor.shape}
    network.load_state_dict(own | kept)
