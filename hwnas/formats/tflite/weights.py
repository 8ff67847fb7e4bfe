"""Operators with weights: Conv and Gemm."""

from dataclasses import dataclass

import numpy as np
import onnx
from ai_edge_litert import schema_py_generated as schema

from hwnas.core.errors import BadInput
from hwnas.formats.reader import attributes
from hwnas.formats.tflite.converter import Converter, Value
from hwnas.formats.tflite.writer import Quantisation


@dataclass(frozen=True)
class Weights:
    """`data`: [outputs, ...] float32, or int8 with a scale each; `bias`: [outputs] float64."""

    data: np.ndarray
    scale: np.ndarray | None
    bias: np.ndarray


def convolution(c: Converter, node: onnx.NodeProto) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D where every input channel is a group."""
    a, x, weights = attributes(node), c.value(node.input[0]), _weights(c, node)
    groups, channels = a.get("group", 1), x.shape[-1]
    strides, pads = a.get("strides", [1, 1]), a.get("pads", [0] * 4)
    if weights.data.ndim != 4 or set(a.get("dilations", [1])) != {1} or a.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise BadInput(f"the Conv '{node.name}' is dilated, padded automatically or not of two dimensions")
    if groups not in (1, channels):
        raise BadInput(f"the Conv '{node.name}' has {groups} groups of {channels} channels: TFLite takes 1 or all")
    outputs, own, *kernel = weights.data.shape
    if len(x.shape) != 4 or own * groups != channels or outputs % groups or not _sound(strides, pads):
        raise BadInput(f"the Conv '{node.name}' with weights {weights.data.shape} does not fit its input {x.shape}")
    begins, ends = pads[:2], pads[2:]
    sizes = [
        (n + b + e - k) // s + 1 for n, b, e, k, s in zip(x.shape[1:3], begins, ends, kernel, strides, strict=True)
    ]
    out, activation = c.place(node.output[0], (x.shape[0], *sizes, outputs), x, activation=True)
    x, padding = _pad(c, x, out, kernel, strides, begins)
    shared = {"padding": padding, "strideH": strides[0], "strideW": strides[1], "fusedActivationFunction": activation}
    if groups == 1:
        options, builtin = schema.Conv2DOptionsT(**shared), schema.BuiltinOperator.CONV_2D
        order, axis = (0, 2, 3, 1), 0
    else:
        options = schema.DepthwiseConv2DOptionsT(**shared, depthMultiplier=outputs // channels)
        builtin, order, axis = schema.BuiltinOperator.DEPTHWISE_CONV_2D, (1, 2, 3, 0), 3
    c.out.operator(builtin, [x.index, *_constants(c, node, weights, x, order, axis)], out.index, options)


def gemm(c: Converter, node: onnx.NodeProto) -> None:
    """FULLY_CONNECTED: x · Wᵀ + b."""
    a, x, weights = attributes(node), c.value(node.input[0]), _weights(c, node)
    plain = a.get("alpha", 1.0) == a.get("beta", 1.0) == a.get("transB", 0) == 1 and not a.get("transA", 0)
    if not plain or len(x.shape) != 2 or weights.data.shape[1:] != x.shape[1:]:
        raise BadInput(f"the Gemm '{node.name}' is not a linear layer: [batch, features] times transposed weights")
    out, activation = c.place(node.output[0], (x.shape[0], len(weights.data)), x, activation=True)
    inputs = [x.index, *_constants(c, node, weights, x, (0, 1), 0)]
    options = schema.FullyConnectedOptionsT(fusedActivationFunction=activation)
    c.out.operator(schema.BuiltinOperator.FULLY_CONNECTED, inputs, out.index, options)


def _weights(c: Converter, node: onnx.NodeProto) -> Weights:
    data, scale = _stored(c, node.input[1], np.int8)
    bias = np.zeros(len(data))
    if len(node.input) > 2 and node.input[2]:
        stored, bias_scale = _stored(c, node.input[2], np.int32)
        bias = stored.astype(np.float64) * (1.0 if bias_scale is None else bias_scale)
    if data.ndim < 2 or bias.shape != data.shape[:1]:
        raise BadInput(f"the {node.op_type} '{node.name}' has weights {data.shape} and a bias {bias.shape}")
    return Weights(data, scale, bias)


def _stored(c: Converter, name: str, kind: type) -> tuple[np.ndarray, np.ndarray | None]:
    """A float constant; or one stored as `kind`, and its scales [outputs]. Raises BadInput unless symmetric."""
    producer = c.graph.producer(name)
    if producer is None or producer.op_type != "DequantizeLinear":
        data = c.graph.constant(name)
        if data.dtype != np.float32 or not data.ndim:
            raise BadInput(f"'{name}' is {data.dtype} {data.shape}, where TFLite wants float32 weights")
        return data, None
    data, scale, *zero = (c.graph.constant(part) for part in producer.input if part)
    along = attributes(producer).get("axis", 1) == 0 and scale.shape == data.shape[:1]
    sound = bool(((scale > 0) & (scale < np.inf)).all()) and (along or scale.size == 1)
    if data.dtype != kind or not data.ndim or np.any(zero) or not sound:
        raise BadInput(f"'{name}' is not symmetric {kind.__name__} with scales along the first axis")
    return data, np.broadcast_to(scale.reshape(-1), len(data)).astype(np.float64)


def _sound(strides: list[int], pads: list[int]) -> bool:
    return len(strides) == 2 and len(pads) == 4 and min(strides) > 0 and max(strides) < 256 and min(pads) >= 0


def _constants(
    c: Converter, node: onnx.NodeProto, weights: Weights, x: Value, order: tuple[int, ...], axis: int
) -> list[int]:
    """The weight and bias tensors. int8 accumulates in int32 at the scale of x times that of the weights."""
    if (weights.scale is None) != (x.quant is None):
        raise BadInput(f"the {node.op_type} '{node.name}' has quantised weights or a quantised input, not both")
    data = np.ascontiguousarray(weights.data.transpose(order))
    if x.quant is None or weights.scale is None:
        return [
            c.out.constant(f"{node.name}/weight", data.astype(np.float32)),
            c.out.constant(f"{node.name}/bias", weights.bias.astype(np.float32)),
        ]
    total = weights.scale * x.quant.scale[0]
    bias = np.clip(np.round(weights.bias / total), -(2**31), 2**31 - 1).astype(np.int32)
    return [
        c.out.constant(f"{node.name}/weight", data, Quantisation(tuple(weights.scale), axis=axis)),
        c.out.constant(f"{node.name}/bias", bias, Quantisation(tuple(total))),
    ]


def _pad(
    c: Converter, x: Value, out: Value, kernel: list[int], strides: list[int], begins: list[int]
) -> tuple[Value, int]:
    """PyTorch pads both sides alike; TFLite's SAME puts the odd pixel last. Where they differ, a PAD comes first."""
    sizes = zip(x.shape[1:3], out.shape[1:3], kernel, strides, begins, strict=True)
    needed = [(b, max(0, (o - 1) * s + k - n - b)) for n, o, k, s, b in sizes]
    if not any(map(any, needed)):
        return x, schema.Padding.VALID
    if needed == [_same(*axis) for axis in zip(x.shape[1:3], out.shape[1:3], kernel, strides, strict=True)]:
        return x, schema.Padding.SAME
    shape = [n + sum(pad) for n, pad in zip(x.shape, [(0, 0), *needed, (0, 0)], strict=True)]
    padded = c.temporary(shape, x.quant)
    amounts = c.out.constant("", np.array([(0, 0), *needed, (0, 0)], np.int32))
    c.out.operator(schema.BuiltinOperator.PAD, [x.index, amounts], padded.index, schema.PadOptionsT())
    return padded, schema.Padding.VALID


def _same(size: int, out: int, kernel: int, stride: int) -> tuple[int, int] | None:
    """What SAME pads; None where it would give another size."""
    if out != -(-size // stride):
        return None
    total = max(0, (out - 1) * stride + kernel - size)
    return total // 2, total - total // 2
