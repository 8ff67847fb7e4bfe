"""ONNX fp32: torch's dynamo exporter, opset 18 (every runtime we know takes it), one file, dynamic batch."""

import contextlib
import io
import logging
import warnings
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from hwnas.core.errors import BadInput
from hwnas.exporters import Exporter

OPSET = 18


class Onnx(Exporter):
    filename = "model.onnx"
    tolerance = 1e-4
    needs = "onnxruntime"
    lines = """\
import onnxruntime as ort
session = ort.InferenceSession("{filename}", providers=["CPUExecutionProvider"])
logits = session.run(None, {{session.get_inputs()[0].name: x}})[0]
"""

    def convert(self, model: bytes, samples: np.ndarray) -> tuple[bytes, ...]:
        return (model,)


def to_onnx(network: nn.Module, samples: Tensor, metadata: dict[str, str] | None = None) -> bytes:
    """`samples`: [n ≥ 2, ...]; a batch of 1 would be baked into the graph. Raises BadInput."""
    network = network.eval()
    batch = torch.export.Dim("batch")
    example = (samples[:2].contiguous(),)
    try:
        with _quietly(), _out_of_place(network):
            program = torch.onnx.export(
                network,
                example,
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=["input"],
                output_names=["logits"],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise BadInput(f"the network cannot be written as ONNX: {str(error)[:300]}") from error
    assert program is not None
    model = program.model_proto
    written = {entry.domain: entry.version for entry in model.opset_import}
    if written.get("") != OPSET:  # a request the exporter cannot meet is otherwise ignored without a word
        raise BadInput(f"the exporter wrote opset {written.get('')} instead of {OPSET}")
    for key, value in (metadata or {}).items():
        model.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


@contextlib.contextmanager
def _out_of_place(network: nn.Module):
    """The exporter takes half as long again over activations that overwrite their input; what it writes is the same."""
    overwriting: list[Any] = [module for module in network.modules() if getattr(module, "inplace", False) is True]
    for module in overwriting:
        module.inplace = False
    try:
        yield
    finally:
        for module in overwriting:
            module.inplace = True


@contextlib.contextmanager
def _quietly():
    """The exporter prints its steps and warns about torchvision; neither helps a user."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
