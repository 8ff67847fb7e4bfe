"""GDAS (Dong & Yang 2019, arXiv:1910.04465): one path forward, its gradient that of a Gumbel-softmax sample.

Architecture step, on the search split: z = softmax((log p + G)/τ), and per choice only the option i of the largest z
runs, its gate being 1 in the forward pass and z_i in the backward pass (straight-through, section 3.2):
    ∂L/∂α_j = ∂L/∂g_i · z_i (δ_ij − z_j) / τ
so that a step costs the memory and time of one network. τ falls linearly from 10 to 0.1.
Weight step: one path sampled from p, which is the largest of log p + G (the Gumbel-max trick).

Deviations: the authors' code also adds the gates that do not run, as scalars of value 0, to the sum, which gives them a
gradient ΣᵢΣ∂L/∂y that no equation of the paper has; we leave them out. The latency term and the exact projection
onto the budget are ours. The paper's rate is 3e-4 over 250 epochs.
"""

import torch
from pydantic import Field

from hwnas.search.strategies._annealed import Annealed, AnnealedSettings
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf


class GdasSettings(AnnealedSettings):
    tau_start: float = Field(default=10.0, gt=0)
    tau_end: float = Field(default=0.1, gt=0)


class Gdas(Annealed):
    Settings = GdasSettings

    def annealed(self, done: float) -> float:
        return self.settings.tau_start + (self.settings.tau_end - self.settings.tau_start) * done

    def learn(self, loss_of: LossOf, generator: torch.Generator) -> None:
        loss = self.total(loss_of(self.hard(generator)))
        self.logits.step(torch.autograd.grad(loss, self.logits.alpha)[0])

    def hard(self, generator: torch.Generator) -> Gates:
        """One option a choice. Its gate is exactly 1: z − z is 0 in floating point, where 1 − z + z may not be 1."""
        z, i = self.sample(generator).max(dim=1)
        gates = 1.0 + (z - z.detach())
        widths = self.logits.widths
        return {c: {int(i[c]): gates[c] if width > 1 else None} for c, width in enumerate(widths)}
