"""Options of one slot that share weights: a smaller kernel is the middle of the largest, a smaller expansion its first
channels (Single-Path NAS, arXiv:1904.02877; Once-for-All, arXiv:1908.09791; "entanglement", arXiv:2107.00651).

With weights of its own, an option of seven sees one step in seven, and neighbours that never agree; shared, every step
trains all of them. That is what makes a search of minutes possible. Batch norm stays each option's own.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.operators.basic import ConvNorm
from hwnas.operators.mbconv import MBConv
from hwnas.operators.opspec import OpSpec


class SharedMBConv(nn.Module):
    """One option: its norms (and squeeze-excitation) are its own, its convolutions are cut from `largest`."""

    def __init__(self, own: MBConv, largest: MBConv) -> None:
        super().__init__()
        assert own.expand is not None and largest.expand is not None, "a block of expansion 1 has nothing to share"
        self.largest, self.own = largest, own
        self.channels = own.depthwise.conv.in_channels
        self.margin = (largest.depthwise.conv.kernel_size[0] - own.depthwise.conv.kernel_size[0]) // 2
        for layer in (own.expand, own.depthwise, own.project):
            del layer.conv.weight  # the largest's is used

    def weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Of expand, depthwise and project: views of the largest's."""
        assert self.largest.expand is not None
        middle = slice(self.margin, -self.margin if self.margin else None)
        return (
            self.largest.expand.conv.weight[: self.channels],
            self.largest.depthwise.conv.weight[: self.channels, :, middle, middle],
            self.largest.project.conv.weight[:, : self.channels],
        )

    def state(self) -> dict[str, Tensor]:
        """The standalone block's state dict; its tensors share memory with the supernet's."""
        names = ("expand.conv.weight", "depthwise.conv.weight", "project.conv.weight")
        return self.own.state_dict(keep_vars=True) | dict(zip(names, self.weights(), strict=True))

    def forward(self, x: Tensor) -> Tensor:
        own = self.own
        expand, depthwise, project = self.weights()
        assert own.expand is not None
        y = own.expand.finish(F.conv2d(x, expand))
        y = own.depthwise.finish(_depthwise(own.depthwise, y, depthwise))
        if own.se is not None:
            y = own.se(y)
        y = own.project.finish(F.conv2d(y, project))
        return x + y if own.shortcut else y


def _depthwise(layer: ConvNorm, x: Tensor, weight: Tensor) -> Tensor:
    stride, padding = layer.conv.stride, layer.conv.kernel_size[0] // 2
    return F.conv2d(x, weight, None, stride, padding, groups=weight.shape[0])  # type: ignore[arg-type]


def shared_options(specs: Sequence[OpSpec]) -> list[nn.Module]:
    """One module a spec; all are MBConvs of expansion > 1 that differ in kernel and expansion only."""
    attributes = [spec.attributes() for spec in specs]
    channels = specs[0].input_shape[0]

    largest = {name: max(a[name] for a in attributes) for name in ("kernel", "expand")}
    store = MBConv(channels, **attributes[0] | largest)
    return [SharedMBConv(MBConv(channels, **a), store) for a in attributes]
