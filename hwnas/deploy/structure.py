"""Is a file a sound ONNX model that stands alone and takes these inputs?"""

import contextlib
from collections.abc import Iterable, Iterator
from math import prod
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from hwnas.core.errors import BadInput

_MOST_ELEMENTS = 1 << 28
"""Of one sample's tensor: a gigabyte in fp32. A few bytes of ONNX can ask for any size."""


def metadata(content: bytes) -> dict[str, str]:
    """What an ONNX file says about itself."""
    return {entry.key: entry.value for entry in onnx.load_model_from_string(content).metadata_props}


def fault(content: bytes, input_shape: tuple[int, ...]) -> str | None:
    """What is wrong with the model, or None. `input_shape`: of one sample, without the batch."""
    try:
        model = onnx.load_model_from_string(content)
    except DecodeError:
        return "is no ONNX model"
    if (what := alone(model)) is not None:
        return what
    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return f"fails ONNX's check: {' '.join(str(error).split())[:200]}"
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        if prod(size for size in _shape(value) if isinstance(size, int)) > _MOST_ELEMENTS:
            return f"computes a tensor of {_shape(value)}, which fits no network of ours"
    weights = {tensor.name for tensor in model.graph.initializer}
    shapes = [_shape(value) for value in model.graph.input if value.name not in weights]
    if len(shapes) != 1 or shapes[0][1:] != input_shape:
        return f"takes inputs of shape {shapes}, not [batch, {', '.join(map(str, input_shape))}]"
    return None


def alone(model: onnx.ModelProto) -> str | None:
    """Why a model does not stand alone, or None: weights in another file could be any file of this machine."""
    functions = [node for function in model.functions for node in function.node]
    tensors = [*_tensors(model.graph), *(tensor for node in functions for tensor in _of(node))]
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        return "keeps weights in another file"
    return None


def require_alone(content: bytes, file: Path) -> None:
    """Raises BadInput for a model that keeps weights in another file. What is no model, the runtime refuses."""
    with contextlib.suppress(DecodeError):
        what = alone(onnx.load_model_from_string(content))
        if what is None:
            return
        raise BadInput(f"{file} {what}", "save it as one file: onnx.save_model(model, path)")


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
