"""FBNet's nine blocks (Wu et al. 2019, arXiv:1812.03443, section 4.1 and table 2), by the keys of its published tables.

Unlike our `mbconv` a block keeps its first 1×1 convolution at expansion 1, and both 1×1 convolutions may be in two
groups, their channels shuffled behind the first (ShuffleNet, arXiv:1707.01083). A key holds the block's layer: tables
time equal blocks of one stage apart.
"""

import re

from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.operators import operator
from hwnas.operators.basic import ConvNorm
from hwnas.operators.opspec import OpSpec

BLOCKS = ("k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip")
"""As HW-NAS-Bench names them, in its order."""

_NAME = re.compile(r"(?:ir_)?k(?P<kernel>[35])_(?:e(?P<expand>[136])(?P<grouped>_g2)?|s2)")


def block(name: str, shape: tuple[int, ...], layer: int, out: int, stride: int) -> OpSpec:
    """The operator of a published name at a place of the network. Raises BadInput for a name that FBNet has not."""
    if name == "skip":
        return OpSpec.of("fbnet_skip", shape, layer=layer, out=out, stride=stride)
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadInput(f"FBNet has no operator '{name[:40]}'")
    # `s2` of one writing is `e1_g2` of the other: expansion 1, both 1×1 convolutions in two groups, channels shuffled.
    groups = 1 if match["expand"] and not match["grouped"] else 2
    facts = {"kernel": int(match["kernel"]), "expand": int(match["expand"] or 1), "groups": groups}
    return OpSpec.of("fbnet_block", shape, **facts, layer=layer, out=out, stride=stride)


class FbnetBlock(nn.Module):
    """Expand 1×1, shuffle if grouped, depthwise k×k, project 1×1; the shortcut where shapes agree."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expand: int, groups: int) -> None:
        super().__init__()
        middle = channels * expand
        self.expand = ConvNorm(channels, middle, 1, groups=groups, act="relu")
        self.shuffle = nn.ChannelShuffle(groups) if groups > 1 else None
        self.depthwise = ConvNorm(middle, middle, kernel, stride, groups=middle, act="relu")
        self.project = ConvNorm(middle, out, 1, groups=groups)
        self.shortcut = stride == 1 and channels == out

    def forward(self, x: Tensor) -> Tensor:
        y = self.expand(x)
        if self.shuffle is not None:
            y = self.shuffle(y)
        y = self.project(self.depthwise(y))
        return x + y if self.shortcut else y


@operator("fbnet_block")
def fbnet_block(
    input_shape: tuple[int, ...], *, out: int, kernel: int, stride: int, expand: int, groups: int, layer: int
) -> nn.Module:
    """[channels, height, width] → [out, ⌈height/stride⌉, ⌈width/stride⌉]."""
    return FbnetBlock(input_shape[0], out, kernel, stride, expand, groups)


@operator("fbnet_skip")
def fbnet_skip(input_shape: tuple[int, ...], *, out: int, stride: int, layer: int) -> nn.Module:
    """The identity; a 1×1 convolution where the shape changes."""
    if stride == 1 and input_shape[0] == out:
        return nn.Sequential(nn.Identity())
    return ConvNorm(input_shape[0], out, 1, stride, act="relu")
