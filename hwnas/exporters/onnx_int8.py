"""ONNX int8: explicit quantisation (`formats/int8.py`), calibrated on the training images given."""

from pathlib import Path

from torch import Tensor, nn

from hwnas.core.files import write_atomic
from hwnas.exporters import Exporter
from hwnas.exporters.onnx import to_onnx
from hwnas.formats.int8 import quantize


class OnnxInt8(Exporter):
    filename = "model.int8.onnx"
    tolerance = 0.05
    agreement = 0.98

    def export(self, network: nn.Module, samples: Tensor, path: Path, metadata: dict[str, str]) -> None:
        exact = to_onnx(network, samples, metadata)
        write_atomic(path, quantize(exact, samples.contiguous().numpy(), self.int8_form))
