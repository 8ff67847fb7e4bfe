"""OpenVINO's format in fp32: two files, the graph and its weights."""

import numpy as np

from hwnas.core.target import Target
from hwnas.exporters import Exporter
from hwnas.formats.openvino_ir import to_ir


class Openvino(Exporter):
    filename, companions = "model.xml", ("model.bin",)
    judge = Target(name="here", runtime="openvino")
    tolerance = 1e-4
    needs = "openvino"
    lines = """\
import openvino as ov
hints = {{"INFERENCE_PRECISION_HINT": "f32"}}  # without it, some CPUs compute in bfloat16
logits = ov.Core().compile_model("{filename}", "CPU", hints)(x)[0]
"""

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return to_ir(model)
