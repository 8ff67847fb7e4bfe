"""Mobile inverted bottleneck (MobileNetV2, arXiv:1801.04381; squeeze-excitation: MobileNetV3, arXiv:1905.02244)."""

from collections.abc import Callable

from torch import Tensor, nn

from hwnas.operators import operator
from hwnas.operators.basic import ConvNorm, activation


def round_channels(channels: float, divisor: int = 8) -> int:
    """To the nearest multiple of `divisor`, never losing more than 10 % (MobileNetV2's rule)."""
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * channels else rounded + divisor


class SqueezeExcite(nn.Module):
    """Channel gates from the global average: x · gate(W₂ act(W₁ mean(x)))."""

    def __init__(self, channels: int, hidden: int, act: str, gate: nn.Module) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.act = activation(act)
        self.expand = nn.Conv2d(hidden, channels, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.expand(self.act(self.reduce(self.pool(x)))))

    @classmethod
    def v3(cls, channels: int) -> "SqueezeExcite":
        """MobileNetV3's: a quarter of the expanded width."""
        return cls(channels, round_channels(channels / 4), "relu", nn.Hardsigmoid())


class InvertedBottleneck(nn.Module):
    """Expand 1×1 (unless the middle is as wide as the input), depthwise k×k, squeeze-excitation, project 1×1; the
    shortcut where shapes agree. `excite`: middle channels → the squeeze-excitation, None for none.
    """

    def __init__(
        self,
        channels: int,
        middle: int,
        out: int,
        kernel: int,
        stride: int,
        act: str,
        excite: Callable[[int], nn.Module] | None,
    ) -> None:
        super().__init__()
        self.expand = ConvNorm(channels, middle, 1, act=act) if middle != channels else None
        self.depthwise = ConvNorm(middle, middle, kernel, stride, groups=middle, act=act)
        self.se = excite(middle) if excite else None
        self.project = ConvNorm(middle, out, 1)
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.se is not None:
            y = self.se(y)
        y = self.project(y)
        return x + y if self.shortcut else y


@operator("mbconv")
def mbconv(
    input_shape: tuple[int, ...], *, out: int, kernel: int, stride: int, expand: int, act: str, se: bool = False
) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]."""
    channels = input_shape[0]
    return InvertedBottleneck(channels, channels * expand, out, kernel, stride, act, SqueezeExcite.v3 if se else None)
