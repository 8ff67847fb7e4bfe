"""A TensorRT engine in half precision, strongly typed: as the ONNX says, input and logits in float32."""

import numpy as np

from hwnas.core.target import Target
from hwnas.exporters.onnx_fp16 import OnnxFp16
from hwnas.exporters.tensorrt import Tensorrt
from hwnas.formats.fp16 import to_fp16


class TensorrtFp16(Tensorrt):
    filename = "model.fp16.engine"
    companions = ("model.fp16.engine.json", "model.fp16.engine.onnx")
    judge = Target(name="here", runtime="tensorrt", precision="fp16")
    tolerance = OnnxFp16.tolerance

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return self.built(to_fp16(model))
