"""The sandwich rule with in-place distillation (BigNAS, Yu et al. 2020, arXiv:2003.11142, sections 3.1 and 3.2).

One update: the largest network, two random ones and the smallest, on the same batch, their gradients summed:
    L = CE(labels, p_largest) + Σ CE(stop-gradient(p_largest), p_other)      over the other three
The cross-entropy with the largest one's probabilities has the gradient of the paper's Kullback–Leibler divergence.

Largest and smallest are by multiply-accumulates, exact: an integer program over the space's operators. Where several
networks tie (NAS-Bench-201: skip, pooling and nothing cost none, 729 of its cells are smallest), one is drawn each time
by redrawing every choice among the options that keep the sum: uniform where the operators hang on one choice each.
A space whose networks do not contain each other (again NAS-Bench-201) has a largest network, but no good reason to
expect it to be the best teacher.
"""

from itertools import cycle

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hwnas.core.arch import Arch
from hwnas.latency.additive import Additive
from hwnas.operators.costs import macs
from hwnas.search.estimators._uniform import Uniform
from hwnas.search.projection import extreme
from hwnas.spaces import Gates, Space, single_path
from hwnas.training.network import Loss

_RANDOM = 2
"""The paper's number."""


class Sandwich(Uniform):
    def __init__(self, space: Space) -> None:
        super().__init__(space)
        self.space = space
        self.macs = Additive(space, np.array([macs(conditional.spec) for conditional in space.operators()]))
        largest, smallest = (extreme(space, self.macs, cheapest) for cheapest in (False, True))
        self.turns = cycle([largest, *[None] * _RANDOM, smallest])
        """None: a random one. An update takes a whole turn."""

    @property
    def passes(self) -> int:
        return _RANDOM + 2

    def criterion(self, loss: Loss) -> Loss:
        return Distilled(loss)

    def gates(self, generator: torch.Generator) -> Gates:
        end = next(self.turns)
        return super().gates(generator) if end is None else single_path(self._equal(end, generator))

    def _equal(self, arch: Arch, generator: torch.Generator) -> Arch:
        """A network of exactly as many multiply-accumulates."""
        most = self.macs.sum(arch)
        for choice, width in enumerate(self.widths):
            others = [(*arch[:choice], option, *arch[choice + 1 :]) for option in range(width)]
            sums = self.macs.sum_many(np.array(others))
            equal = [other for other, total in zip(others, sums, strict=True) if total == most]
            equal = [other for other in equal if self.space.valid(other)]
            arch = equal[int(torch.randint(len(equal), (1,), generator=generator))]
        return arch


class Distilled:
    """The first path learns from the labels, those behind it from what it predicted."""

    def __init__(self, loss: Loss) -> None:
        self.loss = loss
        self.taught: Tensor | None = None

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.taught is None:
            self.taught = logits.detach().float().softmax(dim=1)
            return self.loss(logits, labels)
        return F.cross_entropy(logits, self.taught)
