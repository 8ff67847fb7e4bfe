"""Batch norm folded into the convolution before it, as every runtime does; rounding must come after."""

from collections import Counter

import numpy as np
import onnx
from onnx import numpy_helper


def fold_batch_norm(graph: onnx.GraphProto) -> None:
    """In place: Conv → BatchNormalization becomes one Conv with a bias, where nothing else reads what is in between."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers = readers_of(graph)
    convs = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    for norm in list(graph.node):
        conv = convs.get(norm.input[0]) if norm.op_type == "BatchNormalization" else None
        if conv is None or readers[norm.input[0]] > 1 or not _own(conv, norm, readers, weights):
            continue
        scale, shift, mean, variance = (numpy_helper.to_array(weights[name]) for name in norm.input[1:])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = scale / np.sqrt(variance + np.float32(epsilon))
        kernel = weights[conv.input[1]]
        values = numpy_helper.to_array(kernel)
        bias = numpy_helper.to_array(weights[conv.input[2]]) if len(conv.input) > 2 else np.zeros_like(mean)
        scaled = (values * factor.reshape(-1, *[1] * (values.ndim - 1))).astype(values.dtype)
        kernel.CopyFrom(numpy_helper.from_array(scaled, kernel.name))
        folded = numpy_helper.from_array(
            ((bias - mean) * factor + shift).astype(values.dtype), f"{norm.output[0]}.folded"
        )
        graph.initializer.append(folded)
        conv.input[:] = [*conv.input[:2], folded.name]
        conv.output[0] = norm.output[0]
        graph.node.remove(norm)
    drop_unread(graph)


def _own(conv: onnx.NodeProto, norm: onnx.NodeProto, readers: Counter[str], weights: dict) -> bool:
    """Are all their weights constants, and the kernel read by this convolution alone?"""
    vectors = [*conv.input[2:], *norm.input[1:]]
    if readers[conv.input[1]] > 1 or not all(name in weights for name in [conv.input[1], *vectors]):
        return False
    return all([*weights[name].dims] == [*weights[conv.input[1]].dims][:1] for name in vectors)


def readers_of(graph: onnx.GraphProto) -> Counter[str]:
    """How many nodes and outputs read each tensor."""
    inputs = Counter(name for node in graph.node for name in node.input)
    return inputs + Counter(value.name for value in graph.output)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Weights that no node reads any more."""
    readers = readers_of(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in readers]
    del graph.initializer[:]
    graph.initializer.extend(kept)
