"""The operator library: an `OpSpec` becomes an `nn.Module`.

`@operator("kind")` registers a builder `(input_shape, **attributes) -> nn.Module`. A user's own stem,
head or block is registered the same way, and is then profiled, searched and exported like ours.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hwnas.core.errors import BadInput
from hwnas.operators.opspec import OpSpec

Builder = Callable[..., nn.Module]
_builders: dict[str, Builder] = {}


def operator(kind: str) -> Callable[[Builder], Builder]:
    """Register a builder under `kind`."""

    def register(builder: Builder) -> Builder:
        _builders[kind] = builder
        return builder

    return register


def build(spec: OpSpec) -> nn.Module:
    """The module with freshly initialised weights. Raises BadInput for an unknown kind."""
    if spec.kind not in _builders:
        raise BadInput(
            f"no operator of kind '{spec.kind}'",
            f"known: {', '.join(sorted(_builders))}; register yours with @hwnas.operators.operator('{spec.kind}')",
        )
    return _builders[spec.kind](spec.input_shape, **spec.attributes())


@lru_cache(maxsize=4096)
def output_shape(spec: OpSpec) -> tuple[int, ...]:
    """Shape without the batch."""
    return cost(spec)[0]


@lru_cache(maxsize=4096)
def cost(spec: OpSpec) -> tuple[tuple[int, ...], int, int]:
    """(output shape without the batch, parameters, multiply-accumulates), from a run on shapes alone."""
    with torch.device("meta"), torch.no_grad():
        module = build(spec).eval()
        with FlopCounterMode(display=False) as counter:
            out = module(torch.empty(1, *spec.input_shape))
    parameters = sum(p.numel() for p in module.parameters())
    return tuple(out.shape[1:]), parameters, counter.get_total_flops() // 2


from hwnas.operators import basic, cell, darts, fbnet, mbconv, ofa, recurrent, shuffle, tfnas, tree  # noqa: E402, F401  (they register themselves)
