"""SPOS's choice blocks (Guo et al. 2020, arXiv:1904.00420, figure 2), on the unit of ShuffleNetV2 (arXiv:1807.11164).

A unit that keeps its shape works on every second channel and passes the others by; any other works on all of them
twice. `mid`: channels inside the working branch, which SPOS's channel search chooses.
"""

import torch
from torch import Tensor, nn

from hwnas.operators import operator
from hwnas.operators.basic import ConvNorm


class KeepingUnit(nn.Module):
    """Even channels pass by, odd ones go through `main`."""

    def __init__(self, channels: int, main: nn.Module) -> None:
        super().__init__()
        self.passing = channels // 2
        self.shuffle = nn.ChannelShuffle(self.passing)  # even channels first, then the odd ones
        self.main = main

    def forward(self, x: Tensor) -> Tensor:
        x = self.shuffle(x)
        return torch.cat((x[:, : self.passing], self.main(x[:, self.passing :])), 1)


class ChangingUnit(nn.Module):
    """Both branches read all channels; `beside` keeps their number, `main` adds what is missing."""

    def __init__(self, beside: nn.Module, main: nn.Module) -> None:
        super().__init__()
        self.beside, self.main = beside, main

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.beside(x), self.main(x)), 1)


def bottleneck(channels: int, out: int, kernel: int, stride: int, mid: int) -> nn.Module:
    return nn.Sequential(
        ConvNorm(channels, mid, 1, act="relu"),
        ConvNorm(mid, mid, kernel, stride, groups=mid),
        ConvNorm(mid, out, 1, act="relu"),
    )


def xception(channels: int, out: int, stride: int, mid: int) -> nn.Module:
    """Three separable 3×3 convolutions."""
    return nn.Sequential(
        *separable(channels, mid, 3, stride),
        *separable(mid, mid, 3, 1),
        *separable(mid, out, 3, 1),
    )


def separable(channels: int, out: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        ConvNorm(channels, channels, kernel, stride, groups=channels), ConvNorm(channels, out, 1, act="relu")
    )


@operator("shuffle_block")
def shuffle_block(input_shape: tuple[int, ...], *, out: int, kernel: int, stride: int, mid: int) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]. Even, and not more than `out`."""
    channels = input_shape[0]
    if stride == 1 and channels == out:
        return KeepingUnit(channels, bottleneck(channels // 2, channels // 2, kernel, 1, mid))
    beside = separable(channels, channels, kernel, stride)
    return ChangingUnit(beside, bottleneck(channels, out - channels, kernel, stride, mid))


@operator("shuffle_xception")
def shuffle_xception(input_shape: tuple[int, ...], *, out: int, stride: int, mid: int) -> nn.Module:
    """As `shuffle_block`."""
    channels = input_shape[0]
    if stride == 1 and channels == out:
        return KeepingUnit(channels, xception(channels // 2, channels // 2, 1, mid))
    return ChangingUnit(separable(channels, channels, 3, stride), xception(channels, out - channels, stride, mid))
