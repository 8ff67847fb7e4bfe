"""ONNX → a torch module for inference: what the runtime `torch` times, and what ExecuTorch compiles.

A torch.fx graph with one call a node: nothing is interpreted between two operators, and torch.export takes it. It knows
the operators that our exporters write; onnx2torch knows more, but not opset 18 nor half precision throughout.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import TensorProto
from torch import Tensor, fx, nn

from hwnas.core.errors import BadInput
from hwnas.formats.reader import OnnxGraph, attributes

_TYPES = {
    TensorProto.FLOAT: torch.float32,
    TensorProto.FLOAT16: torch.float16,
    TensorProto.BFLOAT16: torch.bfloat16,
    TensorProto.INT64: torch.int64,
}


def to_module(graph: OnnxGraph) -> fx.GraphModule:
    """Takes and gives what the ONNX graph does, [batch, ...]; its weights are buffers. Batch norm is folded.

    Raises BadInput naming the operator that cannot be translated.
    """
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.add(node)
    writer.out.output(writer.value(graph.output))
    return fx.GraphModule(writer.weights, writer.out).eval()


class _Writer:
    """`values`: what each ONNX tensor became."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph, self.weights, self.out = graph, nn.Module(), fx.Graph()
        self.values = {graph.input: self.out.placeholder("x")}

    def add(self, proto: onnx.NodeProto) -> None:
        if self.graph.is_constant(proto.output[0]):
            return
        if proto.op_type not in _OPERATORS or proto.domain not in ("", "ai.onnx"):
            raise BadInput(f"the operator {proto.op_type} ('{proto.name}') cannot be translated to torch")
        self.values[proto.output[0]] = _OPERATORS[proto.op_type](_Node(proto, self, attributes(proto)))

    def value(self, name: str) -> fx.Node:
        """A weight becomes a buffer where it is first read."""
        if name not in self.values:
            key = f"weight{len(self.values)}"
            self.weights.register_buffer(key, torch.from_numpy(self.graph.constant(name).copy()))
            self.values[name] = self.out.get_attr(key)
        return self.values[name]


@dataclass(frozen=True)
class _Node:
    """An ONNX node as its translation asks for it. `a`: its attributes."""

    proto: onnx.NodeProto
    writer: _Writer
    a: dict[str, Any]

    def x(self, place: int) -> fx.Node | None:
        """An input; None where an optional one is left out."""
        return self.writer.value(self.proto.input[place]) if self._has(place) else None

    def all(self) -> list[fx.Node]:
        return [self.writer.value(name) for name in self.proto.input]

    def constant(self, place: int) -> np.ndarray | None:
        return self.writer.graph.constant(self.proto.input[place]) if self._has(place) else None

    def call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> fx.Node:
        return self.writer.out.call_function(function, arguments, options)

    def refuse(self, why: str) -> BadInput:
        return BadInput(f"the {self.proto.op_type} '{self.proto.name}' cannot be translated to torch: {why}")

    def _has(self, place: int) -> bool:
        return place < len(self.proto.input) and self.proto.input[place] != ""


def _padded(n: _Node) -> tuple[fx.Node | None, list[int]]:
    """The input and its padding [top, left]; what torch's operators have no word for is padded before."""
    pads = n.a.get("pads", [0, 0, 0, 0])
    if n.a.get("auto_pad", b"NOTSET") != b"NOTSET" or len(pads) != 4:
        raise n.refuse("only images with explicit padding")
    top, left, bottom, right = pads
    if (top, left) == (bottom, right):
        return n.x(0), [top, left]
    if n.proto.op_type != "Conv":
        raise n.refuse("its padding is not symmetric")
    return n.call(F.pad, n.x(0), [left, right, top, bottom]), [0, 0]


def _conv(n: _Node) -> fx.Node:
    x, padding = _padded(n)
    stride, dilation = n.a.get("strides", [1, 1]), n.a.get("dilations", [1, 1])
    return n.call(F.conv2d, x, n.x(1), n.x(2), stride, padding, dilation, n.a.get("group", 1))


def _pool(function: Callable[..., Tensor], **options: Any) -> Callable[[_Node], fx.Node]:
    def pool(n: _Node) -> fx.Node:
        x, padding = _padded(n)
        if n.a.get("dilations", [1, 1]) != [1, 1] or len(n.proto.output) > 1:
            raise n.refuse("dilations and indices are not supported")
        own = {key: bool(n.a.get(key, default)) for key, default in options.items()}
        return n.call(function, x, n.a["kernel_shape"], n.a.get("strides", [1, 1]), padding, **own)

    return pool


def _batch_norm(n: _Node) -> fx.Node:
    """One that follows no convolution."""
    x, scale, shift, mean, variance = n.all()
    return n.call(F.batch_norm, x, mean, variance, scale, shift, eps=n.a.get("epsilon", 1e-5))


def _clip(n: _Node) -> fx.Node:
    ends = [None if end is None else end.item() for end in (n.constant(1), n.constant(2))]
    return n.call(torch.clamp, n.x(0), *ends)


def _hard_sigmoid(n: _Node) -> fx.Node:
    alpha, beta = n.a.get("alpha", 0.2), n.a.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
        return n.call(F.hardsigmoid, n.x(0))
    return n.call(torch.clamp, n.call(torch.add, n.call(torch.mul, n.x(0), alpha), beta), 0.0, 1.0)


def _mean(n: _Node) -> fx.Node:
    """Opset 18 gives the axes as an input, older ones as an attribute."""
    axes = n.constant(1)
    axes = n.a.get("axes") if axes is None else axes.tolist()
    if not axes:
        raise n.refuse("it names no axes")
    return n.call(torch.mean, n.x(0), axes, bool(n.a.get("keepdims", 1)))


def _global_mean(n: _Node) -> fx.Node:
    return n.call(torch.mean, n.x(0), [2, 3], True)


def _flatten(n: _Node) -> fx.Node:
    if n.a.get("axis", 1) != 1:
        raise n.refuse("only the batch may stay")
    return n.call(torch.flatten, n.x(0), 1)


def _reshape(n: _Node) -> fx.Node:
    shape = n.constant(1)
    if shape is None or (n.a.get("allowzero", 0) and not shape.all()):
        raise n.refuse("its shape has empty dimensions")
    return n.call(reshape, n.x(0), shape.tolist())


def reshape(x: Tensor, shape: list[int]) -> Tensor:
    """As ONNX has it: 0 keeps the dimension."""
    return x.reshape([x.shape[place] if size == 0 else size for place, size in enumerate(shape)])


def _slice(n: _Node) -> fx.Node:
    starts, ends, axes, steps = (None if (c := n.constant(place)) is None else c.tolist() for place in (1, 2, 3, 4))
    if starts is None or ends is None or axes is None or min(axes) < 0 or any(step != 1 for step in steps or []):
        raise n.refuse("only between constants, in steps of 1")
    place = [slice(None)] * (max(axes) + 1)
    for axis, start, end in zip(axes, starts, ends, strict=True):
        place[axis] = slice(start, end)
    return n.call(operator.getitem, n.x(0), tuple(place))


def _gemm(n: _Node) -> fx.Node:
    if n.a.get("transA", 0) or n.a.get("alpha", 1.0) != 1 or n.a.get("beta", 1.0) != 1:
        raise n.refuse("only x·W + b")
    weight = n.x(1) if n.a.get("transB", 0) else n.call(torch.t, n.x(1))
    return n.call(F.linear, n.x(0), weight, n.x(2))


def _cast(n: _Node) -> fx.Node:
    if n.a["to"] not in _TYPES:
        raise n.refuse("only to floating point, and to int64")
    return n.call(Tensor.to, n.x(0), _TYPES[n.a["to"]])


def _gather(n: _Node) -> fx.Node:
    if n.a.get("axis", 0) != 0:
        raise n.refuse("only rows of a table")
    return n.call(operator.getitem, n.x(0), n.x(1))


def _same(n: _Node) -> fx.Node:
    return n.all()[0]


def _plain(function: Callable[..., Tensor]) -> Callable[[_Node], fx.Node]:
    return lambda n: n.call(function, *n.all())


_OPERATORS: dict[str, Callable[[_Node], fx.Node]] = {
    "Conv": _conv,
    "BatchNormalization": _batch_norm,
    "Gemm": _gemm,
    "MatMul": _plain(torch.matmul),
    "Add": _plain(torch.add),
    "Sub": _plain(torch.sub),
    "Gather": _gather,
    "Tanh": _plain(torch.tanh),
    "Mul": _plain(torch.mul),
    "Concat": lambda n: n.call(torch.cat, n.all(), n.a["axis"]),
    "Relu": _plain(F.relu),
    "Clip": _clip,
    "HardSwish": _plain(F.hardswish),
    "HardSigmoid": _hard_sigmoid,
    "Sigmoid": _plain(torch.sigmoid),
    "ReduceMean": _mean,
    "GlobalAveragePool": _global_mean,
    "AveragePool": _pool(F.avg_pool2d, ceil_mode=0, count_include_pad=0),
    "MaxPool": _pool(F.max_pool2d, ceil_mode=0),
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Slice": _slice,
    "Transpose": lambda n: n.call(torch.permute, n.x(0), n.a["perm"]),
    "Cast": _cast,
    "Identity": _same,
    "Dropout": _same,
}
