"""What an operator costs any device: parameters, multiply-accumulates, and the activations it holds at once.

Computed, not measured. Peak activations are those of one image under a planner that frees a tensor after its last use:
a convolution, pooling or matrix product reads one buffer and writes another, while batch norm (folded), activations,
sums and products of equal shapes write over an input that nothing else needs. Inputs and outputs count: a network of
operators in a chain holds as much as its hungriest operator.
"""

import operator
from functools import lru_cache
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata
from torch.fx.proxy import TraceError

from hwnas.core.errors import BadInput
from hwnas.operators import build, cost
from hwnas.operators.opspec import OpSpec

BYTES = {"fp32": 4, "fp16": 2, "int8": 1}
"""Of one number, by a target's precision."""

_IN_PLACE_MODULES = (
    *(nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.SiLU, nn.GELU),
    *(nn.Identity, nn.Dropout, nn.Flatten),
)
_IN_PLACE_FUNCTIONS = (operator.add, operator.mul, operator.iadd, operator.imul, torch.add, torch.mul, torch.flatten)


def params(spec: OpSpec) -> int:
    return cost(spec)[1]


def macs(spec: OpSpec) -> int:
    """Multiply-accumulates at batch 1."""
    return cost(spec)[2]


@lru_cache(maxsize=4096)
def peak_activations(spec: OpSpec) -> int:
    """Numbers held at once, at batch 1. Raises BadInput for an operator whose code torch.fx cannot trace."""
    with torch.device("meta"):
        module = build(spec)
    try:
        return peak_of(module, spec.input_shape)
    except (TraceError, TypeError, RuntimeError) as error:
        what = f"the memory of {spec} cannot be computed: {' '.join(str(error).split())[:200]}"
        raise BadInput(what, "write its forward so that torch.fx can trace it") from error


def peak_of(module: nn.Module, input_shape: tuple[int, ...]) -> int:
    """As `peak_activations`, of any module on the meta device. Raises TraceError, TypeError or RuntimeError."""
    traced = fx.symbolic_trace(module.eval())
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.empty(1, *input_shape, device="meta"))
    nodes = [node for node in traced.graph.nodes if node.op != "get_attr"]
    place = {node: number for number, node in enumerate(nodes)}
    last = {node: max((place[user] for user in node.users), default=place[node]) for node in nodes}
    buffers: list[list[fx.Node]] = []
    for node in nodes[:-1]:  # the last one is the output itself
        for buffer in buffers if _in_place(node, traced) else []:
            free = max(last[other] for other in buffer) <= place[node]
            if free and buffer[-1] in node.all_input_nodes and _size(buffer[-1]) == _size(node):
                buffer.append(node)
                break
        else:
            buffers.append([node])
    spans = [(place[b[0]], max(last[n] for n in b), _size(b[0])) for b in buffers]
    return max(sum(size for start, end, size in spans if start <= now <= end) for now in range(len(nodes)))


def _in_place(node: fx.Node, traced: fx.GraphModule) -> bool:
    if node.op == "call_module":
        return isinstance(traced.get_submodule(str(node.target)), _IN_PLACE_MODULES)
    return node.op == "call_function" and node.target in _IN_PLACE_FUNCTIONS


def _size(node: fx.Node) -> int:
    """0 for what is no tensor, such as a shape."""
    meta: Any = node.meta.get("tensor_meta")
    return meta.shape.numel() if isinstance(meta, TensorMetadata) else 0
