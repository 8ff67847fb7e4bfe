"""DARTS (Liu, Simonyan & Yang 2019, arXiv:1806.09055): every option runs, weighted by p = softmax(α).

Weight step: descend ∇w L_train(w, α). Architecture step, on the search split:
    order 1    ∇α L_val(w, α)
    order 2    ∇α L_val(w', α) − ξ ∇²αw L_train(w, α) · ∇w' L_val(w', α)        w' one weight step ahead  (eq. 7)
the product of which is a finite difference, v being ∇w' L_val(w', α), w± = w ± εv and ε = 0.01/‖v‖₂:
    (∇α L_train(w+, α) − ∇α L_train(w−, α)) / 2ε                                                           (eq. 8)
As in the authors' code, w' is a step of the weights' own optimizer: with d = ∇w L_train + decay·w and momentum m,
w' = w − ξ(d + μ·m), or where that is Nesterov's (our recipes' is) w' = w − ξ(d + μ·(d + μ·m)), and eq. 7 has ξ(1 + μ).

Deviations: α is learned after a weight step, not before it, and w' is one more step on the same batch, never clipped;
batch norms keep their learned scale, which a standalone network has, where the paper switches it off for the search (as
does benchmarks/weight_sharing.py); the latency term and the exact projection onto the budget are ours (DARTS has no
budget, and takes per choice the most probable option). The paper: 50 epochs, rate 3e-4; ours are tens of epochs of
fewer steps, so the rate is higher. It tends to collapse to operators without weights (`collapse.py` tells), and holds
every option's activations at once.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from hwnas.core.config import Settings
from hwnas.search.latency_term import LatencyTerm, LatencyTermSettings
from hwnas.search.problem import Problem
from hwnas.search.strategies._factorised import Factorised
from hwnas.spaces import Gates
from hwnas.training.supernet import LossOf


class DartsSettings(Settings):
    order: Literal[1, 2] = 1
    """2 takes two to three times as long as 1."""
    learning_rate: float = Field(default=0.03, gt=0)
    weight_decay: float = Field(default=1e-3, ge=0)
    """Of α, as in the paper."""
    warmup: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of the epochs in which only weights are trained (paper: none)."""
    every: int = Field(default=1, ge=1)
    latency: LatencyTermSettings = LatencyTermSettings()


class Darts(Factorised):
    Settings = DartsSettings

    def __init__(self, problem: Problem, settings: DartsSettings, epochs: int) -> None:
        s, term = settings, LatencyTerm(settings.latency, problem.limit_ms)
        super().__init__(problem, s.learning_rate, s.warmup * epochs, s.every, term, 0.5, s.weight_decay)
        self.settings = settings

    def gates(self, generator: torch.Generator) -> Gates:
        return self.mixture(self.logits.probabilities())

    def learn(self, loss_of: LossOf, generator: torch.Generator) -> None:
        if self.settings.order == 2:
            gradient = self.unrolled(loss_of)
        else:
            gradient = torch.autograd.grad(self.total(loss_of(self.relaxed())), self.logits.alpha)[0]
        self.logits.step(gradient)

    def relaxed(self) -> Gates:
        """As a function of α."""
        return self.mixture(torch.softmax(self.logits.alpha, dim=1))

    def unrolled(self, loss_of: LossOf) -> Tensor:
        """[choices, most options]: eq. 7. The weights are afterwards as they were."""
        alpha, weights = self.logits.alpha, [weight for weight, _ in _weights(loss_of.optimizer)]
        group = loss_of.optimizer.param_groups[0]
        xi = group["lr"]
        reach = xi * (1 + group["momentum"] * group["nesterov"])  # −∂w'/∂(∇w L_train)
        here = [weight.detach().clone() for weight in weights]

        _set(weights, _along(here, _next_step(loss_of, self.relaxed()), -xi))
        loss = self.total(loss_of(self.relaxed()))
        direct, *v = torch.autograd.grad(loss, [alpha, *weights], materialize_grads=True)
        loss_of.averaged(v)
        epsilon = 0.01 / max(1e-12, _norm(v))
        # Both before either is used: a captured CUDA graph writes every gradient to the same place.
        apart = [_along(here, v, sign * epsilon) for sign in (1, -1)]
        slopes = []
        for values in apart:
            _set(weights, values)
            slopes.append(torch.autograd.grad(loss_of.again(self.relaxed()), alpha, materialize_grads=True)[0])
        _set(weights, here)
        return direct - reach * (slopes[0] - slopes[1]) / (2 * epsilon)


def _weights(optimizer: torch.optim.SGD) -> list[tuple[Tensor, dict[str, Any]]]:
    """Those that are trained, each with its group's settings."""
    return [(w, group) for group in optimizer.param_groups for w in group["params"] if w.requires_grad]


def _next_step(loss_of: LossOf, gates: Gates) -> list[Tensor]:
    """What the optimizer would take from each of the weights, over its rate."""
    trained = _weights(loss_of.optimizer)
    gradients = torch.autograd.grad(loss_of.again(gates), [weight for weight, _ in trained], materialize_grads=True)
    loss_of.averaged(gradients)
    steps = []
    for gradient, (weight, group) in zip(gradients, trained, strict=True):
        step = gradient + group["weight_decay"] * weight.detach()
        momentum = loss_of.optimizer.state.get(weight, {}).get("momentum_buffer")
        moved = step if momentum is None else step + group["momentum"] * momentum
        steps.append(step + group["momentum"] * moved if group["nesterov"] else moved)
    return steps


def _norm(parts: Sequence[Tensor]) -> float:
    return torch.stack([part.double().square().sum() for part in parts]).sum().sqrt().item()


def _along(origin: Sequence[Tensor], direction: Sequence[Tensor], distance: float) -> list[Tensor]:
    return [start + distance * part for start, part in zip(origin, direction, strict=True)]


@torch.no_grad()
def _set(weights: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for weight, value in zip(weights, values, strict=True):
        weight.copy_(value)
