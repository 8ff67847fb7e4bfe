"""TFLite fp32, for phones and boards that run LiteRT. It takes [batch, height, width, channels]."""

import numpy as np

from hwnas.core.target import Target
from hwnas.exporters import Exporter
from hwnas.formats.tflite import from_onnx

LINES = """\
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path="{filename}")
source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
images = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
interpreter.resize_tensor_input(source["index"], images.shape)
interpreter.allocate_tensors()
"""


class Litert(Exporter):
    filename = "model.tflite"
    judge = Target(name="here", runtime="litert")
    tolerance = 1e-4
    needs = "ai-edge-litert"
    lines = LINES + (
        'interpreter.set_tensor(source["index"], images)\n'
        "interpreter.invoke()\n"
        'logits = interpreter.get_tensor(result["index"])\n'
    )

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return (from_onnx(model, self.target.batch),)
