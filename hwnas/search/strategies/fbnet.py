"""FBNet (Wu et al. 2019, arXiv:1812.03443): Gumbel-softmax masks over all options, and latency in the loss.

Every forward pass draws masks m = softmax((log p + G)/τ) and runs all options weighted by them (section 3.3). An epoch
has two phases: the weights descend the cross-entropy on their split, then α descends, on the search split (eq. 2),
    CE(a, w) · α·log(LAT(a))^β        LAT = Σ m · ms        α 0.2, β 0.6
while τ falls by equal factors (5 · 0.956^epoch in the paper, 90 epochs) and the first ten epochs train weights alone.

Deviations: the default latency term is our multiplier, with the budget as its target. `latency: {kind: mul-log,
strength: 0.6}` is the paper's loss but for a constant factor, (log of the budget)^−β, which α's Adam divides out (its
weight decay does not). The second phase is the last fifth of an epoch, a step at least (the paper splits 80 to 20), one
α step after each weight step, so weights go on learning in it. LAT is taken under p and not under m, whose noise says
nothing of latency. The network is the exact projection onto the budget, where the paper samples several.
"""

import torch
from pydantic import Field
from torch import Tensor

from hwnas.search.problem import Problem
from hwnas.search.strategies._annealed import Annealed, AnnealedSettings
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf


class FbnetSettings(AnnealedSettings):
    """The paper's rate is 0.01, its weight decay 5e-4."""

    weight_decay: float = Field(default=5e-4, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    tau_start: float = Field(default=5.0, gt=0)
    tau_end: float = Field(default=0.09, gt=0)
    second_phase: float = Field(default=0.2, gt=0, le=1)
    """The share of an epoch in which α is learned."""


class Fbnet(Annealed):
    Settings = FbnetSettings

    def __init__(self, problem: Problem, settings: FbnetSettings, epochs: int) -> None:
        super().__init__(problem, settings, epochs)
        self.second_phase = settings.second_phase
        self.progress, self.step = float("nan"), float("nan")
        """In epochs: where a weight step begins, and how long it is."""

    def gates(self, generator: torch.Generator) -> Gates:
        return self.mixture(self.sample(generator).detach())

    def update(self, loss_of: LossOf, progress: float, generator: torch.Generator) -> None:
        self.step, self.progress = progress - self.progress, progress
        super().update(loss_of, progress, generator)

    def due(self, progress: float) -> bool:
        # By the weight step's end: an epoch may have so few that none begins in the phase. (The length of the very
        # first step is not known: it is within.)
        before = progress % 1 + self.step <= 1 - self.second_phase + 1e-9
        return super().due(progress) and not before

    def learn(self, loss_of: LossOf, generator: torch.Generator) -> None:
        loss = self.total(loss_of(self.mixture(self.sample(generator))))
        self.logits.step(torch.autograd.grad(loss, self.logits.alpha)[0])

    def state(self) -> dict[str, Tensor]:
        return super().state() | {"progress": torch.tensor(self.progress, dtype=torch.float64)}

    def load_state(self, state: dict[str, Tensor]) -> None:
        super().load_state(state)
        self.progress = float(state["progress"])
