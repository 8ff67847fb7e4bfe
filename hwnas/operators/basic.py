"""Stems and heads: convolution + batch norm + activation, and the classifier."""

from collections import OrderedDict

from torch import nn

from hwnas.core.errors import BadInput
from hwnas.operators import operator

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "hardswish": nn.Hardswish}


def activation(name: str) -> nn.Module:
    if name not in ACTIVATIONS:
        raise BadInput(f"no activation '{name}'", f"known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](inplace=True)


def conv_norm(channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> list[tuple[str, nn.Module]]:
    """'Same' convolution without bias, then batch norm: the pair every mobile block is made of."""
    conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return [("conv", conv), ("norm", nn.BatchNorm2d(out))]


@operator("conv")
def conv(input_shape: tuple[int, ...], *, out: int, kernel: int, stride: int, act: str) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]."""
    return nn.Sequential(OrderedDict([*conv_norm(input_shape[0], out, kernel, stride), ("act", activation(act))]))


@operator("classifier")
def classifier(input_shape: tuple[int, ...], *, classes: int) -> nn.Module:
    """[channels, height, width] → [classes]: global average, then linear."""
    linear = nn.Linear(input_shape[0], classes)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=linear))
