"""Does the exported file compute what the trained network computes?"""

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.core.errors import VerificationFailed
from hwnas.runtimes import Runtime


def corner_cases(samples: Tensor) -> Tensor:
    """Real samples with all-zero, all-one and ten times too large inputs behind them."""
    first = samples[:1]
    return torch.cat([samples, torch.zeros_like(first), torch.ones_like(first), 10 * first])


@torch.no_grad()
def logits_of(network: nn.Module, samples: Tensor) -> Tensor:
    """fp32 on the CPU."""
    return network.cpu().eval()(samples)


def worst_difference(runtime: Runtime, model: bytes, samples: Tensor, logits: Tensor) -> float:
    """Largest |difference| of any logit, over all samples at once and one by one (batch 1 takes other kernels).

    NaN when there is one anywhere, infinite when the shapes differ: both fail `require_parity`.
    """
    session = runtime.load(model)
    try:
        inputs = samples.contiguous().numpy()
        together = session.infer(inputs)
        alone = np.concatenate([session.infer(inputs[i : i + 1]) for i in range(len(inputs))])
    finally:
        session.close()
    expected = logits.numpy()
    if not together.shape == alone.shape == expected.shape:
        return float("inf")
    return float(np.abs(np.stack([together, alone]) - expected).max())


def require_parity(difference: float, tolerance: float, scale: float, filename: str) -> None:
    """`scale`: the largest |logit|; tolerance is relative to it above 1. Raises VerificationFailed."""
    if not difference <= tolerance * max(1.0, scale):
        raise VerificationFailed(
            f"{filename} differs from the trained network by {difference:.2g} (allowed {tolerance:.2g})",
            "report this network: the exporter or the runtime is wrong",
        )
