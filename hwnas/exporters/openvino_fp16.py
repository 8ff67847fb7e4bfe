"""OpenVINO's format with weights in half precision: half the size; a GPU computes in it, a CPU in fp32."""

import numpy as np

from hwnas.exporters import Exporter
from hwnas.exporters.openvino import Openvino
from hwnas.formats.openvino_ir import to_ir


class OpenvinoFp16(Exporter):
    filename, companions = "model.fp16.xml", ("model.fp16.bin",)
    judge = Openvino.judge
    tolerance = 1e-2
    needs, lines = Openvino.needs, Openvino.lines

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return to_ir(model, fp16=True)
