"""OpenVINO's format in int8: explicit quantisation as in ONNX, unsigned activations, weights of 7 bits."""

import numpy as np

from hwnas.core.target import Target
from hwnas.exporters import Exporter
from hwnas.exporters.onnx_int8 import OnnxInt8
from hwnas.exporters.openvino import Openvino
from hwnas.formats.openvino_ir import to_ir
from hwnas.formats.sensitivity import quantize_sparing


class OpenvinoInt8(Exporter):
    filename, companions = "model.int8.xml", ("model.int8.bin",)
    judge = Target(name="here", runtime="openvino", precision="int8")
    tolerance = OnnxInt8.tolerance
    agreement = OnnxInt8.agreement
    needs, lines = Openvino.needs, Openvino.lines

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return to_ir(quantize_sparing(model, samples, "u8s7", self.tolerance))
