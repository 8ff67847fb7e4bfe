"""TF-NAS's block (Hu et al. 2020, arXiv:2008.05314, section 3.3), by the keys of its published tables.

An inverted bottleneck of any middle width; squeeze-excitation with a width of its own, the block's activation inside
and a sigmoid gate.
"""

from torch import nn

from hwnas.operators import operator
from hwnas.operators.mbconv import InvertedBottleneck, SqueezeExcite


@operator("tfnas_block")
def tfnas_block(
    input_shape: tuple[int, ...], *, mid: int, out: int, kernel: int, stride: int, act: str, se: int
) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]. `se`: channels inside, 0 for none."""

    def excite(middle: int) -> nn.Module:
        return SqueezeExcite(middle, se, act, nn.Sigmoid())

    return InvertedBottleneck(input_shape[0], mid, out, kernel, stride, act, excite if se else None)
