"""fp32 → int8: ONNX with explicit quantisation (QDQ), static: ranges come from samples, nothing is decided at run time.

Every float tensor between operators becomes `T → QuantizeLinear → DequantizeLinear → readers`, the input and the logits
included, with one scale a tensor. Weights of Conv and Gemm are symmetric int8, one scale an output channel (axis 0);
biases stay float32, and every runtime makes them int32 itself, in steps of its input's scale times the weight's. Batch
norm is folded first; operators that only move numbers keep their input's scale.

u8s8: activations unsigned, asymmetric. A ReLU or ReLU6 before a Q says nothing that its range does not, and is dropped.
u8s7: the same with 63 steps of a weight to each side instead of 127 (`hwnas.formats.Int8Form` says why).
s8s8: activations signed, symmetric (TensorRT takes no zero point); ReLUs stay, fused by the runtime.

Layers that are to stay in float read and write what was never rounded.

onnxruntime.quantization writes much the same, through files and in ten times as long; a profile needs a hundred.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from hwnas.formats import Int8Form, weight_steps
from hwnas.formats.fold import drop_unread, fold_batch_norm, readers_of
from hwnas.formats.ranges import Range, activation_ranges

_MOVES = ("Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
_CLIPS = ("Clip", "Relu")
_MOST_BIAS = 2.0**30
"""Steps of a bias: half of what int32 holds. A channel that training gave up has weights of 1e-20, but a real bias."""


def quantize(model: bytes, samples: np.ndarray, form: Int8Form, floats: frozenset[str] = frozenset()) -> bytes:
    """`model`: ONNX fp32 with one input; `samples`: [n, ...] float32 inputs as the network sees them; `floats`: the
    Conv and Gemm that stay in float, by the names of their weights. Deterministic.

    Raises BadInput when an activation is infinite.
    """
    return Calibrated.of(model, samples).quantize(form, floats)


@dataclass(frozen=True)
class Calibrated:
    """A network whose ranges are known: to be rounded in more than one way."""

    model: onnx.ModelProto
    ranges: dict[str, Range]

    @classmethod
    def of(cls, model: bytes, samples: np.ndarray) -> "Calibrated":
        """As `quantize`."""
        proto = onnx.load_model_from_string(model)
        fold_batch_norm(proto.graph)
        return cls(proto, activation_ranges(proto, samples))

    def layers(self) -> list[str]:
        """What can stay in float: the names of the weights of Conv and Gemm."""
        constants = {tensor.name for tensor in self.model.graph.initializer}
        return [n.input[1] for n in self.model.graph.node if _has_channels_first(n) and n.input[1] in constants]

    def quantize(self, form: Int8Form, floats: frozenset[str] = frozenset()) -> bytes:
        proto = onnx.ModelProto()
        proto.CopyFrom(self.model)
        if form != "s8s8":
            _drop_relus(proto.graph, floats)
        _Writer(proto.graph, self.ranges, form, floats).write()
        return proto.SerializeToString()


def _drop_relus(graph: onnx.GraphProto, floats: frozenset[str]) -> None:
    """In place: those that start at 0. Unsigned, their output's zero point is 0 and its range ends where they clip.
    One that a layer in float reads stays: nothing else would clip."""
    exact = {node.input[0] for node in graph.node if _in_float(node, floats)}
    readers, makers = readers_of(graph), {node.output[0]: node for node in graph.node}
    zeros = {tensor.name for tensor in graph.initializer if not numpy_helper.to_array(tensor).any()}
    for node in list(graph.node):
        starts_at_0 = node.op_type == "Relu" or (node.op_type == "Clip" and zeros.intersection(node.input[1:2]))
        maker = makers.get(node.input[0]) if starts_at_0 else None
        alone = maker is not None and readers[node.input[0]] == 1 and node.output[0] not in exact
        if maker is not None and alone and maker.op_type not in _MOVES:
            maker.output[0] = node.output[0]
            graph.node.remove(node)


def _has_channels_first(node: onnx.NodeProto) -> bool:
    """Are the output channels axis 0 of the node's weight?"""
    turned = any(a.name == "transB" and a.i for a in node.attribute)
    return node.op_type == "Conv" or (node.op_type == "Gemm" and turned)


def _in_float(node: onnx.NodeProto, floats: frozenset[str]) -> bool:
    return len(node.input) > 1 and node.input[1] in floats


class _Writer:
    """Rewrites a graph in place."""

    def __init__(
        self, graph: onnx.GraphProto, ranges: dict[str, Range], form: Int8Form, floats: frozenset[str]
    ) -> None:
        self.graph, self.ranges, self.floats = graph, ranges, floats
        self.form: Int8Form = form
        self.weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.nodes: list[onnx.NodeProto] = []
        self.reads: dict[str, str] = {}
        """Tensor → the dequantised one that its readers read instead."""
        self.scales: dict[str, float] = {}
        self.steps: dict[str, list[str]] = {}
        """Tensor → the names of its scale and its zero point."""

    def write(self) -> None:
        graph = self.graph
        readers = readers_of(graph)
        clipped = {node.input[0] for node in graph.node if node.op_type in _CLIPS}
        fused = {name for name in clipped if readers[name] == 1} - self.outputs
        read = {name for node in graph.node if not _in_float(node, self.floats) for name in node.input} | self.outputs
        if graph.input[0].name in read:
            self._round(graph.input[0].name, graph.input[0].name)
        for node in graph.node:
            source = node.input[0] if node.op_type in _MOVES else None
            if not _in_float(node, self.floats):
                if _has_channels_first(node) and node.input[0] in self.scales and node.input[1] in self.weights:
                    self._round_weight(node)
                node.input[:] = [self.reads.get(name, name) for name in node.input]
            self.nodes.append(node)
            for place, name in enumerate(node.output):
                if name in self.ranges and name in read and name not in fused:
                    if name in self.outputs:  # an output keeps its name
                        node.output[place] = f"{name}.exact"
                    self._round(name, node.output[place], source)
        del graph.node[:], graph.value_info[:]
        graph.node.extend(self.nodes)
        drop_unread(graph)

    def _round(self, name: str, computed: str, source: str | None = None) -> None:
        """Q and DQ behind the tensor `name`, which is computed as `computed`, with the scale of `source` if given."""
        if source in self.steps:
            self.scales[name], self.steps[name] = self.scales[source], self.steps[source]
        else:
            self._calibrate(name)
        rounded = name if name in self.outputs else f"{name}.dq"
        self._emit("QuantizeLinear", [computed, *self.steps[name]], f"{name}.q")
        self._emit("DequantizeLinear", [f"{name}.q", *self.steps[name]], rounded)
        self.reads[name] = rounded

    def _calibrate(self, name: str) -> None:
        low, high = self.ranges[name]
        if self.form != "s8s8":
            scale = (high - low) / 255 or 1.0
            zero = np.uint8(round(-low / scale))
        else:
            scale, zero = max(-low, high) / 127 or 1.0, np.int8(0)
        self.scales[name] = scale
        self.steps[name] = self._constants(name, scale=np.float32(scale), zero=zero)

    def _round_weight(self, node: onnx.NodeProto) -> None:
        name = node.input[1]
        if name in self.reads:
            return
        weight, bias = self.weights[name], self.weights.get("".join(node.input[2:]), np.zeros(1))
        scale = np.abs(weight).reshape(len(weight), -1).max(1) / weight_steps(self.form)
        scale = np.maximum(scale, np.abs(bias) / self.scales[node.input[0]] / _MOST_BIAS)
        scale = np.where(scale > 0, scale, 1).astype(np.float32)
        whole = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        parts = self._constants(name, values=whole, scale=scale, zero=np.zeros(len(weight), np.int8))
        self._emit("DequantizeLinear", parts, f"{name}.dq", axis=0)
        self.reads[name] = f"{name}.dq"

    def _constants(self, name: str, **values: np.ndarray | np.generic) -> list[str]:
        """Their names."""
        made = [numpy_helper.from_array(np.asarray(value), f"{name}.q_{kind}") for kind, value in values.items()]
        self.graph.initializer.extend(made)
        return [tensor.name for tensor in made]

    def _emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=f"{output}.{op}", **attributes))
