"""Operators on the edges of a cell, and what stands between cells (NAS-Bench-201, arXiv:2001.00326, section 2.1).

Several edges read the same node, so no activation works in place.
"""

from collections import OrderedDict

from torch import Tensor, nn

from hwnas.operators import operator


class ReluConvNorm(nn.Module):
    """ReLU, 'same' convolution without bias, batch norm."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(self.relu(x)))


class Zero(nn.Module):
    """No connection: zeros of the input's shape."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 0.0


class ResidualReduction(nn.Module):
    """Half the resolution: two 3×3 convolutions beside an average pooling with a 1×1 convolution."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.first = ReluConvNorm(channels, out, 3, stride=2)
        self.second = ReluConvNorm(out, out, 3)
        self.shortcut = nn.Sequential(
            OrderedDict(pool=nn.AvgPool2d(2, 2), conv=nn.Conv2d(channels, out, 1, bias=False))
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.second(self.first(x))


@operator("relu_conv")
def relu_conv(input_shape: tuple[int, ...], *, out: int, kernel: int, stride: int) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]."""
    return ReluConvNorm(input_shape[0], out, kernel, stride)


@operator("avg_pool")
def avg_pool(input_shape: tuple[int, ...], *, kernel: int, stride: int) -> nn.Module:
    """[channels, height, width] → [channels, ⌈height/stride⌉, ⌈width/stride⌉]; the border counts what is inside."""
    return nn.Sequential(nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False))


@operator("skip")
def skip(input_shape: tuple[int, ...]) -> nn.Module:
    """The identity. An operator of its own because its addition into a node costs a device time."""
    return nn.Sequential(nn.Identity())


@operator("zero")
def zero(input_shape: tuple[int, ...]) -> nn.Module:
    return Zero()


@operator("residual_reduction")
def residual_reduction(input_shape: tuple[int, ...], *, out: int) -> nn.Module:
    """[channels, height, width] → [out, height/2, width/2]."""
    return ResidualReduction(input_shape[0], out)


@operator("norm_relu")
def norm_relu(input_shape: tuple[int, ...]) -> nn.Module:
    """Batch norm and ReLU, in front of the classifier."""
    return nn.Sequential(OrderedDict(norm=nn.BatchNorm2d(input_shape[0]), relu=nn.ReLU()))
