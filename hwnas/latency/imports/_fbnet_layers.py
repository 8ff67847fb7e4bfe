"""FBNet's 22 searched layers (arXiv:1812.03443, table 1), with operators as `operators/fbnet.py` writes them."""

from hwnas.operators import fbnet
from hwnas.operators.opspec import OpSpec

DEPTHS = (1, 4, 4, 4, 4, 4, 1)
WIDTHS = (16, 24, 32, 64, 112, 184, 352)
STEM = 16
LAYERS = sum(DEPTHS)


def specs(operators: list[str], resolution: int, strides: tuple[int, ...]) -> list[list[OpSpec]]:
    """[22 layers][operators]. `resolution`: of the first layer's input; `strides`: one a stage. Raises BadInput."""
    table, shape = [], (STEM, resolution, resolution)
    for width, depth, first in zip(WIDTHS, DEPTHS, strides, strict=True):
        for block in range(depth):
            stride = first if block == 0 else 1
            table.append([fbnet.block(name, shape, len(table) + 1, width, stride) for name in operators])
            shape = (width, shape[1] // stride, shape[2] // stride)
    return table
