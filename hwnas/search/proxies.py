"""Zero-cost proxies: what an untrained network's first pass tells of it. Each is one number, larger being better.

After Abdelfattah et al. (arXiv:2101.08134, section 3.1), as their code has it: sums over the weights of convolutions
and linear layers, at torch's initial weights, batch norm in training mode.
"""

from collections.abc import Callable
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.training.network import Loss

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.Hardswish, nn.SiLU)
_JITTER = 1e-5
"""k of Mellor et al.'s score of the Jacobian."""


def grad_norm(network: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> float:
    """Σ over layers of ‖∂L/∂w‖₂."""
    return sum(float(gradient.norm()) for _, gradient in _gradients(network, x, y, loss))


def snip(network: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> float:
    """Σ |w · ∂L/∂w|: what removing weights would change (Lee et al., arXiv:1810.02340, equation 4)."""
    return sum(float((weight * gradient).abs().sum()) for weight, gradient in _gradients(network, x, y, loss))


def synflow(network: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> float:
    """log₁₀ Σ w · ∂R/∂w, with R the sum of the outputs for an image of ones, all weights made positive (Tanaka et al.,
    arXiv:2006.05467, section 5). In float64, batch norm left out; −∞ where nothing flows."""
    positive = _without_batch_norm(deepcopy(network).double().eval())
    with torch.no_grad():
        for parameter in positive.parameters():
            parameter.abs_()
    # No autocast and no loss: the data are not looked at.
    positive(torch.ones_like(x[:1], dtype=torch.float64)).sum().backward()
    flow = sum(float((w.detach() * w.grad).sum()) for w in _weights(positive) if w.grad is not None)
    return float(np.log10(flow)) if flow > 0 else -np.inf


def jacov(network: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> float:
    """−Σ (log(v + k) + 1/(v + k)) over the eigenvalues v of the correlations between the images' input gradients
    (Mellor et al., arXiv:2006.04647, first version). −∞ where an image has none."""
    network.train()
    inputs = x.clone().requires_grad_()
    network(inputs).sum().backward()
    if inputs.grad is None:
        return -np.inf
    rows = inputs.grad.flatten(1).double().cpu().numpy()
    if (rows.std(axis=1) == 0).any():
        return -np.inf
    values = np.linalg.eigvalsh(np.corrcoef(rows)) + _JITTER
    values = np.maximum(values, _JITTER)  # rounding leaves some a little below zero
    return -float((np.log(values) + 1 / values).sum())


@torch.no_grad()
def naswot(network: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> float:
    """log |det K|, K[i, j] the number of rectifiers that images i and j switch alike (Mellor et al., arXiv:2006.04647,
    equation 3). −∞ where two images cannot be told apart."""
    network.train()
    alike = np.zeros((len(x), len(x)))

    def count(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        on = (inputs[0] > 0).flatten(1).float()
        nonlocal alike
        alike += (on @ on.T + (1 - on) @ (1 - on).T).double().cpu().numpy()

    hooks = [m.register_forward_pre_hook(count) for m in network.modules() if isinstance(m, _ACTIVATIONS)]
    try:
        network(x)
    finally:
        for hook in hooks:
            hook.remove()
    return float(np.linalg.slogdet(alike)[1])


Proxy = Callable[[nn.Module, Tensor, Tensor, Loss], float]
PROXIES: dict[str, Proxy] = {
    "synflow": synflow,
    "jacov": jacov,
    "snip": snip,
    "grad-norm": grad_norm,
    "naswot": naswot,
}


def ranks(scores: np.ndarray) -> np.ndarray:
    """[n, proxies] → [n]: the vote, each network's mean place among all, from 0 to 1; what is not finite comes last."""
    finite = np.where(np.isfinite(scores), scores, -np.inf)
    order = (finite[:, None] > finite[None]).sum(axis=1) + (finite[:, None] == finite[None]).sum(axis=1) / 2 - 0.5
    return order.mean(axis=1) / max(1, len(scores) - 1)


def _gradients(network: nn.Module, x: Tensor, y: Tensor, loss: Loss) -> list[tuple[Tensor, Tensor]]:
    network.train()
    network.zero_grad(set_to_none=True)
    loss(network(x), y).backward()
    return [(w.detach(), w.grad) for w in _weights(network) if w.grad is not None]


def _weights(network: nn.Module) -> list[Tensor]:
    return [m.weight for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]


def _without_batch_norm(network: nn.Module) -> nn.Module:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    return network
