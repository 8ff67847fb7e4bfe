"""Batch-norm statistics belong to one path: shared weights need them estimated anew before they are judged (SPOS)."""

import contextlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from hwnas.training.compute import Device
from hwnas.training.joint_norm import joined


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


@torch.no_grad()
def reestimate(network: nn.Module, norms: list[nn.BatchNorm2d], inputs: Iterable[Tensor], device: Device) -> None:
    """Replace the running statistics by the plain average over `inputs` ([n, channels, height, width] each); of several
    ranks, each gives its slices of the same batches."""
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch: a cumulative average
    network.train()
    try:
        with joined(network, device.ranks):
            for x in inputs:
                with device.autocast():
                    network(x.to(device.torch))
    finally:
        network.eval()
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


@contextlib.contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Whatever runs inside, the buffers are as before afterwards (an architecture step must not touch them)."""
    buffers = list(network.buffers())
    saved = [torch.empty_like(buffer) for buffer in buffers]
    _copy(saved, buffers)
    try:
        yield
    finally:
        _copy(buffers, saved)


@torch.no_grad()
def _copy(into: list[Tensor], tensors: list[Tensor]) -> None:
    """All at once: on a GPU, a launch for each of a supernet's buffers takes longer than its step."""
    if into:
        torch._foreach_copy_(into, tensors)  # type: ignore[reportPrivateImportUsage]
