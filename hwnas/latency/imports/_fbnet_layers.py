"""FBNet's 22 searched layers (arXiv:1812.03443, table 1) and nine operators (table 2).

A block is `fbnet_block` with all its facts, its layer among them: tables time equal blocks of one stage apart. Unlike
our `mbconv` it keeps its first 1×1 convolution at expansion 1, and that one may be grouped.
"""

import re

from hwnas.core.errors import BadInput
from hwnas.operators.opspec import OpSpec

DEPTHS = (1, 4, 4, 4, 4, 4, 1)
WIDTHS = (16, 24, 32, 64, 112, 184, 352)
STEM = 16
LAYERS = sum(DEPTHS)

_NAME = re.compile(r"(?:ir_)?k(?P<kernel>[35])_(?:e(?P<expand>[136])(?P<grouped>_g2)?|s2)")


def specs(operators: list[str], resolution: int, strides: tuple[int, ...]) -> list[list[OpSpec]]:
    """[22 layers][operators]. `resolution`: of the first layer's input; `strides`: one a stage. Raises BadInput."""
    table, shape = [], (STEM, resolution, resolution)
    for width, depth, first in zip(WIDTHS, DEPTHS, strides, strict=True):
        for block in range(depth):
            stride = first if block == 0 else 1
            table.append([_spec(name, shape, len(table) + 1, width, stride) for name in operators])
            shape = (width, shape[1] // stride, shape[2] // stride)
    return table


def _spec(name: str, shape: tuple[int, ...], layer: int, out: int, stride: int) -> OpSpec:
    if name == "skip":
        return OpSpec.of("fbnet_skip", shape, layer=layer, out=out, stride=stride)
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadInput(f"FBNet has no operator '{name[:40]}'")
    # `s2` of one writing is `e1_g2` of the other: expansion 1, both 1×1 convolutions in two groups, channels shuffled.
    groups = 1 if match["expand"] and not match["grouped"] else 2
    facts = {"kernel": int(match["kernel"]), "expand": int(match["expand"] or 1), "groups": groups}
    return OpSpec.of("fbnet_block", shape, **facts, layer=layer, out=out, stride=stride)
