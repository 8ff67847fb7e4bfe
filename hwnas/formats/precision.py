"""A network's ONNX file in a target's precision: the one function for what is timed and for what is shipped."""

import numpy as np
import onnx

from hwnas.core.target import Precision
from hwnas.formats import Int8Form
from hwnas.formats.fp16 import to_fp16
from hwnas.formats.int8 import quantize


def in_precision(model: bytes, precision: Precision, form: Int8Form, samples: np.ndarray) -> bytes:
    """`model`: ONNX fp32; `samples`: [n, ...] float32 inputs, whose ranges int8 keeps; `form`: of int8."""
    if precision == "int8":
        return quantize(model, samples, form)
    return to_fp16(model) if precision == "fp16" else model


def precision_of(model: bytes) -> Precision:
    """Of an ONNX file."""
    graph = onnx.load_model_from_string(model).graph
    if any(node.op_type == "QuantizeLinear" for node in graph.node):
        return "int8"
    halves = any(weight.data_type == onnx.TensorProto.FLOAT16 for weight in graph.initializer)
    return "fp16" if halves else "fp32"
