"""SNAS (Xie et al. 2019, arXiv:1812.09926): weights and architecture descend ONE loss, in the same backward pass.

Every step draws z = softmax((log α + G)/τ) per choice (the concrete relaxation), runs all options weighted by z,
and descends on the training data
    E_z [ L_w(z) + η·C(z) ]
in w and α together; τ falls from 1 to 0.03, so that the mixture ends as the one-hot sample that will be built. There is
no second level and no search split: the whole point against DARTS, whose child network is not what was trained.

The weight step's backward pass reaches α through its gates, and the update takes the gradient from there.

Deviations: the paper's log α is log p here, the same but for what the softmax divides out; C(z), which has z's noise,
is its expectation E[latency] under p, entering as any of our latency terms; the network is the exact projection onto
the budget, and the search split compares projections at the end. The paper's rate is 3e-4 over 150 epochs.
"""

from typing import Literal

import torch
from pydantic import Field

from hwnas.search.strategies._annealed import Annealed, AnnealedSettings
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf


class SnasSettings(AnnealedSettings):
    every: Literal[1] = 1
    """One level: each weight step is an architecture step."""
    tau_start: float = Field(default=1.0, gt=0)
    tau_end: float = Field(default=0.03, gt=0)


class Snas(Annealed):
    Settings = SnasSettings

    def gates(self, generator: torch.Generator) -> Gates:
        self.logits.alpha.grad = None
        return self.mixture(self.sample(generator))

    def learn(self, loss_of: LossOf, generator: torch.Generator) -> None:
        gradient = self.logits.alpha.grad
        if gradient is None:
            return  # a space of single options
        # A surrogate with the value and the gradient that the weight step found lets any latency term join them.
        alpha = self.logits.alpha.masked_fill(self.logits.absent, 0.0)
        cross_entropy = loss_of.taken.double().cpu() + (gradient * (alpha - alpha.detach())).sum()
        self.logits.step(torch.autograd.grad(self.total(cross_entropy), self.logits.alpha)[0])
