"""Options of one slot that share weights: a smaller kernel is the middle of the largest, a narrower layer its first
channels (Single-Path NAS, arXiv:1904.02877; Once-for-All, arXiv:1908.09791; "entanglement", arXiv:2107.00651).

With weights of its own, an option of seven sees one step in seven, and neighbours that never agree; shared, every step
trains all of them. That is what makes a search of minutes possible. Batch norm (and squeeze-excitation) stays each
option's own.
"""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.operators import build
from hwnas.operators.basic import ConvNorm
from hwnas.operators.opspec import Attribute, OpSpec

_CUT = ("kernel", "expand", "mid")
"""Attributes in which blocks that share weights may differ; and `se`, which is each block's own."""


class CutConv(nn.Module):
    """As the convolution `own`, with a weight cut from that of `source`."""

    def __init__(self, own: nn.Conv2d, source: nn.Conv2d) -> None:
        super().__init__()
        self.source = source
        self.out, self.channels, self.kernel, _ = own.weight.shape
        self.stride, self.padding, self.groups = own.stride, own.padding, own.groups

    def cut(self) -> Tensor:
        return cut(self.source.weight, self.out, self.channels, self.kernel)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.cut(), None, self.stride, self.padding, groups=self.groups)


def cut(weight: Tensor, out: int, channels: int, kernel: int) -> Tensor:
    """A view of a convolution's weight: its first channels, the middle of its kernel."""
    margin = (weight.shape[-1] - kernel) // 2
    middle = slice(margin, margin + kernel)
    return weight[:out, :channels, middle, middle]


def shared_options(specs: Sequence[OpSpec]) -> list[nn.Module]:
    """One module a spec. Those that differ only in what can be cut share the weights of their `ConvNorm`s."""
    families: dict[tuple[object, ...], list[OpSpec]] = {}
    for spec in specs:
        families.setdefault(_family(spec), []).append(spec)
    stores = {family: build(_largest(members)) for family, members in families.items() if len(members) > 1}
    return [_cut(build(spec), stores.get(_family(spec))) for spec in specs]


def standalone_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict of the same block with weights of its own; its tensors share memory with the supernet's."""
    state = module.state_dict(keep_vars=True)
    for name, layer in module.named_modules():
        if isinstance(layer, CutConv):
            del state[f"{name}.source.weight"]
            state[f"{name}.weight"] = layer.cut()
    return state


def _family(spec: OpSpec) -> tuple[object, ...]:
    return spec.kind, spec.input_shape, *(pair for pair in spec.attrs if pair[0] not in (*_CUT, "se"))


def _largest(family: Sequence[OpSpec]) -> OpSpec:
    attributes = [spec.attributes() for spec in family]
    most: dict[str, Attribute] = {name: max(a[name] for a in attributes) for name in _CUT if name in attributes[0]}
    return OpSpec.of(family[0].kind, family[0].input_shape, **attributes[0] | most)


def _cut(block: nn.Module, store: nn.Module | None) -> nn.Module:
    for name, layer in list(block.named_modules()):
        if store is not None and isinstance(layer, ConvNorm):
            source = store.get_submodule(name)
            assert isinstance(source, ConvNorm)
            layer.conv = CutConv(layer.conv, source.conv)  # type: ignore[assignment]
    return block
