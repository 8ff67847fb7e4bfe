"""Judge networks before any training, by one batch: synflow, jacov, snip, grad-norm, naswot, or their vote.

The estimate is a place, not an accuracy: each proxy's score s is placed among those of `reference` random networks,
    place = 1/2 + z / (2 (1 + |z|)),    z = (s − median) / median |s − median|
and the vote is the mean place. Unlike a plain rank it still tells apart what is better than all the reference; what no
number comes out for has place 0. `search/proxies.py` has the proxies and their papers.
"""

from functools import cached_property
from random import Random
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from hwnas.core.arch import Arch
from hwnas.core.config import Settings
from hwnas.core.errors import BadInput
from hwnas.core.progress import Progress
from hwnas.core.seeds import derive
from hwnas.search.estimators import Estimator, Means
from hwnas.search.estimators._scratch import fresh
from hwnas.search.proxies import PROXIES
from hwnas.training.network import default_loss

Name = Literal["synflow", "jacov", "snip", "grad-norm", "naswot"]


class ZeroCostSettings(Settings):
    proxies: tuple[Name, ...] = ("synflow", "jacov", "snip", "grad-norm", "naswot")
    """Which vote; one alone decides."""
    batch: int = Field(default=64, ge=2)
    reference: int = Field(default=20, ge=3)


class ZeroCost(Estimator):
    Settings = ZeroCostSettings

    def __init__(self, means: Means, settings: ZeroCostSettings) -> None:
        if means.space.reads_text:
            raise BadInput("zero-cost proxies are of images: word numbers have no gradient", "estimator early-stop")
        self.means, self.settings = means, settings
        generator = torch.Generator().manual_seed(derive(means.seed, "zero-cost"))
        x, y = next(means.data.weights.epoch(min(settings.batch, len(means.data.weights)), generator))
        self.batch = x.to(means.device.torch), y.to(means.device.torch)
        self.loss = means.loss or default_loss(means.recipe)

    def prepare(self) -> None:
        _ = self.scale

    @cached_property
    def scale(self) -> tuple[np.ndarray, np.ndarray]:
        """Median and median deviation of each proxy over the reference networks."""
        rng, scores = Random(derive(self.means.seed, "zero-cost reference")), []
        with Progress("zero-cost: reference networks", self.settings.reference) as progress:
            for _ in range(self.settings.reference):
                scores.append(self.scores(self.means.space.random(rng)))
                progress.advance()
        found = np.array(scores)
        found[~np.isfinite(found)] = np.nan
        middle = np.nanmedian(found, axis=0)
        return middle, np.maximum(np.nanmedian(abs(found - middle), axis=0), 1e-12)

    def scores(self, arch: Arch) -> list[float]:
        """One of each proxy."""
        network = fresh(self.means, self.means.space, arch).to(self.means.device.torch)
        return [PROXIES[name](network, *self.batch, self.loss) for name in self.settings.proxies]

    def accuracy(self, arch: Arch) -> float:
        middle, spread = self.scale
        z = (np.array(self.scores(arch)) - middle) / spread
        places = np.where(np.isfinite(z), 0.5 + z / (2 * (1 + abs(z))), 0.0)
        return float(places.mean())

    def epochs(self, queries: int) -> float:
        """Every proxy counts one pass over its batch, of the reference networks as well."""
        passes = (queries + self.settings.reference) * len(self.settings.proxies)
        return passes * len(self.batch[0]) / len(self.means.data.weights)
