"""Operators on the edges of DARTS's cell and of its relatives (arXiv:1806.09055, section 3.1.1), in the order ReLU,
convolution, batch norm; they keep the channels. `cell.py` holds its average pooling, its skip and its 1×1 convolution.

Several edges read the same node, so no activation works in place.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from hwnas.operators import operator


class FactorizedReduction(nn.Module):
    """Half the resolution in two halves of the channels, the second one reading a pixel further.

    Each half has its own batch norm, which is the paper's over both: so it folds into its convolution.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.even = _halving(channels, out // 2)
        self.odd = _halving(channels, out - out // 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(x)
        return torch.cat((self.even(x), self.odd(x[:, :, 1:, 1:])), 1)


@operator("factorized_reduction")
def factorized_reduction(input_shape: tuple[int, ...], *, out: int) -> nn.Module:
    """[channels, height, width], both even → [out, height/2, width/2]."""
    return FactorizedReduction(input_shape[0], out)


@operator("max_pool")
def max_pool(input_shape: tuple[int, ...], *, kernel: int, stride: int) -> nn.Module:
    """[channels, height, width] → [channels, ⌈height/stride⌉, ⌈width/stride⌉]."""
    return nn.Sequential(nn.MaxPool2d(kernel, stride, kernel // 2))


@operator("sep_conv")
def sep_conv(input_shape: tuple[int, ...], *, kernel: int, stride: int) -> nn.Module:
    """A depthwise separable convolution, applied twice. Shapes as `max_pool`."""
    channels = input_shape[0]
    return nn.Sequential(_separable(channels, kernel, stride), _separable(channels, kernel, 1))


@operator("dil_conv")
def dil_conv(input_shape: tuple[int, ...], *, kernel: int, stride: int) -> nn.Module:
    """A depthwise separable convolution with a dilation of 2. Shapes as `max_pool`."""
    return _separable(input_shape[0], kernel, stride, dilation=2)


@operator("split_conv")
def split_conv(input_shape: tuple[int, ...], *, kernel: int, stride: int) -> nn.Module:
    """A 1×k convolution, then a k×1 (NASNet, arXiv:1707.07012). Shapes as `max_pool`."""
    channels, margin = input_shape[0], kernel // 2
    along = nn.Conv2d(channels, channels, (1, kernel), (1, stride), (0, margin), bias=False)
    across = nn.Conv2d(channels, channels, (kernel, 1), (stride, 1), (margin, 0), bias=False)
    for conv in (along, across):
        nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return nn.Sequential(OrderedDict(relu=nn.ReLU(), along=along, across=across, norm=nn.BatchNorm2d(channels)))


def _separable(channels: int, kernel: int, stride: int, dilation: int = 1) -> nn.Module:
    depthwise = _convolution(channels, channels, kernel, stride, dilation, groups=channels)
    pointwise = _convolution(channels, channels, 1)
    return nn.Sequential(
        OrderedDict(relu=nn.ReLU(), depthwise=depthwise, pointwise=pointwise, norm=nn.BatchNorm2d(channels))
    )


def _halving(channels: int, out: int) -> nn.Module:
    conv = _convolution(channels, out, 1, stride=2)
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(out)))


def _convolution(
    channels: int, out: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Conv2d:
    conv = nn.Conv2d(channels, out, kernel, stride, dilation * (kernel // 2), dilation, groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return conv
