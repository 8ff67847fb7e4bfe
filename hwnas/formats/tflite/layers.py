"""Operators without weights. `OPERATORS` has a line for every ONNX operator that can be written."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from hwnas.core.errors import BadInput
from hwnas.formats.reader import attributes
from hwnas.formats.tflite.converter import Converter
from hwnas.formats.tflite.weights import convolution, gemm
from hwnas.formats.tflite.writer import Quantisation

_Writer = Callable[[Converter, onnx.NodeProto], None]
_RELU = {
    schema.ActivationFunctionType.RELU: schema.BuiltinOperator.RELU,
    schema.ActivationFunctionType.RELU6: schema.BuiltinOperator.RELU6,
}
_SIGMOID = Quantisation((1 / 256,), -128)
"""The only quantisation that TFLite's LOGISTIC writes."""


def _elementwise(builtin: int, options: type) -> _Writer:
    """Of two tensors, broadcast."""

    def write(c: Converter, node: onnx.NodeProto) -> None:
        left, right = (c.value(name) for name in node.input)
        if len(left.shape) != len(right.shape):
            raise BadInput(f"the {node.op_type} '{node.name}' broadcasts over dimensions, which moves channels in NHWC")
        if (left.quant is None) != (right.quant is None):
            raise BadInput(f"the {node.op_type} '{node.name}' has one quantised input and one that is not")
        if any(1 not in sizes and len(set(sizes)) > 1 for sizes in zip(left.shape, right.shape, strict=True)):
            raise BadInput(f"the {node.op_type} '{node.name}' has inputs {left.shape} and {right.shape}")
        shape = np.broadcast_shapes(left.shape, right.shape)
        out, activation = c.place(node.output[0], shape, left, activation=True)
        c.out.operator(builtin, [left.index, right.index], out.index, options(fusedActivationFunction=activation))

    return write


def _relu(c: Converter, node: onnx.NodeProto) -> None:
    kind, x = c.activation(node), c.value(node.input[0])
    if kind is None:
        raise BadInput(f"the Clip '{node.name}' is neither a ReLU nor a ReLU6, which is all that TFLite has")
    out, _ = c.place(node.output[0], x.shape, x)
    c.out.operator(_RELU[kind], [x.index], out.index)


def _hard_swish(c: Converter, node: onnx.NodeProto) -> None:
    x = c.value(node.input[0])
    out, _ = c.place(node.output[0], x.shape, x)
    c.out.operator(schema.BuiltinOperator.HARD_SWISH, [x.index], out.index, schema.HardSwishOptionsT())


def _hard_sigmoid(c: Converter, node: onnx.NodeProto) -> None:
    """relu6(x + 3) / 6, as MobileNetV3 has it: TFLite knows no hard sigmoid."""
    a, x = attributes(node), c.value(node.input[0])
    if not abs(a.get("alpha", 0.2) - 1 / 6) < 1e-6 or a.get("beta", 0.5) != 0.5:
        raise BadInput(f"the HardSigmoid '{node.name}' is not PyTorch's (alpha 1/6, beta 0.5)")
    out, _ = c.place(node.output[0], x.shape, x)
    int8 = x.quant is not None
    raised = c.temporary(x.shape, Quantisation((6 / 255,), -128) if int8 else None)
    add = schema.AddOptionsT(fusedActivationFunction=schema.ActivationFunctionType.RELU6)
    c.out.operator(schema.BuiltinOperator.ADD, [x.index, c.number(3, int8)], raised.index, add)
    inputs = [raised.index, c.number(1 / 6, int8)]
    c.out.operator(schema.BuiltinOperator.MUL, inputs, out.index, schema.MulOptionsT())


def _sigmoid(c: Converter, node: onnx.NodeProto) -> None:
    x = c.value(node.input[0])
    out, _ = c.place(node.output[0], x.shape, x)
    fixed = out if out.quant in (None, _SIGMOID) else c.temporary(x.shape, _SIGMOID)
    c.out.operator(schema.BuiltinOperator.LOGISTIC, [x.index], fixed.index)
    if fixed is not out:
        c.out.operator(schema.BuiltinOperator.QUANTIZE, [fixed.index], out.index)


def _mean(c: Converter, node: onnx.NodeProto) -> None:
    """Of height and width: ReduceMean, or GlobalAveragePool."""
    a, x = attributes(node), c.value(node.input[0])
    axes = c.graph.constant(node.input[1]) if len(node.input) > 1 else np.array(a.get("axes", [2, 3]))
    if len(x.shape) != 4 or {int(axis) % 4 for axis in axes.reshape(-1)} != {2, 3}:
        raise BadInput(f"the {node.op_type} '{node.name}' is not a mean over height and width")
    keep = node.op_type == "GlobalAveragePool" or bool(a.get("keepdims", 1))
    batch, _, _, channels = x.shape
    out, _ = c.place(node.output[0], (batch, 1, 1, channels) if keep else (batch, channels), x)
    inputs = [x.index, c.out.constant("", np.array([1, 2], np.int32))]
    c.out.operator(schema.BuiltinOperator.MEAN, inputs, out.index, schema.ReducerOptionsT(keepDims=keep))


def _flatten(c: Converter, node: onnx.NodeProto) -> None:
    """To [batch, features]. A map larger than 1×1 would need a transpose: NHWC has its numbers in another order."""
    x = c.value(node.input[0])
    batch, features = x.shape[0], prod(x.shape[1:])
    if node.op_type == "Flatten":
        asked = [batch, features] if attributes(node).get("axis", 1) == 1 else []
    else:
        asked = [int(size) for size in c.graph.constant(node.input[1]).reshape(-1)]
    whole = len(asked) == 2 and asked[0] in (-1, 0, batch) and asked[1] in (-1, features)
    if not whole or features != x.shape[-1]:
        raise BadInput(
            f"the {node.op_type} '{node.name}' of {x.shape} to {asked} is more than a flattening of 1×1 maps"
        )
    out, x = c.keep(node.output[0], (batch, features), x)
    shape = np.array([-1, features], np.int32)  # the batch stays open, for an interpreter that is resized
    options = schema.ReshapeOptionsT(newShape=shape)
    c.out.operator(schema.BuiltinOperator.RESHAPE, [x.index, c.out.constant("", shape)], out.index, options)


def _same(c: Converter, node: onnx.NodeProto) -> None:
    """Identity, and Dropout."""
    c.values[node.output[0]] = c.value(node.input[0])


def _dequantise(c: Converter, node: onnx.NodeProto) -> None:
    """In TFLite, a property of the tensor."""
    x = c.value(node.input[0])
    if x.quant != c.quantisation(node):
        raise BadInput(f"the DequantizeLinear '{node.name}' undoes another quantisation than its input's")
    c.values[node.output[0]] = x


def _quantise(c: Converter, node: onnx.NodeProto) -> None:
    """A change of scale that no operator before it absorbed."""
    c.values[node.output[0]] = c.requantised(c.value(node.input[0]), c.quantisation(node))


OPERATORS: dict[str, Any] = {
    "Conv": convolution,
    "Gemm": gemm,
    "Add": _elementwise(schema.BuiltinOperator.ADD, schema.AddOptionsT),
    "Mul": _elementwise(schema.BuiltinOperator.MUL, schema.MulOptionsT),
    "Relu": _relu,
    "Clip": _relu,
    "HardSwish": _hard_swish,
    "HardSigmoid": _hard_sigmoid,
    "Sigmoid": _sigmoid,
    "ReduceMean": _mean,
    "GlobalAveragePool": _mean,
    "Flatten": _flatten,
    "Reshape": _flatten,
    "Identity": _same,
    "Dropout": _same,
    "DequantizeLinear": _dequantise,
    "QuantizeLinear": _quantise,
}
