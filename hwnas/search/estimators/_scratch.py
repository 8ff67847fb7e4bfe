"""A network trained from scratch by some recipe, and judged on the search split."""

import torch

from hwnas.core.arch import Arch
from hwnas.core.progress import warn
from hwnas.core.seeds import derive
from hwnas.search.estimators import Means
from hwnas.spaces import Space
from hwnas.training.data import Split
from hwnas.training.network import Diverged, score, train
from hwnas.training.settings import Recipe


def fresh(means: Means, space: Space, arch: Arch) -> torch.nn.Module:
    """The same initial weights for one seed and architecture, whoever asks."""
    torch.manual_seed(derive(means.seed, "weights", arch) % 2**63)
    return space.build(arch)


def trained_accuracy(means: Means, space: Space, arch: Arch, split: Split, recipe: Recipe, label: str) -> float:
    network = fresh(means, space, arch)
    try:
        train(network, split, recipe, means.device, derive(means.seed, "early stop"), label, loss=means.loss)
    except Diverged as error:  # some recurrent cells do: one of them is no reason to end a search
        warn(f"{error.what}; it counts as 0 % right")
        return 0.0
    return score(network, means.data.search, means.device)
