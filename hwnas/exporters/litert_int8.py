"""TFLite int8, int8 at both ends: for LiteRT, and for Arm's compiler for its Ethos-U NPUs."""

from pathlib import Path

from torch import Tensor, nn

from hwnas.exporters import Exporter, _tflite
from hwnas.exporters.onnx import to_onnx
from hwnas.exporters.onnx_int8 import OnnxInt8
from hwnas.formats.int8 import quantize


class LitertInt8(Exporter):
    filename = "model.int8.tflite"
    tolerance = OnnxInt8.tolerance
    agreement = OnnxInt8.agreement

    def export(self, network: nn.Module, samples: Tensor, path: Path, metadata: dict[str, str]) -> None:
        exact = to_onnx(network, samples, metadata)
        rounded = quantize(exact, samples.contiguous().numpy(), self.int8_form)
        _tflite.write(self, rounded, network, samples, path)
