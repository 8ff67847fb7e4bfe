"""fp32 → fp16: ONNX whose weights and arithmetic are half precision; input and output stay float32."""

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
from onnxruntime.transformers.onnx_model import OnnxModel


def to_fp16(model: bytes) -> bytes:
    """`model`: ONNX fp32. Values beyond ±65504 are cut off."""
    converted = convert_float_to_float16(onnx.load_model_from_string(model), keep_io_types=True)
    OnnxModel.graph_topological_sort(converted.graph, is_deterministic=True)  # casts were put behind their readers
    return converted.SerializeToString()
