"""A TensorRT engine in int8, by explicit Q/DQ: signed and symmetric, which is all that TensorRT takes."""

import numpy as np

from hwnas.core.target import Target
from hwnas.exporters.onnx_int8 import OnnxInt8
from hwnas.exporters.tensorrt import Tensorrt
from hwnas.formats.sensitivity import quantize_sparing


class TensorrtInt8(Tensorrt):
    filename = "model.int8.engine"
    companions = ("model.int8.engine.json", "model.int8.engine.onnx")
    judge = Target(name="here", runtime="tensorrt", precision="int8")
    tolerance = OnnxInt8.tolerance
    agreement = OnnxInt8.agreement

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return self.built(quantize_sparing(model, samples, "s8s8", self.tolerance))
