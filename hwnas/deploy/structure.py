"""Is a file a sound ONNX model that stands alone and takes these inputs?"""

from collections.abc import Iterable, Iterator

import onnx
from google.protobuf.message import DecodeError


def fault(content: bytes, input_shape: tuple[int, ...]) -> str | None:
    """What is wrong with the model, or None. `input_shape`: of one sample, without the batch."""
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        return "is no ONNX model"
    functions = [node for function in model.functions for node in function.node]
    tensors = [*_tensors(model.graph), *(tensor for node in functions for tensor in _of(node))]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        return "keeps weights in another file"
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return f"fails ONNX's check: {' '.join(str(error).split())[:200]}"
    weights = {tensor.name for tensor in model.graph.initializer}
    shapes = [_shape(value) for value in model.graph.input if value.name not in weights]
    if len(shapes) != 1 or shapes[0][1:] != input_shape:
        return f"takes inputs of shape {shapes}, not [batch, {', '.join(map(str, input_shape))}]"
    return None


def _shape(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a graph, those of its branches and loops included."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _of(node)


def _of(node: onnx.NodeProto) -> Iterable[onnx.TensorProto]:
    for attribute in node.attribute:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _tensors(graph)
