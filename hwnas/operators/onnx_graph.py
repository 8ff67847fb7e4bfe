"""A module as ONNX in milliseconds, for timing.

The dynamo exporter takes 1 to 2 s a block; a profile needs a hundred. Operators are traced with torch.fx and each
node is written by one line of `_WRITERS`. What users ship is written by `exporters/onnx.py`, never by this file.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.fx.proxy import TraceError

OPSET = 18


class Untranslatable(Exception):
    """A node this file has no line for; the caller falls back to the dynamo exporter."""


def write(module: nn.Module, input_shape: tuple[int, ...]) -> bytes:
    """An ONNX model (opset 18, dynamic batch, fp32) equal to `module` in eval mode. Raises Untranslatable."""
    module = module.eval()
    try:
        traced = fx.symbolic_trace(module)
    except (TraceError, TypeError) as error:
        raise Untranslatable(str(error)) from error
    _merge(traced)
    with torch.no_grad():
        ShapeProp(traced).propagate(torch.zeros(2, *input_shape))
    graph = _Graph()
    for node in traced.graph.nodes:
        graph.translate(node, traced)
    # Shapes are given, not inferred: behind a Reshape the batch would be another one, and sums would not be fused.
    *nodes, result = traced.graph.nodes
    if result.args[0] is not nodes[-1] or len(nodes) < 2:
        raise Untranslatable("what it computes last is not its output")
    x, *between, y = map(_typed, nodes)
    body = helper.make_graph(graph.nodes, "hwnas", [x], [y], graph.weights, value_info=between)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def _merge(traced: fx.GraphModule) -> None:
    """What computes the same of the same is computed once, as the dynamo exporter has it: in a cell several edges begin
    with a ReLU of one node. OpenVINO 2026.4 dies of the repeated ones in int8."""
    first: dict[Any, fx.Node] = {}
    for node in list(traced.graph.nodes):
        what = node.target
        if node.op == "call_module":
            module = traced.get_submodule(str(node.target))
            what = str(module) if not module.state_dict() else node
        if node.op not in ("placeholder", "output"):
            kept = first.setdefault((node.op, what, str(node.args), str(node.kwargs)), node)
            if kept is not node:
                node.replace_all_uses_with(kept)
                traced.graph.erase_node(node)


class _Graph:
    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def translate(self, node: fx.Node, traced: fx.GraphModule) -> None:
        if node.op in ("placeholder", "output"):
            return
        if node.op == "call_module":
            module = traced.get_submodule(str(node.target))
            key: Any = type(module)
        elif node.op in ("call_function", "call_method"):
            module, key = None, node.target
        else:
            raise Untranslatable(f"{node.op} {node.target}")
        if key not in _WRITERS:
            raise Untranslatable(str(key))
        _WRITERS[key](self, node, module)

    def weight(self, name: str, tensor: torch.Tensor | np.ndarray) -> str:
        array = tensor.detach().numpy() if isinstance(tensor, torch.Tensor) else tensor
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def emit(self, op: str, node: fx.Node, *more: str, **attributes: Any) -> None:
        inputs = [str(argument) for argument in node.args if isinstance(argument, fx.Node)]
        self.chain(op, [*inputs, *more], node.name, **attributes)

    def chain(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """One of several ONNX nodes that make up a node of the trace. Its output's name."""
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output


def _typed(node: fx.Node) -> onnx.ValueInfoProto:
    kind = TensorProto.INT64 if node.meta["tensor_meta"].dtype == torch.int64 else TensorProto.FLOAT
    return helper.make_tensor_value_info(node.name, kind, ["batch", *_shape(node)[1:]])


def _shape(node: fx.Node) -> tuple[int, ...]:
    """With a batch of 2."""
    return tuple(node.meta["tensor_meta"].shape)


def _conv(graph: _Graph, node: fx.Node, conv: nn.Conv2d) -> None:
    assert isinstance(conv.padding, tuple) and conv.padding_mode == "zeros"
    weights = [graph.weight(f"{node.name}.weight", conv.weight)]
    if conv.bias is not None:
        weights.append(graph.weight(f"{node.name}.bias", conv.bias))
    graph.emit(
        "Conv",
        node,
        *weights,
        kernel_shape=list(conv.kernel_size),
        strides=list(conv.stride),
        pads=[*conv.padding, *conv.padding],
        dilations=list(conv.dilation),
        group=conv.groups,
    )


def _batch_norm(graph: _Graph, node: fx.Node, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    tensors = {"scale": norm.weight, "bias": norm.bias, "mean": norm.running_mean, "var": norm.running_var}
    weights = [graph.weight(f"{node.name}.{key}", tensor) for key, tensor in tensors.items()]
    graph.emit("BatchNormalization", node, *weights, epsilon=norm.eps)


def _relu6(graph: _Graph, node: fx.Node, _: nn.Module) -> None:
    _clip(graph, node, 0, 6)


def _clamp(graph: _Graph, node: fx.Node, _: None) -> None:
    _clip(graph, node, *node.args[1:])


def _clip(graph: _Graph, node: fx.Node, low: Any, high: Any) -> None:
    ends = (("min", low), ("max", high))
    graph.emit("Clip", node, *(graph.weight(f"{node.name}.{name}", np.array(end, np.float32)) for name, end in ends))


def _embedding(graph: _Graph, node: fx.Node, table: nn.Embedding) -> None:
    graph.chain("Gather", [graph.weight(f"{node.name}.weight", table.weight), str(node.args[0])], node.name)


def _linear(graph: _Graph, node: fx.Node, linear: nn.Linear) -> None:
    weights = [graph.weight(f"{node.name}.weight", linear.weight)]
    if linear.bias is not None:
        weights.append(graph.weight(f"{node.name}.bias", linear.bias))
    graph.emit("Gemm", node, *weights, transB=1)


def _global_average(graph: _Graph, node: fx.Node, pool: nn.AdaptiveAvgPool2d) -> None:
    if pool.output_size not in (1, (1, 1)):
        raise Untranslatable(f"adaptive pooling to {pool.output_size}")
    # As the dynamo exporter writes it: ONNX Runtime has other kernels for GlobalAveragePool.
    axes = graph.weight(f"{node.name}.axes", np.array([-1, -2], np.int64))
    graph.emit("ReduceMean", node, axes, keepdims=1)


def _average(graph: _Graph, node: fx.Node, pool: nn.AvgPool2d) -> None:
    if pool.divisor_override:
        raise Untranslatable(str(pool))
    graph.emit("AveragePool", node, **_window(pool), count_include_pad=int(pool.count_include_pad))


def _largest(graph: _Graph, node: fx.Node, pool: nn.MaxPool2d) -> None:
    if pool.return_indices or pool.dilation not in (1, (1, 1)):
        raise Untranslatable(str(pool))
    graph.emit("MaxPool", node, **_window(pool))


def _window(pool: nn.AvgPool2d | nn.MaxPool2d) -> dict[str, list[int]]:
    if pool.ceil_mode:
        raise Untranslatable(str(pool))
    kernel, stride, padding = (
        [size, size] if isinstance(size, int) else list(size) for size in (pool.kernel_size, pool.stride, pool.padding)
    )
    return {"kernel_shape": kernel, "strides": stride, "pads": [*padding, *padding]}


def _product(graph: _Graph, node: fx.Node, _: None) -> None:
    factors = [a for a in node.args if not isinstance(a, fx.Node)]
    graph.emit("Mul", node, *(graph.weight(f"{node.name}.factor", np.array(f, np.float32)) for f in factors))


def _swish(graph: _Graph, node: fx.Node, _: nn.Module) -> None:
    """Opset 18 has no operator of its own for it."""
    x = str(node.args[0])
    gate = graph.chain("Sigmoid", [x], f"{node.name}.gate")
    graph.chain("Mul", [x, gate], node.name)


def _channel_shuffle(graph: _Graph, node: fx.Node, shuffle: nn.ChannelShuffle) -> None:
    _, channels, *size = _shape(node)
    groups = np.array([-1, shuffle.groups, channels // shuffle.groups, *size], np.int64)
    whole = np.array([-1, channels, *size], np.int64)
    split = graph.chain(
        "Reshape", [str(node.args[0]), graph.weight(f"{node.name}.groups", groups)], f"{node.name}.split"
    )
    turned = graph.chain("Transpose", [split], f"{node.name}.turned", perm=[0, 2, 1, 3, 4])
    graph.chain("Reshape", [turned, graph.weight(f"{node.name}.whole", whole)], node.name)


def _part(graph: _Graph, node: fx.Node, _: None) -> None:
    """`x[:, first:last]`, `x[..., first:last]` and the like: as the dynamo exporter, one Slice an axis."""
    source = str(node.args[0])
    place: Any = node.args[1]
    if isinstance(place, tuple) and place[0] is Ellipsis:
        place = (*[slice(None)] * (len(_shape(node)) - len(place) + 1), *place[1:])
    plain = isinstance(place, tuple) and all(isinstance(part, slice) and part.step is None for part in place)
    cut = [(axis, part) for axis, part in enumerate(place) if part != slice(None)] if plain else []
    if not cut or cut[0][0] == 0:
        raise Untranslatable(f"indexing with {place}")
    for axis, part in cut:
        stop = np.iinfo(np.int64).max if part.stop is None else part.stop
        values = {"starts": part.start or 0, "ends": stop, "axes": axis, "steps": 1}
        name = node.name if axis == cut[-1][0] else f"{node.name}.axis{axis}"
        ends = [graph.weight(f"{name}.{key}", np.array([value], np.int64)) for key, value in values.items()]
        source = graph.chain("Slice", [source, *ends], name)


def _joined(graph: _Graph, node: fx.Node, _: None) -> None:
    parts, axis = node.args
    assert isinstance(parts, (list, tuple)) and isinstance(axis, int)
    graph.chain("Concat", [str(part) for part in parts], node.name, axis=axis)


def _plain(op: str, **attributes: Any) -> Callable[[_Graph, fx.Node, Any], None]:
    return lambda graph, node, _: graph.emit(op, node, **attributes)


_WRITERS: dict[Any, Callable[[_Graph, fx.Node, Any], None]] = {
    nn.Conv2d: _conv,
    nn.BatchNorm2d: _batch_norm,
    nn.Linear: _linear,
    nn.AdaptiveAvgPool2d: _global_average,
    nn.AvgPool2d: _average,
    nn.MaxPool2d: _largest,
    nn.ReLU6: _relu6,
    nn.ReLU: _plain("Relu"),
    nn.Sigmoid: _plain("Sigmoid"),
    nn.Hardsigmoid: _plain("HardSigmoid", alpha=1 / 6, beta=0.5),
    nn.Hardswish: _plain("HardSwish"),
    nn.SiLU: _swish,
    nn.ChannelShuffle: _channel_shuffle,
    nn.Flatten: _plain("Flatten", axis=1),
    nn.Identity: _plain("Identity"),
    nn.Embedding: _embedding,
    "long": _plain("Cast", to=TensorProto.INT64),
    torch.clamp: _clamp,
    torch.relu: _plain("Relu"),
    torch.sigmoid: _plain("Sigmoid"),
    torch.tanh: _plain("Tanh"),
    operator.sub: _plain("Sub"),
    operator.add: _plain("Add"),
    operator.mul: _product,
    operator.getitem: _part,
    torch.cat: _joined,
}
