"""What onnxruntime really runs of a file."""

from collections import Counter
from pathlib import Path

import onnx
import onnxruntime as ort


def kernels(model: bytes, folder: Path) -> Counter[str]:
    """Operator kinds after all of its optimisations; Flatten and Reshape are the same view."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    kinds = (node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)
    return Counter("Reshape" if kind == "Flatten" else kind for kind in kinds)
