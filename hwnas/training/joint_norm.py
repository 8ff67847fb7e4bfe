"""Batch norm over the batch of all ranks, so that several ranks compute what one computes (torch's SyncBatchNorm, which
there is for GPUs alone).

Every layer sends two small messages: forward each rank's mean and variance (means and variances of equal parts combine
exactly, and better than sums of squares), backward the sums of the gradient and of gradient · x̂:
    dx = w·s·(dy − Σdy/n − x̂·Σ(dy·x̂)/n)        s = 1/√(var + ε), x̂ = (x − mean)·s, n and Σ over all ranks
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.training.compute import Device
from hwnas.training.ranks import Ranks


def join(network: nn.Module, ranks: Ranks) -> list[nn.BatchNorm2d]:
    """From now on its batch norms are the ranks' together. Returns those that were not before."""
    if ranks.size == 1:
        return []
    apart = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and "forward" not in vars(m)]
    for norm in apart:
        norm.forward = partial(_forward, norm, ranks)  # type: ignore[method-assign]
    return apart


@contextlib.contextmanager
def joined(network: nn.Module, ranks: Ranks) -> Iterator[None]:
    """Inside only: what is exported, traced or shipped has plain ones."""
    norms = join(network, ranks)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def settle(network: nn.Module, device: Device) -> None:
    """Running statistics that each rank kept of its own slices become their mean."""
    if device.norm_ranks.size < device.ranks.size:
        device.ranks.average([buffer for buffer in network.buffers() if buffer.is_floating_point()])


def _forward(norm: nn.BatchNorm2d, ranks: Ranks, x: Tensor) -> Tensor:
    if not norm.training:
        return nn.BatchNorm2d.forward(norm, x)
    y, mean, var = _JointNorm.apply(x, norm.weight, norm.bias, norm.eps, ranks)  # type: ignore[misc]
    with torch.no_grad():
        count = ranks.size * x.numel() / x.shape[1]
        assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
        norm.num_batches_tracked += 1
        share = 1 / float(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(var * (count / (count - 1)), share)
    return y


class _JointNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, ranks: Ranks
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Also the mean and the (biased) variance, [channels]."""
        own = torch.batch_norm_update_stats(x, None, None, 0.0)  # many times as fast as var_mean on the CPU
        means, variances = ranks.gathered(torch.stack(own)).unbind(1)
        mean = means.mean(0)
        var = variances.mean(0) + (means - mean).square().mean(0)
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps, ctx.ranks = eps, ranks
        ctx.mark_non_differentiable(mean, var)
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps), mean, var

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = ctx.saved_tensors
        scale, count = torch.rsqrt(var + ctx.eps), ctx.ranks.size * x.numel() / x.shape[1]
        # As if the statistics were given …
        dx, dweight, dbias = torch.ops.aten.native_batch_norm_backward(
            gradients[0], x, weight, mean, var, mean, scale, False, ctx.eps, [True, True, True]
        )
        # … and what x does to them.
        sums = torch.stack((dweight, dbias))
        ctx.ranks.total(sums)
        slope = weight * scale.square() * sums[0] / count
        offset = weight * scale * sums[1] / count - mean * slope
        dx.sub_(offset[:, None, None]).addcmul_(x, slope[:, None, None], value=-1)
        return dx, dweight, dbias, None, None
