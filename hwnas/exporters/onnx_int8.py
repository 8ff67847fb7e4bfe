"""ONNX int8: explicit quantisation (`formats/int8.py`), calibrated on the training images given.

Layers that cost answers stay in float (`formats/sensitivity.py`) where the target's runtime allows it.
"""

import numpy as np

from hwnas.core.target import Target
from hwnas.exporters import Exporter
from hwnas.exporters.onnx import Onnx
from hwnas.formats.sensitivity import quantize_sparing


class OnnxInt8(Exporter):
    filename = "model.int8.onnx"
    judge = Target(name="here", runtime="onnxruntime", precision="int8")
    tolerance = 0.05
    agreement = 0.98
    needs, lines = Onnx.needs, Onnx.lines

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return (quantize_sparing(model, samples, self.int8_form, self.tolerance, self.mixed),)
