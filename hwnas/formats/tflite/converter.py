"""The walk from ONNX nodes to TFLite operators, and what every operator's writer needs on the way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from ai_edge_litert.schema_py_generated import ActivationFunctionType, BuiltinOperator

from hwnas.core.errors import BadInput
from hwnas.formats.reader import OnnxGraph
from hwnas.formats.tflite.writer import Quantisation, Writer

_FUSED: dict[tuple[float, ...], int] = {
    (0.0, 6.0): ActivationFunctionType.RELU6,
    (0.0, np.inf): ActivationFunctionType.RELU,
}


@dataclass(frozen=True)
class Value:
    """A TFLite tensor. `shape`: [batch, height, width, channels] or [batch, features]."""

    index: int
    shape: tuple[int, ...]
    quant: Quantisation | None


class Converter:
    """`values`: what each ONNX tensor became. A quantised tensor, its Q and its DQ are one and the same."""

    def __init__(self, graph: OnnxGraph, batch: int) -> None:
        self.graph, self.out = graph, Writer()
        self.values: dict[str, Value] = {}
        self._source = self.place(graph.input, self._input_shape(batch), None)[0]

    def convert(self, operators: dict[str, Callable[["Converter", onnx.NodeProto], None]]) -> bytes:
        for node in self.graph.nodes:
            done = node.output[0] in self.values or self.graph.is_constant(node.output[0])
            if done or self._makes_weights(node):
                continue
            if node.op_type not in operators:
                raise BadInput(f"the operator {node.op_type} ('{node.name}') cannot be written as TFLite")
            operators[node.op_type](self, node)
        return self.out.finish(self._source.index, self.value(self.graph.output).index)

    def value(self, name: str) -> Value:
        if name not in self.values:
            raise BadInput(f"'{name}' is a constant, where the TFLite writer needs a computed tensor")
        return self.values[name]

    def place(
        self, name: str, shape: Sequence[int], source: Value | None, activation: bool = False
    ) -> tuple[Value, int]:
        """The tensor that an operator writes for the ONNX tensor `name`, and its fused activation: what follows is
        absorbed, first a ReLU where `activation` allows one, then Q. `source`: the operator's input.

        Raises BadInput when the input is quantised and the output is not.
        """
        names, kind = [name], ActivationFunctionType.NONE
        follower = self.graph.sole_consumer(name)
        if activation and follower is not None and (found := self.activation(follower)) is not None:
            kind = found
            names.append(follower.output[0])
            follower = self.graph.sole_consumer(names[-1])
        quant = None
        if follower is not None and follower.op_type == "QuantizeLinear":
            quant = self.quantisation(follower)
            names.append(follower.output[0])
        elif source is not None and source.quant is not None:
            raise BadInput(f"'{name}' is computed from quantised tensors and not quantised itself")
        return self._bind(names, shape, quant), kind

    def keep(self, name: str, shape: Sequence[int], source: Value) -> tuple[Value, Value]:
        """For operators that move numbers and compute none: the output, quantised as asked or else as its input, and
        the input brought to the same quantisation."""
        follower = self.graph.sole_consumer(name)
        if follower is None or follower.op_type != "QuantizeLinear":
            return self._bind([name], shape, source.quant), source
        quant = self.quantisation(follower)
        out = self._bind([name, follower.output[0]], shape, quant)
        return out, self.requantised(source, quant)

    def requantised(self, value: Value, quant: Quantisation) -> Value:
        if value.quant == quant:
            return value
        made = self.temporary(value.shape, quant)
        self.out.operator(BuiltinOperator.QUANTIZE, [value.index], made.index)
        return made

    def temporary(self, shape: Sequence[int], quant: Quantisation | None) -> Value:
        return Value(self.out.activation("", shape, quant), tuple(shape), quant)

    def number(self, real: float, quantised: bool) -> int:
        """A constant of one element, exact in either precision."""
        if not quantised:
            return self.out.constant("", np.array(real, np.float32))
        quant = Quantisation((real / 127,))
        return self.out.constant("", quant.quantise(real), quant)

    def activation(self, node: onnx.NodeProto) -> Any:
        """The fused activation that a node stands for, or None."""
        if node.op_type == "Relu":
            return ActivationFunctionType.RELU
        if node.op_type != "Clip":
            return None
        ends = zip([*node.input[1:], "", ""], (-np.inf, np.inf), strict=False)
        low, high = (self.graph.constant(name).ravel().tolist() if name else [open_end] for name, open_end in ends)
        return _FUSED.get((*low, *high))

    def quantisation(self, node: onnx.NodeProto) -> Quantisation:
        """Of an activation: one scale a tensor; uint8 is int8 moved by 128. Raises BadInput for another form."""
        scale = self.graph.constant(node.input[1])
        zero = self.graph.constant(node.input[2]) if len(node.input) > 2 else np.array(0, np.uint8)
        if zero.dtype not in (np.int8, np.uint8) or scale.size != 1 or zero.size != 1 or not 0 < scale.item() < np.inf:
            raise BadInput(
                f"'{node.input[0]}' is quantised as {zero.dtype} with {scale.size} scales, not int8 with one"
            )
        return Quantisation((scale.item(),), zero.item() - (128 if zero.dtype == np.uint8 else 0))

    def _bind(self, names: list[str], shape: Sequence[int], quant: Quantisation | None) -> Value:
        if min(shape) < 1:
            raise BadInput(f"'{names[0]}' would have the shape {tuple(shape)}")
        value = Value(self.out.activation(names[-1], shape, quant), tuple(shape), quant)
        self.values |= dict.fromkeys(names, value)
        return value

    def _makes_weights(self, node: onnx.NodeProto) -> bool:
        return node.op_type == "DequantizeLinear" and self.graph.is_constant(node.input[0])

    def _input_shape(self, batch: int) -> tuple[int, ...]:
        first, *rest = self.graph.input_shape or (None,)
        sizes = [size for size in rest if size is not None]
        if len(sizes) != len(rest) or len(rest) not in (1, 3):
            raise BadInput(f"the model's input shape {self.graph.input_shape} is not [batch, channels, height, width]")
        if first not in (None, batch):
            raise BadInput(f"the model takes a batch of {first}, not of {batch}", "export it with a dynamic batch")
        return (batch, *sizes[1:], sizes[0])
