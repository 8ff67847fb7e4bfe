"""ProxylessNAS, gradient variant (Cai, Zhu & Han 2019, arXiv:1812.00332, section 3.2 and appendix).

Weight step: one path sampled from p = softmax(α), trained on the weights split.
Architecture step, on the search split: per choice sample TWO options without replacement by p, renormalise q over the
pair, make one of them active (g = 1) by q, run both, and
    ∂L/∂α_i = Σ_j ∂L/∂g_j · q_j (δ_ij − q_i)        for i, j in the pair.
After the optimizer's step the pair is shifted so that the other options' probabilities do not move.

The latency enters in the pair (∂E/∂q_j), where it meets the accuracy gradient: Adam normalises, so an α that received a
latency gradient alone would move equally far for any weight of it. Deviations: the latency term is by default a learned
multiplier (`latency_term.py`; the paper's λ·E and the authors' mul-log form are settings), Zero's α is learned also
where Zero is active (the authors' code skips it), and the derived network is the exact projection onto the budget.
"""

import torch
from pydantic import Field
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.search.latency_term import LatencyTerm, LatencyTermSettings
from hwnas.search.problem import Problem
from hwnas.search.strategies._factorised import Factorised
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf


class ProxylessSettings(Settings):
    """The paper's search takes 160 epochs with α's rate 1e-3; ours takes tens, so the rate is higher."""

    learning_rate: float = Field(default=0.03, gt=0)
    warmup: float = Field(default=0.3, ge=0, lt=1)
    """Fraction of the epochs in which only weights are trained (paper: 40 of 160)."""
    every: int = Field(default=1, ge=1)
    """Weight steps between two architecture steps (authors: 5)."""
    latency: LatencyTermSettings = LatencyTermSettings()


class Proxyless(Factorised):
    Settings = ProxylessSettings

    def __init__(self, problem: Problem, settings: ProxylessSettings, epochs: int) -> None:
        term = LatencyTerm(settings.latency, problem.limit_ms)
        super().__init__(problem, settings.learning_rate, settings.warmup * epochs, settings.every, term)
        self.settings = settings

    def learn(self, loss_of: LossOf, generator: torch.Generator) -> None:
        pairs = self.logits.sample(generator, 2)
        old = self.logits.alpha.detach().gather(1, pairs)
        q = torch.softmax(old, dim=1)
        active = torch.multinomial(q, 1, generator=generator)[:, 0].tolist()

        # One-hot gates, leaves of the graph: their gradient is ∂L/∂g.
        leaves = [torch.eye(2)[a].unbind() for a in active]
        leaves = [tuple(g.clone().requires_grad_() for g in pair) for pair in leaves]
        gates: Gates = {
            choice: dict(zip(options, leaves[choice], strict=True)) if self.logits.widths[choice] > 1 else {0: None}
            for choice, options in enumerate(pairs.tolist())
        }
        cross_entropy = loss_of(gates)
        flat = [g for pair in leaves for g in pair]
        d_gates = torch.stack(torch.autograd.grad(cross_entropy, flat, materialize_grads=True)).reshape(-1, 2).double()

        gradient = self._alpha_gradient(old, d_gates, pairs, float(cross_entropy.detach()))
        self.logits.step(torch.zeros_like(self.logits.alpha).scatter(1, pairs, gradient))
        self._rescale(pairs, old)

    def _alpha_gradient(self, old: Tensor, d_gates: Tensor, pairs: Tensor, cross_entropy: float) -> Tensor:
        """[choices, 2]: of the whole loss, latency term included, in the pair's α.

        A surrogate whose value is the measured loss and whose gradient in q is the measured ∂L/∂g lets autograd apply
        the softmax's δ_ij − q_i and any latency term, products with the cross-entropy included.
        """
        alpha = old.clone().requires_grad_()
        q = torch.softmax(alpha, dim=1)
        surrogate = cross_entropy + (d_gates * (q - q.detach())).sum()
        spread = torch.zeros_like(self.logits.alpha.detach()).scatter(1, pairs, q)
        expected_ms = self.problem.expected_ms(self.logits.split(spread))
        return torch.autograd.grad(self.term.loss(surrogate, expected_ms), alpha)[0]

    @torch.no_grad()
    def _rescale(self, pairs: Tensor, old: Tensor) -> None:
        """Keep Σ exp(α) over the pair, hence every other probability, as it was."""
        new = self.logits.alpha.gather(1, pairs)
        shift = torch.logsumexp(new, 1, keepdim=True) - torch.logsumexp(old, 1, keepdim=True)
        self.logits.alpha.scatter_(1, pairs, new - shift)
