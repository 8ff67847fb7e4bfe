"""An ONNX graph as a converter asks for it: constants by name, who consumes what."""

from collections import defaultdict
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from hwnas.core.errors import BadInput
from hwnas.formats.fold import fold_batch_norm


class OnnxGraph:
    """One float input, one output, nodes in topological order, batch norm folded. Raises BadInput for anything else."""

    def __init__(self, content: bytes) -> None:
        graph = _checked(content).graph
        fold_batch_norm(graph)
        self.nodes = list(graph.node)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self._constants |= {name: a.t for name in node.output for a in node.attribute if a.name == "value"}
        inputs = [value for value in graph.input if value.name not in self._constants]
        if len(inputs) != 1 or inputs[0].type.tensor_type.elem_type != TensorProto.FLOAT or len(graph.output) != 1:
            raise BadInput("the model must have one float input and one output", "export it with a single image input")
        self.input, self.output = inputs[0].name, graph.output[0].name
        self.input_shape = tuple(d.dim_value or None for d in inputs[0].type.tensor_type.shape.dim)
        """None for an open dimension."""
        self._producers = {name: node for node in self.nodes for name in node.output}
        self._consumers: dict[str, list[onnx.NodeProto | None]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self._consumers[name].append(node)
        self._consumers[self.output].append(None)

    def sizes(self, batch: int) -> tuple[int, ...]:
        """Of the input, at this batch. Raises BadInput when another dimension is open."""
        sizes = (batch, *self.input_shape[1:])
        if not all(sizes):
            raise BadInput(f"the model's input shape {self.input_shape} is open beyond the batch")
        return tuple(size or 0 for size in sizes)

    def sole_consumer(self, name: str) -> onnx.NodeProto | None:
        """The one node that reads `name`; None when there are several, or it is the graph's output."""
        readers = self._consumers[name]
        return readers[0] if len(readers) == 1 else None

    def producer(self, name: str) -> onnx.NodeProto | None:
        return self._producers.get(name)

    def is_constant(self, name: str) -> bool:
        return name in self._constants

    def constant(self, name: str) -> np.ndarray:
        """Raises BadInput when it is computed."""
        if name not in self._constants:
            raise BadInput(f"'{name}' is computed, where only a constant can be translated")
        return numpy_helper.to_array(self._constants[name])


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _checked(content: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(content)
        onnx.checker.check_model(model, full_check=True)
        for tensor in model.graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL:
                numpy_helper.to_array(tensor)
    except ValueError as error:
        raise BadInput(f"the ONNX model holds a damaged tensor: {error}") from error
    except (DecodeError, UnicodeDecodeError) as error:  # the checker quotes names, whatever their bytes
        raise BadInput("this is no ONNX model") from error
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise BadInput(f"the ONNX model fails ONNX's check: {' '.join(str(error).split())[:200]}") from error
    external = [t.name for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    if external:
        raise BadInput(f"the ONNX model keeps weights in another file ({external[0]})", "export it as one file")
    return model
