"""Options of one slot that share weights: a smaller kernel is the middle of the largest, a smaller expansion its first
channels (Single-Path NAS, arXiv:1904.02877; Once-for-All, arXiv:1908.09791; "entanglement" in AutoFormer, arXiv:2107.00651).

With weights of its own, an option of seven sees one step in seven, and neighbours that never agree; shared, every step
trains all of them. That is what makes a search of minutes possible. Batch norm stays each option's own.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.operators import build
from hwnas.operators.mbconv import MBConv
from hwnas.operators.opspec import OpSpec


class SharedMBConv(nn.Module):
    """One option: its own norms (and squeeze-excitation), convolutions sliced from `largest`."""

    def __init__(self, own: MBConv, largest: MBConv) -> None:
        super().__init__()
        self.largest, self.own = largest, own
        self.channels = own.body.depthwise.conv.in_channels
        self.margin = (largest.body.depthwise.conv.kernel_size[0] - own.body.depthwise.conv.kernel_size[0]) // 2
        for conv in self._convolutions():  # never used: the weights are the largest's
            del conv.weight
        self.shortcut = own.shortcut

    def _convolutions(self) -> list[nn.Conv2d]:
        body = self.own.body
        return [body.expand.conv, body.depthwise.conv, body.project.conv]

    def slices(self) -> dict[str, Tensor]:
        """Convolution weights by the standalone block's parameter names."""
        big, c, m = self.largest.body, self.channels, self.margin
        middle = slice(m, -m if m else None)
        return {
            "body.expand.conv.weight": big.expand.conv.weight[:c],
            "body.depthwise.conv.weight": big.depthwise.conv.weight[:c, :, middle, middle],
            "body.project.conv.weight": big.project.conv.weight[:, :c],
        }

    def state(self) -> dict[str, Tensor]:
        """The standalone block's state dict, sharing memory with this one where it can."""
        return self.own.state_dict(keep_vars=True) | self.slices()

    def forward(self, x: Tensor) -> Tensor:
        body, (expand, depthwise, project) = self.own.body, self.slices().values()
        y = body.expand.act(body.expand.norm(F.conv2d(x, expand)))
        conv = body.depthwise.conv
        y = F.conv2d(y, depthwise, None, conv.stride, conv.padding, groups=self.channels)
        y = body.depthwise.act(body.depthwise.norm(y))
        if hasattr(body, "se"):
            y = body.se(y)
        y = body.project.norm(F.conv2d(y, project))
        return x + y if self.shortcut else y


def shared_options(specs: Sequence[OpSpec]) -> list[nn.Module]:
    """One module per spec, all of kind mbconv with expansion > 1 and one output shape, sharing the largest's weights."""
    blocks = [build(spec) for spec in specs]
    assert all(isinstance(block, MBConv) for block in blocks)
    attributes = [spec.attributes() for spec in specs]
    kernel, expand = max(a["kernel"] for a in attributes), max(a["expand"] for a in attributes)
    largest = build(OpSpec.of("mbconv", specs[0].input_shape, **attributes[0] | {"kernel": kernel, "expand": expand}))
    return [SharedMBConv(block, largest) for block in blocks]  # type: ignore[arg-type]
