"""TFLite fp32, for phones and boards that run LiteRT. It takes [batch, height, width, channels]."""

from pathlib import Path

from torch import Tensor, nn

from hwnas.exporters import Exporter, _tflite
from hwnas.exporters.onnx import to_onnx


class Litert(Exporter):
    filename = "model.tflite"
    tolerance = 1e-4

    def export(self, network: nn.Module, samples: Tensor, path: Path, metadata: dict[str, str]) -> None:
        _tflite.write(self, to_onnx(network, samples, metadata), network, samples, path)
