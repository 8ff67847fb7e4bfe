"""A TFLite file from ONNX, checked by running it before it is written: ONNX Runtime cannot read the format."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.core.files import write_atomic
from hwnas.exporters import Exporter
from hwnas.formats.tflite import from_onnx
from hwnas.formats.tflite.interpreter import Tflite


def write(exporter: Exporter, model: bytes, network: nn.Module, samples: Tensor, path: Path) -> None:
    """`model`: the ONNX that is converted. Raises BadInput when the file breaks the exporter's promise."""
    content = from_onnx(model)
    with torch.no_grad():
        expected = network(samples).numpy()
    got = Tflite(content).infer(samples.contiguous().numpy())
    if exporter.agreement is None:
        kept = bool(np.abs(got - expected).max() <= _allowed(exporter, expected))
    else:
        answers = np.take_along_axis(expected, got.argmax(1)[:, None], axis=1)
        near = expected.max(1)[:, None] - answers <= _allowed(exporter, expected)
        kept = near.mean() >= exporter.agreement
    if not kept:
        raise BadInput(f"{path.name} computes something else than the network", "report this network")
    write_atomic(path, content)


def _allowed(exporter: Exporter, expected: np.ndarray) -> float:
    return exporter.tolerance * max(1.0, float(np.abs(expected).max()))
