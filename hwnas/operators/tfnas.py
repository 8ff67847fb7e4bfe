"""TF-NAS's block (Hu et al. 2020, arXiv:2008.05314, section 3.3), by the keys of its published tables.

An inverted bottleneck of any middle width; squeeze-excitation with a width of its own, the block's activation inside
and a sigmoid gate.
"""

from torch import Tensor, nn

from hwnas.operators import operator
from hwnas.operators.basic import ConvNorm
from hwnas.operators.mbconv import SqueezeExcite


class TfnasBlock(nn.Module):
    """Expand 1×1 (unless the middle is as wide as the input), depthwise k×k, squeeze-excitation, project 1×1; the
    shortcut where shapes agree. `se`: channels inside the squeeze-excitation, 0 for none.
    """

    def __init__(self, channels: int, middle: int, out: int, kernel: int, stride: int, act: str, se: int) -> None:
        super().__init__()
        self.expand = ConvNorm(channels, middle, 1, act=act) if middle != channels else None
        self.depthwise = ConvNorm(middle, middle, kernel, stride, groups=middle, act=act)
        self.se = SqueezeExcite(middle, se, act, nn.Sigmoid()) if se else None
        self.project = ConvNorm(middle, out, 1)
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        if self.se is not None:
            y = self.se(y)
        y = self.project(y)
        return x + y if self.shortcut else y


@operator("tfnas_block")
def tfnas_block(
    input_shape: tuple[int, ...], *, mid: int, out: int, kernel: int, stride: int, act: str, se: int
) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]."""
    return TfnasBlock(input_shape[0], mid, out, kernel, stride, act, se)
