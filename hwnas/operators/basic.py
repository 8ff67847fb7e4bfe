"""Convolution + batch norm + activation, and the two ends of a network built from it."""

from collections import OrderedDict

from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.operators import operator

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "swish": nn.SiLU,
}


def activation(name: str) -> nn.Module:
    """In place: batch norm keeps its own input, so the activation may overwrite its output."""
    if name not in ACTIVATIONS:
        raise BadInput(f"no activation '{name}'", f"known: {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name](inplace=True)


class ConvNorm(nn.Module):
    """'Same' convolution without bias, batch norm, and an activation if one is named."""

    def __init__(
        self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1, act: str | None = None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out)
        self.act = activation(act) if act else None
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out")

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self.conv(x))

    def finish(self, y: Tensor) -> Tensor:
        """What follows the convolution."""
        y = self.norm(y)
        return y if self.act is None else self.act(y)


@operator("conv")
def conv(input_shape: tuple[int, ...], *, out: int, kernel: int, stride: int, act: str) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]. `act` none: nothing follows the norm."""
    return ConvNorm(input_shape[0], out, kernel, stride, act=None if act == "none" else act)


@operator("classifier")
def classifier(input_shape: tuple[int, ...], *, classes: int) -> nn.Module:
    """[channels, height, width] → [classes]: global average, then linear."""
    linear = nn.Linear(input_shape[0], classes)
    nn.init.normal_(linear.weight, std=0.01)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(OrderedDict(pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), linear=linear))
