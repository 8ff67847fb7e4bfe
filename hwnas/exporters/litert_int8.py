"""TFLite int8, int8 at both ends: for LiteRT, and for Arm's compiler for its Ethos-U NPUs."""

import numpy as np

from hwnas.core.target import Target
from hwnas.exporters import Exporter
from hwnas.exporters.litert import LINES
from hwnas.exporters.onnx_int8 import OnnxInt8
from hwnas.formats.int8 import quantize
from hwnas.formats.tflite import from_onnx


class LitertInt8(Exporter):
    filename = "model.int8.tflite"
    judge = Target(name="here", runtime="litert", precision="int8")
    tolerance = OnnxInt8.tolerance
    agreement = OnnxInt8.agreement
    needs = "ai-edge-litert"
    lines = LINES + (
        'scale, zero = source["quantization"]\n'
        "images = np.clip(np.rint(images / scale) + zero, -128, 127).astype(np.int8)\n"
        'interpreter.set_tensor(source["index"], images)\n'
        "interpreter.invoke()\n"
        'scale, zero = result["quantization"]\n'
        'logits = (interpreter.get_tensor(result["index"]).astype(np.float32) - zero) * np.float32(scale)\n'
    )

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return (from_onnx(quantize(model, samples, "u8s8"), self.target.batch),)
