"""The end of Once-for-All's MobileNetV3 (arXiv:1908.09791), in the three parts that its published tables time apart."""

from collections import OrderedDict

from torch import nn

from hwnas.operators import operator


@operator("ofa_pool")
def ofa_pool(input_shape: tuple[int, ...], *, out: int) -> nn.Module:
    """[out, height, width] → [out, 1, 1]: the global average."""
    return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1)))


@operator("ofa_mix")
def ofa_mix(input_shape: tuple[int, ...], *, out: int) -> nn.Module:
    """[channels, 1, 1] → [out, 1, 1]: a 1×1 convolution without norm or bias, and h-swish."""
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(input_shape[0], out, 1, bias=False), act=nn.Hardswish(inplace=True))
    )


@operator("ofa_linear")
def ofa_linear(input_shape: tuple[int, ...], *, out: int) -> nn.Module:
    """[channels, 1, 1] → [out]."""
    linear = nn.Linear(input_shape[0], out)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(OrderedDict(flatten=nn.Flatten(), linear=linear))
