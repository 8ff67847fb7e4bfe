"""ONNX in half precision, for GPUs: input and logits stay float32."""

import numpy as np

from hwnas.exporters import Exporter
from hwnas.exporters.onnx import Onnx
from hwnas.formats.fp16 import to_fp16


class OnnxFp16(Exporter):
    filename = "model.fp16.onnx"
    tolerance = 1e-2
    needs, lines = Onnx.needs, Onnx.lines

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return (to_fp16(model),)
