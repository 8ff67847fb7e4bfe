"""ONNX in half precision, for GPUs: input and logits stay float32."""

from pathlib import Path

from torch import Tensor, nn

from hwnas.core.files import write_atomic
from hwnas.exporters import Exporter
from hwnas.exporters.onnx import to_onnx
from hwnas.formats.fp16 import to_fp16


class OnnxFp16(Exporter):
    filename = "model.fp16.onnx"
    tolerance = 1e-2

    def export(self, network: nn.Module, samples: Tensor, path: Path, metadata: dict[str, str]) -> None:
        write_atomic(path, to_fp16(to_onnx(network, samples, metadata)))
